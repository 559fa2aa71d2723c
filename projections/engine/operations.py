"""What an operator asks of the projections: where they stand, to build them anew, their digest.

Plain values in and out, for the command line and whoever else runs the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ledger.store.database import Database
from projections.definitions import NAMES, model_of, read_models
from projections.engine import digest as digests
from projections.engine.errors import StudyNotKnown
from projections.engine.reading import reading_values
from projections.engine.rebuild import MAX_WORKERS, Progress, Rebuilt
from projections.engine.rebuild import rebuild as rebuild_projections
from projections.engine.sql import SQL, on

__all__ = ["Progress", "digest", "rebuild", "standing"]

_STOPPED = ("index", "event", "because")

EVENTS_PER_WORKER = 20_000
"""Below this a second worker takes longer to start than it saves."""


def standing(database: Database, study: str | None = None) -> list[dict[str, Any]]:
    """Every projection of every study, or of one: version, fingerprint, schema, position, how far behind the signed
    size, whether it answers, and where it stopped if it did. Raises StudyNotKnown."""
    with database.snapshot() as conn:
        rows = conn.execute(SQL["standing"], {"schemas": [model.schema for model in read_models()]}).fetchall()
        if study is not None and not any(row[0] == study for row in rows):
            raise StudyNotKnown(f"there is no study {study!r}")
        models = {model.schema: model for model in read_models()}
        found = []
        for name, schema, position, signed, live in rows:
            if study is not None and name != study:
                continue
            model = models[schema]
            stopped = None
            if position is not None and position < signed:
                stopped = conn.execute(on("stopped", schema), {"study": name}).fetchone()
            found.append(
                {
                    "study": name,
                    "name": model.definition.name,
                    "version": model.definition.version,
                    "fingerprint": model.fingerprint,
                    "schema": schema,
                    "position": position or 0,
                    "signed": signed,
                    "behind": signed - (position or 0),
                    "live": live,
                    "stopped": None if stopped is None else dict(zip(_STOPPED, stopped, strict=True)),
                }
            )
        return found


def rebuild(
    database: Database,
    study: str,
    names: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] = lambda one: None,
) -> list[dict[str, Any]]:
    """Build projections of a study anew from its first event; all of them, where none is named.

    `database` is opened as the projector. Raises KeyError for a name that is none, and what `rebuild.rebuild` raises.
    """
    if workers is None:
        with database.connection() as conn:
            row = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
        size = int(row[0]) if row is not None else 0
        workers = max(1, min(size // EVENTS_PER_WORKER, os.cpu_count() or 1, MAX_WORKERS))
    made = rebuild_projections(database, study, names or NAMES, workers, progress)
    return [_told(one) for one in made]


def _told(one: Rebuilt) -> dict[str, Any]:
    return {
        "projection": one.projection,
        "schema": one.schema,
        "size": one.size,
        "digest": one.after.root,
        "digest_before": one.before.root,
        "changed": one.changed,
        "rows": one.after.rows,
    }


def digest(database: Database, study: str, name: str) -> dict[str, Any]:
    """The digest of what a projection shows of a study. Raises KeyError, StudyNotKnown."""
    model = model_of(name)
    with database.snapshot() as conn:
        row = conn.execute(SQL["reading_of"], reading_values(study, name)).fetchone()
        if row is None or not row[0]:
            raise StudyNotKnown(f"there is no study {study!r}")
        _, schema, version, position, *_ = row
        found = digests.of_tables(conn, schema or model.schema, model.definition, study) if schema else None
    return {
        "study": study,
        "projection": name,
        "version": version or model.definition.version,
        "fingerprint": model.fingerprint,
        "size": position,
        "digest": None if found is None else found.root,
        "subjects": 0 if found is None else len(found.partitions),
        "rows": 0 if found is None else found.rows,
    }
