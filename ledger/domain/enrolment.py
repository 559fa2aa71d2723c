"""Enrolment: who may take a seat in a cohort.

 ENROL-1  only who was declared eligible, by a decision that stands, is enrolled (`eligibility`)
 ENROL-2  nobody is enrolled twice
 ENROL-3  only a population that the protocol enrols takes a seat
 ENROL-4  nobody is enrolled after withdrawal, completion, discontinuation or death
 ENROL-5  the facts behind the decision on eligibility still bear it out
 ENROL-6  finding: enrolled, and no decision on eligibility or no consent stands
 ENROL-7  who was treated keeps the dose
and COHORT rules: the cohort is open, and a seat is free (`cohort`). A decision that was transcribed was checked by
nobody when it was recorded: it is asked when somebody is enrolled on it, or treated (`ground_holds`).
Sources: ICH E6(R3) 2.7.1; 21 CFR 11.10(f), 312.60.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ledger.domain import cohort, consent, dose_level, eligibility
from ledger.domain.basis import basis_changed
from ledger.domain.context import Context
from ledger.domain.interpretation import nothing_is_open, subject_is_known
from ledger.domain.participation import death, given, protocol_of, screened, treatment_end, zone_of
from ledger.domain.refusals import Finding, FindingRule, Refusal
from ledger.domain.study import protocol_for, site_runs, study_runs

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject


class EnrolledAlready(Refusal):
    """The subject is enrolled already."""

    rule = "ENROL-2"
    remedy = "Nothing is left to do; if the other enrolment was wrong, reverse it first (DecisionReversed)."


class PopulationNotEnrolled(Refusal):
    """Only a population that the protocol enrols takes a seat."""

    rule = "ENROL-3"
    remedy = "If the population recorded is wrong or missing, correct the screening; otherwise do not enrol."


class EndedBefore(Refusal):
    """The subject's participation or treatment has ended."""

    rule = "ENROL-4"
    remedy = "If the end was recorded by mistake, void it; who comes back is screened again (SubjectRescreened)."


class EligibilityOutdated(Refusal):
    """What the decision on eligibility rested on has changed, and no longer bears it out."""

    rule = "ENROL-5"
    remedy = (
        "Correct what is wrong or record what is missing, so that every criterion permits, decide eligibility "
        "anew on a cut that holds it, and sign the enrolment again."
    )
    source = "ICH E6(R3) 4 (c)"


class DoseWouldChange(Refusal):
    """A subject that was treated keeps its dose."""

    rule = "ENROL-7"
    remedy = "Enrol into the cohort in which the subject was treated; void an infusion that was recorded by mistake."
    source = "the protocol: one dose per subject"


class EnrolledWithoutGround(FindingRule):
    """The subject is enrolled, and no decision on eligibility or no consent stands behind it."""

    rule = "ENROL-6"
    source = "ICH E6(R3) 2.7.1, 2.8.1"


def eligibility_is_borne_out(ctx: Context) -> None:
    """ENROL-5: where the basis of the decision changed, or nobody checked it, the criteria permit."""
    assert ctx.subject is not None
    decision = eligibility.standing(ctx.subject)
    if decision is None or not eligibility.declared(ctx.study, ctx.subject):
        return
    changed = basis_changed(ctx.study, ctx.subject, decision)
    asked = bool(changed) or decision.mode == "transcribed"
    now = eligibility.assess(ctx.study, ctx.subject, decision) if asked else None
    if now is not None and not now:
        because = eligibility.in_words(now.failing | now.unknown)
        raise EligibilityOutdated(because, (decision.index, *changed))


def is_not_enrolled(ctx: Context) -> None:
    """ENROL-2: one enrolment per subject."""
    assert ctx.subject is not None
    seat = ctx.roster.of_subject(ctx.subject.label)
    if seat is not None:
        raise EnrolledAlready(f"it is enrolled into cohort {seat.cohort} at index {seat.index}", (seat.index,))


def population_is_enrolled(ctx: Context) -> None:
    """ENROL-3: the population is one that takes seats."""
    assert ctx.subject is not None
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return
    name = screened(ctx.subject, "population")
    population = protocol.definition.populations.get(name or "")
    if population is None:
        raise PopulationNotEnrolled(f"the population {name!r} is not one of the protocol's")
    if not population.enrols:
        raise PopulationNotEnrolled(f"the subject is a {population.label}")


def participation_goes_on(ctx: Context) -> None:
    """ENROL-4: neither withdrawn, completed, discontinued nor dead."""
    assert ctx.subject is not None
    end = treatment_end(ctx.subject)
    if end is None and (died := death(ctx.subject)) is not None:
        end = died[0]
    if end is not None:
        raise EndedBefore(f"{end.event} is recorded at index {end.index}", (end.index,))


def keeps_its_dose(ctx: Context) -> None:
    """ENROL-7: who was treated in a cohort is not enrolled at another dose."""
    assert ctx.subject is not None
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    treatment = protocol.definition.treatment if protocol is not None else None
    if protocol is None or treatment is None:
        return
    doses = given(ctx.subject, zone_of(ctx.study, ctx.candidate.site), treatment.event)
    own = dose_level.dose_of(ctx.study, protocol, ctx.candidate.get("cohort"))
    for seat in ctx.subject.records.by_event.get("SubjectEnrolled", ()) if doses else ():
        before = dose_level.dose_of(ctx.study, protocol, seat.get("cohort"))
        if before != own:
            because = f"it was treated at {before} in cohort {seat.get('cohort')}; this cohort gets {own}"
            raise DoseWouldChange(because, (seat.index, *(record.index for record in doses)))


def ground_holds(ctx: Context) -> None:
    """What was transcribed was asked nothing when it was recorded; whoever is to be treated is asked it now.

    ENROL-5 for a decision on eligibility; for an enrolment ENROL-1, 3 and 5, COHORT-2 and 3, the last among those
    who were enrolled before.
    """
    assert ctx.subject is not None
    decision, seat = eligibility.standing(ctx.subject), ctx.subject.records.last("SubjectEnrolled")
    if decision is not None and decision.mode == "transcribed":
        eligibility_is_borne_out(ctx)
    if seat is None or seat.mode != "transcribed":
        return
    before = {jti: other for jti, other in ctx.roster.seats.items() if other.index < seat.index}
    again = replace(ctx, candidate=seat, roster=replace(ctx.roster, seats=before))
    for rule in (population_is_enrolled, eligibility.is_declared, eligibility_is_borne_out):
        rule(again)
    cohort.is_open(again)
    cohort.has_a_seat(again)


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """ENROL-6 for one subject."""
    seat = subject.records.last("SubjectEnrolled")
    if seat is None:
        return
    place = (subject.label, seat.site)
    if eligibility.declared(study, subject):
        decision = eligibility.standing(subject)
        if decision is None:
            yield EnrolledWithoutGround.found("no decision on eligibility stands", (seat.index,), *place)
        elif not decision.get("eligible"):
            because = "the decision that stands is that the subject is not eligible"
            yield EnrolledWithoutGround.found(because, (seat.index, decision.index), *place)
    wanted = consent.declared(protocol_of(study, subject), screened(subject, "population"))
    if wanted and consent.status(study, subject).refusal is consent.ConsentMissing:
        yield EnrolledWithoutGround.found("no consent is recorded", (seat.index,), *place)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    "SubjectEnrolled": (
        study_runs,
        site_runs,
        subject_is_known,
        is_not_enrolled,
        population_is_enrolled,
        participation_goes_on,
        consent.must_stand,
        nothing_is_open,
        eligibility.is_declared,
        eligibility_is_borne_out,
        keeps_its_dose,
        cohort.is_open,
        cohort.has_a_seat,
    )
}
"""What an enrolment asks, in order: may the study, may this subject, is there a place."""
