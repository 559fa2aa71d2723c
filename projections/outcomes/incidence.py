"""Outcomes that count adverse events: who had one in the outcome's period, and who until the end of observation.

Rules: an event counts from the outcome's start on, for as long as it lasts, by the onset; what the stamps do not
decide is counted apart. Who was not treated yet is enrolled and not evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.domain.adverse_event import adverse_events
from ledger.protocol import ResolvedProtocol
from ledger.protocol.model.course import Outcome
from projections.outcomes.definition import EVENTS
from projections.outcomes.tallies import because_open, by_cohort
from projections.safety import counting
from projections.safety.emergence import Answer, Course, both, onset
from projections.safety.events import term
from projections.safety.people import Person


def incidence(
    protocol: ResolvedProtocol, outcome: Outcome, enrolled: Sequence[Person], cohorts: Sequence[str]
) -> dict[str, Any]:
    """{"period", "cohorts": {id: {"enrolled", "evaluated", "subjects", "events", "undecided"}}, "total",
    "to_end_of_follow_up": {"period", "cohorts", "total"}, "terms": {term: {"events", "subjects", "indexes"}},
    "subjects": [{"subject", ..., "events": [...]}], "notes"}.

    Figures of a period that the protocol does not give are None.
    """
    rule, safety = outcome.definition, protocol.definition.safety
    assert rule is not None, "asked before"
    lines = [_subject(protocol, outcome, person) for person in enrolled]
    terms = counting.by_term([{**line, **event} for line in lines for event in line["events"] if event["in_period"]])
    own = {"from": rule.starts, "lasts": rule.lasts}
    whole = {"from": safety.captured_from, "lasts": safety.captured_until}
    notes = []
    if None in own.values():
        said = "The protocol does not say in which period adverse events count for this outcome"
        notes.append(because_open(protocol, outcome, said))
    return {
        "period": own,
        "terms": terms,
        **_tallies("in_period", None not in own.values(), lines, enrolled, cohorts),
        "to_end_of_follow_up": {
            "period": whole,
            **_tallies("to_end_of_follow_up", None not in whole.values(), lines, enrolled, cohorts),
        },
        "subjects": lines,
        "notes": notes,
    }


def _tallies(
    field: str, defined: bool, lines: Sequence[dict[str, Any]], enrolled: Sequence[Person], cohorts: Sequence[str]
) -> dict[str, Any]:
    """Subjects and events of one period, by cohort and in all."""
    by_id = {line["subject"]: line for line in lines}

    def tally(people: Sequence[Person]) -> dict[str, Any]:
        own = [by_id[person.id] for person in people]
        events = [event for line in own for event in line["events"]]
        found = [event["index"] for event in events if event[field]]
        return {
            "evaluated": sum(line["treated"] is True for line in own),
            "subjects": sum(any(event[field] for event in line["events"]) for line in own) if defined else None,
            "events": len(found) if defined else None,
            "undecided": sum(event[field] is None for event in events) if defined else None,
            "indexes": found,
        }

    return {"cohorts": by_cohort(cohorts, enrolled, tally), "total": {"enrolled": len(enrolled), **tally(enrolled)}}


def _subject(protocol: ResolvedProtocol, outcome: Outcome, person: Person) -> dict[str, Any]:
    rule, safety = outcome.definition, protocol.definition.safety
    assert rule is not None, "asked before"
    course = Course(protocol, person.facts, person.zone, EVENTS)
    events = []
    for event in adverse_events(person.subject):
        began = onset(event)
        in_period = both(course.from_on(began, rule.starts), course.until(began, rule.starts, rule.lasts))
        to_end = both(
            course.from_on(began, safety.captured_from),
            course.until(began, safety.captured_from, safety.captured_until),
        )
        events.append(
            {
                "jti": event.report.jti,
                "index": event.report.index,
                "term": event.get("term"),
                "counted_as": term(event),
                "highest_grade": event.highest_grade(),
                "began": began,
                "in_period": in_period.value,
                "to_end_of_follow_up": to_end.value,
                "because": in_period.because,
            }
        )
    return {**person.about(), "treated": _treated(course, rule.starts or safety.starts), "events": events}


def _treated(course: Course, start: str | None) -> bool | None:
    """Whether the moment that events count from has come; None where that is not known."""
    if start is None:
        return None
    times = course.times(start)
    return times.value if isinstance(times, Answer) else True
