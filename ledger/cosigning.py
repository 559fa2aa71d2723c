"""The log's own ML-DSA-44 line under its checkpoints: evidence must outlive the curve of the Ed25519 one.

It has the form of a cosignature (0x06) under the log's own name and lies among the witnesses'. At 0.5 ms a signature
and 3.3 kB a line not every checkpoint gets one: one a second and process at most, after its answers have left, and
every exported one. Only a checkpoint that the log's Ed25519 key signed is signed again (that signature is
deterministic, so it is simply made anew and compared): a row that somebody else put into the database is refused.
The signature is randomised, so the line that is stored first stays; a stored line that is not good is refused too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Cosigner, Mldsa44CosignatureVerifier
from ledger.merkle.log_keys import LogKeys
from ledger.merkle.note import parse_signature_line
from ledger.merkle.tree import NotProven
from ledger.store import evidence
from ledger.store.database import Conn
from ledger.store.errors import EvidenceConflict
from ledger.store.rows import CheckpointRow

COSIGN_SECONDS = 1.0
"""The time between two checkpoints that get the line without being exported."""


class LogCosigner:
    """Adds the line. `keys` gives the log's keys for a tree's size. For any thread, each with its own connection."""

    def __init__(
        self, study: str, origin: str, keys: Callable[[Conn, str, int], LogKeys], clock: Callable[[], datetime]
    ) -> None:
        self._study, self._origin, self._keys, self._clock = study, origin, keys, clock

    def ensure(self, connection: Conn, row: CheckpointRow) -> None:
        """See to it that a released checkpoint carries the line; harmless when repeated.

        Raises EvidenceConflict where the checkpoint, or the line that it carries, is not this log's.
        """
        keys = self._keys(connection, self._study, row.size)
        checkpoint = Checkpoint(self._origin, row.size, row.root)
        if checkpoint.sign([keys.ed25519]).decode() != row.note:
            raise EvidenceConflict(f"a checkpoint of size {row.size} that was not signed here")
        name = witness_name(keys.mldsa44)
        if not self._carries(connection, checkpoint, keys.mldsa44):
            now = self._clock()
            line = keys.mldsa44.cosign(checkpoint, int(now.timestamp())).line().decode().rstrip("\n")
            evidence.insert_cosignature(connection, self._study, row.size, name, line, now)

    def _carries(self, connection: Conn, checkpoint: Checkpoint, cosigner: Cosigner) -> bool:
        line = evidence.select_cosignatures(connection, self._study, checkpoint.size).get(witness_name(cosigner))
        if line is None:
            return False
        try:
            signature = parse_signature_line(line)
            verifier = Mldsa44CosignatureVerifier(cosigner.key)
            good = (signature.name, signature.key_id) == (verifier.name, verifier.key_id)
            good = good and verifier.verify(checkpoint.body(), signature.signature)
        except NotProven:
            good = False
        if not good:
            raise EvidenceConflict(f"an ML-DSA-44 line under the checkpoint of size {checkpoint.size} that is not good")
        return True


def witness_name(cosigner: Cosigner) -> str:
    """What names a cosigner in the store: `<key name>+<8 hex key id>`."""
    return f"{cosigner.key.name}+{cosigner.key.key_id.hex()}"
