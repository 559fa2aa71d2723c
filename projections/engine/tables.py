"""Read models in the database: made, written, emptied.

A read model's tables stand in a schema of their own and are never altered: another table, another schema.
Statements on them are composed of declared names alone, quoted; values are always parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, LiteralString

from psycopg import Connection, postgres, sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from projections.engine.declared import declared
from projections.engine.definition import ColumnType, Definition, Index, ReadModel, Row, Table
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]

TableRows = Mapping[str, Sequence[tuple[Any, ...]]]
"""Rows by table: study, partition, own columns; each key at most once."""

DIFFERENCES = "_differences"
"""The engine's own table of a read model: in what its rows differ from those that it was compared with. It holds
values, so it is emptied with its partition."""

_COLLATED: Mapping[ColumnType, LiteralString] = {
    "text": 'text COLLATE "C"',
    "text[]": 'text[] COLLATE "C"',
    "bigint": "bigint",
    "boolean": "boolean",
}
_SENT_AS: Mapping[ColumnType, LiteralString] = {
    "text": "%b::text[]",
    "text[]": "%b::text[]",
    "bigint": "%b::bigint[]",
    "boolean": "%b::boolean[]",
}
"""One parameter a column; a column of arrays goes as the texts of its arrays."""

_TEXT = postgres.types["text"].oid


def create(conn: Conn, model: ReadModel, indexes: bool = True) -> bool:
    """Make a read model's schema unless it is there; False when it was. For a transaction of its own. Without
    `indexes` and keys it takes many rows in faster; `add_indexes` follows."""
    schema = model.schema
    conn.execute(SQL["lock_definitions"])
    exists = conn.execute(SQL["schema_exists"], {"schema": schema}).fetchone()
    if exists is not None and exists[0]:
        return False
    conn.execute(on("create_schema", schema))
    conn.execute(on("create_notes", schema))
    for table in model.definition.tables:
        conn.execute(_create(schema, table))
    if indexes:
        add_indexes(conn, model)
    return True


def add_indexes(conn: Conn, model: ReadModel) -> None:
    """Add the keys and indexes of tables that were made without; two rows of one key are an error then."""
    for table in model.definition.tables:
        conn.execute(_keyed(model.schema, table))
        for index in table.indexes:
            conn.execute(_index(model.schema, table, index))


def register(conn: Conn, model: ReadModel) -> None:
    """Note the definition, so that a pointer may name its schema."""
    definition = model.definition
    values = {"name": definition.name, "version": definition.version, "fingerprint": model.fingerprint}
    parts = {"parts": Jsonb(dict(model.parts)), "tables": Jsonb(declared(definition.tables))}
    conn.execute(SQL["register"], {**values, "generation": model.generation, "schema": model.schema, **parts})


def collect(definition: Definition, study: str, partition: str, rows: Iterable[Row], into: dict[str, Any]) -> None:
    """Gather a handler's rows by table. One call of a handler gives each key at most once, and a batch calls it once
    for each partition; a key that came twice would be refused by the database."""
    for name, values in rows:
        found = into.get(name)
        if found is None:
            found = into[definition.table(name).name] = []
        found.append((study, partition, *values))


def upsert(conn: Conn, schema: str, definition: Definition, rows: TableRows) -> None:
    """Add and replace rows, one statement a table."""
    for name, found in rows.items():
        if found:
            table = definition.table(name)
            columns = [list(column) for column in zip(*_with_arrays(table, found, _array), strict=True)]
            conn.execute(_upsert(schema, table), columns)


def copy(conn: Conn, schema: str, definition: Definition, rows: TableRows) -> None:
    """Add rows that are not there yet; a key that is there is an error."""
    for name, found in rows.items():
        table = definition.table(name)
        with conn.cursor() as cursor, cursor.copy(_copy(schema, table)) as copying:
            copying.set_types(_copied_as(table))
            for row in _with_arrays(table, found, _packed):
                copying.write_row(row)


def empty_partition(conn: Conn, schema: str, definition: Definition, study: str, partition: str) -> None:
    """Take one partition's rows away, to be made anew in this transaction; what was noted of its differences too."""
    for name in (*(table.name for table in definition.tables), DIFFERENCES):
        conn.execute(on("empty_partition", schema, name), {"study": study, "partition": partition})


def empty_study(conn: Conn, schema: str, definition: Definition, study: str) -> None:
    """Take one study's rows away, to be made anew in this transaction."""
    for table in definition.tables:
        conn.execute(on("empty_study", schema, table.name), {"study": study})


def analyze(conn: Conn, schema: str, definition: Definition) -> None:
    """Tell the planner what the tables hold, after many rows were added."""
    for table in definition.tables:
        conn.execute(on("analyze", schema, table.name))


def _with_arrays(
    table: Table, rows: Iterable[tuple[Any, ...]], form: Callable[[tuple[str, ...] | None], Any]
) -> Iterable[tuple[Any, ...]]:
    """The rows, with their arrays in this form."""
    places = [place + 2 for place, column in enumerate(table.columns) if column.type == "text[]"]
    for place in places:
        rows = [(*row[:place], form(row[place]), *row[place + 1 :]) for row in rows]
    return rows


@lru_cache(maxsize=4_096)
def _array(members: tuple[str, ...] | None) -> str | None:
    """As PostgreSQL writes it: many rows then travel as one plain array a column."""
    if members is None:
        return None
    quoted = ('"' + member.replace("\\", "\\\\").replace('"', '\\"') + '"' for member in members)
    return "{" + ",".join(quoted) + "}"


@lru_cache(maxsize=4_096)
def _packed(members: tuple[str, ...] | None) -> bytes | None:
    """As PostgreSQL sends it in binary: dimensions, whether NULL is among them, type, length, lower bound, members."""
    if members is None:
        return None
    texts = [member.encode() for member in members]
    if not texts:
        return struct.pack("!iii", 0, 0, _TEXT)
    head = struct.pack("!iiiii", 1, 0, _TEXT, len(texts), 1)
    return head + b"".join([struct.pack("!i", len(text)) + text for text in texts])


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def _create(schema: str, table: Table) -> sql.Composed:
    columns: list[sql.Composable] = [sql.SQL('study_id text COLLATE "C" NOT NULL, partition text COLLATE "C" NOT NULL')]
    for column in table.columns:
        ending = sql.SQL("" if column.optional else " NOT NULL")
        columns.append(sql.SQL("{} ").format(sql.Identifier(column.name)) + sql.SQL(_COLLATED[column.type]) + ending)
    # Rows of a usual statement stay whole on their page instead of being compressed and moved out.
    return sql.SQL("CREATE TABLE {table} ({columns}) WITH (toast_tuple_target = 8160)").format(
        table=sql.Identifier(schema, table.name), columns=sql.SQL(", ").join(columns)
    )


def _keyed(schema: str, table: Table) -> sql.Composed:
    return sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY ({key})").format(
        table=sql.Identifier(schema, table.name), key=_names(("study_id", "partition", *table.key))
    )


def _index(schema: str, table: Table, index: Index) -> sql.Composed:
    target = sql.Identifier(schema, table.name)
    made = sql.SQL("CREATE INDEX ON {} ({})").format(target, _names(("study_id", *index.columns)))
    if index.present is None:
        return made
    return made + sql.SQL(" WHERE {} IS NOT NULL").format(sql.Identifier(index.present))


@cache
def _copy(schema: str, table: Table) -> sql.Composed:
    columns = _names(("study_id", "partition", *table.names))
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(schema, table.name), columns)


@cache
def _copied_as(table: Table) -> list[str]:
    """The type as which each column's values are encoded; arrays come packed."""
    return ["text", "text", *("bytea" if column.type == "text[]" else column.type for column in table.columns)]


@cache
def _upsert(schema: str, table: Table) -> sql.Composed:
    """Arrays of columns in, rows out: an insert that replaces by key."""
    names = ("study_id", "partition", *table.names)
    key = ("study_id", "partition", *table.key)
    types: list[ColumnType] = ["text", "text", *(column.type for column in table.columns)]
    arrays = sql.SQL(", ").join(sql.SQL(_SENT_AS[kind]) for kind in types)
    chosen = sql.SQL(", ").join(
        sql.Identifier(name) + sql.SQL("::text[]" if kind == "text[]" else "")
        for name, kind in zip(names, types, strict=True)
    )
    rest = [name for name in names if name not in key]
    replaced = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in rest)
    action = sql.SQL("UPDATE SET {}").format(replaced) if rest else sql.SQL("NOTHING")
    return sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {chosen} FROM unnest({arrays}) AS sent ({names}) "
        "ON CONFLICT ({key}) DO {action}"
    ).format(
        table=sql.Identifier(schema, table.name),
        names=_names(names),
        chosen=chosen,
        arrays=arrays,
        key=_names(key),
        action=action,
    )
