"""The follower: every event once, up to the signed size, in one transaction with the position, by any number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.database import Database
from projections.definitions import DEFINITIONS, read_models
from projections.engine import digest, tables
from projections.engine.errors import ProjectionBehind
from projections.engine.runner import Runner, prepare
from projections.engine.sql import SQL, on
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.sick import at_event, refusing, release, standing_still


def digests(projector: Database, study: str = "TRIAL-1") -> dict[str, str]:
    """The digest of each projection."""
    with projector.snapshot() as conn:
        return {
            model.definition.name: digest.of_tables(conn, model.schema, model.definition, study).root
            for model in read_models()
        }


def forget(projector: Database) -> None:
    """Take every read model away."""
    with projector.connection() as conn:
        for model in read_models():
            conn.execute(on("drop_schema", model.schema))
        conn.execute("DELETE FROM projection.positions")


def positions(projector: Database, study: str = "TRIAL-1") -> set[int]:
    """Where the projections stand."""
    with projector.connection() as conn:
        return set(dict(conn.execute(SQL["positions"], {"study": study}).fetchall()).values())


def test_a_projection_stands_at_the_signed_size_and_no_further(
    book: Book, projector: Database, follow: Callable[[], int]
) -> None:
    signed = book.sign()
    book.tell("SubjectScreened", 1, number="P-1")
    follow()
    assert positions(projector) == {signed}


@pytest.mark.parametrize("batch", [1, 2, 7, 5_000])
def test_the_digest_does_not_depend_on_how_events_were_batched(
    book: Book, projector: Database, follow: Callable[[], int], batch: int
) -> None:
    write(book)
    follow()
    at_once = digests(projector)
    forget(projector)
    other = Runner(projector, read_models(), batch)
    other.catch_up()
    assert digests(projector) == at_once


def test_following_statement_by_statement_equals_following_at_the_end(book: Book, projector: Database) -> None:
    runner = Runner(projector, read_models())
    book.after_each = runner.catch_up
    write(book)
    stepwise = digests(projector)
    forget(projector)
    Runner(projector, read_models()).catch_up()
    assert digests(projector) == stepwise


def test_two_followers_share_the_work_and_do_nothing_twice(book: Book, projector: Database) -> None:
    write(book)
    one, other = (Runner(projector, read_models(), batch=3) for _ in range(2))
    with projector.connection() as first, projector.connection() as second:
        for model in read_models():
            prepare(first, "TRIAL-1", model)
        with first.transaction():
            held = first.execute(SQL["lock_positions"], {"study": "TRIAL-1", "schemas": _schemas()}).fetchall()
            assert len(held) == len(DEFINITIONS)
            assert other.catch_up() == 0, "what another follower holds is left alone"
        taken = 0
        while taken < 100 and (one.catch_up() or other.catch_up()):
            taken += 1
        assert second.execute("SELECT DISTINCT position FROM projection.positions").fetchall() == [(book.size,)]
    Runner(projector, read_models()).catch_up()
    assert positions(projector) == {book.size}


def _schemas() -> list[str]:
    return [model.schema for model in read_models()]


def test_a_follower_that_dies_inside_a_batch_leaves_rows_and_position_together(
    book: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book)
    runner = Runner(projector, read_models(), batch=5)
    runner.catch_up()
    expected = digests(projector)
    forget(projector)

    class Killed(BaseException):
        """As if the process ended here."""

    original, calls = tables.upsert, iter(range(10_000))

    def killing(*args: Any) -> None:
        original(*args)
        if next(calls) % 11 == 10:
            raise Killed

    monkeypatch.setattr(tables, "upsert", killing)
    deaths = 0
    while positions(projector) != {book.size} and deaths < 200:
        try:
            Runner(projector, read_models(), batch=5).catch_up()
        except Killed:
            deaths += 1
    assert deaths > 2
    assert positions(projector) == {book.size}
    assert digests(projector) == expected


def test_other_studies_go_on_while_one_stands_still(book: Book, projector: Database, database: Database) -> None:
    write(book)
    quiet = Book(database, "TRIAL-2")
    quiet.open()
    quiet.tell("SubjectScreened", 1, number="Q-1")
    quiet.sign()
    sick = refusing("cohort", at_event("SubjectEnrolled"))
    Runner(projector, release(sick)).catch_up()
    assert positions(projector, "TRIAL-2") == {quiet.size}
    assert positions(projector) == {book.size}
    assert standing_still(projector, sick) and not standing_still(projector, sick, "TRIAL-2")


def test_a_reader_of_a_study_that_nobody_follows_yet_is_told_so(book: Book, read: Read) -> None:
    book.sign()
    with pytest.raises(ProjectionBehind), read("patient"):
        pass
