"""The study's own aggregate at a size, for readers: folded from the ledger, kept between readings.

What is kept is shared by all threads of the process and never changed. It is good for every size from its last
event up to where the ledger was looked at; a reading further on copies it and goes on from there. What was kept
before something was redacted is of no more use.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, record_of, study_aggregate_id
from ledger.domain.context import Roster
from ledger.domain.participation import zone_of
from ledger.domain.record import Record
from ledger.store.database import Database
from projections.engine.errors import StudyNotKnown
from projections.engine.folding import (
    NOTHING,
    FoldFailed,
    StoredEvent,
    aggregates_below,
    event_name,
    events_of_topics,
    fold_one,
    stored_statement,
    topics_of,
)
from projections.engine.occurrence import OccurredBy, has_occurred, told_of
from projections.engine.sql import SQL
from projections.engine.stored import empty

Conn = Connection[TupleRow]

LeftOut = Callable[[UUID, int], bool]
"""Whether the event of an aggregate at an index is left out."""

SEATING = frozenset({"SubjectEnrolled", "DecisionReversed"})
"""Events that give and take seats."""

MAX_STUDIES_KEPT = 64
"""Studies are small beside their subjects: hundreds of records each."""


@dataclass(frozen=True, slots=True)
class _Kept:
    study: Study
    upto: int
    redacted: int


class StudyCache:
    """The studies of one database, and who is enrolled in each; for any thread."""

    def __init__(self) -> None:
        self._kept: dict[UUID, _Kept] = {}
        self._rosters: dict[str, tuple[Roster, int, int]] = {}
        self._lock = threading.Lock()

    def study_at(self, conn: Conn, study_id: str, size: int, skipped: frozenset[int] = NOTHING) -> Study:
        """The study as of a size, without the events at these indexes; not to be changed. Raises StudyNotKnown,
        FoldFailed."""
        row = conn.execute(SQL["origin"], {"study": study_id}).fetchone()
        if row is None:
            raise StudyNotKnown(f"there is no study {study_id!r}")
        own, redacted = study_aggregate_id(row[0]), int(row[1])
        if skipped:  # rare: not kept
            return _forward(conn, study_id, empty(Study, own), size, skipped)
        with self._lock:
            kept = self._kept.get(own) or _Kept(empty(Study, own), 0, redacted)
            if kept.redacted != redacted:
                kept = _Kept(empty(Study, own), 0, redacted)
        if kept.study.records.last_index < size <= kept.upto:
            return kept.study
        forward = size > kept.upto
        study = _forward(conn, study_id, kept.study if forward else empty(Study, own), size)
        if forward:
            self._keep(own, _Kept(study, size, redacted))
        return study

    def roster_at(self, conn: Conn, study_id: str, size: int, left_out: LeftOut | None = None) -> Roster:
        """Who is enrolled as of a size, and nothing else of the roster, without the events that are left out, by
        aggregate and index; not to be changed. Raises FoldFailed."""
        if left_out is not None:  # rare: not kept
            return _rostered(conn, study_id, Roster(), 0, size, left_out)
        row = conn.execute(SQL["origin"], {"study": study_id}).fetchone()
        redacted = 0 if row is None else int(row[1])
        with self._lock:
            roster, upto, known = self._rosters.get(study_id, (Roster(), 0, redacted))
        if upto > size or known != redacted:
            roster, upto = Roster(), 0
        roster = _rostered(conn, study_id, Roster(dict(roster.seats), left=dict(roster.left)), upto, size)
        with self._lock:
            _, upto, known = self._rosters.get(study_id, (roster, 0, redacted))
            if size >= upto or known < redacted:
                self._rosters[study_id] = (roster, size, redacted)
        return roster

    def roster_by(
        self, conn: Conn, study_id: str, size: int, study: Study, by: OccurredBy, left_out: LeftOut | None = None
    ) -> Roster:
        """Who had been enrolled by a moment, according to what is known at a size; enrolments that may have been later
        are left out. Raises FoldFailed."""
        roster = Roster()
        for event in events_of_topics(conn, study_id, topics_of(conn, study_id, SEATING), size):
            if left_out is not None and left_out(event.originator, event.idx):
                continue
            record = _seating(event)
            if has_occurred(told_of(record), by, zone_of(study, record.site)):
                roster.apply(record)
        return roster

    def _keep(self, own: UUID, kept: _Kept) -> None:
        with self._lock:
            known = self._kept.pop(own, None)
            newer = known is not None and (known.redacted, known.upto) > (kept.redacted, kept.upto)
            self._kept[own] = known if known is not None and newer else kept
            while len(self._kept) > MAX_STUDIES_KEPT:
                del self._kept[next(iter(self._kept))]


_caches: WeakKeyDictionary[Database, StudyCache] = WeakKeyDictionary()


def cache_of(database: Database) -> StudyCache:
    """The studies kept for a database, as long as it is in use."""
    return _caches.setdefault(database, StudyCache())


def _rostered(
    conn: Conn, study_id: str, roster: Roster, start: int, size: int, left_out: LeftOut | None = None
) -> Roster:
    """The roster given, with the seats that were given and taken from one index to below another."""
    for event in events_of_topics(conn, study_id, topics_of(conn, study_id, SEATING), size, start=start):
        if left_out is None or not left_out(event.originator, event.idx):
            roster.apply(_seating(event))
    return roster


def _seating(event: StoredEvent) -> Record:
    try:
        return record_of(stored_statement(event), event.idx, event.recorded_at)
    except Exception as error:  # whatever it is, it stands at this event
        raise FoldFailed(event.idx, event_name(event), f"{type(error).__name__}: {error}") from error


def _forward(conn: Conn, study_id: str, study: Study, size: int, skipped: frozenset[int] = NOTHING) -> Study:
    """The study brought forward to a size: the same object where nothing was added."""
    events = aggregates_below(conn, study_id, {study.id: len(study.records)}, size)
    if not events:
        return study
    study = _copied(study)
    for event in events:
        fold_one(study, event, skipped=skipped)
    return study


def _copied(study: Study) -> Study:
    """A copy that can be folded further without changing the original."""
    made = empty(Study, study.id)
    made.authority = copy.deepcopy(study.authority)
    for record in study.records:
        twin = _copied_record(record)
        made.records.by_jti[twin.jti] = twin
        made.records.by_event.setdefault(twin.event, []).append(twin)
    made.records.last_index = study.records.last_index
    return made


def _copied_record(record: Record) -> Record:
    twin = copy.copy(record)
    twin.content = dict(record.content)
    twin.body = dict(record.body)
    twin.values = {name: list(values) for name, values in record.values.items()}
    twin.voids = list(record.voids)
    twin.disputed = list(record.disputed)
    twin.redacted = dict(record.redacted)
    twin.acts = list(record.acts)
    return twin
