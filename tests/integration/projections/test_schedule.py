"""The schedule: planned against actual, as of the moment of reading; what is due and what was missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from projections.engine.errors import SubjectNotFound
from projections.patient import view as patient
from projections.schedule import view as schedule
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.simulator import Simulator, Subject


def standings(sim: Simulator, number: str, as_of: int | str | None = None) -> dict[str, str]:
    """The standing of each occasion of a subject."""
    with reading(sim, "schedule", as_of) as reader:
        (found,) = schedule.schedule(reader, number)["subjects"]
    return {one["key"]: one["standing"] for one in found["occasions"]}


@pytest.fixture
def ada(trial: Simulator) -> Subject:
    """Somebody enrolled who had the first dose today."""
    trial.open_cohort("LOW")
    person = trial.admit(trial.subject("001"), "LOW")
    trial.treat(person, 1)
    return person


def test_a_plan_begins_with_its_anchor(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    person = trial.admit(trial.subject("001"), "LOW")
    assert set(standings(trial, "001").values()) == {"not planned yet"}
    trial.treat(person, 1)
    assert standings(trial, "001") == {"DOSE1": "in window", "DOSE2": "upcoming", "FERR": "upcoming"}


def test_time_alone_makes_something_due_and_then_missed(trial: Simulator, ada: Subject) -> None:
    for days, standing in ((6, "due"), (1, "due"), (2, "missed")):
        trial.later(days=days)
        assert standings(trial, "001")["FERR"] == standing
    with reading(trial, "patient") as reader:
        assert [one["key"] for one in patient.subject(reader, "001")["due"]] == ["FERR"]


def test_what_was_done_stands_in_or_out_of_its_window(trial: Simulator, ada: Subject) -> None:
    trial.later(days=5)
    early = trial.draw(ada, "S-1", planned="FERR")
    assert standings(trial, "001")["FERR"] == "early"
    trial.later(days=2)
    trial.draw(ada, "S-2", planned="FERR")
    assert standings(trial, "001")["FERR"] == "in window", "of two draws the one in the window counts"
    assert standings(trial, "001", early.index + 1)["FERR"] == "early"


def test_a_correction_of_the_time_changes_the_standing(trial: Simulator, ada: Subject) -> None:
    trial.later(days=11)
    drawn = trial.draw(ada, "S-1", planned="FERR")
    assert standings(trial, "001")["FERR"] == "late"
    day = (trial.clock().date()).fromordinal(trial.clock().date().toordinal() - 4)
    trial.correct(drawn, "occurred_at", day.isoformat(), "date of the form, not of the draw")
    assert standings(trial, "001")["FERR"] == "in window"
    trial.void(drawn)
    assert standings(trial, "001")["FERR"] == "missed"


def test_a_time_point_that_a_correction_took_away_is_open_again(trial: Simulator, ada: Subject) -> None:
    trial.later(days=7)
    drawn = trial.draw(ada, "S-1", planned="FERR")
    assert standings(trial, "001")["FERR"] == "in window"
    trial.correct(drawn, "planned", None, "drawn for another reason")
    assert standings(trial, "001")["FERR"] == "due"


def test_what_was_recorded_as_not_done_is_not_missed(trial: Simulator, ada: Subject) -> None:
    trial.later(days=7)
    trial.fact("SpecimenDrawn", ada, planned="FERR", status="not done", status_reason="no vein")
    trial.later(days=30)
    with reading(trial, "schedule") as reader:
        (found,) = schedule.schedule(reader, "001")["subjects"]
    point = next(one for one in found["occasions"] if one["key"] == "FERR")
    assert (point["standing"], point["because"]) == ("not done", "no vein")
    assert [one["standing"] for one in point["actual"]] == ["not done"]


def test_the_result_of_a_drawn_specimen_is_not_what_is_due(trial: Simulator, ada: Subject) -> None:
    trial.later(days=7)
    trial.draw(ada, "S-1", planned="FERR")
    trial.later(days=9)
    trial.result(ada, "FERR", "40", "ug/L", specimen="S-1", planned="FERR", occurred_at=trial.stamp())
    with reading(trial, "schedule") as reader:
        (found,) = schedule.schedule(reader, "001")["subjects"]
    point = next(one for one in found["occasions"] if one["key"] == "FERR")
    assert [one["event"] for one in point["actual"]] == ["SpecimenDrawn"]
    assert point["standing"] == "in window"


def test_controls_have_no_plan_of_patients(trial: Simulator) -> None:
    trial.screen(trial.subject("C-1"), population="healthy-control")
    assert set(standings(trial, "C-1").values()) == {"not applicable"}


def test_the_list_is_paged_and_filtered(trial: Simulator, ada: Subject) -> None:
    for number in ("002", "003"):
        trial.screen(trial.subject(number))
    with reading(trial, "schedule") as reader:
        first = schedule.schedule(reader, limit=2)
        second = schedule.schedule(reader, after=first["next"], limit=2)
        only = schedule.schedule(reader, standing="in window")
        with pytest.raises(SubjectNotFound):
            schedule.schedule(reader, "004")
    assert [one["number"] for one in (*first["subjects"], *second["subjects"])] == ["001", "002", "003"]
    shown: list[Any] = [one for subject in only["subjects"] for one in subject["occasions"]]
    assert {one["standing"] for one in shown} == {"in window"}


def test_a_study_without_a_protocol_has_an_empty_schedule(book: Book, follow: Callable[[], int], read: Read) -> None:
    write(book)
    follow()
    with read("schedule") as reader:
        shown = schedule.schedule(reader)
    assert [one["occasions"] for one in shown["subjects"]] == [[], []]
