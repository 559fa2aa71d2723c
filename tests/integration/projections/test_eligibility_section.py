"""The section on eligibility says at which moment it judges, and does not contradict what was decided."""

from __future__ import annotations

from typing import Any

from projections.patient import view as patient
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.simulator import Simulator, Subject


def section(sim: Simulator, number: str = "001") -> dict[str, Any]:
    """The section on eligibility of a patient's page."""
    with reading(sim, "patient") as reader:
        shown: dict[str, Any] = patient.subject(reader, number)["eligibility"]
    return shown


def ready(sim: Simulator) -> Subject:
    """Somebody of whom everything is known that a decision needs."""
    sim.open_cohort("LOW")
    person = sim.subject("001")
    sim.screen(person)
    sim.consent(person)
    sim.make_eligible(person)
    return person


def test_without_a_decision_the_verdicts_are_those_of_now(trial: Simulator) -> None:
    ready(trial)
    shown = section(trial)
    assert (shown["judged"], shown["permits"], shown["now"]) == ("now", True, None)


def test_until_enrolment_those_of_now_stand_beside_those_of_the_decision(trial: Simulator) -> None:
    person = ready(trial)
    decided = trial.decide_eligible(person)
    trial.later(days=1)
    trial.result(person, "FERR", "12", "ug/L", occurred_at=trial.stamp())
    shown = section(trial)
    assert shown["judged"] == f"as at the eligibility decision at index {decided.index}"
    assert (shown["permits"], shown["failing"]) == (True, [])
    assert (shown["now"]["permits"], shown["now"]["failing"]) == (False, ["I2"])
    assert {one["id"] for one in shown["now"]["criteria"]} == {one["id"] for one in shown["criteria"]}


def test_after_enrolment_only_those_of_the_decision_are_shown(trial: Simulator) -> None:
    person = ready(trial)
    decided = trial.decide_eligible(person)
    enrolled = trial.enrol(person, "LOW")
    trial.later(days=1)
    trial.approve_consent("2", "en")
    trial.result(person, "FERR", "12", "ug/L", occurred_at=trial.stamp())
    shown = section(trial)
    assert (shown["permits"], shown["failing"], shown["now"]) == (True, [], None)
    assert shown["decision"]["index"] == decided.index
    trial.reverse(enrolled)
    assert section(trial)["now"]["permits"] is False


def test_who_left_before_enrolment_is_not_judged_any_more(trial: Simulator) -> None:
    person = ready(trial)
    trial.decide_eligible(person)
    trial.fact("SubjectWithdrawn", person, occurred_at=trial.stamp())
    assert section(trial)["now"] is None


def test_a_decision_that_was_reversed_judges_nothing(trial: Simulator) -> None:
    person = ready(trial)
    told = trial.decide_eligible(person)
    trial.reverse(told)
    shown = section(trial)
    assert (shown["judged"], shown["decision"], shown["now"]) == ("now", None, None)
