"""A receipt proves offline that an entry is in the log, and proves nothing else."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import CosigningAt, Ed25519Cosigner, verifier_of
from ledger.merkle.log_keys import derive
from ledger.merkle.tlog_proof import TlogProof, verify_receipt
from ledger.merkle.tree import ENTRY_LIMIT, Frontier, Growth, NotProven, entry_bytes, leaf_hash

ORIGIN = "ledger.example.org/study/NCT04014166"
KEYS = derive(bytes(32), ORIGIN)
LOG = [verifier_of(KEYS.ed25519.key)]
ENTRIES = [entry_bytes(f"header.payload{number}.signature", "2026-03-01T09:00:00.000001Z") for number in range(13)]
GROWTH = Growth(Frontier(), [leaf_hash(entry) for entry in ENTRIES])
TREE = Checkpoint(ORIGIN, 13, GROWTH.after.root())
SIGNED = TREE.sign([KEYS.ed25519])


def receipt(index: int = 5) -> TlogProof:
    return TlogProof(index, tuple(GROWTH.inclusion_proof(index)), SIGNED, ENTRIES[index])


GOOD = receipt().to_bytes()


@pytest.mark.parametrize("index", range(13))
def test_every_entry_has_its_receipt(index: int) -> None:
    again = TlogProof.parse(receipt(index).to_bytes())
    assert again == receipt(index)
    opened = verify_receipt(again, LOG, ORIGIN)
    assert opened.checkpoint == TREE


def test_a_receipt_reads_as_the_specification_says() -> None:
    lines = GOOD.split(b"\n")
    assert lines[0] == b"c2sp.org/tlog-proof@v1"
    assert lines[1] == b"extra " + b64encode(ENTRIES[5])
    assert lines[2] == b"index 5"
    assert lines[3:7] == [b64encode(value) for value in receipt().hashes]
    assert lines[7] == b""
    assert GOOD.endswith(b"\n\n" + SIGNED)


def test_the_receipt_of_a_log_of_one_has_no_hashes() -> None:
    only = Growth(Frontier(), [leaf_hash(ENTRIES[0])])
    signed = Checkpoint(ORIGIN, 1, only.after.root()).sign([KEYS.ed25519])
    proof = TlogProof(0, (), signed, ENTRIES[0])
    assert TlogProof.parse(proof.to_bytes()) == proof
    verify_receipt(proof, LOG, ORIGIN)


def test_a_receipt_may_leave_the_entry_to_who_has_it() -> None:
    bare = replace(receipt(), extra=None)
    again = TlogProof.parse(bare.to_bytes())
    assert again.extra is None
    verify_receipt(again, LOG, ORIGIN, entry=ENTRIES[5])
    with pytest.raises(NotProven, match="no entry"):
        verify_receipt(again, LOG, ORIGIN)
    with pytest.raises(NotProven):
        verify_receipt(again, LOG, ORIGIN, entry=ENTRIES[6])


def test_a_receipt_carries_the_witnesses_too() -> None:
    witness = Ed25519Cosigner("witness.example/w1", bytes(32))
    signed = TREE.sign([KEYS.ed25519, CosigningAt(witness, 1_760_000_000)])
    proof = TlogProof.parse(replace(receipt(), checkpoint=signed).to_bytes())
    assert len(verify_receipt(proof, LOG, ORIGIN, [verifier_of(witness.key)]).good) == 2


def test_a_receipt_for_another_entry_index_log_or_tree_proves_nothing() -> None:
    good = receipt()
    other_tree = Checkpoint(ORIGIN, 13, bytes(32)).sign([KEYS.ed25519])
    earlier = Growth(Frontier(), [leaf_hash(entry) for entry in ENTRIES[:12]]).after
    smaller = Checkpoint(ORIGIN, 12, earlier.root()).sign([KEYS.ed25519])
    unsigned = TREE.sign([derive(bytes(range(32)), ORIGIN).ed25519])
    for wrong in (
        replace(good, extra=ENTRIES[6]),
        replace(good, index=6),
        replace(good, index=2**62),
        replace(good, hashes=good.hashes[:-1]),
        replace(good, hashes=good.hashes[::-1]),
        replace(good, checkpoint=other_tree),
        replace(good, checkpoint=smaller),
        replace(good, checkpoint=unsigned),
        replace(good, checkpoint=b"rubbish\n"),
    ):
        with pytest.raises(NotProven):
            verify_receipt(wrong, LOG, ORIGIN)
    with pytest.raises(NotProven):
        verify_receipt(good, LOG, "ledger.example.org/study/OTHER")
    with pytest.raises(NotProven, match="another entry"):
        verify_receipt(good, LOG, ORIGIN, entry=ENTRIES[6])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_receipt_is_accepted(at: int, difference: int) -> None:
    raw = bytearray(GOOD)
    raw[at] ^= difference
    with pytest.raises(NotProven):
        verify_receipt(TlogProof.parse(bytes(raw)), LOG, ORIGIN)


HASH = b64encode(bytes(32)).decode()
FIRST = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        FIRST,
        FIRST + "index 0\n",
        FIRST + "index 0\n\n",
        FIRST + "\nx\n",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nx\n",
        "\n" + FIRST + "index 0\n\nx\n",
        FIRST + "index 0\r\n\r\nx\n",
        FIRST + "index 00\n\nx\n",
        FIRST + "index -1\n\nx\n",
        FIRST + "index x\n\nx\n",
        FIRST + "index  1\n\nx\n",
        FIRST + "index \u0663\n\nx\n",
        FIRST + "Index 1\n\nx\n",
        FIRST + "index 9223372036854775807\n\nx\n",
        FIRST + "index 99999999999999999999\n\nx\n",
        FIRST + "extra \nindex 0\n\nx\n",
        FIRST + "extra !!!!\nindex 0\n\nx\n",
        FIRST + "extra QQ\nindex 0\n\nx\n",
        FIRST + "extra QR==\nindex 0\n\nx\n",
        FIRST + "extra QQ==\nextra QQ==\nindex 0\n\nx\n",
        FIRST + "index 0\nextra QQ==\n\nx\n",
        FIRST + f"{HASH}\nindex 0\n\nx\n",
        FIRST + f"index 0\n{HASH[:-1]}\n\nx\n",
        FIRST + f"index 0\n{HASH} \n\nx\n",
        FIRST + f"index 0\n{HASH}{HASH}\n\nx\n",
        FIRST + f"index 0\n{b64encode(bytes(31)).decode()}\n\nx\n",
        FIRST + "index 0\n" + f"{HASH}\n" * 64 + "\nx\n",
        FIRST + "index 0\n\nno line feed",
        FIRST + f"extra {b64encode(bytes(ENTRY_LIMIT + 1)).decode()}\nindex 0\n\nx\n",
        FIRST + "index 0\n\n" + "x" * 1_200_000 + "\n",
    ],
)
def test_a_malformed_receipt_is_refused(text: str) -> None:
    with pytest.raises(NotProven):
        TlogProof.parse(text.encode())


@pytest.mark.parametrize(
    "changed",
    [
        {"index": -1},
        {"hashes": (bytes(31),)},
        {"hashes": (bytes(32),) * 64},
        {"extra": b""},
        {"extra": bytes(ENTRY_LIMIT + 1)},
        {"checkpoint": b"no line feed"},
    ],
)
def test_a_receipt_that_could_not_be_read_is_not_made(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(receipt(), **changed)  # type: ignore[arg-type]
