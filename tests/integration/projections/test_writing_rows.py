"""Rows come back from the database as they were given, whichever way they were written."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from ledger.store.database import Database
from projections.engine import tables
from projections.engine.definition import Column, Definition, ReadModel, Table
from projections.engine.digest import of_rows, of_tables

TABLE = Table(
    "things",
    (
        Column("n", "bigint"),
        Column("text", optional=True),
        Column("yes", "boolean", optional=True),
        Column("names", "text[]", optional=True),
    ),
    key=("n",),
)
MODEL = ReadModel(Definition("writing", 1, (TABLE,), lambda state, touched: ()), "0" * 64)
ROWS: list[tuple[Any, ...]] = [
    (0, None, None, None),
    (-1, "", False, ()),
    (2**63 - 1, 'tab\tnewline\nbackslash\\ "quoted" \\N \\. {braces,}', True, ("one",)),
    (3, "é ß 漢 \U0001f9ea", None, ("", "NULL", 'a"b', "c\\d", "e,f", " g ", "é漢")),
    (4, "x" * 200_000, True, tuple(f"name {n}" for n in range(300))),
]


@pytest.mark.parametrize("write", [tables.copy, tables.upsert])
def test_awkward_values_are_kept_as_they_are(projector: Database, write: Any) -> None:
    schema = MODEL.schema
    with projector.connection() as conn:
        tables.create(conn, MODEL)
        with conn.transaction():
            write(conn, schema, MODEL.definition, {"things": [("S", "p", *row) for row in ROWS]})
        found = conn.execute(f'SELECT n, text, yes, names FROM "{schema}".things ORDER BY n').fetchall()
        assert [(*row[:3], row[3] if row[3] is None else tuple(row[3])) for row in found] == sorted(ROWS)
        given = of_rows(MODEL.definition, [("things", "p", row) for row in ROWS])
        with conn.transaction():
            assert of_tables(conn, schema, MODEL.definition, "S") == given


def test_a_character_that_no_text_may_hold_is_refused(projector: Database) -> None:
    with projector.connection() as conn:
        tables.create(conn, MODEL)
        with pytest.raises((psycopg.DataError, ValueError)), conn.transaction():
            tables.copy(conn, MODEL.schema, MODEL.definition, {"things": [("S", "p", 1, "a\x00b", None, None)]})


def test_copying_a_key_that_is_there_is_refused(projector: Database) -> None:
    with projector.connection() as conn:
        tables.create(conn, MODEL)
        rows = {"things": [("S", "p", 1, "first", None, None)]}
        tables.copy(conn, MODEL.schema, MODEL.definition, rows)
        with pytest.raises(psycopg.errors.UniqueViolation):
            tables.copy(conn, MODEL.schema, MODEL.definition, rows)
