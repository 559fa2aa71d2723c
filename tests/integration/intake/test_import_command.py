"""`trial-ledger import sdtm`: what a person reads and what a machine reads, on which stream, with which status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.settings import Settings
from tests.integration.intake.reading import STUDY
from tests.unit.intake.transport_files import event, small_study, write, xport


def run(settings: Settings, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Import a folder by the command line."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRIAL_LEDGER_")}
    env |= {"TRIAL_LEDGER_HOME": str(settings.home), "TRIAL_LEDGER_DATABASE_URL": settings.database_url or ""}
    env |= {"TRIAL_LEDGER_PROJECTOR_URL": settings.projector_url or ""}
    command = [sys.executable, "-m", "api.cli", "import", "sdtm", str(folder), "--study", STUDY, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_people_read_lines_and_machines_an_object(settings: Settings, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", small_study())
    done = run(settings, folder)
    assert done.returncode == 0, done.stderr
    assert "DM: 3 rows read, 3 recorded, 0 recorded before or repeated, 0 in quarantine" in done.stdout.splitlines()
    assert "ImportReport" not in done.stdout and "{" not in done.stdout
    again = json.loads(run(settings, folder, "--json").stdout)
    assert again["domains"]["DM"] == {"read": 3, "appended": 0, "duplicate": 3, "quarantined": 0}


def test_what_a_person_should_look_at_is_said_on_standard_error_and_to_machines(
    settings: Settings, tmp_path: Path
) -> None:
    files = small_study()
    first = json.loads(run(settings, write(tmp_path / "in", files), "--json").stdout)
    assert [said for said in first["warnings"] if said.startswith("ae.xpt")], "the small file is not a whole AE"
    assert not [said for said in first["warnings"] if "before" in said]
    row = event("AE", AETERM="RASH", ONSET="2014", AESER="Y")
    done = run(settings, write(tmp_path / "in", {"ae.xpt": xport("AE", [row])}), "--json")
    told = json.loads(done.stdout)
    (columns, again) = (said for said in told["warnings"] if said.startswith(("ae.xpt", "AE:")))
    assert "AESTDTC" in columns and "ONSET" in columns
    assert "imported into this study before" in again
    for said in (columns, again):
        assert f"Warning: {said}" in done.stderr
    assert (told["domains"]["AE"]["appended"], told["domains"]["DM"]["appended"]) == (1, 0)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_file_whose_rows_could_not_be_understood_stops_the_import(
    settings: Settings, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    row = event("DS", DSTERM="COMPLETED", DSXDECOD="COMPLETED", DSSTDTC="2014")
    done = run(settings, write(tmp_path / "in", small_study() | {"ds.xpt": xport("DS", [row])}), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    for word in ("ds.xpt", "DSDECOD", "DSXDECOD"):
        assert word in done.stderr
