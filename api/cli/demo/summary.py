"""What came of the course, read from the views over HTTP: nothing here is counted by the simulation itself.

Every view is waited for until it stands for the last event, and they all stand for one size. The number of
refused statements is the ledger's own list's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from textwrap import fill
from typing import Any

from rich.console import Console
from rich.table import Table

from api.cli.demo.course import Course
from api.client.http import Refused, StudyClient

WIDTH = 110
"""Columns of the text."""
BEHIND = 503
PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 0.2
"""How long to wait for projections that have not come as far as the log: a busy machine takes its time."""
PLACES = (
    *("subjects", "cohorts", "schedule", "safety", "outcomes", "signatures"),
    *("audit-trail", "findings", "refusals", "events"),
)


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """One cohort: subjects enrolled, the dose in the protocol's unit as text, responders by the outcome."""

    enrolled: int
    dose: str | None
    responders: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The published figures as the projections have them, and how the ledger stands."""

    events: int
    checkpoint: Mapping[str, Any]
    enrolled: int
    cohorts: Mapping[str, CohortSummary]
    teae_subjects: int
    sae_subjects: int
    saes: int
    screen_failures: int
    findings: Sequence[Mapping[str, Any]]
    corrections: int
    refusals: int

    def as_dict(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "events": self.events,
            "checkpoint": dict(self.checkpoint),
            "enrolled": self.enrolled,
            "cohorts": {
                name: {"enrolled": c.enrolled, "dose": c.dose, "responders": c.responders}
                for name, c in self.cohorts.items()
            },
            "teae_subjects": self.teae_subjects,
            "sae_subjects": self.sae_subjects,
            "saes": self.saes,
            "screen_failures": self.screen_failures,
            "findings": len(self.findings),
            "corrections": self.corrections,
            "refusals": self.refusals,
        }


def read_summary(client: StudyClient, size: int | None = None) -> Summary:
    """Read the views as of a size (the newest signed one where none is given), once they have come that far."""
    study = client.get("")
    size = size or study["size"]
    at = {"wait_for": size, "as_of": size}
    cohorts = _view(client, "cohorts", at)
    outcomes = _view(client, "outcomes", at)
    safety = _view(client, "safety", at)
    findings = _view(client, "findings", at)["findings"]
    responders = outcomes["responders"]
    told = {
        cohort["id"]: CohortSummary(cohort["enrolled"], cohort["dose"], responders[cohort["id"]])
        for cohort in cohorts["cohorts"]
    }
    return Summary(
        events=size,
        checkpoint=_checkpoint(client, study, size),
        enrolled=cohorts["enrolled"],
        cohorts=told,
        teae_subjects=safety["teae_subjects"],
        sae_subjects=safety["sae_subjects"],
        saes=safety["saes"],
        screen_failures=cohorts["screen_failures"],
        findings=findings,
        corrections=_corrections(client, at),
        refusals=study["refusals"],
    )


def _view(client: StudyClient, name: str, at: Mapping[str, Any], **asked: Any) -> Any:
    """A view as of a size; asks again while the projection has not come that far."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return client.get(name, **asked, **at)
        except Refused as refused:
            if refused.problem.get("status") != BEHIND or time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def _checkpoint(client: StudyClient, study: Mapping[str, Any], size: int) -> dict[str, Any]:
    root = study["root"] if study["size"] == size else client.cut.root
    return {"origin": study["origin"], "size": size, "root": root}


def _corrections(client: StudyClient, at: Mapping[str, Any]) -> int:
    """Corrections in the audit trail: an act counts once, however many lines it has."""
    found: set[int] = set()
    cursor = None
    while True:
        page = _view(client, "audit-trail", at, event="EntryCorrected", cursor=cursor, limit=1_000)
        found |= {row["index"] for row in page["rows"]}
        cursor = page["next"]
        if cursor is None:
            return len(found)


def tell(summary: Summary, course: Course, evidence: Sequence[str], url: str | None, seconds: float) -> str:
    """The summary for people; `evidence` are the sentences about the bundle and its tampered copy."""
    out = Console(file=StringIO(), width=WIDTH, highlight=False, color_system=None)
    checkpoint = summary.checkpoint
    out.print("NCT04014166, the published course as a simulation: all persons and values are SYNTHETIC", style="bold")
    out.print(
        f"{summary.events} signed events in {seconds:.1f} s\n"
        f"log {checkpoint['origin']}, size {checkpoint['size']}, root {checkpoint['root']}",
        soft_wrap=True,
    )
    out.print(_cohort_table(summary))
    out.print(
        f"Enrolled {summary.enrolled}; screen failures {summary.screen_failures}. Adverse events after the first "
        f"infusion in {summary.teae_subjects} subjects, serious ones in {summary.sae_subjects} ({summary.saes} events)."
    )
    out.print(f"Corrections: {summary.corrections}.")
    out.print(f"\nRefused ({summary.refusals} statements): what was tried, and the rule that said no")
    for refusal in course.refusals:
        out.print(_hanging(refusal.rule, f"{refusal.attempt}: {refusal.because}"), markup=False)
    out.print(f"\nFindings ({len(summary.findings)}): recorded all the same, and shown with their rule")
    for (rule, title), count in Counter((f["rule"], f["title"]) for f in summary.findings).items():
        out.print(_hanging(rule, f"{count} x {title}"), markup=False)
    out.print("")
    for sentence in evidence:
        out.print(fill(sentence, WIDTH, subsequent_indent="  "), markup=False)
    if url is not None:
        out.print("\nWhere to look")
        out.print(f"  {url}/")
        for place in PLACES:
            out.print(f"  {url}/v1/studies/{course.stage.play.client.study}/{place}", markup=False)
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n")


def _hanging(rule: str, text: str) -> str:
    """A rule's id, and beside it what is said of it."""
    return fill(f"  {rule:17}{text}", WIDTH, subsequent_indent=" " * 19)


def _cohort_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("cohort", "dose (10^6 cells/kg)", "enrolled", "responders"):
        table.add_column(title, justify="left" if title == "cohort" else "right")
    for name, cohort in summary.cohorts.items():
        table.add_row(name, cohort.dose or "-", str(cohort.enrolled), f"{cohort.responders}/{cohort.enrolled}")
    return table
