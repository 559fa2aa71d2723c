"""A single receipt (C2SP tlog-proof) checked offline against a policy: what it proves, in words.

Good when the checkpoint in it is signed by the policy's log and no known signature is bad, and the entry that it
carries leads to the checkpoint's root. Whether the witnesses' quorum is met is said and counts: a receipt that was
fetched again later carries the cosignatures, one returned with an append cannot have them yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import OtherKeys, parse_note
from ledger.merkle.policy import Policy
from ledger.merkle.tlog_proof import TlogProof, verify_receipt
from ledger.merkle.tree import NotProven, split_entry
from ledger.verify.report import NOT_VERIFIED, UNDECIDED, VERIFIED, plain

AFTER_A_ROTATION = (
    "If the log changed its keys: a receipt under a checkpoint of before that (`as_of`) is signed by those that you "
    "hold, and an evidence bundle leads from them to the new ones, step by step (V1)."
)


@dataclass(frozen=True, slots=True)
class ReceiptFinding:
    """What a receipt proves: the exit status, and the sentences to show."""

    status: int
    lines: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.status == VERIFIED

    def text(self) -> str:
        """The finding for a terminal."""
        return "".join(f"{plain(line)}\n" for line in self.lines)


def check_receipt(data: bytes, policy: Policy) -> ReceiptFinding:
    """Check a receipt's bytes against a policy. Status 2 where all holds but the quorum is not met."""
    try:
        proof = TlogProof.parse(data)
        origin = Checkpoint.parse(parse_note(proof.checkpoint).text).origin
        keys = [verifier_of(key) for key in policy.logs if key.name == origin]
        if not keys:
            raise NotProven(f"the policy does not know the log {origin!r}")
        opened = verify_receipt(proof, keys, origin, [verifier_of(one.key) for one in policy.witnesses.values()])
    except NotProven as wrong:
        hints = (AFTER_A_ROTATION,) if isinstance(wrong, OtherKeys) else ()
        return ReceiptFinding(NOT_VERIFIED, (f"RECEIPT NOT VERIFIED: {wrong}.", *hints))
    quorum, tree = policy.evaluate(opened.good), opened.checkpoint
    begins = "RECEIPT VERIFIED" if quorum else "RECEIPT GOOD, WITNESSES MISSING"
    lines = [
        f"{begins}: the entry stands at index {proof.index} of {origin}.",
        f"Checkpoint: {tree.size} entries, root {tree.root.hex()}",
        f"Witnesses: {quorum.because}",
    ]
    try:
        jwt, recorded_at = split_entry(proof.extra or b"")
        lines += [f"Recorded at: {recorded_at}", f"Statement: {jwt}"]
    except ValueError:
        lines.append("What it carries has not the form of an entry of this ledger.")
    return ReceiptFinding(VERIFIED if quorum else UNDECIDED, tuple(lines))
