"""The Merkle tree over a log's entries: hashes, the growing edge, proofs, and their verification.

Exactly RFC 6962 section 2.1 (the same tree as RFC 9162 section 2.1) with SHA-256; the last node is never
duplicated. Pure: hashes come from the caller. A *node* (level, index) is the root of the complete, aligned
subtree over the leaves index * 2^level to (index + 1) * 2^level; proofs are made of such nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves."""

ENTRY_LIMIT = 48_000
"""Bytes of an entry: in base64 it fits into the 64 KiB line that the reference reader of receipts accepts,
and its length into the two bytes an entry bundle has for it."""

SIZE_LIMIT = 2**63 - 1
"""Leaves: the largest size that readers in every language hold in a signed 64-bit integer."""

NodeReader = Callable[[int, int], bytes]
"""(level, index) to the hash of that node; raises when the node is not complete or not to be had."""

_RECORDED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class NotProven(Exception):
    """A proof, note or receipt does not show what it should; the message says where and why."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def entry_bytes(jwt: str, recorded_at: str) -> bytes:
    """The bytes of a leaf: JWT LF recorded_at LF, `recorded_at` as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    ValueError for another form of time, a JWT with a line break or beyond ASCII, or one that is too long.
    """
    if not _RECORDED_AT.fullmatch(recorded_at):
        raise ValueError(f"recorded_at is {recorded_at[:40]!r}, not YYYY-MM-DDTHH:MM:SS.ffffffZ")
    entry = f"{jwt}\n{recorded_at}\n".encode("ascii")
    if not jwt or entry.count(b"\n") != 2 or len(entry) > ENTRY_LIMIT:
        raise ValueError(f"an entry is one line of JWT and one of time, at most {ENTRY_LIMIT} bytes")
    return entry


def split_entry(entry: bytes) -> tuple[str, str]:
    """JWT and `recorded_at` of an entry; ValueError unless `entry_bytes` gives the same bytes again."""
    jwt, _, rest = entry.partition(b"\n")
    recorded_at = rest.removesuffix(b"\n")
    if not entry.isascii() or entry_bytes(jwt.decode(), recorded_at.decode()) != entry:
        raise ValueError("the bytes are not those of an entry: JWT LF recorded_at LF")
    return jwt.decode(), recorded_at.decode()


def entry_leaf_hash(jwt: str, recorded_at: str) -> bytes:
    """The leaf hash of the entry of a JWT and its time."""
    return leaf_hash(entry_bytes(jwt, recorded_at))


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to grow a tree: its size and the roots of its complete subtrees, the largest first.

    Immutable: `push` and `extend` return a grown one, so a batch that is not committed leaves no trace.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= SIZE_LIMIT or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves does not have {len(self.peaks)} peaks")

    def push(self, leaf: bytes) -> Frontier:
        """The frontier with one leaf hash more."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier with these leaf hashes more, in this order."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            for _, _, node in _completed(size, leaf, peaks):
                top = node
            peaks.append(top)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The root of the tree."""
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        """Eight bytes of size, big-endian, then the peaks."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """The inverse of `to_bytes`; ValueError for anything else."""
        if len(data) < 8 or len(data) % HASH_BYTES != 8:
            raise ValueError(f"{len(data)} bytes are not a frontier")
        peaks = tuple(data[at : at + HASH_BYTES] for at in range(8, len(data), HASH_BYTES))
        return cls(int.from_bytes(data[:8], "big"), peaks)


class Growth:
    """A tree before and after a batch, with what proves the batch: no older hash has to be read for it."""

    def __init__(self, before: Frontier, leaves: Sequence[bytes]) -> None:
        self.before = before
        self._nodes: dict[tuple[int, int], bytes] = {}
        for node, peak in zip(_complete_subtrees(0, before.size), before.peaks, strict=True):
            self._nodes[node] = peak
        size, peaks = before.size, list(before.peaks)
        for leaf in leaves:
            for level, index, node_at in _completed(size, leaf, peaks):
                self._nodes[level, index] = top = node_at
            peaks.append(top)
            size += 1
        self.after = Frontier(size, tuple(peaks))

    def holds(self, index: int, leaf: bytes) -> bool:
        """Whether this batch brought in exactly this leaf hash at this index."""
        return index >= self.before.size and self._nodes.get((0, index)) == leaf

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The proof of a leaf of this batch in the tree after it; KeyError for an older leaf."""
        return inclusion_proof(index, self.after.size, self._node)

    def root_at(self, size: int) -> bytes:
        """The root that the tree had while it grew, at a size from `before` to `after`; KeyError below."""
        return root_at(size, self._node)

    def consistency_proof(self) -> list[bytes]:
        """The proof that the tree before begins the tree after; ValueError from an empty tree."""
        return consistency_proof(self.before.size, self.after.size, self._node)

    def _node(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree over these leaf hashes."""
    return Frontier().extend(leaves).root()


def root_at(size: int, node: NodeReader) -> bytes:
    """The root of the tree of the first `size` leaves."""
    if not 0 <= size <= SIZE_LIMIT:
        raise ValueError(f"no tree has {size} leaves")
    return _root(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """RFC 6962 section 2.1.1: the hashes from the leaf's sibling up to the root's child."""
    if not 0 <= index < size <= SIZE_LIMIT:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(start, middle, node))
            start = middle
    return proof[::-1]


def consistency_proof(size1: int, size2: int, node: NodeReader) -> list[bytes]:
    """RFC 6962 section 2.1.2: proof that the tree of `size1` leaves begins the tree of `size2` leaves."""
    if not 0 < size1 <= size2 <= SIZE_LIMIT:
        raise ValueError(f"no proof leads from {size1} to {size2} leaves: 1 or more, and no fewer afterwards")
    proof = []
    start, end = 0, size2
    known_to_verifier = True  # the subtree under consideration is the whole of the older tree
    while end != size1:
        middle = _split(start, end)
        if size1 <= middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(start, middle, node))
            start, known_to_verifier = middle, False
    if not known_to_verifier:
        proof.append(_root(start, end, node))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `NotProven` unless `proof` shows leaf hash `leaf` at `index` under `root` of `size` leaves."""
    if not 0 <= index < size <= SIZE_LIMIT:
        raise NotProven(f"a tree of {size} leaves has no leaf {index}")
    _check_hashes(leaf, root, *proof)
    inner = (index ^ (size - 1)).bit_length()
    expected = inner + (index >> inner).bit_count()
    if len(proof) != expected:
        raise NotProven(f"leaf {index} of {size} needs {expected} hashes, the proof has {len(proof)}")
    found = leaf
    for level, sibling in enumerate(proof):
        left = level >= inner or index >> level & 1
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    if found != root:
        raise NotProven(f"the proof leads leaf {index} to another root: entry, index or tree was changed")


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Raise `NotProven` unless the tree (`size1`, `root1`) is the beginning of the tree (`size2`, `root2`).

    RFC 9162 section 2.1.4.2. Nothing can be proven from an empty tree, so `size1` 0 is refused: it is for the
    caller to know that every tree extends the empty one.
    """
    if not 0 < size1 <= size2 <= SIZE_LIMIT:
        raise NotProven(f"{size1} to {size2} leaves is no growth that can be proven")
    if size1 == size2:  # nothing is hashed, so nothing is asked of the roots but to be the same
        if proof or root1 != root2:
            raise NotProven(f"two trees of {size1} leaves have different roots, or a proof where none belongs")
        return
    _check_hashes(root1, root2, *proof)
    older, newer = consistency_roots(size1, size2, proof, root1)
    if older != root1 or newer != root2:
        raise NotProven(f"the tree of {size2} leaves does not begin with the tree of {size1}: history was changed")


def consistency_roots(size1: int, size2: int, proof: Sequence[bytes], root1: bytes) -> tuple[bytes, bytes]:
    """The roots of both trees that a consistency proof leads to, for sizes 0 < `size1` < `size2`.

    When the newer one is the newer tree's root, the older one is that tree's own root at `size1`, whatever `root1`
    claims: another hash there proves that it is not the beginning. `NotProven` when the proof's length is wrong.
    """
    # An older tree that is itself one complete subtree is left out of the proof: the verifier has its root.
    path = [root1, *proof] if size1.bit_count() == 1 else list(proof)
    if not path:
        raise NotProven("the proof is empty")
    first, last = size1 - 1, size2 - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise NotProven("the proof is too long")
        if first & 1 or first == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        first, last = first >> 1, last >> 1
    if last:
        raise NotProven("the proof is too short")
    return older, newer


def _check_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise NotProven(f"a hash does not have {HASH_BYTES} bytes")


def _completed(size: int, leaf: bytes, peaks: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """The nodes that leaf number `size` completes, itself first; takes the peaks it merges from `peaks`."""
    if len(leaf) != HASH_BYTES:
        raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(leaf)}")
    yield 0, size, leaf
    level = 0
    while size >> level & 1:
        leaf = node_hash(peaks.pop(), leaf)
        level += 1
        yield level, size >> level, leaf


def _split(start: int, end: int) -> int:
    """Where RFC 6962 divides the leaves `start` to `end`: the left part is the largest power of two below."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _root(start: int, end: int, node: NodeReader) -> bytes:
    level = (end - start).bit_length() - 1
    if end - start == 1 << level:  # the usual case, for which the general one gives the same
        return node(level, start >> level)
    return _fold([node(level, index) for level, index in _complete_subtrees(start, end)])


def _complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The nodes that cover the leaves `start` to `end`, largest first; `start` is aligned to the first."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _fold(peaks: Sequence[bytes]) -> bytes:
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root
