"""One adverse event as the safety page shows it: what is known now, by whom it was judged, what is due and when.

Rules:
- investigator and sponsor stand side by side, every assessment of each in order; nothing is overwritten;
- a reporting clock is overdue when nothing met it and the reading's moment lies after its deadline;
- an event that was voided, or is pending, or did not happen is shown with its standing and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from ledger.domain.adverse_event import AdverseEvent, Clock, adverse_events, clocks
from ledger.domain.aggregate import Study
from ledger.domain.moments import at
from ledger.domain.record import Record
from projections.entries import dispute
from projections.safety.emergence import Answer, Course, both, onset
from projections.safety.people import Person

PREFERRED = frozenset({"pt", "preferred term"})
"""Names of the level of a dictionary by which adverse events are counted, in lower case."""

FIELDS = (
    "code", "coding", "body_system", "category", "grade", "grading", "severity", "seriousness", "relatedness",
    "action_taken", "other_action", "outcome", "started_at", "ended_at", "ongoing", "special_interest", "infusion",
)  # fmt: skip
"""Of an adverse event, as its newest record that states them has them."""

OPINION = ("causality", "related", "expectedness", "reference_document", "method", "reason")
SUBMISSION = ("recipient", "jurisdiction", "report_type", "expedited", "reference", "acknowledged_at")
UNKNOWN = Answer(None, "no protocol is in force that says it")


def lines(person: Person, kept: frozenset[str], now: datetime, study: Study) -> Iterator[dict[str, Any]]:
    """Every adverse event of a person, in index order."""
    standing = {event.report.jti: event for event in adverse_events(person.subject)}
    running: dict[str, list[Clock]] = {}
    for clock in clocks(person.protocol, person.subject, person.zone):
        running.setdefault(clock.event.report.jti, []).append(clock)
    course = None
    if person.protocol is not None:
        course = Course(person.protocol, person.facts, person.zone, kept)
    for report in person.subject.records.by_event.get("AdverseEventReported", ()):
        event = standing.get(report.jti) or AdverseEvent(report, (report,), {}, ())
        yield {
            **person.about(),
            "enrolled": person.enrolled,
            **_known(event),
            **_placed(person, event, course),
            "status": status(report),
            "counted": report.jti in standing,
            "disputed": dispute(study.authority, report),
            "follow_ups": [_follow_up(record) for record in event.records[1:]],
            "assessments": {party: _opinions(event, party) for party in _parties(event)},
            "submissions": [_part(record, SUBMISSION) for record in event.submissions],
            "clocks": [_clock(clock, person, now) for clock in running.get(report.jti, ())],
            "adjudications": [],
            "indexes": indexes(event),
        }


def status(record: Record) -> str:
    """Where a record stands, in a word or two."""
    if record.void:
        return "voided"
    if record.reversed_at is not None:
        return "reversed"
    if record.pending:
        return "waits for a second signature"
    return "stands" if record.done else str(record.get("status"))


def serious(event: AdverseEvent) -> bool | None:
    """Called serious, or meeting a criterion of seriousness (ICH E2A II.B); None where nobody said."""
    if event.get("seriousness"):
        return True
    stated: bool | None = event.get("serious")
    return stated


def term(event: AdverseEvent) -> str | None:
    """What an event is counted as: its preferred term where it is coded, else as reported."""
    for coded in event.get("coding") or ():
        if str(coded.get("level")).strip().casefold() in PREFERRED:
            return str(coded.get("term"))
    reported: str | None = event.get("term")
    return reported


def indexes(event: AdverseEvent) -> list[int]:
    """Of everything that was recorded about an event."""
    said = [*event.records, *event.submissions]
    for opinions in event.assessments.values():
        said.extend(opinions)
    return sorted(record.index for record in said)


def _known(event: AdverseEvent) -> dict[str, Any]:
    return {
        "jti": event.report.jti,
        "index": event.report.index,
        "recorded_at": event.report.recorded_at,
        "aware_at": event.report.get("aware_at"),
        "term": event.get("term"),
        "counted_as": term(event),
        **{name: event.get(name) for name in FIELDS},
        "highest_grade": event.highest_grade(),
        "serious": serious(event),
        "fatal": event.fatal,
        "began": onset(event),
    }


def _placed(person: Person, event: AdverseEvent, course: Course | None) -> dict[str, Any]:
    """Whether it is treatment-emergent, and in which of the protocol's periods it began."""
    emergent = primary = captured = UNKNOWN
    if course is not None and person.protocol is not None:
        began, rule = onset(event), person.protocol.definition.safety
        emergent = course.from_on(began, rule.starts)
        primary = both(emergent, course.until(began, rule.primary_window_from, rule.primary_window))
        captured = both(
            course.from_on(began, rule.captured_from), course.until(began, rule.captured_from, rule.captured_until)
        )
    return {
        "treatment_emergent": emergent.value,
        "because": emergent.because,
        "in_primary_window": primary.value,
        "in_period_of_capture": captured.value,
    }


def _follow_up(record: Record) -> dict[str, Any]:
    said = {name: value for name, value in record.content.items() if name != "adverse_event"}
    return {"jti": record.jti, "index": record.index, "recorded_at": record.recorded_at, "by": record.iss, **said}


def _parties(event: AdverseEvent) -> list[str]:
    """Both parties, whether they said something or not."""
    return list(dict.fromkeys(("investigator", "sponsor", *event.assessments)))


def _opinions(event: AdverseEvent, party: str) -> list[dict[str, Any]]:
    return [{**_part(record, OPINION), "role": record.role} for record in event.assessments.get(party, ())]


def _part(record: Record, names: Iterable[str]) -> dict[str, Any]:
    about = {"jti": record.jti, "index": record.index, "recorded_at": record.recorded_at, "by": record.iss}
    return {**about, "occurred_at": record.occurred_at, **{name: record.get(name) for name in names}}


def _clock(clock: Clock, person: Person, now: datetime) -> dict[str, Any]:
    """A clock with its standing at a moment; `because` says what the standing is read from."""
    assert person.protocol is not None, "a clock is the protocol's"
    rule = person.protocol.definition.safety.clocks[clock.clock]
    met = clock.met_by
    overdue = met is None and clock.due_at is not None and now > clock.due_at
    return {
        "clock": clock.clock,
        "text": clock.text,
        "reporter": rule.reporter,
        "source": rule.source,
        "limit": rule.due_within,
        "aware_at": clock.starts_at,
        "started": {"jti": clock.started.jti, "index": clock.started.index},
        "deadline": None if clock.due_at is None else clock.due_at.isoformat(),
        "submitted": None if met is None else {"jti": met.jti, "index": met.index, "at": clock.met_at},
        "overdue": overdue,
        "standing": _standing(clock, person, overdue),
        "transcribed": met is not None and met.mode == "transcribed",
    }


def _standing(clock: Clock, person: Person, overdue: bool) -> str:
    """One of: overdue, running, in time, late, undecided."""
    if clock.met_by is None:
        return "overdue" if overdue else "running" if clock.due_at is not None else "undecided"
    met = at(clock.met_at)
    if met is None or clock.due_at is None:
        return "undecided"
    if clock.late(person.zone):
        return "late"
    return "in time" if met.instants(person.zone)[1].astimezone(UTC) <= clock.due_at else "undecided"
