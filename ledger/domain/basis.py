"""What a decision rested on, and what has changed of it since the cut that it was made on.

 BASIS-1  a decision stands, and what it rested on has changed since its cut
A decision names the state it was made on by its cut. What changes its basis is: a correction, void or reversal
that takes effect after the cut and touches a record that the decision rests on; a relevant fact recorded
between the cut and the decision; one recorded later that happened before it. What happened after a decision
does not change its basis, though the next decision has to take it in (`changes_since`). Source: ICH E6(R3) 4 (c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from ledger.domain import dose_level
from ledger.domain.moments import decided, happened, surely_before
from ledger.domain.participation import site_of, zone_of
from ledger.domain.record import Record, Records
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.study import protocol_for

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
    "DoseLimitingToxicityAdjudicated": frozenset(
        {"AdverseEventAssessed", "AdverseEventFollowedUp", "AdverseEventReported"}
    ),
    "DoseSelected": SAFETY | {"SafetyReviewConcluded"},
    "CohortOpened": frozenset({"DoseSelected", "SafetyReviewConcluded"}),
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
            if records.original_of(record).event in events:
                yield record
        elif record.event == "Countersigned":
            act = records.target_of(record)
            if act is not None and act.event in _ACTS and records.original_of(act).event in events:
                yield record


def _grounds_of_opening(study: Study, opening: Record) -> list[Record]:
    """What permitted an opening, whether it stands or not: the review of the cohort before, the dose selected."""
    protocol, cohort = protocol_for(study, opening.site, opening.index), opening.sub.partition("/")[2]
    if protocol is None or cohort not in protocol.definition.cohorts:
        return []
    before = dose_level.precedes(protocol, cohort)
    reviews = [r for r in _known_to(study, opening, "SafetyReviewConcluded") if r.sub == f"cohort/{before}"]
    chosen = [r for r in _known_to(study, opening, "DoseSelected") if r.get("cohort") == cohort]
    return [*reviews[-1:], *chosen[-1:]]


def _known_to(study: Study, decision: Record, event: str) -> list[Record]:
    """The decisions that stood in the state that another one was made on, in order."""
    size, recorded = cut_size(decision), study.records.by_event.get(event, ())
    return [r for r in recorded if r.index < decision.index and (r.reversed_at is None or r.reversed_at >= size)]


def basis_changed(study: Study, subjects: Subject | Iterable[Subject] | None, decision: Record) -> list[int]:
    """Indexes of what changed a decision's basis since its cut, in order; empty for one that does not stand.

    `subjects`: whom it is about: the subject itself, or all subjects of the cohorts that the decision looked at.
    """
    events = RESTS_ON.get(decision.event)
    if events is None or not decision.stands:
        return []
    size = cut_size(decision)
    if decision.event == "CohortOpened":
        return sorted(r.reversed_at for r in _grounds_of_opening(study, decision) if r.reversed_at is not None)
    several: list[Subject] = [] if subjects is None else _listed(subjects)
    found: set[int] = set()
    for subject in several:
        zone = zone_of(study, site_of(subject))
        for record in changes_since(subject.records, size, events):
            if record is decision or not _concerns(subject.records, record, decision):
                continue
            if _matters(subject.records, record, decision, zone):
                found.add(record.index)
    if decision.event == "InfusionAuthorised" and decision.get("product") is not None:
        unit = f"product/{decision.get('product')}"
        found |= {r.index for r in changes_since(study.records, size, _UNITS) if r.sub == unit}
    if decision.event == "DoseSelected":
        found |= {r.index for r in changes_since(study.records, size, events) if r.event == "DecisionReversed"}
    return sorted(found)


def _listed(subjects: Subject | Iterable[Subject]) -> list[Subject]:
    return list(subjects) if isinstance(subjects, Iterable) else [subjects]


def _concerns(records: Records, record: Record, decision: Record) -> bool:
    """Whether a record is about what the decision is about: of an adjudication, the adverse event that it names."""
    if decision.event != "DoseLimitingToxicityAdjudicated":
        return True
    about = records.original_of(record)
    return decision.get("adverse_event") in (about.jti, about.get("adverse_event"))


def _matters(records: Records, record: Record, decision: Record, zone: tzinfo | None) -> bool:
    if record.event in _ACTS or record.event == "Countersigned":
        target = records.original_of(record)
        return target.index < decision.index or _before(target, decision, zone)
    return record.index < decision.index or _before(record, decision, zone)


def _before(record: Record, decision: Record, zone: tzinfo | None) -> bool:
    return record.kind == "fact" and surely_before(happened(record), decided(decision), zone)


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """BASIS-1 for the decisions about one subject."""
    for name in ("EligibilityDecided", "SubjectEnrolled", "InfusionAuthorised", "DoseLimitingToxicityAdjudicated"):
        decisions = subject.records.of(name)
        for decision in decisions[-1:] if name == "EligibilityDecided" else decisions:
            yield from _found(decision, basis_changed(study, subject, decision), subject.label)


def cohort_findings(study: Study, roster: Roster, load: Callable[[str], Subject | None]) -> Iterator[Finding]:
    """BASIS-1 for the newest review of each cohort, for the openings of cohorts and the selections of a dose.

    A review looked at everybody who sat in the cohort in the state it was made on, whoever sits there now.
    """
    reviews = {record.sub: record for record in study.records.of("SafetyReviewConcluded")}
    chosen = {record.get("cohort"): record for record in study.records.of("DoseSelected")}
    for decision in (*reviews.values(), *chosen.values()):
        about = decision.sub.partition("/")[2]
        people = roster.since(cut_size(decision), about or None)
        subjects = (subject for subject in map(load, people) if subject is not None)
        yield from _found(decision, basis_changed(study, subjects, decision))
    for opening in study.records.of("CohortOpened"):
        yield from _found(opening, basis_changed(study, None, opening))


def _found(decision: Record, changed: Sequence[int], subject: str | None = None) -> Iterator[Finding]:
    if changed:
        because = f"{decision.event} at index {decision.index}, on the state of size {cut_size(decision)}"
        yield BasisChanged.found(because, (decision.index, *changed), subject, decision.site)
