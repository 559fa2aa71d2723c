"""The documents of deploy/ can be followed step by step: their commands run as they stand; what they name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from api.witness import create_app, server_config
from ledger.merkle.note import VerifierKey, parse_note
from ledger.merkle.policy import Policy
from ledger.verify import standalone
from ledger.verify.bundle import POLICY
from ledger.verify.report import CHECKS, NOT_VERIFIED, UNDECIDED, VERIFIED, WRONG_USAGE
from ledger.witness import Submission, Witness
from ledger.witness_files import FileStore, load_cosigners, make_witness
from projections.exports.evidence import Wanted, export_evidence
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

ROOT = Path(__file__).parents[2]
THREATS = (ROOT / "deploy/threats.md").read_text(encoding="utf-8")
INSPECTORS = (ROOT / "deploy/inspectors.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh( setup| online)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Commands; `setup` makes the environment that the tests have already, `online` asks a witness."""
PASSPHRASE = b"synthetic passphrase"


def commands(*kinds: str) -> list[str]:
    """The blocks of commands of these kinds, in order."""
    return [text for kind, text in BLOCK.findall(INSPECTORS) if kind.strip() in kinds]


def run(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run commands as an inspector does: in a folder with the files received, without this project."""
    bare = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def received(trial: Simulator, tmp_path: Path) -> Path:
    """What an inspector received: a bundle, the single-file verifier, a receipt."""
    folder = tmp_path / "received"
    folder.mkdir()
    trial.screen(trial.subject("001"))
    export_evidence(ledger_of(trial), Wanted(trial.plan.study), folder / "evidence.zip")
    standalone.write(folder / "trial-ledger-verify.pyz")
    told = trial.acknowledged[-1]
    ledger = ledger_of(trial)
    with ledger.database.snapshot() as connection:
        newest = ledger.checkpoint(connection, trial.plan.study)
        receipt = ledger.receipt(connection, trial.plan.study, told.jti, newest)
    (folder / "receipt.tlog-proof").write_text(receipt, encoding="utf-8")
    return folder


def test_an_inspector_follows_the_steps_without_this_project(received: Path, trial: Simulator) -> None:
    done = run(received, "\n".join(commands("")))
    assert done.returncode == VERIFIED, done.stdout + done.stderr
    assert "VERIFIED: " in done.stdout
    assert "NOBODY OUTSIDE VOUCHED" not in done.stdout
    assert done.stdout.count("PASSED") == 7
    assert f"index {trial.acknowledged[-1].index} of " in done.stdout
    assert trial.acknowledged[-1].text.partition("~")[0] in done.stdout
    assert (received / "report.html").read_text(encoding="utf-8").startswith("<!")


@pytest.mark.parametrize("spoilt", ["evidence.zip", "receipt.tlog-proof", "policy.txt"])
def test_the_steps_end_badly_where_something_was_altered(received: Path, spoilt: str) -> None:
    steps = commands("")
    prepared, [verifying], [receipt] = steps[:3], steps[3:4], steps[4:]
    assert run(received, "\n".join(prepared)).returncode == 0
    path = received / spoilt
    data = bytearray(path.read_bytes())
    at = data.index(b"entries/000") + 200 if spoilt == "evidence.zip" else len(data) // 2
    data[at] ^= 1
    path.write_bytes(data)
    done = run(received, receipt if spoilt == "receipt.tlog-proof" else verifying)
    assert done.returncode in (NOT_VERIFIED, UNDECIDED), done.stdout
    assert "VERIFIED: " not in done.stdout.replace("NOT VERIFIED: ", "")


def test_a_witness_is_asked_past_the_sponsor(received: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(received / "evidence.zip") as bundle:
        note = parse_note(bundle.read("log/checkpoint"))
        logs = Policy.parse(bundle.read(POLICY)).logs
    key_file, state_file = tmp_path / "witness.key", tmp_path / "witness.state"
    keys = make_witness(key_file, state_file, "witness.example.org/site-1", PASSPHRASE, False)
    with FileStore(state_file) as store, serving(store, key_file, logs, keys) as (address, witness):
        early = run(received, "\n".join(commands("online")), WITNESS=address)
        assert early.returncode != 0, "the witness has seen nothing yet, and says so"
        assert witness.add_checkpoint(Submission(0, (), note).to_bytes(), 1_760_000_000).status == 200
        done = run(received, "\n".join(commands("online")), WITNESS=address)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == lines[-3:] == note.text.decode().splitlines()


@contextmanager
def serving(
    store: FileStore, key_file: Path, logs: tuple[VerifierKey, ...], keys: object
) -> Iterator[tuple[str, Witness]]:
    """A witness of these logs that listens on a free port while the context lasts."""
    assert list(store.keys) == list(keys)  # type: ignore[call-overload]
    witness = Witness(logs, load_cosigners(key_file, store.keys, PASSPHRASE), store)
    config = server_config(create_app(witness, store))
    config.host, config.port = "127.0.0.1", 0
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign, attr-defined]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the witness's start")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", witness
    finally:
        server.should_exit = True
        thread.join()


def test_every_check_and_exit_status_of_the_report_is_explained() -> None:
    for number, (name, _, _) in CHECKS.items():
        assert f"| {number} {name} |" in INSPECTORS, number
    for status in (VERIFIED, NOT_VERIFIED, UNDECIDED, WRONG_USAGE):
        assert f"\n| {status} | " in INSPECTORS, status


def test_what_the_inspectors_page_names_exists(received: Path) -> None:
    for path in set(re.findall(r"`((?:deploy|ledger|tests)/[^`]*\.(?:md|py))`", INSPECTORS)):
        assert (ROOT / path).is_file(), path
    help_text = run(received, "python3 trial-ledger-verify.pyz --help").stdout
    for option in set(re.findall(r"`(--[a-z-]+)", INSPECTORS)) - {"--init", "--subject", "--checkpoint", "--make"}:
        assert option in help_text, option
    with zipfile.ZipFile(received / "evidence.zip") as bundle:
        for path in ("log/checkpoint", "log/tile/entries/", POLICY):
            assert path in INSPECTORS
            assert any(name.startswith(path) for name in bundle.namelist()), path


def test_every_test_that_the_threat_table_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", THREATS)
    assert len(named) > 40
    assert THREATS.count("`tests/") == len(named), "a test is named by its file and its name"
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), (path, name)


def test_the_threat_table_has_whole_rows_and_names_no_check_that_there_is_not() -> None:
    width = 0
    for line in THREATS.splitlines():
        cells = line.count("|")
        assert not width or not cells or cells == width, line
        width = cells
    assert set(re.findall(r"\bV\d\b", THREATS)) == set(CHECKS)
