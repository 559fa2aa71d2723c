"""What was redacted: when, by whom, countersigned by whom, why, which fields, and how far it is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.domain.catalogue import CATALOGUE
from ledger.signing.statement import Statement, read_stored
from ledger.store import redactions, statements
from ledger.store.database import Conn
from ledger.store.rows import DestructionRow, EventRow, RedactionRow

PAGE = 1_000
"""Orders read at a time."""
WAITING = "waits for a second signature"
IN_EFFECT = "in effect, not destroyed yet"
PARTLY = "destroyed in the log, not in the projections yet"
DESTROYED = "destroyed"


def listed(conn: Conn, study: str, size: int, registered: Sequence[RedactionRow] = ()) -> list[dict[str, Any]]:
    """Every order of redaction among the first `size` entries, in order; and what the register knows of orders that
    a restored database lacks, in `order` and `countersigned` None."""
    rows = list(dict.fromkeys((*redactions.select_redactions(conn, study), *registered)))
    done = redactions.select_destructions(conn, study)
    orders = _orders(conn, study, size)
    found = [_order(conn, study, row, [one for one in rows if one.ordered_idx == row.idx], done) for row in orders]
    known = {row.idx for row in orders}
    for index in sorted({row.ordered_idx for row in rows} - known):
        missing = [row for row in rows if row.ordered_idx == index]
        found.append(_of_the_register(conn, study, index, missing, done))
    return found


def _orders(conn: Conn, study: str, size: int) -> list[EventRow]:
    found: list[EventRow] = []
    while True:
        rows = statements.select_events(conn, study, found[-1].idx + 1 if found else 0, size, PAGE, ["FieldsRedacted"])
        found += rows
        if len(rows) < PAGE:
            return found


def _order(
    conn: Conn, study: str, row: EventRow, rows: Sequence[RedactionRow], done: dict[tuple[int, str], DestructionRow]
) -> dict[str, Any]:
    statement = read_stored(row.jwt, row.disclosures, row.redacted)
    _, body, content, _ = CATALOGUE.current(statement, row.idx)
    effective = rows[0].effective_idx if rows else None
    return {
        "order": _signed(row, statement),
        "countersigned": None if effective is None else _signed_at(conn, study, effective),
        "sub": statement.sub,
        "site": statement.site,
        "legal_basis": body["legal_basis"],
        "reason": content.get("reason"),
        "records": [_record(conn, study, named) for named in body["records"]],
        **_state(effective, done),
    }


def _of_the_register(
    conn: Conn,
    study: str,
    index: int,
    rows: Sequence[RedactionRow],
    done: dict[tuple[int, str], DestructionRow],
) -> dict[str, Any]:
    """An order that the log does not hold (any more)."""
    fields: dict[str, list[str]] = {}
    for row in rows:
        fields.setdefault(row.jti, []).append(row.field)
    return {
        "order": None,
        "countersigned": None,
        "sub": None,
        "site": None,
        "legal_basis": None,
        "reason": f"only the register knows this redaction: its order stood at index {index} of the log",
        "records": [_record(conn, study, {"jti": jti, "fields": names}) for jti, names in fields.items()],
        **_state(rows[0].effective_idx, done),
    }


def _state(effective: int | None, done: dict[tuple[int, str], DestructionRow]) -> dict[str, Any]:
    if effective is None:
        return {"state": WAITING, "effective_index": None, "destroyed_at": None, "projections_clear_at": None}
    log, projections = done.get((effective, "log")), done.get((effective, "projections"))
    return {
        "state": IN_EFFECT if log is None else PARTLY if projections is None else DESTROYED,
        "effective_index": effective,
        "destroyed_at": None if log is None else log.destroyed_at.isoformat(),
        "projections_clear_at": None if projections is None else projections.destroyed_at.isoformat(),
    }


def _signed_at(conn: Conn, study: str, index: int) -> dict[str, Any] | None:
    rows = statements.select_events(conn, study, index, index + 1, 1)
    return _signed(rows[0], read_stored(rows[0].jwt, rows[0].disclosures)) if rows else None


def _signed(row: EventRow, statement: Statement) -> dict[str, Any]:
    return {
        "index": row.idx,
        "jti": row.jti,
        "recorded_at": row.recorded_at,
        "actor": statement.iss,
        "role": statement.role,
    }


def _record(conn: Conn, study: str, named: dict[str, Any]) -> dict[str, Any]:
    row = statements.find_event(conn, study, named["jti"])
    return {
        "jti": named["jti"],
        "index": None if row is None else row.idx,
        "event": None if row is None else row.topic.partition("/")[0],
        "fields": list(named.get("fields", ())),
    }
