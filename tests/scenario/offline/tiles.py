"""Hash tiles and entry bundles: C2SP tlog-tiles. Paths are those below the log's prefix, as `tile/0/000.p/5`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.scenario.offline.tree import Roots, Wrong, leaf_of, tree_root

WIDE = 256
ENTRIES = "entries"
_HASH = 32

Fetch = Callable[[str], bytes]


def path_of(level: int | str, n: int, width: int) -> str:
    """Where a tile lies: the number in groups of three digits, all but the last behind an x."""
    digits = str(n)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{number}" + (f".p/{width}" if width < WIDE else "")


def parse_path(path: str) -> tuple[int | str, int, int]:
    """Level (or `entries`), number and width, of a path that `path_of` writes."""
    head, _, width = path.partition(".p/")
    try:
        _, level, *groups = head.split("/")
        number = int("".join(group.removeprefix("x") for group in groups))
        place = level if level == ENTRIES else int(level)
        found = (place, number, int(width) if width else WIDE)
    except ValueError as error:
        raise Wrong(f"{path[:60]!r} is not the path of a tile") from error
    if path_of(*found) != path or not 1 <= found[2] <= WIDE:
        raise Wrong(f"{path[:60]!r} is not the path of a tile")
    return found


def paths_of(size: int) -> list[str]:
    """Every tile and entry bundle that a log of this size has, and no empty one."""
    paths = []
    for level in range(64 // 8):
        full, partial = divmod(size >> 8 * level, WIDE)
        widths = [WIDE] * full + [partial] * (partial > 0)
        paths += [path_of(level, n, width) for n, width in enumerate(widths)]
        if level == 0:
            paths += [path_of(ENTRIES, n, width) for n, width in enumerate(widths)]
    return paths


def read_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle: exactly so many, each behind its length in two bytes."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 + length > len(data):
            raise Wrong("an entry bundle ends within an entry")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if len(entries) != width:
        raise Wrong(f"a bundle of {width} entries has {len(entries)}")
    return entries


def tile_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile: exactly so many."""
    if len(data) != width * _HASH:
        raise Wrong(f"a tile of {width} hashes has {len(data)} bytes")
    return [data[at : at + _HASH] for at in range(0, len(data), _HASH)]


def root_from_tiles(size: int, tiles: Mapping[str, bytes], root: bytes) -> list[bytes]:
    """The leaf hashes of a log, from hash tiles alone: they lead to `root`, and every upper tile fits the lower."""
    leaves: list[bytes] = []
    for path in paths_of(size):
        level, _, width = parse_path(path)
        if level == 0:
            leaves += tile_hashes(tiles[path], width)
    if tree_root(leaves) != root:
        raise Wrong(f"the tiles do not lead to the root of {size}")
    roots = Roots(leaves)
    for path in paths_of(size):
        level, n, width = parse_path(path)
        if isinstance(level, int) and level > 0:
            check_tile(tiles[path], roots, level, n, width)
    return leaves


def check_tile(data: bytes, roots: Roots, level: int, n: int, width: int) -> None:
    """Raises Wrong unless each hash of a tile is the root over its share of the leaves."""
    span = WIDE**level
    for i, value in enumerate(tile_hashes(data, width), n * WIDE):
        if roots.over(i * span, (i + 1) * span) != value:
            raise Wrong(f"hash {i} of tile {level}/{n} is not the root over its leaves")


def check_bundle(data: bytes, tile: bytes, width: int) -> list[bytes]:
    """The entries of a bundle, each of which hashes to its place in the tile of level 0."""
    entries = read_bundle(data, width)
    if [leaf_of(entry) for entry in entries] != tile_hashes(tile, width):
        raise Wrong("an entry is not the one that the tile of hashes names")
    return entries


def check_log(size: int, root: bytes, fetch: Fetch) -> list[bytes]:
    """All entries of a log, once every tile and bundle of this size is seen to lead to its root."""
    tiles = {path: fetch(path) for path in paths_of(size)}
    root_from_tiles(size, tiles, root)
    entries: list[bytes] = []
    for path, data in tiles.items():
        level, n, width = parse_path(path)
        if level == ENTRIES:
            entries += check_bundle(data, tiles[path_of(0, n, width)], width)
    return entries
