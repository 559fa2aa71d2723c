"""What goes into a bundle: the facts of its manifest, settled first, and then every member, in one snapshot.

Nothing is recorded or published here, and no clock is read: who asks for a bundle that is not the ledger's honest
export, as tests of tampering do, gets what the database holds.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from ledger.application import EntryNotFound, Ledger, StudyNotFound
from ledger.domain.aggregate import study_aggregate_id
from ledger.domain.participation import number
from ledger.seals import authority_below, seal_in_force
from ledger.signing.errors import Malformed
from ledger.signing.statement import read_stored
from ledger.store import evidence, statements
from ledger.store.database import Conn, Database
from ledger.store.rows import CheckpointRow
from ledger.verify import bundle as form
from projections.definitions import read_models
from projections.engine import operations
from projections.engine.answering import reading_values
from projections.engine.collector import collecting_rarely
from projections.engine.definition import STUDY_PARTITION, ReadModel
from projections.engine.errors import SubjectAmbiguous, SubjectNotFound
from projections.engine.folding import FoldFailed, subjects_of
from projections.engine.reading import cut_size
from projections.engine.skips import decided_below
from projections.engine.sql import SQL
from projections.engine.stopping import stopped_in
from projections.engine.workers import PATIENCE
from projections.exports.log_part import (
    Report,
    Scope,
    write_checkpoints,
    write_entries,
    write_hash_tiles,
    write_timestamps,
)
from projections.exports.projected import DatabaseSource, Fold, member, write_stored
from projections.exports.readme import readme
from projections.exports.recording import Earlier, earlier_export
from projections.exports.refusals import CheckpointNotThere, EntriesNotWhole
from projections.exports.spool import Part, Spool

SCREENINGS = frozenset({"SubjectScreened", "SubjectRescreened"})
"""Events that state a subject's number."""
FOLLOW_SECONDS, STILL_SECONDS, LOOK_SECONDS = 5.0, 0.7, 0.05
"""How long projections that are being followed are waited for; they poll twice a second, so that standing still for
longer means that nobody follows them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `as_of`: a size or a time; `checkpoint`: the size of one that was published, None for the
    newest; `subject`: number or UUID, None for all."""

    study: str
    subject: str | None = None
    as_of: str | None = None
    checkpoint: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a bundle stands for. `earlier`: the export that it repeats; `last`: the newest entry's time."""

    study: str
    origin: str
    checkpoint: CheckpointRow
    note: str
    as_of: int
    subject: UUID | None
    policy: str
    received_until: datetime
    earlier: Earlier | None
    simulated: bool
    last: str

    @property
    def root(self) -> str:
        """The root in base64, as in the checkpoint."""
        return b64encode(self.checkpoint.root).decode()

    def manifest(self) -> dict[str, Any]:
        """The manifest's own facts."""
        return {
            "study": self.study,
            "origin": self.origin,
            "size": self.checkpoint.size,
            "root": self.root,
            "as_of": self.as_of,
            "subject": None if self.subject is None else str(self.subject),
        }


@dataclass(frozen=True, slots=True)
class Gathered:
    """A bundle that was written: how many members, and the projections that could not be handed out, with why."""

    members: int
    left_out: dict[str, str]


@contextmanager
def patient_snapshot(ledger: Ledger) -> Iterator[Conn]:
    """One moment of the database for as long as an export takes, on a connection of its own."""
    with Database(ledger.urls.app, name="trial-ledger-export", **PATIENCE) as database, database.snapshot() as conn:
        yield conn


def wait_for_followers(ledger: Ledger, study: str, size: int) -> None:
    """Let projections that are being followed come to a size; not those that stand still."""
    deadline, moved, before = time.monotonic() + FOLLOW_SECONDS, time.monotonic(), None
    while time.monotonic() < min(deadline, moved + STILL_SECONDS):
        standing = operations.standing(ledger.database, study)
        positions = [one["position"] for one in standing if one["live"]]
        if all(position >= size for position in positions):
            return
        if positions != before:
            before, moved = positions, time.monotonic()
        time.sleep(LOOK_SECONDS)


# -- the facts -------------------------------------------------------------------------------------------------


def settle(ledger: Ledger, conn: Conn, wanted: Wanted, received_until: datetime) -> Facts:
    """The facts of the bundle that is asked for; signatures received after a moment are left out.

    Raises StudyNotFound, CheckpointNotThere, CutBeyond, ReadingMalformed, SubjectNotFound, SubjectAmbiguous,
    EntriesNotWhole, and SettingsError where the study's configured policy cannot be used.
    """
    study = wanted.study
    checkpoint = _checkpoint(conn, study, wanted.checkpoint)
    size = checkpoint.size
    as_of = size if wanted.as_of is None else cut_size(conn, study, wanted.as_of, size)
    own = study_aggregate_id(ledger.origin(study))
    subject = None if wanted.subject is None else _subject(conn, study, own, wanted.subject, size)
    earlier = earlier_export(conn, study, size, as_of, None if subject is None else str(subject))
    until = earlier.received_until if earlier else received_until
    policy = earlier.policy if earlier and earlier.policy else ledger.witnessing.policy_in_words(study)
    # Only this checkpoint's note, with the signatures of that moment.
    (note,) = evidence.full_notes(conn, study, size, until, after=size - 1)
    return Facts(
        study,
        ledger.origin(study),
        checkpoint,
        note,
        as_of,
        subject,
        policy,
        until,
        earlier,
        _simulated(conn, study),
        statements.read_head(conn, study).last_recorded_at,
    )


def _checkpoint(conn: Conn, study: str, size: int | None) -> CheckpointRow:
    if study not in statements.select_studies(conn):
        raise StudyNotFound(f"no study {study!r}")
    newest = evidence.latest_checkpoint(conn, study)
    if newest is None:
        raise EntryNotFound(f"{study} has no checkpoint yet")
    if size is None:
        return newest
    found = evidence.checkpoint_at(conn, study, size)
    if found is None:
        raise CheckpointNotThere(f"size {size}; the newest checkpoint has size {newest.size}")
    return found


def _subject(conn: Conn, study: str, own: UUID, named: str, size: int) -> UUID:
    """The subject of a UUID or a number, among the entries below a size."""
    try:
        about = UUID(named)
    except ValueError:
        found = [one.id for one in subjects_of(conn, study, own, SCREENINGS, size) if number(one) == named]
        if len(found) > 1:
            raise SubjectAmbiguous(f"{named!r} is the number of {' and '.join(map(str, found))}") from None
        if not found:
            raise SubjectNotFound(f"{named[:60]!r} among the first {size} entries") from None
        return found[0]
    if about == own or not statements.select_events(conn, study, 0, size, 1, originator_id=about):
        raise SubjectNotFound(f"{named[:60]!r} among the first {size} entries")
    return about


def _simulated(conn: Conn, study: str) -> bool:
    rows = statements.select_events(conn, study, 0, 1, 1)
    try:
        return bool(read_stored(rows[0].jwt, rows[0].disclosures).body["clock"] == "simulated")
    except (IndexError, KeyError, Malformed):
        raise EntriesNotWhole(f"the entry 0 of {study}, its genesis, is missing or cannot be read") from None


# -- the members -----------------------------------------------------------------------------------------------


def write_bundle(ledger: Ledger, conn: Conn, facts: Facts, folder: Path, out: BinaryIO, report: Report) -> Gathered:
    """Write the bundle of these facts; temporary files lie in `folder`. Raises EntriesNotWhole, NoSeal, OSError, and
    the store's errors."""
    with Spool(folder) as spool, collecting_rarely():
        parts, left_out = _members(ledger, conn, facts, spool, report)
        listed = [(part.path, part.size, part.sha256) for part in parts]
        manifest = form.manifest_bytes(facts.manifest(), listed)
        authority = authority_below(conn, facts.study, facts.origin, facts.checkpoint.size)
        signature = form.sign_manifest(manifest, seal_in_force(ledger.home, authority))
        form.write_zip(out, _in_order(parts, manifest, signature, spool))
        return Gathered(len(parts) + 2, left_out)


def _in_order(
    parts: Sequence[Part], manifest: bytes, signature: bytes, spool: Spool
) -> Iterator[tuple[str, bytes | Path]]:
    """README, manifest and signature, then everything else."""
    first, *rest = parts
    yield first.path, spool.content(first)
    yield form.MANIFEST, manifest
    yield form.MANIFEST_JWS, signature
    for part in rest:
        yield part.path, spool.content(part)


def _members(
    ledger: Ledger, conn: Conn, facts: Facts, spool: Spool, report: Report
) -> tuple[list[Part], dict[str, str]]:
    study, size = facts.study, facts.checkpoint.size
    subject = None if facts.subject is None else str(facts.subject)
    shown = None if facts.subject is None else frozenset({facts.subject, study_aggregate_id(facts.origin)})
    introduction = readme(study, facts.origin, size, facts.root, facts.as_of, subject)
    parts = [
        spool.add(form.README, introduction),
        spool.add(form.POLICY, facts.policy.encode()),
        spool.add(form.CHECKPOINT, facts.note.encode()),
    ]
    entries, disclosures = write_entries(conn, study, size, Scope(shown), spool, report)  # first: it knows what is gone
    report("tiles", 0, size)
    parts += write_hash_tiles(ledger, conn, study, size, spool)
    parts += entries
    parts += write_checkpoints(conn, study, size, facts.received_until, spool)
    parts += disclosures
    parts += write_timestamps(conn, study, size, facts.received_until, spool)
    only = None if subject is None else frozenset({subject, STUDY_PARTITION})
    projected, left_out = _projections(conn, facts, only, spool, report)
    return parts + projected, left_out


def _projections(
    conn: Conn, facts: Facts, only: frozenset[str] | None, spool: Spool, report: Report
) -> tuple[list[Part], dict[str, str]]:
    """Every projection in order of its name: as it is shown where it stands at the size, else folded."""
    models = sorted(read_models(), key=lambda model: model.definition.name)
    folded = [model for model in models if not _stands_at(conn, facts, model)]
    fold = Fold(folded, spool)
    if folded:
        own = study_aggregate_id(facts.origin)
        source = DatabaseSource(conn, facts.study, own, facts.as_of, facts.checkpoint.size)
        try:
            done = 0
            for events in fold.run(source, only):
                done += events
                report("projections", done, facts.as_of)
        except FoldFailed as failed:
            models = [model for model in models if model not in folded]
            return _written(conn, facts, models, [], fold, only, spool), {
                model.definition.name: str(failed) for model in folded
            }
    return _written(conn, facts, models, folded, fold, only, spool), {}


def _written(
    conn: Conn,
    facts: Facts,
    models: Sequence[ReadModel],
    folded: Sequence[ReadModel],
    fold: Fold,
    only: frozenset[str] | None,
    spool: Spool,
) -> list[Part]:
    parts: list[Part] = []
    for model in models:
        with spool.long(member(model.definition.name), parts) as out:
            if model in folded:
                fold.write(out, model, facts.as_of)
            else:
                write_stored(out, conn, model, facts.study, facts.as_of, only)
    return parts


def _stands_at(conn: Conn, facts: Facts, model: ReadModel) -> bool:
    """Whether this release's read model is the one that answers, stands at exactly the size with nothing of it standing
    still, and passes over what the log that is handed out says."""
    name, size = model.definition.name, facts.as_of
    row = conn.execute(SQL["reading_of"], reading_values(facts.study, name)).fetchone()
    if row is None or (row[1], row[3]) != (model.schema, size):
        return False
    if stopped_in(conn, facts.study, [model.schema])[model.schema]:
        return False
    decided = decided_below(conn, facts.study, facts.checkpoint.size)
    return not any(about == name for about, _ in decided.since(size))
