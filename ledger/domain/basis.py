"""What a decision rested on, and what has changed of it since the cut that it was made on.

 BASIS-1  a decision stands, and what it rested on has changed since its cut
A decision names the state it was made on by its cut. What changes its basis is: a correction, void or reversal
that takes effect after the cut and touches a record that the decision rests on; a relevant fact recorded
between the cut and the decision; one recorded later that happened before it. What happened after a decision
does not change its basis, though the next decision has to take it in (`changes_since`). Source: ICH E6(R3) 4 (c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING

from ledger.domain.moments import decided, happened, surely_before
from ledger.domain.participation import site_of, zone_of
from ledger.domain.record import Record, Records
from ledger.domain.refusals import Finding, FindingRule

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.context import Roster

_SCREENING = frozenset(
    {
        "AssessmentRecorded",
        "ConsentGiven",
        "ConsentWithdrawn",
        "EligibilityAssessed",
        "HistoryRecorded",
        "LabResultReported",
        "MedicationRecorded",
        "ProcedureRecorded",
        "SubjectScreened",
    }
)
SAFETY = frozenset(
    {
        "AdverseEventAssessed",
        "AdverseEventFollowedUp",
        "AdverseEventReported",
        "DoseLimitingToxicityAdjudicated",
        "InfusionGiven",
        "InfusionWithheld",
        "PregnancyReported",
        "SubjectDied",
        "SubjectEnrolled",
        "SubjectWithdrawn",
        "TreatmentAdministered",
        "TreatmentDiscontinued",
    }
)
"""What a safety review of a cohort looks at."""

_UNITS = frozenset(
    {
        "ProductDisposed",
        "ProductPrepared",
        "ProductReleaseRevoked",
        "ProductReleased",
        "ProductUnitRegistered",
    }
)

RESTS_ON: dict[str, frozenset[str]] = {
    "EligibilityDecided": _SCREENING,
    "SubjectEnrolled": _SCREENING | {"EligibilityDecided"},
    "InfusionAuthorised": frozenset(
        {
            "AssessmentRecorded",
            "ConsentGiven",
            "ConsentWithdrawn",
            "InfusionGiven",
            "InfusionWithheld",
            "LabResultReported",
            "PregnancyReported",
            "SubjectEnrolled",
            "SubjectWithdrawn",
            "TreatmentAdministered",
            "TreatmentDiscontinued",
        }
    ),
    "SafetyReviewConcluded": SAFETY,
    "DoseSelected": SAFETY | {"SafetyReviewConcluded"},
}
"""The events that a decision rests on."""

_ACTS = frozenset({"EntryCorrected", "EntryVoided", "DecisionReversed"})


class BasisChanged(FindingRule):
    """A decision stands, and what it rested on has changed since the state that it was made on."""

    rule = "BASIS-1"
    source = "ICH E6(R3) 4 (c), 4.2.2"


def cut_size(decision: Record) -> int:
    """The size of the state that a decision was made on; of a transcribed one, all below its own index."""
    return int(decision.cut["size"]) if decision.cut is not None else decision.index


def changes_since(records: Records, size: int, events: frozenset[str]) -> Iterator[Record]:
    """What happened to these events from index `size` on, newest first: new ones, and acts on them that count."""
    for record in reversed(records.by_jti.values()):
        if record.index < size:
            return
        if record.event in events:
            yield record
        elif record.event in _ACTS and not record.pending and record.countersigned_at is None:
            if _original(records, record).event in events:
                yield record
        elif record.event == "Countersigned":
            act = records.target_of(record)
            if act is not None and act.event in _ACTS and _original(records, act).event in events:
                yield record


def _original(records: Records, act: Record) -> Record:
    """The record that an act is about in the end; of the void of a void, what was voided first."""
    target = records.target_of(act)
    while target is not None and target.event in _ACTS:
        act, target = target, records.target_of(target)
    return target if target is not None else act


def basis_changed(study: Study, subjects: Subject | Iterable[Subject] | None, decision: Record) -> list[int]:
    """Indexes of what changed a decision's basis since its cut, in order; empty for one that does not stand.

    `subjects`: whom it is about: the subject itself, or all subjects of the cohorts that the decision looked at.
    """
    events = RESTS_ON.get(decision.event)
    if events is None or not decision.stands:
        return []
    size = cut_size(decision)
    several: list[Subject] = [] if subjects is None else _listed(subjects)
    found: set[int] = set()
    for subject in several:
        zone = zone_of(study, site_of(subject))
        for record in changes_since(subject.records, size, events):
            if record is not decision and _matters(subject.records, record, decision, zone):
                found.add(record.index)
    if decision.event == "InfusionAuthorised" and decision.get("product") is not None:
        unit = f"product/{decision.get('product')}"
        found |= {r.index for r in changes_since(study.records, size, _UNITS) if r.sub == unit}
    if decision.event == "DoseSelected":
        found |= {r.index for r in changes_since(study.records, size, events) if r.event == "DecisionReversed"}
    return sorted(found)


def _listed(subjects: Subject | Iterable[Subject]) -> list[Subject]:
    return list(subjects) if isinstance(subjects, Iterable) else [subjects]


def _matters(records: Records, record: Record, decision: Record, zone: tzinfo | None) -> bool:
    if record.event in _ACTS or record.event == "Countersigned":
        target = _original(records, record)
        return target.index < decision.index or _before(target, decision, zone)
    return record.index < decision.index or _before(record, decision, zone)


def _before(record: Record, decision: Record, zone: tzinfo | None) -> bool:
    return record.kind == "fact" and surely_before(happened(record), decided(decision), zone)


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """BASIS-1 for the decisions about one subject."""
    for name in ("EligibilityDecided", "SubjectEnrolled", "InfusionAuthorised"):
        decisions = subject.records.of(name)
        for decision in decisions[-1:] if name == "EligibilityDecided" else decisions:
            changed = basis_changed(study, subject, decision)
            if changed:
                because = f"{name} at index {decision.index}, on the state of size {cut_size(decision)}"
                yield BasisChanged.found(because, (decision.index, *changed), subject.label, decision.site)


def cohort_findings(study: Study, roster: Roster, load: Callable[[str], Subject | None]) -> Iterator[Finding]:
    """BASIS-1 for the newest review of each cohort, and for the selections of a dose."""
    reviews = {record.sub: record for record in study.records.of("SafetyReviewConcluded")}
    chosen = {record.get("cohort"): record for record in study.records.of("DoseSelected")}
    for decision in (*reviews.values(), *chosen.values()):
        about = decision.sub.partition("/")[2]
        seats = roster.of_cohort(about) if about else roster.seats.values()
        subjects = (subject for subject in (load(seat.subject) for seat in seats) if subject is not None)
        changed = basis_changed(study, subjects, decision)
        if changed:
            because = f"{decision.event} at index {decision.index}, on the state of size {cut_size(decision)}"
            yield BasisChanged.found(because, (decision.index, *changed), None, decision.site)
