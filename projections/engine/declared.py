"""Tables as data: kept of a version beside its fingerprint, so that a release without its code can read its rows.

Two releases stand side by side while one hands over to the other. The newer one compares what it built with what the
other keeps current; for that it needs the tables' columns and keys, and no handler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from projections.engine.definition import Column, Definition, ReadModel, Row, Table

Declared = Sequence[Mapping[str, Any]]
"""Of each table its `name`, `columns` ([name, type, whether it may be empty]) and `key`."""


def declared(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """The tables as JSON values; indexes are no matter of reading."""
    return [
        {
            "name": table.name,
            "columns": [[column.name, column.type, column.optional] for column in table.columns],
            "key": list(table.key),
        }
        for table in tables
    ]


def without_code(name: str, version: int, fingerprint: str, generation: int, tables: Declared) -> ReadModel:
    """A read model whose rows can be read and compared, and not made: its handler raises RuntimeError."""

    def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
        raise RuntimeError(f"this release does not have the code of {name} version {version}")

    made = tuple(
        Table(str(one["name"]), tuple(Column(*column) for column in one["columns"]), tuple(one["key"]))
        for one in tables
    )
    return ReadModel(Definition(name, version, made, changed), fingerprint, generation)
