"""The course of the study: treatment, dose levels, escalation, consent, time points, safety, outcomes.

Null stands for what the record does not say; an interpretation or an amendment supplies it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ledger.protocol.model.base import (
    Count,
    Decimal,
    Entries,
    Entry,
    EventName,
    Id,
    Items,
    Length,
    Name,
    Offset,
    OneOrMore,
    Part,
    PositiveDecimal,
    Text,
    Unit,
)
from ledger.protocol.quantities import decimal

SELECTED = "selected"
"""The dose of a cohort whose dose is chosen later, by DoseSelected."""


def _dose(value: str) -> str:
    if value != SELECTED and decimal(value) <= 0:
        raise ValueError(f"{value!r} is not more than 0")
    return value


Dose = Annotated[str, AfterValidator(_dose)]
"""A decimal in the unit of the treatment, or `selected`."""
Positive = Annotated[int, Field(ge=1, le=10_000)]
Sex = Literal["female", "male"]


class Requires(Part):
    """Which rules the study is held to; a rule that is not declared finds and refuses nothing.

    consent: a current consent before any procedure; eligibility: decided before enrolment; safety_review:
    concluded before the next level opens; infusion_authorisation, product_release, identity_check: before an
    infusion; specimens: a result names its specimen; dlt_and_stopping_rules: defined before enrolment.
    """

    consent: bool = False
    eligibility: bool = False
    safety_review: bool = False
    infusion_authorisation: bool = False
    product_release: bool = False
    identity_check: bool = False
    specimens: bool = False
    dlt_and_stopping_rules: bool = False


class Treatment(Part):
    """What is given, how often, how much; `event` is the fact that records one administration."""

    product: Name
    route: Name
    event: EventName
    number: Positive
    interval: Length | None = None
    dose_unit: Unit
    per_kilogram: bool = False
    timepoints: Items[Id] = ()
    interval_window_before: Length | None = None
    interval_window_after: Length | None = None
    missed_dose: Literal["skip", "shift"] | None = None
    weight: Literal["screening", "day of administration"] | None = None
    dose_tolerance_percent: Decimal | None = None
    duration: Length | None = None
    product_identity: Items[Name] = ()
    note: Text | None = None


class Cohort(Entry):
    """Seats at one dose; `after` names the cohort that must be concluded first, `order` the dose level."""

    label: Name
    purpose: Literal["escalation", "expansion", "other"]
    dose: Dose | None = None
    seats: Count | None = None
    order: Positive | None = None
    after: Id | None = None
    note: Text | None = None


class Span(Part):
    """A range of counts; null is no limit on that side."""

    min: Count = 0
    max: Count | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Span:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} lies below min {self.min}")
        return self

    def holds(self, count: int) -> bool:
        """Whether the count lies in it."""
        return self.min <= count and (self.max is None or count <= self.max)


class EscalationRule(Part):
    """For so many subjects evaluated and so many of them with a dose-limiting toxicity, what follows.

    escalate: the next level may open, or at the top the dose may be chosen; add: so many more seats at this
    level; stop: nobody more at this level, and no level above it.
    """

    evaluated: Span
    dlts: Span
    action: Literal["escalate", "add", "stop"]
    seats: Positive | None = None
    text: Text | None = None

    @model_validator(mode="after")
    def _seats_to_add(self) -> EscalationRule:
        if (self.action == "add") != (self.seats is not None):
            raise ValueError("action add needs seats, and no other action has them")
        return self


class EscalationPolicy(Entry):
    """How levels follow each other; the first rule that fits counts."""

    label: Name
    text: Text
    rules: Annotated[Items[EscalationRule], Field(min_length=1)]


class Escalation(Part):
    """The policy in force, and all that the file knows; how far apart subjects start, who replaces whom."""

    policy: Id
    stagger: Length | None = None
    replacement: Text | None = None
    policies: Entries[EscalationPolicy]


class DoseLimitingToxicity(Part):
    """What counts as dose-limiting, and for how long after which anchor it is watched for."""

    definition: Text | None = None
    window: Length | None = None
    window_from: Id | None = None
    review_body: Name | None = None


class StoppingRule(Entry):
    """When the study or a cohort stops; `dlts` subjects with a dose-limiting toxicity where it is counted."""

    text: Text
    dlts: Positive | None = None
    scope: Literal["cohort", "study"] = "study"


class Consent(Part):
    """Consent before any procedure; no language named means every language with an approved document."""

    populations: OneOrMore[Id]
    languages: Items[Name] = ()
    reconsent_on_new_version: bool | None = None
    note: Text | None = None


class Pregnancy(Part):
    """Who is tested for pregnancy, with what, and for how long a test counts (`valid_for`)."""

    sex: Sex = "female"
    analyte: Id
    contraception: bool = False
    before_each_administration: bool | None = None
    valid_for: Length | None = None
    stops_treatment: bool | None = None
    through: Text | None = None


class Repeat(Part):
    """The time point comes again: every so often until an offset, or at further offsets from the anchor."""

    every: Length | None = None
    until: Offset | None = None
    offsets: Items[Offset] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Repeat:
        if bool(self.offsets) == (self.every is not None) or (self.every is None) != (self.until is None):
            raise ValueError("needs either every and until, or offsets")
        return self


class FirstSubjects(Part):
    """Only the first subjects: so many as enrolled, or all of some cohorts; neither is undecided."""

    text: Text
    enrolled: Positive | None = None
    cohorts: Items[Id] = ()


class Sequence(Part):
    """On which side of another time point of the same day it lies."""

    timepoint: Id
    side: Literal["before", "after"]


class Timepoint(Entry):
    """When something is due: `offset` from `anchor`, to `until` where it lasts; no window unless supplied."""

    label: Name
    activity: Name
    kind: Literal["procedure", "specimen", "administration", "observation"]
    anchor: Id | None = None
    anchor_text: Text | None = None
    offset: Offset
    until: Offset | None = None
    repeat: Repeat | None = None
    populations: OneOrMore[Id]
    sex: Sex | None = None
    childbearing_potential: bool | None = None
    first: FirstSubjects | None = None
    analytes: Items[Id] = ()
    sequence: Sequence | None = None
    window_before: Length | None = None
    window_after: Length | None = None
    source: Text | None = None
    note: Text | None = None
    ambiguities: Items[Id] = ()


class Baseline(Part):
    """Which value before an anchor a change is measured from."""

    pick: Literal["last", "lowest", "highest"]
    before: Id


class Bleeding(Part):
    """Where bleeding is read, and for how long an assessment speaks for later counts."""

    input: Id
    carried_for: Length


class ResponseClass(Entry):
    """A degree of response, by one count; best first in its table."""

    label: Name
    at_least: PositiveDecimal
    times_baseline: PositiveDecimal | None = None
    without_bleeding: bool = True


class ResponseCriteria(Entry):
    """How a response is read from counts; `occasions` at least `apart`, counts under rescue left out."""

    label: Name
    source: Text
    unit: Unit
    classes: Annotated[Entries[ResponseClass], Field(min_length=1)]
    otherwise: Name
    responders: OneOrMore[Id]
    occasions: Positive = 1
    apart: Length = "P0D"
    uninterrupted: bool = True
    after_rescue: Length | None = None


class OutcomeDefinition(Part):
    """What is computed for an outcome, as far as the record defines it."""

    kind: Literal["response", "change", "concentration", "status", "adverse-event-incidence"]
    analytes: Items[Id] = ()
    timepoints: Items[Id] = ()
    baseline: Baseline | None = None
    criteria: Id | None = None
    bleeding: Bleeding | None = None
    starts: Id | None = None
    lasts: Length | None = None
    compared_with: Id | None = None
    analysis_set: Text | None = None
    method: Text | None = None


class Outcome(Entry):
    """An outcome measure: the record's words, and what is computed."""

    type: Literal["primary", "secondary", "other"]
    order: Positive
    measure: Text
    description: Text | None = None
    time_frame: Name | None = None
    definition: OutcomeDefinition | None = None
    ambiguities: Items[Id] = ()


class Grading(Part):
    """The scale that adverse events are graded by; baseline-aware: a grade counts from the entry value."""

    scale: Name
    version: Name
    baseline_aware: bool = False


class ReportingClock(Entry):
    """By when a report is due, counted from when the reporter became aware; all of `when` must hold."""

    text: Text
    reporter: Literal["site", "sponsor"]
    when: OneOrMore[Literal["serious", "related", "unexpected", "fatal or life-threatening"]]
    due_within: Length
    source: Text


class Safety(Part):
    """Adverse events: which are asked for, from when to when, how graded, by when reported."""

    named_terms: Items[Name] = ()
    grading: Grading | None = None
    starts: Id | None = None
    primary_window: Length | None = None
    primary_window_from: Id | None = None
    captured_until: Offset | None = None
    captured_from: Id | None = None
    clocks: Entries[ReportingClock] = {}
