"""Two invented versions of a projection, and a way to fill their tables as of a size.

Version 1 keeps each record's event and site, and the record as JSON; version 2 writes the event in capitals (declared),
keeps when it occurred (a new column), no line of the subject any more (a dropped table), and by mistake calls the
site of laboratory results "LAB" (declared by nothing).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record
from ledger.store.database import Conn, Database
from projections.engine import tables
from projections.engine.definition import Column, Definition, ReadModel, Row, Table, partition_of
from projections.engine.folding import events_of, fold_one, new_aggregate
from projections.engine.stored import encode
from tests.integration.projections.book import Book

EVENTS = Table(
    "events",
    (Column("idx", "bigint"), Column("event"), Column("site", optional=True), Column("record")),
    ("idx",),
)
LINES = Table("lines", (Column("many", "bigint"),))
EVENTS_2 = Table("events", (*EVENTS.columns, Column("occurred", optional=True)), ("idx",))


def first(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """Version 1."""
    for record in touched:
        yield "events", (record.index, record.event, record.site, encode(record))
    yield "lines", (len(state.records),)


def second(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """Version 2."""
    for record in touched:
        site = "LAB" if record.event == "LabResultReported" else record.site
        yield "events", (record.index, record.event.upper(), site, encode(record), record.occurred_at)


def capitals(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """What version 2 declares."""
    if table == "events":
        yield table, {**row, "event": row["event"].upper()}


ONE = Definition("invented", 1, (EVENTS, LINES), first, study=True)
TWO = Definition("invented", 2, (EVENTS_2,), second, study=True, normaliser=capitals)
MODELS = {1: ReadModel(ONE, "1" * 64), 2: ReadModel(TWO, "2" * 64)}


def fill(conn: Conn, model: ReadModel, book: Book, size: int | None = None) -> None:
    """Make a read model's tables and the rows of a study as of a size."""
    aggregates: dict[Any, Study | Subject] = {}
    with conn.transaction():
        tables.create(conn, model)
        for event in events_of(conn, book.study, 0, book.size if size is None else size):
            found = aggregates.setdefault(event.originator, new_aggregate(event.originator, book.own))
            fold_one(found, event)
        rows: dict[str, Any] = {}
        for aggregate in aggregates.values():
            made = model.definition.rows(aggregate, list(aggregate.records))
            tables.collect(model.definition, book.study, partition_of(aggregate), made, rows)
        tables.copy(conn, model.schema, model.definition, rows)


def filled(projector: Database, book: Book) -> None:
    """Fill both versions."""
    with projector.connection() as conn:
        for model in MODELS.values():
            fill(conn, model, book)
