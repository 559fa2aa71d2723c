"""What is planned after a subject's part has ended is not due; what was withheld is not missed."""

from __future__ import annotations

from typing import Any

import pytest

from projections.engine.errors import ReadingMalformed
from projections.patient import view as patient
from projections.schedule import view as schedule
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.simulator import Simulator, Subject


def plan(sim: Simulator, number: str = "001") -> dict[str, dict[str, Any]]:
    """The occasions of a subject, by key."""
    with reading(sim, "schedule") as reader:
        (found,) = schedule.schedule(reader, number)["subjects"]
    return {one["key"]: one for one in found["occasions"]}


def due(sim: Simulator, number: str = "001") -> list[str]:
    """What somebody has to look at."""
    with reading(sim, "patient") as reader:
        return [one["key"] for one in patient.subject(reader, number)["due"]]


@pytest.fixture
def ada(trial: Simulator) -> Subject:
    """Somebody who had the first dose today."""
    trial.open_cohort("LOW")
    person = trial.admit(trial.subject("001"), "LOW")
    trial.treat(person, 1)
    return person


@pytest.mark.parametrize("event", ["SubjectWithdrawn", "SubjectCompleted", "SubjectDied"])
def test_after_the_end_nothing_is_due_or_missed_that_was_not_missed_before(
    trial: Simulator, ada: Subject, event: str
) -> None:
    trial.later(days=10)
    assert plan(trial)["FERR"]["standing"] == "missed"
    ended = trial.fact(event, ada, occurred_at=trial.stamp())
    trial.later(days=30)
    shown = plan(trial)
    assert shown["FERR"]["standing"] == "missed", "its window had closed before"
    assert (shown["DOSE2"]["standing"], shown["DOSE2"]["ended_by"]) == ("no longer planned", ended.index)
    assert f"{event} at index {ended.index}" in shown["DOSE2"]["because"]
    assert shown["DOSE1"]["standing"] == "in window", "what was done stays done"
    assert due(trial) == ["FERR"]


def test_what_was_due_on_the_day_of_the_end_is_not_missed_afterwards(trial: Simulator, ada: Subject) -> None:
    trial.later(days=7)
    assert due(trial) == ["FERR"]
    trial.fact("SubjectWithdrawn", ada, occurred_at=trial.stamp())
    trial.later(days=30)
    assert plan(trial)["FERR"]["standing"] == "no longer planned"
    assert due(trial) == []


def test_an_end_that_is_void_ends_nothing(trial: Simulator, ada: Subject) -> None:
    ended = trial.fact("SubjectWithdrawn", ada, occurred_at=trial.stamp())
    trial.later(days=30)
    assert plan(trial)["FERR"]["standing"] == "no longer planned"
    trial.void(ended)
    assert plan(trial)["FERR"]["standing"] == "missed"


def test_the_end_of_treatment_ends_the_doses_and_not_the_samples(trial: Simulator, ada: Subject) -> None:
    trial.fact("TreatmentDiscontinued", ada, occurred_at=trial.stamp())
    trial.later(days=30)
    assert {key: one["standing"] for key, one in plan(trial).items()} == {
        "DOSE1": "in window",
        "DOSE2": "no longer planned",
        "FERR": "missed",
    }


def test_a_withdrawn_consent_ends_what_needs_its_scope_until_there_is_consent_again(
    trial: Simulator, ada: Subject
) -> None:
    trial.later(days=1)
    told = trial.withdraw_consent(ada, "specimens")
    shown = plan(trial)
    assert (shown["FERR"]["standing"], shown["FERR"]["ended_by"]) == ("no longer planned", told.index)
    assert shown["DOSE2"]["standing"] == "upcoming"
    trial.later(days=1)
    trial.consent(ada)
    assert plan(trial)["FERR"]["standing"] == "upcoming"


def test_a_dose_that_was_withheld_is_not_done_with_its_reason(trial: Simulator, ada: Subject) -> None:
    trial.later(days=14)
    told = trial.fact("InfusionWithheld", ada, number=2, reason="fever", occurred_at=trial.stamp())
    trial.later(days=30)
    shown = plan(trial)["DOSE2"]
    assert (shown["standing"], shown["because"]) == ("not done", "withheld: fever")
    assert [one["index"] for one in shown["actual"]] == [told.index]
    assert "DOSE2" not in due(trial)
    trial.void(told)
    assert plan(trial)["DOSE2"]["standing"] == "missed"


def test_a_standing_that_there_is_not_is_refused_with_those_that_there_are(trial: Simulator, ada: Subject) -> None:
    with reading(trial, "schedule") as reader:
        assert schedule.schedule(reader, standing="no longer planned")["subjects"][0]["occasions"] == []
        with pytest.raises(ReadingMalformed, match=r"in window, early.*no longer planned"):
            schedule.schedule(reader, standing="nonsense")
    with reading(trial, "patient") as reader, pytest.raises(ReadingMalformed, match=r"not screened, .*died"):
        patient.subjects(reader, status="nonsense")
