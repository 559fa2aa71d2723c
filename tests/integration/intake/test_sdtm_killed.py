"""An import that is killed at any moment loses nothing, doubles nothing, and leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.settings import Settings
from ledger.store import statements
from ledger.store.embedded import DatabaseUrls
from tests.integration.intake.reading import STUDY, counts, events_of, imported
from tests.unit.intake.transport_files import DM, lab, write, xport

ROWS = 1_500
PATIENCE_S = 120.0
"""How long an import may take to come so far on a machine that does much else."""


def size_of(ledger: Ledger) -> int:
    with ledger.database.connection() as connection:
        return statements.read_head(connection, STUDY).size if STUDY in statements.select_studies(connection) else 0


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to see the processes")
def test_a_killed_import_is_continued_and_its_helper_ends_with_it(
    ledger: Ledger, settings: Settings, ledger_database: DatabaseUrls, tmp_path: Path
) -> None:
    rows = [lab(LBSEQ=number, LBORRES=str(number)) for number in range(1, ROWS + 1)]
    folder = write(tmp_path / "in", {"dm.xpt": xport("DM", DM), "lb.xpt": xport("LB", rows)})
    command = [sys.executable, "-m", "tests.integration.intake.killable", str(settings.home)]
    command += [ledger_database.app, ledger_database.projector, str(folder)]
    for size in (1, 8, 200, 700):
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said)
        ends = time.monotonic() + PATIENCE_S
        while size_of(ledger) < size and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.005)
        helpers = children_of(process.pid)
        process.kill()
        process.wait()
        assert process.returncode == -9, (tmp_path / "said").read_text()
        while helpers and time.monotonic() < ends:
            helpers = [pid for pid in helpers if not gone(pid)]
        assert helpers == []
    report = counts(imported(ledger, folder))
    assert report["DM"][0] == 3 and report["LB"][0] == ROWS
    assert report["LB"][2] >= 300, "what the killed runs had recorded is not recorded again"
    events = events_of(ledger)
    assert (events["SubjectScreened"], events["LabResultReported"], events["StudyOpened"]) == (3, ROWS, 1)
    assert (events["KeyEnrolled"], events["ProtocolAdopted"], events["SiteActivated"]) == (1, 1, 2)
