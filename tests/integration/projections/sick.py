"""Projections that cannot take in what others can, for tests of what then stands still and what goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.store.database import Database
from projections.definitions import NAMES, model_of, read_models
from projections.engine import digest
from projections.engine.definition import ReadModel, Row
from projections.engine.stopping import Stopped, stopped_in
from tests.integration.projections.book import Book, subject_id

Refuses = Callable[[Any], bool]


def refusing(name: str, refuses: Refuses, becomes: Row | None = None) -> ReadModel:
    """A projection as this release has it, but that its handler raises at records like these, or makes this row."""
    model = model_of(name)
    original = model.definition.changed

    def changed(state: Any, touched: Sequence[Any]) -> Iterator[Row]:
        if any(refuses(record) for record in touched):
            if becomes is None:
                raise ValueError("cannot read this")
            yield becomes
        yield from original(state, touched)

    return replace(model, definition=replace(model.definition, changed=changed))


def at_event(event: str) -> Refuses:
    """Records of this event."""
    return lambda record: record.event == event


def at_index(index: int) -> Refuses:
    """The record at this index."""
    return lambda record: record.index == index


def release(*others: ReadModel) -> list[ReadModel]:
    """This release, with these projections in place of its own."""
    mine = {model.definition.name: model for model in (*read_models(), *others)}
    return [mine[name] for name in NAMES]


def standing_still(projector: Database, model: ReadModel, study: str = "TRIAL-1") -> dict[str, Stopped]:
    """What stands still in a read model, by partition."""
    with projector.connection() as conn:
        return stopped_in(conn, study, [model.schema])[model.schema]


def parts(projector: Database, model: ReadModel, study: str = "TRIAL-1") -> Mapping[str, str]:
    """The digest of each partition of a read model."""
    with projector.snapshot() as conn:
        return digest.of_tables(conn, model.schema, model.definition, study).partitions


def position(projector: Database, model: ReadModel, study: str = "TRIAL-1") -> int:
    """How far a read model stands."""
    with projector.connection() as conn:
        row = conn.execute(
            "SELECT position FROM projection.positions WHERE study_id = %s AND schema_name = %s", (study, model.schema)
        ).fetchone()
        return -1 if row is None else int(row[0])


def first(book: Book, event: str) -> int:
    """The index of the first event of this name."""
    return next(row.idx for row in book.rows if row.topic.startswith(f"{event}/"))


def partition_at(book: Book, index: int) -> str:
    """The partition of the event at an index."""
    sub = book.statements[index].sub
    return sub.partition("/")[2] if sub.startswith("subject/") else "study"


ONE, TWO = subject_id(1), subject_id(2)
