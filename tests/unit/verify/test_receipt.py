"""A single receipt is checked without a bundle: against the policy that the inspector holds, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner
from ledger.merkle.note import Ed25519Signer
from ledger.merkle.policy import Policy
from ledger.merkle.tlog_proof import TlogProof
from ledger.merkle.tree import EMPTY_ROOT, entry_bytes, leaf_hash
from ledger.verify.command import main
from ledger.verify.receipt import check_receipt
from tests.conformance import growing_log as log

NOBODY = f"log {log.LOG_KEY}\nquorum none\n"
WITNESSED = f"log {log.LOG_KEY}\nwitness site {log.WITNESS.key}\nquorum site\n"
LATER = Ed25519Cosigner("witness.example/later", bytes(range(32)))
LACKING = f"log {log.LOG_KEY}\nwitness site {LATER.key}\nquorum site\n"
STRANGER = f"log {Ed25519Signer('elsewhere.example/log', bytes(32)).key}\nquorum none\n"


@pytest.mark.parametrize(
    ("policy", "status", "begins"),
    [
        (NOBODY, 0, "RECEIPT VERIFIED"),
        (WITNESSED, 0, "RECEIPT VERIFIED"),
        (LACKING, 2, "RECEIPT GOOD, WITNESSES MISSING"),
        (STRANGER, 1, "RECEIPT NOT VERIFIED"),
    ],
)
def test_a_receipt_counts_as_far_as_the_policy_says(policy: str, status: int, begins: str) -> None:
    found = check_receipt(log.receipt(41, 100), Policy.parse(policy))
    assert (found.status, bool(found)) == (status, status == 0)
    assert found.text().startswith(f"{begins}: ")
    if status != 1:
        assert "index 41 of " in found.lines[0]
        assert "100 entries" in found.lines[1]


def test_who_holds_the_keys_of_before_a_rotation_is_told_that_it_may_be_one_and_where_to_go_on() -> None:
    """The receipt is good, by keys that the policy does not have yet: that is not to read like a forgery alone."""
    before = Ed25519Signer(log.ORIGIN, bytes(32))
    found = check_receipt(log.receipt(41, 100), Policy.parse(f"log {before.key}\nquorum none\n"))
    assert found.status == 1
    assert f"by the key {log.LOG.key.key_id.hex()}, which is none of those that you hold" in found.lines[0]
    assert "as_of" in found.lines[1] and "bundle" in found.lines[1]
    assert len(check_receipt(log.receipt(41, 100), Policy.parse(STRANGER)).lines) == 1, "another log is no rotation"


def test_a_receipt_of_an_entry_shows_its_time_and_statement() -> None:
    entry = entry_bytes("eyJ.eyJ.sig", "2026-03-02T08:00:00.000000Z")
    checkpoint = Checkpoint(log.ORIGIN, 1, leaf_hash(entry)).sign([log.LOG])
    found = check_receipt(TlogProof(0, (), checkpoint, entry).to_bytes(), Policy.parse(NOBODY))
    assert found.lines[-2:] == ("Recorded at: 2026-03-02T08:00:00.000000Z", "Statement: eyJ.eyJ.sig")


def test_no_byte_of_a_receipt_can_be_changed() -> None:
    receipt, policy = log.receipt(5, 9), Policy.parse(WITNESSED)
    end = receipt.index(b"\n\n", receipt.index(b"\n\n") + 2) + 2  # beyond are lines of keys, one of them unknown
    for at, changed in log.changed_at(receipt, range(end), 9):
        assert check_receipt(changed, policy).status == 1, at


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a receipt",
        log.checkpoint(5),
        TlogProof(0, (), Checkpoint(log.ORIGIN, 0, EMPTY_ROOT).sign([log.LOG]), b"-").to_bytes(),
        TlogProof(0, (), log.checkpoint(1)).to_bytes(),
        log.receipt(5, 9) + b"\n",
        b"\xef\xbb\xbf" + log.receipt(5, 9),
    ],
    ids=["nothing", "prose", "a checkpoint", "an empty log's", "without its entry", "longer", "with a byte order mark"],
)
def test_what_is_no_receipt_is_not_verified(data: bytes) -> None:
    assert check_receipt(data, Policy.parse(NOBODY)).status == 1


def test_the_command_says_it_with_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt, policy = tmp_path / "one.tlog-proof", tmp_path / "policy.txt"
    receipt.write_bytes(log.receipt(5, 9))
    policy.write_text(WITNESSED, encoding="utf-8")
    assert main(["--receipt", str(receipt), "--policy", str(policy)]) == 0
    assert "RECEIPT VERIFIED" in capsys.readouterr().out
    receipt.write_bytes(log.receipt(5, 9).replace(b"index 5", b"index 4"))
    assert main(["--receipt", str(receipt), "--policy", str(policy)]) == 1
    assert main(["--receipt", str(tmp_path / "none"), "--policy", str(policy)]) == 2
    policy.write_text("quorum nobody\n", encoding="utf-8")
    assert main(["--receipt", str(receipt), "--policy", str(policy)]) == 2
    with pytest.raises(SystemExit) as ended:
        main(["--receipt", str(receipt)])
    assert ended.value.code == 64
