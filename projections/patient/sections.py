"""The sections of a patient's page: for each kind of record the entries, and what the domain derives from them.

Each is a function of the study, the subject and the moment of reading, and asks the domain's own functions; none
decides anything anew. Where the protocol says nothing about a matter its section says so by being empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any

from ledger.domain import adverse_event, consent, dose_level, eligibility, pregnancy, product, query, specimen
from ledger.domain.administration import numbers
from ledger.domain.aggregate import Study, Subject
from ledger.domain.basis import basis_changed
from ledger.domain.moments import happened
from ledger.domain.participation import given, protocol_of, screened, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.study import site_time_zone
from ledger.protocol import ResolvedProtocol
from projections.entries import Entries
from projections.subjects import Line

SECTIONS: dict[str, tuple[str, ...]] = {
    "screening": ("SubjectScreened", "SubjectRescreened", "SubjectTransferred"),
    "consent": ("ConsentGiven", "ConsentDeclined", "ConsentWithdrawn"),
    "eligibility": ("EligibilityAssessed", "EligibilityDecided"),
    "enrolment": ("SubjectEnrolled",),
    "treatment": (
        "InfusionAuthorised",
        "IdentityChecked",
        "InfusionGiven",
        "InfusionWithheld",
        "TreatmentAdministered",
        "TreatmentDiscontinued",
    ),
    "specimens": ("SpecimenDrawn", "SpecimenReceived", "SpecimenProcessed", "SpecimenDiscarded"),
    "labs": ("LabResultReported", "ResultReviewed"),
    "adverse_events": (
        "AdverseEventReported",
        "AdverseEventFollowedUp",
        "AdverseEventAssessed",
        "SafetyReportSubmitted",
        "DoseLimitingToxicityAdjudicated",
    ),
    "pregnancies": ("PregnancyReported",),
    "medications": ("MedicationRecorded",),
    "history": ("HistoryRecorded",),
    "procedures": ("ProcedureRecorded",),
    "assessments": ("AssessmentRecorded",),
    "visits": ("VisitRecorded",),
    "participation": ("SubjectWithdrawn", "SubjectCompleted", "SubjectDied", "DispositionRecorded"),
    "deviations": ("DeviationRecorded", "DeviationAssessed"),
    "queries": ("QueryOpened", "QueryAnswered", "QueryClosed", "QueryReopened"),
    "signatures": ("RecordsSigned", "SourceVerified", "Countersigned", "SignatureWithdrawn", "AttributionDisputed"),
    "acts": ("EntryCorrected", "EntryVoided", "DecisionReversed", "FieldsRedacted", "RefusalAdopted"),
    "freezes": ("RecordsFrozen", "RecordsUnfrozen"),
    "reviews": ("AuditTrailReviewed", "AccessReviewed", "ReplayApproved", "EventSkipped"),
}
"""Where on the page the records of each event stand; every event that can be about a subject has its place."""


@dataclass(frozen=True)
class Page:
    """What the sections of one page are made from."""

    study: Study
    subject: Subject
    line: Line
    order: int | None
    moment: datetime
    entries: Entries

    @cached_property
    def protocol(self) -> ResolvedProtocol | None:
        """The protocol in force at the subject's site."""
        return protocol_of(self.study, self.subject)

    @cached_property
    def zone(self) -> tzinfo | None:
        """The zone in which times without offset are read."""
        return zone_of(self.study, site_of(self.subject))

    def records(self, section: str) -> list[Record]:
        """Every record of a section, standing or not, in index order."""
        by_event = self.subject.records.by_event
        found = [record for event in SECTIONS[section] for record in by_event.get(event, ())]
        return sorted(found, key=lambda record: record.index)

    def listed(self, section: str) -> list[dict[str, Any]]:
        """The entries of a section."""
        return self.entries.all(self.records(section))


def identity(page: Page) -> dict[str, Any]:
    """Who the subject is in this study."""
    subject, line = page.subject, page.line
    population = None if page.protocol is None else page.protocol.definition.populations.get(line.population or "")
    return {
        "id": str(subject.id),
        "number": line.number,
        "population": line.population,
        "population_label": None if population is None else population.label,
        "sex": line.sex,
        "birth_date": screened(subject, "birth_date"),
        "childbearing_potential": screened(subject, "childbearing_potential"),
        "site": line.site,
        "time_zone": site_time_zone(page.study, line.site),
        "status": line.status,
        "protocol": None if page.protocol is None else page.protocol.label,
        "events": len(subject.records),
        "last_index": subject.records.last_index,
        "screening": page.listed("screening"),
        "participation": page.listed("participation"),
    }


def consents(page: Page) -> dict[str, Any]:
    """Whether consent to take part stands, what is withdrawn, and every consent asked for."""
    asked = consent.declared(page.protocol, page.line.population)
    found = consent.status(page.study, page.subject, page.moment.isoformat())
    return {
        "asked": asked,
        "standing": found.standing,
        "because": found.because,
        "indexes": list(found.indexes),
        "withdrawn": sorted(found.withdrawn),
        "entries": page.listed("consent"),
    }


def criteria(page: Page) -> dict[str, Any]:
    """Each criterion with the machine's verdict and the investigator's, and the decision with what changed since."""
    state = eligibility.assess(page.study, page.subject) if page.protocol is not None else None
    decision = eligibility.standing(page.subject)
    listed = [] if state is None else [_criterion(page, name, one) for name, one in state.criteria.items()]
    return {
        "asked": eligibility.declared(page.study, page.subject),
        "permits": None if state is None else bool(state),
        "failing": [] if state is None else sorted(state.failing),
        "unknown": [] if state is None else sorted(state.unknown),
        "criteria": listed,
        "decision": None if decision is None else _decided(page, decision),
        "entries": page.listed("eligibility"),
    }


def _criterion(page: Page, name: str, state: eligibility.CriterionState) -> dict[str, Any]:
    assert page.protocol is not None
    criterion, verdict = page.protocol.definition.criteria[name], state.verdict
    return {
        "id": name,
        "code": criterion.code,
        "category": criterion.category,
        "text": criterion.text,
        "evaluation": criterion.evaluation,
        "verdict": verdict.value.value,
        "permits": verdict.permits,
        "because": list(verdict.because),
        "inputs": [dict(one._asdict()) for one in verdict.inputs],
        "open_ambiguities": list(verdict.ambiguities),
        "read_as": dict(verdict.read_as),
        "investigator": state.investigator,
        "assessed": state.assessed,
        "differs": state.differs,
        "fails": state.fails,
    }


def _decided(page: Page, decision: Record) -> dict[str, Any]:
    """A decision with what it was made on, and what of that has changed since."""
    changed = basis_changed(page.study, page.subject, decision)
    return {**page.entries.of(decision), "cut": decision.cut, "basis_changed": changed}


def enrolment(page: Page) -> dict[str, Any] | None:
    """Cohort, dose and place; None for who is not enrolled."""
    seat = page.subject.records.last("SubjectEnrolled")
    if seat is None:
        return None
    cohort, protocol = seat.get("cohort"), page.protocol
    planned = None if protocol is None else protocol.definition.cohorts.get(cohort)
    treatment = None if protocol is None else protocol.definition.treatment
    return {
        "cohort": cohort,
        "label": None if planned is None else planned.label,
        "dose": None if protocol is None else dose_level.dose_of(page.study, protocol, cohort),
        "dose_unit": None if treatment is None else treatment.dose_unit,
        "order": page.order,
        "decision": _decided(page, seat),
    }


def treatment(page: Page) -> dict[str, Any]:
    """Each administration with its authorisation, identity check and product unit; what was withheld."""
    planned = None if page.protocol is None else page.protocol.definition.treatment
    events = ("InfusionGiven", "TreatmentAdministered") if planned is None else (planned.event,)
    doses = [record for event in events for record in given(page.subject, page.zone, event)]
    return {
        "product": None if planned is None else planned.product,
        "planned_number": None if planned is None else planned.number,
        "administrations": [
            _administration(page, record, number) for record, number in zip(doses, numbers(doses), strict=True)
        ],
        "entries": page.listed("treatment"),
    }


def _administration(page: Page, record: Record, number: int) -> dict[str, Any]:
    records = page.subject.records
    authorised = [r for r in records.of("InfusionAuthorised") if r.get("number") == number]
    checked = [r for r in records.of("IdentityChecked") if r.done and r.get("number") in (number, None)]
    checked = [r for r in checked if r.get("product") in (record.get("product"), None)]
    excluded = None
    if page.protocol is not None and pregnancy.is_asked(page.protocol, page.subject):
        excluded = pregnancy.excluded(page.protocol, page.subject, happened(record), None, page.zone)
    return {
        "number": number,
        "index": record.index,
        "event_id": record.jti,
        "given_at": happened(record),
        "dose": record.get("dose") or record.get("cells_per_kg"),
        "outcome": record.get("outcome"),
        "interruptions": record.get("interruptions") or [],
        "authorisation": None if not authorised else authorised[-1].index,
        "identity_check": None if not checked else {"index": checked[-1].index, "matched": checked[-1].get("matched")},
        "unit": None if record.get("product") is None else _unit(page, record.get("product")),
        "pregnancy": None
        if excluded is None
        else {"excluded": bool(excluded), "because": excluded.because, "indexes": list(excluded.indexes)},
    }


def _unit(page: Page, name: str) -> dict[str, Any]:
    found = product.unit(page.study, name)
    return {
        "id": name,
        "state": found.state,
        "registered": None if found.registered is None else found.registered.index,
        "released": None if found.released is None else found.released.index,
        "expires_at": found.expires_at,
    }


def specimens(page: Page) -> dict[str, Any]:
    """Each specimen with its way, and the results that name it."""
    by_name: dict[str, dict[str, Any]] = {}
    for record in page.records("specimens"):
        name = record.get("specimen")
        if isinstance(name, str):
            one = by_name.setdefault(name, {"specimen": name, "entries": [], "results": [], "standing": "never drawn"})
            one["entries"].append(record.index)
            if record.done:
                one["standing"] = record.event.removeprefix("Specimen").lower()
    for record in page.subject.records.of("LabResultReported"):
        name = record.get("specimen")
        if isinstance(name, str) and name in by_name:
            by_name[name]["results"].append(record.index)
    for name, records in specimen.drawn(page.subject).items():
        by_name[name]["drawn_at"] = happened(records[0])
        by_name[name]["planned"] = records[0].get("planned")
    return {"specimens": list(by_name.values()), "entries": page.listed("specimens")}


def labs(page: Page) -> dict[str, Any]:
    """Each result with the study's own name for the analyte, and what a physician said of it."""
    reviewed = {r.get("result"): r for r in page.subject.records.of("ResultReviewed") if r.done}
    listed = []
    for record in page.subject.records.by_event.get("LabResultReported", ()):
        key = None if page.protocol is None else page.protocol.analytes.key(record.content)
        review = reviewed.get(record.jti)
        listed.append(
            {
                **page.entries.of(record),
                "analyte": key,
                "analyte_label": None
                if key is None or page.protocol is None
                else page.protocol.definition.analytes[key].label,
                "significance": None if review is None else review.get("significance"),
                "reviewed": None if review is None else review.index,
            }
        )
    return {"results": listed, "reviews": page.entries.all(page.subject.records.by_event.get("ResultReviewed", ()))}


def adverse_events(page: Page) -> dict[str, Any]:
    """Each adverse event as it is known now, by party; toxicities; the reporting clocks."""
    limiting = {record.get("adverse_event"): record.index for record in dose_level.toxicities(page.subject)}
    return {
        "events": [_adverse_event(one, limiting) for one in adverse_event.adverse_events(page.subject)],
        "clocks": [_clock(page, one) for one in adverse_event.clocks(page.protocol, page.subject, page.zone)],
        "entries": page.listed("adverse_events"),
    }


def _adverse_event(one: adverse_event.AdverseEvent, limiting: dict[Any, int]) -> dict[str, Any]:
    names = ("term", "grade", "serious", "seriousness", "outcome", "started_at", "ended_at", "ongoing")
    return {
        "index": one.report.index,
        "event_id": one.report.jti,
        **{name: one.get(name) for name in names},
        "highest_grade": one.highest_grade(),
        "fatal": one.fatal,
        "follow_ups": [record.index for record in one.records[1:]],
        "assessments": {
            party: [{"index": r.index, "related": r.get("related"), "causality": r.get("causality")} for r in records]
            for party, records in one.assessments.items()
        },
        "reports": [record.index for record in one.submissions],
        "dose_limiting": limiting.get(one.report.jti),
    }


def _clock(page: Page, one: adverse_event.Clock) -> dict[str, Any]:
    overdue = one.met_by is None and one.due_at is not None and page.moment > one.due_at
    return {
        "clock": one.clock,
        "text": one.text,
        "adverse_event": one.event.report.index,
        "started": one.started.index,
        "starts_at": one.starts_at,
        "due_at": None if one.due_at is None else one.due_at.isoformat(),
        "met_by": None if one.met_by is None else one.met_by.index,
        "met_at": one.met_at,
        "late": one.late(page.zone),
        "overdue": overdue,
    }


def queries(page: Page) -> dict[str, Any]:
    """Each query with its state."""
    records = page.subject.records
    opened = records.by_event.get("QueryOpened", ())
    return {
        "queries": [
            {
                "index": one.index,
                "event_id": one.jti,
                "state": query.state(records, one),
                "record": (one.body.get("record") or {}).get("jti"),
                "field": one.body.get("field"),
                "question": one.get("question"),
            }
            for one in opened
        ],
        "entries": page.listed("queries"),
    }


def signatures(page: Page) -> dict[str, Any]:
    """Electronic signatures: decisions and whatever else has a meaning, with its manifestation."""
    signed = [record for record in page.subject.records if record.meaning is not None]
    return {
        "signatures": [_signature(page, record) for record in signed],
        "entries": page.listed("signatures"),
    }


def _signature(page: Page, record: Record) -> dict[str, Any]:
    """Who, when, with which meaning (21 CFR 11.50)."""
    actor = page.study.authority.actors.get(record.iss)
    return {
        "index": record.index,
        "event": record.event,
        "signed_by": record.iss,
        "organisation": None if actor is None else actor.organisation,
        "role": record.role,
        "signed_at": record.iat,
        "recorded_at": record.recorded_at,
        "meaning": record.meaning,
        "cut": record.cut,
        "withdrawn_at": record.withdrawn_at,
        "records": [named["jti"] for named in record.body.get("records") or ()],
    }


def plain(page: Page, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Sections that are their entries and no more."""
    return {name: page.listed(name) for name in names}
