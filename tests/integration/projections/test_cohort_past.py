"""What happened in a cohort stays visible: reviews that were reversed, holds that were lifted; and the next steps."""

from __future__ import annotations

from typing import Any

import pytest

from projections.cohort import view as cohort
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.simulator import Simulator, Subject


def one(sim: Simulator, name: str, as_of: int | None = None) -> dict[str, Any]:
    """One cohort."""
    with reading(sim, "cohort", as_of) as reader:
        return cohort.cohort(reader, name)


def steps(shown: dict[str, Any]) -> dict[str, bool]:
    """The steps that are offered, and whether they are permitted."""
    return {step["step"]: step["permitted"] for step in shown["next"]}


def watched(sim: Simulator, name: str, *numbers: str) -> list[Subject]:
    """People of a cohort who had every administration and were watched long enough."""
    people = [sim.admit(sim.subject(number), name) for number in numbers]
    for person in people:
        sim.treat(person, 1, name)
    sim.later(days=14)
    for person in people:
        sim.treat(person, 2, name)
    sim.later(days=60)
    return people


@pytest.fixture
def people(trial: Simulator) -> list[Subject]:
    """Three people by whom the first cohort is full, and of whom nobody is watched any more."""
    trial.open_cohort("LOW")
    return watched(trial, "LOW", "001", "002", "003")


@pytest.fixture
def low(trial: Simulator, people: list[Subject]) -> Simulator:
    """A trial whose first cohort can be reviewed."""
    return trial


def test_a_reversed_review_stays_on_the_list_with_who_reversed_it_and_why(low: Simulator) -> None:
    told = low.review("LOW")
    (review,) = one(low, "LOW")["reviews"]
    assert (review["standing"], review["reversed"]) == ("stands", None)
    act = low.reverse(told, "a diary was overlooked")
    (review,) = one(low, "LOW")["reviews"]
    assert (review["index"], review["conclusion"], review["standing"]) == (told.index, "escalate", "reversed")
    assert (review["reversed"]["index"], review["reversed"]["reason"]) == (act.index, "a diary was overlooked")
    assert review["reversed"]["actor"] == review["actor"]
    assert one(low, "LOW", as_of=act.index)["reviews"][0]["reversed"] is None


def test_every_hold_says_since_when_why_and_what_lifted_it(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    held = trial.hold_cohort("LOW", "a signal")
    (hold,) = one(trial, "LOW")["holds"]
    assert (hold["index"], hold["reason"], hold["in_force"], hold["resumed_at"]) == (
        held.index,
        "a signal",
        True,
        None,
    )
    resumed = trial.resume_cohort("LOW", "a false alarm")
    shown = one(trial, "LOW")
    assert shown["holding"] is None
    (hold,) = shown["holds"]
    assert (hold["in_force"], hold["resumed"], hold["resumptions"][0]["reason"]) == (
        False,
        resumed.index,
        "a false alarm",
    )
    assert hold["held_at"] < hold["resumed_at"]


def test_a_resumption_that_was_reversed_lifts_nothing_and_stays_visible(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    trial.hold_cohort("LOW", "a signal")
    resumed = trial.resume_cohort("LOW")
    act = trial.reverse(resumed, "too early")
    shown = one(trial, "LOW")
    (hold,) = shown["holds"]
    assert shown["status"] == "held"
    assert (hold["in_force"], hold["resumed"], hold["resumptions"][0]["reversed"]["index"]) == (True, None, act.index)


def test_a_hold_by_hand_is_not_lifted_by_a_review_nor_one_by_a_review_by_hand(low: Simulator) -> None:
    by_hand = low.hold_cohort("LOW", "a signal")
    by_review = low.review("LOW", "hold")
    low.review("LOW", "escalate")
    holds = {hold["index"]: hold for hold in one(low, "LOW")["holds"]}
    assert holds[by_hand.index]["in_force"] is True
    assert (holds[by_review.index]["in_force"], holds[by_review.index]["conclusion"]) == (False, "hold")
    assert one(low, "LOW")["holding"]["index"] == by_hand.index


def test_what_was_concluded_is_not_offered_again_until_something_of_safety_follows(
    low: Simulator, people: list[Subject]
) -> None:
    assert steps(one(low, "LOW"))["review: escalate"] is True
    assert "review: complete" not in steps(one(low, "LOW")), "a higher level exists"
    told = low.review("LOW")
    assert set(steps(one(low, "LOW"))) == {"enrol"}
    low.reverse(told)
    assert steps(one(low, "LOW"))["review: escalate"] is True
    low.review("LOW")
    low.adverse_event(people[0], "fever", 2)
    assert steps(one(low, "LOW"))["review: escalate"] is True


def test_the_last_level_is_completed_and_not_escalated(low: Simulator) -> None:
    low.review("LOW")
    low.open_cohort("HIGH")
    watched(low, "HIGH", "004", "005", "006")
    assert steps(one(low, "HIGH")) == {"enrol": False, "review: expand-cohort": False, "review: complete": True}
    low.review("HIGH", "complete")
    assert set(steps(one(low, "HIGH"))) == {"enrol"}
