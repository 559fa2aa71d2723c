"""What may be done next in a cohort, and what stands in the way: asked of the domain's own preconditions.

Each step is put to the rules as a decision that somebody would sign now, on the state that is read; every rule is
asked, so that the page shows all obstacles at once and not the first alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain import cohort as cohort_rules
from ledger.domain.aggregate import Subject
from ledger.domain.context import Context
from ledger.domain.decide import PRECONDITIONS
from ledger.domain.interpretation import nothing_is_open
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.domain.study import protocol_for, study_runs
from ledger.protocol.model.course import SELECTED
from projections.engine.reading import Reader

TO_ENROL = (study_runs, nothing_is_open, cohort_rules.is_open, cohort_rules.has_a_seat)
"""What enrolment asks of the cohort; what it asks of the subject stands on the subject's page."""


@dataclass(frozen=True)
class Asking:
    """Puts decisions to the rules, as of a reading. `load` gives a subject by its label."""

    reader: Reader
    load: Callable[[str], Subject | None]

    def obstacles(self, event: str, sub: str, rules: Any = None, **content: Any) -> list[dict[str, Any]]:
        """Every refusal that a decision would meet now."""
        ctx = self._context(event, sub, content)
        found = []
        for rule in PRECONDITIONS[event] if rules is None else rules:
            try:
                rule(ctx)
            except Refusal as refusal:
                found.append(refusal.as_dict())
        return found

    def _context(self, event: str, sub: str, content: dict[str, Any]) -> Context:
        reader = self.reader
        now = reader.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        claims = {"event": event, "sub": sub, "cut": {"size": reader.size, "root": reader.root}, "jti": "", "iss": ""}
        candidate = Record(reader.size, now, "", "", claims, "decision", {}, content)
        return Context(reader.study, reader.roster, None, candidate, now, reader.size, self._load, lambda size: None)

    def _load(self, subject: UUID) -> Subject | None:
        return self.load(f"subject/{subject}")


def next_steps(asking: Asking, cohort: str, opened: bool, purpose: str) -> list[dict[str, Any]]:
    """The steps of one cohort, permitted or not, with everything that stands in their way."""
    sub = f"cohort/{cohort}"
    asked: Iterator[tuple[str, str, list[dict[str, Any]]]]
    if not opened:
        asked = iter([("open", "CohortOpened", asking.obstacles("CohortOpened", sub))])
    else:
        asked = _of_an_open_one(asking, cohort, sub, purpose)
    return [
        {"step": step, "decision": event, "permitted": not blocked, "blocked_by": blocked}
        for step, event, blocked in asked
    ]


def _of_an_open_one(
    asking: Asking, cohort: str, sub: str, purpose: str
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    yield "enrol", "SubjectEnrolled", asking.obstacles("SubjectEnrolled", "study", TO_ENROL, cohort=cohort)
    if purpose != "escalation":
        return
    for conclusion in ("expand-cohort", "escalate"):
        blocked = asking.obstacles("SafetyReviewConcluded", sub, conclusion=conclusion, reason="asked by the page")
        yield f"review: {conclusion}", "SafetyReviewConcluded", blocked


def dose_choices(asking: Asking) -> list[dict[str, Any]]:
    """Of each cohort whose dose is to be selected, which level may be chosen now and which not."""
    protocol = protocol_for(asking.reader.study)
    if protocol is None:
        return []
    cohorts = protocol.definition.cohorts.values()
    found = []
    for cohort in (one for one in cohorts if one.dose == SELECTED):
        levels = []
        for level in (one for one in cohorts if one.purpose == "escalation"):
            given = {"cohort": cohort.id, "dose_level": level.id, "reason": "asked by the page"}
            blocked = asking.obstacles("DoseSelected", "study", **given)
            levels.append({"level": level.id, "dose": level.dose, "permitted": not blocked, "blocked_by": blocked})
        found.append({"cohort": cohort.id, "levels": levels})
    return found
