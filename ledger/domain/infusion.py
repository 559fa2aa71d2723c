"""Infusions and other administrations of the study treatment.

 INFUSION-1  only an enrolled subject is treated
 INFUSION-2  infusions follow each other by number, up to the protocol's number, each authorised once
 INFUSION-3  the dose is the cohort's, the same for every infusion of a subject
 INFUSION-4  the interval since the last infusion is the protocol's, as far as it gives one
 INFUSION-5  who may be pregnant has a negative test that counts
 INFUSION-6  no criterion that has to hold throughout the study fails
 INFUSION-7  nobody is treated after withdrawal, completion, discontinuation or death
 INFUSION-8  a dose per kilogram is authorised with the weight that it is reckoned from
 INFUSION-9  and that weight does not contradict the one recorded of the subject
An infusion is authorised (a decision), then identity is checked by two persons, then it is given (a fact).
Its time is `started_at` where that is known, else `occurred_at`. Which fact records an administration, how
many, how often and in which unit is the protocol's; without one nothing is asked here. Findings about what
was given stand in `administration`.
Sources: ICH E6(R3) 2.7, 2.10, 3.15; 21 CFR 312.60, 11.10(f).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ledger.domain import body_weight, cohort, consent, dose_level, eligibility, enrolment, pregnancy, product
from ledger.domain.administration import (
    interval_problem,
    next_numbers,
    numbers,
    withheld,
)
from ledger.domain.consent import CONSENT_RULES
from ledger.domain.context import Context
from ledger.domain.interpretation import SUBJECT_DECISION, nothing_is_open, subject_is_known
from ledger.domain.model import (
    Code,
    Count,
    Decimal,
    Decision,
    EventId,
    EventModel,
    Fact,
    Label,
    Part,
    PartialTime,
    Reason,
    Text,
)
from ledger.domain.moments import decided, happened
from ledger.domain.participation import death, given, screening, treatment_end, zone_of
from ledger.domain.refusals import Refusal
from ledger.domain.roles import DATA_MANAGER, INVESTIGATOR, PHARMACY, SITE_STAFF, SYSTEM
from ledger.domain.study import protocol_for, site_runs, study_runs
from ledger.protocol.quantities import decimal
from ledger.protocol.quantities import shown as in_figures

if TYPE_CHECKING:
    from ledger.protocol.model.course import Treatment


RECORDERS = SITE_STAFF | SYSTEM
GIVEN_RULES = (
    *(f"INFUSION-{number}" for number in range(11, 23)),
    *("PRODUCT-8", "PRODUCT-9", "PRODUCT-10", "PRODUCT-11"),
    *("CONSENT-5", "CONSENT-8", "SUBJECT-4", "PERSON-1"),
)
MAX_INTERRUPTIONS = 50  # interruptions of one infusion: more is a pump's log, which belongs in a document


class Interruption(Part):
    """The infusion stood still from one time to another."""

    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    reason: Text | None = None


class IdentityChecked(Fact):
    """Two persons compared the label of the product with the subject."""

    recorders = SITE_STAFF | PHARMACY | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("matched",)
    words = "recorded the identity check for infusion {number} with unit {product}, matched {matched}"
    rules = ("INFUSION-12",)

    product: Label | None = None
    number: Count | None = None
    checked_by: Annotated[list[Label], Field(max_length=10)] | None = None
    matched: bool | None = None


class InfusionAuthorised(Decision):
    """An investigator authorised one infusion: its number, product unit and dose."""

    recorders = INVESTIGATOR
    words = "authorised infusion {number} of {dose} {dose_unit} with unit {product}"
    rules = (
        *SUBJECT_DECISION,
        *CONSENT_RULES,
        *("ENROL-1", "ENROL-3", "ENROL-5", "COHORT-2", "COHORT-3", "COHORT-4", "COHORT-10", "DOSE-1", "BASIS-1"),
        *(f"INFUSION-{number}" for number in range(1, 10)),
        *(f"PRODUCT-{number}" for number in (1, 2, 3, 4, 5, 7)),
    )

    number: Count
    dose: Decimal
    dose_unit: Label
    product: Label | None = None
    weight: Decimal | None = None
    reason: Reason | None = None


class InfusionGiven(Fact):
    """An infusion was given, wholly or in part. `weight` in kg, `cells_per_kg` in the protocol's unit."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "recorded that infusion {number} with unit {product} was given, {outcome}"
    rules = GIVEN_RULES

    number: Count | None = None
    product: Label | None = None
    cells_per_kg: Decimal | None = None
    cells: Decimal | None = None
    cells_unit: Label | None = None
    dose: Decimal | None = None
    dose_unit: Label | None = None
    volume: Decimal | None = None
    volume_unit: Label | None = None
    weight: Decimal | None = None
    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    interruptions: Annotated[list[Interruption], Field(max_length=MAX_INTERRUPTIONS)] | None = None
    outcome: Literal["completed", "interrupted", "stopped"] | None = None


class InfusionWithheld(Fact):
    """A planned infusion was not given."""

    recorders = SITE_STAFF | PHARMACY | SYSTEM
    transcribers = DATA_MANAGER
    stopping = True
    words = "recorded that infusion {number} was withheld: {reason}"
    rules = ("INFUSION-13", "INFUSION-14")

    number: Count | None = None
    product: Label | None = None
    reason: Reason | None = None
    adverse_event: EventId | None = None


class TreatmentAdministered(Fact):
    """Study treatment was administered by another route than the protocol's infusions (SDTM EX)."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    needed = ("treatment",)
    words = "recorded that {treatment} was administered: {dose} {dose_unit} {route}"
    rules = GIVEN_RULES

    treatment: Label | None = None
    code: Code | None = None
    category: Label | None = None
    number: Count | None = None
    product: Label | None = None
    dose: Decimal | None = None
    dose_text: Label | None = None
    dose_unit: Label | None = None
    dose_form: Label | None = None
    frequency: Label | None = None
    route: Label | None = None
    location: Label | None = None
    lot: Label | None = None
    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    adjustment_reason: Text | None = None


EVENTS: tuple[type[EventModel], ...] = (
    IdentityChecked,
    InfusionAuthorised,
    InfusionGiven,
    InfusionWithheld,
    TreatmentAdministered,
)


class NotEnrolled(Refusal):
    """Only an enrolled subject of a population that the protocol treats is treated."""

    rule = "INFUSION-1"
    remedy = "Enrol the subject first (SubjectEnrolled); a population that is not treated gets no treatment."
    source = "ICH E6(R3) 2.7"


class NumberWrong(Refusal):
    """Infusions follow each other by number, each authorised once, up to the protocol's number."""

    rule = "INFUSION-2"
    remedy = (
        "Authorise the number that is next. Record what was given or withheld meanwhile (InfusionGiven, "
        "InfusionWithheld); reverse an authorisation that still waits (DecisionReversed)."
    )


class DoseWrong(Refusal):
    """The dose is the cohort's, in the protocol's unit, the same for every infusion of a subject."""

    rule = "INFUSION-3"
    remedy = "Authorise the cohort's dose in the protocol's unit; select the dose first where it is still open."
    source = "ICH E6(R3) 2.10"


class IntervalWrong(Refusal):
    """The interval since the last infusion is not the protocol's."""

    rule = "INFUSION-4"
    remedy = (
        "Too early: wait until the window opens. Too late: record that the infusion was withheld "
        "(InfusionWithheld), then authorise the one that is next."
    )


class PregnancyPossible(Refusal):
    """Who may be pregnant is treated only with a negative pregnancy test that counts."""

    rule = "INFUSION-5"
    remedy = "Record a negative test that counts (LabResultReported), then sign the authorisation again."


class CriterionNoLongerHolds(Refusal):
    """A criterion that has to hold throughout the study fails."""

    rule = "INFUSION-6"
    remedy = "Record what shows that it holds again, or correct what is wrong; otherwise withhold the infusion."


class TreatmentEnded(Refusal):
    """The subject's treatment or participation has ended."""

    rule = "INFUSION-7"
    remedy = "Nothing more is given; if the end was recorded by mistake, void that entry (EntryVoided)."
    source = "ICH E6(R3) 2.8.10"


class WeightMissing(Refusal):
    """A dose per kilogram is authorised with the weight that it is reckoned from."""

    rule = "INFUSION-8"
    remedy = "State `weight`, in kilograms."


class WeightContradicted(Refusal):
    """The weight that a dose is reckoned from contradicts the weight recorded of the subject."""

    rule = "INFUSION-9"
    remedy = (
        "State the weight that is recorded. Where that one is wrong, correct it (EntryCorrected); where it has "
        "changed, and the protocol does not reckon from the weight at screening, record the new one "
        "(AssessmentRecorded). Then sign the authorisation again."
    )
    source = "ICH E6(R3) 2.10"


def _treatment(ctx: Context) -> Treatment | None:
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    return protocol.definition.treatment if protocol is not None else None


def treatment_goes_on(ctx: Context) -> None:
    """INFUSION-7: neither withdrawn, completed, discontinued nor dead."""
    assert ctx.subject is not None
    end = treatment_end(ctx.subject)
    if end is None and (died := death(ctx.subject)) is not None:
        end = died[0]
    if end is not None:
        raise TreatmentEnded(f"{end.event} is recorded at index {end.index}", (end.index,))


def is_enrolled(ctx: Context) -> None:
    """INFUSION-1: enrolled, and of a population that the protocol treats."""
    assert ctx.subject is not None
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    record = screening(ctx.subject)
    if protocol is None or record is None:
        return
    population = protocol.definition.populations.get(record.get("population") or "")
    if population is not None and not population.treated:
        raise NotEnrolled(f"the subject is a {population.label}, who is not treated", (record.index,))
    if protocol.definition.cohorts and ctx.subject.records.last("SubjectEnrolled") is None:
        raise NotEnrolled("the subject is not enrolled", (record.index,))


def number_follows(ctx: Context) -> None:
    """INFUSION-2: the number is next, within the protocol's number, and not authorised already."""
    assert ctx.subject is not None
    treatment, number = _treatment(ctx), ctx.candidate.get("number")
    if treatment is None:
        return
    if number > treatment.number:
        raise NumberWrong(f"number {number}; the protocol provides for {treatment.number} infusions")
    done = given(ctx.subject, zone_of(ctx.study, ctx.candidate.site), treatment.event)
    missed = withheld(ctx.subject)
    skipped = [n for n in (r.get("number") for r in missed) if isinstance(n, int)]
    allowed = next_numbers(treatment, numbers(done), skipped)
    if number not in allowed:
        wanted = " or ".join(map(str, sorted(allowed)))
        raise NumberWrong(f"number {number} where {wanted} is next", tuple(r.index for r in (*done, *missed)))
    for record in ctx.subject.records.of("InfusionAuthorised"):
        settled = any(r.index > record.index for r in (*done, *missed) if r.get("number") in (number, None))
        if record.get("number") == number and not settled:
            raise NumberWrong(f"number {number} is authorised at index {record.index}", (record.index,))


def dose_is_the_cohorts(ctx: Context) -> None:
    """INFUSION-3: the cohort's dose, in the protocol's unit."""
    assert ctx.subject is not None
    treatment, seat = _treatment(ctx), ctx.subject.records.last("SubjectEnrolled")
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None or treatment is None or seat is None:
        return
    name = seat.get("cohort")
    planned = dose_level.dose_of(ctx.study, protocol, name)
    if planned is None:
        raise DoseWrong(f"no dose is known for cohort {name}", (seat.index,))
    dose, unit = ctx.candidate.get("dose"), ctx.candidate.get("dose_unit")
    if unit != treatment.dose_unit:
        raise DoseWrong(f"the unit is {unit!r}, the protocol's {treatment.dose_unit!r}", (seat.index,))
    if decimal(dose) != decimal(planned):
        raise DoseWrong(f"{dose} is authorised, the dose of cohort {name} is {planned}", (seat.index,))
    given_numbers = {r.get("number") for r in ctx.subject.records.of(treatment.event) if r.done}
    for other in ctx.subject.records.of("InfusionAuthorised"):
        if other.get("number") in given_numbers and decimal(other.get("dose") or dose) != decimal(dose):
            because = f"infusion {other.get('number')} was authorised at {other.get('dose')}, this one at {dose}"
            raise DoseWrong(because, (other.index,))


def weight_is_stated(ctx: Context) -> None:
    """INFUSION-8: the weight, where the dose is per kilogram."""
    treatment, weight = _treatment(ctx), ctx.candidate.get("weight")
    if treatment is not None and treatment.per_kilogram and (weight is None or decimal(weight) <= 0):
        raise WeightMissing("the dose is per kilogram, and no weight above 0 is stated")


def weight_is_the_subjects(ctx: Context) -> None:
    """INFUSION-9: the weight stated is the recorded one, as far as one is recorded."""
    assert ctx.subject is not None
    treatment, weight = _treatment(ctx), ctx.candidate.get("weight")
    if treatment is None or weight is None:
        return
    zone = zone_of(ctx.study, ctx.candidate.site)
    known = body_weight.recorded(treatment, ctx.subject, ctx.recorded_at, zone)
    if known is not None and body_weight.contradicts(decimal(weight), known[1]):
        record, kilograms = known
        limit = f"{in_figures(body_weight.TOLERANCE * 100)} percent"
        because = f"{weight} kg is stated, {in_figures(kilograms)} kg is recorded; they differ by more than {limit}"
        raise WeightContradicted(because, (record.index,))


def interval_is_kept(ctx: Context) -> None:
    """INFUSION-4: neither too early nor too late after the last infusion."""
    assert ctx.subject is not None
    treatment = _treatment(ctx)
    if treatment is None:
        return
    zone = zone_of(ctx.study, ctx.candidate.site)
    done = given(ctx.subject, zone, treatment.event)
    if not done:
        return
    last, number = numbers(done)[-1], ctx.candidate.get("number")
    missed = {r.get("number") for r in withheld(ctx.subject)}
    made_up = treatment.missed_dose != "skip" and any(n in missed for n in range(last + 1, number + 1))
    when = decided(ctx.candidate)
    wrong = interval_problem(treatment, happened(done[-1]), number - last, when, made_up, zone)
    if wrong is not None:
        raise IntervalWrong(f"{wrong[0]}: {wrong[1]}", (done[-1].index,))


def pregnancy_is_excluded(ctx: Context) -> None:
    """INFUSION-5: a negative test that counts, of those of whom the protocol asks one."""
    assert ctx.subject is not None
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None or protocol.definition.treatment is None:
        return
    zone = zone_of(ctx.study, ctx.candidate.site)
    done = given(ctx.subject, zone, protocol.definition.treatment.event)
    found = pregnancy.excluded(protocol, ctx.subject, ctx.recorded_at, done[-1] if done else None, zone)
    if not found:
        raise PregnancyPossible(found.because, found.indexes)


def criteria_hold(ctx: Context) -> None:
    """INFUSION-6: no criterion that has to hold throughout fails."""
    assert ctx.subject is not None
    failing = eligibility.continuing_failures(ctx.study, ctx.subject)
    if failing:
        indexes = dict.fromkeys(i for state in failing.values() for i in state.indexes)
        raise CriterionNoLongerHolds(eligibility.in_words(failing), tuple(indexes), criteria=sorted(failing))


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    "InfusionAuthorised": (
        study_runs,
        site_runs,
        subject_is_known,
        treatment_goes_on,
        consent.must_stand,
        eligibility.is_declared,
        is_enrolled,
        enrolment.ground_holds,
        nothing_is_open,
        cohort.goes_on,
        number_follows,
        dose_is_the_cohorts,
        weight_is_stated,
        weight_is_the_subjects,
        interval_is_kept,
        pregnancy_is_excluded,
        criteria_hold,
        product.can_be_authorised,
    )
}
"""What an authorisation asks, in order: may the study, may the subject, is it the right infusion, the right unit."""
