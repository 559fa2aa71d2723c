"""What readers see where something stands still or is passed over: the page of it is refused, all others say so."""

from __future__ import annotations

import pytest

from ledger.store.database import Database
from projections.audit_trail import view as trail
from projections.cohort import view as cohort
from projections.definitions import read_models
from projections.engine.errors import ProjectionStopped
from projections.engine.runner import Runner
from projections.patient import view as patient
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.sick import ONE, TWO, at_event, first, refusing, release
from tests.integration.projections.test_skipping import skip

POISON = "AdverseEventReported"


def follow_sick(projector: Database, *names: str) -> None:
    """Follow with projections that cannot take POISON in."""
    Runner(projector, release(*(refusing(name, at_event(POISON)) for name in names))).catch_up()


def test_the_page_of_what_stands_still_is_refused_with_event_index_and_cause(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    follow_sick(projector, "patient")
    index = first(book, POISON)
    with read("patient") as reader:
        assert patient.subject(reader, TWO)["cut"]["size"] == book.size
        with pytest.raises(ProjectionStopped) as refused:
            patient.subject(reader, ONE)
    told = refused.value.as_dict()
    assert (refused.value.status, told["indexes"], told["event"]) == (503, [index], POISON)
    assert told["because"] == f"subject/{ONE} stands still at index {index} ({POISON}): ValueError: cannot read this"
    assert "EventSkipped" in told["remedy"]


def test_a_page_of_the_whole_study_goes_on_and_names_what_stands_still(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    follow_sick(projector, "patient", "cohort")
    told = {"about": f"subject/{ONE}", "index": first(book, POISON), "event": POISON}
    with read("patient") as reader:
        listed = patient.subjects(reader)
    assert len(listed["subjects"]) == 2
    (stopped,) = listed["cut"]["stopped"]
    assert stopped == told | {"because": "ValueError: cannot read this"}
    with read("cohort") as reader:
        assert cohort.cohorts(reader)["cut"]["stopped"] == [stopped]
    with read("schedule") as reader:
        assert reader.cut()["stopped"] == [] == reader.cut()["skipped"]


def test_below_the_event_the_page_is_what_it_was_and_beyond_it_is_refused(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    Runner(projector, read_models()).catch_up()
    index = first(book, POISON)
    with read("patient", as_of=index) as reader:
        before = patient.subject(reader, ONE)
    book.tell("VisitRecorded", 2, visit="V2")
    book.tell(POISON, 1, term="Cough")
    book.tell("VisitRecorded", 2, visit="V3")
    book.sign()
    last = book.size - 2
    sick = refusing("patient", lambda record: record.index == last)
    Runner(projector, release(sick)).catch_up()
    with read("patient", as_of=index) as reader:
        assert patient.subject(reader, ONE) == before
    with read("patient", as_of=last) as reader:
        assert reader.cut()["stopped"] == []
    with read("patient", as_of=last + 1) as reader:
        assert [one["index"] for one in reader.cut()["stopped"]] == [last]
        with pytest.raises(ProjectionStopped):
            patient.subject(reader, ONE)
        assert patient.subjects(reader)["subjects"]


def test_the_trail_shows_what_it_has_and_says_whose_entries_are_missing(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    follow_sick(projector, "audit_trail")
    with read("audit_trail") as reader:
        page = trail.page(reader, trail.Filters())
        assert [one["about"] for one in page["cut"]["stopped"]] == [f"subject/{ONE}"]
        with pytest.raises(ProjectionStopped):
            trail.page(reader, trail.Filters(subject=ONE))


def test_what_is_passed_over_stands_in_the_cut_of_that_projection_alone(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    index = first(book, POISON)
    follow_sick(projector, "patient")
    decided = skip(book, index, "patient")
    book.sign()
    follow_sick(projector, "patient")
    told = {"about": f"subject/{ONE}", "index": index, "event": POISON, "decided_at": decided}
    for size in (None, book.size, decided, index + 1):
        with read("patient", as_of=size) as reader:
            assert reader.cut()["skipped"] == [told] and reader.cut()["stopped"] == []
            page = patient.subject(reader, ONE)
            assert POISON not in str(page["sections"] if "sections" in page else page).replace(str(page["cut"]), "")
    with read("patient", as_of=index) as reader:
        assert reader.cut()["skipped"] == []
    with read("safety") as reader:
        assert reader.cut()["skipped"] == []


def test_a_study_that_cannot_be_folded_is_answered_below_that_and_refused_beyond(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    poison = book.size
    book.tell("StudyHeld", claims={"v": 2}, iss="spo", role="sponsor", site=None, reason="a batch is in doubt")
    book.tell("VisitRecorded", 1, visit="V1")
    book.sign()
    Runner(projector, read_models()).catch_up()
    for name in ("patient", "cohort", "audit_trail"):
        with pytest.raises(ProjectionStopped) as refused, read(name):
            pass
        assert refused.value.indexes == (poison,)
        with read(name, as_of=poison) as reader:
            assert reader.cut()["stopped"] == []


def test_an_enrolment_that_is_passed_over_gives_no_seat_in_that_projection(
    book: Book, projector: Database, read: Read
) -> None:
    write(book)
    enrolled = max(row.idx for row in book.rows if row.topic.startswith("SubjectEnrolled/"))
    skip(book, enrolled, "cohort")
    book.sign()
    Runner(projector, read_models()).catch_up()
    with read("outcomes") as reader:
        assert reader.enrolment_order(f"subject/{ONE}") == 1
    with read("cohort") as reader:
        assert reader.enrolment_order(f"subject/{ONE}") is None
