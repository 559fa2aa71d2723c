"""A certificate read from a database's log: the study's own entries below the signed size, and its roots."""

from __future__ import annotations

from functools import cache
from typing import Any

from ledger.domain.aggregate import Study, study_aggregate_id
from ledger.signing.encoding import b64url
from ledger.store.database import Conn
from projections.engine.errors import StudyNotKnown
from projections.engine.folding import aggregates_below, fold_one, new_aggregate
from projections.engine.reading import root_at
from projections.engine.sql import SQL
from projections.reports.certificate import certificate


def certified(conn: Conn, study: str, name: str, replay: str | None = None) -> dict[str, Any]:
    """The certificate of a replay. For a snapshot. Raises StudyNotKnown, NotReplayed, FoldFailed."""
    origin = conn.execute(SQL["origin"], {"study": study}).fetchone()
    signed = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
    if origin is None or signed is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    size = int(signed[0])
    state = new_aggregate(own := study_aggregate_id(origin[0]), own)
    assert isinstance(state, Study)
    for event in aggregates_below(conn, study, {own: 0}, size):
        fold_one(state, event)

    @cache
    def root_of(at: int) -> str:
        return b64url(root_at(conn, study, at))

    return certificate(state, name, size, root_of, replay)
