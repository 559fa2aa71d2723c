"""Proofs come from tiles, at every size the log ever had, and cost hardly more in a long log."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

import pytest

from ledger.merkle import tree
from ledger.merkle.tiles import (
    TILE_BYTES,
    WIDTH,
    HashTiles,
    MissingTile,
    bundle_bytes,
    consistency_proof,
    full_tiles_completed,
    inclusion_proof,
    parse_bundle,
    parse_tile_path,
    root_at,
    tile_path,
    tile_root,
    tile_width,
)
from ledger.merkle.tree import node_hash, verify_consistency, verify_inclusion

COUNT = 65_536 + 300


@lru_cache
def rows() -> list[list[bytes]]:
    """All complete nodes of a synthetic log, level by level: the reference everything is compared with."""
    levels = [[sha256(b"leaf %d" % number).digest() for number in range(COUNT)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return levels


def reference(level: int, index: int) -> bytes:
    return rows()[level][index]


class Store:
    """What a database keeps of a log: leaf hashes and full tiles with their roots; it counts what is read."""

    def __init__(self) -> None:
        self.size = 0
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.roots: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        self.hashes = HashTiles(self.full_tile, self.leaf_hashes, self.tile_roots)

    def grow(self, size: int) -> None:
        old, self.size = self.size, size
        for level, n, tile, root in self.hashes.completed(old, size):
            self.tiles[level, n], self.roots[level, n] = tile, root

    def full_tile(self, level: int, n: int) -> bytes:
        self.reads += 1
        return self.tiles[level, n]

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        assert end - start <= WIDTH and end <= self.size
        self.reads += 1
        return rows()[0][start:end]

    def tile_roots(self, level: int, start: int, end: int) -> list[bytes]:
        assert end - start <= WIDTH
        self.reads += 1
        return [self.roots[level, n] for n in range(start, end)]


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store()
    for size in (1, 255, 256, 257, 600, 3_000, 65_535, 65_536, 65_537, COUNT):
        store.grow(size)
    return store


@pytest.fixture(scope="module")
def plain(store: Store) -> HashTiles:
    """The same log in a store that keeps no roots of tiles."""
    return HashTiles(store.full_tile, store.leaf_hashes)


SIZES = [
    1,
    2,
    3,
    128,
    254,
    255,
    256,
    257,
    511,
    512,
    513,
    2_999,
    65_279,
    65_280,
    65_535,
    65_536,
    65_537,
    COUNT,
]


@pytest.mark.parametrize("size", SIZES)
def test_tiles_give_what_the_whole_tree_gives(size: int, store: Store, plain: HashTiles) -> None:
    root = tree.root_at(size, reference)
    assert store.hashes.root_at(size) == plain.root_at(size) == root
    for index in sorted(
        {0, 1, size // 3, size // 2, max(0, size - 257), max(0, size - 2), size - 1} & set(range(size))
    ):
        proof = store.hashes.inclusion_proof(index, size)
        assert proof == tree.inclusion_proof(index, size, reference)
        assert proof == plain.inclusion_proof(index, size)
        verify_inclusion(rows()[0][index], index, size, proof, root)
    for size1 in sorted({1, 2, 255, 256, 257, 512, size // 2, size - 1, size} & set(range(1, size + 1))):
        proof = store.hashes.consistency_proof(size1, size)
        assert proof == tree.consistency_proof(size1, size, reference)
        verify_consistency(size1, size, proof, tree.root_at(size1, reference), root)


@pytest.mark.parametrize("size", [255, 256, 257, 70_000, 65_535, 65_536, 65_537, COUNT])
def test_each_tile_holds_the_nodes_of_its_level(size: int, store: Store) -> None:
    size = min(size, COUNT)
    for level in range(4):
        total = size >> 8 * level
        for n in {0, total // WIDTH}:
            width = tile_width(level, n, size)
            if width == 0:
                with pytest.raises(MissingTile):
                    store.hashes.tile(level, n, size)
                continue
            nodes = rows()[8 * level][n * WIDTH : n * WIDTH + width]
            assert store.hashes.tile(level, n, size) == b"".join(nodes)


def test_a_proof_touches_two_tiles_a_level_at_most(store: Store) -> None:
    for size in (65_535, 65_536, COUNT):
        for prove, older in (
            (store.hashes.inclusion_proof, 0),
            (store.hashes.inclusion_proof, size // 2),
            (store.hashes.inclusion_proof, size - 1),
            (store.hashes.consistency_proof, 40_000),
        ):
            store.reads = 0
            prove(older, size)
            assert store.reads <= 2 * 3


def test_tiles_of_a_folder_prove_the_same(store: Store) -> None:
    """The reader of an exported log: files, full and partial, one may be there or not."""
    size = 3_000
    files = {tile_path(0, n): store.tiles[0, n] for n in range(size // WIDTH)}
    files[tile_path(0, 11, 3_000 % WIDTH)] = store.hashes.tile(0, 11, size)
    files[tile_path(1, 0, 11)] = store.hashes.tile(1, 0, size)

    def read(level: int, n: int) -> bytes | None:
        return files.get(tile_path(level, n, tile_width(level, n, size)))

    assert root_at(size, read) == tree.root_at(size, reference)
    assert inclusion_proof(2_999, size, read) == tree.inclusion_proof(2_999, size, reference)
    assert consistency_proof(700, size, read) == tree.consistency_proof(700, size, reference)
    del files["tile/0/011.p/184"]
    with pytest.raises(MissingTile, match=r"tile/0/011"):
        root_at(size, read)


def test_a_later_partial_tile_serves_an_earlier_size(store: Store) -> None:
    read: Callable[[int, int], bytes | None] = lambda level, n: store.hashes.tile(level, n, 700)  # noqa: E731
    assert root_at(600, read) == tree.root_at(600, reference)


def test_a_tile_with_too_few_hashes_is_missing() -> None:
    with pytest.raises(MissingTile):
        root_at(5, lambda level, n: bytes(4 * 32))
    with pytest.raises(MissingTile):
        inclusion_proof(0, 5, lambda level, n: None)


def test_a_store_that_lost_something_is_told_so(store: Store) -> None:
    short = HashTiles(lambda level, n: bytes(TILE_BYTES - 32), lambda start, end: [], lambda level, start, end: [])
    for size in (5, 256, 600):
        with pytest.raises(MissingTile):
            short.root_at(size)
    with pytest.raises(MissingTile):
        list(short.completed(0, 256))


def test_a_changed_tile_gives_another_root(store: Store) -> None:
    def altered(level: int, n: int) -> bytes:
        tile = store.tiles[level, n]
        return b"\0" * 32 + tile[32:] if (level, n) == (0, 1) else tile

    tiles = HashTiles(altered, store.leaf_hashes)
    assert tiles.root_at(600) != tree.root_at(600, reference)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (0, 0, []),
        (0, 255, []),
        (0, 256, [(0, 0)]),
        (255, 257, [(0, 0)]),
        (256, 511, []),
        (200, 800, [(0, 0), (0, 1), (0, 2)]),
        (65_535, 65_536, [(0, 255), (1, 0)]),
        (256**3 - 1, 256**3, [(0, 65_535), (1, 255), (2, 0)]),
    ],
)
def test_the_signer_learns_which_tiles_became_full(old: int, new: int, expected: list[tuple[int, int]]) -> None:
    assert full_tiles_completed(old, new) == expected


def test_every_full_tile_is_stored_once_however_the_log_grew() -> None:
    at_once, step_by_step = Store(), Store()
    at_once.grow(3_000)
    for size in range(100, 3_001, 100):
        step_by_step.grow(size)
    assert at_once.tiles == step_by_step.tiles
    assert sorted(at_once.tiles) == [(0, n) for n in range(11)]
    assert all(at_once.roots[at] == tile_root(tile) for at, tile in at_once.tiles.items())


def test_a_log_does_not_shrink() -> None:
    with pytest.raises(ValueError):
        full_tiles_completed(5, 4)


@pytest.mark.parametrize(
    ("path", "level", "n", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/005.p/1", 0, 5, 1),
        ("tile/2/x001/x234/067", 2, 1_234_067, 256),
        ("tile/63/x001/000.p/255", 63, 1_000, 255),
        ("tile/entries/x999/999.p/16", "entries", 999_999, 16),
    ],
)
def test_a_tile_lies_where_the_specification_says(path: str, level: int | str, n: int, width: int) -> None:
    assert tile_path(level, n, width) == path
    assert parse_tile_path(path) == (level, n, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/x/000",
        "tile/0/x000/001",
        "tile/0/000/001",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/data/000",
        "tile/0/../000",
    ],
)
def test_other_paths_are_no_tiles(path: str) -> None:
    with pytest.raises(ValueError):
        parse_tile_path(path)


@pytest.mark.parametrize(("n", "width"), [(-1, 256), (0, 0), (0, 257)])
def test_there_is_no_such_tile(n: int, width: int) -> None:
    with pytest.raises(ValueError):
        tile_path(0, n, width)


def test_an_entry_bundle_gives_its_entries_back() -> None:
    entries = [b"one", b"x" * 47_000, b""]
    assert bundle_bytes(entries)[:5] == b"\0\x03one"
    assert parse_bundle(bundle_bytes(entries)) == entries


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x05abc", b"\0\x01a\0", b"\0\0" * 257])
def test_a_broken_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_bundle(data)


def test_a_bundle_has_its_limits() -> None:
    for entries in ([], [b"x"] * 257, [b"x" * 48_001]):
        with pytest.raises(ValueError):
            bundle_bytes(entries)
