"""Two clients lay their checkpoints side by side: a log that showed two histories is caught, an honest one is not."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from ledger.merkle.comparing import Verdict, compare
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.log_keys import derive
from ledger.merkle.note import Signature, make_note, parse_note
from ledger.merkle.tree import NotProven, verify_consistency
from ledger.receipts import base64url
from tests.scenario.histories import KEYS, ORIGIN, History

LOG = [verifier_of(KEYS.ed25519.key)]
HONEST = History().grow(20)


def test_the_same_checkpoint_is_the_same_whoever_signed_it_besides() -> None:
    other = make_note(
        HONEST.checkpoint().body(),
        [*parse_note(HONEST.signed()).signatures, KEYS.mldsa44.cosign(HONEST.checkpoint(), 1_760_000_000)],
    )
    assert compare(HONEST.signed(), other, LOG).verdict is Verdict.SAME


def test_the_checkpoints_of_other_keys_in_the_same_name_decide_nothing_and_a_rotation_is_named() -> None:
    later = HONEST.checkpoint().sign([derive(bytes(32), ORIGIN, 2).ed25519])
    with pytest.raises(NotProven, match="Either it is forged, or the keys were changed"):
        compare(HONEST.signed(), later, LOG)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 16, 19])
def test_an_honest_log_is_consistent_in_either_order(size: int) -> None:
    a, b, proof = HONEST.signed(size), HONEST.signed(), HONEST.proof(size)
    assert compare(a, b, LOG, proof).verdict is compare(b, a, LOG, proof).verdict is Verdict.CONSISTENT


def test_everything_begins_with_nothing() -> None:
    assert compare(History().signed(), HONEST.signed(), LOG).verdict is Verdict.CONSISTENT


def test_two_trees_of_one_size_are_proof_of_a_split_view() -> None:
    other = HONEST.fork(15).grow(5, "another")
    found = compare(HONEST.signed(), other.signed(), LOG)
    assert found.verdict is Verdict.CONFLICT and not found
    assert "two different trees of 20 entries" in found.because


@pytest.mark.parametrize("size", [3, 7, 11, 17, 19])
def test_a_proof_within_the_other_history_convicts_at_different_sizes(size: int) -> None:
    """The fork's own proof shows which root the fork had at the size that the victim holds."""
    fork = HONEST.fork(size - 1).grow(30, "another")
    found = compare(HONEST.signed(size), fork.signed(), LOG, fork.proof(size))
    assert found.verdict is Verdict.CONFLICT
    assert "another root" in found.because


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_fork_seen_at_a_power_of_two_is_convicted_by_its_checkpoint_there(size: int) -> None:
    """There the proof takes the smaller root for granted: it shows nothing until both sign that size."""
    fork = HONEST.fork(size - 1).grow(30, "another")
    assert compare(HONEST.signed(size), fork.signed(), LOG, fork.proof(size)).verdict is Verdict.UNDECIDED
    assert compare(HONEST.signed(size), fork.signed(size), LOG).verdict is Verdict.CONFLICT


def test_nobody_frames_an_honest_log_with_a_wrong_proof() -> None:
    good = HONEST.proof(7)
    wrong = [[], good[:-1], [*good, bytes(32)], good[::-1], [bytes(32), *good[1:]], [*good[:-1], bytes(32)]]
    for proof in [*wrong, HONEST.proof(6), HONEST.fork(6).grow(30, "another").proof(7)]:
        assert compare(HONEST.signed(7), HONEST.signed(), LOG, proof).verdict is Verdict.UNDECIDED
        with pytest.raises(NotProven):
            verify_consistency(7, 20, proof, HONEST.checkpoint(7).root, HONEST.checkpoint().root)


def test_without_a_proof_different_sizes_are_undecided_and_it_is_said_where_to_get_one() -> None:
    found = compare(HONEST.signed(7), HONEST.signed(), LOG)
    assert found.verdict is Verdict.UNDECIDED and "old=7&new=20" in found.because


def test_what_the_log_did_not_sign_convicts_nobody() -> None:
    forger = History(derive(bytes([9]) * 32, ORIGIN), ORIGIN).grow(20, "forged")
    good = parse_note(HONEST.signed()).signatures[0]
    stolen = make_note(forger.checkpoint().body(), [Signature(good.name, good.key_id, good.signature)])
    unsigned = parse_note(forger.signed()).text
    for claim in (forger.signed(), stolen, unsigned, b"", b"garbage\n\n"):
        with pytest.raises(NotProven):
            compare(HONEST.signed(), claim, LOG)
        with pytest.raises(NotProven):
            compare(claim, HONEST.signed(), LOG)


def test_checkpoints_of_two_logs_are_not_compared() -> None:
    other = "ledger.example.org/study/OTHER"
    keys = derive(bytes(32), other)
    with pytest.raises(NotProven, match="not of"):
        compare(HONEST.signed(), History(keys, other).grow(3).signed(), [*LOG, verifier_of(keys.ed25519.key)])


def run(folder: Path, a: bytes, b: bytes, *options: str) -> tuple[int, str]:
    for name, data in (("a", a), ("b", b)):
        (folder / name).write_bytes(data)
    command = ["checkpoints", "compare", str(folder / "a"), str(folder / "b"), *options]
    ended = CliRunner().invoke(app, command)
    return ended.exit_code, ended.stdout


def test_the_command_compares_files_and_says_the_verdict_by_its_exit_status(tmp_path: Path) -> None:
    key = ("--log", str(KEYS.ed25519.key))
    fork = HONEST.fork(6).grow(14, "another")
    status, said = run(tmp_path, HONEST.signed(), fork.signed(), *key, "--json")
    assert (status, json.loads(said)["verdict"]) == (1, "conflict")
    assert run(tmp_path, HONEST.signed(), HONEST.signed(), *key)[0] == 0
    assert run(tmp_path, HONEST.signed(7), HONEST.signed(), *key)[0] == 2
    assert run(tmp_path, HONEST.signed(7), b"garbage", *key)[0] == 2
    proof = tmp_path / "proof"
    proof.write_text(json.dumps({"hashes": [base64url(value) for value in HONEST.proof(7)]}), encoding="ascii")
    assert run(tmp_path, HONEST.signed(7), HONEST.signed(), *key, "--proof", str(proof))[0] == 0
    proof.write_text("".join(f"{b64encode(value).decode()}\n" for value in fork.proof(7)), encoding="ascii")
    assert run(tmp_path, HONEST.signed(7), fork.signed(), *key, "--proof", str(proof))[0] == 1
    proof.write_text("nonsense", encoding="ascii")
    assert run(tmp_path, HONEST.signed(7), fork.signed(), *key, "--proof", str(proof))[0] not in (0, 1)
    assert run(tmp_path, HONEST.signed(), HONEST.signed())[0] not in (0, 1)
