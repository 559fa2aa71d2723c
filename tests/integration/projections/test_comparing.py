"""Two versions of a projection in one database, compared in one snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.store.database import Database
from projections.engine import comparing, difference
from projections.engine.comparing import Comparison, compare, recheck
from projections.engine.definition import STUDY_PARTITION
from projections.engine.difference import Difference
from projections.engine.errors import NormaliserUnsound, StudyNotKnown
from projections.engine.reading import root_at
from tests.integration.projections import course
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.versions import MODELS, TWO, fill, filled

ONE, OTHER = MODELS[1], MODELS[2]


@pytest.fixture
def two(projector: Database, book: Book) -> Book:
    """Both versions of the course."""
    course.write(book)
    filled(projector, book)
    return book


def compared(projector: Database, book: Book, *models: Any) -> tuple[Comparison, list[Difference]]:
    found: list[Difference] = []
    with projector.snapshot() as conn:
        made = compare(conn, book.study, *(models or (ONE, OTHER)), book.size, found.extend)
    return made, found


def test_every_difference_is_found_and_only_what_nothing_declares_is_unexplained(
    two: Book, projector: Database
) -> None:
    made, found = compared(projector, two)
    assert {(one.table, one.column, one.kind, one.why) for one in found} == {
        ("events", "event", "changed", "as the normaliser says"),
        ("events", "occurred", "changed", "new column"),
        ("events", "site", "changed", "not as the normaliser says"),
        ("lines", "", "removed", "dropped table"),
    }
    wrong = [one for one in found if not one.intended]
    assert [(one.partition, one.before, one.after) for one in wrong] == [(subject_id(1), '"S1"', '"LAB"')]
    assert not made
    assert made.tally.unexplained_classes == {("events", "site", "changed")}
    assert made.counts["unexplained"] == 1
    assert made.counts["changed"] == two.size
    assert made.counts["removed"] == made.counts["partitions"] == 3


def test_the_report_states_what_was_compared_and_holds_no_value(two: Book, projector: Database) -> None:
    made, _ = compared(projector, two)
    report = made.report
    with projector.snapshot() as conn:
        assert report["root"] == comparing.b64url(root_at(conn, two.study, two.size))
    assert (report["size"], report["redactions"], report["projection"]) == (two.size, 0, "invented")
    assert (report["before"]["version"], report["after"]["version"]) == (1, 2)
    assert report["before"]["digest"] != report["after"]["digest"]
    assert {site: had["subjects"] for site, had in report["sites"].items()} == {"": 0, "S1": 2}
    assert report["subjects"][0] == {
        "subject": subject_id(1),
        "intended": report["subjects"][0]["intended"],
        "unexplained": 1,
    }
    for value in ("P-1", "LAB", "LabResultReported", "LABRESULT", "1990"):
        assert value not in repr(report)


def test_a_version_compared_with_itself_differs_in_nothing_and_is_not_looked_into(
    two: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(ONE, fingerprint="3" * 64)
    with projector.connection() as conn:
        fill(conn, again, two)
    monkeypatch.setattr(comparing, "partition_rows", None)
    made, found = compared(projector, two, ONE, again)
    assert found == []
    assert made
    assert made.before_digest == made.after_digest


def test_an_altered_row_of_a_rebuild_shows_in_its_subject_alone(two: Book, projector: Database) -> None:
    again = replace(ONE, fingerprint="3" * 64)
    with projector.connection() as conn:
        fill(conn, again, two)
        conn.execute(f"UPDATE {again.schema}.events SET site = NULL WHERE event = 'SubjectWithdrawn'")
    made, found = compared(projector, two, ONE, again)
    assert [(one.partition, one.column, one.before, one.after, one.intended) for one in found] == [
        (subject_id(2), "site", '"S1"', "null", False)
    ]
    assert [one["subject"] for one in made.report["subjects"]] == [subject_id(2)]


def test_the_way_back_is_the_same_seen_from_the_other_side(two: Book, projector: Database) -> None:
    forth, back = compared(projector, two)[1], compared(projector, two, OTHER, ONE)[1]
    assert sorted(map(repr, map(difference.flipped, back))) == sorted(map(repr, forth))


@pytest.mark.parametrize("held", [1, 3, 7])
def test_the_report_is_the_same_however_few_rows_are_held(
    two: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    expected, found = compared(projector, two)
    monkeypatch.setattr(comparing, "MAX_ROWS_HELD", held)
    monkeypatch.setattr(difference.differences, "__defaults__", (held,))
    monkeypatch.setattr(comparing, "FETCH", 2)
    monkeypatch.setattr(comparing, "BATCH", 3)
    again, others = compared(projector, two)
    assert again.report_digest == expected.report_digest
    assert sorted(map(repr, others)) == sorted(map(repr, found))


def test_a_recheck_finds_what_is_unexplained_in_the_partitions_asked_for(two: Book, projector: Database) -> None:
    with projector.snapshot() as conn:
        assert recheck(conn, two.study, ONE, OTHER, [subject_id(2), STUDY_PARTITION, subject_id(99)]) == frozenset()
        found = recheck(conn, two.study, ONE, OTHER, [subject_id(2), subject_id(1)])
        assert found == {("events", "site", "changed")}
        assert recheck(conn, two.study, ONE, OTHER, []) == frozenset()


def test_a_normaliser_that_is_amiss_refuses_the_comparison(two: Book, projector: Database) -> None:
    broken = replace(OTHER, definition=replace(TWO, normaliser=lambda table, row: [("evts", row)]))
    with pytest.raises(NormaliserUnsound, match="'evts'"):
        compared(projector, two, ONE, broken)


def test_a_study_that_is_not_there_is_refused(two: Book, projector: Database) -> None:
    with projector.snapshot() as conn, pytest.raises(StudyNotKnown):
        compare(conn, "NO-STUDY", ONE, OTHER, 0)


def test_subjects_without_a_screening_are_counted_at_the_site_that_recorded_them_first(
    book: Book, projector: Database
) -> None:
    book.tell("LabResultReported", 5, role="laboratory", site="S7", analyte="ferritin", value="12", unit="ug/L")
    moved = book.tell("SubjectScreened", 6, site="S1", number="P-6", population="patient")
    book.tell("SubjectTransferred", 6, site="S1", to_site="S2", reason="moved")
    book.correct(moved, "number", "P-06")
    book.sign()
    filled(projector, book)
    made, _ = compared(projector, book)
    assert {site: had["subjects"] for site, had in made.report["sites"].items()} == {"": 0, "S2": 1, "S7": 1}
