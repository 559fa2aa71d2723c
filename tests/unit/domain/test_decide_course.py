"""Random courses of a trial against a small model of what the protocol allows: seats, levels, consent, doses.

Whatever people try, in whatever order: a decision is recorded exactly when the model allows it, and refused by
one of the rules that the model expects otherwise. The model knows nothing of records and rules; it counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from api.client.http import Refused
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from tests.scenario.plans import COAST
from tests.unit.domain.conftest import Trial

PEOPLE = 5
WATCHED = timedelta(days=14)
WEEK = 7

people = st.integers(min_value=0, max_value=PEOPLE - 1)
seldom = st.integers(min_value=0, max_value=5).map(lambda n: n == 5)
"""What upsets a course for long happens seldom, or nothing else would ever happen."""
levels = st.sampled_from(("LOW", "HIGH"))


@dataclass
class Person:
    """What the model knows of somebody; consents and withdrawals as counts of a common clock."""

    label: str
    screened: bool = False
    consents: list[tuple[int, Record]] = field(default_factory=list)
    withdrawals: list[int] = field(default_factory=list)
    ferritin: int | None = None
    asked: bool = False
    eligible: bool = False
    decided: int = 0
    seat: Record | None = None
    cohort: str | None = None
    doses: list[datetime] = field(default_factory=list)
    toxic: bool = False

    @property
    def consent(self) -> str | None:
        """None where it stands, else the rule that says why not."""
        if not self.consents:
            return "CONSENT-1"
        newest = max(order for order, _ in self.consents)
        return "CONSENT-3" if any(when > newest for when in self.withdrawals) else None

    @property
    def still_borne_out(self) -> bool:
        """A consent from before the decision stands: the age was reckoned to its day."""
        return any(when < self.decided for when, _ in self.consents)

    @property
    def criteria(self) -> str | None:
        """None where every criterion is known and none fails."""
        if self.ferritin is not None and self.ferritin < 20:
            return "ELIGIBILITY-1"
        return None if self.ferritin is not None and self.asked else "ELIGIBILITY-2"


@dataclass
class Level:
    """What the model knows of a cohort."""

    opened: bool = False
    held: bool = False
    passed: bool = False
    seats: int = 3
    news: bool = False  # something of safety happened since the last review


class Course(RuleBasedStateMachine):
    """People try things; the model says what must come of it."""

    @initialize(came=st.integers(0, PEOPLE), sat=st.integers(0, 3), treated=st.integers(0, 3), watched=st.booleans())
    def begin(self, came: int, sat: int, treated: int, watched: bool) -> None:
        """Courses begin anywhere between an empty study and a cohort under way."""
        self.open()
        if came:
            self.open_cohort("LOW")
        for who in range(came):
            self.come_in_as_usual(who)
        for who in range(min(came, sat)):
            self.enrol(who, "LOW")
        for who in range(min(came, sat, treated)):
            self.treat(who)
        if watched:
            self.let_time_pass(2)

    def open(self, trial: Any = None) -> None:
        """The study and its model, both empty; the trial is in memory unless another is given."""
        self.trial = trial or Trial().open()
        self.people = [Person(f"subject/{uuid4()}") for _ in range(PEOPLE)]
        self.levels = {"LOW": Level(), "HIGH": Level()}
        self.on_hold = False
        self.order = 0

    # -- the model ------------------------------------------------------------------------------------------

    def members(self, cohort: str) -> list[Person]:
        """Who sits in a cohort."""
        return [person for person in self.people if person.cohort == cohort]

    def counts(self, cohort: str) -> tuple[int, int, int]:
        """Members, evaluated, with a toxicity."""
        own = self.members(cohort)
        now = self.trial.now
        evaluated = [p for p in own if p.toxic or (p.doses and now - p.doses[0] >= WATCHED)]
        return len(own), len(evaluated), sum(p.toxic for p in own)

    def attempt(self, expected: set[str], act: object) -> Record | None:
        """Try a decision: recorded where nothing is expected, else refused by one of the rules expected."""
        size = self.trial.size
        try:
            record = act()  # type: ignore[operator]
        except (Refusal, Refused) as refusal:
            assert refusal.rule in expected, f"{refusal}; expected {expected or 'nothing'}"
            told = refusal.problem if isinstance(refusal, Refused) else refusal.as_dict()
            assert told["because"]
            assert told["remedy"]
            assert all(0 <= index < size for index in told["indexes"])
            assert self.trial.size == size
            return None
        assert not expected, f"it was recorded, and {expected} should have refused it"
        return record  # type: ignore[no-any-return]

    def general(self, person: Person) -> set[str]:
        """What stands in the way of any decision about somebody."""
        found = {"STUDY-1"} if self.on_hold else set()
        return found | (set() if person.screened else {"SUBJECT-1"})

    # -- facts: always recorded -----------------------------------------------------------------------------

    @rule(who=people)
    def screen(self, who: int) -> None:
        person = self.people[who]
        if not person.screened:
            self.trial.screened(f"{who:03}", label=person.label)
            person.screened = True

    @rule(who=people)
    def consent(self, who: int) -> None:
        self.order += 1
        self.people[who].consents.append((self.order, self.trial.consent(self.people[who].label)))

    @rule(who=people, really=seldom)
    def withdraw(self, who: int, really: bool) -> None:
        if not really:
            return
        self.order += 1
        self.people[who].withdrawals.append(self.order)
        self.trial.fact("ConsentWithdrawn", self.people[who].label, scope=["treatment", "data"])

    @rule(who=people, really=seldom)
    def void_newest_consent(self, who: int, really: bool) -> None:
        if not really:
            return
        person = self.people[who]
        if person.consents:
            self.trial.void(person.consents.pop()[1])

    @rule(who=people, value=st.sampled_from((12, 85, 85, 85)))
    def measure_ferritin(self, who: int, value: int) -> None:
        person = self.people[who]
        if not person.doses:
            person.ferritin = value
            self.trial.fact(
                "LabResultReported", person.label, analyte="ferritin", value=str(value), unit="ug/L", role="laboratory"
            )

    @rule(who=people)
    def ask_everything_else(self, who: int) -> None:
        self.people[who].asked = True
        for event, fields in COAST.eligible[1:]:
            role = {"role": "investigator"} if event == "EligibilityAssessed" else {}
            self.trial.fact(event, self.people[who].label, **fields, **role)

    @rule(who=people, limiting=st.booleans())
    def adverse_event(self, who: int, limiting: bool) -> None:
        person = self.people[who]
        if person.doses:
            self.trial.toxicity(person.label, dose_limiting=limiting)
            person.toxic |= limiting
            self._news(person)

    def _news(self, person: Person) -> None:
        if person.cohort is not None:
            self.levels[person.cohort].news = True

    @rule(who=people)
    def come_in_as_usual(self, who: int) -> None:
        for step in (self.screen, self.consent, self.ask_everything_else):
            step(who)
        self.measure_ferritin(who, 85)
        self.decide_eligible(who)

    # -- decisions ------------------------------------------------------------------------------------------

    @rule(who=people)
    def decide_eligible(self, who: int) -> None:
        person = self.people[who]
        expected = self.general(person) | {rule for rule in (person.consent, person.criteria) if rule}
        if self.attempt(expected, lambda: self.trial.eligible(person.label)):
            self.order += 1
            person.eligible, person.decided = True, self.order

    @rule(who=people, really=seldom)
    def decide_not_eligible(self, who: int, really: bool) -> None:
        if not really:
            return
        person = self.people[who]
        assert self.attempt(set(), lambda: self.trial.eligible(person.label, False, reason="changed her mind"))
        person.eligible = False

    @rule(who=people, cohort=levels)
    def enrol(self, who: int, cohort: str) -> None:
        person, level = self.people[who], self.levels[cohort]
        expected = self.general(person)
        expected |= {person.consent} if person.consent else set()
        expected |= {"ENROL-2"} if person.cohort else set()
        expected |= set() if person.eligible else {"ENROL-1"}
        expected |= {"ENROL-5"} if person.eligible and not person.still_borne_out else set()
        expected |= set() if level.opened and not level.held else {"COHORT-2"}
        members, _, toxic = self.counts(cohort)
        expected |= {"COHORT-3"} if members >= level.seats else set()
        expected |= {"COHORT-4"} if toxic >= 2 else set()
        record = self.attempt(expected, lambda: self.trial.enrol(person.label, cohort))
        if record:
            person.seat, person.cohort = record, cohort
            self._news(person)

    @rule(who=people, really=seldom)
    def take_the_seat_back(self, who: int, really: bool) -> None:
        person = self.people[who]
        if really and person.seat is not None and not person.doses:
            self.trial.reverse(person.seat)
            person.seat = person.cohort = None

    @rule(who=people)
    def treat(self, who: int) -> None:
        person = self.people[who]
        number = len(person.doses) + 1
        expected = self.general(person)
        expected |= {person.consent} if person.consent else set()
        expected |= set() if person.cohort else {"INFUSION-1"}
        expected |= set() if person.eligible else {"ENROL-1"}
        expected |= {"INFUSION-2"} if number > 2 else set()
        if person.doses:
            days = (self.trial.now.date() - person.doses[-1].date()).days
            expected |= set() if 13 <= days <= 16 else {"INFUSION-4"}
        if person.cohort:
            expected |= {"COHORT-10"} if self.levels[person.cohort].held else set()
            expected |= {"COHORT-4"} if self.counts(person.cohort)[2] >= 2 else set()
        dose = COAST.doses[person.cohort or "LOW"]
        unit = self.trial.unit() if not self.on_hold else "U0"
        if self.attempt(expected, lambda: self.trial.authorise(person.label, number, unit, dose=dose)):
            self.trial.check(person.label, number, unit)
            person.doses.append(self.trial.now)
            self.trial.give(person.label, number, unit, dose=dose)
            self._news(person)

    @rule(cohort=levels)
    def treat_the_whole_cohort(self, cohort: str) -> None:
        for who, person in enumerate(self.people):
            if person.cohort == cohort:
                self.treat(who)

    @rule(cohort=levels)
    def fill_the_cohort(self, cohort: str) -> None:
        for who in range(PEOPLE):
            self.enrol(who, cohort)

    @rule(cohort=levels)
    def open_cohort(self, cohort: str) -> None:
        level, below = self.levels[cohort], self.levels["LOW"]
        expected = {"STUDY-1"} if self.on_hold else set()
        expected |= {"COHORT-5"} if level.opened else set()
        if cohort == "HIGH":
            expected |= set() if below.opened and below.passed else {"COHORT-6"}
            expected |= {"COHORT-7"} if below.news else set()
        if self.attempt(expected, lambda: self.trial.open_cohort(cohort)):
            level.opened = True

    @rule(cohort=levels, really=seldom)
    def hold(self, cohort: str, really: bool) -> None:
        if not really:
            return
        assert self.attempt(set(), lambda: self.trial.say("CohortHeld", f"cohort/{cohort}", reason="to be safe"))
        self.levels[cohort].held = True

    @rule(cohort=levels)
    def resume(self, cohort: str) -> None:
        expected = {"STUDY-1"} if self.on_hold else set()
        expected |= set() if self.levels[cohort].held else {"COHORT-9"}
        if self.attempt(expected, lambda: self.trial.say("CohortResumed", f"cohort/{cohort}", reason="safe again")):
            self.levels[cohort].held = False

    @rule(cohort=levels, conclusion=st.sampled_from(("escalate", "expand-cohort")))
    def review(self, cohort: str, conclusion: str) -> None:
        level = self.levels[cohort]
        members, evaluated, toxic = self.counts(cohort)
        expected = {"STUDY-1"} if self.on_hold else set()
        expected |= set() if level.opened and members else {"REVIEW-1"}
        expected |= {"REVIEW-3"} if evaluated < members else set()
        escalates = (3 <= evaluated <= 5 and toxic == 0) or (evaluated >= 6 and toxic <= 1)
        adds = evaluated == 3 and toxic == 1 and members >= level.seats
        allowed = escalates if conclusion == "escalate" else adds
        expected |= set() if allowed else {"REVIEW-4"}
        if self.attempt(expected, lambda: self.trial.review(cohort, conclusion)):
            level.passed = conclusion == "escalate"
            level.seats += 3 if conclusion == "expand-cohort" else 0
            level.news = False

    @rule(really=seldom)
    def hold_the_study(self, really: bool) -> None:
        if really and not self.on_hold:
            self.trial.say("StudyHeld", "study", reason="a signal")
            self.on_hold = True

    @rule()
    @precondition(lambda self: getattr(self, "on_hold", False))
    def resume_the_study(self) -> None:
        self.trial.say("StudyResumed", "study", reason="no signal")
        self.on_hold = False

    @rule(weeks=st.sampled_from((1, 2)))
    def let_time_pass(self, weeks: int) -> None:
        self.trial.later(days=weeks * WEEK)

    # -- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def seats_are_never_overbooked(self) -> None:
        if hasattr(self, "levels") and isinstance(self.trial, Trial):
            for cohort, level in self.levels.items():
                seats = self.trial.roster.of_cohort(cohort)
                assert len(seats) == len(self.members(cohort)) <= level.seats


Course.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestRandomCourses = Course.TestCase


def test_the_model_reaches_the_second_level() -> None:
    """A straight course through the same steps: the random ones are about what lies beside it."""
    course = Course()
    course.begin(PEOPLE, 3, 3, False)
    course.enrol(3, "LOW")
    course.open_cohort("HIGH")
    course.let_time_pass(2)
    course.review("LOW", "escalate")
    for who in range(3):
        course.treat(who)
    course.open_cohort("HIGH")
    course.review("LOW", "escalate")
    course.open_cohort("HIGH")
    assert course.levels["HIGH"].opened
    assert [len(person.doses) for person in course.people] == [2, 2, 2, 0, 0]
