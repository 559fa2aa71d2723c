"""A proof costs what the logarithm of the log costs: tiles and hashes read are counted, not time.

The logs here have up to a billion entries that are all the same, so that every tile of a level is the same tile and
nothing large has to be made; the proofs are real, and an independent reader reads them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from ledger.merkle.tiles import HEIGHT, TILE_BYTES, WIDTH, HashTiles, tile_root
from ledger.merkle.tree import leaf_hash
from tests.scenario import offline

SIZES = (100, 255, 256, 257, 1_000, 10_000, 65_536, 65_537, 100_000, 999_999, 1_000_000, 10**9)
LEAF = leaf_hash(b"the same entry")


@cache
def node(level: int) -> bytes:
    """A hash in any tile of a level: the root over 256^level leaves."""
    return LEAF if level == 0 else tile_root(node(level - 1) * WIDTH)


class CountedLog:
    """A store of tiles that counts what is read of it, and refuses to be read as a whole."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.hashes = HashTiles(self._full_tile, self._leaves, self._roots)

    def _full_tile(self, level: int, n: int) -> bytes:
        self.read["tiles"] += 1
        return node(level) * WIDTH

    def _leaves(self, start: int, end: int) -> list[bytes]:
        self.read["rows"] += end - start
        return [LEAF] * (end - start)

    def _roots(self, level: int, start: int, end: int) -> list[bytes]:
        self.read["rows"] += end - start
        return [node(level + 1)] * (end - start)


def levels(size: int) -> int:
    """How many levels of tiles a log of this size has."""
    return -(-max(1, (size - 1).bit_length()) // HEIGHT)


def within_bounds(log: CountedLog, size: int) -> bool:
    """At every level the tile on the way and the one at the edge, which is gathered from fewer than 256 rows."""
    return log.read["tiles"] <= 2 * levels(size) and log.read["rows"] <= (WIDTH - 1) * levels(size)


@pytest.mark.parametrize("size", SIZES)
def test_an_inclusion_proof_reads_two_tiles_a_level_and_no_more(size: int) -> None:
    root = CountedLog().hashes.root_at(size)
    for index in (0, 1, size // 3, size // 2, size - 2, size - 1):
        log = CountedLog()
        proof = log.hashes.inclusion_proof(index, size)
        assert within_bounds(log, size), (size, index, log.read)
        offline.check_inclusion(LEAF, index, size, proof, root)
        assert len(proof) <= (size - 1).bit_length()


@pytest.mark.parametrize("size", SIZES)
def test_a_consistency_proof_reads_two_tiles_a_level_and_no_more(size: int) -> None:
    hashes = CountedLog().hashes
    for old in {1, 2, size // 3, size // 2, size - 1, size} | {n for n in (256, 65_536) if n < size}:
        log = CountedLog()
        proof = log.hashes.consistency_proof(old, size)
        assert within_bounds(log, size), (size, old, log.read)
        offline.check_consistency(old, size, proof, hashes.root_at(old), hashes.root_at(size))


@pytest.mark.parametrize("size", SIZES)
def test_a_root_reads_the_edge_of_the_tree_alone(size: int) -> None:
    log = CountedLog()
    log.hashes.root_at(size)
    assert log.read["tiles"] <= levels(size)
    assert log.read["rows"] <= (WIDTH - 1) * levels(size)


def test_ten_thousand_times_the_entries_cost_a_proof_two_more_levels() -> None:
    costs = []
    for size in (100 * WIDTH, 10_000 * 100 * WIDTH):
        log = CountedLog()
        log.hashes.inclusion_proof(size // 3, size)
        costs.append(log.read["tiles"])
    assert costs[1] - costs[0] <= 2 * 2


def test_the_logs_of_this_file_are_logs() -> None:
    """The shortcut is sound: over leaves that are really there, roots and tiles are the same."""
    log = CountedLog().hashes
    assert log.root_at(70_000) == offline.tree_root([LEAF] * 70_000)
    assert log.tile(1, 0, 70_000) == offline.tree_root([LEAF] * 256) * WIDTH
    assert len(log.tile(1, 0, 70_000)) == TILE_BYTES
