"""Cohorts and their dose levels as they stand: opened, held, reviewed; seats, doses, toxicities, who is watched.

Read from the study's decisions, the roster and the subjects' records; the protocol says which cohorts there
are, how they follow each other and how long a subject is watched. A level is named by the cohort that studies
it. A review that concludes `hold` or `stop` holds the cohort until a later one, not transcribed, concludes otherwise.

 COHORT-12  finding: more subjects sit in a cohort than it has seats, or one sits in a cohort that was not open
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from ledger.domain.moments import at, decided, surely_before
from ledger.domain.participation import end_of, given, site_of, treatment_end, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.domain.study import protocol_for
from ledger.protocol import escalation, windows
from ledger.protocol.escalation import CohortCourse
from ledger.protocol.model.course import SELECTED

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.domain.context import Roster
    from ledger.protocol import ResolvedProtocol

_EVENTS = ("CohortOpened", "CohortHeld", "CohortResumed", "SafetyReviewConcluded")


@dataclass(frozen=True, slots=True)
class CohortState:
    """A cohort by the decisions that stand: its opening, what holds it (None: nothing), its reviews in order."""

    id: str
    opened: Record | None
    holding: Record | None
    reviews: tuple[Record, ...]

    @property
    def review(self) -> Record | None:
        """The newest review that stands."""
        return self.reviews[-1] if self.reviews else None

    @property
    def standing(self) -> str:
        """One of: not opened, open, held, stopped."""
        if self.opened is None:
            return "not opened"
        if self.holding is None:
            return "open"
        return "stopped" if self.holding.get("conclusion") == "stop" else "held"


def state(study: Study, cohort: str) -> CohortState:
    """A cohort as the study's decisions have it."""
    own = [r for r in study.records.of(*_EVENTS) if r.sub == f"cohort/{cohort}"]
    reviews = tuple(r for r in own if r.event == "SafetyReviewConcluded")
    opened = next((r for r in own if r.event == "CohortOpened"), None)
    return CohortState(cohort, opened, _holding(own), reviews)


def _holding(own: Sequence[Record]) -> Record | None:
    """What holds a cohort after these decisions: a review's hold outlasts a resumption, not a later review."""
    by_hand: Record | None = None
    by_review: Record | None = None
    for record in own:
        if record.event == "CohortHeld":
            by_hand = record
        elif record.event == "CohortResumed":
            by_hand = None
        elif record.event == "SafetyReviewConcluded":
            if record.get("conclusion") in ("hold", "stop"):
                by_review = record
            elif record.mode == "direct":  # what was transcribed was asked nothing, and lifts nothing
                by_review = None
    return by_review or by_hand


def held_when(study: Study, cohort: str | None, when: str | None, zone: tzinfo | None) -> Record | None:
    """The hold of study or cohort that was surely in force at a moment."""
    general = study.records.of("StudyHeld", "StudyResumed", "StudyClosed")
    own = [r for r in study.records.of(*_EVENTS) if cohort is not None and r.sub == f"cohort/{cohort}"]
    for records in (general, own):
        past = [r for r in records if not surely_before(when, decided(r), zone)]
        holding = _holding(past) if records is own else _study_hold(past)
        if holding is not None and surely_before(decided(holding), when, zone):
            return holding
    return None


def _study_hold(records: Sequence[Record]) -> Record | None:
    newest = records[-1] if records else None
    return newest if newest is not None and newest.event != "StudyResumed" else None


def selection(study: Study, cohort: str) -> Record | None:
    """The decision that selected a cohort's dose level, and stands."""
    chosen = [r for r in study.records.of("DoseSelected") if r.get("cohort") == cohort]
    return chosen[-1] if chosen else None


def dose_of(study: Study, protocol: ResolvedProtocol, cohort: str | None) -> str | None:
    """The dose of a cohort in the protocol's unit; None where none is given, or none is selected yet."""
    planned = protocol.definition.cohorts.get(cohort or "")
    if planned is None or cohort is None:
        return None
    if planned.dose != SELECTED:
        return planned.dose
    chosen = selection(study, cohort)
    level = protocol.definition.cohorts.get(chosen.get("dose_level") or "") if chosen is not None else None
    return None if level is None or level.dose == SELECTED else level.dose


def levels(protocol: ResolvedProtocol) -> list[str]:
    """The levels of the escalation, from low to high."""
    found = [c for c in protocol.definition.cohorts.values() if c.purpose == "escalation"]
    return [c.id for c in sorted(found, key=lambda c: c.order or 0)]


def precedes(protocol: ResolvedProtocol, cohort: str) -> str | None:
    """The cohort that has to be concluded before this one opens; None for the first."""
    planned = protocol.definition.cohorts[cohort]
    if planned.after is not None:
        return planned.after
    ladder = levels(protocol)
    if cohort not in ladder:
        return None
    place = ladder.index(cohort)
    return ladder[place - 1] if place else None


def toxicities(subject: Subject) -> list[Record]:
    """Adjudications that stand by which an adverse event that stands is dose-limiting; the newest of each event."""
    newest: dict[str, Record] = {}
    for record in subject.records.of("DoseLimitingToxicityAdjudicated"):
        newest[record.get("adverse_event")] = record
    found = []
    for jti, record in newest.items():
        event = subject.records.get(jti) if jti is not None else None
        if record.get("dose_limiting") and event is not None and event.done:
            found.append(record)
    return found


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether a subject has been watched for dose-limiting toxicity as long as the protocol says.

    `standing`: evaluated, watched (still), or not evaluable (ended before, without toxicity).
    """

    standing: str
    because: str
    indexes: tuple[int, ...]


def watch(study: Study, protocol: ResolvedProtocol, subject: Subject, now: str) -> Watch:
    """How far a subject of a cohort has come, at a moment."""
    found = toxicities(subject)
    if found:
        return Watch("evaluated", "a dose-limiting toxicity is adjudicated", tuple(r.index for r in found))
    definition, zone = protocol.definition, zone_of(study, site_of(subject))
    event = definition.treatment.event if definition.treatment is not None else "InfusionGiven"
    doses = given(subject, zone, event)
    end = treatment_end(subject)
    if not doses:
        if end is not None:
            return Watch("not evaluable", f"{end.event} before any treatment", (end.index,))
        return Watch("watched", "treatment has not begun", (_seat(subject),))
    shown = (doses[-1].index,)
    if definition.dlt.window is None:
        return Watch("evaluated", "treated; the protocol gives no time of observation", shown)
    found_watch = windows.toxicity_watch(protocol, subject.records, zone)
    moment = at(now)
    settled = found_watch is not None and found_watch.settled
    if found_watch is not None and settled and moment is not None and moment.instants(zone)[0] > found_watch.ends:
        return Watch("evaluated", f"watched until {found_watch.ends:%Y-%m-%d %H:%M} UTC", shown)
    left = end_of(subject)
    if left is not None:
        return Watch("not evaluable", f"{left.event} before the end of observation", (left.index,))
    if found_watch is None or not settled:
        return Watch("watched", "it is not settled when observation ends", shown)
    return Watch("watched", f"watched until {found_watch.ends:%Y-%m-%d %H:%M} UTC", shown)


def _seat(subject: Subject) -> int:
    seat = subject.records.last("SubjectEnrolled")
    return seat.index if seat is not None else next(iter(subject.records)).index


def course(
    study: Study, protocol: ResolvedProtocol, cohort: str, taken: int, subjects: Iterable[Subject], now: str
) -> CohortCourse:
    """What happened in a cohort, for the protocol's rules of escalation; `taken` seats, their subjects, a moment."""
    standing = state(study, cohort)
    several = list(subjects)
    watches = [watch(study, protocol, subject, now) for subject in several]
    passed = standing.review is not None and standing.review.get("conclusion") in ("escalate", "complete")
    return CohortCourse(
        cohort,
        opened=standing.opened is not None,
        enrolled=taken,
        evaluated=sum(found.standing == "evaluated" for found in watches),
        dlts=sum(bool(toxicities(subject)) for subject in several),
        added=added_seats(protocol, standing),
        escalated=passed or (standing.opened is not None and not protocol.definition.requires.safety_review),
        held=standing.holding is not None,
        stopped=standing.standing == "stopped",
    )


def added_seats(protocol: ResolvedProtocol, standing: CohortState) -> int:
    """Seats that reviews added: each `expand-cohort` those of the policy's rule for a cohort as large as it was.

    A review that was transcribed adds none: nobody asked the policy when it was recorded.
    """
    table = escalation.policy(protocol.definition)
    planned = protocol.definition.cohorts.get(standing.id)
    size = start = planned.seats or 0 if planned is not None else 0
    rules = [rule for rule in table.rules if rule.action == "add"] if table is not None else []
    for review in standing.reviews:
        if review.get("conclusion") == "expand-cohort" and review.mode == "direct":
            size += next((rule.seats or 0 for rule in rules if rule.evaluated.holds(size)), 0)
    return size - start


def courses(
    study: Study,
    protocol: ResolvedProtocol,
    roster: Roster,
    load: Callable[[str], Subject | None],
    now: str,
    only: str | None = None,
) -> dict[str, CohortCourse]:
    """The course of every cohort of the protocol. `load` gives a subject by its label.

    With `only`, subjects of other cohorts are looked at no more than the stopping rules need.
    """
    found = {}
    rules = protocol.definition.stopping_rules.values()
    counting = any(rule.dlts is not None and rule.scope == "study" for rule in rules)
    for cohort in protocol.definition.cohorts:
        seats = roster.of_cohort(cohort)
        wanted = seats if only is None or cohort == only or counting else []
        subjects = (subject for subject in (load(seat.subject) for seat in wanted) if subject is not None)
        found[cohort] = course(study, protocol, cohort, len(seats), subjects, now)
    return found


class SeatNotThere(FindingRule):
    """More subjects are enrolled into a cohort than it has seats, or it was never opened."""

    rule = "COHORT-12"


def findings(study: Study, roster: Roster) -> Iterator[Finding]:
    """COHORT-12, across the study: what transcribed enrolments can bring about, and reversed openings."""
    protocol = protocol_for(study)
    if protocol is None:
        return
    for cohort, planned in protocol.definition.cohorts.items():
        taken = roster.of_cohort(cohort)
        own = state(study, cohort)
        if taken and own.opened is None:
            because = f"no opening of cohort {cohort} stands, and {len(taken)} subjects sit in it"
            yield SeatNotThere.found(because, [seat.index for seat in taken], taken[0].subject, taken[0].site)
        elif planned.seats is not None:
            for seat in taken[planned.seats + added_seats(protocol, own) :]:
                because = f"cohort {cohort} has {planned.seats + added_seats(protocol, own)} seats"
                yield SeatNotThere.found(because, (seat.index,), seat.subject, seat.site)
