"""Checkpoints and the tree above the entries: V1, V2 from the first full tile upward, and what V3 reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.authority import Authority
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import time_of
from ledger.merkle.note import ED25519, Note, Signature, VerifierKey, parse_note
from ledger.merkle.policy import Policy
from ledger.merkle.tiles import HEIGHT, TILE_BYTES, WIDTH, tile_root, tile_width
from ledger.merkle.tree import HASH_BYTES, Frontier, NotProven, node_hash
from ledger.verify.bundle import (
    CHECKPOINT,
    CHECKPOINTS,
    Bundle,
    disclosures_path,
    log_path,
    read_checkpoint_line,
    tiles_of,
)
from ledger.verify.report import Check
from ledger.verify.signatures import Published, good_signatures

COSIGNATURE_LEEWAY_SECONDS = 300
"""How far a cosignature may lie after this machine's clock, or before what it covers: clocks differ."""


@dataclass(frozen=True, slots=True)
class Newest:
    """`log/checkpoint`: the state of the log that the bundle is about."""

    note: Note
    checkpoint: Checkpoint


def read_newest(bundle: Bundle) -> Newest:
    """The newest checkpoint as it stands, nothing verified; ValueError when there is none to start from."""
    if CHECKPOINT not in bundle:
        raise ValueError(f"the member {CHECKPOINT} is missing")
    try:
        note = parse_note(bundle.read(CHECKPOINT))
        checkpoint = Checkpoint.parse(note.text)
    except NotProven as wrong:
        raise ValueError(f"{CHECKPOINT}: {wrong}") from None
    if checkpoint.size == 0:
        raise ValueError("the log is empty: there is not even a genesis")
    return Newest(note, checkpoint)


# -- V1 ---------------------------------------------------------------------------------------------------------


def check_newest(
    check: Check, newest: Newest, policy: Policy, authority: Authority, now: int, fresh_within: int | None
) -> tuple[tuple[str, int], ...]:
    """V1; returns who cosigned when (POSIX seconds), of the good signatures."""
    origin, size = newest.checkpoint.origin, newest.checkpoint.size
    believed = {str(key) for key in policy.logs if key.name == origin}
    if not believed:
        known = ", ".join(sorted({key.name for key in policy.logs})) or "none"
        check.fail(f"the policy does not know the log {origin!r}; it knows: {known}")
        return ()
    keys = _keys_of(check, authority, size, believed)
    witnesses = tuple(str(witness.key) for witness in policy.witnesses.values())
    try:
        good = good_signatures(newest.note, keys, witnesses)
    except (NotProven, ValueError) as wrong:
        check.fail(f"the checkpoint of {size} entries: {wrong}")
        return ()
    if not good.by_log:
        check.fail("the checkpoint is not signed with the log's Ed25519 key")
    else:
        check.say(f"the log {origin} signed the state of {size} entries")
    _check_quorum(check, policy, good.signatures, now, fresh_within)
    return good.times


def _keys_of(check: Check, authority: Authority, size: int, believed: set[str]) -> tuple[str, ...]:
    """The keys that sign at this size: those of the log itself, where they lead back to a key of the policy."""
    generations = [keys for _, keys in authority.log_keys_since]
    if not generations:
        return tuple(believed)  # without a genesis nothing but the policy says who may sign
    plain = {key for keys in generations for key in keys if VerifierKey.parse(key).kind == ED25519}
    if not plain & believed:
        check.fail(
            "none of the log's keys, from genesis on through every rotation, is one of the policy: it is another "
            "log under this name, or the policy is outdated"
        )
    elif len(generations) > 1:
        check.say(f"the log's keys were rotated {len(generations) - 1} times, each time signed by old and new keys")
    return authority.log_keys_at(size)


def _check_quorum(check: Check, policy: Policy, good: Sequence[object], now: int, fresh_within: int | None) -> None:
    known = {(w.key.name, w.key.key_id): name for name, w in policy.witnesses.items()}
    counted: list[Signature] = []
    ages: list[int] = []
    for signature in good:
        assert isinstance(signature, Signature)
        name = known.get((signature.name, signature.key_id))
        age = None if len(signature.signature) == 64 else now - time_of(signature.signature)
        if age is None:
            continue
        who = f"the witness {name}" if name is not None else "the log itself (ML-DSA-44)"
        if age < -COSIGNATURE_LEEWAY_SECONDS:
            check.note(f"{who} signed {span(-age)} after this machine's clock: one of the two clocks is wrong")
            continue
        check.say(f"{who} signed it {span(max(0, age))} before this machine's clock")
        if name is None:
            continue  # the log's own word: whoever shows an outdated state can sign it anew
        if fresh_within is None or age <= fresh_within:
            counted.append(signature)
            ages.append(age)
    result = policy.evaluate(counted)
    if not result:
        late = "" if fresh_within is None else f", counting cosignatures of the last {span(fresh_within)}"
        check.fail(f"{result.because}{late}")
    elif fresh_within is not None and not ages:
        check.fail(
            f"nobody states that this was the newest state within the last {span(fresh_within)}: no witness does"
        )
    else:
        check.say(result.because)


def span(seconds: int) -> str:
    """Seconds in words: `40 seconds`, `5 minutes`, `3 hours`, `12 days`."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


# -- V2 ---------------------------------------------------------------------------------------------------------


class Tree:
    """The tree over the level 0 tiles, grown in order; remembers each full tile's root (32 bytes for 256 entries)."""

    def __init__(self) -> None:
        self._roots = bytearray()
        self._last: list[bytes] = []
        self.size = 0

    def add(self, count: int, root: bytes | None, leaves: bytes) -> None:
        """The next entry bundle: a full one by its root, the last one by its leaf hashes."""
        self.size += count
        if root is not None:
            self._roots += root
        else:
            self._last = [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]

    def peaks(self) -> Iterator[tuple[bytes, ...]]:
        """Before each entry bundle, the roots of the complete subtrees below it, largest first."""
        peaks: list[bytes] = []
        for n in range(len(self._roots) // HASH_BYTES + bool(self._last)):
            yield tuple(peaks)
            node, at = bytes(self._roots[n * HASH_BYTES : (n + 1) * HASH_BYTES]), n
            while at & 1:
                node, at = node_hash(peaks.pop(), node), at >> 1
            peaks.append(node)

    def root(self) -> bytes:
        """The root over everything."""
        full = len(self._roots) // HASH_BYTES
        peaks = Frontier().extend(bytes(self._roots[n * 32 : n * 32 + 32]) for n in range(full)).peaks
        return Frontier(full * WIDTH, peaks).extend(self._last).root()

    def check(self, check: Check, bundle: Bundle, digest: dict[str, tuple[str, bool]]) -> None:
        """The tiles above level 0 are those of the tree, none missing; notes their digests for the manifest."""
        level, hashes = 1, bytes(self._roots)
        while hashes:
            above = bytearray()
            for n in range((len(hashes) + TILE_BYTES - 1) // TILE_BYTES):
                tile = hashes[n * TILE_BYTES : (n + 1) * TILE_BYTES]
                path = log_path(level, n, tile_width(level, n, self.size))
                first = n << HEIGHT * (level + 1)
                if path not in bundle:
                    check.fail(f"the tile {path} is missing", first)
                elif bundle.read(path) != tile:
                    at = _first_difference(tile, bundle.read(path))
                    check.fail(f"the tile {path} is not the one of these entries", first + (at << HEIGHT * level))
                if len(tile) == TILE_BYTES:
                    above += tile_root(tile)
            level, hashes = level + 1, bytes(above)


def _first_difference(tile: bytes, other: bytes) -> int:
    return next(
        (i for i in range(len(tile) // HASH_BYTES) if tile[i * 32 : (i + 1) * 32] != other[i * 32 : (i + 1) * 32]), 0
    )


def check_extra_tiles(check: Check, bundle: Bundle, size: int) -> None:
    """No tile is there that a log of this size does not have."""
    expected = {log_path(*tile) for tile in tiles_of(size)}
    for path in (*bundle.paths("log/tile"), *bundle.paths("log/tile/entries")):
        if path not in expected:
            check.fail(f"{path} is no tile of a log of {size} entries")


def check_extra_disclosures(check: Check, bundle: Bundle, size: int) -> None:
    """No disclosures are there (V7) of entries that a log of this size does not have."""
    expected = {disclosures_path(n) for n in range(-(-size // WIDTH))}
    for path in bundle.paths("disclosures"):
        if path not in expected:
            check.fail(f"{path} is of no entry of a log of {size} entries")


# -- V3 ---------------------------------------------------------------------------------------------------------


class PublishedList:
    """`log/checkpoints.ndjson`, read along with the entries; sizes ascend, the last is the newest checkpoint's."""

    def __init__(self, bundle: Bundle, check: Check, newest: Newest, authority: Authority) -> None:
        self._check, self._newest, self._authority = check, newest, authority
        self._lines = bundle.lines(CHECKPOINTS) if CHECKPOINTS in bundle else iter(())
        self.count = self._last = 0
        self._last_text = b""
        self._next = self._read()

    def of(self, n: int) -> tuple[Published, ...]:
        """The checkpoints whose last entry stands in entry bundle n; asked for in ascending order."""
        found = []
        while self._next is not None and self._next.size <= (n + 1) * WIDTH:
            found.append(self._next)
            self._next = self._read()
        return tuple(found)

    def _read(self) -> Published | None:
        line = b""
        try:
            line = next(self._lines, b"")
            if not line:
                return None
            note = read_checkpoint_line(line)
            text = note.split(b"\n", 3)
            size = int(text[1]) if len(text) == 4 and text[1].isdigit() and len(text[1]) < 20 else -1
            if not self._last < size <= self._newest.checkpoint.size:
                raise ValueError(f"a checkpoint of {size} entries follows one of {self._last}")
        except ValueError as wrong:
            self._check.fail(f"log/checkpoints.ndjson, line {self.count + 1}: {wrong}")
            self._lines = iter(())
            return None
        self.count, self._last, self._last_text = self.count + 1, size, b"\n".join(text[:3]) + b"\n"
        return Published(size, note, self._authority.log_keys_at(size))

    def finish(self) -> None:
        """The list ends with the state of the bundle itself."""
        if self._last_text != self._newest.note.text:
            self._check.fail("the list of published checkpoints does not end with the newest one")
