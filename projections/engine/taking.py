"""Taking in a range of the log for read models that stand at its start: what a follower does batch by batch, and a
replay up to its fence.

Rules:
- read and folded once for all of them; an aggregate of which they pass over different events once for each;
- an event that cannot be taken in stops its partition (`stopping.py`) and nothing else; a strict caller gets
  FoldFailed instead, and nothing stays of the range;
- a decision in the range about what is passed over makes that partition anew; so does a redaction in the range with
  whatever stands still, for nothing that is redacted stays in its last rows;
- the position is the caller's to move, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from projections.engine import tables
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.folding import Course, FoldFailed, Key, StoredEvent, Touched, events_of
from projections.engine.skips import Skips, decided_below
from projections.engine.sql import SQL, on
from projections.engine.stopping import (
    EVERYTHING,
    Part,
    Stopped,
    lift,
    make_anew,
    note,
    raise_if_away,
    rows_of,
    stopped_in,
)

Conn = Connection[TupleRow]


class EntriesMissing(Exception):
    """The log has no entry at an index that is signed: nothing is taken in beyond it."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the ledger has no entry at index {index}, which is signed")
        self.index = index


def take_in(
    conn: Conn, course: Course, models: Sequence[ReadModel], stop: int, strict: bool = False, careful: bool = False
) -> int:
    """Bring the rows of read models from the course's size to `stop`, in the caller's transaction; returns how far it
    came: less where entries are missing.

    `careful`: a row that the database refuses stops its partition; without it, that ends the transaction. Raises
    EntriesMissing where the first entry is missing, FoldFailed where `strict`, and the driver's errors; the course is
    then of no more use.
    """
    study, start = course.study_id, course.size
    events = _whole(events_of(conn, study, start, stop), start)
    stop = start + len(events)
    decided = decided_below(conn, study, stop)
    stopped = stopped_in(conn, study, [model.schema for model in models])
    own = study_aggregate_id(course.origin)
    taking = _Taking(conn, study, own, start, stop, decided.skips(stop), stopped, strict, careful)
    anew = taking.anew(models, decided.since(start))
    idle = taking.idle(models, anew)
    wanted = [event for event in events if event.originator not in idle] if idle else events
    variants = taking.skips.variants(model.definition.name for model in models)
    taking.touched = course.advance(conn, wanted, stop, variants, taking.failed)
    for model in models:
        taking.write(model, anew[model.schema])
    return stop


def try_again(conn: Conn, study: str, origin: str, model: ReadModel, position: int) -> None:
    """Make what stands still in a read model anew, up to its position; what stands in the way is noted anew. In a
    transaction that holds the position."""
    stopped = stopped_in(conn, study, [model.schema])
    skips = decided_below(conn, study, position).skips(position)
    taking = _Taking(conn, study, study_aggregate_id(origin), position, position, skips, stopped)
    taking.write(model, {taking.about(partition) for partition in stopped[model.schema] if partition != EVERYTHING})
    if EVERYTHING in stopped[model.schema]:  # if entries are missing still, the next batch says so
        conn.execute(on("lift", model.schema), {"study": study, "partition": EVERYTHING})


def _whole(events: Sequence[StoredEvent], start: int) -> Sequence[StoredEvent]:
    """The events up to the first one that is missing."""
    for place, event in enumerate(events):
        if event.idx != start + place:
            events = events[:place]
            break
    if not events:
        raise EntriesMissing(start)
    return events


@dataclass
class _Taking:
    """A range of a study that is being taken in: from `start` to `stop`; what is passed over, what stood still before
    (by schema and partition), and what was folded of it."""

    conn: Conn
    study: str
    own: UUID
    start: int
    stop: int
    skips: Skips
    stopped: Mapping[str, Mapping[str, Stopped]]
    strict: bool = False
    careful: bool = False
    touched: Sequence[Touched] = ()
    failed: dict[Key, FoldFailed] = field(default_factory=dict)

    def about(self, partition: str) -> UUID:
        """The aggregate of a partition."""
        return self.own if partition == STUDY_PARTITION else UUID(partition)

    def part(self, model: ReadModel, about: UUID) -> Part:
        """An aggregate for a read model, without what its projection passes over."""
        return Part(model, self.study, self.own, about, self.skips.of(model.definition.name, about))

    def anew(self, models: Sequence[ReadModel], decided: Iterable[tuple[str, UUID]]) -> dict[str, set[UUID]]:
        """What is made anew in each read model: what new decisions are about, and after a redaction what stands
        still."""
        found = {model.schema: {about for name, about in decided if name == model.definition.name} for model in models}
        if any(self.stopped.values()) and self._redacted():
            for schema, stopped in self.stopped.items():
                found[schema] |= {self.about(partition) for partition in stopped if partition != EVERYTHING}
        return found

    def _redacted(self) -> bool:
        values = {"study": self.study, "start": self.start, "stop": self.stop}
        row = self.conn.execute(SQL["redacted_between"], values).fetchone()
        return row is not None and bool(row[0])

    def idle(self, models: Sequence[ReadModel], anew: Mapping[str, set[UUID]]) -> set[UUID]:
        """The aggregates that no read model needs folded: they stand still in each, or are made anew."""
        without = [
            anew[model.schema]
            | {self.about(partition) for partition in self.stopped[model.schema] if partition != EVERYTHING}
            for model in models
        ]
        return set.intersection(*without) if without else set()

    # -- writing -----------------------------------------------------------------------------------------------

    def write(self, model: ReadModel, anew: set[UUID]) -> None:
        """One read model's rows of the range; and what is made anew, or cannot be taken in."""
        stopped = self.stopped[model.schema]
        left_out = anew | {self.about(partition) for partition in stopped if partition != EVERYTHING}
        mine = [
            one
            for one in self.touched
            if one.aggregate.id not in left_out
            and one.skipped == self.skips.of(model.definition.name, one.aggregate.id)
        ]
        broken = {
            about
            for about, skipped in self.failed
            if about not in left_out and skipped == self.skips.of(model.definition.name, about)
        }
        broken |= self._write_each(model, mine) if self.careful else self._write_all(model, mine)
        for about in sorted(anew | broken):
            self._settle(self.part(model, about), stopped)
        if EVERYTHING in stopped and self.stop > self.start:
            lift(self.conn, self.study, model, stopped[EVERYTHING])

    def _write_all(self, model: ReadModel, touched: Sequence[Touched]) -> set[UUID]:
        """Write all partitions together; returns those of which the handler made no rows."""
        rows: dict[str, list[tuple[Any, ...]]] = {}
        broken: set[UUID] = set()
        for one in touched:
            part = self.part(model, one.aggregate.id)
            try:
                made = rows_of(part, one.aggregate, one.records)
            except Exception:  # what it is, is found when the partition is made anew
                broken.add(part.about)
                continue
            for name, found in made.items():
                rows.setdefault(name, []).extend(found)
        for one in touched:
            if one.remade and one.aggregate.id not in broken:
                self._empty(self.part(model, one.aggregate.id))
        tables.upsert(self.conn, model.schema, model.definition, rows)
        return broken

    def _write_each(self, model: ReadModel, touched: Sequence[Touched]) -> set[UUID]:
        """Write each partition by itself; returns those of which the handler made no rows, or none that the database
        takes."""
        broken: set[UUID] = set()
        for one in touched:
            part = self.part(model, one.aggregate.id)
            try:
                rows = rows_of(part, one.aggregate, one.records)
                with self.conn.transaction():
                    if one.remade:
                        self._empty(part)
                    tables.upsert(self.conn, model.schema, model.definition, rows)
            except Exception as error:
                raise_if_away(error)
                broken.add(part.about)
        return broken

    def _empty(self, part: Part) -> None:
        tables.empty_partition(self.conn, part.model.schema, part.model.definition, self.study, part.partition)

    def _settle(self, part: Part, stopped: Mapping[str, Stopped]) -> None:
        """Make a partition anew; it goes on, or stands still."""
        known = stopped.get(part.partition)
        found = make_anew(self.conn, part, self.stop)
        if found is not None and self.strict:
            raise FoldFailed(found.index, found.event, found.because)
        if found is not None:
            note(self.conn, self.study, part.model, found, known)
        elif known is not None:
            lift(self.conn, self.study, part.model, known)
