"""The digest of a projection: one value for all its rows, the same however they came to be.

Each value is written with its kind and its length, NULL included; a partition's digest is SHA-256 over its tables in
order of their names, each with its rows in order of their keys; the root is SHA-256 over the partitions in order of
theirs. Nothing else enters: not when or by whom rows were written, in which order, in what pages, by how many workers.
Two readings of one fingerprint at one size, with the same redactions, have the same root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from projections.engine.definition import Definition, Table

Conn = Connection[TupleRow]

FETCH = 2_000
"""Rows that a digest holds in memory at a time."""


@dataclass(frozen=True, slots=True)
class Digest:
    """`root` and the digest of each partition, in lowercase hex; how many rows there are, and in each partition as far
    as this was counted."""

    root: str
    partitions: dict[str, str]
    rows: int
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)


def of_rows(definition: Definition, rows: Iterable[tuple[str, str, Sequence[Any]]]) -> Digest:
    """The digest of rows in memory: (table, partition, values), in any order."""
    tables: dict[str, list[tuple[str, Sequence[Any]]]] = {}
    for name, partition, values in rows:
        tables.setdefault(name, []).append((partition, values))
    summed = Sums(definition)
    for table in in_order(definition):
        places = table.key_places()
        found = tables.get(table.name, [])
        found.sort(key=lambda row: (row[0], *[row[1][place] for place in places]))
        summed.add(table, iter(found))
    return summed.digest()


def of_tables(conn: Conn, schema: str, definition: Definition, study: str) -> Digest:
    """The digest of a read model of one study; for a transaction in which every statement sees the same moment."""
    summed = Sums(definition)
    for table in in_order(definition):
        summed.add(table, stream(conn, schema, table, study))
    return summed.digest()


class Sums:
    """A digest in the making: tables in order of their names, each with its rows in order of partition and key."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._partitions: dict[str, hashlib._Hash] = {}
        self._sizes: dict[str, int] = {}

    def add(self, table: Table, rows: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """Take in a table's rows, in order of partition and key."""
        for _ in self.passing(table, rows):
            pass

    def passing(self, table: Table, rows: Iterable[tuple[str, Sequence[Any]]]) -> Iterator[tuple[str, Sequence[Any]]]:
        """The same, giving each row on when it is taken in."""
        partition, summed = None, None
        for name, values in rows:
            if summed is None or name != partition:
                partition, summed = name, self._partitions.setdefault(name, hashlib.sha256())
                summed.update(encoded((table.name,)))
            summed.update(encoded(values))
            self._sizes[name] = self._sizes.get(name, 0) + 1
            yield name, values

    def digest(self) -> Digest:
        """The digest of what was taken in."""
        summed = {name: found.hexdigest() for name, found in self._partitions.items()}
        return replace(of_partitions(self._definition, summed, sum(self._sizes.values())), sizes=self._sizes)


def of_partitions(definition: Definition, partitions: Mapping[str, str], rows: int) -> Digest:
    """The digest of a projection whose partitions have these digests (hex)."""
    ordered = {name: partitions[name] for name in sorted(partitions)}
    root = hashlib.sha256(encoded((definition.name, definition.version)))
    for name, summed in ordered.items():
        root.update(encoded((name, summed)))
    return Digest(root.hexdigest(), ordered, rows)


def in_order(definition: Definition) -> list[Table]:
    """The tables in the order in which they are summed."""
    return sorted(definition.tables, key=lambda table: table.name)


def encoded(values: Sequence[Any]) -> bytes:
    """The values of a row, each with its kind and length, the row with its number of values."""
    parts = [len(values).to_bytes(4)]
    for value in values:
        kind = type(value)
        if kind is str:
            data = value.encode()
            parts += b"t", len(data).to_bytes(4), data
        elif value is None:
            parts.append(b"-")
        elif kind is bool:
            parts.append(b"y" if value else b"n")
        elif kind is int:
            data = b"%d" % value
            parts += b"i", len(data).to_bytes(4), data
        else:
            data = encoded(value)
            parts += b"l", len(data).to_bytes(4), data
    return b"".join(parts)


def stream(conn: Conn, schema: str, table: Table, study: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """The rows of a table of a read model, (partition, values), in order of partition and key; few at a time."""
    names = ("partition", *table.names)
    query = sql.SQL("SELECT {} FROM {} WHERE study_id = %s ORDER BY {}").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in names),
        sql.Identifier(schema, table.name),
        sql.SQL(", ").join(sql.Identifier(name) for name in ("partition", *table.key)),
    )
    with conn.cursor(name="digest") as cursor:
        cursor.itersize = FETCH
        for partition, *values in cursor.execute(query, (study,), binary=True):
            yield partition, values
