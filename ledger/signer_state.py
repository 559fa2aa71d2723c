"""Where a log's signer keeps its own state, apart from the database: one file, under a lock, on one host.

The contract of a `StateStore`, whatever keeps it: one holder at a time, over all processes that may sign; what
`write` returned from is durable; what `read` gives is the last that was written. Who holds it may be killed anywhere.
The file holds two slots, written alternately, each with its own digest, so that a torn write leaves the other.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ledger.merkle.tree import Frontier

SLOT_BYTES = 16_384
"""One slot of the state file: a frontier of 64 hashes, a checkpoint and the rotations of thirty years fit twice."""
LOCK_SECONDS, LOCK_AGAIN_SECONDS = 5.0, 0.2
"""How long another process may hold the state before that is an alarm; and, while the alarm stands, at the next try:
whoever waits for an answer waits for this."""
LOCK_PAUSES_SECONDS = (0.001, 0.002, 0.005, 0.01)
"""Between two tries to take the lock."""


class SignerAlarm(Exception):
    """The log and its signer disagree: nothing is signed until a person has looked.

    `because` says what was found; the remedy depends on it and is part of the text. With `stops` it is the entries
    that are in doubt, and appending to them would stand in the way of putting them right.
    """

    def __init__(self, because: str, remedy: str, *, stops: bool = True) -> None:
        super().__init__(f"{because}. {remedy}")
        self.because, self.remedy, self.stops = because, remedy, stops


@dataclass(frozen=True, slots=True)
class SignerState:
    """What was signed last: `checkpoint` is the signed note, empty before the first; `rotations` are the indexes below
    `size` at which the log's keys changed; `sequence` counts the writes."""

    sequence: int
    origin: str
    size: int
    frontier: Frontier
    checkpoint: str
    rotations: tuple[int, ...] = ()

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(
            {
                "sequence": self.sequence,
                "origin": self.origin,
                "size": self.size,
                "frontier": b64encode(self.frontier.to_bytes()).decode(),
                "checkpoint": self.checkpoint,
                "rotations": list(self.rotations),
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> SignerState:
        """The state of such a text; states of before rotations name none."""
        read = json.loads(text)
        frontier, rotations = Frontier.from_bytes(b64decode(read["frontier"])), tuple(read.get("rotations", ()))
        return cls(read["sequence"], read["origin"], read["size"], frontier, read["checkpoint"], rotations)


class HeldState(Protocol):
    """The state while it is held."""

    def read(self) -> SignerState:
        """What was written last; size 0 and no checkpoint before the first. Raises SignerAlarm when it is unusable."""

    def write(self, fresh: SignerState) -> None:
        """Make the next state durable; its sequence is one more than what was read."""


class StateStore(Protocol):
    """Keeps the state of one log's signer."""

    def held(self) -> AbstractContextManager[HeldState]:
        """Hold the state; raises SignerAlarm when another holder does not let it go."""


def checked_origin(state: SignerState, origin: str) -> SignerState:
    """The state, if it is this log's."""
    if state.origin != origin:
        raise SignerAlarm(
            f"the state is of the log {state.origin!r}, not {origin!r}", "Restore the right file.", stops=False
        )
    return state


class FileState:
    """The state in a locked file. Not for several threads at once; several processes of one host take turns."""

    def __init__(self, path: Path, origin: str) -> None:
        self.path, self._origin = path, origin
        self._patience = LOCK_SECONDS
        self._descriptor = -1
        self._known: tuple[bytes, SignerState] | None = None
        """The file's bytes as this process saw them last, and what they say: another process may have written since."""

    @contextmanager
    def held(self) -> Iterator[FileState]:
        """Hold the file's lock."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_lock(self._descriptor)
            yield self
        finally:
            os.close(self._descriptor)

    def _take_lock(self, descriptor: int) -> None:
        """Wait for the other processes, which hold it for milliseconds; not for one that is frozen."""
        deadline, pauses = time.monotonic() + self._patience, iter(LOCK_PAUSES_SECONDS)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self._patience = LOCK_AGAIN_SECONDS
                    raise SignerAlarm(
                        f"another process holds the signer's state of {self._origin} and does not let it go",
                        f"Find the process that has {self.path.name} open (it may be stopped, or its disk may hang), "
                        "and let it go on or end it.",
                        stops=False,
                    ) from None
            time.sleep(next(pauses, LOCK_PAUSES_SECONDS[-1]))
        self._patience = LOCK_SECONDS

    def read(self) -> SignerState:
        """The newer of the two slots that are whole."""
        raw = os.pread(self._descriptor, 2 * SLOT_BYTES, 0)
        if self._known is not None and self._known[0] == raw:
            return self._known[1]
        slots = [_decode(raw[number * SLOT_BYTES : (number + 1) * SLOT_BYTES]) for number in (0, 1)]
        found = [slot for slot in slots if slot is not None]
        if not found:
            if any(raw):  # zeros: killed while the file was made, nothing signed
                raise SignerAlarm(
                    f"the signer's state of {self._origin} cannot be read",
                    "Restore the file from its backup; a signer without its state could fork the log.",
                    stops=False,
                )
            return SignerState(0, self._origin, 0, Frontier(), "")
        state = checked_origin(max(found, key=lambda slot: slot.sequence), self._origin)
        self._known = (raw, state)
        return state

    def write(self, fresh: SignerState) -> None:
        """Write the slot that the last state is not in."""
        slot, place = _encode(fresh), (fresh.sequence % 2) * SLOT_BYTES
        grow = os.fstat(self._descriptor).st_size < 2 * SLOT_BYTES
        if grow:
            os.ftruncate(self._descriptor, 2 * SLOT_BYTES)
        os.pwrite(self._descriptor, slot, place)
        os.fsync(self._descriptor)
        before = self._known[0] if self._known is not None else bytes(2 * SLOT_BYTES)
        self._known = (before[:place] + slot + before[place + SLOT_BYTES :], fresh)
        if grow:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def _encode(state: SignerState) -> bytes:
    text = state.to_json().encode()
    slot = hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"
    if len(slot) > SLOT_BYTES:
        raise ValueError(f"the signer's state has {len(slot)} bytes, and a slot {SLOT_BYTES}")
    return slot.ljust(SLOT_BYTES, b"\0")


def _decode(slot: bytes) -> SignerState | None:
    digest, _, rest = slot.partition(b"\n")
    text = rest.rstrip(b"\0").rstrip(b"\n")
    if len(digest) != 64 or hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    return SignerState.from_json(text)
