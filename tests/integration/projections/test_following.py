"""The follower: every event once, up to the signed size, in one transaction with the position, by any number."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.store.database import Database
from projections.definitions import DEFINITIONS, read_models
from projections.engine import digest, tables
from projections.engine.definition import ReadModel, Row
from projections.engine.errors import DefinitionChanged, ProjectionBehind, ProjectionStopped
from projections.engine.reading import open_reader
from projections.engine.runner import Runner, prepare
from projections.engine.sql import SQL, on
from projections.engine.starting import check_definitions
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import NOW, Read
from tests.integration.projections.course import write


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


def test_an_event_that_a_handler_cannot_take_in_stops_that_projection_alone(
    book: Book, projector: Database, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    write(book)
    healthy, *others = read_models()
    sick = replace(others[0].definition, changed=_breaking_at("AdverseEventReported"))
    model = ReadModel(sick, others[0].fingerprint)
    runner = Runner(projector, [healthy, model, *others[1:]])
    with caplog.at_level(logging.ERROR, "projections"):
        runner.catch_up()
    index = next(r.idx for r in book.rows if r.topic.startswith("AdverseEventReported"))
    with projector.connection() as conn:
        standing = dict(conn.execute(SQL["positions"], {"study": "TRIAL-1"}).fetchall())
    assert standing.pop(model.schema) == index
    assert set(standing.values()) == {book.size}
    assert f"stands still at index {index} (AdverseEventReported)" in caplog.text
    with pytest.raises(ProjectionStopped) as refused, open_reader(database, "TRIAL-1", "cohort", None, None, NOW):
        pass
    assert refused.value.indexes == (index,)
    Runner(projector, read_models()).catch_up()
    assert positions(projector) == {book.size}, "a follower that starts tries once more"


def _breaking_at(event: str) -> Callable[[Any, Sequence[Any]], Iterator[Row]]:
    original = next(one for one in DEFINITIONS if one.name == "cohort").changed

    def changed(state: Any, touched: Sequence[Any]) -> Iterator[Row]:
        if any(record.event == event for record in touched):
            raise ValueError("cannot read this")
        yield from original(state, touched)

    return changed


def test_other_studies_go_on_while_one_stands_still(book: Book, projector: Database, database: Database) -> None:
    write(book)
    quiet = Book(database, "TRIAL-2")
    quiet.open()
    quiet.tell("SubjectScreened", 1, number="Q-1")
    quiet.sign()
    models = [ReadModel(replace(m.definition, changed=_breaking_at("SubjectScreened")), m.fingerprint)
              if m.definition.name == "cohort" else m for m in read_models()]  # fmt: skip
    noisy = Runner(projector, models)
    noisy.catch_up()
    Runner(projector, read_models()).catch_up()
    assert positions(projector, "TRIAL-2") == {quiet.size}
    assert positions(projector) == {book.size}


def test_another_version_is_not_begun_where_one_answers_and_one_that_is_there_is_followed(
    book: Book, projector: Database
) -> None:
    write(book)
    older, newer = (
        ReadModel(replace(one, version=version), fingerprint * 64)
        for one in DEFINITIONS
        if one.name == "cohort"
        for version, fingerprint in ((1, "a"), (2, "b"))
    )
    Runner(projector, [older]).catch_up()
    Runner(projector, [newer, older]).catch_up()
    with projector.connection() as conn:
        assert [row[:3] for row in conn.execute(SQL["followed"], {"study": "TRIAL-1"})] == [older.identity]
        standby = replace(newer, generation=1)
        prepare(conn, "TRIAL-1", standby)
        assert dict(conn.execute(SQL["pointers"], {"study": "TRIAL-1"}).fetchall()) == {"cohort": older.schema}
    book.tell("SubjectScreened", 4, number="P-4")
    book.sign()
    Runner(projector, [older]).catch_up()
    with projector.connection() as conn:
        assert dict(conn.execute(SQL["positions"], {"study": "TRIAL-1"}).fetchall()) == {
            older.schema: book.size,
            standby.schema: 0,
        }, "a release follows what it has the code of"
    Runner(projector, [newer, older]).catch_up()
    assert positions(projector) == {book.size}
    with projector.snapshot() as conn:
        one, other = (digest.of_tables(conn, m.schema, m.definition, "TRIAL-1").partitions for m in (older, standby))
    assert one == other


def test_what_answers_is_made_anew_where_somebody_took_it_away(book: Book, projector: Database) -> None:
    write(book)
    Runner(projector, read_models()).catch_up()
    before = digests(projector)
    forget(projector)
    Runner(projector, read_models()).catch_up()
    assert digests(projector) == before


def test_code_that_was_changed_under_its_version_is_refused_and_the_change_is_named(
    book: Book, projector: Database, database: Database
) -> None:
    write(book)
    Runner(projector, read_models()).catch_up()
    model = read_models()[1]
    with database.connection() as conn:
        check_definitions(conn)
        parts = {**model.parts, "handler": "0" * 64, "module projections.more": "1" * 64}
        with pytest.raises(DefinitionChanged, match=r"cohort version 1: handler, module projections\.more$"):
            check_definitions(conn, [replace(model, fingerprint="2" * 64, parts=parts)])
        raised = replace(model.definition, version=2)
        check_definitions(conn, [replace(model, definition=raised, fingerprint="2" * 64, parts=parts)])


def test_a_reader_of_a_study_that_nobody_follows_yet_is_told_so(book: Book, read: Read) -> None:
    book.sign()
    with pytest.raises(ProjectionBehind), read("patient"):
        pass


def test_an_event_that_nobody_can_fold_stops_every_projection_of_its_study_there_and_no_other_study(
    book: Book, projector: Database, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """An older follower meets an event of a newer version: it does not guess."""
    write(book)
    poison = book.size
    book.tell("SubjectScreened", 5, claims={"v": 2}, number="P-5")
    book.tell("SubjectScreened", 6, number="P-6")
    book.sign()
    quiet = Book(database, "TRIAL-2")
    quiet.open()
    quiet.sign()
    with caplog.at_level(logging.ERROR, "projections"):
        Runner(projector, read_models()).catch_up()
    assert positions(projector) == {poison}
    assert positions(projector, "TRIAL-2") == {quiet.size}
    assert f"stands still at index {poison} (SubjectScreened): NewerVersion" in caplog.text
    with pytest.raises(ProjectionStopped), open_reader(database, "TRIAL-1", "patient", None, None, NOW):
        pass
    with open_reader(database, "TRIAL-1", "patient", poison, None, NOW) as reader:
        assert reader.size == poison
