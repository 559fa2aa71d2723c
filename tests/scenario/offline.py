"""Reads checkpoints and receipts with nothing of the ledger's own code: what an outsider would write.

From the published formats alone: RFC 6962 section 2.1 (tree), C2SP signed-note, tlog-checkpoint, tlog-proof.
Written as recursions straight from the definitions, where the ledger's own code is iterative. Raises Wrong.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519_NOTE = 1


class Wrong(Exception):
    """The evidence does not show what it claims."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint whose log signature is good."""

    origin: str
    size: int
    root: bytes


def leaf_of(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:cut]) + tree_root(leaves[cut:])).digest()


class Roots:
    """The roots of all beginnings of one list of leaves, each subtree hashed once."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def at(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        if size > len(self._leaves):
            raise Wrong(f"there are {len(self._leaves)} leaves, not {size}")
        return self._root(0, size) if size else hashlib.sha256(b"").digest()

    def _root(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self._leaves[start]
        width = end - start
        whole = width & (width - 1) == 0
        if whole and (start, end) in self._known:
            return self._known[start, end]
        cut = 1
        while cut * 2 < width:
            cut *= 2
        root = hashlib.sha256(b"\x01" + self._root(start, start + cut) + self._root(start + cut, end)).digest()
        if whole:
            self._known[start, end] = root
        return root


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an audit path leads to, by the recursion that defines it."""
    if size == 1:
        if path:
            raise Wrong("the path is too long")
        return leaf
    if not path:
        raise Wrong("the path is too short")
    cut = 1
    while cut * 2 < size:
        cut *= 2
    *inner, last = path
    if index < cut:
        return hashlib.sha256(b"\x01" + root_from_path(leaf, index, cut, inner) + last).digest()
    return hashlib.sha256(b"\x01" + last + root_from_path(leaf, index - cut, size - cut, inner)).digest()


def roots_from_consistency(old: int, new: int, path: list[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """The two roots that a consistency proof leads to, by the recursion SUBPROOF of RFC 6962."""
    return _subproof(old, new, path, old_root)


def _subproof(old: int, new: int, path: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    if old == new:
        if len(path) != (known is None):
            raise Wrong("the consistency proof has another length")
        root = path[0] if known is None else known
        return root, root
    if not path:
        raise Wrong("the consistency proof is too short")
    cut = 1
    while cut * 2 < new:
        cut *= 2
    *inner, last = path
    if old <= cut:
        older, left = _subproof(old, cut, inner, known)
        return older, hashlib.sha256(b"\x01" + left + last).digest()
    older, right = _subproof(old - cut, new - cut, inner, None)
    return tuple(hashlib.sha256(b"\x01" + last + root).digest() for root in (older, right))  # type: ignore[return-value]


def open_checkpoint(note: str, log_key: str) -> Checked:
    """A signed checkpoint; `log_key` as genesis names it: name+hash+base64."""
    name, _, rest = log_key.partition("+")
    key_id, _, material = rest.partition("+")
    key = b64decode(material, validate=True)
    if key[0] != ED25519_NOTE:
        raise Wrong("not an Ed25519 key")
    body, _, lines = note.partition("\n\n")
    text = body + "\n"
    for line in lines.splitlines():
        dash, who, signature = line.split(" ")
        raw = b64decode(signature, validate=True)
        if dash != "—" or who != name or raw[:4].hex() != key_id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
        except InvalidSignature:
            raise Wrong("the log's signature does not stand") from None
        origin, size, root = body.split("\n")
        return Checked(origin, int(size), b64decode(root, validate=True))
    raise Wrong(f"no signature of {name}")


def open_receipt(receipt: str, log_key: str) -> tuple[Checked, int, bytes]:
    """A .tlog-proof: the checkpoint it stands under, the index, and the entry that it proves."""
    head, _, checkpoint = receipt.partition("\n\n")
    first, extra, index, *hashes = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise Wrong("not a receipt with its entry")
    entry, place = b64decode(extra[6:], validate=True), int(index[6:])
    checked = open_checkpoint(checkpoint, log_key)
    path = [b64decode(line, validate=True) for line in hashes]
    if root_from_path(leaf_of(entry), place, checked.size, path) != checked.root:
        raise Wrong(f"the path does not lead from index {place} to the root of {checked.size}")
    return checked, place, entry
