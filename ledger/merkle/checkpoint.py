"""Checkpoints (C2SP tlog-checkpoint v1.0.0): what a log says it holds, signed.

Three lines: origin, size, root in base64. Extension lines are never written and never accepted: nobody can
audit them, ML-DSA-44 cosignatures do not cover them, and implementations disagree about them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.merkle.note import Note, Signature, Verifier, make_note, parse_note, unbase64, verify_note
from ledger.merkle.tree import EMPTY_ROOT, HASH_BYTES, SIZE_LIMIT, NotProven

ORIGIN_LIMIT = 255
"""Bytes: the length of an origin is one byte in an ML-DSA-44 cosignature."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteSigner(Protocol):
    """Signs a note's text; the log's key, or a cosigner's at a time given to it beforehand."""

    def sign(self, text: bytes) -> Signature:
        """The signature line for the text."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of the log `origin` at `size` entries has this 32-byte root. ValueError when it cannot."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        # Other logs' origins may have spaces; this project's are key names as well, which may not.
        if not self.origin.isprintable() or not 1 <= len(self.origin.encode()) <= ORIGIN_LIMIT:
            raise ValueError(f"an origin is one line of 1 to {ORIGIN_LIMIT} bytes, not {self.origin[:80]!r}")
        if not 0 <= self.size <= SIZE_LIMIT or len(self.root) != HASH_BYTES:
            raise ValueError(f"{self.size} entries with a root of {len(self.root)} bytes are no checkpoint")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise ValueError("the root of an empty log is SHA-256 of nothing")

    def body(self) -> bytes:
        """The text that is signed: three lines, each with its line feed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n".encode()

    @classmethod
    def parse(cls, body: bytes) -> Checkpoint:
        """The checkpoint of a note's text; `NotProven` unless `body` gives the same bytes again."""
        lines = body.split(b"\n")
        if len(lines) != 4 or lines[3]:
            raise NotProven("a checkpoint has exactly three lines: origin, size, root")
        try:
            origin, size, root = (line.decode() for line in lines[:3])
            if not _SIZE.fullmatch(size):
                raise ValueError(f"the size is {size[:40]!r}")
            return cls(origin, int(size), unbase64(root))
        except ValueError as error:
            raise NotProven(f"this is no checkpoint: {error}") from None

    def sign(self, signers: Iterable[NoteSigner]) -> bytes:
        """The signed checkpoint, the signatures in the order of the signers."""
        return make_note(self.body(), [signer.sign(self.body()) for signer in signers])


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A verified checkpoint: what it says, the note, and the good signatures of known keys."""

    checkpoint: Checkpoint
    note: Note
    good: tuple[Signature, ...]


def open_checkpoint(
    data: bytes, log_keys: Sequence[Verifier], origin: str, others: Sequence[Verifier] = ()
) -> OpenedCheckpoint:
    """The checkpoint of a signed note, when it is of `origin` and one of the log's keys signed it.

    `others` are known keys of witnesses: their signatures are verified where there are any, but never stand
    in for the log's. `NotProven` otherwise.
    """
    note = parse_note(data)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != origin:
        raise NotProven(f"the checkpoint is of {checkpoint.origin!r}, not of {origin!r}")
    good = verify_note(note, [*log_keys, *others])
    of_log = {(key.name, key.key_id) for key in log_keys}
    if not any((signature.name, signature.key_id) in of_log for signature in good):
        raise NotProven("the checkpoint has no signature of the log itself")
    return OpenedCheckpoint(checkpoint, note, good)
