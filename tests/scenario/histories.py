"""Trees of invented entries, grown and forked: what a log, or somebody with its key, could show a witness."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.log_keys import LogKeys, derive
from ledger.merkle.note import parse_note
from ledger.merkle.tree import consistency_proof, leaf_hash, root_at, root_of
from ledger.witness import Submission

ORIGIN = "ledger.example.org/study/NCT01234567"
KEYS = derive(bytes(range(32)), ORIGIN)


@dataclass
class History:
    """A log that exists in a test's memory alone; `fork` gives another with the same beginning and the same key."""

    keys: LogKeys = KEYS
    origin: str = ORIGIN
    leaves: list[bytes] = field(default_factory=list)

    def grow(self, entries: int, mark: str = "") -> History:
        """The same log with so many entries more."""
        start = len(self.leaves)
        self.leaves += [leaf_hash(f"entry {start + n} {mark}".encode()) for n in range(entries)]
        return self

    def fork(self, size: int) -> History:
        """A log of its own with the first entries of this one, and its key."""
        return History(self.keys, self.origin, self.leaves[:size])

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """The unsigned checkpoint at a size."""
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.origin, size, root_at(size, self._node))

    def signed(self, size: int | None = None) -> bytes:
        """The signed checkpoint at a size."""
        return self.checkpoint(size).sign([self.keys.ed25519])

    def proof(self, old: int, new: int | None = None) -> list[bytes]:
        """The consistency proof between two sizes; empty from nothing."""
        new = len(self.leaves) if new is None else new
        return consistency_proof(old, new, self._node) if old else []

    def submission(self, old: int, new: int | None = None) -> bytes:
        """What an honest log sends to a witness that has seen `old`."""
        proof = tuple(self.proof(old, new))
        return Submission(old, proof, parse_note(self.signed(new))).to_bytes()

    def _node(self, level: int, index: int) -> bytes:
        return root_of(self.leaves[index << level : (index + 1) << level])
