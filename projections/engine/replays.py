"""Replays as the database has them: which there are, in what state, and how they move from one to the next.

    planned -> building -> catching up -> comparing -> awaiting approval | ready -> switched -> retired
                                                                          rolled back (and switched again, or retired)
    cancelled, failed: from everything before switched

Rules:
- a replay moves in one transaction with what makes the move true, and only from a state that it is expected in;
- what it concludes is noted in the same transaction (`replay_steps`), for the ledger: see `outbox`;
- one replay of a projection of a study at a time, until it answers or has come to its end.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from projections.definitions import model_with
from projections.engine.declared import Declared, without_code
from projections.engine.definition import ReadModel
from projections.engine.errors import ReplayMoved
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

State = Literal[
    "planned",
    "building",
    "catching up",
    "comparing",
    "awaiting approval",
    "ready",
    "switched",
    "rolled back",
    "retired",
    "cancelled",
    "failed",
]

UNFINISHED: tuple[State, ...] = ("planned", "building", "catching up", "comparing", "awaiting approval", "ready")
COMPARED: tuple[State, ...] = ("awaiting approval", "ready")
OVER: tuple[State, ...] = ("retired", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two read models of a replay; `generation` and `tables` are None when its schema is gone."""

    name: str
    schema: str
    version: int
    fingerprint: str
    generation: int | None
    tables: Declared | None = None

    @property
    def model(self) -> ReadModel | None:
        """The read model, where this release has its code."""
        return model_with(self.name, self.version, self.fingerprint, self.generation or 0)

    @property
    def readable(self) -> ReadModel | None:
        """The read model, for reading its rows alone where this release does not have its code."""
        if self.model is not None or self.tables is None:
            return self.model
        return without_code(self.name, self.version, self.fingerprint, self.generation or 0, self.tables)

    def told(self) -> dict[str, Any]:
        """What goes on record."""
        return {"version": self.version, "fingerprint": self.fingerprint, "schema": self.schema}


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay: what answered when it began (`source`, None where nothing did), what it builds (`target`), and how far
    it is. Fields as in `projection.replays`."""

    id: UUID
    study: str
    name: str
    source: Side | None
    target: Side
    state: State
    ceiling: int
    size: int | None
    root: str | None
    report: dict[str, Any] | None
    report_digest: str | None
    approval: UUID | None
    failure: dict[str, Any] | None
    built_s: float
    by: str
    reason: str | None
    begun_at: datetime
    changed_at: datetime

    @property
    def unfinished(self) -> bool:
        """Whether it goes on when it is run again."""
        return self.state in UNFINISHED

    @property
    def unexplained(self) -> int:
        """Differences that nothing declares, as the report counts them."""
        return int((self.report or {}).get("counts", {}).get("unexplained", 0))


def replays_of(conn: Conn, study: str, name: str | None = None) -> list[Replay]:
    """The replays of a study, of one projection or of all, from the first to the last."""
    return [_replay(row) for row in conn.execute(SQL["replays"], {"study": study, "name": name})]


def unfinished(conn: Conn, study: str, name: str) -> Replay | None:
    """The replay of a projection that is under way."""
    return next((one for one in replays_of(conn, study, name) if one.unfinished), None)


def refreshed(conn: Conn, replay: Replay) -> Replay:
    """The same replay as it is now."""
    return next(one for one in replays_of(conn, replay.study, replay.name) if one.id == replay.id)


def begin(
    conn: Conn, study: str, source: Side | None, model: ReadModel, ceiling: int, by: str, reason: str | None
) -> UUID:
    """Note a replay that builds `model`; its id. In a transaction."""
    replay = uuid.uuid4()
    values = {
        "replay": replay,
        "study": study,
        "name": model.definition.name,
        "from_schema": source and source.schema,
        "from_version": source and source.version,
        "from_fingerprint": source and source.fingerprint,
        "schema": model.schema,
        "version": model.definition.version,
        "fingerprint": model.fingerprint,
        "ceiling": ceiling,
        "by": by,
        "reason": reason,
    }
    conn.execute(SQL["begin_replay"], values)
    return replay


def move(conn: Conn, replay: Replay, state: State, *expected: State) -> None:
    """Move a replay on from one of these states, in the transaction that makes it true. Raises ReplayMoved."""
    values = {"replay": replay.id, "state": state, "expected": list(expected)}
    if conn.execute(SQL["move_replay"], values).rowcount != 1:
        now = refreshed(conn, replay).state
        raise ReplayMoved(f"the replay of {replay.name} is {now} now, not {' or '.join(expected)}", state=now)


def answering(conn: Conn, study: str, name: str) -> Side | None:
    """What answers for a projection; it cannot change before this transaction ends."""
    row = conn.execute(SQL["pointer"], {"study": study, "name": name}).fetchone()
    return None if row is None else Side(name, *row)


def outdated(conn: Conn, replay: Replay) -> bool:
    """Whether something else answers than what the replay is compared with."""
    answers = answering(conn, replay.study, replay.name)
    return answers is not None and replay.source is not None and answers.schema != replay.source.schema


def conclude(conn: Conn, replay: Replay, step: str, by: str, reason: str | None, **more: Any) -> None:
    """Note what a replay concluded, in the transaction of the step itself. Shape: ReplayConcluded's `report`."""
    report = replay.report or {}
    told = {
        "replay": str(replay.id),
        "step": step,
        "projection": replay.name,
        "from": replay.source.told() if replay.source else None,
        "to": replay.target.told(),
        "size": replay.size,
        "root": replay.root,
        "digests": {side: report.get(side, {}).get("digest") for side in ("before", "after")} if report else None,
        "differences": report.get("counts"),
        "report_digest": replay.report_digest,
        "approval": str(replay.approval) if replay.approval else None,
        "by": by,
        "reason": reason,
        **more,
    }
    conn.execute(SQL["note_step"], {"replay": replay.id, "step": step, "report": Jsonb(told)})


def _replay(row: tuple[Any, ...]) -> Replay:
    replay, study, name, *rest = row
    source = None if rest[0] is None else Side(name, *rest[:5])
    return Replay(replay, study, name, source, Side(name, *rest[5:10]), *rest[10:])
