"""What replays concluded, put into the ledger: ReplayConcluded, by the actor `ledger`, through the ordinary way in.

A step is noted in the transaction that makes it true, and goes into the ledger afterwards, under an event id that
follows from the replay and the step's number: whoever was killed in between, whoever looks next puts it there, and
nobody twice. Every command about projections looks, and a server does. A step that cannot be put there holds up the
later ones of its replay, which would stand before it, and nobody else's.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.application import Ledger
from ledger.authority import LEDGER_ACTOR
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.refusals import Refusal
from ledger.seals import NoSeal
from ledger.signing.statement import make, read_stored
from ledger.store import statements
from ledger.store.database import Conn
from projections.engine.errors import ReplayNotRecorded
from projections.engine.sql import SQL

EVENT = "ReplayConcluded"


def flush(ledger: Ledger) -> list[tuple[str, int]]:
    """Put what was concluded and does not stand in the ledger yet there; returns study and index of each. Raises
    ReplayNotRecorded, after everything that could be put there, and the store's errors; what is left waits for the next
    look."""
    with ledger.database.connection() as conn:
        if conn.execute(SQL["waiting_steps"]).fetchone() is None:
            return []
    recorded = []
    left: dict[UUID, ReplayNotRecorded] = {}
    with ledger.projector_database() as projector, projector.connection() as own, ledger.database.connection() as conn:
        for replay, study, name, number, step, at, report in own.execute(SQL["waiting_steps"]).fetchall():
            if replay in left:
                continue
            try:
                told = _checked(replay, name, step, report)
                index = _recorded(ledger, conn, study, jti_of(replay, number), name, {**told, "at": at.isoformat()})
            except ReplayNotRecorded as refusal:
                left[replay] = refusal
                continue
            own.execute(SQL["step_recorded"], {"replay": replay, "number": number, "idx": index})
            recorded.append((study, index))
    for waits in left.values():
        raise waits
    return recorded


def _checked(replay: UUID, name: str, step: str, report: Any) -> dict[str, Any]:
    """The report of a step, if it is of this step: what the ledger states is never another's words."""
    stands = (str(replay), name, step)
    if not isinstance(report, dict) or tuple(report.get(one) for one in ("replay", "projection", "step")) != stands:
        raise ReplayNotRecorded(f"what is noted of the step {step!r} of the replay {replay} is not about it")
    return report


def jti_of(replay: UUID, number: int) -> str:
    """The event id under which a step goes into the ledger."""
    return str(uuid.uuid5(replay, f"step {number}"))


def _recorded(ledger: Ledger, conn: Conn, study: str, jti: str, name: str, report: dict[str, Any]) -> int:
    """The index of a step in the ledger, where it is put unless it is there."""
    found = _index(conn, study, jti)
    if found is not None:
        return found
    try:
        key = ledger.seal(study)
    except NoSeal as none:
        raise ReplayNotRecorded(f"{none.rule}: {none.because}. {none.remedy}") from None
    claims = {
        "iss": LEDGER_ACTOR,
        "role": "system",
        "aud": ledger.origin(study),
        "sub": "study",
        "jti": jti,
        "iat": int(_now(ledger, conn, study).timestamp()),
        "event": EVENT,
        "v": CATALOGUE[EVENT].v,
        "body": {"projection": name, "report": report},
    }
    outcome = ledger.append(study, make(key, claims, {}))
    if not isinstance(outcome, Refusal):
        return outcome.index
    found = _index(conn, study, jti)  # somebody else was faster, a second earlier or later
    if found is None:
        raise ReplayNotRecorded(f"{outcome.rule}: {outcome.because}. {outcome.remedy}")
    return found


def _index(conn: Conn, study: str, jti: str) -> int | None:
    row = conn.execute(SQL["recorded_jti"], {"study": study, "jti": jti}).fetchone()
    return None if row is None else int(row[0])


def _now(ledger: Ledger, conn: Conn, study: str) -> datetime:
    """The time that the statement states: in a study with a simulated clock that of the last entry."""
    first = statements.select_events(conn, study, 0, 1, 1)[0]
    if read_stored(first.jwt, first.disclosures).body["clock"] != "simulated":
        return ledger.now()
    size = statements.read_head(conn, study).size
    row = conn.execute(SQL["recorded_at"], {"study": study, "idx": size - 1}).fetchone()
    assert row is not None, "a study has its first event"
    return datetime.fromisoformat(row[0])
