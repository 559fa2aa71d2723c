"""The command ends cleanly however it ends: no folder and no process is left."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.demo.conftest import PATIENCE_S, command, processes_of, short_folder


def until(condition: Callable[[], object]) -> None:
    """Wait for something that other processes bring about."""
    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def test_without_serving_it_prints_one_object_and_leaves_nothing_behind() -> None:
    with short_folder() as folder:
        process = command("--no-serve", "--json", folder=folder)
        printed, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        assert len(printed.splitlines()) == 1
        assert json.loads(printed)["enrolled"] == 18
        assert not list(folder.iterdir())
        assert not processes_of(folder)


def test_progress_goes_to_standard_error_alone() -> None:
    with short_folder() as folder:
        process = command("--json", folder=folder)
        until(lambda: _database_runs(folder))
        process.send_signal(signal.SIGTERM)
        printed, errors = process.communicate(timeout=PATIENCE_S)
        assert printed == ""
        assert "Starting a ledger" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_in_the_middle_it_leaves_nothing_behind(number: signal.Signals) -> None:
    with short_folder() as folder:
        process = command("--no-serve", folder=folder)
        until(lambda: _database_runs(folder))
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
        assert not list(folder.iterdir())
        assert not processes_of(folder)


def test_killed_outright_it_leaves_no_process_behind() -> None:
    with short_folder() as folder:
        process = command("--no-serve", folder=folder)
        until(lambda: _database_runs(folder))
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        until(lambda: not processes_of(folder))


def test_a_terminal_s_interrupt_reaches_every_process_and_still_ends_cleanly() -> None:
    with short_folder() as folder:
        process = command("--no-serve", folder=folder, start_new_session=True)
        until(lambda: _database_runs(folder))
        _interrupt_group(process)
        process.communicate(timeout=PATIENCE_S)
        assert not list(folder.iterdir())
        assert not processes_of(folder)


def _database_runs(folder: Path) -> bool:
    return any("postgres" in line for line in processes_of(folder))


def _interrupt_group(process: subprocess.Popen[str]) -> None:
    import os

    os.killpg(process.pid, signal.SIGINT)
