"""An independent reader accepts all that a log of any size from 1 to 600 hands out, and nothing with a byte changed.

Checkpoints with three signatures, inclusion and consistency proofs between all sizes, hash tiles, entry bundles,
receipts. The reader (tests/scenario/offline) shares no code with `ledger/merkle`. Every kind has every one of its
bytes changed at some sizes, and at every other size bytes of each of its parts. Two changes leave a note valid, and
should: those are pinned at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ledger.merkle import tree
from ledger.merkle.tiles import full_tiles_completed, parse_tile_path, tile_path, tile_width
from tests.conformance import growing_log as log
from tests.scenario import offline
from tests.scenario.offline import Wrong

SIZES = range(1, log.LARGEST + 1)
WHOLE = (1, 5)
"""Sizes at which every byte of a checkpoint and of the files has its change."""
EVERY_RECEIPT = 24
"""Up to this size every entry's receipt is read, and every byte before the checkpoint changed in one; beyond, the
receipts at the edges and two that move along, and each part."""
TENS = [range(start, min(start + 50, log.LARGEST + 1)) for start in range(1, log.LARGEST, 50)]
by_fifties = pytest.mark.parametrize("sizes", TENS, ids=lambda sizes: f"{sizes[0]}-{sizes[-1]}")


def refused(read: Callable[..., Any], *given: Any) -> bool:
    """Whether the reader refuses it, in words of its own and by no accident."""
    try:
        read(*given)
    except Wrong:
        return True
    return False


def opened(note: bytes) -> offline.Checked:
    """A checkpoint with the signatures of all three keys."""
    return offline.open_checkpoint(note, log.LOG_KEY, *log.OTHER_KEYS)


def parts_of(text: bytes) -> set[int]:
    """A position in each part of a text of lines: the ends of every line, of its words, and the line feed."""
    places, at = set(), 0
    for line in text.split(b"\n"):
        for word in line.split(b" "):
            places |= {at, at + len(word) // 3, at + len(word) - 1, at + len(word)}
            at += len(word) + 1
    return {place for place in places if 0 <= place < len(text)}


@by_fifties
def test_every_checkpoint_is_read_and_none_with_a_byte_changed(sizes: Iterable[int]) -> None:
    for size in sizes:
        note = log.checkpoint(size)
        checked = opened(note)
        assert (checked.origin, checked.size, checked.root) == (log.ORIGIN, size, log.root(size))
        assert dict(checked.times) == dict.fromkeys(log.OTHER_KEYS, log.COSIGNED_AT + size)
        everywhere = range(len(note)) if size in WHOLE else parts_of(note) | set(log.spread(len(note), size, 4))
        for at, changed in log.changed_at(note, everywhere, size):
            assert refused(opened, changed), (size, at, changed)


@by_fifties
def test_every_inclusion_proof_is_read_and_none_with_a_byte_changed(sizes: Iterable[int]) -> None:
    for size in sizes:
        root = log.root(size)
        for index in range(size):
            leaf, path = log.LEAVES[index], tree.inclusion_proof(index, size, log.node)
            offline.check_inclusion(leaf, index, size, path, root)
            whole = b"".join((leaf, *path, root))
            everywhere = range(len(whole)) if size < 20 else log.spread(len(whole), index + size, 1)
            for at, changed in log.changed_at(whole, everywhere, index):
                first, *hashes, last = offline.tile_hashes(changed, len(whole) // 32)
                assert refused(offline.check_inclusion, first, index, size, hashes, last), (size, index, at)


@by_fifties
def test_every_consistency_proof_is_read_and_none_with_a_byte_changed(sizes: Iterable[int]) -> None:
    for size in sizes:
        root = log.root(size)
        for old in range(1, size + 1):
            before, path = log.root(old), tree.consistency_proof(old, size, log.node)
            offline.check_consistency(old, size, path, before, root)
            whole = b"".join((before, *path, root))
            everywhere = range(len(whole)) if size < 20 else log.spread(len(whole), old + size, 1)
            for at, changed in log.changed_at(whole, everywhere, old):
                first, *hashes, last = offline.tile_hashes(changed, len(whole) // 32)
                assert refused(offline.check_consistency, old, size, hashes, first, last), (size, old, at)


@by_fifties
def test_a_proof_shows_no_other_place_and_no_other_size(sizes: Iterable[int]) -> None:
    for size in sizes:
        for index in {0, size // 2, size - 1, size * 7 % size}:
            leaf, path = log.LEAVES[index], tree.inclusion_proof(index, size, log.node)
            for place, among in ((index + 1, size), (index - 1, size), (index, size + size), (index ^ 1, size)):
                assert refused(offline.check_inclusion, leaf, place, among, path, log.root(size)), (size, index)


@by_fifties
def test_every_tile_and_bundle_is_read_and_none_with_a_byte_changed(sizes: Iterable[int]) -> None:
    for size in sizes:
        root = log.root(size)
        files = {path: log.file(path, size) for path in offline.paths_of(size)}
        assert offline.check_log(size, root, files.__getitem__) == log.ENTRIES[:size]
        for path, data in files.items():
            everywhere = range(len(data)) if size in (*WHOLE, 257) and len(data) < 2_000 else _parts(data, size)
            for at, changed in log.changed_at(data, everywhere, size):
                assert refused(_read_changed, size, root, files, path, changed), (size, path, at)


def test_no_byte_of_a_full_tile_or_bundle_can_be_changed() -> None:
    files = {path: log.file(path, 256) for path in offline.paths_of(256)}
    assert sorted(map(len, files.values())) == [32, len(files["tile/entries/000"]), 8_192]
    for path, data in files.items():
        for at, changed in log.changed_at(data, range(len(data)), 256):
            assert refused(_read_changed, 256, log.root(256), files, path, changed), (path, at)


def _parts(data: bytes, size: int) -> set[int]:
    """The first and last bytes, and a few that move along with the size."""
    return {0, 1, len(data) // 2, len(data) - 1} & set(range(len(data))) | set(log.spread(len(data), size, 2))


def _read_changed(size: int, root: bytes, files: dict[str, bytes], path: str, data: bytes) -> None:
    """What the reader does with one file: hash tiles with each other, a bundle with its tile of hashes."""
    level, n, width = offline.parse_path(path)
    if level == "entries":
        offline.check_bundle(data, files[tile_path(0, n, width)], width)
    else:
        offline.root_from_tiles(size, {**files, path: data}, root)


@by_fifties
def test_every_receipt_is_read_and_none_with_a_byte_changed(sizes: Iterable[int]) -> None:
    for size in sizes:
        moving = {0, size - 1, 255 % size, 256 % size, *log.spread(size, size, 2)}
        indexes = range(size) if size <= EVERY_RECEIPT else moving
        for index in indexes:
            receipt = log.receipt(index, size)
            checked, place, entry = offline.open_receipt(receipt, log.LOG_KEY, *log.OTHER_KEYS)
            assert (checked, place, entry) == (opened(log.checkpoint(size)), index, log.ENTRIES[index])
        index = size * 31 % size
        receipt = log.receipt(index, size)
        head = receipt.index(b"\n\n") + 2  # what follows is the checkpoint, changed above
        everywhere = set(range(head)) if size <= EVERY_RECEIPT else parts_of(receipt[:head])
        everywhere |= {head, len(receipt) - 1}
        for at, changed in log.changed_at(receipt, everywhere, size):
            assert refused(offline.open_receipt, changed, log.LOG_KEY, *log.OTHER_KEYS), (size, index, at)


def test_a_log_names_exactly_the_tiles_that_the_specification_names() -> None:
    """Tiles of sizes that nobody would build in a test: the shapes alone, 70,000 being the specification's example."""
    for size in (1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 131_072):
        paths = offline.paths_of(size)
        assert len(paths) == len(set(paths))
        for path in paths:
            level, n, width = parse_tile_path(path)
            assert (level, n, width) == offline.parse_path(path)
            assert tile_width(0 if isinstance(level, str) else level, n, size) == width
        full = {(level, n) for level, n, width in map(parse_tile_path, paths) if level != "entries" and width == 256}
        assert full == set(full_tiles_completed(0, size))
    names = offline.paths_of(70_000)
    ends = [path for path in names if ".p/" in path]
    assert ends == ["tile/0/273.p/112", "tile/entries/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert len(names) == 274 + 274 + 2 + 1


def test_a_line_of_a_key_that_nobody_named_may_change_or_go() -> None:
    """The specification demands that unknown signatures are passed over: who relies on one has to name its key."""
    note = log.checkpoint(600)
    *rest, witness = note.splitlines(keepends=True)
    assert witness.startswith("\N{EM DASH} witness.example".encode())
    for other in (b"", witness.replace(b"witness", b"somebody"), witness[:-20] + b"A" + witness[-19:]):
        changed = b"".join(rest) + other
        assert offline.open_checkpoint(changed, log.LOG_KEY).size == 600
        assert refused(opened, changed)


def test_a_second_line_of_an_unknown_key_may_be_added() -> None:
    note = log.checkpoint(600) + "\N{EM DASH} somebody AAAAAAAA\n".encode()
    assert opened(note) == opened(log.checkpoint(600))
