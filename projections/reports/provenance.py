"""At which events a row came to be what it is: one subject folded event by event with a version's own handler.

Rules:
- the handler is that of the version itself, so this can be told only where this release has its code;
- an event is a step of a row where the row after it is another than before, by column and path;
- after a redaction all rows are those of what is left, as a follower would make them; nothing redacted is read;
- events that the projection passes over by decision (EventSkipped) are passed over here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from ledger.store.database import Conn
from projections.engine import inside
from projections.engine.definition import STUDY_PARTITION, Definition
from projections.engine.expectation import address, by_name
from projections.engine.folding import REDACTING, StoredEvent, aggregates_below, fold_one, new_aggregate
from projections.engine.skips import skips_of

RowKey = tuple[str, str]
"""Table, key as a JSON array."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one event changed of a row: a path, before and after in canonical JSON, None where there was nothing."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """An event that made a row what it is: its index, name and id, who in which role, the ledger's time."""

    index: int
    event: str
    jti: str
    actor: str
    role: str
    recorded_at: str
    changes: tuple[Change, ...]


@dataclass
class Provenance:
    """The rows of one partition as its events make them, and for each the events that did."""

    rows: dict[RowKey, Mapping[str, Any]] = field(default_factory=dict)
    steps: dict[RowKey, list[Step]] = field(default_factory=dict)

    def because(self, key: RowKey, path: str) -> Step | None:
        """The newest event that changed what stands at a path, above or below it."""
        steps = self.steps.get(key, ())
        for step in reversed(steps):
            if not path or any(_within(path, one.path) or _within(one.path, path) for one in step.changes):
                return step
        return None


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


def provenance(
    conn: Conn, study: str, own: UUID, definition: Definition, partition: str, size: int, only: Iterable[RowKey]
) -> Provenance:
    """The rows asked for of one partition as of a size, and the events that made them. Raises FoldFailed, and whatever
    the handler raises."""
    about = own if partition == STUDY_PARTITION else UUID(partition)
    aggregate = new_aggregate(about, own)
    skipped = skips_of(conn, study, size).of(definition.name, about)
    events = aggregates_below(conn, study, {about: 0}, size)
    made = Provenance()
    wanted = frozenset(only)
    for event in events:
        touched = fold_one(aggregate, event, skipped=skipped)
        if not touched:
            continue
        if any(record.event == REDACTING for record in touched):
            touched = list(aggregate.records)
        _take(made, definition, aggregate, touched, event, wanted)
    return made


def _take(
    made: Provenance,
    definition: Definition,
    aggregate: Study | Subject,
    touched: Sequence[Record],
    event: StoredEvent,
    wanted: frozenset[RowKey],
) -> None:
    """Note what an event made of the rows that are wanted."""
    for name, values in definition.rows(aggregate, touched):
        table = definition.table(name)
        row = by_name(table, values)
        key = (name, address(table, row))
        if key not in wanted:
            continue
        changes = tuple(_changes(made.rows.get(key, {}), row))
        made.rows[key] = row
        record = next((one for one in touched if one.index == event.idx), None)
        if changes and record is not None:
            step = Step(event.idx, record.event, record.jti, record.iss, record.role, record.recorded_at, changes)
            made.steps.setdefault(key, []).append(step)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Change]:
    """What differs between a row before an event and after it."""
    for column, value in after.items():
        was = before.get(column, inside.ABSENT)
        if inside.same(was, value):
            continue
        old, new = inside.read(was), inside.read(value)
        paths: list[inside.Path] = [()]
        if old is not inside.ABSENT and new is not inside.ABSENT:
            paths = list(inside.differing(old, new)) or [()]
        for path in paths:
            sides = (inside.at(old, path), inside.at(new, path)) if path else (was, value)
            yield Change(
                inside.told(column, path), *(None if one is inside.ABSENT else inside.text_of(one) for one in sides)
            )
