"""Every version of every projection, each with its state: what answers, what stands by, what is being built.

`live`: it answers. `standby`: it is kept current, to be switched to or back to. A replay under way gives the version
that it builds its own state (`building 12 of 40 parts`, `awaiting approval`, `approved`, ...). `not begun`: nothing
answers for the projection yet.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import Database
from projections.engine import operations
from projections.engine.approvals import approval_of
from projections.engine.building import standing
from projections.engine.replays import Replay, replays_of
from projections.engine.sql import SQL

Conn = Connection[TupleRow]


def overview(database: Database, study: str | None = None) -> list[dict[str, Any]]:
    """The read models of every study, or of one, in the form of `operations.standing` with `state` and `replay` (its
    id, None without one); those being built too. Raises StudyNotKnown."""
    found = operations.standing(database, study)
    with database.snapshot() as conn:
        for name in dict.fromkeys(one["study"] for one in found):
            under_way = {one.target.schema: one for one in replays_of(conn, name) if one.unfinished}
            own = [one for one in found if one["study"] == name]
            for one in own:
                replay = under_way.pop(one["schema"], None)
                one |= {"state": _state(conn, one, replay), "replay": replay and str(replay.id)}
            signed = own[0]["signed"]
            found += [_building(conn, replay, signed) for replay in under_way.values()]
    return sorted(found, key=lambda one: one["study"])


def _state(conn: Conn, one: dict[str, Any], replay: Replay | None) -> str:
    if one["live"]:
        return "live"
    if replay is None:
        kept = {schema for (schema, _) in conn.execute(SQL["positions"], {"study": one["study"]})}
        return "standby" if one["schema"] in kept else "not begun"  # its schema may be there for other studies
    if replay.state == "awaiting approval" and approval_of(conn, replay.study, replay.name, str(replay.report_digest)):
        return "approved"
    return replay.state


def _building(conn: Conn, replay: Replay, signed: int) -> dict[str, Any]:
    """A version of which no row is kept current yet."""
    far = standing(conn, replay.study, replay.target.schema)
    return {
        "study": replay.study,
        "name": replay.name,
        "version": replay.target.version,
        "fingerprint": replay.target.fingerprint,
        "schema": replay.target.schema,
        "position": 0,
        "signed": signed,
        "behind": signed,
        "behind_s": None,
        "live": False,
        "known": replay.target.model is not None,
        "stopped": [],
        "state": f"building {far.parts_done} of {far.parts} parts" if far.parts else replay.state,
        "replay": str(replay.id),
    }
