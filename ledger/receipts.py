"""Receipts and proofs from what the store keeps: an entry, its path to the root, the signed checkpoint.

A receipt is a `.tlog-proof` whose `extra` line carries the entry: with a policy file it verifies offline. It
can be made again under any later checkpoint, at a cost logarithmic in the log.
"""

from __future__ import annotations

import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict

from ledger.merkle.tiles import WIDTH, HashTiles, MissingTile
from ledger.merkle.tlog_proof import TlogProof
from ledger.merkle.tree import EMPTY_ROOT, Growth, entry_bytes
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.rows import EventRow

ROOTS_KEPT = 4_096
"""Roots of recent sizes kept in memory: the cuts that decisions name are nearly always among them."""


class Receipts:
    """Proofs of one study's log. May be used by several threads."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._connection: Conn | None = None
        self._hashes = HashTiles(self._full_tile, self._leaf_hashes, self._tile_roots)
        self._roots: OrderedDict[int, str] = OrderedDict({0: base64url(EMPTY_ROOT)})

    def remember(self, size: int, root: bytes) -> None:
        """Keep a root that was just signed at hand."""
        with self._lock:
            self._roots[size] = base64url(root)
            if len(self._roots) > ROOTS_KEPT:
                self._roots.popitem(last=False)

    def root_at(self, connection: Conn, size: int) -> str:
        """The root of the first `size` entries, base64url; the caller knows that there are that many."""
        with self._lock:
            known = self._roots.get(size)
        if known is None:
            with self._lock:
                self._connection = connection
                root = self._hashes.root_at(size)
            self.remember(size, root)
            known = base64url(root)
        return known

    def inclusion_proof(self, connection: Conn, index: int, size: int) -> list[bytes]:
        """The path from an entry to the root of the first `size` entries (RFC 6962 section 2.1.1)."""
        with self._lock:
            self._connection = connection
            return self._hashes.inclusion_proof(index, size)

    def consistency_proof(self, connection: Conn, old: int, new: int) -> list[bytes]:
        """The proof that the first `old` entries are the beginning of the first `new` (RFC 6962 section 2.1.2)."""
        with self._lock:
            self._connection = connection
            return self._hashes.consistency_proof(old, new)

    def tile(self, connection: Conn, level: int, n: int, size: int) -> bytes:
        """A hash tile of the tree of `size` entries."""
        with self._lock:
            self._connection = connection
            return self._hashes.tile(level, n, size)

    def receipt(self, connection: Conn, row: EventRow, size: int, checkpoint: str, growth: Growth | None) -> str:
        """The receipt of an entry under a checkpoint; `growth` saves reading when it brought the entry in."""
        if growth is not None and row.idx >= growth.before.size:
            path = growth.inclusion_proof(row.idx)
        else:
            path = self.inclusion_proof(connection, row.idx, size)
        entry = entry_bytes(row.jwt, row.recorded_at)
        return TlogProof(row.idx, tuple(path), checkpoint.encode(), entry).to_bytes().decode()

    def _full_tile(self, level: int, n: int) -> bytes:
        assert self._connection is not None
        tile = evidence.read_tile(self._connection, self._study, level, n)
        if tile is None and level == 0:  # signed a moment ago by another process
            return b"".join(self._leaf_hashes(n * WIDTH, (n + 1) * WIDTH))
        if tile is None:
            raise MissingTile(f"the tile {level}/{n} of {self._study} is missing: restore the database")
        return tile

    def _tile_roots(self, level: int, start: int, end: int) -> list[bytes]:
        assert self._connection is not None
        return evidence.tile_roots(self._connection, self._study, level, start, end)

    def _leaf_hashes(self, start: int, end: int) -> list[bytes]:
        assert self._connection is not None
        return statements.leaf_hashes(self._connection, self._study, start, end)


def base64url(root: bytes) -> str:
    """A root as claims and headers state it: base64url without padding."""
    return urlsafe_b64encode(root).rstrip(b"=").decode()
