"""What a rebuild will do is said before: from what to what, how much, whom it concerns, how many would differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.store.database import Database
from projections.definitions import model_of
from projections.engine.definition import ReadModel
from projections.engine.errors import StudyNotKnown
from projections.engine.planning import Plan, in_words, plan
from tests.integration.projections.book import Book
from tests.integration.projections.course import write
from tests.integration.projections.test_rebuilding import pointers, rebuild, schemas
from tests.integration.projections.two_versions import COHORT, breaking_at, release, second


@pytest.fixture
def followed(book: Book, follow: Callable[[], int]) -> Book:
    """A study whose projections stand at its size."""
    write(book)
    follow()
    return book


def planned(projector: Database, model: ReadModel | None = None, workers: int = 1) -> Plan:
    """The plan of the cohort projection."""
    with projector.snapshot() as conn:
        return plan(conn, "TRIAL-1", model or model_of("cohort"), workers)


def test_the_same_code_affects_nothing(followed: Book, projector: Database) -> None:
    there, live = schemas(projector), pointers(projector)
    told = planned(projector)
    assert (told.affected.extent, told.affected.changed, told.affected.subjects) == ("none", (), 0)
    assert told.sample is not None
    assert (told.sample.differ, told.sample.failed, told.sample.subjects) == (0, None, 3)
    assert (told.size, told.subjects, told.state) == (followed.size, 3, None)
    assert told.measured == "a sample of 3 subjects" and told.estimate_s is not None
    assert "cohort of TRIAL-1: version 1" in in_words(told) and "Affected: none" in in_words(told)
    assert (schemas(projector), pointers(projector)) == (there, live), "nothing is written"


def test_a_changed_handler_affects_all_and_the_sample_says_how_many_differ(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, second(), COHORT)
    told = planned(projector)
    assert told.affected.extent == "all" and "handler" in told.affected.changed
    assert told.sample is not None and (told.sample.differ, told.sample.unexplained) == (2, 0)
    release(monkeypatch, second(None), COHORT)
    told = planned(projector)
    assert told.sample is not None and (told.sample.differ, told.sample.unexplained) == (2, 2)
    assert "2 would differ, 2 of them in a way that nothing declares" in in_words(told)


@pytest.mark.parametrize(("event", "extent", "subjects"), [("ConsentGiven", "part", 1), ("SubjectDied", "none", 0)])
def test_a_changed_event_affects_those_who_have_it(
    followed: Book, projector: Database, event: str, extent: str, subjects: int
) -> None:
    model = model_of("patient")
    changed = replace(
        model, fingerprint="f" * 64, parts={**model.parts, f"event {event}": "0", f"upcaster {event}": "1"}
    )
    told = planned(projector, changed)
    assert (told.affected.extent, told.affected.subjects) == (extent, subjects)
    assert event in told.affected.because


def test_what_could_not_be_taken_in_is_said_before(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, replace(COHORT, version=2, changed=breaking_at("AdverseEventReported")), COHORT)
    told = planned(projector)
    assert told.sample is not None and told.sample.failed == "ValueError: cannot read this"
    assert told.estimate_s is None
    assert "an event cannot be taken in: ValueError" in in_words(told)


def test_a_study_that_nobody_follows_is_all_new(book: Book, projector: Database) -> None:
    write(book)
    told = planned(projector)
    assert told.source is None and told.affected.extent == "all"
    assert "nothing yet answers" in in_words(told)


def test_the_last_replay_measures_the_next_and_one_under_way_goes_on(followed: Book, projector: Database) -> None:
    rebuild(projector, "cohort")
    one, four = planned(projector), planned(projector, workers=4)
    assert (one.measured, one.state) == ("the last replay", "ready")
    assert one.estimate_s == pytest.approx(4 * (four.estimate_s or 0))
    assert "goes on" in in_words(one)


def test_a_study_that_is_not_there_has_no_plan(projector: Database) -> None:
    with pytest.raises(StudyNotKnown), projector.snapshot() as conn:
        plan(conn, "NO-STUDY", model_of("cohort"), 1)


def test_a_replay_to_another_version_is_said_to_be_in_the_way(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, second(), COHORT)
    rebuild(projector, "cohort")
    assert "begun before (ready) and goes on" in in_words(planned(projector))
    release(monkeypatch, replace(second(), version=3), second(), COHORT)
    said = in_words(planned(projector))
    assert "goes on" not in said
    assert "a replay to version 2" in said and "switch or cancel that one first" in said
