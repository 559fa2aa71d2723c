"""Signs the checkpoints of one log, and refuses to fork it.

The signer trusts its own state and nothing else. Its state (origin, size, frontier, last checkpoint) lies in a
locked file outside the database; processes on one host share it. To advance it
 1. takes the file's lock and reads the state;
 2. reads the entries committed since, and computes their leaves and the root itself;
 3. compares with what the database says: a smaller tree, another leaf, another root or another checkpoint is an
    alarm, and nothing is signed (a database restored from an older backup, an altered row, a second writer's fork);
 4. makes the new state durable, and only then lets the checkpoint out.
A checkpoint reaches the database after the tiles that it completes. Killed between 4 and the database, or the
database killed before it wrote it down (no commit waits for that, the state file keeps it): whoever advances next,
in whichever process, puts the same bytes there. Killed before 4: nothing left, nothing happened.
The state is written alternately into two slots, each with its own digest, so that a torn write leaves the other.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ledger.cosigning import COSIGN_SECONDS, LogCosigner
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.log_keys import LogKeys
from ledger.merkle.tiles import HashTiles
from ledger.merkle.tree import Frontier, Growth, entry_leaf_hash
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.errors import EvidenceConflict
from ledger.store.rows import CheckpointRow, SigningStart, TileRow

SLOT_BYTES = 16_384
"""One slot of the state file: a frontier of 64 hashes and a checkpoint with both signatures fit twice."""
LOCK_SECONDS, LOCK_AGAIN_SECONDS = 5.0, 0.2
"""How long another process may hold the state before that is an alarm; and, while the alarm stands, at the next try:
whoever waits for an answer waits for this."""
LOCK_PAUSES_SECONDS = (0.001, 0.002, 0.005, 0.01)
"""Between two tries to take the lock."""
ENTRIES_AT_ONCE = 5_000
"""How many entries are read at once when catching up: some 10 MB."""


class SignerAlarm(Exception):
    """The log and its signer disagree: nothing is signed until a person has looked.

    `because` says what was found; the remedy depends on it and is part of the text. With `stops` it is the entries
    that are in doubt, and appending to them would stand in the way of putting them right.
    """

    def __init__(self, because: str, remedy: str, *, stops: bool = True) -> None:
        super().__init__(f"{because}. {remedy}")
        self.because, self.remedy, self.stops = because, remedy, stops


def fell_back(origin: str, size: int, signed: int) -> SignerAlarm:
    """The alarm about a database that holds less than was signed."""
    return SignerAlarm(
        f"the database holds {size} entries of {origin}, but {signed} were signed",
        "It was restored from an older backup, or entries were taken away. Put the missing entries back "
        "(from a standby, a newer backup or receipts); the log must not go on without them.",
    )


@dataclass(frozen=True, slots=True)
class SignedTree:
    """What one advance signed: the tree's size, its checkpoint, and what is needed to prove its newest leaves."""

    size: int
    root: bytes
    checkpoint: str
    growth: Growth


@dataclass(frozen=True, slots=True)
class _State:
    sequence: int
    origin: str
    size: int
    frontier: Frontier
    checkpoint: str


class LogSigner:
    """The signer of one study's log. Not for several threads at once; several processes take turns."""

    def __init__(self, path: Path, study: str, origin: str, keys: LogKeys, clock: Callable[[], datetime]) -> None:
        self._path, self._study, self._origin, self._key, self._clock = path, study, origin, keys.ed25519, clock
        self._cosigner = LogCosigner(study, origin, lambda connection, size: keys, clock)
        self._released: CheckpointRow | None = None
        self._cosigned, self._cosigned_at = 0, -COSIGN_SECONDS
        self._patience = LOCK_SECONDS
        self._known: tuple[bytes, _State] | None = None
        """The file's bytes as this process saw them last, and what they say: another process may have written since."""

    def advance(self, connection: Conn) -> SignedTree:
        """Sign the newest committed tree; the same checkpoint again when nothing was committed since.

        Raises SignerAlarm, and the store's errors when the database cannot be reached.
        """
        with self._locked() as descriptor:
            state = self._read(descriptor)
            start = evidence.begin_signing(connection, self._study, state.size, ENTRIES_AT_ONCE)
            newest, head = start.newest, start.head
            if not state.checkpoint and newest is not None:
                raise SignerAlarm(
                    f"{self._origin} has checkpoints, but the signer's state is empty",
                    "Restore the state file from its backup; a signer without its state could fork the log.",
                    stops=False,
                )
            if head.size < state.size:
                raise fell_back(self._origin, head.size, state.size)
            tree = self._recompute(connection, state, start)
            if newest is not None:
                self._agree(state, newest, tree)
            if tree.size > state.size or not state.checkpoint:
                self._write(descriptor, state, tree)
            released = newest.size if newest is not None else 0
            if state.checkpoint and state.size > released:
                self._release(connection, released, state.size, state.frontier.root(), state.checkpoint)
                released = state.size
            if tree.size > released:
                self._release(connection, released, tree.size, tree.root, tree.checkpoint)
            self._released = CheckpointRow(tree.size, tree.root, tree.checkpoint, self._clock())
            return tree

    @property
    def cosigning_due(self) -> float:
        """When (time.monotonic) the newest checkpoint is to get the ML-DSA-44 line; infinity when it has been asked."""
        if self._released is None or self._released.size == self._cosigned:
            return math.inf
        return self._cosigned_at + COSIGN_SECONDS

    def cosign(self, connection: Conn) -> None:
        """Give the newest checkpoint that was released here the ML-DSA-44 line; raises the store's errors."""
        if self._released is not None:
            self._cosigned, self._cosigned_at = self._released.size, time.monotonic()
            self._cosigner.ensure(connection, self._released)

    def _agree(self, state: _State, newest: CheckpointRow, tree: SignedTree) -> None:
        """The newest checkpoint in the database is the one that this signer gives at its size: a state restored
        from a backup is older than what was released, and must not sign past something else."""
        if newest.size < state.size:
            return
        expected = state.checkpoint
        if state.size < newest.size <= tree.size:
            root = tree.growth.root_at(newest.size)
            expected = Checkpoint(self._origin, newest.size, root).sign([self._key]).decode()
        if newest.size > tree.size or newest.note != expected:
            raise self._conflict(f"a checkpoint of size {newest.size} that was not signed here")

    def signed_size(self) -> int:
        """The size signed last, from the signer's own state."""
        with self._locked() as descriptor:
            return self._read(descriptor).size

    def _recompute(self, connection: Conn, state: _State, start: SigningStart) -> SignedTree:
        head, entries = start.head, start.entries
        leaves: list[bytes] = []
        position = state.size
        while position < head.size:
            stop = min(position + ENTRIES_AT_ONCE, head.size)
            page = entries[: stop - position]
            if [index for index, *_ in page] != list(range(position, stop)):
                raise SignerAlarm(
                    f"entries of {self._origin} between {position} and {stop} are missing",
                    "Rows were deleted. Restore them from a standby or a backup.",
                )
            for index, jwt, recorded_at, stored in page:
                try:
                    leaf = entry_leaf_hash(jwt.decode("ascii"), recorded_at)
                except ValueError:  # bytes that never were an entry's
                    leaf = b""
                if leaf != stored:
                    raise SignerAlarm(
                        f"the entry {index} of {self._origin} is not what was committed",
                        "A row was altered after it was committed. Restore it from a standby or a backup.",
                    )
                leaves.append(leaf)
            position = stop
            if position < head.size:
                entries = evidence.begin_signing(connection, self._study, position, ENTRIES_AT_ONCE).entries
        growth = Growth(state.frontier, leaves)
        root = growth.after.root()
        if root != head.root:
            raise SignerAlarm(
                f"at size {head.size} the entries of {self._origin} give another root than the writer committed",
                "The tree was rewritten below what was signed. Compare with a standby; sign nothing.",
            )
        checkpoint = state.checkpoint
        if leaves or not checkpoint:
            checkpoint = Checkpoint(self._origin, head.size, root).sign([self._key]).decode()
        return SignedTree(head.size, root, checkpoint, growth)

    def _release(self, connection: Conn, released: int, size: int, root: bytes, checkpoint: str) -> None:
        """Put the tiles that became full since the checkpoint of size `released`, and then the checkpoint, where
        readers find them; harmless when repeated."""
        row = CheckpointRow(size, root, checkpoint, self._clock())
        try:
            self._complete(connection, released, size)
            evidence.insert_checkpoint(connection, self._study, row)
        except EvidenceConflict as conflict:
            raise self._conflict(conflict.cause) from None

    def _conflict(self, what: str) -> SignerAlarm:
        return SignerAlarm(
            f"the database holds other evidence of {self._origin} than was signed: {what}",
            "Somebody wrote to it, or the log was forked. Keep both, compare with a standby; sign nothing.",
        )

    def _complete(self, connection: Conn, old_size: int, new_size: int) -> None:
        def full_tile(level: int, n: int) -> bytes:
            tile = evidence.read_tile(connection, self._study, level, n)
            if tile is None:
                raise SignerAlarm(
                    f"the tile {level}/{n} of {self._origin} is missing, though a checkpoint above it was released",
                    "Rows were deleted. Restore them from a standby or a backup.",
                )
            return tile

        hashes = HashTiles(
            full_tile,
            lambda start, end: statements.leaf_hashes(connection, self._study, start, end),
            lambda level, start, end: evidence.tile_roots(connection, self._study, level, start, end),
        )
        fresh = [TileRow(level, n, tile) for level, n, tile, _ in hashes.completed(old_size, new_size)]
        if fresh:
            evidence.insert_tiles(connection, self._study, fresh)

    # -- the state file -------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take_lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

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
                        f"Find the process that has {self._path.name} open (it may be stopped, or its disk may hang), "
                        "and let it go on or end it.",
                        stops=False,
                    ) from None
            time.sleep(next(pauses, LOCK_PAUSES_SECONDS[-1]))
        self._patience = LOCK_SECONDS

    def _read(self, descriptor: int) -> _State:
        raw = os.pread(descriptor, 2 * SLOT_BYTES, 0)
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
            return _State(0, self._origin, 0, Frontier(), "")
        state = max(found, key=lambda slot: slot.sequence)
        if state.origin != self._origin:
            because = f"the state is of the log {state.origin!r}, not {self._origin!r}"
            raise SignerAlarm(because, "Restore the right file.", stops=False)
        self._known = (raw, state)
        return state

    def _write(self, descriptor: int, old: _State, tree: SignedTree) -> None:
        fresh = _State(old.sequence + 1, self._origin, tree.size, tree.growth.after, tree.checkpoint)
        grow = os.fstat(descriptor).st_size < 2 * SLOT_BYTES
        if grow:
            os.ftruncate(descriptor, 2 * SLOT_BYTES)
        slot, place = _encode(fresh), (fresh.sequence % 2) * SLOT_BYTES
        os.pwrite(descriptor, slot, place)
        os.fsync(descriptor)
        before = self._known[0] if self._known is not None else bytes(2 * SLOT_BYTES)
        self._known = (before[:place] + slot + before[place + SLOT_BYTES :], fresh)
        if grow:
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def _encode(state: _State) -> bytes:
    text = json.dumps(
        {
            "sequence": state.sequence,
            "origin": state.origin,
            "size": state.size,
            "frontier": b64encode(state.frontier.to_bytes()).decode(),
            "checkpoint": state.checkpoint,
        }
    ).encode()
    return (hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n").ljust(SLOT_BYTES, b"\0")


def _decode(slot: bytes) -> _State | None:
    digest, _, rest = slot.partition(b"\n")
    text = rest.rstrip(b"\0").rstrip(b"\n")
    if len(digest) != 64 or hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    read = json.loads(text)
    frontier = Frontier.from_bytes(b64decode(read["frontier"]))
    return _State(read["sequence"], read["origin"], read["size"], frontier, read["checkpoint"])
