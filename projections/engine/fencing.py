"""The fence: one moment at which two read models of a study stand at the same size and neither moves.

The newer one is held where it stands until the one that answers is there or beyond; then that is held as well, and the
newer one is brought to it in the same transaction. Followers wait for as long as that takes, writers and readers do
not. A switch happens inside the fence. A comparison reads on a connection of its own, which sees nothing of a
transaction that has not ended: so the fence is raised, let go, and taken once more where both still stand there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.store.database import Database
from projections.engine import kept, replays, unaltered
from projections.engine.comparing import compare
from projections.engine.definition import ReadModel
from projections.engine.errors import LiveNotFollowed, OtherReplayUnderWay, ReplayMoved
from projections.engine.replays import Replay, Side
from projections.engine.runner import Runner
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

FENCE_S = 30.0
"""How long the version that answers may take to reach the new one: somebody else follows it, and is behind."""

FENCE_TRIES = 50
"""Between raising the fence and taking it once more somebody may move one of the two: rare, and then tried again."""

LOOK_S = 0.05


@contextmanager
def fenced(own: Database, conn: Conn, study: str, origin: str, fixed: Side, moving: Side) -> Iterator[int]:
    """Both read models of one size inside the `with` block, in a transaction on `conn`; gives the size.

    `moving` is brought to where `fixed` stands; `fixed` is followed here where this release has its code, else waited
    for. Where it has the code of `fixed` alone they change places. `own` gives other connections. Raises
    LiveNotFollowed, OtherReplayUnderWay.
    """
    if moving.model is None and fixed.model is not None:
        fixed, moving = moving, fixed
    model = _known(moving)
    with conn.transaction():
        at = _lock(conn, study, moving)
        _wait_for(own, study, fixed, at)
        size = _lock(conn, study, fixed)
        if size > at:
            Runner(own, [model], until=size).bring(conn, study, origin, model)
            if _lock(conn, study, moving) != size:
                raise LiveNotFollowed(f"{moving.schema} stands still below {size}", wanted=size)
        yield size


@contextmanager
def seen(own: Database, conn: Conn, study: str, origin: str, fixed: Side, moving: Side) -> Iterator[tuple[Conn, int]]:
    """A snapshot in which both read models stand at one size, and that size; nobody waits while it is looked at. Raises
    as `fenced` does."""
    with own.snapshot() as looking:
        for _ in range(FENCE_TRIES):
            with fenced(own, conn, study, origin, fixed, moving) as size:
                pass
            with conn.transaction():
                both = {_lock(conn, study, side) for side in sorted((fixed, moving), key=lambda side: side.schema)}
                if len(both) == 1:
                    (size,) = both
                    looking.execute(SQL["origin"], {"study": study})  # a snapshot is of its first statement's moment
                    break
        else:
            raise LiveNotFollowed(f"{fixed.schema} and {moving.schema} were never seen at one size", wanted=size)
        yield looking, size


def _known(side: Side) -> ReadModel:
    model = side.model
    if model is None:
        raise OtherReplayUnderWay(f"this release does not have {side.name} version {side.version}")
    return model


def _lock(conn: Conn, study: str, side: Side) -> int:
    """Hold a read model where it stands."""
    row = conn.execute(SQL["lock_position"], {"study": study, "schema": side.schema}).fetchone()
    if row is None:
        raise LiveNotFollowed(f"{side.schema} is not kept current", schema=side.schema)
    return int(row[0])


def _wait_for(own: Database, study: str, side: Side, size: int) -> None:
    """Wait until a read model stands at a size or beyond, following it so far where this release can: the other is held
    meanwhile."""
    model, deadline = side.model, time.monotonic() + FENCE_S
    while True:
        if model is not None:
            Runner(own, [model], until=size, tries=False).catch_up(only=study)
        with own.connection() as other:
            positions: dict[str, int] = dict(other.execute(SQL["positions"], {"study": study}).fetchall())
        stands = positions.get(side.schema, -1)
        if stands >= size:
            return
        if time.monotonic() > deadline or stands < 0:
            raise LiveNotFollowed(f"{side.schema} stands at {max(stands, 0)}, the other at {size}", wanted=size)
        time.sleep(LOOK_S)


def compare_at_one_size(own: Database, conn: Conn, origin: str, replay: Replay, by: str, reason: str | None) -> None:
    """Compare a replay's two read models at one size; keep the differences and the report, and move it on by what was
    found. Raises LiveNotFollowed, NormaliserUnsound, ReplayMoved."""
    assert replay.source is not None
    before = replay.source.readable
    if before is None:
        raise LiveNotFollowed(f"{replay.source.schema} is gone", schema=replay.source.schema)
    after, study = _known(replay.target), replay.study
    with (
        seen(own, conn, study, origin, replay.source, replay.target) as (looking, size),
        conn.transaction(),
    ):
        with kept.keeping(conn, study, after.schema, size) as write:
            found = compare(looking, study, before, after, size, write)
        unaltered.keep(conn, study, after, found.after_digest)
        conn.execute(SQL["lock_replay"], {"replay": replay.id})
        now = replays.refreshed(conn, replay)
        if now.state != "comparing":
            raise ReplayMoved(f"the replay of {replay.name} is {now.state} now", state=now.state)
        values = {"size": size, "root": found.report["root"], "digest": found.report_digest}
        conn.execute(SQL["compared_replay"], {"replay": replay.id, "report": Jsonb(found.report), **values})
        replays.move(conn, replay, "ready" if found else "awaiting approval", "comparing")
        replays.conclude(conn, replays.refreshed(conn, replay), "compared", by, reason)
