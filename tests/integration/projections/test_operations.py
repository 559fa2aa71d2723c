"""What an operator sees: where each projection stands, digests, rebuilding by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.store.database import Database
from projections.definitions import NAMES, read_models
from projections.engine import operations
from projections.engine.errors import StudyNotKnown
from projections.engine.overview import overview
from projections.engine.sql import on
from tests.integration.projections.book import Book
from tests.integration.projections.course import write


def test_each_projection_says_where_it_stands_and_how_far_behind_it_is(
    book: Book, database: Database, follow: Callable[[], int]
) -> None:
    at = book.sign()
    follow()
    write(book)
    listed = operations.standing(database, "TRIAL-1")
    assert [one["name"] for one in listed] == list(NAMES)
    assert {(one["position"], one["signed"], one["behind"]) for one in listed} == {(at, book.size, book.size - at)}
    assert all(one["live"] and one["stopped"] == [] for one in listed)


def test_a_projection_that_stopped_says_where_and_why(
    book: Book, database: Database, projector: Database, follow: Callable[[], int]
) -> None:
    book.sign()
    follow()
    write(book)
    values = {
        "study": "TRIAL-1",
        "partition": "study",
        "idx": 3,
        "event": "SubjectScreened",
        "because": "ValueError: no",
    }
    with projector.connection() as conn:
        conn.execute(on("stop", read_models()[0].schema), values)
    first, *others = operations.standing(database)
    told = {"about": "study", "index": 3, "event": "SubjectScreened", "because": "ValueError: no"}
    assert first["stopped"] == [told]
    assert not any(one["stopped"] for one in others)


def test_a_study_that_nobody_follows_yet_stands_at_nothing(book: Book, database: Database) -> None:
    size = book.sign()
    assert {(one["position"], one["behind"], one["live"]) for one in operations.standing(database)} == {
        (0, size, False)
    }


def test_a_study_that_nobody_follows_has_begun_nothing_whatever_other_studies_have(
    book: Book, database: Database, follow: Callable[[], int]
) -> None:
    book.sign()
    follow()
    other = Book(database, "TRIAL-2")
    other.open()
    other.sign()
    assert {one["state"] for one in overview(database, "TRIAL-1")} == {"live"}
    assert {one["state"] for one in overview(database, "TRIAL-2")} == {"not begun"}


def test_an_unknown_study_is_not_listed(book: Book, database: Database) -> None:
    book.sign()
    with pytest.raises(StudyNotKnown):
        operations.standing(database, "NO-STUDY")
    with pytest.raises(StudyNotKnown):
        operations.digest(database, "NO-STUDY", "patient")


def test_the_digest_is_the_one_that_a_rebuild_gives(
    book: Book, database: Database, projector: Database, follow: Callable[[], int]
) -> None:
    write(book)
    follow()
    seen: list[str] = []
    built = operations.rebuild(projector, "TRIAL-1", None, None, lambda one: seen.append(one.name))
    assert [one["projection"] for one in built] == list(NAMES)
    for one in built:
        told = operations.digest(database, "TRIAL-1", one["projection"])
        assert (told["digest"], told["size"]) == (one["digest"], book.size)
        assert not one["changed"]
    assert seen[0].startswith("build patient, cohort")
