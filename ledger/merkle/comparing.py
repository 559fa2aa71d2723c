"""Two signed checkpoints of one log, from two clients or witnesses: are they of one history?

Verdicts:
 same          both sign the same tree
 consistent    the smaller tree is the beginning of the larger, by the proof given (every tree begins with the empty)
 conflict      both are signed by the log and cannot both be of one history. Anybody who has the log's key can check
               that from these bytes alone: it is proof against whoever holds that key
 undecided     different sizes, and no proof, or one that shows nothing: ask the log for a consistency proof between
               the two sizes; a log that cannot give one has no honest reason

A proof that fails is not yet a conflict, for anybody can make a wrong one. It is one when it leads to the larger
checkpoint's signed root and, on the way, to another root at the smaller size than the one that was signed. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.note import Verifier, parse_note
from ledger.merkle.tree import NotProven, consistency_roots


class Verdict(Enum):
    """What two checkpoints say of each other."""

    SAME = "same"
    CONSISTENT = "consistent"
    CONFLICT = "conflict"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict in a word and in a sentence; truthy when nothing is wrong and nothing is open."""

    verdict: Verdict
    because: str

    def __bool__(self) -> bool:
        return self.verdict in (Verdict.SAME, Verdict.CONSISTENT)


def compare(a: bytes, b: bytes, log_keys: Sequence[Verifier], proof: Sequence[bytes] | None = None) -> Comparison:
    """Compare two signed checkpoints; `proof` leads from the smaller size to the larger, in whichever order they come.

    `NotProven` when one of them is no checkpoint of a log whose keys these are, or they are of different logs.
    """
    origin = Checkpoint.parse(parse_note(a).text).origin
    one = open_checkpoint(a, log_keys, origin).checkpoint
    other = open_checkpoint(b, log_keys, origin).checkpoint
    older, newer = sorted((one, other), key=lambda tree: tree.size)
    if older.size == newer.size:
        return _of_one_size(older, newer)
    if older.size == 0:
        return Comparison(Verdict.CONSISTENT, "every log begins with the empty one")
    if proof is None:
        return Comparison(
            Verdict.UNDECIDED,
            f"sizes {older.size} and {newer.size} need a consistency proof: "
            f"GET .../proofs/consistency?old={older.size}&new={newer.size} of the log",
        )
    return _with_proof(older, newer, proof)


def _of_one_size(one: Checkpoint, other: Checkpoint) -> Comparison:
    if one.root == other.root:
        return Comparison(Verdict.SAME, f"both sign the same tree of {one.size} entries")
    return Comparison(
        Verdict.CONFLICT,
        f"the key of {one.origin} signed two different trees of {one.size} entries: two histories were shown, and "
        "these two checkpoints prove it to anybody who has the log's key",
    )


def _with_proof(older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes]) -> Comparison:
    try:
        before, after = consistency_roots(older.size, newer.size, proof, older.root)
    except NotProven as error:
        return Comparison(Verdict.UNDECIDED, f"the proof shows nothing: {error}")
    if after != newer.root:
        because = f"the proof does not lead from {older.size} to {newer.size} entries: get it from the log itself"
        return Comparison(Verdict.UNDECIDED, f"{because}; a log that cannot give one has shown two histories")
    if before != older.root:
        return Comparison(
            Verdict.CONFLICT,
            f"the tree of {newer.size} entries that the key of {older.origin} signed had another root at {older.size} "
            "entries than the one that it signed there: two histories were shown, and these two checkpoints with this "
            "proof show it to anybody who has the log's key",
        )
    because = f"the tree of {older.size} entries is the beginning of the tree of {newer.size} entries"
    return Comparison(Verdict.CONSISTENT, because)
