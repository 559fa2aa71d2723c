"""A subject's way through the study: screened, transferred, enrolled, followed, ended.

What is recorded here are facts, as they are known; enrolment alone is a decision (`enrolment`). Findings about
how they were recorded stand in `conduct`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from ledger.domain import enrolment
from ledger.domain.consent import CONSENT_RULES
from ledger.domain.context import Context
from ledger.domain.interpretation import SUBJECT_DECISION
from ledger.domain.model import (
    Code,
    CodedTerm,
    Decimal,
    Decision,
    EventId,
    EventModel,
    Fact,
    Label,
    Part,
    PartialTime,
    Reason,
    Scalar,
    SubjectNumber,
    Text,
)
from ledger.domain.roles import DATA_MANAGER, INVESTIGATOR, SITE_STAFF, SYSTEM

RECORDERS = SITE_STAFF | SYSTEM
MAX_ITEMS = 200  # items of one instrument: the longest questionnaires in use have about 130


class Arm(Part):
    """An arm of a study, as a source names it."""

    code: Label
    name: Label | None = None


class SubjectScreened(Fact):
    """A person was screened for the study and given a subject number."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("number",)
    words = "screened the subject as {number} ({population})"
    rules = ("SUBJECT-2", "SUBJECT-3", "SUBJECT-5")

    number: SubjectNumber | None = None
    population: Literal["patient", "healthy-control"] | None = None
    sex: Literal["female", "male", "unknown"] | None = None
    birth_date: PartialTime | None = None
    childbearing_potential: bool | None = None
    age: Decimal | None = None
    age_unit: Label | None = None
    race: Label | None = None
    ethnicity: Label | None = None
    country: Label | None = None
    local_number: Label | None = None
    planned_arm: Arm | None = None
    actual_arm: Arm | None = None
    consented_at: PartialTime | None = None
    reference_started_at: PartialTime | None = None
    reference_ended_at: PartialTime | None = None
    first_treated_at: PartialTime | None = None
    last_treated_at: PartialTime | None = None
    participation_ended_at: PartialTime | None = None
    died: bool | None = None
    died_at: PartialTime | None = None


class SubjectRescreened(Fact):
    """A subject was screened again after a screen failure."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "screened the subject again: {reason}"
    rules = ("SUBJECT-5",)

    reason: Reason | None = None
    number: SubjectNumber | None = None


class SubjectTransferred(Fact):
    """A subject moved to another site of the study."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("to_site",)
    words = "transferred the subject from site {from_site} to site {to_site}: {reason}"
    rules = ("SITE-4",)

    from_site: Label | None = None
    to_site: Label | None = None
    reason: Reason | None = None


class SubjectEnrolled(Decision):
    """An investigator enrolled the subject into a cohort."""

    recorders = INVESTIGATOR
    words = "enrolled the subject into cohort {cohort}"
    rules = (
        *SUBJECT_DECISION,
        *CONSENT_RULES,
        *(f"ENROL-{number}" for number in range(1, 8)),
        *("COHORT-1", "COHORT-2", "COHORT-3", "COHORT-4", "COHORT-12", "BASIS-1"),
    )

    cohort: Label
    reason: Reason | None = None


class HistoryRecorded(Fact):
    """Something in the subject's medical history, present or asked for and absent."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("term",)
    words = "recorded the medical history: {term}"
    rules = ("CONSENT-8", "TIME-5")

    term: Text | None = None
    code: Code | None = None
    coding: list[CodedTerm] | None = None
    category: Label | None = None
    present: bool | None = None
    severity: Label | None = None
    onset_date: PartialTime | None = None
    end_date: PartialTime | None = None
    ongoing: bool | None = None
    details: Annotated[dict[Label, Scalar], Field(max_length=MAX_ITEMS)] | None = None


class MedicationRecorded(Fact):
    """A medication that the subject takes or took, other than the study treatment."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("name",)
    words = "recorded the {category} medication {name}"
    rules = ("CONSENT-8", "MEDICATION-1", "TIME-5")

    name: Text | None = None
    code: Code | None = None
    coding: list[CodedTerm] | None = None
    drug_class: Label | None = None
    category: Literal["prior", "concomitant", "rescue", "prohibited"] | None = None
    indication: Text | None = None
    start_date: PartialTime | None = None
    end_date: PartialTime | None = None
    ongoing: bool | None = None
    response: Label | None = None
    dose: Decimal | None = None
    dose_text: Label | None = None
    dose_unit: Label | None = None
    dose_form: Label | None = None
    frequency: Label | None = None
    route: Label | None = None


class ProcedureRecorded(Fact):
    """A procedure that the subject underwent, before or during the study."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("name",)
    words = "recorded the procedure {name}"
    rules = ("CONSENT-8", "TIME-5", "PERSON-1")

    name: Text | None = None
    code: Code | None = None
    coding: list[CodedTerm] | None = None
    category: Label | None = None
    date: PartialTime | None = None
    end_date: PartialTime | None = None
    indication: Text | None = None
    outcome: Label | None = None


class VisitRecorded(Fact):
    """A visit took place, or did not."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "recorded the visit {visit}"
    rules = ("CONSENT-8", "SPECIMEN-1", "SPECIMEN-2", "SPECIMEN-3", "PERSON-1")

    planned: Label | None = None
    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    contact: Literal["in person", "telephone", "video", "other"] | None = None
    unplanned_reason: Text | None = None


class AssessmentRecorded(Fact):
    """An examination by a named instrument: ECOG, ECG, weight, bleeding scale, questionnaire."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("instrument",)
    words = "recorded an assessment by {instrument}: {items}"
    rules = ("CONSENT-5", "CONSENT-8", "SPECIMEN-1", "SPECIMEN-2", "SPECIMEN-3", "PERSON-1")

    instrument: Label | None = None
    version: Label | None = None
    code: Code | None = None
    items: Annotated[dict[Label, Scalar], Field(max_length=MAX_ITEMS)] | None = None
    units: Annotated[dict[Label, Label], Field(max_length=MAX_ITEMS)] | None = None
    planned: Label | None = None
    method: Label | None = None
    interpretation: Text | None = None


class TreatmentDiscontinued(Fact):
    """The study treatment of this subject was ended early; follow-up goes on."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    stopping = True
    words = "discontinued the study treatment: {reason}"
    rules = ("INFUSION-16",)

    reason: Reason | None = None
    treatment: Label | None = None
    adverse_event: EventId | None = None


class SubjectWithdrawn(Fact):
    """The subject left the study, by own wish or by a decision of investigator or sponsor."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    stopping = True
    words = "withdrew the subject from the study: {reason}"
    rules = ("INFUSION-16",)

    reason: Reason | None = None
    by: Literal["subject", "investigator", "sponsor"] | None = None


class SubjectCompleted(Fact):
    """The subject completed the study as planned."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "recorded that the subject completed the study"
    rules = ("INFUSION-16",)


class SubjectDied(Fact):
    """The subject died; `occurred_at` is the time of death."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    stopping = True
    words = "recorded the subject's death: {cause}"
    rules = ("INFUSION-16", "SUBJECT-4", "SAFETY-4")

    cause: Text | None = None
    code: Code | None = None
    autopsy: bool | None = None
    adverse_event: EventId | None = None


class DispositionRecorded(Fact):
    """A milestone or end of the subject's participation: screen failure, completion, an imported disposition."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("term",)
    words = "recorded the disposition {term}"
    rules = ("TIME-3", "TIME-4", "SITE-3", "SITE-4")

    term: Text | None = None
    decoded: Label | None = None
    code: Code | None = None
    category: Label | None = None
    subcategory: Label | None = None
    reason: Text | None = None
    criteria: list[Label] | None = None


EVENTS: tuple[type[EventModel], ...] = (
    SubjectScreened,
    SubjectRescreened,
    SubjectTransferred,
    SubjectEnrolled,
    HistoryRecorded,
    MedicationRecorded,
    ProcedureRecorded,
    VisitRecorded,
    AssessmentRecorded,
    TreatmentDiscontinued,
    SubjectWithdrawn,
    SubjectCompleted,
    SubjectDied,
    DispositionRecorded,
)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = enrolment.PRECONDITIONS
