"""Signs the checkpoints of one log, and refuses to fork it.

The signer trusts its own state and its own keys, and nothing else. Its state (origin, size, frontier, last checkpoint,
rotations of its keys) lies outside the database (`signer_state`); those who may sign share it. To advance it
 1. holds the state and reads it;
 2. reads the entries committed since, and computes their leaves and the root itself;
 3. compares with what the database says: a smaller tree, another leaf, another root or another checkpoint is an
    alarm, and nothing is signed (a database restored from an older backup, an altered row, a second writer's fork);
 4. makes the new state durable, and only then lets the checkpoint out.
A checkpoint reaches the database after the tiles that it completes. Killed between 4 and the database, or the
database killed before it wrote it down (no commit waits for that, the state file keeps it): whoever advances next,
in whichever process, puts the same bytes there. Killed before 4: nothing left, nothing happened.
A checkpoint is a function of the entries and the keys in force at its size, so whoever signs it gives the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ledger.cosigning import COSIGN_SECONDS, LogCosigner
from ledger.log_rotation import Rotations, check_rotation
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.log_keys import LogKeys, LogKeySource
from ledger.merkle.tiles import HashTiles
from ledger.merkle.tree import Growth, entry_leaf_hash
from ledger.signer_state import HeldState, SignerAlarm, SignerState, StateStore
from ledger.signing.statement import read_stored
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.errors import EvidenceConflict
from ledger.store.rows import CheckpointRow, SigningStart, TileRow

ENTRIES_AT_ONCE = 5_000
"""How many entries are read at once when catching up: some 10 MB."""


def fell_back(origin: str, size: int, signed: int) -> SignerAlarm:
    """The alarm about a database that holds less than was signed."""
    return SignerAlarm(
        f"the database holds {size} entries of {origin}, but {signed} were signed",
        "It was restored from an older backup, or entries were taken away. Put the missing entries back: from a "
        "standby or a newer backup, or with `trial-ledger restore entries` from evidence bundles and lines of the "
        "change feed that others keep; the log must not go on without them.",
    )


@dataclass(frozen=True, slots=True)
class SignedTree:
    """What one advance signed: the tree's size, its checkpoint, and what is needed to prove its newest leaves."""

    size: int
    root: bytes
    checkpoint: str
    growth: Growth


class LogSigner:
    """The signer of one study's log. Not for several threads at once; several processes take turns."""

    def __init__(
        self, store: StateStore, study: str, origin: str, keys: LogKeySource, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._study, self._origin, self._source, self._clock = store, study, origin, keys, clock
        self._cosigner = LogCosigner(study, origin, lambda connection, study, size: self._keys_at(size), clock)
        self._released: CheckpointRow | None = None
        self._cosigned, self._cosigned_at = 0, -COSIGN_SECONDS
        self._rotations = Rotations(study)
        self._rotated: tuple[int, ...] = ()
        """The indexes at which the keys changed, as of the last look."""
        self._own_state = False
        """Whether the state was seen to be signed by our own keys."""

    def advance(self, connection: Conn) -> SignedTree:
        """Sign the newest committed tree; the same checkpoint again when nothing was committed since.

        Raises SignerAlarm, and the store's errors when the database cannot be reached.
        """
        with self._store.held() as held:
            state = held.read()
            start = evidence.begin_signing(connection, self._study, state.size, ENTRIES_AT_ONCE)
            newest, head = start.newest, start.head
            if not state.checkpoint and newest is not None:
                raise SignerAlarm(
                    f"{self._origin} has checkpoints, but the signer's state is empty",
                    "Restore the state file from its backup; where TRIAL_LEDGER_SIGNER_URL is new, `trial-ledger init` "
                    "moves it there. A signer without its state could fork the log.",
                    stops=False,
                )
            if head.size < state.size:
                raise fell_back(self._origin, head.size, state.size)
            self._learn_rotations(connection, state, start)
            self._know_own_keys(state, start)
            tree = self._recompute(connection, state, start)
            if newest is not None:
                self._agree(state, newest, tree)
            if tree.size > state.size or not state.checkpoint:
                self._write(held, state, tree)
            released = newest.size if newest is not None else 0
            if state.checkpoint and state.size > released:
                self._release(connection, released, state.size, state.frontier.root(), state.checkpoint)
                released = state.size
            if tree.size > released:
                self._release(connection, released, tree.size, tree.root, tree.checkpoint)
            self._released = CheckpointRow(tree.size, tree.root, tree.checkpoint, self._clock())
            return tree

    def _learn_rotations(self, connection: Conn, state: SignerState, start: SigningStart) -> None:
        """Which keys sign at which size; each rotation is checked when it is first met."""
        if not start.rotated and not state.rotations and not self._rotated:
            return
        found = self._rotations.below(connection, start.rotated, start.head.size)
        rotated = tuple(one.index for one in found)
        if tuple(index for index in rotated if index < state.size) != state.rotations:
            raise self._conflict("rotations of the log's key that are not those below what was signed")
        for number, rotation in enumerate(found[len(state.rotations) :], len(state.rotations) + 1):
            check_rotation(self._origin, number, rotation, self._source)
        self._rotated = rotated

    def _know_own_keys(self, state: SignerState, start: SigningStart) -> None:
        """Once a process: the keys at hand are those that signed the state, or that genesis names."""
        if self._own_state:
            return
        if state.checkpoint:
            own = self._signed(state.size, state.frontier.root()) == state.checkpoint
        elif start.entries:
            genesis = read_stored(bytes(start.entries[0][1]).decode("ascii", "replace"), ())
            own = list(genesis.body["log_keys"]) == [str(key) for key in self._source.of(1).public()]
        else:
            return
        if not own:
            raise SignerAlarm(
                f"the keys of this installation are not those of {self._origin}",
                "The master seed was replaced, or the home is another installation's. Restore the home's keys from its "
                "backup; without them the log cannot be continued.",
                stops=False,
            )
        self._own_state = True

    def _keys_at(self, size: int) -> LogKeys:
        return self._source.of(1 + sum(index < size for index in self._rotated))

    def _signed(self, size: int, root: bytes) -> str:
        """The checkpoint of a size, by the keys in force there."""
        return Checkpoint(self._origin, size, root).sign([self._keys_at(size).ed25519]).decode()

    def _write(self, held: HeldState, old: SignerState, tree: SignedTree) -> None:
        rotated = tuple(index for index in self._rotated if index < tree.size)
        held.write(SignerState(old.sequence + 1, self._origin, tree.size, tree.growth.after, tree.checkpoint, rotated))

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

    def _agree(self, state: SignerState, newest: CheckpointRow, tree: SignedTree) -> None:
        """The newest checkpoint in the database is the one that this signer gives at its size: a state restored
        from a backup is older than what was released, and must not sign past something else."""
        if newest.size < state.size:
            return
        expected = state.checkpoint
        if state.size < newest.size <= tree.size:
            root = tree.growth.root_at(newest.size)
            expected = self._signed(newest.size, root)
        if newest.size > tree.size or newest.note != expected:
            raise self._conflict(f"a checkpoint of size {newest.size} that was not signed here")

    def signed_size(self) -> int:
        """The size signed last, from the signer's own state."""
        with self._store.held() as held:
            return held.read().size

    def _recompute(self, connection: Conn, state: SignerState, start: SigningStart) -> SignedTree:
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
            checkpoint = self._signed(head.size, root)
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
