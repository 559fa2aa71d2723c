"""An honest witness in memory: cosigns what extends what it saw, and refuses everything else."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.application import Ledger
from ledger.merkle.cosignature import Ed25519Cosigner
from ledger.merkle.note import VerifierKey, parse_note, parse_signature_line
from ledger.store import evidence
from ledger.witness import Answer, Seen, Submission, Witness

NAME = "witness.example/site"


@dataclass
class _Memory:
    seen: Seen | None = None
    conflicts: list[bytes] = field(default_factory=list)

    def latest(self, origin: str) -> Seen | None:
        return self.seen

    def keep(self, seen: Seen) -> None:
        self.seen = seen

    def keep_conflict(self, known: Seen, note: bytes, proven: bool) -> None:
        self.conflicts.append(note)


@dataclass
class Watcher:
    """The witness of the played trial; it has cosigned its newest checkpoint, and the ledger holds that line."""

    log_keys: list[str]
    key: VerifierKey
    witness: Witness
    memory: _Memory
    now: int

    @classmethod
    def of(cls, ledger: Ledger, study: str) -> Watcher:
        """A witness that is shown the newest checkpoint now."""
        keys = ledger.log_keys(study)["log_keys"]
        cosigner, memory = Ed25519Cosigner(NAME, bytes(range(32))), _Memory()
        logs = [VerifierKey.parse(key) for key in keys]
        watcher = cls(keys, cosigner.key, Witness(logs, [cosigner], memory), memory, int(ledger.now().timestamp()))
        with ledger.database.connection() as connection:
            newest = ledger.checkpoint(connection, study)
            answer = watcher.shown(0, newest.note)
            assert answer.status == 200
            line = answer.body.decode().rstrip("\n")
            assert parse_signature_line(line)
            name = f"{NAME}+{cosigner.key.key_id.hex()}"
            evidence.insert_cosignature(connection, study, newest.size, name, line, ledger.now())
        return watcher

    def shown(self, old: int, note: str, proof: tuple[bytes, ...] = ()) -> Answer:
        """What it answers to a checkpoint."""
        return self.witness.add_checkpoint(Submission(old, proof, parse_note(note.encode())).to_bytes(), self.now)

    @property
    def policy(self) -> str:
        """The policy that an inspector holds: the log's keys, and this witness."""
        logs = "".join(f"log {key}\n" for key in self.log_keys)
        return f"{logs}witness site {self.key}\nquorum site\n"
