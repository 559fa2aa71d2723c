"""Cohorts: opened in order, held, resumed, reviewed on a cut; seats; the dose for the expansion.

 COHORT-1  a decision names a cohort that the protocol has
 COHORT-2  a subject is enrolled into an open cohort
 COHORT-3  and only where a seat is free
 COHORT-4  nobody is enrolled or treated where the escalation policy or a stopping rule says stop
 COHORT-5  a cohort is opened once
 COHORT-6  no level is skipped: the cohort before it was opened, reviewed, and the review lets the next open
 COHORT-7  that review was made on a cut that holds every fact of safety of its cohort
 COHORT-8  a cohort whose dose is to be selected opens after the selection
 COHORT-9  only what was held by hand is resumed by hand
 COHORT-10 nobody is treated in a cohort that is held
 COHORT-11 the dose level that an opening states is the cohort's
A cohort is the subject `cohort/<id>` of its own statements, with the id that the protocol gives it. A level of
the escalation is named by the id of the cohort that studies it. Reviews and the selection of a dose are decided
in `safety_review`. Sources: the protocol's cohorts; ICH E6(R3) 4 (c), (d); 21 CFR 11.10(f).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ledger.domain import dose_level, safety_review
from ledger.domain.basis import cut_size
from ledger.domain.context import Context
from ledger.domain.interpretation import nothing_is_open
from ledger.domain.model import Decision, Document, EventId, EventModel, Label, Reason
from ledger.domain.refusals import Refusal
from ledger.domain.roles import INVESTIGATOR, SAFETY_REVIEW
from ledger.domain.study import protocol_for, study_runs
from ledger.protocol import escalation
from ledger.protocol.model.course import SELECTED

if TYPE_CHECKING:
    from ledger.protocol import ResolvedProtocol

Conclusion = Literal["escalate", "expand-cohort", "complete", "hold", "stop"]


class CohortOpened(Decision):
    """A cohort was opened for enrolment."""

    about = ("cohort",)
    recorders = INVESTIGATOR
    words = "opened the cohort for enrolment"
    rules = (
        "STUDY-1",
        "COHORT-1",
        "COHORT-5",
        "INTERPRETATION-2",
        "PROTOCOL-5",
        "COHORT-6",
        "COHORT-8",
        "COHORT-11",
        "COHORT-7",
        "BASIS-1",
    )

    dose_level: Label | None = None
    reason: Reason | None = None


class CohortHeld(Decision):
    """Enrolment and infusions of a cohort were held."""

    about = ("cohort",)
    recorders = INVESTIGATOR
    stopping = True
    words = "held the cohort: {reason}"
    rules = ("COHORT-2", "COHORT-10")

    reason: Reason


class CohortResumed(Decision):
    """A held cohort was resumed."""

    about = ("cohort",)
    recorders = INVESTIGATOR
    words = "resumed the cohort: {reason}"
    rules = ("STUDY-1", "COHORT-1", "COHORT-9")

    reason: Reason


class SafetyReviewConcluded(Decision):
    """Safety review concluded on a cohort, on the data of its cut.

    escalate: the level is tolerated, the next may open; complete: it is tolerated and is the last; expand-cohort:
    more subjects on the same level; hold: nothing goes on until a later review; stop: the level is not tolerated.
    """

    about = ("cohort",)
    recorders = SAFETY_REVIEW
    words = "concluded the safety review, {conclusion}: {reason}"
    rules = ("STUDY-1", "REVIEW-1", "INTERPRETATION-2", "PROTOCOL-5", "REVIEW-2", "REVIEW-3", "REVIEW-4", "BASIS-1")

    conclusion: Conclusion
    reason: Reason
    members: list[Label] | None = None
    minutes: Document | None = None


class DoseLimitingToxicityAdjudicated(Decision):
    """Safety review judged whether an adverse event of the subject is dose-limiting."""

    recorders = SAFETY_REVIEW
    words = "judged an adverse event, dose-limiting {dose_limiting}: {reason}"
    rules = ("DLT-1", "BASIS-1")

    adverse_event: EventId
    dose_limiting: bool
    reason: Reason


class DoseSelected(Decision):
    """An investigator chose, among the levels studied, the dose at which a cohort goes on."""

    about = ("study",)
    recorders = INVESTIGATOR
    words = "selected the dose of level {dose_level} for cohort {cohort}: {reason}"
    rules = ("STUDY-1", "INTERPRETATION-2", "PROTOCOL-5", "DOSE-2", "DOSE-1", "COHORT-7", "BASIS-1")

    cohort: Label
    dose_level: Label
    reason: Reason


EVENTS: tuple[type[EventModel], ...] = (
    CohortOpened,
    CohortHeld,
    CohortResumed,
    SafetyReviewConcluded,
    DoseLimitingToxicityAdjudicated,
    DoseSelected,
)


class CohortUnknown(Refusal):
    """The protocol has no such cohort."""

    rule = "COHORT-1"
    remedy = "Name one of the protocol's cohorts."


class CohortNotOpen(Refusal):
    """The cohort is not open for enrolment."""

    rule = "COHORT-2"
    remedy = "Open the cohort (CohortOpened); a held one is resumed (CohortResumed), or reviewed anew."


class NoSeatFree(Refusal):
    """No seat is free in the cohort."""

    rule = "COHORT-3"
    remedy = (
        "Enrol into another open cohort, or have seats added: by a safety review that expands this one, or by an "
        "amendment of the protocol."
    )


class EscalationStops(Refusal):
    """The escalation policy or a stopping rule of the protocol stops this cohort."""

    rule = "COHORT-4"
    remedy = (
        "Nobody more is enrolled or treated here. If an adjudication named was wrong, reverse it "
        "(DecisionReversed); otherwise the protocol has to be amended first."
    )


class CohortOpenAlready(Refusal):
    """The cohort was opened already."""

    rule = "COHORT-5"
    remedy = "Nothing is left to do; an opening that was wrong is reversed first (DecisionReversed)."


class LevelSkipped(Refusal):
    """The cohort before this one has not been opened, reviewed and passed."""

    rule = "COHORT-6"
    remedy = (
        "Open the cohort before it, let its seats be taken and its subjects be observed, and have a safety review "
        "conclude that the next may open (SafetyReviewConcluded, escalate)."
    )
    source = "the protocol's order of dose levels"


class ReviewOutdated(Refusal):
    """Facts of safety were recorded after the state that the safety review was made on."""

    rule = "COHORT-7"
    remedy = "Have a new safety review conclude on a cut that holds the records named, then sign again."
    source = "ICH E6(R3) 4 (c)"


class DoseNotSelected(Refusal):
    """The dose of this cohort is to be selected, and has not been."""

    rule = "COHORT-8"
    remedy = "Have the dose selected first (DoseSelected)."


class NotHeldByHand(Refusal):
    """There is no hold that resuming could lift."""

    rule = "COHORT-9"
    remedy = "A hold or stop by a safety review is lifted by a later review (SafetyReviewConcluded)."


class CohortOnHold(Refusal):
    """The subject's cohort is held or stopped."""

    rule = "COHORT-10"
    remedy = "Wait until the cohort is resumed (CohortResumed), or a later safety review lifts the hold."


class LevelMisnamed(Refusal):
    """The dose level stated is not the cohort's."""

    rule = "COHORT-11"
    remedy = "State the level of the cohort that is opened, or leave it out."


def _planned(ctx: Context, cohort: str | None) -> tuple[ResolvedProtocol, str] | None:
    """The protocol in force and the cohort's id; None without protocol or cohorts; refused if unknown."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None or not protocol.definition.cohorts:
        return None
    if cohort is None or cohort not in protocol.definition.cohorts:
        raise CohortUnknown(f"{cohort!r} is none of {', '.join(protocol.definition.cohorts)}")
    return protocol, cohort


def _own(ctx: Context) -> str:
    return str(ctx.candidate.sub.partition("/")[2])


def is_known(ctx: Context) -> None:
    """COHORT-1: the cohort that the decision is about is one of the protocol's."""
    _planned(ctx, _own(ctx))


def is_open(ctx: Context) -> None:
    """COHORT-1, COHORT-2: the cohort to enrol into is open, neither held nor stopped."""
    cohort = ctx.candidate.get("cohort")
    _planned(ctx, cohort)
    state = dose_level.state(ctx.study, cohort)
    if state.standing != "open":
        shown = () if state.holding is None else (state.holding.index,)
        raise CohortNotOpen(f"cohort {cohort} is {state.standing}", shown)
    opened = state.opened
    if opened is not None and opened.mode == "transcribed":  # nobody asked when its opening was transcribed
        again = replace(ctx, candidate=opened)
        nothing_is_open(again)
        _levels_below_are_passed(again, cohort)
        _review_before_is_current(again, cohort, opened.index)
    safety_review.selection_bears_out(ctx, cohort)


def has_a_seat(ctx: Context) -> None:
    """COHORT-3, COHORT-4: a seat is free, and neither policy nor stopping rules stop the cohort."""
    found = _planned(ctx, ctx.candidate.get("cohort"))
    if found is None:
        return
    protocol, cohort = found
    state = dose_level.state(ctx.study, cohort)
    planned = protocol.definition.cohorts[cohort].seats
    taken = ctx.roster.of_cohort(cohort)
    if planned is None:
        raise NoSeatFree(f"the protocol does not say how many seats cohort {cohort} has")
    seats = planned + dose_level.added_seats(protocol, state)
    if len(taken) >= seats:
        because = f"all {seats} seats of cohort {cohort} are taken"
        raise NoSeatFree(because, tuple(seat.index for seat in taken))
    _nothing_stops(ctx, protocol, cohort)


def _nothing_stops(ctx: Context, protocol: ResolvedProtocol, cohort: str) -> None:
    """COHORT-4: by the counts of dose-limiting toxicities, looked up only where a rule counts them."""
    definition = protocol.definition
    counted = any(rule.dlts is not None for rule in definition.stopping_rules.values())
    if not counted and definition.cohorts[cohort].purpose != "escalation":
        return
    known = dose_level.courses(ctx.study, protocol, ctx.roster, ctx.other_subject, ctx.recorded_at, only=cohort)
    rule = escalation.recommendation(definition, known[cohort])
    reached = list(escalation.rule_stops(definition, known, cohort))
    if rule is not None and rule.action == "stop":
        reached.insert(0, rule.text or "the escalation policy says stop")
    if reached:
        indexes = [r.index for s in ctx.cohort_subjects(cohort) for r in dose_level.toxicities(s)]
        raise EscalationStops("; ".join(reached), tuple(indexes))


def goes_on(ctx: Context) -> None:
    """COHORT-4, COHORT-10: the subject's cohort is not held, and nothing stops it."""
    assert ctx.subject is not None
    seat = ctx.subject.records.last("SubjectEnrolled")
    found = None if seat is None else _planned(ctx, seat.get("cohort"))
    if found is None:
        return
    protocol, cohort = found
    holding = dose_level.state(ctx.study, cohort).holding
    if holding is not None:
        raise CohortOnHold(f"{holding.event} at index {holding.index}", (holding.index,))
    _nothing_stops(ctx, protocol, cohort)
    safety_review.selection_bears_out(ctx, cohort)


def is_not_open(ctx: Context) -> None:
    """COHORT-5: opened once."""
    opened = dose_level.state(ctx.study, _own(ctx)).opened
    if opened is not None:
        raise CohortOpenAlready(f"it was opened at index {opened.index}", (opened.index,))


def level_is_its_own(ctx: Context) -> None:
    """COHORT-11: the level stated, if any, is the cohort's: its id, the level selected, or the dose."""
    found, stated = _planned(ctx, _own(ctx)), ctx.candidate.get("dose_level")
    if found is None or stated is None:
        return
    protocol, cohort = found
    chosen = dose_level.selection(ctx.study, cohort)
    allowed = {cohort, dose_level.dose_of(ctx.study, protocol, cohort)}
    allowed |= {chosen.get("dose_level")} if chosen is not None else set()
    if stated not in allowed:
        raise LevelMisnamed(f"{stated!r} is not the level of cohort {cohort}")


def levels_below_are_passed(ctx: Context) -> None:
    """COHORT-6, COHORT-8: every cohort before it was opened, reviewed and passed; its dose is known."""
    _levels_below_are_passed(ctx, _own(ctx))


def _levels_below_are_passed(ctx: Context, about: str | None) -> None:
    found = _planned(ctx, about)
    if found is None:
        return
    protocol, cohort = found
    dose = dose_level.dose_of(ctx.study, protocol, cohort)
    if protocol.definition.cohorts[cohort].dose == SELECTED and dose is None:
        raise DoseNotSelected(f"no dose is selected for cohort {cohort}")
    safety_review.selection_bears_out(ctx, cohort)
    known = safety_review.known_courses(ctx, protocol)
    known[cohort] = replace(known[cohort], opened=False)
    step = escalation.step(protocol.definition, known, "open", cohort, dose)
    if not step:
        before = dose_level.precedes(protocol, cohort)
        review = dose_level.state(ctx.study, before).review if before is not None else None
        raise LevelSkipped("; ".join(step.because), () if review is None else (review.index,))


def review_before_is_current(ctx: Context) -> None:
    """COHORT-7: no fact of safety of the cohort before lies after the cut of its review."""
    _review_before_is_current(ctx, _own(ctx))


def _review_before_is_current(ctx: Context, about: str | None, below: int | None = None) -> None:
    found = _planned(ctx, about)
    before = dose_level.precedes(*found) if found is not None else None
    if before is not None:
        _review_is_current(ctx, before, below)


def last_review_is_current(ctx: Context) -> None:
    """COHORT-7 for the selection of a dose: the newest review of every level that was given is up to date."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    given = [level for level in dose_level.levels(protocol) if ctx.roster.of_cohort(level)] if protocol else []
    if given:
        _review_is_current(ctx, given[-1])


def _review_is_current(ctx: Context, cohort: str, below: int | None = None) -> None:
    """No fact of safety lies after the cut of the newest review, and below an index where one is given."""
    review = dose_level.state(ctx.study, cohort).review
    if review is None:
        return
    size = cut_size(review)
    after = [r for r in safety_review.facts_after(ctx, cohort, size) if below is None or r.index < below]
    if after:
        what = ", ".join(f"{r.event} at index {r.index}" for r in after[:5])
        because = f"the review of cohort {cohort} at index {review.index} was made on size {size}; after it: {what}"
        raise ReviewOutdated(because, (review.index, *(r.index for r in after)))


def is_held_by_hand(ctx: Context) -> None:
    """COHORT-9: there is a hold that a person put, and none by a review."""
    holding = dose_level.state(ctx.study, _own(ctx)).holding
    if holding is None:
        raise NotHeldByHand("the cohort is not held")
    if holding.event != "CohortHeld":
        raise NotHeldByHand(f"it is held by the review at index {holding.index}", (holding.index,))


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    **safety_review.PRECONDITIONS,
    "CohortOpened": (
        study_runs,
        is_known,
        is_not_open,
        nothing_is_open,
        levels_below_are_passed,
        level_is_its_own,
        review_before_is_current,
    ),
    "CohortResumed": (study_runs, is_known, is_held_by_hand),
    "DoseSelected": (
        study_runs,
        nothing_is_open,
        safety_review.cohort_awaits_a_dose,
        safety_review.level_can_be_chosen,
        last_review_is_current,
    ),
}
