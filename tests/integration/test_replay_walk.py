"""The walk of `deploy/replay.md`, carried out as it stands there: edits and commands are taken from the page.

Each release is a copy of the source tree in a folder of its own; its commands and servers run there, in processes of
their own, on one home with an embedded database. So what the page says holds for two releases side by side.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.cli.serve import Served
from api.client.http import StudyClient
from api.client.signing import Actor
from ledger.home import Home
from ledger.signing.keys import SigningKey
from ledger.signing.statement import make

pytestmark = pytest.mark.xdist_group("servers")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy" / "replay.md"
TREE = ("ledger", "projections", "api", "pyproject.toml")
STUDY = "WALK-1"
STEP = re.compile(r"<!-- walk: (.+?) -->\n(?:```(\w+)\n(.*?)```)?", re.S)
SUBJECT = "subject/00000000-0000-4000-8000-0000000000d1"
CHANGES = re.compile(r"projections (switch|rollback|retire)|--switch")
"""Commands after which something else answers."""
COMMAND_S = 120
"""No command of the walk takes a tenth of this on an idle machine."""


@dataclass
class Walk:
    """The releases, what runs of them, and the study that they share."""

    folder: Path
    stack: ExitStack
    served: dict[str, Served] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def release(self, name: str) -> Path:
        """The folder of a release: a copy of the one before, made when it is first named."""
        place = self.folder / name
        if not place.exists():
            before = self.folder / f"release-{int(name[-1]) - 1}"
            source = before if before.exists() else ROOT
            place.mkdir()
            for part in TREE:
                copy = shutil.copytree if (source / part).is_dir() else shutil.copy2
                left_out = {"ignore": shutil.ignore_patterns("__pycache__")} if copy is shutil.copytree else {}
                copy(source / part, place / part, **left_out)  # type: ignore[operator]
        return place

    def environment(self, name: str) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("TRIAL_LEDGER_")}
        return {**own, "TRIAL_LEDGER_HOME": str(self.home), "PYTHONPATH": str(self.release(name)), "COLUMNS": "300"}

    def run(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        """One command of a release."""
        words = shlex.split(command)
        assert words[0] == "trial-ledger"
        return subprocess.run(
            [sys.executable, "-m", "api.cli", *words[1:]],
            cwd=self.folder,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def serve(self, name: str) -> None:
        """Start the server of a release, with its follower; it ends with the test, or when it is stopped."""
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--until-eof", "--json"],
            cwd=self.folder,
            env=self.environment(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.served[name] = Served(process)
        self.stack.callback(self.stop, name)
        assert self.served[name].url

    def stop(self, name: str) -> None:
        served = self.served.pop(name, None)
        if served is not None:
            served.end()

    def client(self, name: str) -> StudyClient:
        return StudyClient(self.served[name].url, STUDY)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A study with a trained person and one subject, served by the release that everything begins with."""
    with ExitStack() as stack:
        made = Walk(tmp_path, stack)
        begun = made.run("release-1", f"trial-ledger init --study {STUDY} --synthetic")
        assert begun.returncode == 0, begun.stderr
        made.serve("release-1")
        _people(made)
        yield made


def _registrar(walk: Walk, client: StudyClient) -> Actor:
    return Actor("registrar-1", "registrar", Home(walk.home).key("registrar"), client.log_keys()["origin"])


def _people(walk: Walk) -> None:
    client = walk.client("release-1")
    registrar = _registrar(walk, client)
    person = {"actor_kind": "person"}
    for name, role, where in (("pi-1", "principal-investigator", ["S1"]), ("dm-1", "data-manager", None)):
        key = SigningKey.generate()
        client.append(registrar.sign("ActorEnrolled", f"actor/{name}", person))
        client.append(registrar.enrol_key(name, key, key.public_jwk))
        client.append(registrar.sign("DelegationGranted", f"actor/{name}", {"role": role, "sites": where}))
        if name == "dm-1":
            file = walk.folder / "data-manager.pem"
            file.write_bytes(key.to_pem())
            file.chmod(0o600)
            answers = {"statement": "My electronic signature binds me as my hand does.", "version": "1"}
            manager = Actor(name, role, key, registrar.origin)
            client.append(manager.sign("AccountabilityAccepted", f"actor/{name}", answers, meaning="responsibility"))
        else:
            investigator = Actor(name, role, key, registrar.origin, site="S1")
    training = {"topic": "good clinical practice", "trained_date": "2026-01-05"}
    client.append(registrar.sign("TrainingRecorded", "actor/pi-1", training))
    screened = {"number": "001", "population": "patient", "sex": "female", "performed_by": "Kim"}
    client.append(investigator.sign("SubjectScreened", SUBJECT, screened))
    visit = {"visit": "day 1", "performed_by": "Kim", "captured_at": "2026-01-06T10:00:00Z", "contact": "telephone"}
    last = client.append(investigator.sign("VisitRecorded", SUBJECT, visit))
    client.get("schedule", wait_for=last.index + 1)


# -- the steps ------------------------------------------------------------------------------------------------


def _edit(walk: Walk, name: str, path: str, diff: str) -> None:
    """Lines with - and blank make what is there, once; those with + and blank what comes in its place."""
    lines = diff.splitlines()
    assert lines
    assert all(line[:1] in ("-", "+", " ", "") for line in lines)
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    if all(line.startswith("+") for line in lines[:-1]) and lines[-1].startswith(" "):
        before = f"{lines[-1][1:]}\n"
    file = walk.release(name) / path
    text = file.read_text(encoding="utf-8")
    begins = before.rstrip("\n") if before.rstrip("\n").endswith(",") else before
    assert text.count(begins) == 1, f"{path} of {name} does not have this once:\n{begins}"
    file.write_text(text.replace(begins, after.rstrip("\n") if begins is not before else after), encoding="utf-8")


def _copy(walk: Walk, source: str, path: str, name: str, target: str) -> None:
    shutil.copy2(walk.release(source) / path, walk.release(name) / target)


def _run(walk: Walk, name: str, status: int, says: list[str], command: str) -> None:
    done = walk.run(name, command)
    told = done.stdout + done.stderr
    walk.said.append(f"$ {command}   ({name})\n{told}")
    assert done.returncode == status, "\n".join(walk.said[-3:])
    flat = " ".join(told.split())
    missing = [words for words in says if words not in flat]
    assert not missing, f"{missing} is not said by:\n{walk.said[-1]}"


def _record(walk: Walk, name: str) -> None:
    """The first statement in version 2, signed by somebody who read the catalogue of the release that records it."""
    client = walk.client(name)
    catalogue = {one["event"]: one for one in client.get("catalogue")["events"]}
    assert catalogue["TrainingRecorded"]["accepted"] == [1, 2]
    registrar = _registrar(walk, client)
    claims: dict[str, Any] = {"iss": registrar.id, "role": "registrar", "aud": registrar.origin, "sub": "actor/pi-1"}
    claims |= {"jti": str(uuid4()), "iat": registrar.now(), "event": "TrainingRecorded", "v": 2}
    claims["body"] = {"course": "good clinical practice, again", "trained_date": "2026-02-05", "passed": True}
    recorded = client.append(make(registrar.key, claims, {}))
    for release in ("release-3", "release-4"):
        page = walk.client(release).get("audit-trail", wait_for=recorded.index + 1, event="TrainingRecorded")
        text = json.dumps(page)
        assert "good clinical practice, again" in text
        assert '"course"' in text
        assert '"topic"' not in text, "what was recorded in version 1 is shown in the form of version 2"


def _answers(walk: Walk) -> None:
    """Whatever was done, every server that runs answers every page; nobody is interrupted."""
    for name in walk.served:
        with httpx.Client(base_url=walk.served[name].url, timeout=60) as http:
            for page in ("schedule", "audit-trail", "subjects/001"):
                answer = http.get(f"/v1/studies/{STUDY}/{page}")
                assert answer.status_code == 200, (name, page, answer.text, walk.said[-2:])


def _step(walk: Walk, order: str, block: str) -> None:
    words = order.split()
    match words[0]:
        case "edit":
            _edit(walk, words[1], words[2], block)
        case "copy":
            _copy(walk, *words[1:])
        case "serve":
            walk.serve(words[1])
        case "stop":
            walk.stop(words[1])
        case "record":
            _record(walk, words[1])
        case "run":
            _, _, says = order.partition("says: ")
            _run(walk, words[1], int(words[3]), [one.strip() for one in says.split(";")], block.strip())
            if CHANGES.search(block):
                _answers(walk)
        case other:
            raise AssertionError(f"the page has a step {other!r}")


def steps() -> list[tuple[str, str]]:
    """Every step of the page, in order: what to do, and the block below it."""
    return [(order, block or "") for order, _, block in STEP.findall(PAGE.read_text(encoding="utf-8"))]


def test_every_command_and_edit_of_the_page_is_a_step_of_the_walk() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^```(?:sh|diff)$", text, re.M)) == sum(bool(block) for _, block in steps())
    assert {order.split()[0] for order, _ in steps()} == {"edit", "copy", "serve", "stop", "record", "run"}


def test_the_walk_of_the_page_holds_from_start_to_end(walk: Walk) -> None:
    for order, block in steps():
        _step(walk, order, block)
