"""A witness answers a published dialogue as the specification demands: a log that grows from one leaf to five.

The requests are those of FiloSottile/torchwood `cmd/litewitness/testdata/litewitness.txt` (log key, signatures,
proofs). Where that witness answers 403 to the checkpoint of a log that it does not know, the specification this
ledger follows (C2SP tlog-witness v1.0.0) says 404. The proofs are read by the independent reader as well.
"""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

import pytest

from ledger.merkle.checkpoint import open_checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner, time_of, verifier_of
from ledger.merkle.note import ED25519, VerifierKey
from ledger.witness import SIZE_TYPE, Answer, Seen, Witness
from tests.scenario import offline

PUBLIC = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
ORIGIN = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
STRANGER = ORIGIN[:-1] + "3"
LOG = VerifierKey(ORIGIN, ED25519, PUBLIC)
NOW_SECONDS = 1_760_000_000

LEAF = ["Kg" + letter + "A" * 40 + "=" for letter in ("A", "E", "I", "M", "Q")]
"""The leaf hashes: 2a, the number of the leaf, and thirty zeros."""
PAIR = "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI="
FIRST_PAIR = "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE="
CHECKPOINTS = {  # size: root, signature
    1: (
        LEAF[0],
        "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
    ),
    3: (
        "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
        "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
    ),
    5: (
        "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
        "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
    ),
}


def note(size: int, origin: str = ORIGIN, spoilt: bool = False) -> str:
    """A checkpoint of the dialogue; spoilt, with the signature that the dialogue changes."""
    root, signature = CHECKPOINTS[size]
    signature = signature.replace("6go=", "6gx=") if spoilt else signature
    return f"{origin}\n{size}\n{root}\n\n\N{EM DASH} {origin} {signature}\n"


def request(old: int, proof: list[str], checkpoint: str) -> bytes:
    """The body of an add-checkpoint request."""
    return "\n".join([f"old {old}", *proof, "", checkpoint]).encode()


class Memory:
    """A store that forgets with the test."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def latest(self, origin: str) -> Seen | None:
        return self.seen.get(origin)

    def keep(self, seen: Seen) -> None:
        self.seen[seen.checkpoint.origin] = seen

    def keep_conflict(self, known: Seen, note: bytes, proven: bool) -> None:
        assert not proven, "nothing in the dialogue is two histories"


COSIGNER = Ed25519Cosigner("example.com/witness", sha256(b"synthetic witness").digest())


@pytest.fixture
def witness() -> Witness:
    return Witness([LOG], [COSIGNER], Memory())


def ask(witness: Witness, body: bytes) -> Answer:
    return witness.add_checkpoint(body, NOW_SECONDS)


def cosigned(answer: Answer, checkpoint: str) -> bool:
    """Whether the answer is a cosignature of this checkpoint by the witness, now."""
    whole = checkpoint.encode() + answer.body
    opened = open_checkpoint(whole, [verifier_of(LOG)], ORIGIN, [verifier_of(COSIGNER.key)])
    times = [time_of(line.signature) for line in opened.good if line.name == COSIGNER.key.name]
    offline.open_checkpoint(whole, str(LOG), str(COSIGNER.key))
    return answer.status == 200 and times == [NOW_SECONDS]


def test_the_dialogue_of_a_log_that_grows(witness: Witness) -> None:
    first = ask(witness, request(0, [], note(1)))
    assert cosigned(first, note(1))

    grown = [LEAF[1], LEAF[2]]
    assert ask(witness, request(1, grown, note(3, spoilt=True))).status == 403
    assert ask(witness, request(1, grown, note(3, STRANGER))).status == 404
    assert ask(witness, request(1, [], note(3))).status == 422
    assert ask(witness, request(1, [LEAF[1], LEAF[2].replace("AAA=", "ABA=")], note(3))).status == 422
    assert cosigned(ask(witness, request(1, grown, note(3))), note(3))

    behind = ask(witness, request(1, [LEAF[1], PAIR, LEAF[4]], note(5)))
    assert (behind.status, behind.body, behind.content_type) == (409, b"3\n", SIZE_TYPE)
    assert cosigned(ask(witness, request(3, [LEAF[2], LEAF[3], FIRST_PAIR, LEAF[4]], note(5))), note(5))
    again = ask(witness, request(0, [], note(5)))
    assert (again.status, again.body, again.content_type) == (409, b"5\n", SIZE_TYPE)


def test_a_signature_with_one_bit_changed_is_forbidden(witness: Witness) -> None:
    """The dialogue's own change leaves base64 that no encoder writes; this one leaves a signature like any other."""
    ask(witness, request(0, [], note(1)))
    changed = note(3).replace("fAB8WVrx6go=", "fAB8WVrx6gw=")
    assert changed != note(3)
    assert ask(witness, request(1, [LEAF[1], LEAF[2]], changed)).status == 403
    for text in (changed, note(3, spoilt=True)):
        with pytest.raises(offline.Wrong):
            offline.open_checkpoint(text, str(LOG))


def test_the_proofs_of_the_dialogue_are_proofs() -> None:
    roots = {size: b64decode(root) for size, (root, _) in CHECKPOINTS.items()}
    for old, new, path in (
        (1, 3, [LEAF[1], LEAF[2]]),
        (1, 5, [LEAF[1], PAIR, LEAF[4]]),
        (3, 5, [LEAF[2], LEAF[3], FIRST_PAIR, LEAF[4]]),
    ):
        offline.check_consistency(old, new, [b64decode(value) for value in path], roots[old], roots[new])
    for size in CHECKPOINTS:
        assert offline.open_checkpoint(note(size), str(LOG)).size == size
