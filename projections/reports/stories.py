"""Drill-down: a differing row in both versions, and the events at which it came to be so in each.

Rules:
- nothing of a subject is shown while something of it is redacted that one of the read models has not taken in;
- rows are those of the tables as they stand; what its own events make of a row is folded to the same size, and where
  it is something else, that is said: such a row was not made by its events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.store.database import Conn
from projections.definitions import model_with
from projections.engine import inside, kept
from projections.engine.comparing import partition_rows
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.difference import Difference
from projections.engine.errors import RedactionAhead
from projections.engine.expectation import Values, address, by_name
from projections.engine.folding import FoldFailed
from projections.engine.sql import SQL
from projections.reports.comparison import Compared, Side
from projections.reports.provenance import Provenance, RowKey, Step, provenance

MAX_ROWS = 200
"""Differing rows that one drill-down shows: more are asked for by table and key."""

Differing = Mapping[RowKey, Sequence[Difference]]
"""Differing rows, each with its differences."""

NO_CODE = "this release does not have the code of this version"
NO_TABLES = "the tables of this version are gone"
NOT_MADE = "the row in the tables is not what its events make: it was altered, or the code was"


@dataclass(frozen=True)
class Half:
    """A row in one version: its values as canonical JSON, None where there is none; the events that changed it, and for
    each differing path the newest that did; `note`: why something of this cannot be told."""

    row: str | None
    steps: tuple[Step, ...] = ()
    because: Mapping[str, Step] | None = None
    note: str | None = None


@dataclass(frozen=True)
class Story:
    """A differing row: its differences, and both halves."""

    table: str
    key: str
    differences: tuple[Difference, ...]
    before: Half
    after: Half


def stories(conn: Conn, found: Compared, table: str | None = None, key: str | None = None) -> list[Story]:
    """The differing rows of the subject that the comparison was asked for, of one table and key where they are given,
    those with something unexplained first; at most MAX_ROWS. For a snapshot. Raises RedactionAhead."""
    assert found.only is not None, "a drill-down is about one subject"
    for side in (found.before, found.after):
        _nothing_redacted(conn, found, side)
    rows: dict[RowKey, list[Difference]] = {}
    for intended in (False, True):  # what nothing explains comes first
        for one in kept.differences(conn, found.study, found.after.schema, found.only, table, key, intended):
            if (one.table, one.key) in rows or len(rows) < MAX_ROWS:
                rows.setdefault((one.table, one.key), []).append(one)
    before, after = (_halves(conn, found, side, rows) for side in (found.before, found.after))
    return [Story(*row, tuple(had), before[row], after[row]) for row, had in rows.items()]


def _nothing_redacted(conn: Conn, found: Compared, side: Side) -> None:
    about = found.own if found.only == STUDY_PARTITION else UUID(found.only)
    values = {"study": found.study, "originator": about, "schema": side.schema}
    row = conn.execute(SQL["redaction_ahead"], values).fetchone()
    if row is not None and row[0]:
        raise RedactionAhead(f"something of this subject is redacted that {side.schema} has not taken in")


def _halves(conn: Conn, found: Compared, side: Side, rows: Differing) -> dict[RowKey, Half]:
    """One version's half of each row."""
    model = model_with(found.name, side.version, side.fingerprint, side.generation or 0)
    if model is None:
        return {row: Half(None, note=NO_CODE) for row in rows}
    exists = conn.execute(SQL["schema_exists"], {"schema": side.schema}).fetchone()
    if exists is None or not exists[0]:
        return {row: Half(None, note=NO_TABLES) for row in rows}
    standing = conn.execute(SQL["schema_position"], {"study": found.study, "schema": side.schema}).fetchone()
    size = int(standing[0]) if standing is not None else int(found.report["size"])
    assert found.only is not None
    stored = _stored(conn, found, model, rows)
    try:
        made = provenance(conn, found.study, found.own, model.definition, found.only, size, rows)
    except Exception as error:  # a handler's own, or an event that cannot be read: the rows are told all the same
        at = f" at index {error.index} ({error.event})" if isinstance(error, FoldFailed) else ""
        note = f"its events cannot be followed{at}: {type(error).__name__}"
        return {row: Half(_written(stored.get(row)), note=note) for row in rows}
    return {row: _half(made, row, stored.get(row), had) for row, had in rows.items()}


def _stored(
    conn: Conn, found: Compared, model: ReadModel, rows: Mapping[RowKey, Any]
) -> dict[RowKey, Mapping[str, Any]]:
    """These rows as the tables have them."""
    assert found.only is not None
    stored: dict[RowKey, Values] = {}
    for name, values in partition_rows(conn, model, found.study, found.only, many=True):
        table = model.definition.table(name)
        row = by_name(table, values)
        key = (name, address(table, row))
        if key in rows:
            stored[key] = row
    return stored


def _half(made: Provenance, key: RowKey, stored: Mapping[str, Any] | None, had: Sequence[Difference]) -> Half:
    steps = tuple(made.steps.get(key, ()))
    newest = {one.path: made.because(key, one.path) for one in had}
    because = {path: step for path, step in newest.items() if step is not None}
    note = None if inside.same(_plain(made.rows.get(key)), _plain(stored)) else NOT_MADE
    return Half(_written(stored), steps, because, note)


def _plain(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if row is None else dict(row)


def _written(row: Mapping[str, Any] | None) -> str | None:
    return None if row is None else inside.text_of(dict(row))
