"""Rebuilding from the first event gives what following gave, whatever the number of workers, and never harms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.database import Database
from projections.definitions import NAMES, read_models
from projections.engine import building, tables
from projections.engine.errors import RebuildRunning, StudyNotKnown
from projections.engine.rebuild import Progress, rebuild, scratch_of
from tests.integration.projections.book import Book
from tests.integration.projections.course import write
from tests.integration.projections.test_following import digests, positions


@pytest.fixture
def followed(book: Book, follow: Callable[[], int]) -> Book:
    """A study whose projections stand at its size."""
    write(book)
    follow()
    return book


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_rebuild_gives_the_digest_that_following_gave(followed: Book, projector: Database, workers: int) -> None:
    before = digests(projector)
    names = NAMES if workers == 1 else ("patient", "audit_trail")
    for result in rebuild(projector, "TRIAL-1", names, workers):
        assert result.before == result.after
        assert result.after.root == before[result.projection]
        assert not result.changed
        assert result.size == followed.size
    assert digests(projector) == before


def test_rows_that_were_lost_or_altered_come_back(followed: Book, projector: Database) -> None:
    before = digests(projector)
    model = next(m for m in read_models() if m.definition.name == "patient")
    with projector.connection() as conn:
        conn.execute(f'DELETE FROM "{model.schema}".records WHERE idx % 3 = 0')
        conn.execute(f"""UPDATE "{model.schema}".subjects SET status = 'cured'""")
    assert digests(projector)["patient"] != before["patient"]
    (result,) = rebuild(projector, "TRIAL-1", ["patient"])
    assert result.changed
    assert digests(projector) == before


def test_what_is_recorded_during_a_rebuild_is_in_it(
    followed: Book, projector: Database, follow: Callable[[], int]
) -> None:
    def meanwhile(progress: Progress) -> None:
        if progress.step == "build" and followed.size == ceiling:
            followed.correct(followed.statements[3], "number", "P-001", "meanwhile")
            followed.tell("SubjectScreened", 3, number="P-3")
            followed.sign()
            follow()

    ceiling = followed.size
    (result,) = rebuild(projector, "TRIAL-1", ["patient"], 1, meanwhile)
    assert result.size == followed.size > ceiling
    assert result.before == result.after


def test_a_rebuild_of_a_study_that_nobody_followed_brings_it_up(book: Book, projector: Database) -> None:
    write(book)
    rebuild(projector, "TRIAL-1", NAMES)
    assert positions(projector) == {book.size}


def test_a_rebuild_that_fails_leaves_what_answers_as_it_was(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, standing = digests(projector), positions(projector)

    def broken(*_: Any) -> None:
        raise ValueError("no more")

    monkeypatch.setattr(tables, "move_study", broken)
    monkeypatch.setattr(tables, "copy", broken)
    with pytest.raises(ValueError, match="no more"):
        rebuild(projector, "TRIAL-1", NAMES)
    assert digests(projector) == before
    assert positions(projector) == standing


def test_a_rebuild_that_was_killed_goes_on_where_it_was(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As if the process ended here."""

    done: list[int] = []

    def once(progress: Progress) -> None:
        done.append(progress.done)
        raise Killed

    monkeypatch.setattr(building, "CHUNK_EVENTS", 1)
    with pytest.raises(Killed):
        rebuild(projector, "TRIAL-1", ["patient"], 1, once)
    chunks: list[int] = []
    copied = tables.copy
    monkeypatch.setattr(tables, "copy", lambda *given: (chunks.append(1), copied(*given))[1])
    (result,) = rebuild(projector, "TRIAL-1", ["patient"])
    assert len(chunks) == 2, "three aggregates, of which one was done"
    assert not result.changed


def test_a_rebuild_leaves_nothing_behind(followed: Book, projector: Database) -> None:
    rebuild(projector, "TRIAL-1", ["patient", "cohort"])
    with projector.connection() as conn:
        names = [name for (name,) in conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rm%'")]
    assert not {scratch_of(model, "TRIAL-1") for model in read_models()} & set(names)
    assert len(names) == len(read_models())


def test_two_rebuilds_of_one_projection_do_not_meet(followed: Book, projector: Database) -> None:
    refused: list[str] = []

    def meanwhile(progress: Progress) -> None:
        if progress.step == "build" and not refused:
            with pytest.raises(RebuildRunning):
                rebuild(projector, "TRIAL-1", ["cohort", "patient"])
            refused.append("yes")
            (other,) = rebuild(projector, "TRIAL-1", ["safety"])
            assert not other.changed

    (result,) = rebuild(projector, "TRIAL-1", ["patient"], 1, meanwhile)
    assert refused and not result.changed
    assert not rebuild(projector, "TRIAL-1", ["patient"])[0].changed, "the turn was given back"


def test_a_study_that_is_not_there_is_not_rebuilt(projector: Database) -> None:
    with pytest.raises(StudyNotKnown):
        rebuild(projector, "NO-STUDY", ["patient"])


def test_an_unknown_projection_is_not_rebuilt(followed: Book, projector: Database) -> None:
    with pytest.raises(KeyError, match="there is no projection 'patients'"):
        rebuild(projector, "TRIAL-1", ["patients"])
