"""Importing a folder of SDTM transport files into a study's ledger: none lost, none invented, none twice.

 1 survey: every file read and checked, subjects and sites known; nothing is recorded before
 2 opening: the study, the importing system and its delegation, period, protocol and sites, as far as missing
 3 row by row, domain by domain, subjects first: known event ids are skipped, the rest is sealed and appended
 4 what the ledger refuses or nobody can place goes to quarantine, and the import goes on

For every domain: read = appended + duplicate + quarantined. Killed at any moment, the next run appends what is
missing and nothing else.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.intake.errors import ImportStopped
from api.intake.opening import LedgerDoor, Terms, make_ready
from api.intake.quarantine import Quarantine
from api.intake.sdtm.mapping import DOMAINS
from api.intake.sdtm.placing import SYSTEM, WORTH_A_PROCESS, Chunk, Sealed, Work, sealed
from api.intake.sdtm.protocol import Design, build
from api.intake.sdtm.reading import rows
from api.intake.sdtm.survey import Source, Survey, survey
from api.intake.talk import Listener
from api.intake.transfers import Transfer, Transfers
from ledger.domain.refusals import Refusal
from ledger.home import Home

CHUNK = 1_000
"""Rows asked for, sealed and counted together: one question about known event ids."""
STEP = 50
"""Rows after which the listener hears of progress: often enough for a bar, seldom enough to cost nothing."""
STUDY = re.compile(r"[A-Z0-9-]{3,32}")
ANOTHER_STATEMENT = "IDEMPOTENCY-1"
"""The rule by which the ledger says that the event id is recorded already: somebody else imports the same file."""
PURPOSE = "Import of SDTM data sets"
_SAID_AT_ONCE = 5  # items of a list that a sentence names


@dataclass(slots=True)
class Counts:
    """Rows of one domain; the last three add up to the first when the import is done."""

    read: int = 0
    appended: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {
            "read": self.read,
            "appended": self.appended,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
        }

    def __str__(self) -> str:
        return (
            f"{self.read:,} rows read, {self.appended:,} recorded, {self.duplicate:,} recorded before or repeated, "
            f"{self.quarantined:,} in quarantine"
        )


@dataclass(slots=True)
class ImportReport:
    """What became of every row, and what a person should look at before believing it."""

    study: str
    domains: dict[str, Counts] = field(default_factory=lambda: {code: Counts() for code in DOMAINS})
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON: the study, the counts of each domain (its files counted together), and warnings as sentences."""
        domains = {code: counts.as_dict() for code, counts in self.domains.items()}
        return {"study": self.study, "domains": domains, "warnings": list(self.warnings)}

    def __str__(self) -> str:
        """One line a domain, for people."""
        return "\n".join([f"Study {self.study}", *(f"{code}: {counts}" for code, counts in self.domains.items())])


def import_sdtm(folder: Path, study: str, application: LedgerDoor, home: Home, progress: Listener) -> ImportReport:
    """Import every imported domain that the folder holds; raises UnreadableInput, ImportStopped, StoreError.

    ValueError: `study` is no study id.
    """
    if not STUDY.fullmatch(study):
        raise ValueError(f"{study!r} is no study id: 3 to 32 characters of A-Z, 0-9 and hyphen")
    progress.say(f"Reading {folder}")
    found = survey(folder, study)
    design = build(study, found.design)
    transfers = Transfers(home.path, study)
    these = [Transfer(source.domain, source.data.identifier, source.data.digest) for source in found.sources]
    warnings = [*found.warnings, *_again(transfers.earlier(these))]
    _tell(progress, found, design, study)
    for warning in warnings:
        progress.say(f"Warning: {warning}")
    key = make_ready(application, home, _terms(study, found, design))
    work = Work(
        study,
        str(application.log_keys(study)["origin"]),
        key.to_pem(),
        tuple(found.sources),
        found.people,
        found.misplaced,
        found.study_id,
    )
    transfers.note(these)
    with Quarantine(home.path, study) as quarantine:
        run = _Run(work, application, quarantine, progress, found.rows)
        run.report.warnings += warnings
        run.keep_unplaced(design)
        run.go()
    apart = len(design.unplaced) + sum(counts.quarantined for counts in run.report.domains.values())
    if apart:
        progress.say(f"{apart:,} rows stand in quarantine, each with its reason: {quarantine.path}")
    return run.report


def _again(earlier: dict[str, list[str]]) -> list[str]:
    return [
        f"{code}: {', '.join(files)} was imported into this study before, with another content than the files now; "
        "a row that stands in both is recorded a second time, beside the first"
        for code, files in earlier.items()
    ]


def _terms(study: str, found: Survey, design: Design) -> Terms:
    today = datetime.now(UTC).date().isoformat()
    return Terms(
        study=study,
        system=SYSTEM,
        events=tuple(domain.event for domain in DOMAINS.values()),
        purpose=PURPOSE,
        title=design.title,
        protocol=design.text,
        protocol_version=design.version,
        sites=found.sites,
        starts_on=min(found.earliest or today, today),
        ends_on=today,
    )


def _tell(progress: Listener, found: Survey, design: Design, study: str) -> None:
    for source in found.sources:
        repeated = f", {len(source.repeats):,} of them repeat another" if source.repeats else ""
        progress.say(f"{source.domain}: {source.data.rows:,} rows in {source.data.identifier}{repeated}")
    if found.others:
        seen = ", ".join(f"{data.identifier} ({data.rows:,} rows)" for data in found.others)
        progress.say(f"Seen and not imported: {seen}")
    if found.study_id not in (None, study):
        progress.say(f"The data say STUDYID {found.study_id}; they are recorded in the study {study}")
    if found.renamed:
        progress.say(f"Ids that the ledger writes otherwise: {_some(found.renamed)}")
    if not found.design:
        progress.say("There is no trial design (TA, TE, TI, TS, TV): the protocol names the study alone")
    if design.left_out:
        progress.say(f"The protocol goes without: {_some(design.left_out)}")
    progress.say("The data name no time zones: times stand as they are, and their zone as unknown")


def _some(items: list[str] | tuple[str, ...]) -> str:
    more = len(items) - _SAID_AT_ONCE
    return "; ".join(items[:_SAID_AT_ONCE]) + (f"; and {more:,} more" if more > 0 else "")


class _Run:
    """One pass over all rows. `_waiting` holds what was sent and not answered yet, in order."""

    def __init__(self, work: Work, ledger: LedgerDoor, quarantine: Quarantine, progress: Listener, total: int) -> None:
        self.report = ImportReport(work.study)
        self._work = work
        self._ledger = ledger
        self._quarantine = quarantine
        self._progress = progress
        self._total = total
        self._done = self._told = 0
        self._waiting: deque[tuple[Source, Sealed]] = deque()

    def go(self) -> None:
        """Send what is missing and count the answers."""
        for outcome in self._ledger.append_many(self._work.study, self._texts(), receipts=False):
            source, row = self._waiting.popleft()
            counts = self.report.domains[source.domain]
            if not isinstance(outcome, Refusal):
                if outcome.repeat:
                    counts.duplicate += 1
                else:
                    counts.appended += 1
            elif outcome.rule == ANOTHER_STATEMENT:
                counts.duplicate += 1
            elif outcome.status in (401, 403) or outcome.status >= 500:
                raise ImportStopped(f"Row {row.line} of {source.data.identifier}", outcome)
            else:
                self._refused(source, row, outcome)
            self._advance(1)
        self._progress.advance(self._done, self._total)

    def _texts(self) -> Iterator[str]:
        beside = self._total >= WORTH_A_PROCESS and (os.cpu_count() or 1) > 1
        for chunk, found in sealed(self._missing(), self._work, beside):
            source = self._work.sources[chunk.source]
            for row in found:
                if row.text is None:
                    self._keep(source, row, {"reason": row.reason, "values": row.cells})
                    self._advance(1)
                    continue
                self._waiting.append((source, row))
                yield row.text

    def _missing(self) -> Iterator[Chunk]:
        """Chunks of what is not in the ledger yet; known rows are counted here."""
        for number, source in enumerate(self._work.sources):
            counts = self.report.domains[source.domain]
            for first in range(0, source.data.rows, CHUNK):
                lines = range(first + 1, min(first + CHUNK, source.data.rows) + 1)
                ids = {self._work.jti(source, line): line for line in lines if line not in source.repeats}
                known = self._ledger.known(self._work.study, list(ids))
                missing = tuple(line for jti, line in ids.items() if jti not in known)
                counts.read += len(lines)
                counts.duplicate += len(lines) - len(missing)
                self._advance(len(lines) - len(missing))
                if missing:
                    yield Chunk(number, first, missing)

    def _refused(self, source: Source, row: Sealed, refusal: Refusal) -> None:
        (again,) = rows(source.data, row.line - 1, source.data.read(row.line - 1, 1))
        told = {"reason": refusal.because, "rule": refusal.rule, "remedy": refusal.remedy}
        self._keep(source, row, {**told, "values": again.cells})

    def _keep(self, source: Source, row: Sealed, entry: dict[str, Any]) -> None:
        data = source.data
        self.report.domains[source.domain].quarantined += 1
        place = {"file": data.identifier, "file_digest": data.digest, "domain": source.domain}
        self._quarantine.add(row.jti, {**place, "line": row.line, "digest": row.digest, **entry})

    def keep_unplaced(self, design: Design) -> None:
        """Rows of the trial design that have no place in the protocol."""
        for row, why in design.unplaced:
            data, read = row.key
            jti = self._work.jti(Source(data, row.domain, frozenset()), read.line)
            place = {"file": data.identifier, "file_digest": data.digest, "domain": row.domain, "line": read.line}
            self._quarantine.add(jti, {**place, "digest": read.digest, "reason": why, "values": dict(row.cells)})

    def _advance(self, count: int) -> None:
        self._done += count
        if self._done - self._told >= STEP:
            self._told = self._done
            self._progress.advance(self._done, self._total)
