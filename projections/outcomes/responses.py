"""Outcomes that are read as a response: the course of a count in each subject, the response, responders by cohort.

The counts and the verdict are the protocol's own reading (`series.response_of`); here every count is shown, used or
not, with what it differs from the baseline, in the week after the start that is nearest to its day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from ledger.protocol import ResolvedProtocol
from ledger.protocol.model.course import Outcome, OutcomeDefinition
from ledger.protocol.quantities import Interval
from ledger.protocol.response import Response
from ledger.protocol.series import response_of
from projections.outcomes.numbers import difference, summary
from projections.outcomes.results import Measured, Result
from projections.outcomes.tallies import because_open, by_cohort
from projections.safety.wording import as_data

DAYS_OF_A_WEEK = 7


def responses(
    protocol: ResolvedProtocol, outcome: Outcome, enrolled: Sequence[Measured], cohorts: Sequence[str]
) -> dict[str, Any]:
    """{"subjects": [...], "cohorts": {id: {"enrolled", "evaluated", "responders", "best"}}, "total", "weeks", "notes"}.

    `responders` is None where the protocol does not say what counts as a response.
    """
    rule = outcome.definition
    assert rule is not None, "asked before"
    defined = rule.criteria is not None and rule.baseline is not None
    courses = [_Course(protocol, outcome.id, rule, measured) for measured in enrolled]
    subjects = [course.line() for course in courses]
    lines = {line["subject"]: line for line in subjects}

    def tally(people: Sequence[Any]) -> dict[str, Any]:
        own = [lines[person.id] for person in people]
        known = [line for line in own if line["responder"] is not None]
        return {
            "evaluated": len(known),
            "responders": sum(line["responder"] for line in known) if defined else None,
            "best": dict(sorted(Counter(line["best"] for line in known if line["best"] is not None).items())),
        }

    people = [measured.person for measured in enrolled]
    said = "The protocol does not say what counts as a response, so none is computed"
    criteria = protocol.definition.response_criteria.get(rule.criteria or "")
    return {
        "criteria": as_data(criteria),
        "subjects": subjects,
        "cohorts": by_cohort(cohorts, people, tally),
        "total": {"enrolled": len(people), **tally(people)},
        "weeks": _weeks(courses),
        "notes": [] if defined else [because_open(protocol, outcome, said)],
    }


class _Course:
    """One subject's counts, the response read from them, and how both are shown."""

    def __init__(self, protocol: ResolvedProtocol, outcome: str, rule: OutcomeDefinition, measured: Measured) -> None:
        self._rule, self._measured = rule, measured
        person = measured.person
        self.response: Response = response_of(protocol, outcome, person.facts, person.zone)
        criteria = protocol.definition.response_criteria.get(rule.criteria or "")
        self.results = list(measured.of(rule.analytes[0], None if criteria is None else criteria.unit))
        start = _start(protocol, rule)
        self._days = {result.fact.index: measured.day(start, result.fact) for result in self.results}
        self.used = {count.index: count for count in self.response.used}
        self._left_out = {count.index: (count, reason) for count, reason in self.response.left_out}

    def line(self) -> dict[str, Any]:
        """The subject as it is shown."""
        found = self.response
        return {
            **self._measured.person.about(),
            "baseline": self._baseline(),
            "best": found.best,
            "responder": found.responder,
            "because": found.because,
            "first_on": _iso(found.first_on),
            "confirmed_on": _iso(found.confirmed_on),
            "lost_on": _iso(found.lost_on),
            "counts": [self._count(result) for result in self.results],
        }

    def week(self, result: Result) -> int | None:
        """The week after the start whose day is nearest to a count's."""
        days = self._days[result.fact.index]
        return None if days is None or days < 0 else (days + DAYS_OF_A_WEEK // 2) // DAYS_OF_A_WEEK

    def change(self, result: Result) -> Interval | None:
        """By how much a count after the start differs from the baseline."""
        index, start = result.fact.index, self.response.baseline
        if start is None or result.value is None or not (index in self.used or index in self._left_out):
            return None
        return difference(result.value, start)

    def _baseline(self) -> dict[str, Any] | None:
        """The value before treatment, and the results that it is read from."""
        rule = self._rule.baseline
        if rule is None or not self.results:
            return None
        picked = self._measured.behind_baseline(self._rule.analytes[0], rule)
        return {
            "value": None if self.response.baseline is None else str(self.response.baseline),
            "unit": self.results[0].unit,
            "results": [{"jti": fact.jti, "index": fact.index} for fact in picked],
        }

    def _not_after_start(self) -> str:
        """Why a count is none after the start of treatment."""
        if self._rule.baseline is None or self._rule.criteria is None:
            return "no response is computed"
        if not self._measured.has_happened(self._rule.baseline.before):
            return "treatment has not begun"
        return "it lies before the start of treatment"

    def _count(self, result: Result) -> dict[str, Any]:
        """One count: used, or why not; by how much it differs from the baseline."""
        index = result.fact.index
        count, reason = self._left_out.get(index, (self.used.get(index), None))
        if count is None:
            reason = result.because or self._not_after_start()
        elif reason is not None and result.because:
            reason = f"{reason}: {result.because}"
        days, change = self._days[index], self.change(result)
        return {
            **result.shown(),
            "study_day": None if days is None else days + (days >= 0),
            "week": self.week(result),
            "change": None if change is None else str(change),
            "bleeding": None if count is None else count.bleeding,
            "rescue": None if count is None else count.rescue,
            "used": index in self.used,
            "because": reason,
        }


def _start(protocol: ResolvedProtocol, rule: OutcomeDefinition) -> str | None:
    """The anchor that weeks are counted from: that of the baseline, else of the first time point."""
    if rule.baseline is not None:
        return rule.baseline.before
    anchors = (protocol.definition.timepoints[name].anchor for name in rule.timepoints)
    return next((anchor for anchor in anchors if anchor is not None), None)


def _weeks(courses: Sequence[_Course]) -> list[dict[str, Any]]:
    """For each week the used counts in a few numbers, the last of each subject; and their change."""
    newest: dict[int, list[tuple[_Course, Result]]] = {}
    for course in courses:
        of_week = {course.week(result): result for result in course.results if result.fact.index in course.used}
        for week, result in of_week.items():
            if week is not None:
                newest.setdefault(week, []).append((course, result))
    return [
        {
            "week": week,
            "counts": summary([result.value for _, result in own if result.value is not None]),
            "change": summary([change for course, result in own if (change := course.change(result)) is not None]),
            "indexes": sorted(result.fact.index for _, result in own),
        }
        for week, own in sorted(newest.items())
    ]


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
