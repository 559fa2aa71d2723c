"""What may be done next in a cohort, and what stands in the way: asked of the domain's own preconditions.

Each step is put to the rules as a decision that somebody would sign now, on the state that is read; every rule is
asked, so that the page shows all obstacles at once and not the first alone. A review is not asked for again while one
that stands, and nothing of safety came after its cut, has let the cohort pass: `escalate` where a higher level may
follow, `complete` where the cohort is the last level or none of the escalation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain import cohort as cohort_rules
from ledger.domain import dose_level
from ledger.domain.aggregate import Subject
from ledger.domain.basis import SAFETY, changes_since, cut_size
from ledger.domain.context import Context
from ledger.domain.decide import PRECONDITIONS
from ledger.domain.interpretation import nothing_is_open
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.domain.study import protocol_for, study_runs
from ledger.protocol import ResolvedProtocol
from ledger.protocol.model.course import SELECTED, Cohort
from projections.engine.reading import Reader

TO_ENROL = (study_runs, nothing_is_open, cohort_rules.is_open, cohort_rules.has_a_seat)
"""What enrolment asks of the cohort; what it asks of the subject stands on the subject's page."""


PASSING = ("escalate", "complete")
"""Conclusions by which a cohort is tolerated, and done with."""


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


def next_steps(
    asking: Asking, protocol: ResolvedProtocol, planned: Cohort, subjects: Sequence[Subject]
) -> list[dict[str, Any]]:
    """The steps of one cohort and its subjects, permitted or not, with everything that stands in their way."""
    sub, state = f"cohort/{planned.id}", dose_level.state(asking.reader.study, planned.id)
    asked: Iterator[tuple[str, str, list[dict[str, Any]]]]
    if state.opened is None:
        asked = iter([("open", "CohortOpened", asking.obstacles("CohortOpened", sub))])
    else:
        asked = _of_an_open_one(asking, planned, sub, _conclusions(protocol, planned, state, subjects))
    return [
        {"step": step, "decision": event, "permitted": not blocked, "blocked_by": blocked}
        for step, event, blocked in asked
    ]


def _of_an_open_one(
    asking: Asking, planned: Cohort, sub: str, conclusions: Sequence[str]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    yield "enrol", "SubjectEnrolled", asking.obstacles("SubjectEnrolled", "study", TO_ENROL, cohort=planned.id)
    for conclusion in conclusions:
        blocked = asking.obstacles("SafetyReviewConcluded", sub, conclusion=conclusion, reason="asked by the page")
        yield f"review: {conclusion}", "SafetyReviewConcluded", blocked


def _conclusions(
    protocol: ResolvedProtocol, planned: Cohort, state: dose_level.CohortState, subjects: Sequence[Subject]
) -> list[str]:
    """What a safety review of the cohort could conclude now, to go on."""
    ladder = dose_level.levels(protocol)
    if _has_passed(state, subjects):
        return []
    if planned.id not in ladder:
        return ["complete"]
    return ["expand-cohort", "complete" if planned.id == ladder[-1] else "escalate"]


def _has_passed(state: dose_level.CohortState, subjects: Sequence[Subject]) -> bool:
    """Whether a review that stands let the cohort pass, and holds every fact of safety; one that was transcribed was
    asked nothing, and may be concluded anew."""
    review = state.review
    if review is None or review.mode != "direct" or review.get("conclusion") not in PASSING:
        return False
    size = cut_size(review)
    return not any(True for one in subjects for _ in changes_since(one.records, size, SAFETY))


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
