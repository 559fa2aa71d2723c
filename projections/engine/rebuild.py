"""Rebuilding: the rows of a study made anew from its first event, beside the ones that answer.

 1. plan: every aggregate of the study below the signed size, split into parts of about the same number of events;
 2. build: each part, subject by subject, folded once for all projections asked for, is copied into scratch schemas;
    rows and progress in one transaction, so that a rebuild that was killed goes on where it was;
 3. catch up: what was recorded meanwhile is taken in like by a follower;
 4. replace: at the live position, in one transaction, the new rows take the place of the old ones.
Readers never wait and never see a mixture. Strict: an event that cannot be taken in ends the rebuild, and what
answers stays as it is. A part's rows depend on its subjects alone, so the result is the same for any number of parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import PROJECTOR, Database
from projections.definitions import model_of
from projections.engine import digest, tables
from projections.engine.building import PATIENCE, Order, Part, build
from projections.engine.definition import ReadModel, partition_of
from projections.engine.digest import Digest
from projections.engine.errors import RebuildRunning, StudyNotKnown
from projections.engine.folding import Course, events_of
from projections.engine.runner import BATCH_EVENTS, prepare
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]

MAX_WORKERS = 4
"""More gain nothing: they share the database's disk (measured: reference prototypes flatten at four)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: events done of all, for the projections named; `step`: build, catch up or replace."""

    study: str
    projections: tuple[str, ...]
    done: int
    total: int
    step: str

    @property
    def name(self) -> str:
        """What is being done, for showing."""
        return f"{self.step} {', '.join(self.projections)}"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild made of one projection: the size, the digests before and after, and whether they differ."""

    projection: str
    schema: str
    size: int
    before: Digest
    after: Digest

    @property
    def changed(self) -> bool:
        """Whether the rows that answered until now were others than those of a rebuild."""
        return self.before.root != self.after.root


Report = Callable[[Progress], None]


def rebuild(
    database: Database, study: str, names: Sequence[str], workers: int = 1, progress: Report = lambda one: None
) -> list[Rebuilt]:
    """Rebuild these projections of a study. `database` is opened as the projector. Raises StudyNotKnown, FoldFailed,
    RebuildRunning, whatever a handler raises, and the store's errors; what answers is then as it was."""
    models = [model_of(name) for name in names]
    workers = max(1, min(workers, MAX_WORKERS))
    with Database(database.url, role=PROJECTOR, name="trial-ledger-rebuild", **PATIENCE) as own:
        with own.dedicated() as conn:
            _take_turn(conn, study, models)
            origin = _origin(conn, study)
            for model in models:
                prepare(conn, study, model)
            parts, ceiling = _plan(conn, study, models, workers)
            fingerprints = {model.definition.name: model.fingerprint for model in models}
            scratches = tuple(scratch_of(model, study) for model in models)
            order = Order(own.url, study, origin, fingerprints, scratches, ceiling)
            total, done = sum(count for part in parts for _, count in part.aggregates), 0
            for events in build(order, parts):
                done += events
                progress(Progress(study, tuple(names), done, total, "build"))
            made = [_replace(conn, study, origin, model, ceiling, progress) for model in models]
            for scratch in scratches:
                conn.execute(on("drop_schema", scratch))
        return made


def scratch_of(model: ReadModel, study: str) -> str:
    """The schema beside a read model in which it is made anew for one study."""
    return f"{model.schema}_r{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def _take_turn(conn: Conn, study: str, models: Sequence[ReadModel]) -> None:
    """One rebuild of a projection of a study at a time; the turn ends with the connection."""
    for model in models:
        row = conn.execute(SQL["take_turn"], {"scratch": scratch_of(model, study)}).fetchone()
        if row is None or not row[0]:
            raise RebuildRunning(f"{model.definition.name!r} of {study} is being rebuilt by another process")


def _origin(conn: Conn, study: str) -> str:
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    return str(row[0])


# -- plan ------------------------------------------------------------------------------------------------------


def _plan(conn: Conn, study: str, models: Sequence[ReadModel], workers: int) -> tuple[list[Part], int]:
    """The parts and the ceiling: those of a rebuild that was begun with the same projections, else new ones."""
    with conn.transaction():
        begun = [_begun(conn, study, model) for model in models]
        if begun[0] is not None and all(one == begun[0] for one in begun):
            workers, ceiling = begun[0]
        else:
            row = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
            ceiling = int(row[0]) if row is not None else 0
            for model in models:
                conn.execute(on("drop_schema", scratch_of(model, study)))
                tables.create(conn, model, scratch_of(model, study), indexes=False)
                for number in range(workers):
                    values = {"study": study, "part": number, "parts": workers, "ceiling": ceiling}
                    conn.execute(on("begin_part", scratch_of(model, study)), values)
    counted = conn.execute(SQL["originators"], {"study": study, "stop": ceiling}).fetchall()
    return _split(counted, workers), ceiling


def _begun(conn: Conn, study: str, model: ReadModel) -> tuple[int, int] | None:
    exists = conn.execute(SQL["schema_exists"], {"schema": scratch_of(model, study)}).fetchone()
    if exists is None or not exists[0]:
        return None
    row = conn.execute(on("parts", scratch_of(model, study)), {"study": study}).fetchone()
    return None if row is None else (row[0], row[1])


def _split(counted: Sequence[tuple[UUID, int]], parts: int) -> list[Part]:
    """Runs of aggregates in order of their ids, each with about the same number of events."""
    total = sum(count for _, count in counted)
    shares: list[list[tuple[UUID, int]]] = [[] for _ in range(parts)]
    before = 0
    for originator, count in counted:
        shares[min(before * parts // max(total, 1), parts - 1)].append((originator, count))
        before += count
    return [Part(number, tuple(share)) for number, share in enumerate(shares)]


# -- catch up and replace --------------------------------------------------------------------------------------


def _replace(conn: Conn, study: str, origin: str, model: ReadModel, ceiling: int, progress: Report) -> Rebuilt:
    """Bring the scratch rows to the live position and put them in the place of the live ones."""
    name, scratch = model.definition.name, scratch_of(model, study)
    course = Course(study, origin, ceiling)
    while _live(conn, study, model) - course.size > BATCH_EVENTS:
        with conn.transaction():
            _take_in(conn, course, model, min(course.size + BATCH_EVENTS, _live(conn, study, model)))
        progress(Progress(study, (name,), course.size, _live(conn, study, model), "catch up"))
    with conn.transaction():
        row = conn.execute(SQL["lock_position"], {"study": study, "schema": model.schema}).fetchone()
        position = int(row[0]) if row is not None else 0
        _take_in(conn, course, model, max(position, ceiling))
        progress(Progress(study, (name,), course.size, course.size, "replace"))
        before = digest.of_tables(conn, model.schema, model.definition, study)
        after = digest.of_tables(conn, scratch, model.definition, study)
        if before != after:
            tables.move_study(conn, scratch, model.schema, model.definition, study)
        values = {"study": study, "schemas": [model.schema], "position": course.size}
        conn.execute(SQL["advance"], values)
        conn.execute(on("unstop", model.schema), {"study": study})
    if before != after:
        tables.analyze(conn, model.schema, model.definition)
    return Rebuilt(name, model.schema, course.size, before, after)


def _live(conn: Conn, study: str, model: ReadModel) -> int:
    standing: dict[str, int] = dict(conn.execute(SQL["positions"], {"study": study}).fetchall())
    return standing.get(model.schema, 0)


def _take_in(conn: Conn, course: Course, model: ReadModel, size: int) -> None:
    """Take in the events up to a size, like a follower does."""
    if size <= course.size:
        return
    study, scratch = course.study_id, scratch_of(model, course.study_id)
    touched = course.advance(conn, events_of(conn, study, course.size, size), size)
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for one in touched:
        partition = partition_of(one.aggregate)
        if one.remade:
            tables.empty_partition(conn, scratch, model.definition, study, partition)
        made = model.definition.rows(one.aggregate, one.records)
        tables.collect(model.definition, study, partition, made, rows)
    tables.upsert(conn, scratch, model.definition, rows)
