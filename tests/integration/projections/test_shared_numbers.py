"""A number that two subjects have names neither: the reading is refused, and says whom it could mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from projections.audit_trail import view as audit
from projections.audit_trail.view import Filters
from projections.engine.errors import SubjectAmbiguous, SubjectNotFound
from projections.patient import view as patient
from projections.schedule import view as schedule
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.conftest import Read

Follow = Callable[[], int]
BOTH = [subject_id(1), subject_id(2)]


def test_a_number_of_two_subjects_is_refused_by_every_page_that_is_asked_by_number(
    book: Book, follow: Follow, read: Read
) -> None:
    first = book.tell("SubjectScreened", 1, number="P-1", population="patient")
    second = book.tell("SubjectScreened", 2, number="P-1", population="patient")
    book.sign()
    follow()
    shared = book.size
    with read("patient") as reader:
        with pytest.raises(SubjectAmbiguous) as refused:
            patient.subject(reader, "P-1")
        with pytest.raises(SubjectAmbiguous):
            patient.history(reader, "P-1", first.jti)
        assert patient.subject(reader, subject_id(2))["subject"]["number"] == "P-1"
    assert (refused.value.rule, refused.value.status) == ("READ-11", 409)
    assert refused.value.details["subjects"] == sorted(BOTH)
    assert all(one in refused.value.because for one in BOTH)
    with read("schedule") as reader, pytest.raises(SubjectAmbiguous):
        schedule.schedule(reader, "P-1")
    with read("audit_trail") as reader:
        with pytest.raises(SubjectAmbiguous):
            audit.page(reader, Filters(subject="P-1"))
        with pytest.raises(SubjectAmbiguous):
            audit.csv(reader, Filters(subject="P-1"))
        assert audit.page(reader, Filters(subject=subject_id(1)))["rows"]
    book.correct(second, "number", "P-2", "number as on the list")
    book.sign()
    follow()
    with read("patient") as reader:
        assert patient.subject(reader, "P-1")["subject"]["id"] == subject_id(1)
    for name, asked in (
        ("patient", lambda r: patient.subject(r, "P-1")),
        ("schedule", lambda r: schedule.schedule(r, "P-1")),
    ):
        with read(name, as_of=shared) as reader, pytest.raises(SubjectAmbiguous):
            asked(reader)
    with read("audit_trail", as_of=shared) as reader:
        with pytest.raises(SubjectAmbiguous):
            audit.page(reader, Filters(subject="P-1"))
        with pytest.raises(SubjectNotFound):
            audit.page(reader, Filters(subject="P-2"))
    with read("audit_trail") as reader:
        assert {row["sub"] for row in audit.page(reader, Filters(subject="P-2"))["rows"]} == {
            f"subject/{subject_id(2)}"
        }
