"""Partitions that stand still at an event which their projection cannot take in, and how they go on.

Rules:
- one partition of one read model stands still, nothing else: the others go on, and so does the position;
- its rows are those of its events below that one, however the events were batched; where even these cannot be made,
  it has none;
- it goes on by being made anew, whole: when a follower starts, when a decision about it is recorded (`skips.py`), when
  somebody asks for it (`unstop`), when a redaction concerns it. What stands in the way then is noted anew;
- causes are kept and logged without what the database says of rows, which may be about a person.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from ledger.store.errors import describe, meaning
from projections.engine import tables
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.folding import (
    NOTHING,
    FoldFailed,
    StoredEvent,
    aggregates_below,
    event_name,
    fold_one,
    new_aggregate,
)
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]
log = logging.getLogger("projections")

EVERYTHING = "*"
"""In place of a partition: the whole read model stands still, for entries of the log are missing."""

MAX_CAUSE = 500
"""Characters of a cause that are kept: enough to find it, and no dump of what it was about."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A partition that stands still: at which event, and why."""

    partition: str
    index: int
    event: str
    because: str

    @property
    def about(self) -> str:
        """What stands still, as statements name it."""
        if self.partition == EVERYTHING:
            return "everything"
        return "study" if self.partition == STUDY_PARTITION else f"subject/{self.partition}"

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the cut of an answer."""
        return {"about": self.about, "index": self.index, "event": self.event, "because": self.because}


@dataclass(frozen=True, slots=True)
class Part:
    """One aggregate of a study, for one read model, with the indexes that the projection passes over. `own` is the
    study's own aggregate."""

    model: ReadModel
    study: str
    own: UUID
    about: UUID
    skipped: frozenset[int] = NOTHING

    @property
    def partition(self) -> str:
        """The partition of the aggregate."""
        return STUDY_PARTITION if self.about == self.own else str(self.about)


def stopped_in(conn: Conn, study: str, schemas: Sequence[str]) -> dict[str, dict[str, Stopped]]:
    """What stands still in these read models of a study, by schema and partition; asked in one statement."""
    found: dict[str, dict[str, Stopped]] = {schema: {} for schema in schemas}
    if schemas:
        for schema, *rest in conn.execute(_everywhere("stopped", schemas), {"study": study}):
            found[schema][rest[0]] = Stopped(*rest)
    return found


def waiting_to_go_on(conn: Conn, schemas: Sequence[str]) -> set[tuple[str, str]]:
    """The studies and read models in which something that stands still is to be tried again."""
    if not schemas:
        return set()
    return {(study, schema) for schema, study in conn.execute(_everywhere("to_try_again", schemas))}


def _everywhere(name: str, schemas: Sequence[str]) -> sql.Composed:
    """A statement on each of some read models, in one."""
    one = [sql.SQL(SQL[name]).format(schema=sql.Identifier(schema), named=sql.Literal(schema)) for schema in schemas]
    return sql.SQL(" UNION ALL ").join(one)


def note(conn: Conn, study: str, model: ReadModel, stopped: Stopped, known: Stopped | None) -> None:
    """Note that a partition stands still, and raise the alarm unless it was known."""
    values = {"study": study, "partition": stopped.partition, "idx": stopped.index, "event": stopped.event}
    conn.execute(on("stop", model.schema), {**values, "because": stopped.because})
    if known is None or (known.index, known.because) != (stopped.index, stopped.because):
        log.error(
            "ALARM: projection %s version %d of %s: %s stands still at index %d (%s): %s",
            *(model.definition.name, model.definition.version, study),
            *(stopped.about, stopped.index, stopped.event, stopped.because),
        )


def lift(conn: Conn, study: str, model: ReadModel, stopped: Stopped) -> None:
    """Note that a partition goes on."""
    conn.execute(on("lift", model.schema), {"study": study, "partition": stopped.partition})
    log.warning(
        "projection %s version %d of %s: %s, which stood still at index %d, goes on",
        *(model.definition.name, model.definition.version, study, stopped.about, stopped.index),
    )


# -- a partition made anew -------------------------------------------------------------------------------------


def make_anew(conn: Conn, part: Part, size: int) -> Stopped | None:
    """Make a partition's rows of its events below a size; where one of them cannot be taken in, of those before it:
    that one is returned. Inside a transaction."""
    events = aggregates_below(conn, part.study, {part.about: 0}, size)
    if _made(conn, part, events) is None:
        return None
    stopped = _first_refused(conn, part, events)
    if _made(conn, part, [event for event in events if event.idx < stopped.index]) is not None:
        tables.empty_partition(conn, part.model.schema, part.model.definition, part.study, part.partition)
    return stopped


def _made(conn: Conn, part: Part, events: Iterable[StoredEvent]) -> Exception | None:
    """Replace a partition's rows by those of these events; the error where that cannot be."""
    definition, schema = part.model.definition, part.model.schema
    aggregate = new_aggregate(part.about, part.own)
    try:
        for event in events:
            fold_one(aggregate, event, skipped=part.skipped)
        rows = rows_of(part, aggregate, list(aggregate.records))
        with conn.transaction():
            tables.empty_partition(conn, schema, definition, part.study, part.partition)
            tables.upsert(conn, schema, definition, rows)
    except Exception as error:  # whatever a handler raises, or the database of a row
        raise_if_away(error)
        return error
    return None


def rows_of(part: Part, aggregate: Study | Subject, records: Sequence[Record]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that some records of a partition make, by table. Raises whatever the handler raises."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    definition = part.model.definition
    tables.collect(definition, part.study, part.partition, definition.rows(aggregate, records), rows)
    return rows


def _first_refused(conn: Conn, part: Part, events: Sequence[StoredEvent]) -> Stopped:
    """The first event that cannot be taken in, found one by one; nothing of this stays."""
    definition, schema = part.model.definition, part.model.schema
    aggregate, last = new_aggregate(part.about, part.own), events[-1]
    with conn.transaction(force_rollback=True):
        tables.empty_partition(conn, schema, definition, part.study, part.partition)
        for event in events:
            try:
                changed = {one.index: one for one in fold_one(aggregate, event, skipped=part.skipped)}
                rows = rows_of(part, aggregate, [changed[index] for index in sorted(changed)])
                with conn.transaction():
                    tables.upsert(conn, schema, definition, rows)
            except Exception as error:
                raise_if_away(error)
                return stopped_at(part, event, error)
    return Stopped(part.partition, last.idx, event_name(last), "its rows depend on how the events were batched")


def stopped_at(part: Part, event: StoredEvent, error: Exception) -> Stopped:
    """A partition that stands still at an event, for an error."""
    if isinstance(error, FoldFailed):
        return Stopped(part.partition, error.index, error.event, error.because[:MAX_CAUSE])
    said = describe(error) if isinstance(error, psycopg.Error) else str(error)
    return Stopped(part.partition, event.idx, event_name(event), f"{type(error).__name__}: {said}"[:MAX_CAUSE])


def raise_if_away(error: Exception) -> None:
    """Raise the error of a database that does not answer, or is not set up: that is no event's fault."""
    if isinstance(error, psycopg.Error) and meaning(error) is not None:
        raise error
