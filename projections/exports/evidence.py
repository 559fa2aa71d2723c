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
- while the signer's alarm stands nothing is exported: what would be handed out is not what was signed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, BinaryIO

from ledger.application import EntryNotFound, Ledger, StudyNotFound
from ledger.signing.encoding import b64url
from ledger.writer import stamp
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
from projections.exports.recording import WHAT, record_export
from projections.exports.refusals import (
    CheckpointNotThere,
    LogInAlarm,
    NoRoomForExport,
    OutputExists,
    OutputNotWritable,
)

__all__ = ["Exported", "Wanted", "export_evidence", "made_evidence"]

SETTLE_SECONDS = 0.25
"""A signature line that was received is in the database some milliseconds later."""
READ_BYTES = 1 << 20
"""How much of a bundle is hashed at once."""


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
    _check_output(output, force)
    with made_evidence(ledger, wanted, output.parent, taken_by=taken_by, report=report) as (exported, file):
        _publish(file, output, force)
    return exported


@contextmanager
def made_evidence(
    ledger: Ledger, wanted: Wanted, folder: Path, *, taken_by: str | None = None, report: Report = nobody
) -> Iterator[tuple[Exported, Path]]:
    """A bundle in a temporary file of `folder`, complete, durable and recorded; the file goes when the block ends,
    unless it was given another name."""
    draft = folder / f".evidence-{secrets.token_hex(8)}.part"
    try:
        with _writing(folder):
            facts, gathered, digest, size = _make(ledger, wanted, draft, folder, report)
        answer = record_export(ledger, facts.study, facts.simulated, facts.last, _stated(facts, digest, taken_by))
        yield Exported(facts, digest, size, gathered.members, answer.index, gathered.left_out), draft
    finally:
        draft.unlink(missing_ok=True)


def _make(
    ledger: Ledger, wanted: Wanted, draft: Path, folder: Path, report: Report
) -> tuple[Facts, Gathered, str, int]:
    """Write the bundle into a file that nobody else can read, durably; returns its digest and size too."""
    until = _signed(ledger, wanted)
    with patient_snapshot(ledger) as conn:
        facts = settle(ledger, conn, wanted, until)
        with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as out:
            gathered = write_bundle(ledger, conn, facts, folder, out, report)
            out.flush()
            os.fsync(out.fileno())
            return facts, gathered, *_digest(out)


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


def _digest(file: BinaryIO) -> tuple[str, int]:
    """base64url SHA-256 and size of a file as it was written."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while data := file.read(READ_BYTES):
        digest.update(data)
        size += len(data)
    return b64url(digest.digest()), size


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


# -- the file --------------------------------------------------------------------------------------------------


def _check_output(output: Path, force: bool) -> None:
    """Refuse before anything is made or recorded."""
    if output.is_dir():
        raise OutputNotWritable(f"{output} is a folder")
    if output.exists() and not force:
        raise OutputExists(str(output))
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise OutputNotWritable(f"{output.parent} is no folder that can be written to")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the file system refuses, in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise NoRoomForExport(f"the volume of {folder} is full") from None
        raise OutputNotWritable(f"{folder}: {error.strerror or error}") from None


def _publish(draft: Path, output: Path, force: bool) -> None:
    """Give a complete file its name, durably; a file that is there stays unless `force` is said."""
    with _writing(output.parent):
        if force:
            draft.replace(output)
        else:
            try:
                os.link(draft, output)  # unlike a rename, it fails when the name was taken meanwhile
            except FileExistsError:
                raise OutputExists(str(output)) from None
            except PermissionError:  # a file system without links
                draft.rename(output)
    with suppress(OSError):  # Windows opens no folders; its file systems journal names themselves
        folder = os.open(output.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
