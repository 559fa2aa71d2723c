"""`trial-ledger serve`: where it listens and where it refuses to, how it starts, ends and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from api.cli.serve import server_process
from ledger.home import Home
from ledger.store.embedded import EmbeddedPostgres

pytestmark = pytest.mark.xdist_group("servers")

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


def serve(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `trial-ledger serve` until it gives up."""
    env = {**os.environ, "TRIAL_LEDGER_HOME": str(home), **(environment or {})}
    return subprocess.run(
        [sys.executable, "-m", "api.cli", "serve", "--until-eof", *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.org", "8.8.8.8", ""])
def test_it_listens_on_nothing_but_loopback_and_says_why(tmp_path: Path, host: str) -> None:
    ended = serve(tmp_path / "home", "--host", host)
    assert ended.returncode == 64
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stderr.replace("│", " ").split())
    assert "not authenticated" in said
    assert "loopback" in said
    assert ended.stdout == ""
    assert not (tmp_path / "home" / "database").exists(), "nothing was started"


def test_a_port_that_is_taken_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve(tmp_path / "home", "--port", str(port))
    assert ended.returncode == 64
    assert str(port) in ended.stderr
    assert "--port" in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRIAL_LEDGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x", "TRIAL_LEDGER_PROJECTOR_URL"),
        ("TRIAL_LEDGER_ORIGIN", "Not A Host", "TRIAL_LEDGER_ORIGIN"),
        ("TRIAL_LEDGER_GENESIS_KEYS", "short", "thumbprint"),
        ("TRIAL_LEDGER_DATABSE_URL", "x", "TRIAL_LEDGER_DATABSE_URL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    ended = serve(tmp_path / "home", environment={name: value})
    assert ended.returncode == 64
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/ledger?connect_timeout=2"
    environment = {"TRIAL_LEDGER_DATABASE_URL": url, "TRIAL_LEDGER_PROJECTOR_URL": url}
    ended = serve(tmp_path / "home", environment=environment)
    assert ended.returncode == 2
    assert "database does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_origin_never_changes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server_process(home, {"TRIAL_LEDGER_ORIGIN": "ledger.example.org"}) as served:
        assert httpx.get(f"{served.url}/health/live").status_code == 200
    ended = serve(home, environment={"TRIAL_LEDGER_ORIGIN": "other.example.org"})
    assert ended.returncode == 64
    assert "never changes" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to_and_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "home"
    with server_process(home) as served:
        assert httpx.get(f"{served.url}/health/ready").json()["status"] == "ready"
        served.process.send_signal(number)
        status = served.process.wait(PATIENCE_SECONDS)
    assert status == 0
    assert EmbeddedPostgres(Home(home).database).pid == 0


def test_a_client_that_holds_back_half_of_a_request_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (tmp_path / "said").open("wb") as said, server_process(home, said=said) as served:
        url = httpx.URL(served.url)
        with socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_SECONDS) as half:
            half.sendall(b"POST /v1/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            assert httpx.get(f"{url}/health/live").status_code == 200
            served.process.send_signal(signal.SIGTERM)
            answer = half.makefile("rb").read()
            assert served.process.wait(PATIENCE_SECONDS) == 0
    assert b"503" in answer.partition(b"\r\n")[0]
    assert b"REQUEST-5" in answer
    assert b"Traceback" not in (tmp_path / "said").read_bytes()
    assert EmbeddedPostgres(Home(home).database).pid == 0


def test_it_says_its_address_as_json_when_asked(tmp_path: Path) -> None:
    env = {**os.environ, "TRIAL_LEDGER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--until-eof", "--json", "--host", "::1"]
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["url"].startswith("http://[::1]:")
    assert httpx.get(f"{said['url']}/health/live").json() == {"status": "live"}
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
