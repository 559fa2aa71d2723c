"""A log of the ledger's own code at every size, and one-byte changes of what it hands out.

The log is written with `ledger.merkle` alone: what the server serves is made by the same functions (tests/http
reads that over the wire). Entries have many lengths, so that bundles have every kind of boundary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import CosigningAt, Ed25519Cosigner, Mldsa44Cosigner
from ledger.merkle.note import Ed25519Signer
from ledger.merkle.tiles import WIDTH, HashTiles, bundle_bytes, parse_tile_path, tile_width
from ledger.merkle.tlog_proof import TlogProof
from ledger.merkle.tree import leaf_hash, node_hash

LARGEST = 600
ORIGIN = "ledger.example/study/SYNTHETIC-1"
COSIGNED_AT = 1_760_000_000
LOG = Ed25519Signer(ORIGIN, sha256(b"synthetic log").digest())
LOG_LATER = Mldsa44Cosigner(ORIGIN, sha256(b"synthetic log, second key").digest())
WITNESS = Ed25519Cosigner("witness.example/synthetic", sha256(b"synthetic witness").digest())
LOG_KEY, OTHER_KEYS = str(LOG.key), (str(LOG_LATER.key), str(WITNESS.key))

ENTRIES = [sha256(b"%d" % i).hexdigest()[: 1 + i % 23].encode() for i in range(LARGEST)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def _full_tile(level: int, n: int) -> bytes:
    assert level == 0, "a log of 600 has no full tile above level 0"
    return b"".join(LEAVES[n * WIDTH : (n + 1) * WIDTH])


NODES = {(0, index): leaf for index, leaf in enumerate(LEAVES)}
for at_level in range(9):
    for at_index in range(LARGEST >> at_level + 1):
        pair = NODES[at_level, 2 * at_index], NODES[at_level, 2 * at_index + 1]
        NODES[at_level + 1, at_index] = node_hash(*pair)


def node(level: int, index: int) -> bytes:
    """The root of a complete subtree of the log."""
    return NODES[level, index]


HASHES = HashTiles(_full_tile, lambda start, end: LEAVES[start:end])


@cache
def checkpoint(size: int) -> bytes:
    """The checkpoint of a size: the log's own signature, its second one, and a witness's."""
    signers = (LOG, CosigningAt(LOG_LATER, COSIGNED_AT + size), CosigningAt(WITNESS, COSIGNED_AT + size))
    return Checkpoint(ORIGIN, size, root(size)).sign(signers)


@cache
def root(size: int) -> bytes:
    """The root of a size."""
    return HASHES.root_at(size)


def receipt(index: int, size: int) -> bytes:
    """The receipt of an entry under the checkpoint of a size."""
    proof = TlogProof(index, tuple(HASHES.inclusion_proof(index, size)), checkpoint(size), ENTRIES[index])
    return proof.to_bytes()


def file(path: str, size: int) -> bytes:
    """A tile or entry bundle of the log at a size; AssertionError for one that such a log does not have."""
    level, n, width = parse_tile_path(path)
    assert width == tile_width(0 if isinstance(level, str) else level, n, size)
    if isinstance(level, str):
        return bundle_bytes(ENTRIES[n * WIDTH : n * WIDTH + width])
    return HASHES.tile(level, n, size)


def changed_at(data: bytes, positions: Iterable[int], turn: int) -> Iterator[tuple[int, bytes]]:
    """The data with one byte changed, once for each position; `turn` varies what it is changed to."""
    for at in positions:
        by = 1 + (turn * 7 + at * 13) % 255
        yield at, data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


def spread(length: int, turn: int, count: int) -> Iterator[int]:
    """`count` positions below `length`; as `turn` runs on, every position has its turn."""
    for k in range(min(count, length)):
        yield (turn * count + k) % length
