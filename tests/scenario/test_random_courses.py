"""The same random courses as in memory, now signed, sent, decided under the lock, stored and proved.

The model and its verbs are those of `tests/unit/domain/test_decide_course.py`; here they speak to a real ledger.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest

from tests.scenario.clock import TurnedClock
from tests.scenario.simulator import Simulator, Subject, Told
from tests.unit.domain.test_decide_course import PEOPLE, Course

STEPS = 60


class OnTheLedger:
    """The verbs of the trial in memory, for a simulated trial on a real ledger."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.subjects: dict[str, Subject] = {}

    @property
    def now(self) -> datetime:
        """The trial's time."""
        return self.sim.clock()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.sim.door.cut().size

    def _of(self, label: str) -> Subject:
        return self.subjects.setdefault(label, Subject(f"N{len(self.subjects)}", self.sim.home_site, label))

    def later(self, **span: float) -> None:
        assert isinstance(self.sim.clock, TurnedClock)
        self.sim.clock.turn(**span)

    def screened(self, number: str, label: str) -> Told:
        return self.sim.screen(self._of(label), number=number)

    def consent(self, label: str) -> Told:
        return self.sim.consent(self._of(label))

    def fact(self, event: str, label: str, role: str | None = None, **fields: Any) -> Told:
        staff = self.sim.staff()
        by = {"laboratory": staff.technician, "investigator": staff.investigator}.get(role or "", staff.coordinator)
        return self.sim.fact(event, self._of(label), by=by, **fields)

    def void(self, told: Told) -> Told:
        return self.sim.void(told)

    def toxicity(self, label: str, dose_limiting: bool) -> Told:
        event = self.sim.adverse_event(self._of(label), grade=3)
        return self.sim.adjudicate(self._of(label), event, dose_limiting)

    def eligible(self, label: str, eligible: bool = True, **fields: Any) -> Told:
        return self.sim.decide_eligible(self._of(label), eligible, **fields)

    def enrol(self, label: str, cohort: str) -> Told:
        return self.sim.enrol(self._of(label), cohort)

    def reverse(self, told: Told) -> Told:
        return self.sim.reverse(told)

    def unit(self) -> str:
        return self.sim.unit()

    def authorise(self, label: str, number: int, unit: str, dose: str) -> Told:
        return self.sim.authorise(self._of(label), number, unit, dose=dose)

    def check(self, label: str, number: int, unit: str) -> Told:
        return self.sim.check_identity(self._of(label), number, unit)

    def give(self, label: str, number: int, unit: str, dose: str) -> Told:
        return self.sim.infuse(self._of(label), number, unit, dose=dose)

    def open_cohort(self, cohort: str) -> Told:
        return self.sim.open_cohort(cohort)

    def review(self, cohort: str, conclusion: str) -> Told:
        return self.sim.review(cohort, conclusion)

    def say(self, event: str, about: str, reason: str) -> Told:
        if event == "CohortResumed":
            return self.sim.resume_cohort(about.partition("/")[2], reason)
        by = self.sim.cast.sponsor if about == "study" else self.sim.staff().pi
        return self.sim.record(by, event, about, reason=reason)


STEP_NAMES = (
    "consent",
    "measure_ferritin",
    "adverse_event",
    "come_in_as_usual",
    "decide_eligible",
    "enrol",
    "treat",
    "treat_the_whole_cohort",
    "open_cohort",
    "review",
    "let_time_pass",
    "resume",
    "withdraw",
    "hold",
    "take_the_seat_back",
)


def arguments(chance: random.Random) -> dict[str, Any]:
    """Any step takes what it needs of these."""
    return {
        "who": chance.randrange(PEOPLE),
        "cohort": chance.choice(("LOW", "LOW", "HIGH")),
        "value": chance.choice((12, 85, 85)),
        "limiting": chance.random() < 0.3,
        "conclusion": chance.choice(("escalate", "expand-cohort")),
        "weeks": chance.choice((1, 2)),
        "really": chance.random() < 0.2,
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_course_is_decided_as_the_model_says(trial: Simulator, seed: int) -> None:
    play(trial, seed, STEPS)
    assert len(trial.acknowledged) > 2 * STEPS, "something happened"


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_long_random_course_is_decided_as_the_model_says(trial: Simulator, seed: int) -> None:
    play(trial, seed, 10 * STEPS)


def play(trial: Simulator, seed: int, steps: int) -> None:
    """Begin with a cohort under way, and let chance go on."""
    chance, course = random.Random(seed), Course()
    course.open(OnTheLedger(trial))
    course.open_cohort("LOW")
    for who in range(2):
        course.come_in_as_usual(who)
        course.enrol(who, "LOW")
    for _ in range(steps):
        step = getattr(course, chance.choice(STEP_NAMES))
        function = getattr(step, "__func__", step)
        wanted = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        given = arguments(chance)
        step(**{name: given[name] for name in wanted})
