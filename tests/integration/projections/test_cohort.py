"""The cohorts' page says what the writer would do: seats, dose, toxicities, reviews, what stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from projections.cohort import view as cohort
from projections.engine.errors import CohortNotFound
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.simulator import Simulator, Subject, refused


def page(sim: Simulator, as_of: int | str | None = None) -> dict[str, Any]:
    """The cohorts' page."""
    with reading(sim, "cohort", as_of) as reader:
        return cohort.cohorts(reader)


def one(sim: Simulator, name: str) -> dict[str, Any]:
    """One cohort."""
    with reading(sim, "cohort") as reader:
        return cohort.cohort(reader, name)


def steps(shown: dict[str, Any]) -> dict[str, list[str]]:
    """The rules in the way of each step."""
    return {step["step"]: [refusal["rule"] for refusal in step["blocked_by"]] for step in shown["next"]}


def treated(sim: Simulator, number: str, name: str) -> Subject:
    """Somebody enrolled who had every administration."""
    admitted = sim.admit(sim.subject(number), name)
    sim.treat(admitted, 1, name)
    sim.later(days=14)
    sim.treat(admitted, 2, name)
    return admitted


def test_before_anything_is_open_the_first_cohort_can_be_opened_and_no_other(trial: Simulator) -> None:
    shown = {found["id"]: found for found in page(trial)["cohorts"]}
    assert {name: found["status"] for name, found in shown.items()} == dict.fromkeys(("LOW", "HIGH", "MAIN"), "planned")
    assert steps(shown["LOW"]) == {"open": []}
    assert "COHORT-6" in steps(shown["HIGH"])["open"]
    assert "COHORT-8" in steps(shown["MAIN"])["open"]
    with refused("COHORT-6"):
        trial.open_cohort("HIGH")
    trial.open_cohort("LOW")
    assert one(trial, "LOW")["status"] == "open"
    assert steps(one(trial, "LOW"))["enrol"] == []


def test_seats_taken_and_free_and_the_refusal_of_one_too_many(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    for number in ("001", "002", "003"):
        trial.admit(trial.subject(number), "LOW")
    shown = one(trial, "LOW")
    assert (shown["seats"], shown["enrolled"], shown["free"], shown["dose"]) == (3, 3, 0, "1.5")
    assert [(s["number"], s["order"], s["administrations"]) for s in shown["subjects"]] == [
        ("001", 1, 0),
        ("002", 2, 0),
        ("003", 3, 0),
    ]
    assert steps(shown)["enrol"] == ["COHORT-3"]
    with refused("COHORT-3"):
        trial.admit(trial.subject("004"), "LOW")


def test_a_reversed_enrolment_frees_its_seat(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.subject("001")
    trial.screen(ada)
    trial.consent(ada)
    trial.make_eligible(ada)
    trial.decide_eligible(ada)
    told = trial.enrol(ada, "LOW")
    assert one(trial, "LOW")["enrolled"] == 1
    trial.reverse(told)
    shown = one(trial, "LOW")
    assert (shown["enrolled"], shown["free"], shown["subjects"]) == (0, 3, [])
    assert page(trial, as_of=told.index + 1)["enrolled"] == 1


def test_who_is_still_watched_holds_up_the_review_and_what_comes_after_its_cut_outdates_it(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    people = [treated(trial, number, "LOW") for number in ("001", "002")]
    last = trial.admit(trial.subject("003"), "LOW")
    trial.treat(last, 1)
    early = one(trial, "LOW")
    assert early["subjects"][-1]["watch"]["standing"] == "watched"
    assert "REVIEW-3" in steps(early)["review: escalate"]
    known = trial.adverse_event(people[0], "cough", 1)
    trial.later(days=60)
    trial.result(people[0], "FERR", "50", "ug/L")
    shown = one(trial, "LOW")
    assert (shown["evaluated"], shown["dlts"]) == (3, 0)
    assert steps(shown)["review: escalate"] == []
    assert steps(shown)["review: expand-cohort"] != []
    review = trial.review("LOW")
    assert steps(next(c for c in page(trial)["cohorts"] if c["id"] == "HIGH")) == {"open": []}
    late = trial.adverse_event(people[1], "fever", 2)
    after = page(trial)
    (reviewed,) = next(c for c in after["cohorts"] if c["id"] == "LOW")["reviews"]
    assert (reviewed["index"], reviewed["basis_changed"]) == (review.index, [])
    assert reviewed["after_its_cut"] == [late.index]
    assert steps(next(c for c in after["cohorts"] if c["id"] == "HIGH")) == {"open": ["COHORT-7"]}
    with refused("COHORT-7"):
        trial.open_cohort("HIGH")
    act = trial.correct(known, "grade", 2, "graded by the other scale")
    (reviewed,) = one(trial, "LOW")["reviews"]
    assert reviewed["basis_changed"] == [act.index]


def test_a_dose_limiting_toxicity_counts_once_it_is_adjudicated_and_no_longer_when_reversed(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = treated(trial, "001", "LOW")
    event = trial.adverse_event(ada, "fever", 3)
    assert one(trial, "LOW")["dlts"] == 0
    judged = trial.adjudicate(ada, event, True)
    shown = one(trial, "LOW")
    assert shown["dlts"] == 1
    assert [d["index"] for s in shown["subjects"] for d in s["dlts"]] == [judged.index]
    trial.reverse(judged)
    assert one(trial, "LOW")["dlts"] == 0


def test_a_held_cohort_says_what_holds_it(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    told = trial.hold_cohort("LOW", "a signal")
    shown = one(trial, "LOW")
    assert (shown["status"], shown["holding"]["index"], shown["holding"]["fields"]["reason"]) == (
        "held",
        told.index,
        "a signal",
    )
    assert steps(shown)["enrol"] == ["COHORT-2"]
    trial.resume_cohort("LOW")
    assert one(trial, "LOW")["status"] == "open"


def test_as_of_an_earlier_size_the_cohorts_are_as_they_were(trial: Simulator) -> None:
    opened = trial.open_cohort("LOW")
    trial.admit(trial.subject("001"), "LOW")
    assert page(trial, as_of=opened.index)["cohorts"][0]["status"] == "planned"
    assert page(trial, as_of=opened.index + 1)["cohorts"][0]["enrolled"] == 0
    assert page(trial)["cohorts"][0]["enrolled"] == 1


def test_screen_failures_and_controls_are_counted_apart(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    trial.admit(trial.subject("001"), "LOW")
    for number, population in (("002", "patient"), ("003", "healthy-control")):
        person = trial.subject(number)
        trial.screen(person, population=population)
    failed = trial.subject("004")
    trial.screen(failed)
    trial.consent(failed)
    trial.decide_eligible(failed, eligible=False)
    shown = page(trial)
    assert (shown["enrolled"], shown["screen_failures"], shown["subjects"]) == (1, 1, 4)
    assert shown["populations"] == {"patient": 3, "healthy-control": 1}
    assert shown["controls"] == {"healthy-control": 1}
    assert shown["planned_enrolment"] == {"count": 10, "kind": "estimated"}


def test_a_cohort_that_the_protocol_does_not_have_is_not_found(trial: Simulator) -> None:
    with pytest.raises(CohortNotFound):
        one(trial, "MEDIUM")


def test_a_study_without_cohorts_is_served(book: Book, follow: Callable[[], int], read: Read) -> None:
    write(book)
    follow()
    with read("cohort") as reader:
        shown = cohort.cohorts(reader)
        with pytest.raises(CohortNotFound):
            cohort.cohort(reader, "LOW")
    assert (shown["cohorts"], shown["unplanned"], shown["enrolled"]) == ([], {"HIGH": 1}, 1)
    assert shown["dose_choices"] == []
    assert shown["protocol"] is None
