"""The engine's SQL: named statements in `queries.sql` and `replay.sql`, in the form of `ledger.store.sql`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import LiteralString

from psycopg.sql import SQL as Text
from psycopg.sql import Composed, Identifier

from ledger.store.sql import parse

FILES = ("queries.sql", "replay.sql")

SQL: Mapping[str, LiteralString] = MappingProxyType(
    parse("\n".join((files(__package__) / name).read_text(encoding="utf-8") for name in FILES))
)


def on(name: str, schema: str, table: str = "") -> Composed:
    """The named statement on a read model's schema, and on one of its tables."""
    return Text(SQL[name]).format(schema=Identifier(schema), table=Identifier(table))
