"""Dose levels follow each other as the policy says, none is skipped, and nobody sits where no seat is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.protocol import load, packaged
from ledger.protocol.escalation import (
    CohortCourse,
    dose_of,
    levels,
    policy,
    recommendation,
    rule_stops,
    seats,
    step,
    steps,
)


@pytest.fixture
def registered(resolve: Any) -> Any:
    return resolve().definition


@pytest.fixture
def amended(resolve: Any) -> Any:
    return resolve(version="3+3").definition


def done(cohort: str, enrolled: int = 3, dlts: int = 0, **more: Any) -> CohortCourse:
    """A level that was filled, evaluated and concluded."""
    return CohortCourse(cohort, True, enrolled, enrolled, dlts, escalated=True, **more)


def courses(*given: CohortCourse) -> dict[str, CohortCourse]:
    return {course.cohort: course for course in given}


def test_the_first_level_opens_and_no_other(registered: Any) -> None:
    assert step(registered, {}, "open", "A")
    for cohort in ("B", "C", "EXP"):
        assert not step(registered, {}, "open", cohort)


def test_no_level_is_skipped(registered: Any) -> None:
    refused = step(registered, courses(done("A")), "open", "C")
    assert not refused
    assert refused.because == ("group B was never opened: no level is skipped",)


@pytest.mark.parametrize(
    ("course", "because"),
    [
        (CohortCourse("A"), "never opened"),
        (CohortCourse("A", True, 3, 3), "no safety review"),
        (CohortCourse("A", True, 3, 3, escalated=True, stopped=True), "was stopped"),
    ],
)
def test_the_next_level_waits_for_a_concluded_review(registered: Any, course: CohortCourse, because: str) -> None:
    refused = step(registered, courses(course), "open", "B")
    assert not refused and because in refused.because[0]


def test_a_level_is_concluded_only_when_it_is_full_and_evaluated(registered: Any) -> None:
    assert not step(registered, courses(CohortCourse("A", True, 2, 2)), "escalate", "A")
    assert not step(registered, courses(CohortCourse("A", True, 3, 2)), "escalate", "A")
    assert step(registered, courses(CohortCourse("A", True, 3, 3)), "escalate", "A")
    assert not step(registered, {}, "escalate", "A")


@pytest.mark.parametrize(
    ("course", "because"),
    [
        (CohortCourse("A"), "is not open"),
        (CohortCourse("A", True, 3), "all 3 seats"),
        (CohortCourse("A", True, 1, held=True), "is held"),
        (CohortCourse("A", True, 1, stopped=True), "was stopped"),
        (CohortCourse("A", True, 2, 2, 2), "a stopping rule is reached"),
    ],
)
def test_a_seat_must_be_free_in_an_open_group(registered: Any, course: CohortCourse, because: str) -> None:
    refused = step(registered, courses(course), "enrol", "A")
    assert not refused and any(because in reason for reason in refused.because)


def test_three_sit_and_the_fourth_does_not(registered: Any) -> None:
    for enrolled in range(3):
        assert step(registered, courses(CohortCourse("A", True, enrolled)), "enrol", "A")
    assert not step(registered, courses(CohortCourse("A", True, 3)), "enrol", "A")


TABLE = [
    # evaluated, with toxicity: what 3+3 says
    (0, 0, None), (1, 0, None), (2, 0, None), (2, 1, None), (3, 0, "escalate"), (3, 1, "add"),
    (1, 2, "stop"), (2, 2, "stop"), (3, 2, "stop"), (3, 3, "stop"), (4, 1, None), (5, 1, None),
    (6, 0, "escalate"), (6, 1, "escalate"), (6, 2, "stop"), (4, 2, "stop"),
]  # fmt: skip


@pytest.mark.parametrize(("evaluated", "dlts", "action"), TABLE)
def test_three_plus_three(amended: Any, evaluated: int, dlts: int, action: str | None) -> None:
    found = recommendation(amended, CohortCourse("C", True, evaluated, evaluated, dlts))
    assert (found.action if found else None) == action


def test_as_registered_a_toxicity_adds_nobody(registered: Any) -> None:
    third = CohortCourse("C", True, 3, 3, 1)
    assert recommendation(registered, third).action == "escalate"
    refused = step(registered, courses(done("A"), done("B"), third), "add", "C")
    assert not refused and "the policy says escalate" in refused.because[0]


def test_the_published_course_is_permitted_step_by_step(registered: Any, amended: Any) -> None:
    below = courses(done("A"), done("B"))
    assert step(registered, below, "open", "C")
    third = CohortCourse("C", True, 3, 3, 1)
    assert step(amended, below | courses(third), "add", "C")
    assert not step(amended, below | courses(third), "escalate", "C")
    assert not step(amended, below | courses(third), "select-dose", "C", "2.0")
    wider = replace(third, added=3)
    assert seats(amended, wider) == 6
    for enrolled in (3, 4, 5):
        assert step(amended, below | courses(replace(wider, enrolled=enrolled)), "enrol", "C")
    assert not step(amended, below | courses(replace(wider, enrolled=6)), "enrol", "C")
    full = replace(wider, enrolled=6, evaluated=6)
    assert step(amended, below | courses(full), "escalate", "C")
    concluded = below | courses(replace(full, escalated=True))
    assert step(amended, concluded, "select-dose", "C")
    assert not step(amended, concluded, "open", "EXP")
    assert step(amended, concluded, "open", "EXP", "2.0")
    assert dose_of(amended, "EXP", "2.0") == "2.0"
    expansion = concluded | courses(CohortCourse("EXP", True, 5))
    assert step(amended, expansion, "enrol", "EXP", "2.0")
    assert not step(amended, expansion | courses(CohortCourse("EXP", True, 6)), "enrol", "EXP", "2.0")


def test_two_toxicities_stop_the_level_and_all_above_but_not_the_choice_below(amended: Any) -> None:
    stopped = CohortCourse("B", True, 3, 3, 2, stopped=True)
    now = courses(done("A"), stopped)
    assert not step(amended, now, "open", "C")
    assert not step(amended, now, "enrol", "B")
    assert not step(amended, now, "select-dose", "B")
    assert step(amended, now, "select-dose", "A")


def test_a_dose_is_chosen_only_among_those_given_after_the_last_level(registered: Any) -> None:
    assert not step(registered, courses(done("A"), done("B")), "select-dose", "A")
    everything = courses(done("A"), done("B"), done("C"))
    for cohort in ("A", "B", "C"):
        assert step(registered, everything, "select-dose", cohort)
    assert not step(registered, everything, "select-dose", "EXP")
    assert not step(registered, everything, "select-dose", "A", "2.0"), "another dose was chosen"


def test_the_expansion_has_seats_only_once_its_number_is_interpreted(seed: Any) -> None:
    now = courses(done("A"), done("B"), done("C"), CohortCourse("EXP", True))
    refused = step(seed.definition, now, "enrol", "EXP", "1.0")
    assert not refused and "does not say how many seats" in refused.because[0]


def test_stopping_is_always_permitted(registered: Any) -> None:
    for cohort in registered.cohorts:
        assert step(registered, {}, "stop", cohort)


def test_an_unknown_group_permits_nothing(registered: Any) -> None:
    assert not step(registered, {}, "open", "Z")


def test_a_stopping_rule_says_so_in_its_own_words(registered: Any) -> None:
    now = courses(CohortCourse("A", True, 2, 2, 2))
    assert rule_stops(registered, now, "A") == ("two subjects of a group with a dose-limiting toxicity",)
    assert not rule_stops(registered, now, "B")


def test_levels_and_policy_are_those_of_the_version_in_force(registered: Any, amended: Any) -> None:
    assert [level.id for level in levels(registered)] == ["A", "B", "C"]
    assert policy(registered).id == "as-registered" and policy(amended).id == "three-plus-three"
    assert len(steps(registered, {})) == 17


COURSE = st.builds(
    CohortCourse,
    cohort=st.just(""),
    opened=st.booleans(),
    enrolled=st.integers(0, 7),
    evaluated=st.integers(0, 7),
    dlts=st.integers(0, 7),
    added=st.sampled_from([0, 3]),
    escalated=st.booleans(),
    stopped=st.booleans(),
)
AMENDED = load(packaged("NCT04014166")).version("3+3").definition


@given(COURSE, COURSE, COURSE)
def test_whatever_happened_no_level_opens_over_one_that_was_not_concluded(
    a: CohortCourse, b: CohortCourse, c: CohortCourse
) -> None:
    now = {key: replace(course, cohort=key) for key, course in zip("ABC", (a, b, c), strict=True)}
    for cohort, below in (("B", "A"), ("C", "AB")):
        if step(AMENDED, now, "open", cohort):
            assert all(now[key].opened and now[key].escalated and not now[key].stopped for key in below)
    for cohort in "ABC":
        if step(AMENDED, now, "enrol", cohort):
            assert now[cohort].opened and now[cohort].enrolled < 3 + now[cohort].added
            assert now[cohort].dlts < 2
        if step(AMENDED, now, "escalate", cohort):
            assert now[cohort].dlts <= 1 and now[cohort].evaluated >= max(3, now[cohort].enrolled)
