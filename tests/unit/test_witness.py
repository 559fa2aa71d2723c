"""A witness cosigns what extends the last tree it saw, and nothing else, whoever asks and in whatever order."""

from __future__ import annotations

import itertools
import threading
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner, Mldsa44Cosigner, time_of, verifier_of
from ledger.merkle.log_keys import derive
from ledger.merkle.note import Ed25519Signer, Signature, make_note, parse_note, parse_signature_line
from ledger.merkle.tree import EMPTY_ROOT
from ledger.witness import SIZE_TYPE, SUBMISSION_LIMIT, Answer, Seen, StateUnusable, Submission, Witness
from tests.scenario.histories import KEYS, ORIGIN, History

NOW = 1_760_000_000
SITE = Ed25519Cosigner("witness.example.org/site-1", bytes([7]) * 32)
HEX = sha256(ORIGIN.encode()).hexdigest()


class MemoryStore:
    """What was kept, in order; fails when told to."""

    def __init__(self) -> None:
        self.kept: list[Seen] = []
        self.conflicts: list[tuple[bytes, bool]] = []
        self.full = False

    def latest(self, origin: str) -> Seen | None:
        return next((one for one in reversed(self.kept) if one.checkpoint.origin == origin), None)

    def keep(self, seen: Seen) -> None:
        if self.full:
            raise StateUnusable("no space left on the device")
        self.kept.append(seen)

    def keep_conflict(self, known: Seen, note: bytes, proven: bool) -> None:
        self.conflicts.append((note, proven))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def witness(store: MemoryStore) -> Witness:
    return Witness([KEYS.ed25519.key], [SITE], store)


@pytest.fixture
def history() -> History:
    return History().grow(10)


def cosigned(answer: Answer, checkpoint: Checkpoint) -> int:
    """The time of the witness's good cosignature in an answer."""
    assert answer.status == 200, answer
    line = parse_signature_line(answer.body.decode().removesuffix("\n"))
    assert line.name == SITE.key.name
    assert verifier_of(SITE.key).verify(checkpoint.body(), line.signature)
    return time_of(line.signature)


def test_the_first_checkpoint_is_cosigned_and_shown_to_whoever_asks(witness: Witness, history: History) -> None:
    answer = witness.add_checkpoint(history.submission(0, 3), NOW)
    assert cosigned(answer, history.checkpoint(3)) == NOW
    shown = witness.latest(HEX)
    keys = [verifier_of(KEYS.ed25519.key)]
    opened = open_checkpoint(shown.body, keys, ORIGIN, [verifier_of(SITE.key)])
    assert shown.status == 200 and opened.checkpoint == history.checkpoint(3) and len(opened.good) == 2


def test_growth_is_cosigned_step_by_step(witness: Witness, history: History, store: MemoryStore) -> None:
    sizes = [0, 1, 2, 4, 7, 8, 10]
    for old, new in itertools.pairwise(sizes):
        cosigned(witness.add_checkpoint(history.submission(old, new), NOW + new), history.checkpoint(new))
    assert [seen.checkpoint.size for seen in store.kept] == sizes[1:]


def test_an_empty_log_is_cosigned(witness: Witness) -> None:
    empty = History()
    note = Checkpoint(ORIGIN, 0, EMPTY_ROOT).sign([KEYS.ed25519])
    answer = witness.add_checkpoint(Submission(0, (), parse_note(note)).to_bytes(), NOW)
    cosigned(answer, empty.checkpoint(0))


def test_a_log_that_stands_still_gets_a_fresh_time(witness: Witness, history: History) -> None:
    witness.add_checkpoint(history.submission(0), NOW)
    answer = witness.add_checkpoint(history.submission(10), NOW + 600)
    assert cosigned(answer, history.checkpoint()) == NOW + 600


def test_a_repeat_after_a_lost_answer_is_told_the_size(witness: Witness, history: History) -> None:
    witness.add_checkpoint(history.submission(0, 5), NOW)
    again = witness.add_checkpoint(history.submission(0, 5), NOW)
    assert (again.status, again.body, again.content_type) == (409, b"5\n", SIZE_TYPE)
    cosigned(witness.add_checkpoint(history.submission(5, 5), NOW), history.checkpoint(5))


@pytest.mark.parametrize("old", [0, 1, 4, 6])
def test_another_old_size_is_answered_with_the_right_one(witness: Witness, history: History, old: int) -> None:
    witness.add_checkpoint(history.submission(0, 5), NOW)
    answer = witness.add_checkpoint(history.submission(old, 8), NOW)
    assert (answer.status, answer.body, answer.content_type) == (409, b"5\n", SIZE_TYPE)


def test_who_never_cosigned_says_zero(witness: Witness, history: History) -> None:
    answer = witness.add_checkpoint(history.submission(3, 8), NOW)
    assert (answer.status, answer.body) == (409, b"0\n")


def test_an_unknown_log_is_not_found(witness: Witness) -> None:
    other = "ledger.example.org/study/OTHER"
    stranger = History(derive(bytes(32), other), other).grow(3)
    assert witness.add_checkpoint(stranger.submission(0), NOW).status == 404
    assert witness.latest(sha256(other.encode()).hexdigest()).status == 404


def test_nothing_is_shown_before_the_first(witness: Witness) -> None:
    assert witness.latest(HEX).status == 404
    for wrong in ("", HEX.upper(), HEX[:-1], "..", ORIGIN):
        assert witness.latest(wrong).status == 404


def test_another_key_with_the_logs_name_is_forbidden(witness: Witness, history: History) -> None:
    forged = History(derive(bytes([9]) * 32, ORIGIN), ORIGIN, history.leaves)
    assert witness.add_checkpoint(forged.submission(0), NOW).status == 403


def test_a_bad_signature_of_the_logs_key_is_forbidden(witness: Witness, history: History) -> None:
    good = parse_note(history.signed()).signatures[0]
    spoiled = Signature(good.name, good.key_id, good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    note = make_note(history.checkpoint().body(), [spoiled])
    assert witness.add_checkpoint(Submission(0, (), parse_note(note)).to_bytes(), NOW).status == 403
    both = make_note(history.checkpoint().body(), [spoiled, good])
    assert witness.add_checkpoint(Submission(0, (), parse_note(both)).to_bytes(), NOW).status == 403


def test_unknown_signatures_are_ignored_and_not_shown(witness: Witness, history: History) -> None:
    stranger = Ed25519Signer("somebody.example", bytes(32)).sign(history.checkpoint().body())
    note = make_note(history.checkpoint().body(), [stranger, KEYS.ed25519.sign(history.checkpoint().body())])
    cosigned(witness.add_checkpoint(Submission(0, (), parse_note(note)).to_bytes(), NOW), history.checkpoint())
    assert b"somebody" not in witness.latest(HEX).body


def test_an_old_size_above_the_checkpoints_is_a_bad_request(witness: Witness, history: History) -> None:
    note = parse_note(history.signed(3))
    assert witness.add_checkpoint(Submission(4, (), note).to_bytes(), NOW).status == 400
    witness.add_checkpoint(history.submission(0, 8), NOW)
    assert witness.add_checkpoint(Submission(8, (), note).to_bytes(), NOW).status == 400


def test_a_smaller_tree_is_never_cosigned(witness: Witness, history: History, store: MemoryStore) -> None:
    witness.add_checkpoint(history.submission(0, 8), NOW)
    answers = [witness.add_checkpoint(history.submission(old, 5), NOW) for old in range(6)]
    assert {(answer.status, answer.body) for answer in answers} == {(409, b"8\n")}
    assert len(store.kept) == 1


def test_a_second_history_is_refused_and_its_proof_is_kept(
    witness: Witness, history: History, store: MemoryStore
) -> None:
    witness.add_checkpoint(history.submission(0, 8), NOW)
    fork = history.fork(6).grow(2, "another")
    answer = witness.add_checkpoint(fork.submission(8), NOW)
    assert answer.status == 422 and "two different trees of 8" in answer.contradiction
    assert store.conflicts == [(fork.signed(), True)]
    assert witness.latest(HEX).body.startswith(history.checkpoint(8).body())


def test_a_larger_second_history_is_refused(witness: Witness, history: History, store: MemoryStore) -> None:
    witness.add_checkpoint(history.submission(0, 8), NOW)
    fork = history.fork(6).grow(9, "another")
    assert witness.add_checkpoint(fork.submission(8), NOW).status == 422
    assert [proven for _, proven in store.conflicts] == [False]


def test_a_proof_that_does_not_fit_is_refused(witness: Witness, history: History, store: MemoryStore) -> None:
    witness.add_checkpoint(history.submission(0, 5), NOW)
    good = history.proof(5, 8)
    note = parse_note(history.signed(8))
    wrong = [[], good[:-1], [*good, bytes(32)], good[::-1], [bytes(32), *good[1:]], history.proof(4, 8)]
    for proof in wrong:
        assert witness.add_checkpoint(Submission(5, tuple(proof), note).to_bytes(), NOW).status == 422, proof
    assert len(store.kept) == 1


def test_a_proof_where_none_belongs_is_refused(witness: Witness, history: History, store: MemoryStore) -> None:
    note = parse_note(history.signed(8))
    assert witness.add_checkpoint(Submission(0, (bytes(32),), note).to_bytes(), NOW).status == 422
    assert store.kept == []
    witness.add_checkpoint(history.submission(0, 8), NOW)
    assert witness.add_checkpoint(Submission(8, (bytes(32),), note).to_bytes(), NOW).status == 422


def test_an_empty_log_with_the_root_of_another_is_refused(witness: Witness) -> None:
    text = Checkpoint(ORIGIN, 1, bytes(32)).body().replace(b"\n1\n", b"\n0\n")
    note = make_note(text, [KEYS.ed25519.sign(text)])
    assert witness.add_checkpoint(b"old 0\n\n" + note, NOW).status == 422


def test_what_cannot_be_kept_is_not_cosigned(witness: Witness, history: History, store: MemoryStore) -> None:
    store.full = True
    with pytest.raises(StateUnusable):
        witness.add_checkpoint(history.submission(0), NOW)
    store.full = False
    assert witness.latest(HEX).status == 404
    cosigned(witness.add_checkpoint(history.submission(0), NOW), history.checkpoint())


def test_time_does_not_go_back(witness: Witness, history: History) -> None:
    witness.add_checkpoint(history.submission(0, 3), NOW)
    assert cosigned(witness.add_checkpoint(history.submission(3, 5), NOW - 30), history.checkpoint(5)) == NOW
    with pytest.raises(StateUnusable, match=r"clock.*new witness"):
        witness.add_checkpoint(history.submission(5, 8), NOW - 3_600)


def test_either_key_of_the_log_suffices_and_a_post_quantum_witness_has_two_lines(history: History) -> None:
    quantum = Mldsa44Cosigner(SITE.key.name, bytes(32))
    witness = Witness(KEYS.public(), [SITE, quantum], MemoryStore())
    note = make_note(history.checkpoint().body(), [KEYS.mldsa44.cosign(history.checkpoint(), NOW)])
    answer = witness.add_checkpoint(Submission(0, (), parse_note(note)).to_bytes(), NOW)
    lines = [parse_signature_line(line) for line in answer.body.decode().splitlines()]
    assert answer.status == 200
    for line, cosigner in zip(lines, (SITE, quantum), strict=True):
        assert verifier_of(cosigner.key).verify(history.checkpoint().body(), line.signature)


GOOD = History().grow(10)
BODY = GOOD.submission(6)
MALFORMED = {
    "nothing": b"",
    "no old size": BODY.partition(b"\n")[2],
    "an old size with a sign": BODY.replace(b"old 6", b"old +6"),
    "an old size with a zero before it": BODY.replace(b"old 6", b"old 06"),
    "an old size in another case": BODY.replace(b"old 6", b"Old 6"),
    "two spaces": BODY.replace(b"old 6", b"old  6"),
    "a space after it": BODY.replace(b"old 6", b"old 6 "),
    "a carriage return": BODY.replace(b"old 6\n", b"old 6\r\n"),
    "an old size without end": BODY.replace(b"old 6", b"old " + b"9" * 5_000),
    "a negative old size": BODY.replace(b"old 6", b"old -6"),
    "no blank line": BODY.replace(b"\n\n", b"\n", 1),
    "no checkpoint": BODY.partition(b"\n\n")[0] + b"\n\n",
    "an unsigned checkpoint": b"old 0\n\n" + GOOD.checkpoint().body(),
    "a hash cut short": BODY.replace(b"=\n", b"\n", 1),
    "a hash in base64url": b"old 6\n" + b"-" * 43 + b"=\n\n" + GOOD.signed(),
    "a hash of 31 bytes": b"old 6\n" + b"A" * 40 + b"AA==\n\n" + GOOD.signed(),
    "64 hashes": b"old 6\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + GOOD.signed(),
    "a checkpoint with an extension": b"old 0\n\n" + GOOD.signed().replace(b"\n\n", b"\nextra\n\n", 1),
    "bytes": bytes(range(256)),
    "too much": BODY + b"\n" * SUBMISSION_LIMIT,
    "not UTF-8": BODY.replace(b"ledger", b"\xff\xfe", 1),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_submission_is_a_bad_request(witness: Witness, store: MemoryStore, body: bytes) -> None:
    assert witness.add_checkpoint(body, NOW).status == 400
    assert store.kept == [] and store.conflicts == []


@settings(max_examples=300)
@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_submission_is_cosigned(at: int, bit: int) -> None:
    store = MemoryStore()
    witness = Witness([KEYS.ed25519.key], [SITE], store)
    assert witness.add_checkpoint(GOOD.submission(0, 6), NOW).status == 200
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    assert witness.add_checkpoint(bytes(changed), NOW).status in (400, 403, 404, 409, 422)
    assert len(store.kept) == 1


def test_submissions_at_once_leave_one_growing_history(history: History, store: MemoryStore) -> None:
    """The race of the specification: an older checkpoint must not come after a newer one."""
    witness = Witness([KEYS.ed25519.key], [SITE], store)
    witness.add_checkpoint(history.submission(0, 1), NOW)
    start = threading.Barrier(9)

    def ask(size: int) -> None:
        start.wait()
        for old in range(1, size + 1):
            witness.add_checkpoint(history.submission(old, size), NOW)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(2, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = [seen.checkpoint.size for seen in store.kept]
    assert sizes == sorted(sizes)
    assert store.conflicts == []


def test_a_witness_without_a_key_is_none(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="has a key"):
        Witness([KEYS.ed25519.key], [], store)
