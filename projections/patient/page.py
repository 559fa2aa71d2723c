"""A patient's page: what its sections are made from, and where on it the records of each event stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property
from typing import Any

from ledger.domain.aggregate import Study, Subject
from ledger.domain.participation import protocol_of, site_of, zone_of
from ledger.domain.record import Record
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
    "reviews": ("AuditTrailReviewed", "AccessReviewed", "ReplayApproved"),
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
