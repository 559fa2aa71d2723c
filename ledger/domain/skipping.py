"""Passing over an event: a projection that cannot take it in goes on without it, because a person decided so.

The event stays in the log and in every other projection; what is passed over, by whom and why, stands in the log, and
every answer of that projection says so in its cut. So that no page shows as standing what does not:

 SKIP-1  the event stands below what was signed, and below the cut where one is stated
 SKIP-2  what protects a subject, stops or takes something away, or says who may do what is never passed over
 SKIP-3  an act that changes what counts is passed over only together with the record that it changes
 SKIP-4  the projection is one that there is
 SKIP-5  a person decides, never a system
 SKIP-6  an event is passed over once, and taken in again only after that
An act on a record that is passed over changes nothing in that projection. The decisions that count are those of the
newest state, in readings of earlier ones too: what could not be taken in then cannot be taken in now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from ledger.domain.context import Context
from ledger.domain.model import CLEAR, Act, EventModel, Index, Label, Reason
from ledger.domain.refusals import Refusal
from ledger.domain.roles import DATA_MANAGER
from ledger.domain.safety_review import STOPPING
from ledger.signing.statement import Statement

PROJECTIONS = ("patient", "cohort", "audit_trail", "schedule", "safety", "outcomes", "signatures")
"""The projections by name: who decides names one that there is."""

CHANGING = {"EntryCorrected": "corrects", "EntryVoided": "voids", "DecisionReversed": "reverses"} | {
    "Countersigned": "countersigns"
}
"""Acts that change what counts, each with the claim that names the record: without the act alone, the record would be
shown as it no longer stands."""

PROTECTING = frozenset(
    {
        "ConsentDeclined",
        "FieldsRedacted",
        "RecordsFrozen",
        "SignatureWithdrawn",
        "AttributionDisputed",
        "StudyLocked",
        "SubjectCompleted",
    }
)
"""Never passed over, besides governance and what stops something: what may not be done or seen any more."""


class EventSkipped(Act):
    """A projection passes over one event that it cannot take in, for a reason."""

    about = ("study",)
    recorders = DATA_MANAGER
    words = "had the projection {projection} pass over the event at index {index}: {reason}"
    rules = ("SKIP-1", "SKIP-2", "SKIP-3", "SKIP-4", "SKIP-5", "SKIP-6")

    projection: Annotated[Label, CLEAR]
    index: Annotated[Index, CLEAR]
    reason: Reason


class SkippingEnded(Act):
    """A projection takes in again an event that it passed over, for a reason."""

    about = ("study",)
    recorders = DATA_MANAGER
    words = "had the projection {projection} take in the event at index {index} again: {reason}"
    rules = ("SKIP-3", "SKIP-4", "SKIP-5", "SKIP-6")

    projection: Annotated[Label, CLEAR]
    index: Annotated[Index, CLEAR]
    reason: Reason


EVENTS: tuple[type[EventModel], ...] = (EventSkipped, SkippingEnded)
DECISIONS = frozenset(model.__name__ for model in EVENTS)


class NotThere(Refusal):
    """An event is to be passed over that was not there in the state looked at."""

    rule = "SKIP-1"
    remedy = "Name the index at which the projection stands still (`trial-ledger projections list`)."


class NeverSkipped(Refusal):
    """What protects a subject, stops or takes something away, or says who may do what is never passed over."""

    rule = "SKIP-2"
    remedy = "Have the projection mended: until then it stands still for this subject, and says so."


class SkippedTogether(Refusal):
    """An act that changes what counts is passed over only together with the record that it changes."""

    rule = "SKIP-3"
    remedy = "Pass over the record first, then the act; take in the act again first, then the record."


class ProjectionUnknown(Refusal):
    """There is no such projection."""

    rule, status = "SKIP-4", 422
    remedy = "Name one that `trial-ledger projections list` shows."


class SystemMayNotSkip(Refusal):
    """That a projection passes over an event is decided by a person."""

    rule, status = "SKIP-5", 403
    remedy = "Have a data manager look at it and sign."


class SkippedAlready(Refusal):
    """An event is passed over once, and taken in again only after that."""

    rule = "SKIP-6"
    remedy = "Look at `skipped` in the cut of the projection's answers: it names what is passed over now."


def passed_over(told: Iterable[tuple[str, Mapping[str, Any], int]]) -> dict[str, dict[int, int]]:
    """What each projection passes over: the index of the event, and that of the decision. `told`: name, clear fields
    and index of the statements of DECISIONS, in order of the log."""
    found: dict[str, dict[int, int]] = {}
    for event, body, index in told:
        if event == EventSkipped.__name__:
            found.setdefault(body["projection"], {})[body["index"]] = index
        else:
            found.get(body["projection"], {}).pop(body["index"], None)
    return {projection: events for projection, events in found.items() if events}


def _now(ctx: Context) -> dict[int, int]:
    """What the candidate's projection passes over now."""
    told = [record for event in DECISIONS for record in ctx.study.records.by_event.get(event, ())]
    told.sort(key=lambda record: record.index)
    found = passed_over((record.event, record.body, record.index) for record in told)
    return found.get(ctx.candidate.body["projection"], {})


def by_a_person(ctx: Context) -> None:
    """SKIP-5: never a system."""
    if ctx.study.authority.is_system(ctx.candidate.iss):
        raise SystemMayNotSkip(f"{ctx.candidate.iss!r} is a system")


def of_a_projection(ctx: Context) -> None:
    """SKIP-4: the projection is one that there is."""
    named = ctx.candidate.body["projection"]
    if named not in PROJECTIONS:
        raise ProjectionUnknown(f"{named!r} is none of {', '.join(PROJECTIONS)}")


def of_what_was_seen(ctx: Context) -> None:
    """SKIP-1: the event stands below what was signed, and below the cut."""
    index = ctx.candidate.body["index"]
    if ctx.candidate.cut is not None and index >= ctx.candidate.cut["size"]:
        raise NotThere(f"the index is {index}, and the cut's size {ctx.candidate.cut['size']}")
    if ctx.root_at(index + 1) is None or ctx.recorded(index) is None:
        raise NotThere(f"no checkpoint covers the index {index}")


def not_twice(ctx: Context) -> None:
    """SKIP-6: it is not passed over already."""
    index = ctx.candidate.body["index"]
    decided = _now(ctx).get(index)
    if decided is not None:
        raise SkippedAlready(f"the event at index {index} is passed over since index {decided}", (index, decided))


def of_nothing_that_protects(ctx: Context) -> None:
    """SKIP-2: neither governance nor what stops, protects or takes away."""
    index = ctx.candidate.body["index"]
    statement = ctx.recorded(index)
    if statement is not None and protects(statement):
        raise NeverSkipped(f"the event at index {index} is {statement.event}", (index,))


def protects(statement: Statement) -> bool:
    """Whether leaving it out could show as standing, permitted or under way what is not."""
    from ledger.domain.catalogue import CATALOGUE  # which lists this room's events

    event, said = statement.event, {**statement.body, **statement.content}
    if event not in CATALOGUE or event in DECISIONS:
        return True
    model = CATALOGUE[event]
    if model.kind == "governance" or model.stopping or event in PROTECTING:
        return True
    if event == "SafetyReviewConcluded":
        return said.get("conclusion") in STOPPING
    if event == "DoseLimitingToxicityAdjudicated":
        return said.get("dose_limiting") is not False
    return event == "EligibilityDecided" and said.get("eligible") is not True


def together_with_its_record(ctx: Context) -> None:
    """SKIP-3: the record that an act changes is passed over already."""
    index = ctx.candidate.body["index"]
    statement = ctx.recorded(index)
    target = None if statement is None else changes(statement)
    if statement is None or target is None:
        return
    entered = ctx.entered(target)
    if entered is None or entered.index not in _now(ctx):
        where = "which is not there" if entered is None else f"at index {entered.index}"
        because = f"the event at index {index} is {statement.event}, and the record that it changes, {where}, is shown"
        raise SkippedTogether(because, (index,) if entered is None else (index, entered.index))


def changes(statement: Statement) -> str | None:
    """The event id of the record that an act changes; None for any other statement."""
    claim = CHANGING.get(statement.event)
    named = None if claim is None else statement.claims.get(claim)
    return None if named is None else str(named["jti"])


def was_passed_over(ctx: Context) -> None:
    """SKIP-6: what is taken in again is passed over now."""
    index = ctx.candidate.body["index"]
    if index not in _now(ctx):
        raise SkippedAlready(f"the event at index {index} is not passed over", (index,))


def after_what_changes_it(ctx: Context) -> None:
    """SKIP-3: no act that changes the record is still passed over."""
    index = ctx.candidate.body["index"]
    record = ctx.recorded(index)
    for other in _now(ctx):
        act = ctx.recorded(other)
        if record is not None and act is not None and changes(act) == record.jti:
            because = f"{act.event} at index {other} changes it, and is passed over still"
            raise SkippedTogether(because, (index, other))


PRECONDITIONS = {
    "EventSkipped": (
        by_a_person,
        of_a_projection,
        of_what_was_seen,
        not_twice,
        of_nothing_that_protects,
        together_with_its_record,
    ),
    "SkippingEnded": (by_a_person, of_a_projection, was_passed_over, after_what_changes_it),
}
