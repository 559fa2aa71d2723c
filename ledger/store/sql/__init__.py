"""The SQL of the store: named statements in `queries.sql`, the schema in `migrations/`.

A statement is a name between dashes, one sentence on comment lines, then its text:

    -- read_head --
    -- Returns a study's head as last committed.
    SELECT size, frontier FROM ledger.heads WHERE study_id = %(study)s

SQL is never composed from strings: values are parameters, and a variant is a statement of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import LiteralString

_NAME = re.compile(r"^-- ([a-z][a-z0-9_]*) --$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`: its name, its SQL, and the SHA-256 of that text in lowercase hex."""

    name: str
    text: LiteralString
    sha256: str


def parse(source: str) -> dict[str, LiteralString]:
    """Reads named statements. Raises ValueError for text outside a statement, a name used twice, a
    statement without its sentence or without SQL."""
    head, *parts = _NAME.split(source)
    if any(line and not line.startswith("--") for line in head.splitlines()):
        raise ValueError("queries.sql: SQL before the first statement name")
    statements: dict[str, LiteralString] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if name in statements:
            raise ValueError(f"queries.sql: two statements are named {name}")
        if not lines or not lines[0].startswith("-- ") or not text:
            raise ValueError(f"queries.sql: {name} needs a sentence and a statement")
        statements[name] = text
    return statements


def migrations() -> tuple[Migration, ...]:
    """All migrations in the order in which they are applied: that of their names."""
    folder = files(__package__) / "migrations"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".sql"):
            text = entry.read_text(encoding="utf-8")  # universal newlines: one digest on every system
            found.append(Migration(entry.name, text, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(found)


SQL: Mapping[str, LiteralString] = MappingProxyType(
    parse((files(__package__) / "queries.sql").read_text(encoding="utf-8"))
)
