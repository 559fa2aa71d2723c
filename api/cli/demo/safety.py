"""Adverse events of the course, and what people say and do about them.

Thirteen subjects have one after the first infusion, four a serious one. One event lies before any infusion: the
projection is to see that it is not treatment-emergent. Events and persons are synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from api.cli.demo.play import Line, Sent
from api.cli.demo.stage import Case, Stage, at, stamp
from api.cli.demo.subjects import Patient

GRADING = {"system": "CTCAE", "version": "5.0"}


@dataclass(frozen=True, slots=True)
class Event:
    """One adverse event: begins so many days after the first infusion, at a local time; lasts so many days.

    `reported_after` days the site enters it, having learned of it then or, where `known_after` is less, earlier.
    """

    day: int
    clock: str
    term: str
    grade: int
    lasts: int
    related: bool = False
    seriousness: tuple[str, ...] = ()
    reported_after: int = 0
    known_after: int | None = None
    name: str | None = None
    action: str = "dose not changed"
    outcome: str = "recovered"
    narrative: str | None = None


GI = "Upper gastrointestinal haemorrhage"
INFARCTION = "Acute myocardial infarction"
MENSTRUATION = "Profuse menstruation"

EVENTS: Mapping[str, tuple[Event, ...]] = {
    "SYN-001": (Event(0, "16:30", "Fever", 1, 1, related=True),),
    "SYN-002": (
        Event(40, "20:00", "Upper respiratory infection", 2, 6, reported_after=1),
        Event(
            68,
            "21:30",
            GI,
            3,
            29,
            seriousness=("hospitalisation",),
            reported_after=1,
            name="serious",
            action="not applicable",
            narrative="Melaena at a platelet count of 6; endoscopy, immunoglobulin, transfusion. Synthetic.",
        ),
    ),
    "SYN-005": (Event(1, "11:00", "Headache", 1, 1, related=True),),
    "SYN-007": (Event(7, "09:50", "Chills", 2, 0, related=True, action="drug interrupted"),),
    "SYN-009": (Event(8, "18:00", "Skin rash", 2, 5, related=True, reported_after=1),),
    "SYN-010": (Event(15, "07:00", "Diarrhoea", 1, 2, reported_after=1),),
    "SYN-011": (
        Event(
            16,
            "05:40",
            INFARCTION,
            4,
            12,
            related=True,
            seriousness=("life-threatening", "hospitalisation"),
            name="serious",
            action="drug withdrawn",
            narrative="Chest pain two days after the third infusion, troponin raised; coronary stent. Synthetic.",
        ),
    ),
    "SYN-013": (
        Event(
            33,
            "08:00",
            MENSTRUATION,
            3,
            7,
            seriousness=("hospitalisation",),
            reported_after=1,
            name="serious",
            narrative="Admitted for transfusion at a platelet count of 5. Synthetic.",
        ),
    ),
    "SYN-015": (Event(7, "15:00", "Fever", 1, 1, related=True),),
    "SYN-016": (
        Event(
            75,
            "22:10",
            GI,
            3,
            11,
            seriousness=("hospitalisation",),
            reported_after=4,
            known_after=1,  # known on the next day, entered three days later: the protocol's clock allows one
            name="serious",
            action="not applicable",
            narrative="Haematemesis; the site learned of it from the admitting ward. Synthetic.",
        ),
    ),
    "SYN-017": (Event(21, "13:00", "Diarrhoea", 1, 2, related=True, reported_after=1),),
    "SYN-019": (Event(50, "19:00", "Upper respiratory infection", 1, 5, reported_after=2),),
    "SYN-020": (Event(-2, "10:00", "Epistaxis", 1, 1),),
    "SYN-021": (Event(14, "14:00", "Headache", 1, 1, related=True),),
}
"""By subject. SYN-020's lies before the first infusion."""


def adverse_events(stage: Stage, case: Case, patient: Patient) -> Line:
    """All events of a subject, each from its report to its end."""
    for event in sorted(EVENTS.get(patient.number, ()), key=lambda e: (e.day + e.reported_after, e.clock)):
        begun = at(patient.first_infusion, event.clock, days=event.day)
        entered = (
            begun + timedelta(hours=1)
            if not event.reported_after
            else at(begun.date(), "10:00", days=event.reported_after)
        )
        yield entered
        report = report_event(stage, case, patient, event)
        yield entered + timedelta(minutes=20)
        _assess(stage, case, event, report)
        if event.lasts:
            stage.play.follow(_follow_up(stage, case, patient, event, report))


def report_event(stage: Stage, case: Case, patient: Patient, event: Event) -> Sent:
    """The site reports an event as it knows it now."""
    begun = at(patient.first_infusion, event.clock, days=event.day)
    known = stage.play.now if event.known_after is None else at(begun.date(), "16:00", days=event.known_after)
    return case.record(
        stage.cast.coordinator,
        "AdverseEventReported",
        term=event.term,
        grade=event.grade,
        grading=GRADING,
        serious=bool(event.seriousness),
        seriousness=list(event.seriousness) or None,
        action_taken=event.action,
        outcome="not recovered" if event.lasts else event.outcome,
        started_at=stamp(begun),
        ended_at=None if event.lasts else stamp(begun + timedelta(minutes=40)),
        ongoing=bool(event.lasts),
        narrative=event.narrative,
        aware_at=stamp(known),
        occurred_at=stamp(begun),
        keep=event.name,
    )


def _assess(stage: Stage, case: Case, event: Event, report: Sent) -> None:
    opinion: dict[str, Any] = {
        "adverse_event": report.jti,
        "causality": "possibly related" if event.related else "not related",
        "related": event.related,
    }
    case.record(stage.cast.investigator, "AdverseEventAssessed", party="investigator", **opinion)
    if not event.seriousness:
        return
    expected = "unexpected" if event.related else "expected"
    case.record(
        stage.cast.safety_officer,
        "AdverseEventAssessed",
        party="sponsor",
        expectedness=expected,
        reference_document="Synthetic investigator's brochure, edition 2",
        **opinion,
    )
    if event.related:
        stage.play.follow(_urgent_report(stage, case, report))


def _urgent_report(stage: Stage, case: Case, report: Sent) -> Line:
    """A suspected unexpected serious reaction goes to the authority within seven days."""
    yield stage.play.now + timedelta(days=4)
    case.record(
        stage.cast.safety_officer,
        "SafetyReportSubmitted",
        adverse_event=report.jti,
        recipient="Synthetic authority",
        jurisdiction="CN",
        report_type="initial",
        expedited="7 days",
        reference="SYN-SUSAR-1",
    )


def _follow_up(stage: Stage, case: Case, patient: Patient, event: Event, report: Sent) -> Line:
    """The event ends; the site enters it at the next occasion."""
    ended = at(patient.first_infusion, "12:00", days=event.day + event.lasts)
    yield max(ended + timedelta(days=1), stage.play.now + timedelta(hours=2))
    case.record(
        stage.cast.coordinator,
        "AdverseEventFollowedUp",
        adverse_event=report.jti,
        outcome=event.outcome,
        ended_at=stamp(ended),
        ongoing=False,
        aware_at=stage.play.stamp(),
    )
