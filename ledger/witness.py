"""A witness (C2SP tlog-witness): cosigns a log's checkpoint when it extends the last one it cosigned, and only then.

Rules, in the order in which a submission meets them; none after the first that fails is looked at:
 400  the submission is not: an old size, at most 63 hashes, a blank line, a signed checkpoint
 404  the checkpoint's origin is of no log that this witness knows
 403  no key of that log signed it (unknown signatures are ignored, a bad one of a known key is none, and neither is
      a line that no signer writes)
 400  the old size is larger than the checkpoint's
 409  the old size is not that of the last checkpoint cosigned, which is the answer's body
 422  the proof does not lead from the last checkpoint to this one; or both have one size and different roots
 200  what was seen is durable first, and only then the cosignatures leave
The same size and root again is cosigned again: that is how a log shows that it stands still. Submissions of one
origin are handled one after another, so that no answer ever covers less than an earlier one. A time never goes back.

A checkpoint that the log's key signed and that contradicts what was seen is kept: two different roots at one size
are proof, against the log, that anybody can check. No HTTP, no files, no clock here: store and time are given.
"""

from __future__ import annotations

import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Cosigner, verifier_of
from ledger.merkle.note import BadSignatureLine, Note, Verifier, VerifierKey, parse_note, unbase64, verify_note
from ledger.merkle.tlog_proof import HASHES_LIMIT
from ledger.merkle.tree import EMPTY_ROOT, HASH_BYTES, NotProven, verify_consistency

SUBMISSION_LIMIT = 128 * 1024
"""Bytes of one submission: 63 hashes are 3 KB; the rest has room for some thirty post-quantum signatures."""

CLOCK_BACK_SECONDS = 60
"""How far this machine's clock may have gone back before the witness stops: a cosignature says `as of this time`."""

SIZE_TYPE = "text/x.tlog.size"
TEXT = "text/plain; charset=utf-8"

_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")


class StateUnusable(Exception):
    """The witness cannot keep what it has seen, and so must not cosign; the message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last checkpoint cosigned of a log: the tree, the signed note with the witness's lines, the time in it."""

    checkpoint: Checkpoint
    note: bytes
    time_seconds: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered over HTTP; `contradiction` says in words what the log was caught at, where it was."""

    status: int
    body: bytes
    content_type: str = TEXT
    contradiction: str = ""


class WitnessStore(Protocol):
    """Where a witness keeps what it has seen. One process at a time; `keep` and `keep_conflict` from any thread."""

    def latest(self, origin: str) -> Seen | None:
        """The last checkpoint cosigned of a log; raises StateUnusable."""

    def keep(self, seen: Seen) -> None:
        """Replace a log's last checkpoint: atomic, and durable when it returns; raises StateUnusable."""

    def keep_conflict(self, known: Seen, note: bytes, proven: bool) -> None:
        """Keep a checkpoint that the log signed and that contradicts (`proven`) or does not extend what was seen."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to cosign: the size the log believes was seen last, the proof from there, the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def to_bytes(self) -> bytes:
        """The body of an `add-checkpoint` request."""
        lines = [b"old %d\n" % self.old, *(b64encode(value) + b"\n" for value in self.proof)]
        return b"".join(lines) + b"\n" + self.note.to_bytes()

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """The parts of a request's body; `NotProven` when it is malformed. Verifies nothing."""
        if len(body) > SUBMISSION_LIMIT:
            raise NotProven(f"the submission has {len(body)} bytes; at most {SUBMISSION_LIMIT} are read")
        head, blank, rest = body.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        old = _OLD.fullmatch(first)
        if not blank or not old:
            raise NotProven("a submission is `old <size>`, the proof's hashes, a blank line, a signed checkpoint")
        if len(lines) > HASHES_LIMIT:
            raise NotProven(f"the proof has {len(lines)} hashes; no tree needs more than {HASHES_LIMIT}")
        return cls(int(old[1]), tuple(map(_hash, lines)), parse_note(rest))


class Witness:
    """Decides submissions for the logs it knows. `add_checkpoint` and `latest` may be called from any thread."""

    def __init__(self, logs: Sequence[VerifierKey], cosigners: Sequence[Cosigner], store: WitnessStore) -> None:
        if not cosigners:
            raise ValueError("a witness has a key")
        keys: dict[str, list[Verifier]] = {}
        for key in logs:
            keys.setdefault(key.name, []).append(verifier_of(key))
        self._logs: Mapping[str, list[Verifier]] = keys
        self._cosigners, self._store = tuple(cosigners), store
        self._turns = {origin: threading.Lock() for origin in keys}
        self._origins = {sha256(origin.encode()).hexdigest(): origin for origin in keys}

    @property
    def origins(self) -> tuple[str, ...]:
        """The logs that this witness knows."""
        return tuple(self._logs)

    def add_checkpoint(self, body: bytes, now_seconds: int) -> Answer:
        """The answer to a submission at a time in POSIX seconds; raises StateUnusable when nothing can be kept."""
        try:
            submission = Submission.parse(body)
            origin = _origin(submission.note)
        except BadSignatureLine as error:
            return _refused(403, str(error))
        except NotProven as error:
            return _refused(400, str(error))
        if origin not in self._logs:
            return _refused(404, "this witness does not know the log of that origin")
        try:
            verify_note(submission.note, self._logs[origin])
        except NotProven:
            return _refused(403, "no key that this witness knows of the log signed the checkpoint")
        try:
            checkpoint = Checkpoint.parse(submission.note.text)
        except NotProven as error:
            return _refused(422 if _is_empty_with_root(submission.note.text) else 400, str(error))
        if submission.old > checkpoint.size:
            return _refused(400, f"the old size {submission.old} is larger than the checkpoint's, {checkpoint.size}")
        with self._turns[origin]:
            return self._decide(submission, checkpoint, now_seconds)

    def latest(self, origin_sha256: str) -> Answer:
        """The last checkpoint cosigned of the log whose origin has this SHA-256, in lowercase hex; 404 for none."""
        origin = self._origins.get(origin_sha256)
        seen = self._store.latest(origin) if origin is not None else None
        if seen is None:
            return _refused(404, "this witness has cosigned no checkpoint of such a log")
        return Answer(200, seen.note)

    def _decide(self, submission: Submission, checkpoint: Checkpoint, now_seconds: int) -> Answer:
        """The rest of the rules, alone with this log's state."""
        seen = self._store.latest(checkpoint.origin)
        size = seen.checkpoint.size if seen else 0
        if submission.old != size:
            return Answer(409, b"%d\n" % size, SIZE_TYPE)
        root = seen.checkpoint.root if seen else EMPTY_ROOT
        if checkpoint.size == size and checkpoint.root != root:
            assert seen is not None  # the empty tree has one root
            self._store.keep_conflict(seen, submission.note.to_bytes(), True)
            because = f"the log has signed two different trees of {size} entries: it shows two histories"
            return Answer(422, f"{because}\n".encode(), contradiction=because)
        try:
            _check_growth(size, root, checkpoint, submission.proof)
        except NotProven as error:
            if seen is not None:
                self._store.keep_conflict(seen, submission.note.to_bytes(), False)
            return _refused(422, str(error))
        return self._cosign(submission.note, checkpoint, now_seconds, seen)

    def _cosign(self, note: Note, checkpoint: Checkpoint, now_seconds: int, seen: Seen | None) -> Answer:
        last = seen.time_seconds if seen else 0
        if now_seconds < last - CLOCK_BACK_SECONDS:
            raise StateUnusable(
                f"this machine's clock is {last - now_seconds} s behind the last cosignature: set it, or, if it is "
                "right now and was ahead then, make a new witness with a new key"
            )
        time_seconds = max(now_seconds, last)
        known = {(key.name, key.key_id) for key in self._logs[checkpoint.origin]}
        own = tuple(line for line in note.signatures if (line.name, line.key_id) in known)
        lines = tuple(cosigner.cosign(checkpoint, time_seconds) for cosigner in self._cosigners)
        # Only what was verified or made here is shown to those who ask the witness.
        self._store.keep(Seen(checkpoint, Note(note.text, own + lines).to_bytes(), time_seconds))
        return Answer(200, b"".join(line.line() for line in lines))


def _check_growth(size: int, root: bytes, checkpoint: Checkpoint, proof: Sequence[bytes]) -> None:
    if size == 0:  # every tree extends the empty one
        if proof:
            raise NotProven("from an empty tree nothing has to be proven, and the proof must be empty")
        return
    verify_consistency(size, checkpoint.size, proof, root, checkpoint.root)


def _refused(status: int, because: str) -> Answer:
    return Answer(status, f"{because}\n".encode("utf-8", "replace"))


def _origin(note: Note) -> str:
    """The first line of a checkpoint; what is no checkpoint otherwise is found out once its signer is known."""
    lines = note.text.split(b"\n")
    if len(lines) != 4 or lines[3]:
        raise NotProven("a checkpoint has exactly three lines: origin, size, root")
    return lines[0].decode()


def _is_empty_with_root(text: bytes) -> bool:
    """Whether this would be a checkpoint, were not its size 0 and its root that of some entries."""
    _, size, root, _ = text.split(b"\n")
    with suppress(ValueError):
        return size == b"0" and len(unbase64(root.decode())) == HASH_BYTES and b64decode(root) != EMPTY_ROOT
    return False


def _hash(line: bytes) -> bytes:
    try:
        value = unbase64(line.decode("ascii"))
    except ValueError:
        raise NotProven("a hash of the proof is not canonical base64") from None
    if len(value) != HASH_BYTES:
        raise NotProven(f"a hash of the proof has {HASH_BYTES} bytes, not {len(value)}")
    return value
