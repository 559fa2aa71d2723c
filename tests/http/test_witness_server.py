"""A site's own witness over HTTP: a process with two files, no database, no home, which nobody can tire out."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from ledger.merkle.checkpoint import open_checkpoint
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.policy import Policy
from ledger.witness import SUBMISSION_LIMIT
from tests.scenario.histories import KEYS, ORIGIN, History
from tests.scenario.witnesses import PASSPHRASE, SiteWitness, running

LOGS = [KEYS.ed25519.key]
HEX = sha256(ORIGIN.encode()).hexdigest()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteWitness]:
    witness = SiteWitness(tmp_path_factory.mktemp("site"), "witness.example.org/site-1", post_quantum=True)
    with running(witness, LOGS) as started:
        yield started


@pytest.fixture(scope="module")
def seen(site: SiteWitness) -> History:
    """What the witness has seen: ten entries."""
    history = History().grow(10)
    assert ask(site, history.submission(0)).status_code == 200
    return history


def ask(site: SiteWitness, body: bytes) -> httpx.Response:
    return httpx.post(f"{site.url}/add-checkpoint", content=body, timeout=20.0)


def test_a_checkpoint_is_cosigned_with_both_keys_and_the_regulator_asks_the_witness(
    site: SiteWitness, seen: History
) -> None:
    shown = httpx.get(f"{site.url}/{HEX}/checkpoint")
    assert shown.status_code == 200 and shown.headers["content-type"].startswith("text/plain")
    witnesses = [verifier_of(key) for key in site.keys]
    opened = open_checkpoint(shown.content, [verifier_of(KEYS.ed25519.key)], ORIGIN, witnesses)
    assert opened.checkpoint == seen.checkpoint() and len(opened.good) == 3


def test_the_answers_of_the_protocol(site: SiteWitness, seen: History) -> None:
    told = ask(site, seen.submission(0))
    assert (told.status_code, told.text, told.headers["content-type"]) == (409, "10\n", "text/x.tlog.size")
    assert ask(site, b"old 11\n\n" + seen.signed()).status_code == 400
    assert ask(site, b"garbage").status_code == 400
    assert ask(site, seen.submission(10).replace(ORIGIN.encode(), b"other.example/log")).status_code == 404
    assert ask(site, seen.submission(10).replace(b"\n10\n", b"\n11\n")).status_code == 403
    assert ask(site, seen.submission(10)).status_code == 200


def test_a_second_history_raises_the_alarm(tmp_path: Path) -> None:
    with running(SiteWitness(tmp_path, "witness.example.org/site-2"), LOGS) as site:
        history = History().grow(6)
        assert ask(site, history.submission(0)).status_code == 200
        assert httpx.get(f"{site.url}/healthz").json()["status"] == "good"
        assert ask(site, history.fork(4).grow(2, "another").submission(6)).status_code == 422
        health = httpx.get(f"{site.url}/healthz").json()
        assert health["status"] == "alarm" and health["second_histories_proven"] == 1


def test_other_addresses_and_methods_are_refused(site: SiteWitness) -> None:
    assert httpx.get(f"{site.url}/add-checkpoint").status_code == 405
    assert httpx.post(f"{site.url}/{HEX}/checkpoint").status_code == 405
    for path in ("/", "/checkpoint", f"/{'0' * 64}/checkpoint", "/../checkpoint", f"/{HEX}/../checkpoint"):
        assert httpx.get(f"{site.url}{path}").status_code == 404, path


def test_too_much_is_refused_and_does_not_harm(site: SiteWitness, seen: History) -> None:
    assert ask(site, b"a" * (SUBMISSION_LIMIT + 1)).status_code == 413
    with socket.create_connection(("127.0.0.1", site.port())) as flood:
        flood.settimeout(20)
        try:
            for _ in range(100):
                flood.sendall(b"x-header: " + b"a" * 10_000 + b"\r\n")
            assert flood.recv(1_000)[:12] in (b"", b"HTTP/1.1 400")
        except OSError:
            pass
    assert ask(site, seen.submission(10)).status_code == 200


def test_many_who_dawdle_do_not_keep_others_waiting(site: SiteWitness, seen: History) -> None:
    dawdlers = [socket.create_connection(("127.0.0.1", site.port())) for _ in range(50)]
    for number, one in enumerate(dawdlers):
        one.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\n"[: 10 + number])
    assert ask(site, seen.submission(10)).status_code == 200
    for one in dawdlers:
        one.close()


def test_who_dawdles_too_long_is_cut_off(site: SiteWitness) -> None:
    with socket.create_connection(("127.0.0.1", site.port()), timeout=30) as silent:
        try:
            assert silent.recv(1) == b""
        except ConnectionResetError:
            pass


def test_a_second_process_on_the_same_state_is_refused(site: SiteWitness) -> None:
    command = [sys.executable, "-m", "api.cli", *site.command(LOGS)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"another process uses" in ended.stderr


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "api.cli", "witness", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_init_makes_a_witness_whose_key_a_policy_takes(tmp_path: Path) -> None:
    files = ("--key-file", tmp_path / "k", "--state-file", tmp_path / "s", "--passphrase-file", "-")
    made = run(*files, "--init", "--name", "witness.example.org/site-3", stdin=PASSPHRASE + b"\n")
    assert made.returncode == 0
    vkey = made.stdout.decode().strip()
    assert Policy.parse(f"witness site {vkey}\nquorum site\n").witnesses["site"].key.name.endswith("site-3")
    again = run(*files, "--init", "--name", "witness.example.org/site-3", stdin=PASSPHRASE + b"\n")
    assert again.returncode == 1 and b"exists already" in again.stderr


def test_a_passphrase_that_others_can_read_is_refused(site: SiteWitness) -> None:
    site.stop()
    file = site.folder / "passphrase"
    file.chmod(0o640)
    files = ("--key-file", site.key_file, "--state-file", site.state_file, "--passphrase-file", file)
    ended = run(*files, "--log", LOGS[0])
    assert (ended.returncode, b"chmod 600" in ended.stderr) == (64, True), ended.stderr


def test_wrong_usage_is_said_in_a_sentence(site: SiteWitness, tmp_path: Path) -> None:
    files = ("--key-file", site.key_file, "--state-file", tmp_path / "s")
    log = ("--log", LOGS[0])
    for arguments, status, because in (
        ((*files, "--init", "--passphrase-file", "-"), 64, b"--name"),
        ((*files, *log, "--passphrase-file", "-"), 1, b"there is no state"),
        ((*files, "--log", site.key, "--passphrase-file", "-"), 64, b"not of a log"),
    ):
        ended = run(*arguments, stdin=PASSPHRASE)
        assert (ended.returncode, because in b" ".join(ended.stderr.split())) == (status, True), ended.stderr
