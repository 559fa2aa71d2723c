"""Differences are kept beside the rows of the newer version, and go with what they hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.store.database import Database
from projections.engine import kept, tables
from projections.engine.comparing import compare
from projections.engine.difference import Difference
from projections.engine.sql import SQL
from tests.integration.projections import course
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.versions import MODELS, filled

ONE, TWO = MODELS[1], MODELS[2]
ANN, BEN = subject_id(1), subject_id(2)


@pytest.fixture
def two(projector: Database, book: Book) -> Book:
    """Both versions of the course."""
    course.write(book)
    filled(projector, book)
    return book


def keep(projector: Database, book: Book, between: Callable[[], object] = lambda: None) -> list[Difference]:
    """Compare both versions and keep what differs; `between` happens before it is committed."""
    found: list[Difference] = []
    with projector.snapshot() as conn, projector.connection() as other:
        with kept.keeping(other, book.study, TWO.schema, book.size) as write:
            compare(conn, book.study, ONE, TWO, book.size, lambda batch: (write(batch), found.extend(batch))[0])
            between()
    return found


def read(database: Database, book: Book, **asked: object) -> list[Difference]:
    with database.snapshot() as conn:
        return list(kept.differences(conn, book.study, TWO.schema, **asked))  # type: ignore[arg-type]


def redact(projector: Database, database: Database, book: Book, index: int, effective: int) -> None:
    """What a redaction writes: the first disclosure of an entry is not to be seen any more from an index on."""
    with database.connection() as conn:
        conn.execute(
            "INSERT INTO ledger.redactions SELECT study_id, jti, rtrim(translate(encode(sha256(convert_to("
            "disclosures[1], 'UTF8')), 'base64'), '+/', '-_'), '='), 'number', %s, %s FROM ledger.entries "
            "WHERE study_id = %s AND idx = %s",
            (effective - 1, effective, book.study, index),
        )


def test_what_was_found_is_what_is_read(two: Book, projector: Database, database: Database) -> None:
    found = keep(projector, two)
    assert sorted(map(repr, read(database, two))) == sorted(map(repr, found)) != []
    assert read(database, two, partition=ANN) == [one for one in read(database, two) if one.partition == ANN]
    assert [one.column for one in read(database, two, intended=False)] == ["site"]
    assert len(read(database, two, limit=3)) == 3
    line = read(database, two, partition=BEN, table="lines", key="[]")
    assert [(one.kind, one.column) for one in line] == [("removed", "")]
    assert read(database, two, partition=BEN, table="lines", key="[1]") == []


def test_a_second_comparison_takes_the_place_of_the_first(two: Book, projector: Database, database: Database) -> None:
    keep(projector, two)
    first = read(database, two)
    keep(projector, two)
    assert read(database, two) == first


def test_nothing_is_kept_of_a_comparison_that_failed(two: Book, projector: Database, database: Database) -> None:
    keep(projector, two)
    first = read(database, two)

    def fail() -> None:
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        keep(projector, two, fail)
    assert read(database, two) == first


def test_a_partition_made_anew_loses_its_differences(two: Book, projector: Database, database: Database) -> None:
    keep(projector, two)
    with projector.connection() as conn, conn.transaction():
        tables.empty_partition(conn, TWO.schema, TWO.definition, two.study, ANN)
    assert {one.partition for one in read(database, two)} == {BEN, "study"}


def _place(projector: Database, book: Book, position: int) -> None:
    values = {"schema": TWO.schema, "study": book.study}
    with projector.connection() as conn:
        conn.execute("DELETE FROM projection.positions WHERE schema_name = %(schema)s", values)
        conn.execute(
            "INSERT INTO projection.positions (schema_name, study_id, position) VALUES (%s, %s, %s)",
            (TWO.schema, book.study, position),
        )
        assert conn.execute(SQL["lock_position"], values).fetchone() == (position,)


def test_nothing_of_a_subject_is_given_until_a_redaction_is_taken_in(
    two: Book, projector: Database, database: Database
) -> None:
    keep(projector, two)
    _place(projector, two, two.size)
    assert ANN in {one.partition for one in read(database, two)}
    screening = next(i for i, one in enumerate(two.statements) if one.event == "SubjectScreened")
    redact(projector, database, two, screening, two.size + 1)
    assert {one.partition for one in read(database, two)} == {BEN, "study"}
    _place(projector, two, two.size + 2)
    assert ANN in {one.partition for one in read(database, two)}


def test_what_is_redacted_while_it_is_compared_is_not_kept(two: Book, projector: Database, database: Database) -> None:
    screening = next(i for i, one in enumerate(two.statements) if one.event == "SubjectScreened")
    site = next(i for i, one in enumerate(two.statements) if one.event == "SiteActivated")

    def between() -> None:
        for index in (screening, site):
            redact(projector, database, two, index, two.size + 1)

    found = keep(projector, two, between)
    assert {one.partition for one in found} == {ANN, BEN, "study"}
    with projector.connection() as conn:
        rows = conn.execute(f'SELECT DISTINCT partition FROM {TWO.schema}."_differences"').fetchall()
    assert rows == [(BEN,)]
