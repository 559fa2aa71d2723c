"""Folding: from stored events to aggregates, and to the records that a batch added or changed.

One `Course` holds the aggregates of one study at one size. It moves forward by batches; an aggregate that it
does not hold, or holds at an earlier version, is brought up from the ledger first. Memory is bounded: those
used least recently are let go. What is folded is pure; only `events_of` and its kin read the database.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, Subject, study_aggregate_id
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.record import Record
from ledger.signing.statement import Statement, read_stored
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
    partition had is to be replaced.
    """

    aggregate: Study | Subject
    records: list[Record]
    remade: bool


class FoldFailed(Exception):
    """A statement of the ledger could not be folded: its index, its event, and why."""

    def __init__(self, index: int, event: str, because: str) -> None:
        super().__init__(f"index {index} ({event}): {because}")
        self.index, self.event, self.because = index, event, because


class Course:
    """The aggregates of one study as of `size`, moving forward; for one thread."""

    def __init__(self, study_id: str, origin: str, size: int, max_records: int = MAX_RECORDS_HELD) -> None:
        self.study_id, self.size = study_id, size
        self._study = study_aggregate_id(origin)
        self._held: OrderedDict[UUID, Study | Subject] = OrderedDict()
        self._records = 0
        self._max_records = max_records

    def advance(self, conn: Conn, events: Sequence[StoredEvent], size: int) -> list[Touched]:
        """Take in the events from the present size up to `size`; returns what they touched.

        Raises FoldFailed, after which this course is of no more use.
        """
        by_originator: dict[UUID, list[StoredEvent]] = {}
        for event in events:
            by_originator.setdefault(event.originator, []).append(event)
        self._catch_up(conn, by_originator)
        self.size = size
        touched = [self._fold(conn, originator, found) for originator, found in by_originator.items()]
        self._let_go()
        return touched

    def _catch_up(self, conn: Conn, wanted: dict[UUID, list[StoredEvent]]) -> None:
        """Hold every aggregate wanted, as of just below its first event of the batch."""
        missing: dict[UUID, int] = {}
        for originator, events in wanted.items():
            held = self._held.get(originator)
            if held is None:
                held = self._held[originator] = self._new(originator)
            self._held.move_to_end(originator)
            if len(held.records) != events[0].version - 1:
                missing[originator] = len(held.records)
        redacted = set()
        for event in aggregates_below(conn, self.study_id, missing, self.size) if missing else ():
            changed = fold_one(self._held[event.originator], event)
            self._records += 1
            if missing[event.originator] and any(record.event == REDACTING for record in changed):
                redacted.add(event.originator)
        for originator in redacted:
            self._read_anew(conn, originator, self.size)

    def _read_anew(self, conn: Conn, originator: UUID, size: int) -> Study | Subject:
        """An aggregate as the ledger has it now, without what was redacted since it was first read."""
        aggregate = self._held[originator] = self._new(originator)
        for event in aggregates_below(conn, self.study_id, {originator: 0}, size):
            fold_one(aggregate, event)
        return aggregate

    def _new(self, originator: UUID) -> Study | Subject:
        return new_aggregate(originator, self._study)

    def _fold(self, conn: Conn, originator: UUID, events: list[StoredEvent]) -> Touched:
        aggregate = self._held[originator]
        changed: dict[int, Record] = {}
        for event in events:
            for record in fold_one(aggregate, event):
                changed[record.index] = record
        self._records += len(events)
        if any(record.event == REDACTING for record in changed.values()):
            aggregate = self._read_anew(conn, originator, self.size)
            return Touched(aggregate, list(aggregate.records), True)
        return Touched(aggregate, [changed[index] for index in sorted(changed)], False)

    def _let_go(self) -> None:
        while self._records > self._max_records and len(self._held) > 1:
            _, aggregate = self._held.popitem(last=False)
            self._records -= len(aggregate.records)


def new_aggregate(originator: UUID, study: UUID) -> Study | Subject:
    """An aggregate without records: the study's own, or a subject."""
    return empty(Study, originator) if originator == study else empty(Subject, originator)


def fold_one(aggregate: Study | Subject, event: StoredEvent, whole: bool = True) -> list[Record]:
    """Bring an aggregate forward by one event; returns its record and those that it changed.

    `whole`: every event of the aggregate is folded, so that none may be missing. Raises FoldFailed.
    """
    name = "unreadable"
    try:
        statement = stored_statement(event)
        name = statement.event
        if whole and len(aggregate.records) != event.version - 1:
            raise ValueError(f"version {event.version} follows version {len(aggregate.records)}")
        return aggregate.fold(statement, event.idx, event.recorded_at)
    except Exception as error:  # whatever it is, it stands at this event
        raise FoldFailed(event.idx, name, f"{type(error).__name__}: {error}") from error


def event_name(conn: Conn, study: str, index: int) -> str:
    """The name of the event at an index, as its statement says it."""
    found = events_of(conn, study, index, index + 1)
    return stored_statement(found[0]).event if found else "missing"


def subjects_of(conn: Conn, study: str, own: UUID, events: frozenset[str] | None, size: int) -> Iterable[Subject]:
    """Every subject of a study as of a size, folded from these events (None: all) and the acts upon them."""
    wanted = frozenset(model.__name__ for model in CATALOGUE) if events is None else events | ACTS
    subjects: dict[UUID, Subject] = {}
    for event in events_of_topics(conn, study, topics_of(wanted), size):
        if event.originator == own:
            continue
        subject = subjects.get(event.originator)
        if subject is None:
            subject = subjects[event.originator] = empty(Subject, event.originator)
        fold_one(subject, event, whole=False)
    return subjects.values()


def events_of(conn: Conn, study: str, start: int, stop: int) -> list[StoredEvent]:
    """The events of a range of indexes, in order."""
    return _stored(conn, "events", {"study": study, "start": start, "stop": stop})


def aggregates_below(conn: Conn, study: str, after: dict[UUID, int], stop: int) -> list[StoredEvent]:
    """The events below an index of these originators, beyond the version that is held of each."""
    values = {"study": study, "originators": list(after), "after": list(after.values()), "stop": stop}
    return _stored(conn, "aggregates", values)


def topics_of(events: Iterable[str]) -> list[str]:
    """The topics of these events in every version that this release knows."""
    return [f"{event}/{version}" for event in sorted(events) for version in range(1, CATALOGUE[event].v + 1)]


def stored_statement(event: StoredEvent) -> Statement:
    """The statement of a stored event."""
    return read_stored(event.jwt.decode("ascii"), event.disclosures, event.redacted)


def events_of_topics(
    conn: Conn, study: str, topics: Iterable[str], stop: int, start: int = 0, page: int = 5_000
) -> Iterator[StoredEvent]:
    """The events of some topics from one index to below another, in order, read page by page."""
    values: dict[str, Any] = {"study": study, "stop": stop, "topics": list(topics), "limit": page, "start": start}
    while True:
        found = _stored(conn, "events_of_topics", values)
        yield from found
        if len(found) < page:
            return
        values["start"] = found[-1].idx + 1


def _stored(conn: Conn, name: str, values: dict[str, Any]) -> list[StoredEvent]:
    return [StoredEvent(*row) for row in conn.execute(SQL[name], values, binary=True)]
