"""Two releases side by side: the newer one builds, compares and takes over, while the other keeps its version current.

The older release is this process as it is; the newer one knows version 2 of the cohort projection and nothing of
version 1, as after a change that reaches into the code that both would share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from ledger.store.database import Database
from projections.definitions import read_models
from projections.engine import fencing, operations
from projections.engine.errors import LiveNotFollowed
from projections.engine.reading import open_reader
from projections.engine.rows import Asked
from projections.engine.runner import Runner
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import NOW
from tests.integration.projections.course import write
from tests.integration.projections.two_versions import in_capitals, release, second

STUDY = "TRIAL-1"


@pytest.fixture
def older(book: Book, follow: Callable[[], int], projector: Database) -> Iterator[Runner]:
    """The follower of the older release, which knows version 1 alone."""
    write(book)
    follow()
    yield Runner(projector, read_models())


@pytest.fixture
def newer(older: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the newer release from here on."""
    release(monkeypatch, second(in_capitals))


def statuses(database: Database) -> tuple[int, set[str]]:
    """The version that answers in the newer release, and every status that it shows."""
    with open_reader(database, STUDY, "cohort", None, None, NOW) as reader:
        return reader.projection_version, {row.status for row in reader.rows.select("subjects", Asked())}


def rebuild(projector: Database) -> dict[str, object]:
    """The newer release builds and compares."""
    (made,) = operations.rebuild(projector, STUDY, ["cohort"], workers=1, by="dm")
    return made


@pytest.mark.usefixtures("newer")
def test_rows_of_a_version_whose_code_is_elsewhere_are_compared_and_switched_from(
    projector: Database, database: Database
) -> None:
    made = rebuild(projector)
    differences = made["differences"]
    assert isinstance(differences, dict)
    assert made["state"] == "ready"
    assert differences["unexplained"] == 0 < differences["intended"]
    assert operations.switch(projector, STUDY, "cohort", "dm", "because")["state"] == "switched"
    version, shown = statuses(database)
    assert version == 2
    assert all(status.isupper() for status in shown)


@pytest.mark.usefixtures("newer")
def test_the_newer_release_waits_for_the_older_ones_follower(
    book: Book, older: Runner, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "FENCE_S", 0.2)
    book.tell("SubjectScreened", 7, number="P-7")
    book.sign()
    with pytest.raises(LiveNotFollowed, match="stands at"):
        rebuild(projector)
    monkeypatch.setattr(fencing, "FENCE_S", 30.0)
    stop = threading.Event()
    following = threading.Thread(target=older.run, args=(stop,))
    following.start()
    try:
        assert rebuild(projector)["state"] == "ready"
    finally:
        stop.set()
        following.join()


@pytest.mark.usefixtures("newer")
def test_what_was_recorded_since_is_looked_through_at_the_switch(
    book: Book, older: Runner, projector: Database, database: Database
) -> None:
    assert rebuild(projector)["state"] == "ready"
    book.tell("SubjectScreened", 7, number="P-7")
    book.sign()
    older.catch_up()
    assert operations.switch(projector, STUDY, "cohort", "dm", "because")["state"] == "switched"
    assert "SCREENED" in statuses(database)[1]


@pytest.mark.usefixtures("newer")
def test_the_newer_release_rolls_back_to_the_version_that_the_older_one_keeps_current(
    book: Book, older: Runner, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(projector)
    operations.switch(projector, STUDY, "cohort", "dm", "because")
    book.tell("SubjectScreened", 7, number="P-7")
    book.sign()
    Runner(projector, read_models()).catch_up()
    monkeypatch.setattr(fencing, "FENCE_S", 0.2)
    with pytest.raises(LiveNotFollowed, match="stands at"):
        operations.roll_back(projector, STUDY, "cohort", "dm", "because")
    older.catch_up()
    assert operations.roll_back(projector, STUDY, "cohort", "dm", "because")["state"] == "rolled back"
    with projector.connection() as conn:
        (pointer,) = conn.execute("SELECT version FROM projection.pointers WHERE name = 'cohort'").fetchall()
    assert pointer == (1,)
