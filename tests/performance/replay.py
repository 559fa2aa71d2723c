"""Replay: patient, cohort and audit trail built together, against a projection of `eventsourcing` that only counts.

Both read events of the same size from the same server in the same run. The library's runner takes a sample before the
replay and one after it, because whatever else the machine does changes meanwhile; its rate does not depend on how many
events there are. A replay is what `trial-ledger projections rebuild` does until the new rows may be compared: plan,
build by worker processes, keys and indexes, statistics. Each study is replayed for the first time, so that there is
nothing to compare with; what a comparison takes is a row of its own, of the same study replayed once more.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ledger.application import Ledger
from projections.engine import operations
from projections.engine.folding import events_of
from tests.performance.library import Library
from tests.performance.multiplied import SQL

PROJECTIONS = ("patient", "cohort", "audit_trail")
SAMPLE = 6_000
"""Events that the library's runner projects before the replay, and again after it."""
PAGE = 5_000
SAMPLING_S = 0.05
WORKERS = max(2, os.cpu_count() or 1)


@dataclass
class Replayed:
    """Events, seconds, and what they are measured against."""

    events: int = 0
    seconds: float = 0.0
    indexing: float = 0.0
    library: float = 0.0
    """Events a second of the library's runner."""
    reading: float = 0.0
    """Events a second read and not looked at, by one connection."""
    peak_mib: float = 0.0
    compared: float = 0.0
    """Seconds of the comparison with the version that answers, of the study that was replayed again."""
    compared_events: int = 0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def measure(ledger: Ledger, studies: Sequence[str]) -> Replayed:
    """Replay these studies, the last of them twice."""
    made = Replayed()
    library = Library(ledger.urls.admin)
    try:
        before = library.project(_sample(ledger, studies[0]))
        with _peak_of_memory() as peak:
            for study in studies:
                _replay(ledger, study, made)
        made.peak_mib = peak[0]
        made.reading = _reading(ledger, studies)
        after = library.project(_sample(ledger, studies[0]))
        made.library = 2 * SAMPLE / (before + after)
        _compare(ledger, studies[-1], made)
    finally:
        library.close()
    return made


def _sample(ledger: Ledger, study: str) -> list[str]:
    with psycopg.connect(ledger.urls.admin) as admin:
        rows = admin.execute(SQL["sample"], {"study": study, "count": SAMPLE}).fetchall()
    texts = [text for (text,) in rows]
    return (texts * (SAMPLE // len(texts) + 1))[:SAMPLE]


def _replay(ledger: Ledger, study: str, made: Replayed) -> None:
    """Build for the first time; nothing of it is a comparison."""
    start = time.perf_counter()
    built, marks = _built(ledger, study)
    end = time.perf_counter()
    made.events += built[0]["size"]
    made.seconds += end - start
    made.indexing += end - marks["index"]


def _compare(ledger: Ledger, study: str, made: Replayed) -> None:
    """Build a second time, and compare with the first."""
    built, marks = _built(ledger, study)
    made.compared = time.perf_counter() - marks["catch up"]
    made.compared_events = built[0]["size"]
    if any(one["changed"] for one in built):
        raise RuntimeError(f"a second replay of {study} gives other rows: {built}")


def _built(ledger: Ledger, study: str) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """What a rebuild says at its end, and when each of its steps began."""
    marks: dict[str, float] = {}

    def progress(one: operations.Progress) -> None:
        marks.setdefault(one.step, time.perf_counter())

    with ledger.projector_database() as database:
        return operations.rebuild(database, study, PROJECTIONS, WORKERS, progress), marks


def _reading(ledger: Ledger, studies: Sequence[str]) -> float:
    """Events a second, read in order and let go."""
    read, start = 0, time.perf_counter()
    with ledger.projector_database() as database, database.connection() as connection:
        for study in studies:
            at = 0
            while found := events_of(connection, study, at, at + PAGE):
                at += PAGE
                read += len(found)
    return read / (time.perf_counter() - start)


@contextmanager
def _peak_of_memory() -> Iterator[list[float]]:
    """The greatest sum of what this process and its workers hold, in MiB; 0 where the system does not tell."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLING_S):
            pids = [os.getpid(), *(one.pid for one in multiprocessing.active_children() if one.pid)]
            peak[0] = max(peak[0], sum(map(held_mib, pids)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def held_mib(pid: int) -> float:
    """What a process holds in memory, in MiB; 0 where the system does not tell, or it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1_024
