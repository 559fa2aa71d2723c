"""Which version answers: switching, rolling back, giving up, retiring.

Rules:
- a switch is one transaction: both read models held at one size, the pointer changed if it is still what is expected,
  the replay moved, what was concluded noted for the ledger. A reader resolves the pointer once in its snapshot, so it
  sees one version or the other, never both, and never an earlier size than before;
- nothing is switched to that was not compared; what is unexplained needs a standing approval of exactly that report;
  and what was recorded since the comparison must not differ in a way that the report does not have;
- rolling back is the same step in reverse, as long as the version before is kept current;
- what answers is never taken away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from ledger.store.database import PROJECTOR, Database
from ledger.store.errors import DatabaseBusy, translated
from projections.engine import replays, tables, unaltered
from projections.engine.approvals import approval_of
from projections.engine.comparing import recheck
from projections.engine.definition import STUDY_PARTITION
from projections.engine.errors import (
    NotKeptCurrent,
    ReplayMoved,
    ReplayNotApproved,
    ReplayNotCompared,
    ReplayNotThere,
    StandsStill,
    StudyNotKnown,
    UnexplainedSince,
    VersionStillNeeded,
)
from projections.engine.fencing import fenced
from projections.engine.replays import Replay, Side
from projections.engine.sql import SQL, on
from projections.engine.starting import check_definitions
from projections.engine.stopping import stopped_in
from projections.engine.tally import report_digest
from projections.engine.workers import PATIENCE

Conn = Connection[TupleRow]

MAX_RECHECKED = 200
"""Aggregates that are looked through inside a switch, while followers wait: some seconds."""

DROP_TRIES = 30
"""A schema that is being read is dropped when the reading ends; each try waits for a fifth of a second
(`wait_briefly`), for whoever begins a read model, or looks into this one, waits behind it."""

DROP_WAIT_S = 0.5


def switch(database: Database, study: str, name: str, by: str, reason: str | None) -> Replay:
    """Let the version that was built and compared answer. `database` is opened as the projector. Raises ReplayNotThere,
    ReplayNotCompared, ReplayNotApproved, RowsAltered, StandsStill, UnexplainedSince, LiveNotFollowed, ReplayMoved and
    the store's errors."""
    with _session(database, study) as (own, conn, origin):
        check_definitions(conn)
        replay = _latest(conn, study, name, "awaiting approval", "ready", "rolled back")
        if replay.source is None or replay.report is None or replay.size is None:
            raise ReplayNotCompared(f"the replay of {name} was not compared")
        unaltered.check(own, origin, replay)
        with fenced(own, conn, study, origin, replay.source, replay.target) as size:
            now = _held(conn, replay, "awaiting approval", "ready", "rolled back")
            if replays.outdated(conn, now):
                raise ReplayNotCompared(f"{name} was compared with {replay.source.schema}, which does not answer now")
            if report_digest(now.report or {}) != now.report_digest:
                raise ReplayNotCompared(f"the report of {name} is not the one that was concluded: it was altered")
            if now.unexplained:
                approval = approval_of(conn, study, name, str(now.report_digest))
                if approval is None:
                    because = f"{now.unexplained} differences are unexplained (report {now.report_digest})"
                    raise ReplayNotApproved(because, report_digest=now.report_digest)
                conn.execute(SQL["approved_replay"], {"replay": now.id, "approval": approval})
            _goes_on(conn, study, replay.source, replay.target)
            _recheck(conn, origin, now, size)
            _point(conn, now, replay.source, replay.target)
            replays.move(conn, now, "switched", now.state)
            replays.conclude(conn, replays.refreshed(conn, now), "switched", by, reason, switched_at_size=size)
        return replays.refreshed(conn, replay)


def roll_back(database: Database, study: str, name: str, by: str, reason: str | None) -> Replay:
    """Let the version before answer again. Raises ReplayNotThere, NotKeptCurrent, StandsStill, LiveNotFollowed,
    ReplayMoved and the store's errors."""
    with _session(database, study) as (own, conn, origin):
        check_definitions(conn)
        replay = _latest(conn, study, name, "switched")
        if replay.source is None:
            raise ReplayNotThere(f"nothing answered for {name} before version {replay.target.version}")
        _kept_current(conn, replay, replay.source)
        with fenced(own, conn, study, origin, replay.target, replay.source) as size:
            now = _held(conn, replay, "switched")
            _goes_on(conn, study, replay.target, replay.source)
            _point(conn, now, replay.target, replay.source)
            replays.move(conn, now, "rolled back", "switched")
            replays.conclude(conn, now, "rolled back", by, reason, switched_at_size=size)
        return replays.refreshed(conn, replay)


def cancel(database: Database, study: str, name: str, by: str, reason: str | None) -> Replay:
    """Give up the replay that is under way, and take away what it built. Whoever is building it notices at the next
    part. Raises ReplayNotThere, VersionStillNeeded where somebody moved the pointer to it by hand, ReplayMoved and the
    store's errors."""
    with _session(database, study) as (_, conn, _):
        replay = _latest(conn, study, name, *replays.UNFINISHED)
        with conn.transaction():
            now = _held(conn, replay, *replays.UNFINISHED)
            _not_needed(conn, now, now.target)
            replays.move(conn, now, "cancelled", now.state)
            replays.conclude(conn, now, "cancelled", by, reason)
        give_up(conn, replay)
        return replays.refreshed(conn, replay)


def retire(database: Database, study: str, name: str, by: str, reason: str | None) -> tuple[Replay, Side]:
    """Take away a version that no longer answers: the one before a switch, or the new one after a roll-back; of several
    that of the last replay. It cannot be switched back to then. The replay, and what was taken away. Raises
    ReplayNotThere, VersionStillNeeded, ReplayMoved and the store's errors."""
    with _session(database, study) as (_, conn, _):
        replay = _retirable(conn, study, name)
        with conn.transaction():
            now = _held(conn, replay, "switched", "rolled back")
            gone = _left(now)
            if gone is None:
                raise ReplayNotThere(f"nothing answered for {name} before version {replay.target.version}")
            _not_needed(conn, now, gone)
            replays.move(conn, now, "retired", now.state)
            replays.conclude(conn, now, "retired", by, reason, retired=gone.told())
            conn.execute(SQL["forget_position"], {"study": study, "schema": gone.schema})
        _take_away(conn, study, gone)
        return replays.refreshed(conn, replay), gone


def _left(replay: Replay) -> Side | None:
    """What a replay leaves behind that does not answer by it."""
    return replay.source if replay.state == "switched" else replay.target


def _retirable(conn: Conn, study: str, name: str) -> Replay:
    """The last replay that left a version behind which does not answer; where all that were left answer, the last."""
    live = replays.answering(conn, study, name)
    left = [
        (replay, gone)
        for replay in reversed(replays.replays_of(conn, study, name))
        if replay.state in ("switched", "rolled back") and (gone := _left(replay)) and gone.generation is not None
    ]
    for replay, gone in left:
        if live is None or gone.schema != live.schema:
            return replay
    if left:
        return left[0][0]
    raise ReplayNotThere(f"no version of {name!r} in {study} stands beside the one that answers, left by a replay")


def give_up(conn: Conn, replay: Replay, tries: int = DROP_TRIES) -> None:
    """Take away what a replay built that is over."""
    conn.execute(SQL["forget_position"], {"study": replay.study, "schema": replay.target.schema})
    _take_away(conn, replay.study, replay.target, tries)


def tidy(conn: Conn, study: str) -> None:
    """Take away what commands left behind that were killed, or gave up waiting, while they gave a replay up or retired
    a version. What somebody holds still is left for the next: a forgotten session keeps nobody from rebuilding."""
    for replay in replays.replays_of(conn, study):
        with suppress(DatabaseBusy):
            _tidy(conn, study, replay)


def _tidy(conn: Conn, study: str, replay: Replay) -> None:
    if replay.state in ("cancelled", "failed") and replay.target.generation is not None:
        give_up(conn, replay, tries=1)
    if replay.state == "retired":
        current = {schema for (schema, _) in conn.execute(SQL["positions"], {"study": study})}
        for side in (replay.source, replay.target):
            if side is not None and side.generation is not None and side.schema not in current:
                _take_away(conn, study, side, tries=1)


# -- what each step needs --------------------------------------------------------------------------------------


@contextmanager
def _session(database: Database, study: str) -> Iterator[tuple[Database, Conn, str]]:
    with Database(database.url, role=PROJECTOR, name="trial-ledger-switch", **PATIENCE) as own:
        with own.dedicated() as conn:
            row = conn.execute(SQL["origin"], {"study": study}).fetchone()
            if row is None:
                raise StudyNotKnown(f"there is no study {study!r}")
            yield own, conn, str(row[0])


def _latest(conn: Conn, study: str, name: str, *states: replays.State) -> Replay:
    """The last replay of a projection in one of these states, unless one since has come to answer."""
    for replay in reversed(replays.replays_of(conn, study, name)):
        if replay.state in states:
            return replay
        if replay.state in ("switched", "retired") and replay.target.generation is not None:
            break
    raise ReplayNotThere(f"no replay of {name!r} in {study} is {' or '.join(states)}")


def _held(conn: Conn, replay: Replay, *expected: replays.State) -> Replay:
    """The replay as it is now, kept from moving until this transaction ends."""
    conn.execute(SQL["lock_replay"], {"replay": replay.id})
    now = replays.refreshed(conn, replay)
    if now.state not in expected:
        raise ReplayMoved(f"the replay of {now.name} is {now.state} now", state=now.state)
    return now


def _point(conn: Conn, replay: Replay, before: Side, after: Side) -> None:
    """Compare-and-swap of the pointer."""
    values: dict[str, Any] = {"study": replay.study, "name": replay.name, "version": after.version}
    if conn.execute(SQL["switch"], {**values, "schema": after.schema, "expected": before.schema}).rowcount != 1:
        raise ReplayMoved(f"{before.schema} is not what answers for {replay.name} now")


def _goes_on(conn: Conn, study: str, before: Side, after: Side) -> None:
    """Nothing stands still in what is to answer that does not stand still in what answers."""
    found = stopped_in(conn, study, [before.schema, after.schema])
    more = [found[after.schema][name] for name in sorted(found[after.schema].keys() - found[before.schema].keys())]
    if more:
        named = f"{more[0].event} at index {more[0].index}: {more[0].because}"
        raise StandsStill(f"{len(more)} of {after.schema}, the first at {named}", (more[0].index,))


def _recheck(conn: Conn, origin: str, replay: Replay, size: int) -> None:
    """Look through what was recorded since the comparison, both standing at `size`."""
    assert replay.source is not None and replay.size is not None and replay.report is not None
    if size <= replay.size:
        return
    values = {"study": replay.study, "start": replay.size, "stop": size, "limit": MAX_RECHECKED + 1}
    touched = [originator for (originator,) in conn.execute(SQL["touched"], values)]
    if len(touched) > MAX_RECHECKED:
        raise ReplayNotCompared(f"{size - replay.size} events were recorded since the comparison at {replay.size}")
    before, after = replay.source.readable, replay.target.readable
    if before is None or after is None:
        raise ReplayNotCompared(f"one of the versions of {replay.name} is gone")
    own = study_aggregate_id(origin)
    found = recheck(conn, replay.study, before, after, [_partition(one, own) for one in touched])
    known = {
        (one["table"], one["column"], one["kind"]) for one in replay.report.get("columns", ()) if not one["intended"]
    }
    more = sorted(found - known)
    if more:
        named = "; ".join(" ".join(part for part in one if part) for one in more[:5])
        raise UnexplainedSince(f"since size {replay.size}: {named}")


def _partition(originator: UUID, own: UUID) -> str:
    return STUDY_PARTITION if originator == own else str(originator)


def _kept_current(conn: Conn, replay: Replay, side: Side) -> None:
    positions: dict[str, int] = dict(conn.execute(SQL["positions"], {"study": replay.study}).fetchall())
    if side.schema not in positions:
        raise NotKeptCurrent(f"{side.schema} of version {side.version}")


def _not_needed(conn: Conn, replay: Replay, side: Side) -> None:
    live = replays.answering(conn, replay.study, replay.name)
    if live is not None and live.schema == side.schema:
        raise VersionStillNeeded(f"{side.schema} answers for {replay.name}")
    under_way = replays.unfinished(conn, replay.study, replay.name)
    if under_way is not None and under_way.source is not None and under_way.source.schema == side.schema:
        raise VersionStillNeeded(f"{side.schema} is what a replay is compared with")


def _take_away(conn: Conn, study: str, side: Side, tries: int = DROP_TRIES) -> None:
    """Drop a schema, or empty it of this study where others are in it. Nobody is made to wait long for it: the lock is
    asked for briefly, and again."""
    model = side.model
    for tried in range(1, tries + 1):
        try:
            with translated(), conn.transaction():
                conn.execute(SQL["lock_definitions"])
                used = conn.execute(SQL["used_elsewhere"], {"study": study, "schema": side.schema}).fetchone()
                if used is not None and used[0]:
                    if model is not None:
                        tables.empty_study(conn, side.schema, model.definition, study)
                    return
                conn.execute(SQL["wait_briefly"])
                conn.execute(on("drop_schema", side.schema))
                conn.execute(SQL["unregister"], {"schema": side.schema})
            return
        except DatabaseBusy:
            if tried == tries:
                raise
            time.sleep(DROP_WAIT_S)
