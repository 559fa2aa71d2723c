"""Building parts of a rebuild: each a share of a study's aggregates, folded whole and copied into scratch schemas.

A part is built chunk by chunk, rows and progress in one transaction, in the process that asks or in worker processes
of its own. A part that was built before goes on behind the last aggregate that it finished.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from ledger.store.database import PROJECTOR, Database
from projections.definitions import model_of
from projections.engine import tables
from projections.engine.collector import collecting_rarely
from projections.engine.definition import ReadModel, partition_of
from projections.engine.folding import aggregates_below, fold_one, new_aggregate
from projections.engine.sql import on

Conn = Connection[TupleRow]

CHUNK_EVENTS = 5_000
"""Events of one transaction of a part: a kill repeats no more than this."""

PATIENCE: dict[str, Any] = {"statement_timeout_s": 3600.0, "idle_in_transaction_timeout_s": 600.0, "max_connections": 2}
"""A rebuild may take its time, and holds no lock that others wait for until its last moment."""


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the aggregates, in order of their ids, each with how many events it has below the ceiling."""

    number: int
    aggregates: tuple[tuple[UUID, int], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: a study's aggregates below the ceiling, for projections by name and fingerprint, into the scratch
    schema of each. Goes to worker processes."""

    url: str
    study: str
    origin: str
    fingerprints: Mapping[str, str]
    scratches: tuple[str, ...]
    ceiling: int


def build(order: Order, parts: Sequence[Part]) -> Iterator[int]:
    """Build all parts; yields the events of each step of any of them, as they are done."""
    if len(parts) == 1:
        yield from build_part(order, parts[0])
        return
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    workers = [context.Process(target=_work, args=(reports, order, part), daemon=True) for part in parts]
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
        except queue.Empty:
            if any(not worker.is_alive() and worker.exitcode != 0 for worker in workers):
                raise RuntimeError("a worker of the rebuild was killed; run the rebuild again, it goes on") from None
            continue
        if report is None:
            waiting -= 1
        elif isinstance(report, BaseException):
            raise report
        else:
            yield report


def _work(reports: Any, order: Order, part: Part) -> None:
    """One worker process: reports events done, then None; or the error that ended it."""
    try:
        for events in build_part(order, part):
            reports.put(events)
        reports.put(None)
    except Exception as error:
        reports.put(RuntimeError(f"{type(error).__name__}: {error}"))


def build_part(order: Order, part: Part) -> Iterator[int]:
    """Build one part in its own connection, chunk by chunk; yields the number of events of each."""
    models = _same(order.fingerprints)
    values = {"study": order.study, "part": part.number}
    with Database(order.url, role=PROJECTOR, name="trial-ledger-rebuild", **PATIENCE) as database, collecting_rarely():
        with database.connection() as conn:
            row = conn.execute(on("part", order.scratches[0]), values).fetchone()
            reached = row[0] if row is not None else None
            already = sum(count for originator, count in part.aggregates if reached and originator <= reached)
            if already:
                yield already
            waiting = [one for one in part.aggregates if reached is None or one[0] > reached]
            for chunk in _chunks(waiting):
                done = sum(count for _, count in chunk)
                with conn.transaction():
                    _build_chunk(conn, order, models, [originator for originator, _ in chunk])
                    moved = {**values, "reached": chunk[-1][0], "done": done, "finished": chunk[-1] == waiting[-1]}
                    for scratch in order.scratches:
                        conn.execute(on("advance_part", scratch), moved)
                yield done


def _same(fingerprints: Mapping[str, str]) -> list[ReadModel]:
    """The projections, if this process has them as the one that planned the rebuild has."""
    models = [model_of(name) for name in fingerprints]
    if any(model.fingerprint != fingerprints[model.definition.name] for model in models):
        raise RuntimeError("the code of a projection was changed while it is being rebuilt; run the rebuild again")
    return models


def _chunks(waiting: Sequence[tuple[UUID, int]]) -> Iterator[list[tuple[UUID, int]]]:
    chunk: list[tuple[UUID, int]] = []
    events = 0
    for one in waiting:
        chunk.append(one)
        events += one[1]
        if events >= CHUNK_EVENTS:
            yield chunk
            chunk, events = [], 0
    if chunk:
        yield chunk


def _build_chunk(conn: Conn, order: Order, models: Sequence[ReadModel], originators: Sequence[UUID]) -> None:
    own = study_aggregate_id(order.origin)
    aggregates = {originator: new_aggregate(originator, own) for originator in originators}
    for event in aggregates_below(conn, order.study, dict.fromkeys(originators, 0), order.ceiling):
        fold_one(aggregates[event.originator], event)
    for model, scratch in zip(models, order.scratches, strict=True):
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for aggregate in aggregates.values():
            made = model.definition.rows(aggregate, list(aggregate.records))
            tables.collect(model.definition, order.study, partition_of(aggregate), made, rows)
        tables.copy(conn, scratch, model.definition, rows)
