"""Whoever types something wrong, or finds a home that is damaged, is told what to do, without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

USAGE, REFUSED = 64, 1


def run(home: Path, *arguments: str, given: bytes = b"") -> tuple[int, str]:
    """Run the command line on a home; status and what it said on stderr or stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        input=given,
        capture_output=True,
        env={**os.environ, "TRIAL_LEDGER_HOME": str(home)},
        timeout=120,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert "Traceback" not in said, said
    return done.returncode, said


@pytest.mark.parametrize("study", ["a b", "x", "coast-07", "../../x"])
def test_a_study_without_a_proper_name_is_not_opened(tmp_path: Path, study: str) -> None:
    status, said = run(tmp_path / "home", "init", "--study", study)
    assert status == USAGE
    assert "3 to 32" in said


def test_a_genesis_file_that_is_not_there(tmp_path: Path) -> None:
    status, said = run(tmp_path / "home", "init", "--genesis", str(tmp_path / "none"))
    assert status == USAGE
    assert "cannot be read" in said


def test_a_genesis_file_that_is_no_statement(tmp_path: Path) -> None:
    file = tmp_path / "genesis"
    file.write_bytes("é".encode())
    status, said = run(tmp_path / "home", "init", "--genesis", str(file))
    assert status == REFUSED
    assert "STATEMENT-1" in said


def test_a_study_is_opened_by_one_genesis_made_or_brought(tmp_path: Path) -> None:
    file = tmp_path / "genesis"
    file.write_bytes(b"junk")
    status, said = run(tmp_path / "home", "init", "--study", "ABF-1", "--genesis", str(file))
    assert status == USAGE
    assert "--study" in said and "--genesis" in said and "one of the two" in said
    assert not (tmp_path / "home").exists(), "nothing was made"


def test_a_registrar_with_an_impossible_id(tmp_path: Path) -> None:
    status, said = run(tmp_path / "home", "init", "--study", "TEST-1", "--registrar", "bad id!")
    assert status == USAGE
    assert "CLAIM-1" in said


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, said = run(tmp_path / "file", "init")
    assert status == USAGE
    assert "TRIAL_LEDGER_HOME" in said


def test_a_port_that_no_machine_has(tmp_path: Path) -> None:
    status, _ = run(tmp_path / "home", "serve", "--port", "99999")
    assert status == USAGE


@pytest.mark.parametrize("damaged", ["registrar.jwk", "ledger.jwk", "log-master.seed"])
def test_doctor_finds_a_damaged_key(tmp_path: Path, damaged: str) -> None:
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / damaged).write_bytes(b"junk")
    status, said = run(home, "doctor")
    assert status == REFUSED
    assert damaged in said
    assert "backup" in said
