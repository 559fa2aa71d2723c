"""Readers: one snapshot, one size; live, as of an earlier size or time; clear refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from ledger.merkle.tree import root_of
from ledger.signing.encoding import b64url
from ledger.store.database import Database
from projections.definitions import DEFINITIONS, NAMES
from projections.engine.definition import Definition
from projections.engine.digest import Digest, of_rows
from projections.engine.errors import (
    CutBeyond,
    ProjectionBehind,
    ReadingMalformed,
    StudyNotKnown,
)
from projections.engine.reading import Reader, open_reader
from projections.engine.rows import Where, every
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.conftest import NOW, Read
from tests.integration.projections.course import write

FOLDED = [definition for definition in DEFINITIONS if not definition.temporal]


def shown(reader: Reader, definition: Definition) -> Digest:
    """The digest of everything that a reader gives."""
    rows = []
    for table in definition.tables:
        for row in every(reader.rows, table.name, order=("partition", *table.key)):
            rows.append((table.name, row.partition, tuple(row[1:])))
    return of_rows(definition, rows)


@pytest.mark.parametrize("definition", FOLDED, ids=lambda one: one.name)
def test_as_of_a_size_equals_what_was_live_at_that_size(
    book: Book, follow: Callable[[], int], read: Read, definition: Definition
) -> None:
    live: dict[int, Digest] = {}

    def note() -> None:
        follow()
        with read(definition.name) as reader:
            assert reader.size == book.size
            live[book.size] = shown(reader, definition)

    book.after_each = note
    write(book)
    assert len(set(live)) == book.size - 1
    for size, digest in live.items():
        with read(definition.name, as_of=size) as reader:
            assert (reader.size, shown(reader, definition)) == (size, digest)


def test_as_of_folds_one_subject_alone_where_one_is_asked_for(
    book: Book, follow: Callable[[], int], read: Read
) -> None:
    write(book)
    follow()
    wanted = subject_id(1)
    with read("patient", as_of=book.size - 1) as reader:
        rows = list(every(reader.rows, "records", [Where("partition", "=", wanted)], ("idx",)))
    assert rows and {row.partition for row in rows} == {wanted}
    assert [row.idx for row in rows] == [r.idx for r in book.rows[:-1] if str(r.originator_id) == wanted]


def test_the_study_is_of_the_same_size_as_the_rows(book: Book, follow: Callable[[], int], read: Read) -> None:
    write(book)
    follow()
    sizes = [*range(1, book.size + 1), 7, book.size, 3]
    for size in sizes:
        with read("patient", as_of=size) as reader:
            indexes = [record.index for record in reader.study.records]
            assert indexes == [r.idx for r in book.rows[:size] if r.originator_id == book.own]


def test_a_study_that_is_read_is_not_changed_by_those_that_read_further(
    book: Book, follow: Callable[[], int], read: Read
) -> None:
    book.sign()
    follow()
    with read("patient") as early:
        site = book.tell("SiteActivated", "site/S1", "spo", "sponsor", "S1", {"time_zone": "UTC"}, name="One")
        book.tell("ActorEnrolled", "actor/li", "reg", "registrar", None, {"actor_kind": "person"})
        book.sign()
        follow()
        with read("patient") as late:
            assert late.study.records.get(site.jti) is not None
            assert "li" in late.study.authority.actors
        assert early.study.records.get(site.jti) is None
        assert "li" not in early.study.authority.actors


def test_a_time_means_what_was_recorded_until_then(book: Book, follow: Callable[[], int], read: Read) -> None:
    write(book)
    follow()
    third = book.rows[2].recorded_at
    for asked, size in (
        (third, 3),
        (third.replace("000000Z", "000001Z"), 3),
        ("2030-01-01T16:03:00+08:00", 3),
        ("2029-12-31", 0),
        ("2030-01-01", book.size),
        ("2031-01-01T00:00:00Z", book.size),
    ):
        with read("patient", as_of=asked) as reader:
            assert reader.size == size, asked


def test_now_is_the_ledgers_own_time_where_the_reading_looks_back(
    book: Book, database: Database, follow: Callable[[], int], read: Read
) -> None:
    real = Book(database, "TRIAL-2", clock="real")
    real.open()
    real.tell("SubjectScreened", 1, number="R-1")
    real.sign()
    book.sign()
    follow()
    with read("patient", "TRIAL-2") as reader:
        assert reader.at == NOW
    with read("patient", "TRIAL-2", as_of=1) as reader:
        assert reader.at == real.now - timedelta(minutes=1)
    with read("patient", "TRIAL-2", as_of="2030-03-01T00:00:00Z") as reader:
        assert reader.at.isoformat() == "2030-03-01T00:00:00+00:00"
    with read("patient") as reader:
        assert reader.at == book.now, "a simulated clock stands where the ledger stands"
    for future in ("2031-01-01", "9999-12-31", "9999-12-31T23:59:59Z"):
        with read("patient", "TRIAL-2", as_of=future) as reader:
            assert reader.at == NOW, "nothing is known of a moment in the future"
        with read("patient", as_of=future) as reader:
            assert reader.at == book.now


def test_the_root_is_that_of_the_tree_at_the_size(book: Book, follow: Callable[[], int], read: Read) -> None:
    write(book)
    follow()
    for size in (book.size, 5, 1):
        with read("audit_trail", as_of=size) as reader:
            assert reader.root == b64url(root_of(row.leaf_hash for row in book.rows[:size]))
            assert reader.cut()["root"] == reader.root


def test_a_reader_sees_one_moment_while_the_follower_goes_on(book: Book, follow: Callable[[], int], read: Read) -> None:
    book.tell("SubjectScreened", 1, number="P-1")
    book.sign()
    follow()
    with read("patient") as reader:
        before = shown(reader, reader.model.definition)
        write(book)
        follow()
        assert shown(reader, reader.model.definition) == before
        assert reader.size < book.size


def test_a_page_may_think_longer_than_other_transactions_may_idle(
    book: Book, follow: Callable[[], int], read: Read
) -> None:
    book.sign()
    follow()
    with read("patient") as reader:
        (allowed,) = reader.conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() or ("",)
    assert allowed == "10min"


def test_wait_for_waits_until_the_projection_is_there(book: Book, follow: Callable[[], int], read: Read) -> None:
    book.sign()
    follow()
    book.tell("SubjectScreened", 1, number="P-1")
    wanted = book.sign()
    later = threading.Timer(0.2, follow)
    later.start()
    with read("patient", wait_for=str(wanted)) as reader:
        assert reader.size >= wanted
    later.join()


def test_wait_for_gives_up_in_time_and_says_where_the_projection_stands(
    book: Book, follow: Callable[[], int], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.engine.reading.WAIT_S", 0.1)
    size = book.sign()
    follow()
    started = time.monotonic()
    with pytest.raises(ProjectionBehind) as refused, read("patient", wait_for=size + 5):
        pass
    assert refused.value.details == {"position": size, "wanted": size + 5}
    assert refused.value.status == 503
    assert time.monotonic() - started < 8


def test_a_cut_beyond_the_signed_size_is_refused(book: Book, follow: Callable[[], int], read: Read) -> None:
    size = book.sign()
    follow()
    book.tell("SubjectScreened", 1, number="P-1")
    with pytest.raises(CutBeyond), read("patient", as_of=size + 1):
        pass


@pytest.mark.parametrize(
    "asked", ["yesterday", "-1", "1.5", "2030-13-01", "2030-01-01T08:00:00", "1e3", "", "99999999999999999999"]
)
def test_what_is_neither_a_size_nor_a_time_is_refused(
    book: Book, follow: Callable[[], int], read: Read, asked: str
) -> None:
    book.sign()
    follow()
    with pytest.raises(ReadingMalformed), read("patient", as_of=asked):
        pass


def test_wait_for_is_a_size(book: Book, follow: Callable[[], int], read: Read) -> None:
    book.sign()
    follow()
    with pytest.raises(ReadingMalformed), read("patient", wait_for="tomorrow"):
        pass


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_study_is_not_found(database: Database, name: str) -> None:
    with pytest.raises(StudyNotKnown) as refused, open_reader(database, "NO-STUDY", name, None, 3, NOW):
        pass
    assert refused.value.status == 404
