"""The demo's course, played once a run and read by every test that wants it.

`played`: the command itself, as a user starts it, serving after the course; other tests import the fixture.
`unresponsive`: a course in which nobody's platelets rise, on a ledger of its own that a test may add to.
The universal checker looks at both ledgers when they are done with.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.cli.demo.cast import STUDY
from api.cli.demo.course import Course, run_course
from api.cli.serve import server_process
from api.client.http import StudyClient
from ledger.application import Ledger
from ledger.home import Home
from ledger.settings import Settings
from tests.scenario.checker import check_everything

PATIENCE_S = 120
"""For the whole course on a busy machine."""


@dataclass(frozen=True)
class Played:
    """The demo command after its course: what it printed, where it serves, its client."""

    printed: dict[str, Any]
    url: str
    client: StudyClient
    home: Path


@dataclass(frozen=True)
class Variant:
    """A course that a test started itself, and its client."""

    course: Course
    client: StudyClient


def command(*options: str, folder: Path, **more: Any) -> subprocess.Popen[str]:
    """The demo as a user starts it; its temporary home is made in `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRIAL_LEDGER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "api.cli", "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "TMPDIR": str(folder)},
        **more,
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name something in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="demo-test-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def played() -> Iterator[Played]:
    """`trial-ledger demo --json`, after its course and while it serves."""
    with short_folder() as folder:
        process = command("--json", folder=folder)
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            url = _address(process)
            (home,) = folder.glob("trial-ledger-demo-*")
            client = StudyClient(url, STUDY)
            yield Played(json.loads(line), url, client, home)
            client.close()
            check_ledger(home)
        finally:
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, rest) == (0, ""), errors
        assert not list(folder.iterdir()), "the temporary home is still there"
        assert not processes_of(folder), "a process of the demo is still there"


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"Serving on (http://\S+) until", line)
        if found:
            return found[1]
    raise AssertionError("the demo never said where it serves")


@pytest.fixture(scope="session")
def unresponsive() -> Iterator[Variant]:
    """The course without responses."""
    with short_folder() as home, server_process(home) as served:
        client = StudyClient(served.url, STUDY)
        course = run_course(client, Home(home).key("registrar"), responses=False)
        yield Variant(course, client)
        client.close()
        check_ledger(home)


def check_ledger(home: Path) -> None:
    """The universal checker, joining the running database."""
    with Ledger(Settings(home)) as ledger:
        check_everything(ledger)
