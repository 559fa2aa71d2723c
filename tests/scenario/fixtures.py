"""Fixtures of the tests that play a trial; a conftest takes them by `from tests.scenario.fixtures import *`.

`trial`: a simulated trial of the invented study, open and ready for its first subject, on a database and a home
of its own. They are copies of one that each process opens once, which saves every test half a second.
`before_trial`: the same before genesis. `ledger`: the open Ledger under either, with a clock that the test
turns. When the test is over, the universal checker looks at every study in it.
"""

from __future__ import annotations

import copy
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import structlog
from psycopg import sql

from ledger.application import Ledger
from ledger.domain.aggregate import Study
from ledger.domain.aggregate import Subject as SubjectAggregate
from ledger.domain.record import Record
from ledger.settings import Settings
from ledger.signing.statement import parse
from ledger.store.embedded import DatabaseUrls
from tests.conftest import cloned, urls_of
from tests.scenario.checker import check_everything
from tests.scenario.clock import FIRST_MORNING, TurnedClock
from tests.scenario.doors import InProcess, uuid_of
from tests.scenario.plans import COAST
from tests.scenario.simulator import Simulator, Subject, Told

__all__ = [
    "acknowledged",
    "before_trial",
    "clock",
    "doomed_trial",
    "ledger",
    "opened_trial",
    "plain_logs",
    "trial",
    "turned_clock",
]


@dataclass(frozen=True)
class Opened:
    """A trial that was opened and left: its database, its home, its people, the time."""

    database: str
    home: Path
    sim: Simulator
    now: datetime


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Log lines as they come; the usual ones show every variable of a traceback, which takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session")
def turned_clock() -> TurnedClock:
    """The one clock of this process: people who were enrolled once go on signing by it."""
    return TurnedClock()


@pytest.fixture
def clock(turned_clock: TurnedClock) -> TurnedClock:
    """The time of the test's trial."""
    turned_clock.now = FIRST_MORNING
    return turned_clock


@pytest.fixture
def acknowledged() -> list[Told]:
    """What the senders of this test were told; the checker looks for it."""
    return []


def settings_of(home: Path, urls: DatabaseUrls) -> Settings:
    """An installation on somebody else's PostgreSQL."""
    return Settings(home, urls.app, None, urls.projector)


@contextmanager
def opened(home: Path, urls: DatabaseUrls, clock: TurnedClock) -> Iterator[Ledger]:
    """An open Ledger that accepts genesis from its home's registrar."""
    with Ledger(settings_of(home, urls), clock) as ledger:
        ledger.allow_genesis(ledger.home.key("registrar").kid)
        yield ledger


def simulated(ledger: Ledger, clock: TurnedClock) -> Simulator:
    """A trial of the invented study on a ledger."""
    return Simulator(InProcess(ledger, COAST.study), COAST, ledger.home.key("registrar"), clock)


@pytest.fixture(scope="session")
def opened_trial(
    embedded_server: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory, turned_clock: TurnedClock
) -> Iterator[Opened]:
    """The trial that every test's own is copied from."""
    home = tmp_path_factory.mktemp("opened") / "home"
    turned_clock.now = FIRST_MORNING
    with cloned(embedded_server) as urls:
        with opened(home, urls, turned_clock) as ledger:
            sim = simulated(ledger, turned_clock)
            sim.open()
            check_everything(ledger, sim.acknowledged, thorough=True)
        name = psycopg.conninfo.conninfo_to_dict(urls.app)["dbname"]
        yield Opened(str(name), home, sim, turned_clock.now)


@contextmanager
def copied(server: DatabaseUrls, template: str) -> Iterator[DatabaseUrls]:
    """A copy of a database that nobody is connected to, while the context lasts."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.admin, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        grant = sql.SQL("GRANT CREATE ON DATABASE {} TO ledger_projector")
        admin.execute(grant.format(sql.Identifier(name)))
    try:
        yield urls_of(server, name)
    finally:
        with psycopg.connect(server.admin, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def copied_trial(server: DatabaseUrls, original: Opened, home: Path, clock: TurnedClock) -> Iterator[Simulator]:
    """A copy of the opened trial, in a home that is made."""
    shutil.copytree(original.home, home)
    clock.now = original.now
    with copied(server, original.database) as urls, opened(home, urls, clock) as ledger:
        sim = copy.copy(original.sim)
        sim.door = InProcess(ledger, COAST.study)
        sim.acknowledged = list(original.sim.acknowledged)
        yield sim


@pytest.fixture
def trial(
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    tmp_path: Path,
    turned_clock: TurnedClock,
    acknowledged: list[Told],
) -> Iterator[Simulator]:
    """A trial of the invented study, ready for its first subject; checked afterwards."""
    with copied_trial(embedded_server, opened_trial, tmp_path / "home", turned_clock) as sim:
        acknowledged += sim.acknowledged
        sim.acknowledged = acknowledged
        yield sim
        check_everything(ledger_of(sim), acknowledged)


@pytest.fixture
def doomed_trial(
    embedded_server: DatabaseUrls, opened_trial: Opened, tmp_path: Path, turned_clock: TurnedClock
) -> Iterator[Simulator]:
    """The same for tests that leave a ledger which no checker accepts: tampered with, or restored wrongly."""
    with copied_trial(embedded_server, opened_trial, tmp_path / "home", turned_clock) as sim:
        yield sim


def ledger_of(sim: Simulator) -> Ledger:
    """The ledger in this process that the trial speaks to."""
    assert isinstance(sim.door, InProcess)
    return sim.door.ledger


@pytest.fixture
def ledger(
    tmp_path: Path, ledger_database: DatabaseUrls, clock: TurnedClock, acknowledged: list[Told]
) -> Iterator[Ledger]:
    """An open Ledger without a study; checked afterwards."""
    with opened(tmp_path / "home", ledger_database, clock) as ledger:
        yield ledger
        check_everything(ledger, acknowledged)


@pytest.fixture
def before_trial(ledger: Ledger, clock: TurnedClock, acknowledged: list[Told]) -> Simulator:
    """A trial of the invented study whose ledger is not open yet."""
    sim = simulated(ledger, clock)
    sim.acknowledged = acknowledged
    return sim


def subject_of(sim: Simulator, subject: Subject) -> SubjectAggregate:
    """The subject as the ledger has it now."""
    found = ledger_of(sim).application(sim.plan.study).repository.get(uuid_of(subject.label))
    assert isinstance(found, SubjectAggregate)
    return found


def study_of(sim: Simulator) -> Study:
    """The study as the ledger has it now."""
    ledger = ledger_of(sim)
    found = ledger.application(sim.plan.study).repository.get(ledger.study_aggregate_id(sim.plan.study))
    assert isinstance(found, Study)
    return found


def record_of(sim: Simulator, told: Told) -> Record:
    """What became of a recorded statement."""
    statement = parse(told.text)
    records = study_of(sim).records
    if statement.sub.startswith("subject/"):
        found = ledger_of(sim).application(sim.plan.study).repository.get(uuid_of(statement.sub))
        assert isinstance(found, SubjectAggregate)
        records = found.records
    record = records.get(told.jti)
    assert record is not None
    return record
