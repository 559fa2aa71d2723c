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

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from ledger.store.database import PROJECTOR, Database
from projections.definitions import model_of
from projections.engine import digest, tables
from projections.engine.collector import collecting_rarely
from projections.engine.definition import ReadModel, partition_of
from projections.engine.digest import Digest
from projections.engine.errors import StudyNotKnown
from projections.engine.folding import Course, aggregates_below, events_of, fold_one, new_aggregate
from projections.engine.runner import BATCH_EVENTS, prepare
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]

CHUNK_EVENTS = 5_000
"""Events of one transaction of a part: a kill repeats no more than this."""

MAX_WORKERS = 4
"""More gain nothing: they share the database's disk (measured: reference prototypes flatten at four)."""

SCRATCH = "_r"


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


@dataclass(frozen=True, slots=True)
class _Part:
    """A share of the aggregates, in order of their ids, each with how many events it has below the ceiling."""

    number: int
    aggregates: tuple[tuple[UUID, int], ...]


Report = Callable[[Progress], None]


def rebuild(
    database: Database, study: str, names: Sequence[str], workers: int = 1, progress: Report = lambda one: None
) -> list[Rebuilt]:
    """Rebuild these projections of a study. `database` is opened as the projector. Raises StudyNotKnown, FoldFailed,
    whatever a handler raises, and the store's errors; what answers is then as it was."""
    models = [model_of(name) for name in names]
    workers = max(1, min(workers, MAX_WORKERS))
    with Database(database.url, role=PROJECTOR, name="trial-ledger-rebuild", **_patient()) as own:
        with own.connection() as conn:
            origin = _origin(conn, study)
            for model in models:
                prepare(conn, study, model)
            parts, ceiling = _plan(conn, study, origin, models, workers)
        _build(own, study, origin, models, parts, ceiling, progress)
        with own.connection() as conn:
            made = [_replace(conn, study, origin, model, ceiling, progress) for model in models]
            for model in models:
                conn.execute(on("drop_schema", scratch_of(model)))
        return made


def scratch_of(model: ReadModel) -> str:
    """The schema beside a read model in which it is made anew."""
    return f"{model.schema}{SCRATCH}"


def _patient() -> dict[str, Any]:
    """A rebuild may take its time, and holds no lock that others wait for until its last moment."""
    return {"statement_timeout_s": 3600.0, "idle_in_transaction_timeout_s": 600.0, "max_connections": 2}


def _origin(conn: Conn, study: str) -> str:
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    return str(row[0])


# -- plan ------------------------------------------------------------------------------------------------------


def _plan(conn: Conn, study: str, origin: str, models: Sequence[ReadModel], workers: int) -> tuple[list[_Part], int]:
    """The parts and the ceiling: those of a rebuild that was begun with the same projections, else new ones."""
    with conn.transaction():
        begun = [_begun(conn, study, model) for model in models]
        if begun[0] is not None and all(one == begun[0] for one in begun):
            workers, ceiling = begun[0]
        else:
            row = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
            ceiling = int(row[0]) if row is not None else 0
            for model in models:
                conn.execute(on("drop_schema", scratch_of(model)))
                tables.create(conn, model, scratch_of(model), indexes=False)
                for number in range(workers):
                    values = {"study": study, "part": number, "parts": workers, "ceiling": ceiling}
                    conn.execute(on("begin_part", scratch_of(model)), values)
    counted = conn.execute(SQL["originators"], {"study": study, "stop": ceiling}).fetchall()
    return _split(counted, workers), ceiling


def _begun(conn: Conn, study: str, model: ReadModel) -> tuple[int, int] | None:
    exists = conn.execute(SQL["schema_exists"], {"schema": scratch_of(model)}).fetchone()
    if exists is None or not exists[0]:
        return None
    row = conn.execute(on("parts", scratch_of(model)), {"study": study}).fetchone()
    return None if row is None else (row[0], row[1])


def _split(counted: Sequence[tuple[UUID, int]], parts: int) -> list[_Part]:
    """Runs of aggregates in order of their ids, each with about the same number of events."""
    total = sum(count for _, count in counted)
    shares: list[list[tuple[UUID, int]]] = [[] for _ in range(parts)]
    before = 0
    for originator, count in counted:
        shares[min(before * parts // max(total, 1), parts - 1)].append((originator, count))
        before += count
    return [_Part(number, tuple(share)) for number, share in enumerate(shares)]


# -- build -----------------------------------------------------------------------------------------------------


def _build(
    database: Database,
    study: str,
    origin: str,
    models: Sequence[ReadModel],
    parts: Sequence[_Part],
    ceiling: int,
    progress: Report,
) -> None:
    names = tuple(model.definition.name for model in models)
    fingerprints = {model.definition.name: model.fingerprint for model in models}
    total = sum(count for part in parts for _, count in part.aggregates)
    done = 0
    for events in _built(database.url, study, origin, fingerprints, parts, ceiling):
        done += events
        progress(Progress(study, names, done, total, "build"))


def _built(
    url: str, study: str, origin: str, fingerprints: Mapping[str, str], parts: Sequence[_Part], ceiling: int
) -> Iterator[int]:
    """How many events each step of any part took in, as they are done."""
    if len(parts) == 1:
        yield from build_part(url, study, origin, fingerprints, parts[0], ceiling)
        return
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    workers = [
        context.Process(target=_work, args=(reports, url, study, origin, fingerprints, part, ceiling), daemon=True)
        for part in parts
    ]
    for worker in workers:
        worker.start()
    try:
        yield from _reported(reports, workers)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _reported(reports: Any, workers: Sequence[Any]) -> Iterator[int]:
    waiting = len(workers)
    while waiting:
        try:
            report = reports.get(timeout=1.0)
        except Exception:  # nothing came: is somebody still there who could send?
            if any(not worker.is_alive() and worker.exitcode != 0 for worker in workers):
                raise RuntimeError("a worker of the rebuild was killed; run the rebuild again, it goes on") from None
            continue
        if report is None:
            waiting -= 1
        elif isinstance(report, BaseException):
            raise report
        else:
            yield report


def _work(reports: Any, *arguments: Any) -> None:
    """One worker process: reports events done, then None; or the error that ended it."""
    try:
        for events in build_part(*arguments):
            reports.put(events)
        reports.put(None)
    except Exception as error:
        reports.put(RuntimeError(f"{type(error).__name__}: {error}"))


def build_part(
    url: str, study: str, origin: str, fingerprints: Mapping[str, str], part: _Part, ceiling: int
) -> Iterator[int]:
    """Build one part in its own connection, chunk by chunk; yields the number of events of each."""
    models = _same(fingerprints)
    own = study_aggregate_id(origin)
    values = {"study": study, "part": part.number}
    with Database(url, role=PROJECTOR, name="trial-ledger-rebuild", **_patient()) as database, collecting_rarely():
        with database.connection() as conn:
            row = conn.execute(on("part", scratch_of(models[0])), values).fetchone()
            reached = row[0] if row is not None else None
            already = sum(count for originator, count in part.aggregates if reached and originator <= reached)
            if already:
                yield already
            waiting = [one for one in part.aggregates if reached is None or one[0] > reached]
            for chunk in _chunks(waiting):
                done = sum(count for _, count in chunk)
                with conn.transaction():
                    _build_chunk(conn, study, own, models, [originator for originator, _ in chunk], ceiling)
                    moved = {**values, "reached": chunk[-1][0], "done": done, "finished": chunk[-1] == waiting[-1]}
                    for model in models:
                        conn.execute(on("advance_part", scratch_of(model)), moved)
                yield done


def _same(fingerprints: Mapping[str, str]) -> list[ReadModel]:
    """The projections, if this process has them as the one that planned the rebuild has."""
    models = [model_of(name) for name in fingerprints]
    if any(model.fingerprint != fingerprints[model.definition.name] for model in models):
        raise RuntimeError("the code of a projection was changed while it is being rebuilt; run the rebuild again")
    return models


def _chunks(waiting: Sequence[tuple[UUID, int]]) -> Iterator[list[tuple[UUID, int]]]:
    chunk: list[tuple[UUID, int]] = []
    for one in waiting:
        chunk.append(one)
        if sum(count for _, count in chunk) >= CHUNK_EVENTS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _build_chunk(
    conn: Conn, study: str, own: UUID, models: Sequence[ReadModel], originators: Sequence[UUID], ceiling: int
) -> None:
    aggregates = {originator: new_aggregate(originator, own) for originator in originators}
    for event in aggregates_below(conn, study, dict.fromkeys(originators, 0), ceiling):
        fold_one(aggregates[event.originator], event)
    for model in models:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for aggregate in aggregates.values():
            made = model.definition.rows(aggregate, list(aggregate.records))
            tables.collect(model.definition, study, partition_of(aggregate), made, rows)
        tables.copy(conn, scratch_of(model), model.definition, rows)


# -- catch up and replace --------------------------------------------------------------------------------------


def _replace(conn: Conn, study: str, origin: str, model: ReadModel, ceiling: int, progress: Report) -> Rebuilt:
    """Bring the scratch rows to the live position and put them in the place of the live ones."""
    name, scratch = model.definition.name, scratch_of(model)
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
    touched = course.advance(conn, events_of(conn, course.study_id, course.size, size), size)
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for one in touched:
        partition = partition_of(one.aggregate)
        if one.remade:
            tables.empty_partition(conn, scratch_of(model), model.definition, course.study_id, partition)
        made = model.definition.rows(one.aggregate, one.records)
        tables.collect(model.definition, course.study_id, partition, made, rows)
    tables.upsert(conn, scratch_of(model), model.definition, rows)
