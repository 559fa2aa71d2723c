"""Folding: from stored events to aggregates, and to the records that a batch added or changed.

One `Course` holds the aggregates of one study at one size. It moves forward by batches; an aggregate that it
does not hold, or holds at an earlier version, is brought up from the ledger first. Memory is bounded: those
used least recently are let go. What is folded is pure; only `events_of` and its kin read the database.

An aggregate of which some projection passes over events (`skips.py`) is folded once for each different set of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, Subject, study_aggregate_id
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.signing.statement import Statement
from ledger.store.statements import all_topics
from projections.engine.decoding import read_statement
from projections.engine.sql import SQL
from projections.engine.stored import empty

Conn = Connection[TupleRow]

MAX_RECORDS_HELD = 20_000
"""Records of aggregates kept between batches: about 100 MB at the usual size of a statement."""


REDACTING = "FieldsRedacted"
"""From the second signature of this event on, disclosures are gone from the ledger that were folded before."""


ACTS = frozenset(
    {
        "EntryCorrected",
        "EntryVoided",
        "DecisionReversed",
        "Countersigned",
        "SignatureWithdrawn",
        "AttributionDisputed",
        REDACTING,
    }
)
"""Events that change earlier records, and so are folded with whatever is read."""


NOTHING: frozenset[int] = frozenset()
"""No event is passed over: what nearly every aggregate is folded with."""

Variants = Mapping[UUID, tuple[frozenset[int], ...]]
"""Of some aggregates, each different set of indexes that a projection passes over; of every other, NOTHING."""


class StoredEvent(NamedTuple):
    """What a fold needs of an event."""

    idx: int
    originator: UUID
    version: int
    jwt: bytes
    disclosures: Sequence[str]
    recorded_at: str
    redacted: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Touched:
    """An aggregate after a batch, and the records that the batch added or changed, in index order.

    `remade`: something was redacted, so the aggregate was read anew and all its records are given: what rows the
    partition had is to be replaced. `skipped`: the indexes that were passed over.
    """

    aggregate: Study | Subject
    records: list[Record]
    remade: bool
    skipped: frozenset[int] = NOTHING


class FoldFailed(Refusal):
    """An event of the ledger could not be taken in."""

    rule, status = "READ-19", 503
    remedy = "Use a release that knows this event and its version, or have the cause mended; nothing is lost."

    def __init__(self, index: int, event: str, because: str) -> None:
        super().__init__(because, (index,))
        self.index, self.event = index, event

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.index, self.event, self.because)

    def __str__(self) -> str:
        return f"index {self.index} ({self.event}): {self.because}"


Key = tuple[UUID, frozenset[int]]
"""An aggregate, and the indexes of its events that are passed over."""


@dataclass(slots=True)
class _Held:
    """An aggregate, and how many of its events it has taken in or passed over."""

    aggregate: Study | Subject
    version: int = 0


class Course:
    """The aggregates of one study as of `size`, moving forward; for one thread."""

    def __init__(self, study_id: str, origin: str, size: int, max_records: int = MAX_RECORDS_HELD) -> None:
        self.study_id, self.origin, self.size = study_id, origin, size
        self._study = study_aggregate_id(origin)
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._records = 0
        self._max_records = max_records

    def advance(
        self,
        conn: Conn,
        events: Sequence[StoredEvent],
        size: int,
        variants: Variants | None = None,
        failed: dict[Key, FoldFailed] | None = None,
    ) -> list[Touched]:
        """Take in the events from the present size up to `size`; returns what they touched.

        An aggregate that cannot be folded is put into `failed`, and the others go on; without that, FoldFailed is
        raised, after which this course is of no more use.
        """
        by_originator: dict[UUID, list[StoredEvent]] = {}
        for event in events:
            by_originator.setdefault(event.originator, []).append(event)
        alone, variants = (NOTHING,), variants or {}
        wanted = {(about, one): found for about, found in by_originator.items() for one in variants.get(about, alone)}
        failures: dict[Key, FoldFailed] = {}
        self._catch_up(conn, wanted, failures)
        self.size = size
        touched = [made for key, found in wanted.items() if (made := self._fold(conn, key, found, failures))]
        for key in failures:
            self._records -= len(self._held.pop(key).aggregate.records)
        self._let_go()
        if failures and failed is None:
            raise min(failures.values(), key=lambda failure: failure.index)
        if failed is not None:
            failed.update(failures)
        return touched

    def _catch_up(self, conn: Conn, wanted: Mapping[Key, list[StoredEvent]], failures: dict[Key, FoldFailed]) -> None:
        """Hold every aggregate wanted, as of just below its first event of the batch."""
        missing: dict[UUID, dict[Key, int]] = {}
        for key, events in wanted.items():
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held(self._new(key[0]))
            self._held.move_to_end(key)
            if held.version != events[0].version - 1:
                missing.setdefault(key[0], {})[key] = held.version
        redacted: set[Key] = set()
        after = {about: min(versions.values()) for about, versions in missing.items()}
        for event in aggregates_below(conn, self.study_id, after, self.size) if missing else ():
            for key, version in missing[event.originator].items():
                if event.version > version and key not in failures:
                    changed = self._take_in(key, event, failures)
                    if version and any(record.event == REDACTING for record in changed):
                        redacted.add(key)
        for key in redacted - failures.keys():
            self._read_anew(conn, key, self.size, failures)

    def _take_in(self, key: Key, event: StoredEvent, failures: dict[Key, FoldFailed]) -> list[Record]:
        """One event of an aggregate that is held."""
        held = self._held[key]
        try:
            changed = fold_one(held.aggregate, event, skipped=key[1])
        except FoldFailed as failure:
            failures[key] = failure
            return []
        held.version = event.version
        self._records += bool(changed)
        return changed

    def _read_anew(self, conn: Conn, key: Key, size: int, failures: dict[Key, FoldFailed]) -> None:
        """Hold an aggregate as the ledger has it now, without what was redacted since it was first read."""
        self._records -= len(self._held[key].aggregate.records)
        self._held[key] = _Held(self._new(key[0]))
        for event in aggregates_below(conn, self.study_id, {key[0]: 0}, size):
            if key not in failures:
                self._take_in(key, event, failures)

    def _new(self, originator: UUID) -> Study | Subject:
        return new_aggregate(originator, self._study)

    def _fold(self, conn: Conn, key: Key, events: list[StoredEvent], failures: dict[Key, FoldFailed]) -> Touched | None:
        changed: dict[int, Record] = {}
        for event in events:
            if key in failures:
                return None
            for record in self._take_in(key, event, failures):
                changed[record.index] = record
        remade = any(record.event == REDACTING for record in changed.values())
        if remade and key not in failures:
            self._read_anew(conn, key, self.size, failures)
        if key in failures:
            return None
        aggregate = self._held[key].aggregate
        records = list(aggregate.records) if remade else [changed[index] for index in sorted(changed)]
        return Touched(aggregate, records, remade, key[1])

    def _let_go(self) -> None:
        while self._records > self._max_records and len(self._held) > 1:
            _, held = self._held.popitem(last=False)
            self._records -= len(held.aggregate.records)


def new_aggregate(originator: UUID, study: UUID) -> Study | Subject:
    """An aggregate without records: the study's own, or a subject."""
    return empty(Study, originator) if originator == study else empty(Subject, originator)


def fold_one(
    aggregate: Study | Subject, event: StoredEvent, whole: bool = True, skipped: Collection[int] = NOTHING
) -> list[Record]:
    """Bring an aggregate forward by one event; returns its record and those that it changed, nothing for an event that
    is passed over.

    `whole`: every event of the aggregate is folded, so that none may be missing. Raises FoldFailed.
    """
    if event.idx in skipped:
        return []
    name = "unreadable"
    try:
        statement = stored_statement(event)
        name = statement.event
        if whole and len(aggregate.records) + _below(skipped, event.idx) != event.version - 1:
            raise ValueError(f"version {event.version} follows version {len(aggregate.records)}")
        return aggregate.fold(statement, event.idx, event.recorded_at)
    except Exception as error:  # whatever it is, it stands at this event
        raise FoldFailed(event.idx, name, f"{type(error).__name__}: {error}") from error


def _below(indexes: Collection[int], index: int) -> int:
    return sum(one < index for one in indexes) if indexes else 0


def fold_variants(
    events: Iterable[StoredEvent], own: UUID, originators: Iterable[UUID], variants: Variants
) -> dict[Key, Study | Subject]:
    """Some aggregates folded whole from all their events, once for each set of indexes that is passed over; `own` is
    the study's own. Raises FoldFailed."""
    made = {
        (about, skipped): new_aggregate(about, own)
        for about in originators
        for skipped in variants.get(about, (NOTHING,))
    }
    for event in events:
        for skipped in variants.get(event.originator, (NOTHING,)):
            fold_one(made[event.originator, skipped], event, skipped=skipped)
    return made


def event_name(event: StoredEvent) -> str:
    """The name of an event, as its statement says it."""
    try:
        return stored_statement(event).event
    except Exception:  # it may be what cannot be taken in
        return "unreadable"


def subjects_of(
    conn: Conn,
    study: str,
    own: UUID,
    events: frozenset[str] | None,
    size: int,
    left_out: Callable[[UUID, int], bool] = lambda about, index: False,
) -> Iterable[Subject]:
    """Every subject of a study as of a size, folded from these events (None: all) and the acts upon them, without the
    events that are `left_out`, by aggregate and index."""
    wanted = None if events is None else events | ACTS
    subjects: dict[UUID, Subject] = {}
    for event in events_of_topics(conn, study, topics_of(conn, study, wanted, strange=True), size):
        if event.originator == own or left_out(event.originator, event.idx):
            continue
        subject = subjects.get(event.originator)
        if subject is None:
            subject = subjects[event.originator] = empty(Subject, event.originator)
        fold_one(subject, event, whole=False)
    return subjects.values()


def events_of(conn: Conn, study: str, start: int, stop: int) -> list[StoredEvent]:
    """The events of a range of indexes, in order."""
    return stored_events(conn, "events", {"study": study, "start": start, "stop": stop})


def aggregates_below(conn: Conn, study: str, after: dict[UUID, int], stop: int) -> list[StoredEvent]:
    """The events below an index of these originators, beyond the version that is held of each."""
    values = {"study": study, "originators": list(after), "after": list(after.values()), "stop": stop}
    return stored_events(conn, "aggregates", values)


def first_events(conn: Conn, study: str, originators: Iterable[UUID], stop: int) -> list[StoredEvent]:
    """The first event of each of these originators that has one below an index."""
    return stored_events(conn, "first_events", {"study": study, "originators": list(originators), "stop": stop})


def topics_of(conn: Conn, study: str, events: Collection[str] | None, strange: bool = False) -> list[str]:
    """The topics that a study has of these events (None: of all), in whatever version, so that one of a later release
    is met, not passed over; with `strange` those of events that this release does not know at all as well: they may act
    on anything."""
    found = [(topic.partition("/")[0], topic) for topic in all_topics(conn, study)]
    return [
        topic for event, topic in found if events is None or event in events or (strange and event not in CATALOGUE)
    ]


def stored_statement(event: StoredEvent) -> Statement:
    """The statement of a stored event."""
    return read_statement(event.jwt, event.disclosures, event.redacted)


def events_of_topics(
    conn: Conn, study: str, topics: Iterable[str], stop: int, start: int = 0, page: int = 5_000
) -> Iterator[StoredEvent]:
    """The events of some topics from one index to below another, in order, read page by page."""
    values: dict[str, Any] = {"study": study, "stop": stop, "topics": list(topics), "limit": page, "start": start}
    while True:
        found = stored_events(conn, "events_of_topics", values)
        yield from found
        if len(found) < page:
            return
        values["start"] = found[-1].idx + 1


def stored_events(conn: Conn, name: str, values: dict[str, Any]) -> list[StoredEvent]:
    """The events that a named statement of the engine returns."""
    return [StoredEvent(*row) for row in conn.execute(SQL[name], values, binary=True)]
