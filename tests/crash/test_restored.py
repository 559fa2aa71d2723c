"""The database's folder is put back from an older copy, as after a disk failure: nothing forks, and everybody says so.

The home with the signer's state is as it was: it is backed up apart from the database. When the newer folder is found
again, everything goes on by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from api.cli.serve import server_process
from api.client.http import Refused
from ledger.application import Ledger
from ledger.home import Home
from ledger.settings import Settings
from ledger.store.embedded import EmbeddedPostgres
from tests.scenario.checker import check_everything
from tests.scenario.served import trial_over_http
from tests.scenario.waiting import wait_until

STUDY = "COAST-07"


def stopped(home: Path) -> Path:
    """The database's folder, when the server on it has ended."""
    database = Home(home).database
    wait_until(lambda: EmbeddedPostgres(database).pid == 0, "the end of the database")
    return database


def copied_to(folder: Path, to: Path) -> None:
    """A copy with owners and modes, as a backup keeps them."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)


def test_a_database_folder_from_an_older_backup_is_named_and_nothing_is_promised_on_it(tmp_path: Path) -> None:
    home = tmp_path / "outer" / "home"
    with server_process(home) as served:
        sim = trial_over_http(served.url, home)
        sim.open()
    older, newer = tmp_path / "outer" / "older", tmp_path / "outer" / "newer"
    database = stopped(home)
    copied_to(database, older)
    with server_process(home) as served:
        sim.door = trial_over_http(served.url, home).door
        for number in ("1", "2", "3"):
            last = sim.screen(sim.subject(number))
    database = stopped(home)
    copied_to(database, newer)
    shutil.rmtree(database)
    copied_to(older, database)

    with server_process(home) as served:
        sim.door = trial_over_http(served.url, home).door
        try:
            sim.screen(sim.subject("4"))
        except Refused as refused:
            assert refused.rule == "WRITER-6"
            assert "older backup" in str(refused.problem["remedy"])
        else:
            raise AssertionError("an index was given twice")
        health = httpx.get(f"{served.url}/health/ledger", timeout=60)
        alarm = health.json()["studies"][STUDY]["alarm"]
        assert health.status_code == 503
        assert f"{last.index + 1} were signed" in alarm["because"]
        assert "older backup" in alarm["remedy"] and "Put the missing entries back" in alarm["remedy"]
    doctor = subprocess.run(
        [sys.executable, "-m", "api.cli", "doctor", "--json"],
        capture_output=True,
        env={**os.environ, "TRIAL_LEDGER_HOME": str(home)},
        check=False,
    )
    assert doctor.returncode == 1
    assert any("older backup" in problem for problem in json.loads(doctor.stdout)["problems"])

    database = stopped(home)
    shutil.rmtree(database)
    copied_to(newer, database)
    with Ledger(Settings(home)) as ledger:
        assert ledger.check_log(STUDY) is None
        check_everything(ledger, sim.acknowledged)
