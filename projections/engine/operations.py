"""What an operator asks of the projections: where they stand, to build them anew, their digest.

Plain values in and out, for the command line and whoever else runs the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import Database
from projections.definitions import NAMES, model_of, model_with, read_models
from projections.engine import counting, replay, switching
from projections.engine import digest as digests
from projections.engine.answering import reading_values
from projections.engine.definition import ReadModel
from projections.engine.errors import StudyNotKnown
from projections.engine.replay import MAX_WORKERS, Progress, Terms
from projections.engine.replays import Replay, replays_of
from projections.engine.sql import SQL
from projections.engine.stopping import stopped_in

Conn = Connection[TupleRow]

__all__ = [
    "Progress",
    "cancel",
    "digest",
    "event_versions",
    "rebuild",
    "replays",
    "retire",
    "roll_back",
    "standing",
    "switch",
    "told",
]

EVENTS_PER_WORKER = 20_000
"""Below this a second worker takes longer to start than it saves."""


def standing(database: Database, study: str | None = None) -> list[dict[str, Any]]:
    """Every read model of every study, or of one: version, fingerprint, schema, position, how far behind the signed
    size (in entries, and in seconds since the first of them was signed), whether it answers, whether this release has
    its code, and what stands still; and every projection of which a study has none yet. Raises StudyNotKnown."""
    found = []
    with database.snapshot() as conn:
        for name, group in groupby(conn.execute(SQL["standing"]).fetchall(), lambda row: str(row[0])):
            if study is None or name == study:
                rows = list(group)
                told = [_standing(conn, row) for row in rows if row[1] is not None]
                known = {one["name"] for one in told}
                told += [
                    _awaited(model, name, rows[0][6], rows[0][8])
                    for model in read_models()
                    if model.definition.name not in known
                ]
                found += sorted(told, key=lambda one: NAMES.index(one["name"]) if one["name"] in NAMES else len(NAMES))
    if study is not None and not found:
        raise StudyNotKnown(f"there is no study {study!r}")
    return found


def _standing(conn: Conn, row: tuple[Any, ...]) -> dict[str, Any]:
    study, name, version, fingerprint, schema, position, signed, live, behind_s = row
    stopped = stopped_in(conn, study, [schema])[schema]
    return {
        "study": study,
        "name": name,
        "version": version,
        "fingerprint": fingerprint,
        "schema": schema,
        "position": position,
        "signed": signed,
        "behind": signed - position,
        "behind_s": behind_s or 0.0,
        "live": live,
        "known": model_with(name, version, fingerprint) is not None,
        "stopped": [stopped[partition].as_dict() for partition in sorted(stopped)],
    }


def _awaited(model: ReadModel, study: str, signed: int, behind_s: float | None) -> dict[str, Any]:
    """A projection that nobody has begun to follow in a study."""
    return {
        "study": study,
        "name": model.definition.name,
        "version": model.definition.version,
        "fingerprint": model.fingerprint,
        "schema": model.schema,
        "position": 0,
        "signed": signed,
        "behind": signed,
        "behind_s": behind_s or 0.0,
        "live": False,
        "known": True,
        "stopped": [],
    }


def rebuild(
    database: Database,
    study: str,
    names: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] = lambda one: None,
    **terms: Any,
) -> list[dict[str, Any]]:
    """Build projections of a study anew beside those that answer, and compare; all of them, where none is named.

    `database` is opened as the projector; `terms`: as in `replay.Terms`. Raises KeyError for a name that is none, and
    what `replay.rebuild` raises.
    """
    with database.connection() as conn:
        made = Terms(workers=workers_for(conn, study, workers), **terms)
    return [told(one) for one in replay.rebuild(database, study, names or NAMES, made, progress)]


def workers_for(conn: Conn, study: str, wanted: int | None) -> int:
    """How many worker processes: those wanted, else half of the cores, fewer for a small study; at least one, at most
    MAX_WORKERS."""
    row = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
    size = int(row[0]) if row is not None else 0
    usual = min(size // EVENTS_PER_WORKER, (os.cpu_count() or 1) // 2)
    return max(1, min(usual if wanted is None else wanted, MAX_WORKERS))


def event_versions(database: Database, study: str) -> dict[str, Any]:
    """How many events of each version a study holds: see `counting.event_versions`. Raises StudyNotKnown."""
    with database.snapshot() as conn:
        return counting.event_versions(conn, study)


def told(one: Replay) -> dict[str, Any]:
    """A replay in plain values; `changed`: whether any row differs from those of the version that answered."""
    report = one.report or {}
    before, after = report.get("before"), report.get("after")
    return {
        "replay": str(one.id),
        "study": one.study,
        "projection": one.name,
        "state": one.state,
        "from": None if one.source is None else one.source.told(),
        "to": one.target.told(),
        "schema": one.target.schema,
        "size": one.size if one.size is not None else one.ceiling,
        "root": one.root,
        "digest": after and after["digest"],
        "digest_before": before and before["digest"],
        "changed": None if report is None or not report else any(report["counts"].values()),
        "differences": report.get("counts"),
        "report_digest": one.report_digest,
        "approval": None if one.approval is None else str(one.approval),
        "failure": one.failure,
        "by": one.by,
        "reason": one.reason,
        "begun_at": one.begun_at.isoformat(),
        "changed_at": one.changed_at.isoformat(),
    }


def replays(database: Database, study: str, name: str | None = None) -> list[dict[str, Any]]:
    """The replays of a study, of one projection or of all, from the first to the last."""
    with database.snapshot() as conn:
        return [told(one) for one in replays_of(conn, study, name)]


def switch(database: Database, study: str, name: str, by: str, reason: str | None = None) -> dict[str, Any]:
    """Let the version that was built answer; raises what `switching.switch` raises."""
    return told(switching.switch(database, study, name, by, reason))


def roll_back(database: Database, study: str, name: str, by: str, reason: str | None = None) -> dict[str, Any]:
    """Let the version before answer again; raises what `switching.roll_back` raises."""
    return told(switching.roll_back(database, study, name, by, reason))


def cancel(database: Database, study: str, name: str, by: str, reason: str | None = None) -> dict[str, Any]:
    """Give a replay up; raises what `switching.cancel` raises."""
    return told(switching.cancel(database, study, name, by, reason))


def retire(database: Database, study: str, name: str, by: str, reason: str | None = None) -> dict[str, Any]:
    """Take the version away that no longer answers, named by `retired`; raises what `switching.retire` raises."""
    replay, gone = switching.retire(database, study, name, by, reason)
    return {**told(replay), "retired": gone.told()}


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
