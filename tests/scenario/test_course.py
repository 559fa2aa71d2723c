"""The invented study runs from genesis to its main part, on its protocol file alone."""

from __future__ import annotations

from tests.scenario.simulator import Simulator, refused


def test_a_subject_is_screened_enrolled_and_treated(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    trial.treat(ada, 1)
    trial.later(days=14)
    trial.treat(ada, 2)
    assert trial.dump().count("InfusionGiven") == 2


def test_nobody_is_enrolled_without_consent(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ben = trial.subject("002")
    trial.screen(ben)
    trial.make_eligible(ben)
    with refused("CONSENT-1") as problem:
        trial.decide_eligible(ben)
    assert "ConsentGiven" in problem["remedy"]
