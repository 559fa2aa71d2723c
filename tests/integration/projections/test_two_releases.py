"""Two releases side by side: each answers from a version that it has, and from none that never answered."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.store.database import Database
from projections import definitions
from projections.engine import reading
from projections.engine.answering import not_of_this_release
from projections.engine.definition import ReadModel
from projections.engine.errors import ReleaseNeeded, StillDraining
from projections.engine.fingerprint import read_model
from projections.engine.runner import Runner, prepare
from projections.schedule.definition import DEFINITION as FIRST
from projections.schedule.view import schedule
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write

SECOND = replace(FIRST, version=2)
NAME = FIRST.name


@pytest.fixture
def second(projector: Database, book: Book, follow: Callable[[], int]) -> ReadModel:
    """The next version, built beside the live one and current."""
    write(book)
    follow()
    model = read_model(SECOND)
    with projector.connection() as conn:
        prepare(conn, book.study, model)
    Runner(projector, [model]).catch_up()
    return model


def switch(projector: Database, book: Book, to: ReadModel, after: ReadModel | None) -> None:
    """Let another version answer; `after`: the one that it took over from, as a replay notes it."""
    with projector.connection() as conn, conn.transaction():
        conn.execute(
            "UPDATE projection.pointers SET schema_name = %s, version = %s WHERE study_id = %s AND name = %s",
            (to.schema, to.definition.version, book.study, NAME),
        )
        if after is not None:
            conn.execute(
                "INSERT INTO projection.replays (replay_id, study_id, name, from_schema, from_version, "
                "from_fingerprint, schema_name, version, fingerprint, state, ceiling, by) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'switched', 0, 'dm')",
                (
                    uuid.uuid4(),
                    book.study,
                    NAME,
                    after.schema,
                    after.definition.version,
                    after.fingerprint,
                    to.schema,
                    to.definition.version,
                    to.fingerprint,
                ),
            )


def release_with(monkeypatch: pytest.MonkeyPatch, *found: object) -> None:
    """This process is a release that has these versions of the schedule, the newest first."""
    others = tuple(one for one in definitions.DEFINITIONS if one.name != NAME)
    monkeypatch.setattr(definitions, "DEFINITIONS", (*others, found[0]))
    monkeypatch.setattr(definitions, "EARLIER", tuple(found[1:]))


def answered(read: Read) -> tuple[int, int]:
    """Which version answers, at which size."""
    with read(NAME) as reader:
        assert schedule(reader)["cut"]["version"] == reader.projection_version
        return reader.projection_version, reader.size


def test_what_is_built_beside_answers_nobody(
    second: ReadModel, book: Book, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answered(read) == (1, book.size)
    release_with(monkeypatch, SECOND, FIRST)
    assert answered(read) == (1, book.size)
    release_with(monkeypatch, SECOND)
    with pytest.raises(ReleaseNeeded) as refused, read(NAME):
        pass
    assert "version 1" in refused.value.because and "version 2" in refused.value.because


def test_after_the_switch_each_release_answers_from_the_version_that_it_has(
    second: ReadModel, projector: Database, book: Book, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_model(FIRST)
    switch(projector, book, second, first)
    assert answered(read) == (1, book.size), "the release of the first version drains"
    with projector.connection() as conn:
        (missing,) = not_of_this_release(conn)
    assert (missing["study"], missing["projection"], missing["version"]) == (book.study, NAME, 2)
    release_with(monkeypatch, SECOND, FIRST)
    assert answered(read) == (2, book.size)
    with projector.connection() as conn:
        assert not_of_this_release(conn) == []


def test_a_version_that_is_drained_never_shows_less_than_the_live_one_did(
    second: ReadModel, projector: Database, book: Book, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_model(FIRST)
    switch(projector, book, second, first)
    book.tell("VisitRecorded", 1, name="one more")
    book.sign()
    Runner(projector, [second]).catch_up()
    monkeypatch.setattr(reading, "WAIT_S", 0.05)
    with pytest.raises(StillDraining), read(NAME):
        pass
    monkeypatch.setattr(reading, "WAIT_S", 30.0)
    others = [model for model in definitions.read_models() if model.definition.name == NAME]
    later = threading.Timer(0.2, lambda: Runner(projector, others).catch_up())
    later.start()
    assert answered(read) == (1, book.size)
    later.join()


def test_a_version_that_was_live_but_took_no_part_in_the_switch_does_not_answer(
    second: ReadModel, projector: Database, book: Book, read: Read
) -> None:
    switch(projector, book, second, None)
    with pytest.raises(ReleaseNeeded), read(NAME):
        pass


def test_a_version_that_is_not_kept_current_does_not_answer(
    second: ReadModel, projector: Database, book: Book, read: Read
) -> None:
    first = read_model(FIRST)
    switch(projector, book, second, first)
    with projector.connection() as conn:
        conn.execute("DELETE FROM projection.positions WHERE schema_name = %s", (first.schema,))
    with pytest.raises(ReleaseNeeded), read(NAME):
        pass


def test_another_generation_of_the_same_version_answers_like_the_first(
    book: Book, projector: Database, follow: Callable[[], int], read: Read
) -> None:
    write(book)
    follow()
    again = replace(read_model(FIRST), generation=1)
    with projector.connection() as conn:
        prepare(conn, book.study, again)
    Runner(projector, definitions.read_models()).catch_up()
    switch(projector, book, again, read_model(FIRST))
    with read(NAME) as reader:
        assert reader.model.schema == again.schema and reader.model.schema.endswith("_g1")
        assert [one["number"] for one in schedule(reader)["subjects"]] == ["P-01", "P-2"]
