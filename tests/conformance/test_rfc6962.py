"""The tree is that of RFC 6962: leaves, nodes, roots and proofs of the eight classic test leaves.

The figures are those that certificate-transparency-go and transparency-dev/merkle test with.
"""

from __future__ import annotations

import pytest

from ledger.merkle.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]

NODES = [
    [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1",
    ],
    [
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    ],
    [
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    ["5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
]

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def node(level: int, index: int) -> bytes:
    return bytes.fromhex(NODES[level][index])


INCOMPLETE = node_hash(node(1, 2), node(0, 6))
"""The one incomplete subtree in the proofs below, "4-6": over the leaves 4 to 6."""


def test_leaves_and_nodes() -> None:
    assert [leaf_hash(leaf).hex() for leaf in LEAVES] == NODES[0]
    for level in (1, 2, 3):
        for index, expected in enumerate(NODES[level]):
            assert node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1)).hex() == expected


@pytest.mark.parametrize("size", range(9))
def test_roots(size: int) -> None:
    assert root_of(map(leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        # The seven leaves that RFC 6962 section 2.1.3 and RFC 9162 section 2.1.5 draw: d0, d3, d4 and d6.
        (0, 7, [(0, 1), (1, 1), "4-6"]),
        (3, 7, [(0, 2), (1, 0), "4-6"]),
        (4, 7, [(0, 5), (0, 6), (2, 0)]),
        (0, 1, []),
        (0, 8, [(0, 1), (1, 1), (2, 1)]),
        (5, 8, [(0, 4), (1, 3), (2, 0)]),
        (2, 3, [(1, 0)]),
        (1, 5, [(0, 0), (1, 1), (0, 4)]),
        (6, 7, [(1, 2), (2, 0)]),
    ],
)
def test_inclusion_proofs(index: int, size: int, path: list[tuple[int, int] | str]) -> None:
    expected = [INCOMPLETE if isinstance(at, str) else node(*at) for at in path]
    assert inclusion_proof(index, size, node) == expected
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, expected, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(
    ("size1", "size2", "path"),
    [
        (1, 1, []),
        (1, 8, [(0, 1), (1, 1), (2, 1)]),
        (6, 8, [(1, 2), (1, 3), (2, 0)]),
        (2, 5, [(1, 1), (0, 4)]),
        (4, 8, [(2, 1)]),
        # hash0, hash1 and hash2 of the same drawing: grown to seven from three, four and six.
        (3, 7, [(0, 2), (0, 3), (1, 0), "4-6"]),
        (4, 7, ["4-6"]),
        (6, 7, [(1, 2), (0, 6), (2, 0)]),
    ],
)
def test_consistency_proofs(size1: int, size2: int, path: list[tuple[int, int] | str]) -> None:
    expected = [INCOMPLETE if isinstance(at, str) else node(*at) for at in path]
    assert consistency_proof(size1, size2, node) == expected
    verify_consistency(size1, size2, expected, bytes.fromhex(ROOTS[size1]), bytes.fromhex(ROOTS[size2]))
