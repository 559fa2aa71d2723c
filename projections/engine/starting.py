"""What is looked at before anything is followed, rebuilt or served: rows and code belong together.

A version of a projection has one fingerprint in a database. Code that differs from that which made the rows, under
the same version, would continue them as something else; so it refuses to begin, and says what was changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import Connection
from psycopg.rows import TupleRow

from projections.definitions import known_models
from projections.engine.definition import ReadModel
from projections.engine.errors import DefinitionChanged
from projections.engine.fingerprint import causes_first, changed_parts
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

MAX_NAMED = 8
"""Changed parts that a message names of each projection; a change of a library's release can touch a hundred."""


def check_definitions(conn: Conn, models: Iterable[ReadModel] | None = None) -> None:
    """Compare this release's projections (or `models`) with those registered. Raises DefinitionChanged."""
    registered: dict[tuple[str, int], dict[str, dict[str, str]]] = {}
    for name, version, fingerprint, _, _, parts in conn.execute(SQL["registered"]):
        registered.setdefault((name, version), {})[fingerprint] = parts
    changes = []
    for model in known_models() if models is None else models:
        name, version, fingerprint = model.identity
        for other, parts in registered.get((name, version), {}).items():
            if other != fingerprint:
                different = causes_first(changed_parts(parts, model.parts), model.definition)
                changes.append(f"{name} version {version}: {_said(different)}")
    if changes:
        raise DefinitionChanged("; ".join(changes), projections=changes)


def _said(parts: tuple[str, ...]) -> str:
    named = ", ".join(parts[:MAX_NAMED]) or "something that was not noted"
    return f"{named} and {len(parts) - MAX_NAMED} more" if len(parts) > MAX_NAMED else named
