"""Which step of a dose escalation may be taken, and what stands in the way of the others.

Rules (ESCALATION): no level is skipped; a level follows when the one before it was concluded by a review that
escalated; the policy's table says what so many evaluated subjects with so many dose-limiting toxicities allow
(first rule that fits counts); a seat exists only as planned or as added by a review; a dose is chosen only
among levels that were given and not stopped, after the escalation is over. Stopping is always permitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ledger.protocol.model import Definition
from ledger.protocol.model.course import SELECTED, Cohort, EscalationPolicy, EscalationRule
from ledger.protocol.quantities import decimal

Action = Literal["open", "enrol", "add", "escalate", "select-dose", "stop"]


@dataclass(frozen=True, slots=True)
class CohortCourse:
    """What happened in one cohort.

    `evaluated`: subjects whose watch for dose-limiting toxicity is over, or who had one; `dlts`: subjects
    with one; `added`: seats added by reviews; `escalated`: a review concluded that the next level may follow.
    """

    cohort: str
    opened: bool = False
    enrolled: int = 0
    evaluated: int = 0
    dlts: int = 0
    added: int = 0
    escalated: bool = False
    held: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A step; true in a condition exactly where it may be taken. `because`: every obstacle."""

    action: Action
    cohort: str
    because: tuple[str, ...] = ()
    dose: str | None = None

    @property
    def permitted(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.because

    def __bool__(self) -> bool:
        return self.permitted


Courses = Mapping[str, CohortCourse]


def policy(definition: Definition) -> EscalationPolicy | None:
    """The policy in force; None where the study does not escalate."""
    made = definition.escalation
    return made.policies[made.policy] if made is not None else None


def levels(definition: Definition) -> tuple[Cohort, ...]:
    """The levels of the escalation, lowest first."""
    found = [cohort for cohort in definition.cohorts.values() if cohort.purpose == "escalation"]
    return tuple(sorted(found, key=lambda cohort: cohort.order or 0))


def seats(definition: Definition, course: CohortCourse) -> int | None:
    """Seats in a cohort, planned and added; None where the protocol does not say how many are planned."""
    planned = definition.cohorts[course.cohort].seats
    return None if planned is None else planned + course.added


def dose_of(definition: Definition, cohort: str, selected_dose: str | None) -> str | None:
    """The dose of a cohort in the unit of the treatment; None while it is to be selected and was not."""
    dose = definition.cohorts[cohort].dose
    return selected_dose if dose == SELECTED else dose


def recommendation(definition: Definition, course: CohortCourse) -> EscalationRule | None:
    """What the policy's table says for a level as it stands; None while no rule fits: wait."""
    table = policy(definition)
    if table is None or definition.cohorts[course.cohort].purpose != "escalation":
        return None
    fitting = (r for r in table.rules if r.evaluated.holds(course.evaluated) and r.dlts.holds(course.dlts))
    return next(fitting, None)


def rule_stops(definition: Definition, courses: Courses, cohort: str) -> tuple[str, ...]:
    """Stopping rules that have been reached for a cohort, in their words."""
    own = courses.get(cohort, CohortCourse(cohort)).dlts
    total = sum(course.dlts for course in courses.values())
    return tuple(
        rule.text
        for rule in definition.stopping_rules.values()
        if rule.dlts is not None and (own if rule.scope == "cohort" else total) >= rule.dlts
    )


def step(
    definition: Definition, courses: Courses, action: Action, cohort: str, selected_dose: str | None = None
) -> Step:
    """Whether one step may be taken. For `select-dose`, `cohort` is the level whose dose would be chosen."""
    if cohort not in definition.cohorts:
        return Step(action, cohort, (f"the protocol has no cohort {cohort}",))
    obstacles = {
        "open": _to_open,
        "enrol": _to_enrol,
        "add": _to_add,
        "escalate": _to_escalate,
        "select-dose": _to_select,
        "stop": lambda *_: (),
    }[action](definition, courses, definition.cohorts[cohort], selected_dose)
    dose = dose_of(definition, cohort, selected_dose)
    return Step(action, cohort, tuple(dict.fromkeys(obstacles)), dose)


def steps(definition: Definition, courses: Courses, selected_dose: str | None = None) -> tuple[Step, ...]:
    """Every step of every cohort that could be asked for, permitted or not, in the order of the file."""
    asked: list[tuple[Action, str]] = []
    for cohort in definition.cohorts.values():
        asked += [("open", cohort.id), ("enrol", cohort.id)]
        if cohort.purpose == "escalation":
            asked += [("add", cohort.id), ("escalate", cohort.id), ("select-dose", cohort.id)]
    return tuple(step(definition, courses, action, cohort, selected_dose) for action, cohort in asked)


def _course(courses: Courses, cohort: str) -> CohortCourse:
    return courses.get(cohort, CohortCourse(cohort))


def _to_open(d: Definition, courses: Courses, cohort: Cohort, selected: str | None) -> tuple[str, ...]:
    own = _course(courses, cohort.id)
    found = [f"{cohort.label} is open already"] if own.opened else []
    found += [f"{cohort.label} was stopped"] if own.stopped else []
    if cohort.dose == SELECTED:
        found += [] if selected is not None else ["no dose has been selected"]
        return (*found, *_unfinished(d, courses))
    for below in levels(d):
        if cohort.purpose == "escalation" and (below.order or 0) < (cohort.order or 0):
            found += _not_passed(below, _course(courses, below.id))
    if cohort.after is not None and cohort.purpose != "escalation":
        found += _not_passed(d.cohorts[cohort.after], _course(courses, cohort.after))
    return tuple(found)


def _not_passed(below: Cohort, course: CohortCourse) -> list[str]:
    if course.stopped:
        return [f"{below.label} was stopped: nothing above it may open"]
    if not course.opened:
        return [f"{below.label} was never opened: no level is skipped"]
    return [] if course.escalated else [f"no safety review of {below.label} has concluded to go on"]


def _to_enrol(d: Definition, courses: Courses, cohort: Cohort, selected: str | None) -> tuple[str, ...]:
    own = _course(courses, cohort.id)
    found = [] if own.opened else [f"{cohort.label} is not open"]
    found += [f"{cohort.label} is held"] if own.held else []
    found += [f"{cohort.label} was stopped"] if own.stopped else []
    limit = seats(d, own)
    if limit is None:
        found.append(f"the protocol does not say how many seats {cohort.label} has")
    elif own.enrolled >= limit:
        found.append(f"all {limit} seats of {cohort.label} are taken")
    if cohort.dose is not None and dose_of(d, cohort.id, selected) is None:
        found.append("no dose has been selected")
    rule = recommendation(d, own)
    if rule is not None and rule.action == "stop":
        found.append(f"the escalation policy stops {cohort.label}: {rule.text or 'its table says so'}")
    return (*found, *(f"a stopping rule is reached: {text}" for text in rule_stops(d, courses, cohort.id)))


def _by_table(d: Definition, courses: Courses, cohort: Cohort, wanted: str) -> list[str]:
    own = _course(courses, cohort.id)
    if policy(d) is None or cohort.purpose != "escalation":
        return [f"{cohort.label} is no level of an escalation"]
    found = [] if own.opened else [f"{cohort.label} was never opened"]
    found += [f"{cohort.label} was stopped"] if own.stopped else []
    rule = recommendation(d, own)
    counts = f"{own.evaluated} evaluated, {own.dlts} with a dose-limiting toxicity"
    if rule is None:
        found.append(f"the policy asks to wait in {cohort.label}: {counts}")
    elif rule.action != wanted:
        found.append(f"the policy says {rule.action} for {cohort.label}: {counts}")
    return found


def _to_add(d: Definition, courses: Courses, cohort: Cohort, selected: str | None) -> tuple[str, ...]:
    own = _course(courses, cohort.id)
    found = _by_table(d, courses, cohort, "add")
    limit = seats(d, own)
    if limit is not None and own.enrolled < limit:
        found.append(f"{limit - own.enrolled} seats of {cohort.label} are still free")
    return tuple(found)


def _to_escalate(d: Definition, courses: Courses, cohort: Cohort, selected: str | None) -> tuple[str, ...]:
    own = _course(courses, cohort.id)
    found = _by_table(d, courses, cohort, "escalate")
    if own.evaluated < own.enrolled:
        found.append(f"{own.enrolled - own.evaluated} of {own.enrolled} in {cohort.label} are not evaluated yet")
    found += [f"a stopping rule is reached: {text}" for text in rule_stops(d, courses, cohort.id)]
    return tuple(found)


def _unfinished(d: Definition, courses: Courses) -> list[str]:
    """Levels to conclude before the escalation is over: all, or all below one that stopped."""
    found: list[str] = []
    for level in levels(d):
        course = _course(courses, level.id)
        if course.stopped:
            break
        if not course.escalated:
            found.append(f"no safety review has concluded {level.label}")
    return found


def _to_select(d: Definition, courses: Courses, cohort: Cohort, selected: str | None) -> tuple[str, ...]:
    own = _course(courses, cohort.id)
    found = _unfinished(d, courses)
    if cohort.purpose != "escalation":
        found.append(f"{cohort.label} is no level of the escalation")
    elif not own.enrolled:
        found.append(f"nobody was treated in {cohort.label}")
    if own.stopped:
        found.append(f"{cohort.label} was stopped")
    if selected is not None and cohort.dose not in (None, SELECTED) and decimal(cohort.dose) != decimal(selected):
        found.append(f"the dose {selected} has been selected already")
    return tuple(found)
