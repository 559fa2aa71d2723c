"""The 196 proof vectors of transparency-dev/merkle, as a few proofs and a table of what is done to each.

Upstream keeps them as files: `testdata/inclusion/**` (98) and `testdata/consistency/**` (98). They are generated:
five proofs over the eight classic leaves, each spoiled in up to 20 ways, and cases without any tree. Entered here as
facts: the five proofs by the nodes that they are made of, the ways, the cases. The names are those upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

Hash = bytes

NOTHING = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""SHA-256 of nothing: the root of an empty tree."""
ARBITRARY = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")
ALONE = bytes.fromhex("0d3aed023148ffd2a259fbd0cdc7fb3cf975658760d3775b82af6f90aacc2dfc")
GARBAGE = b""
WRONG_LEAF, WRONG_ROOT = b"WrongLeaf", b"WrongRoot"
ONE, OTHER = b"don't care 1", b"don't care 2"
UINT64 = 2**64
"""Upstream counts in 64 bits without sign: one less than 0 is the largest number."""

NODES = {
    name: bytes.fromhex(value)
    for name, value in {
        "0": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "1": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "2": "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "4": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "5": "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
        "6": "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "0-1": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "2-3": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "4-5": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "6-7": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "0-2": "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "0-3": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4-7": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        "0-4": "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "0-5": "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "0-6": "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "0-7": "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }.items()
}
"""Roots over the classic leaves, named by the first and the last leaf below each."""


@dataclass(frozen=True)
class Inclusion:
    """An inclusion proof to verify: whether it holds, and all that a verifier is given."""

    index: int
    size: int
    root: Hash
    leaf: Hash
    proof: tuple[Hash, ...]
    holds: bool = False


@dataclass(frozen=True)
class Consistency:
    """A consistency proof to verify."""

    size1: int
    size2: int
    root1: Hash
    root2: Hash
    proof: tuple[Hash, ...]
    holds: bool = False


def _nodes(*names: str) -> tuple[Hash, ...]:
    return tuple(NODES[name] for name in names)


INCLUSIONS = {
    "0": Inclusion(0, 1, NODES["0"], NODES["0"], ()),
    "1": Inclusion(0, 8, NODES["0-7"], NODES["0"], _nodes("1", "2-3", "4-7")),
    "2": Inclusion(5, 8, NODES["0-7"], NODES["5"], _nodes("4", "6-7", "0-3")),
    "3": Inclusion(2, 3, NODES["0-2"], NODES["2"], _nodes("0-1")),
    "4": Inclusion(1, 5, NODES["0-4"], NODES["1"], _nodes("0", "2-3", "4")),
}

INCLUSION_SPOILT: dict[str, Callable[[Inclusion], Inclusion]] = {
    "leafIdx-sub-@1": lambda case: replace(case, index=(case.index - 1) % UINT64),
    "leafIdx-plus-@1": lambda case: replace(case, index=case.index + 1),
    "leafIdx-XOR-@2": lambda case: replace(case, index=case.index ^ 2),
    "treeSize-mul-@2": lambda case: replace(case, size=case.size * 2),
    "treeSize-div-@2": lambda case: replace(case, size=case.size // 2),
    "wrong-leaf": lambda case: replace(case, leaf=WRONG_LEAF),
    "empty-root": lambda case: replace(case, root=NOTHING),
    "random-root": lambda case: replace(case, root=ARBITRARY),
    "trailing-garbage": lambda case: replace(case, proof=(*case.proof, GARBAGE)),
    "trailing-root": lambda case: replace(case, proof=(*case.proof, case.root)),
    "preceding-garbage": lambda case: replace(case, proof=(GARBAGE, *case.proof)),
    "preceding-root": lambda case: replace(case, proof=(case.root, *case.proof)),
}

CONSISTENCIES = {
    "0": Consistency(1, 1, NODES["0"], NODES["0"], ()),
    "1": Consistency(1, 8, NODES["0"], NODES["0-7"], _nodes("1", "2-3", "4-7")),
    "2": Consistency(6, 8, NODES["0-5"], NODES["0-7"], _nodes("4-5", "6-7", "0-3")),
    "3": Consistency(2, 5, NODES["0-1"], NODES["0-4"], _nodes("2-3", "4")),
    "4": Consistency(6, 7, NODES["0-5"], NODES["0-6"], _nodes("4-5", "6", "0-3")),
}

CONSISTENCY_SPOILT: dict[str, Callable[[Consistency], Consistency]] = {
    "size1-sub-@1": lambda case: replace(case, size1=case.size1 - 1),
    "size1-plus-@1": lambda case: replace(case, size1=case.size1 + 1),
    "size1-XOR-@2": lambda case: replace(case, size1=case.size1 ^ 2),
    "size2-mul-@2": lambda case: replace(case, size2=case.size2 * 2),
    "size2-div-@2": lambda case: replace(case, size2=case.size2 // 2),
    "wrong-root1": lambda case: replace(case, root1=WRONG_ROOT),
    "wrong-root2": lambda case: replace(case, root2=WRONG_ROOT),
    "swapped-roots": lambda case: replace(case, root1=case.root2, root2=case.root1),
    "empty-proof": lambda case: replace(case, proof=()),
    "trailing-garbage": lambda case: replace(case, proof=(*case.proof, GARBAGE)),
    "trailing-root1": lambda case: replace(case, proof=(*case.proof, case.root1)),
    "trailing-root2": lambda case: replace(case, proof=(*case.proof, case.root2)),
    "preceding-garbage": lambda case: replace(case, proof=(GARBAGE, *case.proof)),
    "preceding-root1": lambda case: replace(case, proof=(case.root1, *case.proof)),
    "preceding-root2": lambda case: replace(case, proof=(case.root2, *case.proof)),
    "preceding-proof-@0": lambda case: replace(case, proof=(case.proof[0], *case.proof)),
    "truncated-proof": lambda case: replace(case, proof=case.proof[:-1]),
}

INCLUSION_WITHOUT_A_TREE = {
    "single-entry/matching-root-and-leaf": Inclusion(0, 1, ALONE, ALONE, (), holds=True),
    "single-entry/empty-leaf": Inclusion(0, 1, ALONE, b"", ()),
    "single-entry/empty-root": Inclusion(0, 1, b"", ALONE, ()),
    "single-entry/empty-root-and-leaf": Inclusion(0, 1, b"", b"", ()),
} | {
    f"additional/{number}/{name}": Inclusion(index, size, root, leaf, ())
    for number, (index, size) in enumerate([(0, 0), (0, 1), (1, 0), (2, 1)])
    for name, root, leaf in [
        ("random-leaf", b"", ARBITRARY),
        ("empty-root", NOTHING, b""),
        ("empty-root-and-random-leaf", NOTHING, ARBITRARY),
    ]
}

CONSISTENCY_WITHOUT_A_TREE = {
    f"additional/{name}": case
    for name, case in {
        "sizes-are-equal-one-and-proof-is-empty": Consistency(1, 1, OTHER, OTHER, (), holds=True),
        "sizes-are-equal-one-but-roots-are-not": Consistency(1, 1, ONE, OTHER, ()),
        "sizes-are-equal-zero-and-proof-is-empty": Consistency(0, 0, ONE, ONE, ()),
        "sizes-are-equal-zero-but-roots-are-not": Consistency(0, 0, ONE, OTHER, ()),
        "sizes-do-not-watch-and-proof-is-empty": Consistency(1, 2, ONE, OTHER, ()),
        "sizes-match-but-proof-is-not-empty-and-sizes-are-one": Consistency(1, 1, NOTHING, NOTHING, (NOTHING,)),
        "sizes-match-but-proof-is-not-empty-and-sizes-are-zero": Consistency(0, 0, NOTHING, NOTHING, (NOTHING,)),
        "roots-do-not-match-and-sizes-are-zero": Consistency(0, 0, NOTHING, OTHER, ()),
        "roots-do-not-not-match-and-sizes-are-one": Consistency(1, 1, NOTHING, OTHER, ()),
        "size1-is-greater-than-size2": Consistency(1, 0, ONE, OTHER, ()),
        "size1-is-greater-than-size2-again": Consistency(2, 1, ONE, OTHER, ()),
        "size1-is-zero-and-does-not-equal-size2": Consistency(0, 1, ONE, OTHER, ()),
        "size1-is-zero-and-size2-is-not-zero": Consistency(0, 1, NOTHING, OTHER, ()),
        "consistency-check-on-empty-tree-size1-is-zero-is-useless": Consistency(0, 1, NOTHING, NOTHING, (NOTHING,)),
    }.items()
}


def inclusion_cases() -> dict[str, Inclusion]:
    """All 98, by their names upstream."""
    cases = dict(INCLUSION_WITHOUT_A_TREE)
    for number, base in INCLUSIONS.items():
        cases[f"{number}/happy-path"] = replace(base, holds=True)
        for way, spoil in INCLUSION_SPOILT.items():
            cases[f"{number}/{way}"] = spoil(base)
        for at, proof in _with_a_bit_changed(base.proof, 1 << 3):
            cases[f"{number}/modified-proof[{at}]-bit-@3"] = replace(base, proof=proof)
        if base.proof:
            cases[f"{number}/removed-component"] = replace(base, proof=base.proof[:-1])
        if len(base.proof) > 1:
            inserted = (base.proof[0], ARBITRARY, *base.proof[1:])
            cases[f"{number}/inserted-component"] = replace(base, proof=inserted)
    return cases


def consistency_cases() -> dict[str, Consistency]:
    """All 98, by their names upstream; between two trees of one leaf there is nothing to spoil."""
    cases = dict(CONSISTENCY_WITHOUT_A_TREE)
    for number, base in CONSISTENCIES.items():
        cases[f"{number}/happy-path"] = replace(base, holds=True)
        for way, spoil in CONSISTENCY_SPOILT.items() if base.proof else ():
            cases[f"{number}/{way}"] = spoil(base)
        for at, proof in _with_a_bit_changed(base.proof, 1 << 4):
            cases[f"{number}/modified-proof@{at}-bit-@4"] = replace(base, proof=proof)
    return cases


def _with_a_bit_changed(proof: tuple[Hash, ...], bit: int) -> Iterator[tuple[int, tuple[Hash, ...]]]:
    for at, value in enumerate(proof):
        changed = bytes([value[0] ^ bit]) + value[1:]
        yield at, (*proof[:at], changed, *proof[at + 1 :])
