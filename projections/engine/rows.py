"""Where a view gets its rows from: a read model's tables, or rows folded in memory for an earlier size.

Both answer the same questions with the same rows in the same order, so that one view serves both. Text compares
by code point in either.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, LiteralString, NamedTuple, Protocol

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from projections.engine.definition import Definition, Row, Table

Conn = Connection[TupleRow]

PAGE = 1_000
"""Rows fetched at a time where a view asks for all: enough to be fast, few enough to stay small."""

_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda value, wanted: value is not None and value == wanted,
    "in": lambda value, wanted: value in wanted,
    "<": lambda value, wanted: value is not None and value < wanted,
    ">=": lambda value, wanted: value is not None and value >= wanted,
    "says": lambda value, wanted: value is not None and wanted.casefold() in value.casefold(),
    "is": lambda value, wanted: (value is not None) is wanted,
}

_CONDITIONS: Mapping[str, LiteralString] = {
    "=": "{} = %s",
    "in": "{} = ANY (%s)",
    "<": "{} < %s",
    ">=": "{} >= %s",
    "says": "{} ILIKE %s",
}


class Where(NamedTuple):
    """A condition on one column. `says`: the text contains this, in any case; `is`: True for a value, False for
    none; `in`: one of a list."""

    column: str
    test: str
    value: Any


class Asked(NamedTuple):
    """Which rows of a table: conditions, order by columns (one direction for all), after these values of them.

    `each`: a column and the values that it may have, where there is an index by that column and the order: each value
    is looked up in its own range of it, so that the cost does not depend on how common the values are. Needs `order`,
    unique, and `limit`.
    """

    where: tuple[Where, ...] = ()
    order: tuple[str, ...] = ()
    descending: bool = False
    after: tuple[Any, ...] | None = None
    limit: int | None = None
    each: tuple[str, Sequence[str]] | None = None


class Rows(Protocol):
    """A source of rows of one study. Rows are named tuples: partition, then the table's own columns."""

    def select(self, table: str, asked: Asked) -> list[Any]:
        """The rows asked for, at most `limit`."""
        ...

    def counts(self, table: str, by: Sequence[str], where: Sequence[Where] = ()) -> dict[tuple[Any, ...], int]:
        """How many rows there are for each combination of values of these columns."""
        ...

    def one_of_each(self, table: str, column: str) -> list[Any]:
        """One row for each value of a column; fast where an index begins with the column and its values are few."""
        ...


def every(rows: Rows, table: str, where: Iterable[Where] = (), order: tuple[str, ...] = ()) -> Iterator[Any]:
    """All rows that meet the conditions, fetched page by page where they come from the database; `order` has to be
    unique."""
    asked = Asked(tuple(where), order or ("partition",), limit=PAGE)
    if isinstance(rows, MemoryRows):  # each page would look at all of them again
        yield from rows.select(table, asked._replace(limit=None))
        return
    while True:
        found = rows.select(table, asked)
        yield from found
        if len(found) < PAGE:
            return
        asked = asked._replace(after=tuple(getattr(found[-1], name) for name in asked.order))


@cache
def row_type(table: Table) -> Any:
    """The named tuple of a table's rows."""
    return namedtuple(table.name, ("partition", *table.names))


class TableRows:
    """Rows of a read model, inside the reader's snapshot."""

    def __init__(self, conn: Conn, definition: Definition, schema: str, study: str) -> None:
        self._conn, self._definition, self._schema, self._study = conn, definition, schema, study

    def select(self, table: str, asked: Asked) -> list[Any]:
        """The rows asked for, in one statement."""
        declared = self._definition.table(table)
        kind = row_type(declared)
        query, values = self._query(declared, asked)
        return [kind(*row) for row in self._conn.execute(query, values)]

    def _query(self, declared: Table, asked: Asked) -> tuple[sql.Composed, list[Any]]:
        target = sql.Identifier(self._schema, declared.name)
        names = _listed(("partition", *declared.names))
        if asked.each is None:
            query = sql.SQL("SELECT {} FROM {} WHERE ").format(names, target)
            conditions, values = _bounded(asked, self._study)
            query += sql.SQL(" AND ").join(conditions) + _ordered(asked)
            return query, values + ([asked.limit] if asked.limit is not None else [])
        column, wanted = asked.each
        conditions, values = _bounded(asked, self._study)
        query = sql.SQL(
            "SELECT {names} FROM (SELECT found.* FROM unnest(%s::text[]) AS wanted (value) CROSS JOIN LATERAL "
            "(SELECT {order} FROM {table} WHERE {column} = wanted.value AND {conditions}{ordered}) AS found{ordered}"
            ") AS chosen JOIN {table} USING ({order}) WHERE study_id = %s{ordered}"
        ).format(
            names=names,
            order=_listed(asked.order),
            table=target,
            column=sql.Identifier(column),
            conditions=sql.SQL(" AND ").join(conditions),
            ordered=_ordered(asked),
        )
        return query, [list(wanted), *values, asked.limit, asked.limit, self._study, asked.limit]

    def counts(self, table: str, by: Sequence[str], where: Sequence[Where] = ()) -> dict[tuple[Any, ...], int]:
        """Counted by the database."""
        conditions, values = _conditions(where, self._study)
        names = sql.SQL(", ").join(sql.Identifier(name) for name in by)
        query = sql.SQL("SELECT {count} FROM {table} WHERE {where}").format(
            count=sql.SQL("count(*)") + (sql.SQL(", ") + names if by else sql.SQL("")),
            table=sql.Identifier(self._schema, self._definition.table(table).name),
            where=sql.SQL(" AND ").join(conditions),
        )
        if by:
            query += sql.SQL(" GROUP BY ") + names
        return {tuple(key): count for count, *key in self._conn.execute(query, values)}

    def one_of_each(self, table: str, column: str) -> list[Any]:
        """Found by leaping from value to value along the index."""
        declared = self._definition.table(table)
        query = sql.SQL(
            "WITH RECURSIVE leap (found) AS ("
            "(SELECT one FROM {table} AS one WHERE study_id = %(study)s ORDER BY {column} LIMIT 1) UNION ALL "
            "SELECT (SELECT one FROM {table} AS one WHERE study_id = %(study)s AND {column} > (leap.found).{column} "
            "ORDER BY {column} LIMIT 1) FROM leap WHERE (leap.found).study_id IS NOT NULL) "
            "SELECT {names} FROM leap WHERE (found).study_id IS NOT NULL"
        ).format(
            table=sql.Identifier(self._schema, declared.name),
            column=sql.Identifier(column),
            names=sql.SQL(", ").join(
                sql.SQL("(found).") + sql.Identifier(name) for name in ("partition", *declared.names)
            ),
        )
        kind = row_type(declared)
        return [kind(*row) for row in self._conn.execute(query, {"study": self._study})]


class MemoryRows:
    """Rows folded in memory. `fold(partition)` yields the rows of one partition, or of all (None); each is folded
    when it is first asked for."""

    def __init__(
        self, definition: Definition, fold: Callable[[str | None], Iterable[tuple[str, Iterable[Row]]]]
    ) -> None:
        self._definition, self._fold = definition, fold
        self._folded: dict[str, dict[str, list[Any]]] = {}
        self._complete = False

    def select(self, table: str, asked: Asked) -> list[Any]:
        """The rows asked for, as the database would give them."""
        where = asked.where if asked.each is None else (*asked.where, Where(asked.each[0], "in", asked.each[1]))
        found = list(self._matching(table, where))
        if asked.order:
            found.sort(key=lambda row: _sortable(row, asked.order), reverse=asked.descending)
        if asked.after is not None:
            edge = tuple((value is None, value) for value in asked.after)
            found = [
                row
                for row in found
                if (_sortable(row, asked.order) < edge if asked.descending else _sortable(row, asked.order) > edge)
            ]
        return found[: asked.limit]

    def counts(self, table: str, by: Sequence[str], where: Sequence[Where] = ()) -> dict[tuple[Any, ...], int]:
        """Counted here."""
        counted: dict[tuple[Any, ...], int] = {} if by else {(): 0}
        for row in self._matching(table, where):
            key = tuple(getattr(row, name) for name in by)
            counted[key] = counted.get(key, 0) + 1
        return counted

    def one_of_each(self, table: str, column: str) -> list[Any]:
        """Found by looking at all."""
        return list({getattr(row, column): row for row in self._matching(table, ())}.values())

    def _matching(self, table: str, where: Iterable[Where]) -> Iterator[Any]:
        self._definition.table(table)
        conditions = tuple(where)
        only = next((one.value for one in conditions if one.column == "partition" and one.test == "="), None)
        self._need(only)
        for partition in [only] if only is not None else sorted(self._folded):
            for row in self._folded.get(partition, {}).get(table, ()):
                if all(_TESTS[test](getattr(row, column), value) for column, test, value in conditions):
                    yield row

    def _need(self, partition: str | None) -> None:
        if self._complete or (partition is not None and partition in self._folded):
            return
        for name, rows in self._fold(partition):
            tables: dict[str, dict[tuple[Any, ...], Any]] = {}
            for table_name, values in rows:
                table = self._definition.table(table_name)
                key = tuple(values[place] for place in table.key_places())
                tables.setdefault(table_name, {})[key] = row_type(table)(name, *values)
            self._folded[name] = {table: list(found.values()) for table, found in tables.items()}
        self._complete = partition is None
        if partition is not None:
            self._folded.setdefault(partition, {})


def _sortable(row: Any, order: Sequence[str]) -> tuple[tuple[bool, Any], ...]:
    return tuple((value is None, value) for value in (getattr(row, name) for name in order))


def _listed(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def _bounded(asked: Asked, study: str) -> tuple[list[sql.Composable], list[Any]]:
    """The conditions, and that a row comes after the place where the last page ended."""
    conditions, values = _conditions(asked.where, study)
    if asked.after is not None:
        compared = sql.SQL("({}) < ({})" if asked.descending else "({}) > ({})")
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(asked.after))
        conditions.append(compared.format(_listed(asked.order), marks))
        values.extend(asked.after)
    return conditions, values


def _ordered(asked: Asked) -> sql.Composed:
    """ORDER BY and LIMIT, as far as they are asked for."""
    parts: list[sql.Composable] = []
    if asked.order:
        direction = sql.SQL(" DESC" if asked.descending else "")
        parts.append(sql.SQL(" ORDER BY "))
        parts.append(sql.SQL(", ").join(sql.Identifier(name) + direction for name in asked.order))
    if asked.limit is not None:
        parts.append(sql.SQL(" LIMIT %s"))
    return sql.Composed(parts)


def _conditions(where: Iterable[Where], study: str) -> tuple[list[sql.Composable], list[Any]]:
    conditions: list[sql.Composable] = [sql.SQL("study_id = %s")]
    values: list[Any] = [study]
    for column, test, value in where:
        if test == "is":
            wanted = sql.SQL("{} IS NOT NULL" if value else "{} IS NULL")
            conditions.append(wanted.format(sql.Identifier(column)))
            continue
        conditions.append(sql.SQL(_CONDITIONS[test]).format(sql.Identifier(column)))
        values.append(_like(value) if test == "says" else value)
    return conditions, values


def _like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
