"""Worker processes of a build: each takes parts one by one until none is left.

A worker has a connection of its own, comes last at the processor, and ends when whoever started it is gone. One that
was killed is replaced; the parts say what is left to do, so nothing else is known of it. Each has a pipe of its own: a
queue that all share would be left locked by one that is killed while it reports.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

from ledger.store.database import PROJECTOR, Database
from ledger.store.errors import DatabaseUnavailable
from projections.definitions import model_with
from projections.engine.building import BuildFailed, Order, PartsGone, be_nice, build_next
from projections.engine.collector import collecting_rarely
from projections.engine.definition import ReadModel
from projections.engine.skips import skips_of

PATIENCE: dict[str, Any] = {"statement_timeout_s": 3600.0, "idle_in_transaction_timeout_s": 600.0, "max_connections": 2}
"""A build may take its time, and holds no lock that others wait for."""

MAX_REPLACED = 20
"""Workers that are replaced without a part being built in between: more are no accident."""

LOOK_S = 1.0
"""How often it is looked whether workers live, where none reports."""


@dataclass(slots=True)
class _Worker:
    process: Any
    reports: Pipe
    ended: bool = False


class WorkersDie(Exception):
    """Workers are killed again and again; what was built is kept."""


def build(order: Order, workers: int) -> Iterator[int]:
    """Build every part that is left, in this process (one worker) or in several; yields the events of each part as it
    is done. Raises PartsGone, BuildFailed, WorkersDie and the store's errors."""
    if workers <= 1:
        yield from build_here(order)
        return
    context = multiprocessing.get_context("spawn")
    running = [_started(context, order) for _ in range(workers)]
    try:
        replaced = 0
        while any(not worker.ended for worker in running):
            for worker in _ready(running):
                report = _report(worker)
                if report is None:
                    replaced += 1
                    if replaced > MAX_REPLACED:
                        raise WorkersDie(f"{replaced} workers were killed, none of which had built a part")
                    running[running.index(worker)] = _started(context, order)
                elif isinstance(report, BaseException):
                    raise report
                elif report:
                    replaced = 0
                    yield report
    finally:
        for worker in running:
            worker.process.terminate()
            worker.process.join()
            worker.reports.close()


def build_here(order: Order) -> Iterator[int]:
    """Build every part that is left, in this process."""
    models = models_of(order)
    with Database(order.url, role=PROJECTOR, name="trial-ledger-rebuild", **PATIENCE) as database:
        with database.connection() as conn, collecting_rarely():
            skips = skips_of(conn, order.study, order.ceiling)
            while (events := build_next(conn, order, models, skips)) is not None:
                yield events


def models_of(order: Order) -> list[ReadModel]:
    """The read models to build, as this process has them: RuntimeError where its code is another than that which
    planned the build."""
    models = [model_with(*identity) for identity in order.models]
    if any(model is None for model in models):
        raise RuntimeError("the code of a projection was changed while it is being rebuilt; run the rebuild again")
    return [model for model in models if model is not None]


def _started(context: Any, order: Order) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, order), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _ready(running: list[_Worker]) -> list[_Worker]:
    """Workers that have something to tell, or are gone."""
    open_ = {worker.reports: worker for worker in running if not worker.ended}
    return [open_[pipe] for pipe in wait(list(open_), LOOK_S) if isinstance(pipe, Pipe)]


def _report(worker: _Worker) -> int | BaseException | None:
    """What a worker tells: the events of a part, 0 at its end, what ended it, or None where it was killed."""
    try:
        told: int | BaseException = worker.reports.recv()
    except (EOFError, OSError):
        return None
    worker.ended = told == 0
    return told


def _work(reports: Pipe, order: Order) -> None:
    """One worker process. Interrupting is for whoever started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    be_nice()
    parent = multiprocessing.parent_process()
    try:
        for events in build_here(order):
            reports.send(events or 0)
            if parent is None or not parent.is_alive():
                return
        reports.send(0)
    except BrokenPipeError:
        return  # nobody listens any more
    except (BuildFailed, PartsGone, DatabaseUnavailable) as error:
        _tell(reports, error)
    except Exception as error:
        _tell(reports, RuntimeError(f"{type(error).__name__}: {error}"))


def _tell(reports: Pipe, error: Exception) -> None:
    try:
        reports.send(error)
    except OSError:
        return
