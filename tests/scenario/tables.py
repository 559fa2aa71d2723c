"""Whole tables, for the checker alone: no code of the ledger reads them whole."""

from __future__ import annotations

from ledger.store.database import Conn
from ledger.store.rows import CheckpointRow, TileRow


def all_checkpoints(connection: Conn, study: str) -> list[CheckpointRow]:
    """Every checkpoint of a study, smallest first."""
    query = "SELECT size, root, note, signed_at FROM ledger.checkpoints WHERE study_id = %s ORDER BY size"
    return [CheckpointRow(*row) for row in connection.execute(query, [study], binary=True)]


def all_tiles(connection: Conn, study: str) -> list[TileRow]:
    """Every stored tile of a study."""
    query = "SELECT level, n, hashes FROM ledger.tiles WHERE study_id = %s ORDER BY level, n"
    return [TileRow(*row) for row in connection.execute(query, [study], binary=True)]
