"""The log's tree: every entry is proven to be in it, every later tree to begin with it, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle.tree import (
    EMPTY_ROOT,
    ENTRY_LIMIT,
    Frontier,
    Growth,
    NotProven,
    consistency_proof,
    entry_bytes,
    entry_leaf_hash,
    inclusion_proof,
    leaf_hash,
    root_at,
    root_of,
    split_entry,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(b"entry %d" % number) for number in range(140)]
TIME = "2026-03-01T09:00:00.000001Z"


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def node(level: int, index: int) -> bytes:
    return naive_root(LEAVES[index << level : (index + 1) << level])


ROOTS = [naive_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def flipped(value: bytes, at: int = 0) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def test_the_root_is_that_of_the_specification_however_it_is_computed() -> None:
    frontier = Frontier()
    for size, root in enumerate(ROOTS):
        assert root_of(LEAVES[:size]) == root
        assert root_at(size, node) == root
        assert frontier.root() == root and frontier.size == size
        if size < len(LEAVES):
            frontier = frontier.push(LEAVES[size])
    assert ROOTS[0] == EMPTY_ROOT


def test_a_batch_that_is_not_committed_leaves_no_trace() -> None:
    before = Frontier().extend(LEAVES[:5])
    before.extend(LEAVES[5:9])
    assert (before.size, before.root()) == (5, ROOTS[5])
    assert before.extend(LEAVES[5:9]).root() == ROOTS[9]
    assert before.extend([]) == before


def test_a_frontier_survives_being_stored() -> None:
    for size in range(len(LEAVES)):
        frontier = Frontier().extend(LEAVES[:size])
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(9),
        bytes(8 + 32),
        (1).to_bytes(8, "big"),
        (1).to_bytes(8, "big") + bytes(31),
        (1).to_bytes(8, "big") + bytes(64),
        (2**63).to_bytes(8, "big") + bytes(32),
    ],
)
def test_bytes_that_are_no_frontier_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Frontier.from_bytes(data)


def test_a_leaf_that_is_no_hash_is_refused() -> None:
    for leaf in (b"", bytes(31), b"0" * 64):
        with pytest.raises(ValueError, match="32 bytes"):
            Frontier().push(leaf)
        with pytest.raises(ValueError, match="32 bytes"):
            Growth(Frontier(), [leaf])


@pytest.mark.parametrize("size", range(1, 131))
def test_every_entry_of_every_tree_is_proven(size: int) -> None:
    for index in range(size):
        verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, node), ROOTS[size])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 129])
def test_no_other_entry_index_tree_or_proof_is(size: int) -> None:
    for index in range(size):
        leaf, proof, root = LEAVES[index], inclusion_proof(index, size, node), ROOTS[size]
        wrong = [
            (flipped(leaf), index, size, proof, root),
            (leaf, index, size, proof, flipped(root, 31)),
            (leaf, index, size, [*proof, root], root),
            (leaf, index, size, [leaf, *proof], root),
            (leaf, index, size, proof, root[:31]),
            (leaf[:31], index, size, proof, root),
            (leaf, -1, size, proof, root),
            (leaf, index, size + 1, proof, ROOTS[size + 1]),
            (leaf, index, 0, proof, root),
        ]
        wrong += [(leaf, other, size, proof, root) for other in range(size + 2) if other != index]
        for at in range(len(proof)):
            wrong.append((leaf, index, size, [*proof[:at], flipped(proof[at], at), *proof[at + 1 :]], root))
            wrong.append((leaf, index, size, [*proof[:at], *proof[at + 1 :]], root))
            wrong.append((leaf, index, size, [*proof[:at], proof[at] + b"\0", *proof[at + 1 :]], root))
        for arguments in wrong:
            with pytest.raises(NotProven):
                verify_inclusion(*arguments)


def test_a_node_cannot_pass_for_an_entry() -> None:
    # Leaves and nodes are hashed with different prefixes: the pair below a node is no entry.
    left, right = LEAVES[:2]
    with pytest.raises(NotProven):
        verify_inclusion(leaf_hash(left + right), 0, 1, [], ROOTS[2])
    assert leaf_hash(left + right) != ROOTS[2]


@pytest.mark.parametrize("size2", [*range(1, 40), 63, 64, 65, 127, 128, 129, 130])
def test_every_tree_begins_with_every_earlier_one(size2: int) -> None:
    for size1 in range(1, size2 + 1):
        proof = consistency_proof(size1, size2, node)
        verify_consistency(size1, size2, proof, ROOTS[size1], ROOTS[size2])


@pytest.mark.parametrize("size2", [2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 65])
def test_no_other_history_is_proven(size2: int) -> None:
    for size1 in range(1, size2):
        proof, root1, root2 = consistency_proof(size1, size2, node), ROOTS[size1], ROOTS[size2]
        wrong = [
            (size1, size2, proof, flipped(root1), root2),
            (size1, size2, proof, root1, flipped(root2)),
            (size1, size2, proof, root2, root1),
            (size1, size2, [*proof, root1], root1, root2),
            (size1, size2, [root1, *proof], root1, root2),
            (size1, size2, [], root1, root2),
            (size1, size2, proof, root1[:31], root2),
            (size2, size1, proof, root2, root1),
            (size1 + 1, size2, proof, ROOTS[size1 + 1], root2),
            (size1, size2 + 1, proof, root1, ROOTS[size2 + 1]),
            (size1, size1, proof, root1, root2),
        ]
        for at in range(len(proof)):
            wrong.append((size1, size2, [*proof[:at], flipped(proof[at]), *proof[at + 1 :]], root1, root2))
            wrong.append((size1, size2, [*proof[:at], *proof[at + 1 :]], root1, root2))
        for arguments in wrong:
            with pytest.raises(NotProven):
                verify_consistency(*arguments)


def test_a_changed_entry_breaks_the_history() -> None:
    forged = [*LEAVES[:3], leaf_hash(b"another entry"), *LEAVES[4:10]]
    forged_node = lambda level, index: naive_root(forged[index << level : (index + 1) << level])  # noqa: E731
    with pytest.raises(NotProven, match="history was changed"):
        verify_consistency(6, 10, consistency_proof(6, 10, forged_node), ROOTS[6], naive_root(forged))


def test_nothing_is_proven_from_an_empty_tree() -> None:
    with pytest.raises(NotProven):
        verify_consistency(0, 5, [], EMPTY_ROOT, ROOTS[5])
    with pytest.raises(NotProven):
        verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    with pytest.raises(ValueError):
        consistency_proof(0, 5, node)


def test_trees_of_one_size_are_the_same_tree_or_a_fork() -> None:
    verify_consistency(5, 5, [], ROOTS[5], ROOTS[5])
    for proof, root in (([], flipped(ROOTS[5])), ([ROOTS[5]], ROOTS[5])):
        with pytest.raises(NotProven):
            verify_consistency(5, 5, proof, ROOTS[5], root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, 2**63)])
def test_no_proof_is_made_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError):
        inclusion_proof(index, size, node)


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7, 8, 9, 31, 32, 33])
@pytest.mark.parametrize("batch", [0, 1, 2, 3, 8, 30])
def test_a_batch_is_proven_without_reading_older_hashes(before: int, batch: int) -> None:
    growth = Growth(Frontier().extend(LEAVES[:before]), LEAVES[before : before + batch])
    size = before + batch
    assert growth.after == Frontier().extend(LEAVES[:size])
    for index in range(before, size):
        assert growth.inclusion_proof(index) == inclusion_proof(index, size, node)
    if before:
        assert growth.consistency_proof() == consistency_proof(before, size, node)


def test_a_batch_does_not_prove_older_entries() -> None:
    growth = Growth(Frontier().extend(LEAVES[:9]), LEAVES[9:12])
    with pytest.raises(KeyError):
        growth.inclusion_proof(2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=6))
def test_how_a_log_was_cut_into_batches_does_not_show(batches: list[int]) -> None:
    frontier, size = Frontier(), 0
    for batch in batches:
        frontier = Growth(frontier, LEAVES[size : size + batch]).after
        size += batch
    assert frontier == Frontier().extend(LEAVES[:size])


def test_an_entry_is_the_jwt_and_its_time() -> None:
    assert entry_bytes("a.b.c", TIME) == b"a.b.c\n2026-03-01T09:00:00.000001Z\n"
    assert split_entry(entry_bytes("a.b.c", TIME)) == ("a.b.c", TIME)
    assert entry_leaf_hash("a.b.c", TIME) == sha256(b"\0a.b.c\n2026-03-01T09:00:00.000001Z\n").digest()


@pytest.mark.parametrize(
    ("jwt", "recorded_at"),
    [
        ("", TIME),
        ("a\nb", TIME),
        ("é", TIME),
        ("x" * ENTRY_LIMIT, TIME),
        ("a", ""),
        ("a", "2026-03-01T09:00:00Z"),
        ("a", "2026-03-01T09:00:00.000001+00:00"),
        ("a", "2026-03-01 09:00:00.000001Z"),
        ("a", TIME + "\n"),
        ("a", "2026-03-01T09:00:00.00000\u0661Z"),
    ],
)
def test_what_is_no_entry_is_not_hashed(jwt: str, recorded_at: str) -> None:
    with pytest.raises(ValueError):
        entry_bytes(jwt, recorded_at)


@pytest.mark.parametrize(
    "entry",
    [b"", b"a", b"a\n", b"a\n" + TIME.encode(), b"a\n" + TIME.encode() + b"\n\n", b"\xff\n" + TIME.encode()],
)
def test_what_is_no_entry_is_not_divided(entry: bytes) -> None:
    with pytest.raises(ValueError):
        split_entry(entry)
