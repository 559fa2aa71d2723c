"""Exporting the simulated trial, and looking into a bundle with nothing but the standard library's zip reader."""

from __future__ import annotations

import json
import zipfile
from base64 import urlsafe_b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

from projections.definitions import read_models
from projections.engine.runner import Runner
from projections.exports.evidence import Exported, Wanted, export_evidence
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator


def follow(sim: Simulator) -> None:
    """Bring the projections to the newest signed entry, as the server's follower would."""
    with ledger_of(sim).projector_database() as database:
        Runner(database, read_models()).catch_up()


def exported(sim: Simulator, output: Path, **wanted: Any) -> Exported:
    """A bundle of the trial; what is recorded of it is told to the checker like any other statement."""
    options = {name: wanted.pop(name) for name in ("force", "taken_by") if name in wanted}
    made = export_evidence(ledger_of(sim), Wanted(sim.plan.study, **wanted), output, **options)
    sim.later(seconds=1)
    return made


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file."""
    return sha256(path.read_bytes()).digest()


def digest_in(text: str) -> bytes:
    """A base64url digest as bytes."""
    return urlsafe_b64decode(text + "=")


def member(path: Path, name: str) -> bytes:
    """One member's bytes."""
    with zipfile.ZipFile(path) as opened:
        return opened.read(name)


def lines(path: Path, name: str) -> list[Any]:
    """An NDJSON member."""
    return [json.loads(line) for line in member(path, name).splitlines()]


def names(path: Path) -> list[str]:
    """The members in their order."""
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        return opened.namelist()


def disclosed(path: Path) -> dict[int, list[str]]:
    """What is disclosed in a bundle: by index."""
    found: dict[int, list[str]] = {}
    for name in names(path):
        if name.startswith("disclosures/"):
            found |= {line["index"]: line["disclosures"] for line in lines(path, name)}
    return found


def rows(path: Path, projection: str, table: str) -> list[list[Any]]:
    """The rows of a projection in a bundle."""
    found: list[list[Any]] = json.loads(member(path, f"projections/{projection}.json"))["tables"][table]
    return found
