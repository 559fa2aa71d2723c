"""The digest of a read model is that of its rows: not of how they were built, fetched, or by which process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ledger.store.database import Database
from projections.engine import digest
from projections.engine.digest import Digest
from projections.reports.state import state, told
from tests.integration.projections import course
from tests.integration.projections.book import Book
from tests.integration.projections.test_kept_differences import redact
from tests.integration.projections.test_patient import Follow
from tests.integration.projections.versions import MODELS, fill

ONE = MODELS[1]


@pytest.fixture
def written(projector: Database, book: Book) -> Book:
    course.write(book)
    with projector.connection() as conn:
        fill(conn, ONE, book)
    return book


def summed(projector: Database, book: Book) -> Digest:
    with projector.snapshot() as conn:
        return digest.of_tables(conn, ONE.schema, ONE.definition, book.study)


@pytest.mark.parametrize("page", [1, 2, 3, 1_000])
def test_the_size_of_a_page_does_not_matter(
    written: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    expected = summed(projector, written)
    monkeypatch.setattr(digest, "FETCH", page)
    assert summed(projector, written) == expected
    assert sum(expected.sizes.values()) == expected.rows


def test_the_order_in_which_rows_were_written_does_not_matter(written: Book, projector: Database) -> None:
    expected = summed(projector, written)
    with projector.connection() as conn, conn.transaction():
        conn.execute(f"CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM {ONE.schema}.events")
        conn.execute(f"DELETE FROM {ONE.schema}.events")
        conn.execute(f"INSERT INTO {ONE.schema}.events SELECT * FROM kept ORDER BY idx DESC")
    assert summed(projector, written) == expected


def test_neither_the_process_nor_its_hash_seed_nor_its_zone_matters(written: Book, projector: Database) -> None:
    code = (
        "import sys\n"
        "from ledger.store.database import PROJECTOR, Database\n"
        "from projections.engine import digest\n"
        "from tests.integration.projections.versions import MODELS\n"
        "with Database(sys.argv[1], role=PROJECTOR) as database, database.snapshot() as conn:\n"
        "    print(digest.of_tables(conn, MODELS[1].schema, MODELS[1].definition, 'TRIAL-1').root)"
    )
    for seed, zone in (("0", "UTC"), ("4711", "Asia/Kolkata")):
        own = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", code, projector.url], env=own, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == summed(projector, written).root


def test_one_altered_value_shows_in_its_subject_alone(written: Book, projector: Database) -> None:
    before = summed(projector, written)
    with projector.connection() as conn:
        conn.execute(f"UPDATE {ONE.schema}.lines SET many = many + 1 WHERE partition = 'study'")
    after = summed(projector, written)
    assert before.root != after.root
    assert [name for name in before.partitions if before.partitions[name] != after.partitions[name]] == ["study"]


def test_a_state_is_told_with_fingerprint_size_root_and_redactions(
    written: Book, projector: Database, database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow()
    with database.snapshot() as conn:
        found = state(conn, written.study, "patient")
    assert (found["size"], found["redactions"], found["subjects"]) == (written.size, 0, 2)
    for value in (found["digest"], found["fingerprint"], found["root"], found["schema"]):
        assert value in told(found)
    redact(projector, database, written, 3, written.size + 1)
    with database.snapshot() as conn:  # it is not taken in yet
        assert state(conn, written.study, "patient")["redactions"] == 0
    with projector.connection() as conn:
        conn.execute("UPDATE projection.positions SET position = position + 2")
    with database.snapshot() as conn:
        monkeypatch.setattr("projections.reports.state.root_at", lambda *_: b"")  # there is no such size
        assert state(conn, written.study, "patient")["redactions"] == 1
