"""How many events of each version a study holds: exact for the signed size, whoever counted how far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.database import Database
from projections.definitions import read_models
from projections.engine import counting, operations
from projections.engine.errors import StudyNotKnown
from projections.engine.runner import Runner
from tests.integration.projections.book import Book
from tests.integration.projections.course import write
from tests.integration.projections.test_stopping import Killed


def told(database: Database, study: str = "TRIAL-1") -> dict[tuple[str, int], int]:
    """The counts, by name and version."""
    found = operations.event_versions(database, study)
    return {(one["event"], one["version"]): one["count"] for one in found["events"]}


def written(book: Book, size: int | None = None) -> dict[tuple[str, int], int]:
    """The same from what was written."""
    return dict(Counter((one.event, one.version) for one in book.statements[:size]))


def counted(projector: Database, study: str = "TRIAL-1") -> int:
    """How far the follower has counted."""
    with projector.connection() as conn:
        row = conn.execute("SELECT size FROM projection.counted WHERE study_id = %s", (study,)).fetchone()
        return 0 if row is None else int(row[0])


def test_nobody_has_counted_and_the_counts_are_there(book: Book, database: Database) -> None:
    write(book)
    assert told(database) == written(book)


def test_what_is_not_signed_is_not_counted(book: Book, database: Database) -> None:
    size = book.sign()
    book.tell("VisitRecorded", 1, visit="V1")
    assert told(database) == written(book, size)
    assert operations.event_versions(database, "TRIAL-1")["size"] == size


@pytest.mark.parametrize(("at_least", "at_once"), [(1, 1), (3, 7), (10, 4), (1, 1_000)])
def test_a_follower_counts_ranges_and_a_reading_adds_the_rest(
    book: Book, database: Database, projector: Database, monkeypatch: pytest.MonkeyPatch, at_least: int, at_once: int
) -> None:
    monkeypatch.setattr(counting, "COUNT_AT", at_least)
    monkeypatch.setattr(counting, "COUNT_ONCE", at_once)
    runner = Runner(projector, read_models())

    def looked_at() -> None:
        runner.catch_up()
        assert book.size - counted(projector) < at_least
        assert told(database) == written(book)

    book.after_each = looked_at
    write(book)
    assert counted(projector) > 0


def test_killed_while_it_counts_a_follower_counts_nothing_twice(
    book: Book, database: Database, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book)
    monkeypatch.setattr(counting, "COUNT_AT", 1)
    monkeypatch.setattr(counting, "COUNT_ONCE", 5)
    original, calls = counting._count, iter(range(1_000))

    def killing(*args: Any) -> int:
        with projector.connection() as conn, conn.transaction():
            original(conn, *args[1:])
            if next(calls) % 2 == 0:
                raise Killed
        return 1 if counted(projector) < book.size else 0

    monkeypatch.setattr(counting, "_count", killing)
    deaths = 0
    while counted(projector) < book.size:
        try:
            with projector.connection() as conn:
                counting.count_what_waits(conn)
        except Killed:
            deaths += 1
    assert deaths > 2
    assert told(database) == written(book)


def test_two_at_once_count_each_range_once(
    book: Book, database: Database, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book)
    monkeypatch.setattr(counting, "COUNT_AT", 1)
    with projector.connection() as one, projector.connection() as other:
        assert counting._count(one, "TRIAL-1", 3) == 3
        with one.transaction():
            assert counting._count(one, "TRIAL-1", book.size) == book.size - 3
            assert counting._count(other, "TRIAL-1", book.size) == 0, "what another is counting is left alone"
        assert counting._count(other, "TRIAL-1", book.size) == 0
    assert told(database) == written(book)


def test_a_database_that_was_put_back_is_counted_anew(
    book: Book, database: Database, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book)
    monkeypatch.setattr(counting, "COUNT_AT", 1)
    with projector.connection() as conn:
        counting.count_what_waits(conn)
        conn.execute("UPDATE projection.counted SET size = %s", (book.size + 10,))
        conn.execute("UPDATE projection.event_counts SET count = count + 3")
    assert told(database) == written(book), "counts of more events than there are say nothing"
    with projector.connection() as conn:
        counting.count_what_waits(conn)
    assert counted(projector) == book.size and told(database) == written(book)


def test_it_says_what_this_release_makes_of_each_version(
    book: Book, database: Database, follow: Callable[[], int]
) -> None:
    book.tell("VisitRecorded", 1, claims={"v": 9}, visit="V1")
    book.sign()
    follow()
    by_name = {one["event"]: one for one in operations.event_versions(database, "TRIAL-1")["events"]}
    assert (by_name["StudyOpened"]["read_as"], by_name["VisitRecorded"]["read_as"]) == ("written", "unknown")
    assert counting._told("NobodyKnowsIt", 1, 4) == {
        "event": "NobodyKnowsIt", "version": 1, "count": 4, "current": None, "read_as": "unknown",
    }  # fmt: skip


def test_a_study_that_there_is_not_has_no_counts(book: Book, database: Database) -> None:
    with pytest.raises(StudyNotKnown):
        operations.event_versions(database, "NO-STUDY")
