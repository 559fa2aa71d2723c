"""Rows from tables and rows folded in memory answer every question alike."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from projections.engine.reading import Reader
from projections.engine.rows import Asked, Rows, TableRows, Where, every
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write

WHERE: list[tuple[Where, ...]] = [
    (),
    (Where("partition", "=", subject_id(1)),),
    (Where("partition", "in", [subject_id(1), subject_id(2)]),),
    (Where("idx", "<", 10),),
    (Where("idx", ">=", 10), Where("event", "=", "EntryCorrected")),
    (Where("record", "says", "BIRTH_DATE"),),
    (Where("record", "says", "100%"),),
    (Where("event", "is", False),),
    (Where("event", "in", []),),
]
ORDER: list[tuple[str, ...]] = [("idx",), ("event", "idx"), ("partition", "idx")]


@pytest.fixture
def reader(book: Book, follow: Callable[[], int], read: Read) -> Any:
    """A reader that folds: of the size before the last statement, which is about nobody."""
    write(book)
    book.tell("StudyHeld", "study", site=None, reason="pause")
    book.sign()
    follow()
    with read("patient", as_of=book.size - 1) as opened:
        yield opened


def tables(reader: Reader) -> Rows:
    """The same rows from the tables."""
    return TableRows(reader.conn, reader.model.definition, reader.model.schema, reader.study_id)


@pytest.mark.parametrize("where", WHERE)
def test_conditions_order_and_places_mean_the_same(reader: Reader, where: tuple[Where, ...]) -> None:
    for order, descending, limit in product(ORDER, (False, True), (1, 3, 100)):
        asked = Asked(where, order, descending, limit=limit)
        found = tables(reader).select("records", asked)
        assert reader.rows.select("records", asked) == found
        if found:
            after = asked._replace(after=tuple(getattr(found[-1], name) for name in order))
            assert reader.rows.select("records", after) == tables(reader).select("records", after)


@pytest.mark.parametrize("where", WHERE)
def test_counts_are_the_same(reader: Reader, where: tuple[Where, ...]) -> None:
    for by in ((), ("event",), ("partition", "event")):
        assert reader.rows.counts("records", by, where) == tables(reader).counts("records", by, where)


def test_one_of_each_value_is_found_by_either(reader: Reader) -> None:
    mine = {row.event for row in reader.rows.one_of_each("records", "event")}
    theirs = [row.event for row in tables(reader).one_of_each("records", "event")]
    assert mine == set(theirs)
    assert theirs == sorted(mine), "each once"


def test_each_value_looked_up_alone_gives_what_looking_for_all_gives(reader: Reader) -> None:
    wanted = ["EntryCorrected", "LabResultReported", "NoSuchEvent"]
    for limit, descending in product((1, 2, 50), (False, True)):
        each = Asked((Where("idx", ">=", 3),), ("idx",), descending, limit=limit, each=("event", wanted))
        together = each._replace(each=None, where=(*each.where, Where("event", "in", wanted)))
        expected = tables(reader).select("records", together)
        assert tables(reader).select("records", each) == expected
        assert reader.rows.select("records", each) == expected


def test_every_row_comes_once_however_small_the_pages(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.engine.rows.PAGE", 2)
    for source in (reader.rows, tables(reader)):
        found = list(every(source, "records", order=("partition", "idx")))
        assert len(found) == len({(row.partition, row.idx) for row in found}) > 10


def test_a_partition_that_does_not_exist_has_no_rows(reader: Reader) -> None:
    nobody = (Where("partition", "=", subject_id(77)),)
    assert reader.rows.select("records", Asked(nobody)) == []
    assert reader.rows.counts("records", (), nobody) == tables(reader).counts("records", (), nobody) == {(): 0}


def test_a_table_that_is_not_declared_is_refused(reader: Reader) -> None:
    for source in (reader.rows, tables(reader)):
        with pytest.raises(KeyError, match="no table 'secrets'"):
            source.select("secrets", Asked())
