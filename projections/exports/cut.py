"""A materialised cut: every projection's rows of a study at a size, in one file that is the same whenever it is made.

Rules:
- the bytes follow from the study, the size, the moment by which things had to have occurred, what of the entries below
  the size is redacted or passed over, and the versions of the projections; the manifest states each of these, so that
  two cuts that differ say why. No clock, no host, no number of workers, no later entry enters;
- everything is read in one snapshot, folded a share at a time: memory does not grow with the study;
- like every export it is complete and durable, then recorded (DataExported with its digest), and only then handed out;
- while the signer's alarm stands, or an entry cannot be folded, nothing is exported.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.application import Ledger, StudyNotFound
from ledger.signing.encoding import b64url
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.verify import bundle as form
from ledger.verify import zipform
from projections.engine.collector import collecting_rarely
from projections.engine.folding import FoldFailed
from projections.engine.reading import check_happened, cut_size, known_until, moment_read, occurred_by_of, root_at
from projections.engine.skips import skips_of
from projections.engine.sql import SQL
from projections.engine.studies import StudyCache
from projections.exports.cut_rows import Cut, Written, write_rows
from projections.exports.files import check_output, digest_of, publish, writing
from projections.exports.gathering import patient_snapshot
from projections.exports.log_part import Report
from projections.exports.racing import redacted_so_far, refuse_if_redacted_since
from projections.exports.recording import earlier_digest, record_export
from projections.exports.refusals import CutNotWhole, LogInAlarm
from projections.exports.spool import Spool

FORMAT = "trial-ledger-cut/1"
WHAT = "cut of the projections"
MANIFEST, README = "MANIFEST.json", "README.txt"

_README = """\
Cut of the projections of the study {study}
format {format}, log {origin}, size {size}, root {root} (base64url)
{sense}

MANIFEST.json states what this is: the size and root of the log that it stands for, of each projection the version, the
fingerprint of its code and the digest of its rows, and every file with its size and SHA-256. Each file below
projections/ is a table: one JSON object a line, in order of partition (a subject's UUID, or "study") and key.

The same cut has the same bytes whenever and wherever it is made, whatever was recorded after it. They become others
only with what the manifest states: when something of the entries below the size is redacted (redacted_disclosures),
when a projection passes over an event (passed_over), when another version of a projection answers (version,
fingerprint). Each export is recorded in the ledger with its SHA-256 (DataExported).
"""


@dataclass(frozen=True, slots=True)
class WantedCut:
    """What is asked for. `as_of`: a size or a time, None for the newest; `occurred_by`: a date or a time."""

    study: str
    as_of: str | None = None
    occurred_by: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedCut:
    """A cut that was made and recorded: its manifest, SHA-256 (base64url), size in bytes, the index of its
    DataExported, and of the first export of the same cut, if there was one, index and whether it had these bytes."""

    manifest: dict[str, Any]
    digest: str
    bytes: int
    index: int
    repeats: int | None
    same: bool | None

    @property
    def content_digest(self) -> str:
        """The digest as RFC 9530 writes it: standard base64."""
        return b64encode(urlsafe_b64decode(self.digest + "=")).decode()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {name: value for name, value in self.manifest.items() if name != "files"}
        return {
            **plain,
            "sha256": self.digest,
            "bytes": self.bytes,
            "members": len(self.manifest["files"]) + 2,
            "recorded_at_index": self.index,
            "repeats_index": self.repeats,
            "same_bytes": self.same,
        }


def nobody(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


def export_cut(
    ledger: Ledger,
    wanted: WantedCut,
    output: Path,
    *,
    force: bool = False,
    taken_by: str | None = None,
    report: Report = nobody,
) -> ExportedCut:
    """Make a cut, record it, and give it the name `output`. Raises a Refusal, and the store's errors; nothing is left
    behind then."""
    check_output(output, force)
    with made_cut(ledger, wanted, output.parent, taken_by=taken_by, report=report) as (exported, file):
        publish(file, output, force)
    return exported


@contextmanager
def made_cut(
    ledger: Ledger, wanted: WantedCut, folder: Path, *, taken_by: str | None = None, report: Report = nobody
) -> Iterator[tuple[ExportedCut, Path]]:
    """A cut in a temporary file of `folder`, complete, durable and recorded; the file goes when the block ends, unless
    it was given another name."""
    if not ledger.has_study(wanted.study):
        raise StudyNotFound(f"no study {wanted.study!r}")
    alarm = ledger.check_log(wanted.study)
    if alarm is not None:
        raise LogInAlarm(alarm)
    draft = folder / f".cut-{secrets.token_hex(8)}.part"
    try:
        with writing(folder), patient_snapshot(ledger) as conn:
            try:
                made = _make(ledger, conn, wanted, draft, folder, report)
            except FoldFailed as failed:
                raise CutNotWhole(str(failed)) from None
            what = WHAT + (f", occurred by {wanted.occurred_by}" if wanted.occurred_by is not None else "")
            earlier = earlier_digest(conn, wanted.study, what, made.manifest["size"])
            redacted = redacted_so_far(conn, wanted.study)
        size = made.manifest["size"]
        stated = {"what": what, "digest": made.digest, "taken_by": taken_by, "size": size, "as_of": size}
        refuse_if_redacted_since(ledger, wanted.study, redacted)
        answer = record_export(ledger, wanted.study, made.simulated, made.last, stated)
        refuse_if_redacted_since(ledger, wanted.study, redacted)
        repeats, same = (None, None) if earlier is None else (earlier[0], earlier[1] == made.digest)
        yield ExportedCut(made.manifest, made.digest, made.bytes, answer.index, repeats, same), draft
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Made:
    manifest: dict[str, Any]
    digest: str
    bytes: int
    simulated: bool
    last: str


def _make(ledger: Ledger, conn: Conn, wanted: WantedCut, draft: Path, folder: Path, report: Report) -> _Made:
    """Write the file, durably, for nobody else to read."""
    cut = _settle(ledger, conn, wanted)
    simulated = bool(cut.state.genesis.body["clock"] == "simulated") if cut.size else _simulated(conn, cut)
    with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as out:
        with Spool(folder) as spool, collecting_rarely():
            written = write_rows(cut, spool, report)
            manifest = _manifest(ledger, cut, written)
            zipform.write(out, _members(manifest, written, spool))
        out.flush()
        os.fsync(out.fileno())
        digest, size = digest_of(out)
    return _Made(manifest, digest, size, simulated, statements.read_head(conn, wanted.study).last_recorded_at)


def _settle(ledger: Ledger, conn: Conn, wanted: WantedCut) -> Cut:
    """Which state is asked for. Raises CutBeyond, ReadingMalformed, NotHappenedYet."""
    study = wanted.study
    newest = evidence.latest_checkpoint(conn, study)
    signed = 0 if newest is None else newest.size
    size = signed if wanted.as_of is None else cut_size(conn, study, wanted.as_of, signed)
    state = StudyCache().study_at(conn, study, size)
    occurred = None
    if wanted.occurred_by is not None:
        occurred = occurred_by_of(wanted.occurred_by)
        now = ledger.now()
        moment = moment_read(conn, study, state, size, wanted.as_of, now)
        known = min(moment, known_until(conn, study, state, signed, now))
        check_happened(conn, study, occurred, size, wanted.as_of, known)
    return Cut(conn, study, size, signed, state, skips_of(conn, study, signed), occurred)


def _simulated(conn: Conn, cut: Cut) -> bool:
    first = StudyCache().study_at(conn, cut.study, 1)
    return bool(first.genesis.body["clock"] == "simulated")


def _manifest(ledger: Ledger, cut: Cut, written: Written) -> dict[str, Any]:
    redacted = cut.conn.execute(SQL["redacted_below"], {"study": cut.study, "stop": cut.size}).fetchone()
    passed_over = {
        name: [one.index for one in found if one.index < cut.size]
        for name, found in sorted(cut.skips.by_projection.items())
    }
    return {
        "format": FORMAT,
        "study": cut.study,
        "origin": ledger.origin(cut.study),
        "size": cut.size,
        "root": b64url(root_at(cut.conn, cut.study, cut.size)),
        "occurred_by": None if cut.occurred is None else cut.occurred.text,
        "uncertain": None if cut.occurred is None else written.uncertain.total,
        "redacted_disclosures": 0 if redacted is None else redacted[0],
        "passed_over": {name: indexes for name, indexes in passed_over.items() if indexes},
        "projections": {name: written.projections[name] for name in sorted(written.projections)},
        "files": [{"path": part.path, "size": part.size, "sha256": part.sha256} for part in _ordered(written)],
    }


def _ordered(written: Written) -> list[Any]:
    """The files as the manifest lists them: projections and tables in order, long tables by number."""
    place = {
        path: (name, table, number)
        for name, one in written.projections.items()
        for table, told in one["tables"].items()
        for number, path in enumerate(told["files"])
    }
    return sorted(written.parts, key=lambda part: place[part.path])


def _members(manifest: dict[str, Any], written: Written, spool: Spool) -> Iterator[tuple[str, bytes | Path]]:
    sense = "As it is known at this size."
    if manifest["occurred_by"] is not None:
        sense = (
            f"What had occurred by {manifest['occurred_by']}, according to what is known at this size; "
            f"{manifest['uncertain']} records\nmay have occurred by then and are left out."
        )
    names = ("study", "format", "origin", "size", "root")
    yield README, _README.format(sense=sense, **{name: manifest[name] for name in names}).encode()
    yield MANIFEST, form.canonical_json(manifest) + b"\n"
    for part in _ordered(written):
        yield part.path, spool.content(part)
