"""A database is restored from a backup that is older than a redaction: nothing of it is ever served again.

Real backups: copies of the embedded PostgreSQL's data folder, taken while it is stopped. The register of redactions
lies beside the signer's state, outside that folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.settings import Settings
from projections.definitions import read_models
from projections.engine import reading
from projections.engine.errors import RedactionAhead
from projections.engine.runner import Runner
from projections.patient import view as patient
from tests.scenario.clock import WallClock
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.plans import COAST
from tests.scenario.residue import residue_in_tables, shown
from tests.scenario.simulator import Simulator, refused
from tests.scenario.waiting import wait_until

NAME = "Wilhelmina Synthetic-Person"
STUDY = COAST.study
FINGERPRINTS = [model.fingerprint for model in read_models()]
START_SECONDS = 60.0


@contextmanager
def own_ledger(home: Path) -> Iterator[Ledger]:
    """A ledger with a database of its own, started for this and stopped afterwards."""
    with Ledger(Settings(home)) as ledger:
        ledger.allow_genesis(ledger.home.key("registrar").kid)
        yield ledger


def follow(ledger: Ledger) -> None:
    """The projections take in what is signed."""
    with ledger.projector_database() as database:
        Runner(database, read_models()).catch_up()


def stopped(home: Path) -> None:
    """Wait until nobody runs the embedded database any more."""
    wait_until(
        lambda: not (home / "database" / "postgres" / "data" / "postmaster.pid").exists(), "stopping the database"
    )


def copied_as_it_is(source: Path, destination: Path) -> Path:
    """A folder with owners and modes, as backups keep them."""
    subprocess.run(["cp", "-a", str(source), str(destination)], check=True)
    return destination


def back_up(home: Path, name: str) -> Path:
    """A copy of the stopped database."""
    stopped(home)
    return copied_as_it_is(home / "database", home.parent / name)


def restore(home: Path, backup: Path) -> None:
    """The backup takes the database's place."""
    stopped(home)
    shutil.rmtree(home / "database")
    copied_as_it_is(backup, home / "database")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A home whose database was backed up before the order, before the second signature, and before destruction."""
    home = tmp_path_factory.mktemp("restored") / "home"
    backups: dict[str, Path] = {}
    with own_ledger(home) as ledger:
        sim = Simulator(InProcess(ledger, STUDY), COAST, ledger.home.key("registrar"), WallClock())
        sim.open()
        named = sim.screen(sim.subject("001"), comment=f"called herself {NAME}")
        follow(ledger)
    backups["before the order"] = back_up(home, "a")
    with own_ledger(home) as ledger:
        sim.door = InProcess(ledger, STUDY)
        order = sim.order_redaction({named: ["comment"]})
        follow(ledger)
    backups["before the second signature"] = back_up(home, "b")
    with own_ledger(home) as ledger:
        sim.door = InProcess(ledger, STUDY)
        second = sim.countersign(order, sim.cast.data_manager)
    backups["before destruction"] = back_up(home, "c")
    with own_ledger(home) as ledger:
        follow(ledger)
        ledger.settle_redactions(FINGERPRINTS)
        assert residue_in_tables(ledger.urls.admin, NAME) == []
    backups["after it"] = back_up(home, "d")
    yield {"home": home, "backups": backups, "sim": sim, "named": named, "second": second}


@pytest.mark.parametrize(
    "backup", ["before the order", "before the second signature", "before destruction", "after it"]
)
def test_a_restored_database_never_serves_what_was_redacted(
    story: dict[str, Any], backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WAIT_S", 0.0)
    home, sim = story["home"], story["sim"]
    restore(home, story["backups"][backup])
    older = backup in ("before the order", "before the second signature")
    with own_ledger(home) as ledger:  # whoever opens it: the first thing is that the register is applied
        residue = residue_in_tables(ledger.urls.admin, NAME)
        assert not [place for place in residue if not place.startswith("rm_")]
        assert not residue or backup == "before destruction"
        for name in ("patient", "audit_trail") if residue else ():  # its rows are there, and nobody is given them
            with pytest.raises(RedactionAhead), page(ledger, name):
                pass
        door = InProcess(ledger, STUDY)
        assert NAME not in shown(door)
        entry = ledger.entry(STUDY, story["named"].index)
        assert entry.statement.redacted == {"comment": story["second"].index}
        alarm = ledger.check_log(STUDY)
        assert (alarm is not None) == older, "the signer's alarm stands beside it"
        sim.door = door
        if older:
            with refused("WRITER-6"):
                sim.screen(sim.subject("002"))
        else:
            again = door.append(story["named"].text)
            assert again.repeat
        follow(ledger)
        assert residue_in_tables(ledger.urls.admin, NAME) == []
        for as_of in (None, story["named"].index + 1):
            with page(ledger, "patient", as_of) as reader:
                (subject,) = patient.subjects(reader)["subjects"]
                assert NAME not in json.dumps(patient.subject(reader, subject["id"]))
    said = doctor(home)
    if backup != "after it":
        assert "restored" in said
    assert NAME not in said


def page(ledger: Ledger, name: str, as_of: int | None = None) -> AbstractContextManager[reading.Reader]:
    """A reading of a projection."""
    return reading.open_reader(ledger.database, STUDY, name, as_of=as_of, wait_for=None, now=datetime.now(UTC))


def doctor(home: Path) -> str:
    """What `trial-ledger doctor` says about a home."""
    environment = {**os.environ, "TRIAL_LEDGER_HOME": str(home)}
    command = [sys.executable, "-m", "api.cli", "doctor"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr
