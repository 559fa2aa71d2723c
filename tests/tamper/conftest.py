"""A trial that was played once, a copy of it for every attack, and what honest people hold of it elsewhere."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ledger.application import Ledger
from ledger.store import evidence
from ledger.store.embedded import DatabaseUrls
from projections.definitions import read_models
from projections.engine.runner import Runner
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import Opened, copied, copied_trial, ledger_of, opened
from tests.scenario.simulator import Simulator, Told
from tests.tamper.superuser import Superuser, superuser
from tests.tamper.watcher import Watcher


@dataclass(frozen=True)
class Played:
    """The trial after its course: its database and home, what its senders were told, what a witness saw of it."""

    database: str
    home: Path
    sim: Simulator
    told: dict[str, Told]
    watcher: Watcher
    notes: dict[int, str]


@dataclass(frozen=True)
class Scene:
    """One copy of the played trial, for one attack. Nobody is connected to it but the attacker."""

    played: Played
    urls: DatabaseUrls
    home: Path
    clock: TurnedClock
    out: Path
    user: Superuser

    @property
    def study(self) -> str:
        """The study's id."""
        return self.played.sim.plan.study

    def index(self, name: str) -> int:
        """Where a statement of the course stands."""
        return self.played.told[name].index

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger opened anew on what the attacker left."""
        with opened(self.home, self.urls, self.clock) as ledger:
            yield ledger


@pytest.fixture(scope="session")
def played(
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    tmp_path_factory: pytest.TempPathFactory,
    turned_clock: TurnedClock,
) -> Iterator[Played]:
    """A cohort, an enrolled subject, another one screened, results, an adverse event; followed by the projections and
    by a witness."""
    home = tmp_path_factory.mktemp("tampered") / "home"
    with copied_trial(embedded_server, opened_trial, home, turned_clock) as sim:
        told = course(sim)
        ledger = ledger_of(sim)
        with ledger.projector_database() as database:
            Runner(database, read_models()).catch_up()
        watcher = Watcher.of(ledger, sim.plan.study)
        with ledger.database.connection() as connection:
            notes = {
                size: evidence.full_note(connection, sim.plan.study, row)
                for size in range(1, sim.door.cut().size + 1)
                if (row := evidence.checkpoint_at(connection, sim.plan.study, size)) is not None
            }
        name = str(psycopg.conninfo.conninfo_to_dict(ledger.urls.app)["dbname"])
        left = copy.copy(sim)
        ledger.close()
        yield Played(name, home, left, told, watcher, notes)


def course(sim: Simulator) -> dict[str, Told]:
    """What is recorded, by a name of its own."""
    sim.open_cohort("LOW")
    ann, bob = sim.subject("001"), sim.subject("002")
    sim.admit(ann, "LOW")
    told = {"enrolled": next(one for one in reversed(sim.acknowledged) if one.event == "SubjectEnrolled")}
    told["screened"] = sim.screen(bob)
    sim.later(hours=1)
    told["first result"] = sim.result(bob, "platelets", "12", "10*9/L")
    told["second result"] = sim.result(bob, "platelets", "15", "10*9/L")
    sim.later(hours=1)
    told["adverse event"] = sim.adverse_event(bob)
    told["consent"] = sim.consent(bob)
    told["last"] = sim.result(ann, "platelets", "40", "10*9/L")
    told["key"] = next(one for one in sim.acknowledged if one.event == "KeyEnrolled")
    return told


@pytest.fixture
def scene(embedded_server: DatabaseUrls, played: Played, tmp_path: Path, turned_clock: TurnedClock) -> Iterator[Scene]:
    """A copy to attack."""
    home = tmp_path / "home"
    shutil.copytree(played.home, home)
    out = tmp_path / "out"
    out.mkdir()
    with copied(embedded_server, played.database) as urls, superuser(urls.admin, played.sim.plan.study) as user:
        yield Scene(played, urls, home, turned_clock, out, user)
