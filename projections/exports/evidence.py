"""The evidence bundle of a study: everything an inspector needs to verify the record alone, written and put on record.

Rules:
- the log always runs to the newest checkpoint, or to the one of a size that is named; `as_of` limits the projections
  only, `subject` what is disclosed of others, never the log;
- everything is read in one snapshot; the same state gives the same bytes, on any machine, in any process;
- nothing leaves that is not recorded: the bundle is complete and durable, then DataExported is appended, then the
  file gets its name. Killed before: hidden temporary files at most. Killed between: an export is on record that nobody
  received, never the other way round;
- an earlier bundle is made again by naming its size: with the policy and the signatures of that day, which its
  DataExported keeps. What was redacted since is absent, and the answer says that the bytes differ;
- what is redacted while it is made does not leave with it: nothing is handed out then;
- while the signer's alarm stands nothing is exported: what would be handed out is not what was signed.
"""

from __future__ import annotations

import os
import secrets
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.application import EntryNotFound, Ledger, StudyNotFound
from ledger.merkle.note import parse_note, verify_note
from ledger.merkle.policy import NO_QUORUM, Policy, QuorumResult
from ledger.merkle.tree import NotProven
from ledger.writer import stamp
from projections.exports.files import check_output, digest_of, publish, writing
from projections.exports.gathering import (
    Facts,
    Gathered,
    Wanted,
    patient_snapshot,
    settle,
    wait_for_followers,
    write_bundle,
)
from projections.exports.log_part import Report
from projections.exports.racing import redacted_so_far, refuse_if_redacted_since
from projections.exports.recording import WHAT, record_export
from projections.exports.refusals import (
    CheckpointNotThere,
    LogInAlarm,
)

__all__ = ["Exported", "Wanted", "export_evidence", "made_evidence"]

SETTLE_SECONDS = 0.25
"""A signature line that was received is in the database some milliseconds later."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was made and recorded.

    `digest`: base64url SHA-256 of the file, as DataExported at `index` has it. `repeats`: the index of the earlier
    export that was to be made again; `differs`: whether its bytes were others. `left_out`: projections that could not
    be made of the log, with why.
    """

    facts: Facts
    digest: str
    bytes: int
    members: int
    index: int
    left_out: dict[str, str]

    @property
    def repeats(self) -> int | None:
        """The index of the export that this one repeats."""
        return None if self.facts.earlier is None else self.facts.earlier.index

    @property
    def differs(self) -> bool:
        """Whether the bytes are others than those of the export that it repeats."""
        return self.facts.earlier is not None and self.facts.earlier.digest != self.digest

    @property
    def quorum(self) -> QuorumResult:
        """Whether the checkpoint handed out carries the witnesses that the policy handed out asks for."""
        policy = Policy.parse(self.facts.policy)
        if policy.quorum == NO_QUORUM:
            return policy.evaluate(())
        try:
            return policy.evaluate(verify_note(parse_note(self.facts.note.encode()), policy.witness_verifiers()))
        except NotProven:
            return policy.evaluate(())

    @property
    def content_digest(self) -> str:
        """The digest as RFC 9530 writes it: standard base64."""
        return b64encode(urlsafe_b64decode(self.digest + "=")).decode()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **self.facts.manifest(),
            "sha256": self.digest,
            "bytes": self.bytes,
            "members": self.members,
            "recorded_at_index": self.index,
            "repeats_index": self.repeats,
            "same_bytes": None if self.repeats is None else not self.differs,
            "left_out": self.left_out,
            "quorum": {"met": bool(self.quorum), "because": self.quorum.because, "missing": list(self.quorum.missing)},
        }


def nobody(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


def export_evidence(
    ledger: Ledger,
    wanted: Wanted,
    output: Path,
    *,
    force: bool = False,
    taken_by: str | None = None,
    report: Report = nobody,
) -> Exported:
    """Make a bundle, record it, and give it the name `output`. Raises a Refusal, and the store's errors; nothing is
    left behind then."""
    check_output(output, force)
    with made_evidence(ledger, wanted, output.parent, taken_by=taken_by, report=report) as (exported, file):
        publish(file, output, force)
    return exported


@contextmanager
def made_evidence(
    ledger: Ledger, wanted: Wanted, folder: Path, *, taken_by: str | None = None, report: Report = nobody
) -> Iterator[tuple[Exported, Path]]:
    """A bundle in a temporary file of `folder`, complete, durable and recorded; the file goes when the block ends,
    unless it was given another name."""
    draft = folder / f".evidence-{secrets.token_hex(8)}.part"
    try:
        with writing(folder):
            facts, gathered, digest, size, redacted = _make(ledger, wanted, draft, folder, report)
        refuse_if_redacted_since(ledger, facts.study, redacted)
        answer = record_export(ledger, facts.study, facts.simulated, facts.last, _stated(facts, digest, taken_by))
        refuse_if_redacted_since(ledger, facts.study, redacted)
        yield Exported(facts, digest, size, gathered.members, answer.index, gathered.left_out), draft
    finally:
        draft.unlink(missing_ok=True)


def _make(
    ledger: Ledger, wanted: Wanted, draft: Path, folder: Path, report: Report
) -> tuple[Facts, Gathered, str, int, int]:
    """Write the bundle into a file that nobody else can read, durably; returns its digest and size too, and how many
    disclosures were redacted in the state that it was made of."""
    until = _signed(ledger, wanted)
    with patient_snapshot(ledger) as conn:
        facts = settle(ledger, conn, wanted, until)
        with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as out:
            gathered = write_bundle(ledger, conn, facts, folder, out, report)
            out.flush()
            os.fsync(out.fileno())
            return facts, gathered, *digest_of(out), redacted_so_far(conn, facts.study)


def _signed(ledger: Ledger, wanted: Wanted) -> datetime:
    """Have the log signed as far as it goes and the checkpoint of the export by ML-DSA-44 too; returns the moment
    until which received signatures count, once each of them is where a snapshot sees it."""
    if not ledger.has_study(wanted.study):
        raise StudyNotFound(f"no study {wanted.study!r}")
    alarm = ledger.check_log(wanted.study)
    if alarm is not None:
        raise LogInAlarm(alarm)
    with ledger.database.connection() as connection:
        newest = ledger.checkpoint(connection, wanted.study)
    try:
        ledger.cosign_for_export(wanted.study, newest.size if wanted.checkpoint is None else wanted.checkpoint)
    except EntryNotFound as missing:
        raise CheckpointNotThere(f"{missing.because}; the newest checkpoint has size {newest.size}") from None
    until = ledger.now()
    time.sleep(SETTLE_SECONDS)
    wait_for_followers(ledger, wanted.study, newest.size)
    return until


def _stated(facts: Facts, digest: str, taken_by: str | None) -> dict[str, Any]:
    return {
        "what": WHAT,
        "digest": digest,
        "taken_by": taken_by,
        "size": facts.checkpoint.size,
        "as_of": facts.as_of,
        "subject": None if facts.subject is None else str(facts.subject),
        "received_until": stamp(facts.received_until),
        "policy": facts.policy,
    }
