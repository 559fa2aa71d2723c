"""Receipts (C2SP tlog-proof v1): one file that proves an entry is in a log, offline.

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry's bytes>
    index <decimal>
    <base64 hash>                          none or more, the leaf's sibling first
    <empty line>
    <signed checkpoint, verbatim>

`extra` is not authenticated by the format; here it holds the entry, and `verify` trusts it only because its
hash is the leaf the proof starts from.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.merkle.checkpoint import OpenedCheckpoint, open_checkpoint
from ledger.merkle.note import NOTE_LIMIT, Verifier, unbase64
from ledger.merkle.tree import ENTRY_LIMIT, HASH_BYTES, SIZE_LIMIT, NotProven, leaf_hash, verify_inclusion

FIRST_LINE = b"c2sp.org/tlog-proof@v1"

HASHES_LIMIT = 63
"""A tree of fewer than 2^63 leaves is not higher."""

PROOF_LIMIT = NOTE_LIMIT + 2 * ENTRY_LIMIT
"""Bytes: the largest note, an entry in base64, and the hashes."""

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A receipt as parsed, nothing of it verified: index, hashes, signed checkpoint, entry (or None)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < SIZE_LIMIT or len(self.hashes) > HASHES_LIMIT:
            raise ValueError(f"no proof has index {self.index} and {len(self.hashes)} hashes")
        if any(len(value) != HASH_BYTES for value in self.hashes):
            raise ValueError(f"a hash has {HASH_BYTES} bytes")
        if self.extra is not None and not 1 <= len(self.extra) <= ENTRY_LIMIT:
            raise ValueError(f"an entry has 1 to {ENTRY_LIMIT} bytes, not {len(self.extra)}")
        if not self.checkpoint.endswith(b"\n"):
            raise ValueError("the signed checkpoint does not end with a line feed")

    def to_bytes(self) -> bytes:
        """The receipt's bytes; ASCII but for the em dashes of the checkpoint."""
        lines = [FIRST_LINE]
        if self.extra is not None:
            lines.append(b"extra " + b64encode(self.extra))
        lines.append(b"index %d" % self.index)
        lines += map(b64encode, self.hashes)
        return b"\n".join(lines) + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """A receipt's parts; `NotProven` unless `to_bytes` gives the same bytes again."""
        if len(data) > PROOF_LIMIT:
            raise NotProven(f"the receipt has {len(data)} bytes")
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
            if not blank or first.encode() != FIRST_LINE:
                raise ValueError(f"it does not begin with {FIRST_LINE.decode()}, or has no checkpoint")
            extra = unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
            index = _INDEX.fullmatch(lines.pop(0)) if lines else None
            if index is None:
                raise ValueError("there is no line with the index")
            return cls(int(index[1]), tuple(map(unbase64, lines)), checkpoint, extra)
        except ValueError as error:
            raise NotProven(f"this is no receipt: {error}") from None


def verify_receipt(
    proof: TlogProof,
    log_keys: Sequence[Verifier],
    origin: str,
    others: Sequence[Verifier] = (),
    entry: bytes | None = None,
) -> OpenedCheckpoint:
    """The verified checkpoint under which the entry stands; `NotProven` when anything does not hold.

    `entry` is what the caller expects to be logged; without it the entry is the receipt's own `extra`. Checks
    the checkpoint's origin and log signature, known witnesses' cosignatures, and the path from leaf to root.
    """
    if entry is None:
        entry = proof.extra
    elif proof.extra is not None and proof.extra != entry:
        raise NotProven("the receipt carries another entry than the one expected")
    if entry is None:
        raise NotProven("the receipt carries no entry, and none was given")
    opened = open_checkpoint(proof.checkpoint, log_keys, origin, others)
    tree = opened.checkpoint
    verify_inclusion(leaf_hash(entry), proof.index, tree.size, proof.hashes, tree.root)
    return opened
