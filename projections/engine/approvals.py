"""Approvals of replays as they stand in the ledger (`ReplayApproved`)."""

from __future__ import annotations

from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, study_aggregate_id
from ledger.domain.record import Record
from projections.engine.folding import aggregates_below, fold_one, new_aggregate
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

EVENT = "ReplayApproved"


def approval_of(conn: Conn, study: str, projection: str, report_digest: str) -> UUID | None:
    """The standing approval of exactly this report of a projection, below the signed size: its event id. One that was
    withdrawn, or whose key is revoked as suspect from before it on, does not stand."""
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    signed = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
    if row is None or signed is None:
        return None
    state = new_aggregate(own := study_aggregate_id(row[0]), own)
    assert isinstance(state, Study)
    for event in aggregates_below(conn, study, {own: 0}, int(signed[0])):
        fold_one(state, event)
    for record in reversed(state.records.by_event.get(EVENT, [])):
        said = (record.body.get("projection"), record.body.get("report_digest"))
        if said == (projection, report_digest) and _stands(state, record):
            return UUID(record.jti)
    return None


def _stands(state: Study, record: Record) -> bool:
    signed = record.meaning is not None and record.withdrawn_at is None
    return (
        signed and record.stands and not state.authority.disputed(record.kid, record.index, record.jti, record.digest)
    )
