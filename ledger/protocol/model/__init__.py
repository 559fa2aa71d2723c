"""The protocol of a study as data: one pydantic model for the whole file.

Form only: whether references meet what they name is checked in `ledger.protocol.checks`.
"""

from __future__ import annotations

from typing import Literal

from ledger.protocol.model.base import Entries, Name, Part, StudyId, Zone
from ledger.protocol.model.course import (
    Cohort,
    Consent,
    DoseLimitingToxicity,
    Escalation,
    Outcome,
    Pregnancy,
    Requires,
    ResponseCriteria,
    Safety,
    StoppingRule,
    Timepoint,
    Treatment,
)
from ledger.protocol.model.criteria import Analyte, Anchor, Criterion, Input, Units
from ledger.protocol.model.identification import (
    Arm,
    Element,
    Identification,
    Intervention,
    PlannedEnrolment,
    Population,
    SharingPlan,
    SummaryParameter,
    Visit,
)
from ledger.protocol.model.interpretation import Ambiguity, Amendment

FORMAT = "trial-protocol/1"


class Definition(Part):
    """A protocol in one version. Every section but the first five may be left out."""

    format: Literal["trial-protocol/1"]
    study: StudyId
    version: Name
    identification: Identification
    populations: Entries[Population]
    planned_enrolment: PlannedEnrolment | None = None
    requires: Requires = Requires()
    arms: Entries[Arm] = {}
    interventions: Entries[Intervention] = {}
    units: Units = Units()
    analytes: Entries[Analyte] = {}
    anchors: Entries[Anchor] = {}
    inputs: Entries[Input] = {}
    criteria: Entries[Criterion] = {}
    treatment: Treatment | None = None
    cohorts: Entries[Cohort] = {}
    escalation: Escalation | None = None
    dlt: DoseLimitingToxicity = DoseLimitingToxicity()
    stopping_rules: Entries[StoppingRule] = {}
    consent: Consent | None = None
    pregnancy: Pregnancy | None = None
    timepoints: Entries[Timepoint] = {}
    elements: Entries[Element] = {}
    visits: Entries[Visit] = {}
    summary: Entries[SummaryParameter] = {}
    outcomes: Entries[Outcome] = {}
    response_criteria: Entries[ResponseCriteria] = {}
    safety: Safety = Safety()
    ipd: SharingPlan | None = None
    time_zone: Zone | None = None
    ambiguities: Entries[Ambiguity] = {}
    amendments: Entries[Amendment] = {}
