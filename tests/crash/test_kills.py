"""kill -9 of the server and of PostgreSQL, at each durable state and at random moments, under load.

Ten careful clients keep a statement each in flight all the time, two more send lines in bulk. Whatever dies, and
wherever a statement then is: what was acknowledged is there exactly once, the indexes are gapless, every
checkpoint that anybody was shown is a beginning of the final log, and nobody had to lend a hand. fsync is on.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from ledger.application import Ledger
from ledger.home import Home
from ledger.settings import Settings
from ledger.store.embedded import EmbeddedPostgres
from tests.crash.faulty_server import MOMENTS
from tests.scenario.checker import check_everything
from tests.scenario.served import Sender, Town, trial_over_http
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

ROOT = Path(__file__).parents[2]
IN_FLIGHT, WITH_LINES, LINES = 10, 2, 25
"""Clients that send one statement at a time, and others that send so many lines in a request."""
AT_RANDOM = 4
START_SECONDS = 60.0
MOST_TRAFFIC_SECONDS = 0.4
"""Between two deaths the clients get something done, sometimes much, sometimes little."""


@dataclass
class Victim:
    """A server that can be killed, the orders it reads, and the load on it."""

    home: Path
    chance: random.Random
    town: Town = field(default_factory=Town)
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    @property
    def orders(self) -> Path:
        """Where the server looks for its order."""
        return self.home.parent / "orders.json"

    def start(self) -> None:
        """A new server process; clients find its new address."""
        environment = {
            **os.environ,
            "TRIAL_LEDGER_HOME": str(self.home),
            "TRIAL_LEDGER_TEST_ORDERS": str(self.orders),
        }
        command = [sys.executable, "-m", "tests.crash.faulty_server", "--port", "0", "--until-eof", "--json"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert self.process.stdout is not None
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line, f"the server did not start (exit status {self.process.wait()})"
        self.town.urls = [json.loads(line)["url"]]

    def order(self, at: str, victim: str) -> None:
        """Have somebody killed at a moment, some passages from now."""
        order = {"at": at, "passages": self.chance.randint(1, 4), "victim": victim}
        draft = self.orders.with_suffix(".draft")
        draft.write_text(json.dumps(order), encoding="ascii")
        draft.replace(self.orders)

    def died(self) -> None:
        """The server is dead, by SIGKILL."""
        assert self.process is not None
        assert self.process.wait(START_SECONDS) == -signal.SIGKILL
        self.town.urls = []
        self.kills += 1
        self._close()

    def kill(self) -> None:
        """SIGKILL now."""
        assert self.process is not None
        self.process.kill()
        self.died()

    def stop(self) -> None:
        """End it as its owner does."""
        if self.process is not None and self.process.poll() is None:
            self._close()
            self.process.wait(START_SECONDS)

    def _close(self) -> None:
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Load:
    """Twelve clients that go on sending until they are told to stop."""

    def __init__(self, sim: Simulator, town: Town) -> None:
        self.sender = Sender(town)
        self._sim = sim
        self._enough = threading.Event()
        self._subjects = [sim.subject(f"{n:03}") for n in range(IN_FLIGHT)]
        self._pool = ThreadPoolExecutor(IN_FLIGHT + WITH_LINES)
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Load:
        one_by_one = [self._pool.submit(self.sender.send, self._statements(n)) for n in range(IN_FLIGHT)]
        many = [self._pool.submit(self.sender.send_lines, self._batches(n)) for n in range(WITH_LINES)]
        self._futures = one_by_one + many
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._pool.shutdown()
        for future in self._futures:
            future.result()

    def _statements(self, number: int) -> Iterator[tuple[str, str]]:
        by, subject = self._sim.cast.sites["NORTH"].coordinator, self._subjects[number]
        event, count = "AssessmentRecorded", 0
        while not self._enough.is_set():
            count += 1
            yield event, self._sim.sign(by, event, subject, instrument="ECOG", items={"ecog": count % 3})

    def _batches(self, number: int) -> Iterator[list[tuple[str, str]]]:
        statements = self._statements(number)
        while batch := list(itertools.islice(statements, LINES)):
            yield batch

    def goes_on(self) -> None:
        """Wait until every client could have been answered again."""
        size = len(self.sender.told) + IN_FLIGHT
        wait_until(lambda: len(self.sender.told) >= size or self._failed(), "an answer")

    def _failed(self) -> bool:
        return any(future.done() and future.exception() for future in self._futures)


@contextmanager
def under_load(home: Path, seed: int) -> Iterator[tuple[Victim, Load]]:
    """A trial on a server, and twelve clients at work; afterwards everything is checked."""
    home.parent.mkdir(parents=True, exist_ok=True)
    victim = Victim(home, random.Random(seed))
    victim.start()
    with ExitStack() as stack:
        stack.callback(victim.stop)
        sim = trial_over_http(victim.town.urls[0], home)
        sim.open()
        load = Load(sim, victim.town)
        with load:
            load.goes_on()
            yield victim, load
        victim.stop()
    sender = load.sender
    assert not sender.refusals, sender.refusals[:3]
    assert set(sender.statuses) <= {200, 201, 202, 503}
    with Ledger(Settings(home)) as ledger:
        check_everything(ledger, [*sim.acknowledged, *sender.told])


@pytest.mark.xdist_group("kills of the server")
def test_the_server_is_killed_at_each_durable_state_and_at_random(tmp_path: Path) -> None:
    home = tmp_path / "ledger" / "home"
    with under_load(home, 1) as (victim, load):
        # The database lives on while servers come and go: as with a server of one's own.
        with EmbeddedPostgres(Home(home).database) as urls:
            with psycopg.connect(urls.app) as connection:
                assert connection.execute("SHOW fsync").fetchone() == ("on",)
            for moment in MOMENTS:
                victim.order(moment, "server")
                victim.died()
                victim.start()
                load.goes_on()
        # From here on it dies with its only user, and is started again by the next.
        for _ in range(AT_RANDOM):
            time.sleep(victim.chance.random() * MOST_TRAFFIC_SECONDS)
            victim.kill()
            victim.start()
            load.goes_on()
    assert victim.kills == len(MOMENTS) + AT_RANDOM
    assert not victim.orders.exists()


@pytest.mark.xdist_group("kills of the database")
def test_postgresql_is_killed_at_each_durable_state_and_at_random(tmp_path: Path) -> None:
    """The server starts it again by itself; meanwhile it answers 503, and what it says is true."""
    home = tmp_path / "ledger" / "home"
    kills = 0
    with under_load(home, 2) as (victim, load):
        database = EmbeddedPostgres(Home(home).database)
        for moment in MOMENTS:
            before = database.pid
            victim.order(moment, "database")
            wait_until(lambda: not victim.orders.exists(), f"passing the moment {moment!r}")
            wait_until(lambda old=before: database.pid not in (0, old), "a new start of the database")
            load.goes_on()
            kills += 1
        for _ in range(AT_RANDOM):
            time.sleep(victim.chance.random() * MOST_TRAFFIC_SECONDS)
            before = database.pid
            os.kill(before, signal.SIGKILL)
            wait_until(lambda old=before: database.pid not in (0, old), "a new start of the database")
            load.goes_on()
            kills += 1
        assert victim.process is not None
        assert victim.process.poll() is None, "the server lived through it all"
    assert kills == len(MOMENTS) + AT_RANDOM
    assert load.sender.statuses[503] > 0
    for problem in load.sender.problems:
        assert problem["rule"] in ("WRITER-2", "DATABASE-1")
        assert problem["remedy"]
        assert problem["request_id"]
