"""The tree of RFC 6962 section 2.1, by the recursions that define it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()


class Wrong(Exception):
    """The evidence does not show what it claims."""


def leaf_of(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def parent(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def cut_of(size: int) -> int:
    """The largest power of two smaller than `size`: so many leaves are below the left child."""
    return 1 << (size - 1).bit_length() - 1


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962; a complete tree is hashed row by row, which is the same."""
    if len(leaves) & (len(leaves) - 1) == 0:
        while len(leaves) > 1:
            leaves = [parent(*pair) for pair in zip(leaves[::2], leaves[1::2], strict=True)]
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    cut = cut_of(len(leaves))
    return parent(tree_root(leaves[:cut]), tree_root(leaves[cut:]))


class Roots:
    """The roots of all beginnings of one list of leaves, each complete subtree hashed once."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def at(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        if size > len(self._leaves):
            raise Wrong(f"there are {len(self._leaves)} leaves, not {size}")
        return self.over(0, size) if size else EMPTY

    def over(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]), at least one leaf."""
        if end > len(self._leaves):
            raise Wrong(f"there are {len(self._leaves)} leaves, not {end}")
        if end - start == 1:
            return self._leaves[start]
        whole = (end - start) & (end - start - 1) == 0
        if whole and (start, end) in self._known:
            return self._known[start, end]
        cut = start + cut_of(end - start)
        root = parent(self.over(start, cut), self.over(cut, end))
        if whole:
            self._known[start, end] = root
        return root


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises Wrong unless the path leads from this leaf at this index to the root of `size` leaves."""
    if not 0 <= index < size:
        raise Wrong(f"there is no leaf {index} among {size}")
    _hashes(leaf, root, *path)
    if root_from_path(leaf, index, size, path) != root:
        raise Wrong(f"the path does not lead from leaf {index} to the root of {size}")


def check_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises Wrong unless the tree of `old` leaves is shown to begin the tree of `new` leaves."""
    if not 0 < old <= new:
        raise Wrong(f"nothing can be shown from {old} leaves to {new}")
    _hashes(*path)
    if roots_from_consistency(old, new, path, old_root) != (old_root, new_root):
        raise Wrong(f"the tree of {new} leaves is not shown to begin with that of {old}")


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to: the inverse of PATH in section 2.1.1."""
    if size == 1:
        if path:
            raise Wrong("the path is too long")
        return leaf
    if not path:
        raise Wrong("the path is too short")
    cut = cut_of(size)
    if index < cut:
        return parent(root_from_path(leaf, index, cut, path[:-1]), path[-1])
    return parent(path[-1], root_from_path(leaf, index - cut, size - cut, path[:-1]))


def roots_from_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """The two roots that a consistency proof leads to: the inverse of SUBPROOF in section 2.1.2."""
    return _subproof(old, new, path, old_root)


def _subproof(old: int, new: int, path: Sequence[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    if old == new:
        if len(path) != (known is None):
            raise Wrong("the consistency proof has another length")
        root = path[0] if known is None else known
        return root, root
    if not path:
        raise Wrong("the consistency proof is too short")
    cut, last = cut_of(new), path[-1]
    if old <= cut:
        older, left = _subproof(old, cut, path[:-1], known)
        return older, parent(left, last)
    older, newer = _subproof(old - cut, new - cut, path[:-1], None)
    return parent(last, older), parent(last, newer)


def _hashes(*values: bytes) -> None:
    if any(len(value) != 32 for value in values):
        raise Wrong("a hash has another length than SHA-256")
