"""A replay survives the death of a worker, of all, and of PostgreSQL: it goes on, and its rows are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.store.database import PROJECTOR, Database
from ledger.store.embedded import DatabaseUrls, EmbeddedPostgres
from ledger.store.migrations import migrate
from projections.definitions import read_models
from projections.engine.digest import of_tables
from projections.engine.runner import Runner
from tests.integration.projections.book import Book
from tests.scenario.waiting import wait_until

SUBJECTS = 60


@pytest.fixture
def urls(ledger_database: DatabaseUrls) -> DatabaseUrls:
    """A database with a study of some subjects, which a follower has taken in."""
    written(ledger_database)
    return ledger_database


def written(urls: DatabaseUrls) -> None:
    """Write and follow the study."""
    with Database(urls.app) as database:
        book = Book(database)
        book.open()
        for number in range(SUBJECTS):
            told = book.tell("SubjectScreened", number, number=f"P-{number}")
            book.correct(told, "number", f"P-0{number}", "as on the list")
        book.sign()
    with Database(urls.projector, role=PROJECTOR) as projector:
        Runner(projector, read_models()).catch_up()


@contextmanager
def rebuilding(urls: DatabaseUrls, workers: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A rebuild as a process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.replaying", urls.projector, str(workers)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until_built(process: subprocess.Popen[str], events: int) -> None:
    """Read what it says until so many events are built."""
    assert process.stdout is not None
    for line in process.stdout:
        one = json.loads(line)
        if one.get("step") == "build" and one["done"] >= events:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "it ended")


def made(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it made in the end."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    (found,) = json.loads(out.splitlines()[-1])["made"]
    return dict(found)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == process.pid and b"spawn_main" in line:
                found.append(int(entry.name))
    return found


def check(urls: DatabaseUrls, result: dict[str, Any]) -> None:
    """Compared, nothing differs, and the rows are those of the follower."""
    assert (result["state"], result["changed"]) == ("ready", False)
    model = next(one for one in read_models() if one.definition.name == "patient")
    with Database(urls.projector, role=PROJECTOR) as database, database.snapshot() as conn:
        live, other = (
            of_tables(conn, schema, model.definition, "TRIAL-1").root for schema in (model.schema, result["schema"])
        )
        assert live == other == result["digest"]
        generations = conn.execute("SELECT count(*) FROM projection.replays").fetchone()
    assert generations == (1,), "it went on with what was begun"


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="worker processes are found in /proc")


def test_a_worker_that_is_killed_is_replaced(urls: DatabaseUrls) -> None:
    with rebuilding(urls, 2) as process:
        until_built(process, 10)
        first, *_ = children(process)
        os.kill(first, signal.SIGKILL)
        check(urls, made(process))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2)])
def test_all_that_is_killed_goes_on_with_another_number_of_workers(urls: DatabaseUrls, before: int, after: int) -> None:
    with rebuilding(urls, before) as process:
        until_built(process, 20)
        orphans = children(process)
        process.kill()
        process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), "the workers' end")
    with rebuilding(urls, after, PYTHONHASHSEED=str(before)) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["done"] >= 20, "what was built is not built again"
        check(urls, made(process))


def test_a_killed_postgresql_is_waited_for(embedded_home: Path) -> None:
    server = EmbeddedPostgres(embedded_home)
    with server as urls:
        migrate(urls.admin)
        written(urls)
        with rebuilding(urls, 2) as process:
            until_built(process, 20)
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: not Path(f"/proc/{server.pid}").exists() or not server.pid, "the death of PostgreSQL")
            server.ensure_running()
            check(urls, made(process))


def test_an_interrupted_rebuild_leaves_no_worker(urls: DatabaseUrls) -> None:
    with rebuilding(urls, 2) as process:
        until_built(process, 10)
        workers = children(process)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers' end")
    with rebuilding(urls, 1) as process:
        check(urls, made(process))
