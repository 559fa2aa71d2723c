"""Hash tiles (C2SP tlog-tiles): where they lie, what is in them, and proofs read from them.

A tile of level L holds up to 256 hashes, the nodes of tree level 8 * L; hash i of tile n is the root over the
leaves (n * 256 + i) * 256^L to (n * 256 + i + 1) * 256^L. A full tile never changes. Only full tiles are
hashed upward, so the tiles of every older size can still be given. Pure: bytes come from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ledger.merkle import tree
from ledger.merkle.tree import ENTRY_LIMIT, HASH_BYTES, NodeReader, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_BYTES = WIDTH * HASH_BYTES

TOP_LEVEL = 7
"""The highest level of tile that a tree within 64 bits of size can fill a hash of."""

TileReader = Callable[[int, int], bytes | None]
"""(level, n) to that tile's bytes, full or partial, at the size in question or later; None when missing."""

ROOTS_KEPT = 65_536
"""Roots of full tiles kept in memory by a `HashTiles`: 16 million leaves, a few megabytes."""

_NUMBER = r"(?:x[0-9]{3}/){0,6}[0-9]{3}"  # seven groups: more tiles than a tree within 64 bits of size has
_PATH = re.compile(rf"tile/(entries|0|[1-9][0-9]?)/({_NUMBER})(?:\.p/([1-9][0-9]{{0,2}}))?")


class MissingTile(LookupError):
    """A tile that a proof needs is not there, or has too few hashes for the size asked."""


def tile_path(level: int | str, n: int, width: int = WIDTH) -> str:
    """`tile/<level>/<n>` of a full tile, with `.p/<width>` of a partial one; level `entries` for bundles."""
    if n < 0 or not 1 <= width <= WIDTH:
        raise ValueError(f"there is no tile {n} of width {width}")
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03d}")
    suffix = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{suffix}"


def parse_tile_path(path: str) -> tuple[int | str, int, int]:
    """Level (or `entries`), number and width of a path; ValueError unless `tile_path` gives it again."""
    found = _PATH.fullmatch(path)
    if not found:
        raise ValueError(f"{path[:80]!r} is not the path of a tile")
    level = found[1] if found[1] == "entries" else int(found[1])
    n = int(found[2].replace("x", "").replace("/", ""))
    width = int(found[3]) if found[3] else WIDTH
    if (found[3] and width >= WIDTH) or level not in ("entries", *range(64)) or tile_path(level, n, width) != path:
        raise ValueError(f"{path[:80]!r} is not the path of a tile")
    return level, n, width


def tile_width(level: int, n: int, size: int) -> int:
    """How many hashes tile n of a level has in a tree of `size` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - n * WIDTH))


def full_tiles_completed(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """(level, n) of the tiles that are full at `new_size` and were not at `old_size`, lowest level first."""
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a log does not go from {old_size} to {new_size} entries")
    completed = []
    for level in range(TOP_LEVEL + 1):
        shift = HEIGHT * (level + 1)
        completed += [(level, n) for n in range(old_size >> shift, new_size >> shift)]
    return completed


def tile_root(tile: bytes) -> bytes:
    """The root over the hashes of a full tile: one hash of the tile above."""
    if len(tile) != TILE_BYTES:
        raise ValueError(f"a full tile has {TILE_BYTES} bytes, not {len(tile)}")
    return _subtree(tile, 0, WIDTH)


def node_reader(read: TileReader) -> NodeReader:
    """Nodes read from tiles, each tile read once: for one proof or a few, not for keeping."""
    tiles: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        at = level // HEIGHT
        n, first, count = _place(level, index)
        if (at, n) not in tiles:
            tiles[at, n] = read(at, n) or b""
        tile = tiles[at, n]
        if len(tile) < (first + count) * HASH_BYTES:
            raise MissingTile(f"{tile_path(at, n)} is missing, or has fewer than {first + count} hashes")
        return _subtree(tile, first, count)

    return node


def root_at(size: int, read: TileReader) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return tree.root_at(size, node_reader(read))


def inclusion_proof(index: int, size: int, read: TileReader) -> list[bytes]:
    """The proof of leaf `index` in the tree of `size` leaves; at most two tiles a level are read."""
    return tree.inclusion_proof(index, size, node_reader(read))


def consistency_proof(size1: int, size2: int, read: TileReader) -> list[bytes]:
    """The proof from the tree of `size1` leaves to that of `size2`; at most two tiles a level are read."""
    return tree.consistency_proof(size1, size2, node_reader(read))


class HashTiles:
    """Nodes, tiles and proofs at any size up to the current one, over what a store keeps.

    The store keeps full tiles, `full_tile(level, n)` (8,192 bytes), and each leaf's hash, `leaf_hashes(start,
    end)`. A partial tile above level 0 is made of the roots of the full tiles below it, up to 255 of them: a
    store that keeps each full tile's root too gives `tile_roots(level, start, end)`, and every proof touches
    at most two tiles a level. Without it roots are computed once and kept in memory (`ROOTS_KEPT`).
    What the three raise passes through. Not for use by several threads at once.
    """

    def __init__(
        self,
        full_tile: Callable[[int, int], bytes],
        leaf_hashes: Callable[[int, int], Sequence[bytes]],
        tile_roots: Callable[[int, int, int], Sequence[bytes]] | None = None,
    ) -> None:
        self._full_tile = full_tile
        self._leaf_hashes = leaf_hashes
        self._tile_roots = tile_roots or self._computed_roots
        self._kept: dict[tuple[int, int], bytes] = {}

    def tile(self, level: int, n: int, size: int) -> bytes:
        """Tile n of a level in the tree of `size` leaves, full or partial; `MissingTile` when it is empty."""
        width = tile_width(level, n, size)
        if width == 0:
            raise MissingTile(f"a log of {size} entries has no {tile_path(level, n)}")
        if width == WIDTH:
            return _whole(self._full_tile(level, n), level, n)
        return self._gather(level, n, width)

    def root_at(self, size: int) -> bytes:
        """The root of the tree of the first `size` leaves."""
        return root_at(size, self._reader(size))

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The proof of leaf `index` in the tree of `size` leaves."""
        return inclusion_proof(index, size, self._reader(size))

    def consistency_proof(self, size1: int, size2: int) -> list[bytes]:
        """The proof from the tree of `size1` leaves to that of `size2`."""
        return consistency_proof(size1, size2, self._reader(size2))

    def completed(self, old_size: int, new_size: int) -> Iterator[tuple[int, int, bytes, bytes]]:
        """(level, n, bytes, root) of every tile that became full, lowest level first, for the store to keep.

        Needs the leaf hashes up to `new_size` and the full tiles of `old_size`, none of the new ones.
        """
        fresh: dict[tuple[int, int], bytes] = {}
        for level, n in full_tiles_completed(old_size, new_size):
            if level == 0:
                tile = self._gather(0, n, WIDTH)
            else:
                below = range(n * WIDTH, (n + 1) * WIDTH)
                old = [at for at in below if (level - 1, at) not in fresh]
                stored = self._tile_roots(level - 1, old[0], old[-1] + 1) if old else ()
                tile = b"".join([*stored, *[fresh[level - 1, at] for at in below[len(old) :]]])
            fresh[level, n] = tile_root(_whole(tile, level, n))
            yield level, n, tile, fresh[level, n]

    def _reader(self, size: int) -> TileReader:
        return lambda level, n: self.tile(level, n, size)

    def _gather(self, level: int, n: int, width: int) -> bytes:
        """The first `width` hashes of a tile, from the leaves or from the full tiles below."""
        start = n * WIDTH
        hashes = self._tile_roots(level - 1, start, start + width) if level else self._leaf_hashes(start, start + width)
        tile = b"".join(hashes)
        if len(tile) != width * HASH_BYTES:
            raise MissingTile(f"the store lacks hashes of {tile_path(level, n, width)}")
        return tile

    def _computed_roots(self, level: int, start: int, end: int) -> list[bytes]:
        roots = []
        for n in range(start, end):
            root = self._kept.get((level, n))
            if root is None:
                root = self._kept[level, n] = tile_root(_whole(self._full_tile(level, n), level, n))
                if len(self._kept) > ROOTS_KEPT:
                    del self._kept[next(iter(self._kept))]
            roots.append(root)
        return roots


def bundle_bytes(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length in two bytes, big-endian; at most 256 entries."""
    parts = []
    for entry in entries:
        if len(entry) > ENTRY_LIMIT:
            raise ValueError(f"an entry of {len(entry)} bytes is longer than {ENTRY_LIMIT}")
        parts.append(len(entry).to_bytes(2, "big") + entry)
    if not 1 <= len(parts) <= WIDTH:
        raise ValueError(f"a bundle has 1 to {WIDTH} entries, not {len(parts)}")
    return b"".join(parts)


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle; ValueError unless the bytes are exactly 1 to 256 entries."""
    entries = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise ValueError("an entry bundle is cut short")
        entries.append(data[at + 2 : end])
        at = end
    if not 1 <= len(entries) <= WIDTH:
        raise ValueError(f"a bundle has 1 to {WIDTH} entries, not {len(entries)}")
    return entries


def _place(level: int, index: int) -> tuple[int, int, int]:
    """In which tile of its level a node lies, and over which of its hashes: (n, first, count)."""
    start = index << level % HEIGHT
    return start // WIDTH, start % WIDTH, 1 << level % HEIGHT


def _whole(tile: bytes, level: int, n: int) -> bytes:
    if len(tile) != TILE_BYTES:
        raise MissingTile(f"the store's {tile_path(level, n)} has {len(tile)} bytes, not {TILE_BYTES}")
    return tile


def _subtree(tile: bytes, first: int, count: int) -> bytes:
    """The root over `count` hashes of a tile, a power of two, from hash `first` on."""
    row = [tile[at * HASH_BYTES : (at + 1) * HASH_BYTES] for at in range(first, first + count)]
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]
