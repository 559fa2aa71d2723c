"""Safety review: on which state a cohort is judged, what may be concluded, which dose may be chosen.

 REVIEW-1  a review is about a cohort that is open and has subjects
 REVIEW-2  it is concluded on a cut that holds every fact of safety of that cohort
 REVIEW-3  and not while subjects are still being watched for dose-limiting toxicity
 REVIEW-4  what it concludes is what the protocol's escalation policy allows
 DLT-1     an adjudication is about an adverse event of the subject that stands
 DOSE-1    the dose chosen is of a level that was given, concluded and not stopped, after the escalation is over
 DOSE-2    a dose is chosen for a cohort whose dose is to be selected, and once
To hold or stop is possible at any time and on any state. A review or selection that was transcribed was asked
nothing when it was recorded: a decision that rests on it asks its rules then (`known_courses`).
Sources: ICH E6(R3) 4 (c), (d), 3.16.1; DESIGN 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ledger.domain import dose_level
from ledger.domain.basis import SAFETY, changes_since, cut_size
from ledger.domain.context import Context
from ledger.domain.interpretation import nothing_is_open
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.domain.study import protocol_for, study_runs
from ledger.protocol import escalation
from ledger.protocol.model.course import SELECTED

if TYPE_CHECKING:
    from ledger.protocol import ResolvedProtocol
    from ledger.protocol.escalation import CohortCourse

STOPPING = frozenset({"hold", "stop"})
"""Conclusions that stop something: these never lack a precondition."""


class NothingToReview(Refusal):
    """A safety review is about a cohort that was opened and in which subjects are enrolled."""

    rule = "REVIEW-1"
    remedy = "Name a cohort that was opened and has subjects; hold or stop can be concluded at any time."


class FactsAfterCut(Refusal):
    """Facts of safety of this cohort lie after the state that the review was made on."""

    rule = "REVIEW-2"
    remedy = "Look at the records named, and conclude the review on a cut that holds them."
    source = "ICH E6(R3) 4 (c)"


class StillWatched(Refusal):
    """Subjects of this cohort are still being watched for dose-limiting toxicity."""

    rule = "REVIEW-3"
    remedy = (
        "Wait until the time of observation of each subject named is over, record the treatment that is missing, or "
        "that it was discontinued; hold or stop can be concluded at any time."
    )
    source = "the protocol's definition of dose-limiting toxicity"


class AgainstPolicy(Refusal):
    """The protocol's escalation policy does not allow this conclusion."""

    rule = "REVIEW-4"
    remedy = "Conclude what the policy says for these counts, or have the protocol amended first."
    source = "the protocol's escalation policy"


class AdverseEventUnknown(Refusal):
    """The adverse event does not stand among this subject's records."""

    rule = "DLT-1"
    remedy = "Name the event id of an adverse event of this subject (AdverseEventReported) that stands."


class LevelNotEligible(Refusal):
    """This dose level cannot be chosen."""

    rule = "DOSE-1"
    remedy = (
        "Conclude the safety review of every level first, and choose a level that was given, concluded and not stopped."
    )
    source = "the protocol's escalation; ICH E6(R3) 4 (c)"


class NothingToSelect(Refusal):
    """The cohort's dose is not one to be selected, or was selected already."""

    rule = "DOSE-2"
    remedy = "Name a cohort whose dose the protocol leaves to be selected; reverse an earlier selection first."


def concludes_something(rule: Callable[[Context], None]) -> Callable[[Context], None]:
    """A rule that only conclusions to go on ask: to hold or stop never lacks a precondition."""

    def asked(ctx: Context) -> None:
        if ctx.candidate.get("conclusion") not in STOPPING:
            rule(ctx)

    return asked


def _cohort(ctx: Context) -> str:
    return str(ctx.candidate.sub.partition("/")[2])


def something_to_review(ctx: Context) -> None:
    """REVIEW-1: the cohort is open and has subjects."""
    cohort = _cohort(ctx)
    if dose_level.state(ctx.study, cohort).opened is None:
        raise NothingToReview(f"cohort {cohort} was never opened")
    if not ctx.roster.of_cohort(cohort):
        raise NothingToReview(f"nobody is enrolled into cohort {cohort}")


def facts_after(ctx: Context, cohort: str, size: int) -> list[Record]:
    """Facts of safety about a cohort's subjects, and acts on such, that a state of this size does not hold.

    Who sat in the cohort in that state and has lost the seat since belongs to it: the review looked at that subject.
    """
    found = (
        record
        for subject in ctx.subjects_since(cohort, size)
        for record in changes_since(subject.records, size, SAFETY)
    )
    return sorted(found, key=lambda record: record.index)


def cut_holds_everything(ctx: Context) -> None:
    """REVIEW-2: no fact of safety of the cohort lies after the review's own cut."""
    size = cut_size(ctx.candidate)
    after = facts_after(ctx, _cohort(ctx), size)
    if after:
        what = ", ".join(f"{r.event} at index {r.index}" for r in after[:5])
        raise FactsAfterCut(f"the cut has size {size}; after it: {what}", tuple(r.index for r in after))


def nobody_is_watched(ctx: Context) -> None:
    """REVIEW-3: every subject was watched as long as the protocol says, or cannot be evaluated any more."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return
    watched = []
    for subject in ctx.cohort_subjects(_cohort(ctx)):
        found = dose_level.watch(ctx.study, protocol, subject, ctx.recorded_at)
        if found.standing == "watched":
            watched.append((subject.label, found))
    if watched:
        because = "; ".join(f"{label}: {found.because}" for label, found in watched)
        raise StillWatched(because, tuple(i for _, found in watched for i in found.indexes))


def policy_allows(ctx: Context) -> None:
    """REVIEW-4: the conclusion is the one that the escalation policy gives for the cohort as it stands."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    cohort = _cohort(ctx)
    if protocol is None or cohort not in protocol.definition.cohorts:
        return
    conclusion = ctx.candidate.get("conclusion")
    ladder = dose_level.levels(protocol)
    if conclusion == "complete" and cohort not in ladder:
        return
    if conclusion == "complete" and cohort != ladder[-1]:
        raise AgainstPolicy(f"cohort {cohort} is not the last level: conclude whether the next may open")
    known = dose_level.courses(ctx.study, protocol, ctx.roster, ctx.other_subject, ctx.recorded_at, only=cohort)
    action: escalation.Action = "add" if conclusion == "expand-cohort" else "escalate"
    if action == "escalate":
        known[cohort] = replace(known[cohort], enrolled=known[cohort].enrolled - _not_evaluable(ctx, cohort))
    step = escalation.step(protocol.definition, known, action, cohort)
    if not step:
        raise AgainstPolicy("; ".join(step.because), _toxicity_indexes(ctx, cohort))


def _not_evaluable(ctx: Context, cohort: str) -> int:
    """Subjects who left before they could be evaluated: nobody waits for them."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return 0
    watches = (dose_level.watch(ctx.study, protocol, s, ctx.recorded_at) for s in ctx.cohort_subjects(cohort))
    return sum(watch.standing == "not evaluable" for watch in watches)


def _toxicity_indexes(ctx: Context, cohort: str) -> tuple[int, ...]:
    return tuple(r.index for subject in ctx.cohort_subjects(cohort) for r in dose_level.toxicities(subject))


def adverse_event_stands(ctx: Context) -> None:
    """DLT-1: the adverse event is one of this subject's that stands."""
    event = ctx.subject.records.get(ctx.candidate.get("adverse_event")) if ctx.subject is not None else None
    if event is None or event.event != "AdverseEventReported":
        raise AdverseEventUnknown("the subject has no such adverse event")
    if not event.done:
        raise AdverseEventUnknown("it is void", (event.index, *event.acts))


def cohort_awaits_a_dose(ctx: Context) -> None:
    """DOSE-2: the protocol leaves the cohort's dose to be selected, and none is."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return
    cohort = ctx.candidate.get("cohort")
    planned = protocol.definition.cohorts.get(cohort)
    if planned is None or planned.dose != SELECTED:
        raise NothingToSelect(f"the protocol does not leave the dose of {cohort!r} to be selected")
    chosen = dose_level.selection(ctx.study, cohort)
    if chosen is not None:
        because = f"level {chosen.get('dose_level')} was selected at index {chosen.index}"
        raise NothingToSelect(because, (chosen.index,))


def level_can_be_chosen(ctx: Context) -> None:
    """DOSE-1: the escalation is over, and the level was given, concluded and not stopped."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return
    level = ctx.candidate.get("dose_level")
    step = escalation.step(protocol.definition, known_courses(ctx, protocol), "select-dose", level)
    if not step:
        review = dose_level.state(ctx.study, level).review
        raise LevelNotEligible("; ".join(step.because), () if review is None else (review.index,))


def known_courses(ctx: Context, protocol: ResolvedProtocol) -> dict[str, CohortCourse]:
    """The course of every cohort; a transcribed review lets nothing follow that its rules would not let follow."""
    known = dose_level.courses(ctx.study, protocol, ctx.roster, ctx.other_subject, ctx.recorded_at)
    for cohort, course in known.items() if protocol.definition.requires.safety_review else ():
        review = dose_level.state(ctx.study, cohort).review
        if course.escalated and review is not None and review.mode == "transcribed":
            known[cohort] = replace(course, escalated=_bears_out(replace(ctx, candidate=review)))
    return known


def _bears_out(ctx: Context) -> bool:
    """Whether a review that was transcribed could be concluded; its cut is its own place in the log."""
    try:
        for rule in (something_to_review, nothing_is_open, nobody_is_watched, policy_allows):
            rule(ctx)
    except Refusal:
        return False
    return True


def selection_bears_out(ctx: Context, cohort: str) -> None:
    """DOSE-1 for the selection of a cohort's dose that was transcribed."""
    protocol, chosen = protocol_for(ctx.study, ctx.candidate.site), dose_level.selection(ctx.study, cohort)
    planned = protocol.definition.cohorts.get(cohort) if protocol is not None else None
    if planned is None or planned.dose != SELECTED or chosen is None:
        return
    if chosen.mode == "transcribed":
        again = replace(ctx, candidate=chosen)
        nothing_is_open(again)
        level_can_be_chosen(again)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {
    "SafetyReviewConcluded": tuple(
        concludes_something(rule)
        for rule in (
            study_runs,
            something_to_review,
            nothing_is_open,
            cut_holds_everything,
            nobody_is_watched,
            policy_allows,
        )
    ),
    "DoseLimitingToxicityAdjudicated": (adverse_event_stands,),
}
