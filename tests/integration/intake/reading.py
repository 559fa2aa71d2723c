"""What the tests of imports read back from a ledger."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from api.intake.sdtm import ImportReport, import_sdtm
from ledger.application import Ledger
from ledger.signing.statement import Statement, read_stored

STUDY = "PILOT-1"


class Heard:
    """Remembers what an import said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.last: tuple[int, int] | None = None

    def say(self, text: str) -> None:
        self.said.append(text)

    def advance(self, done: int, total: int) -> None:
        self.last = (done, total)


def imported(ledger: Ledger, folder: Path, study: str = STUDY, heard: Heard | None = None) -> ImportReport:
    """Import a folder; every count must add up."""
    listener = heard or Heard()
    report = import_sdtm(folder, study, ledger, ledger.home, listener)
    total = 0
    for counts in report.domains.values():
        assert counts.read == counts.appended + counts.duplicate + counts.quarantined
        total += counts.read
    assert listener.last == (total, total)
    return report


def counts(report: ImportReport) -> dict[str, tuple[int, int, int, int]]:
    """read, appended, duplicate, quarantined of each domain."""
    found: dict[str, dict[str, int]] = report.as_dict()["domains"]
    return {code: (c["read"], c["appended"], c["duplicate"], c["quarantined"]) for code, c in found.items()}


def statements_of(ledger: Ledger, study: str = STUDY) -> list[Statement]:
    """Everything in the study's log, in order."""
    alarm = ledger.check_log(study)
    assert alarm is None
    found: list[Statement] = []
    while True:
        rows, _ = ledger.entries(study, len(found), 1_000)
        found += [read_stored(row.jwt, row.disclosures) for row in rows]
        if len(rows) < 1_000:
            return found


def events_of(ledger: Ledger, study: str = STUDY) -> Counter[str]:
    """How many of each event stand in the log."""
    return Counter(statement.event for statement in statements_of(ledger, study))


def quarantined(ledger: Ledger, study: str = STUDY) -> list[dict[str, Any]]:
    """The lines of the study's quarantine file."""
    text = (ledger.home.path / "quarantine" / f"{study}.ndjson").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
