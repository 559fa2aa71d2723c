"""The database is away, refuses, restarts, or its disk is full: said clearly, nothing half-recorded, over by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.cli.serve import Served, server_process
from ledger.application import Ledger
from ledger.settings import Settings
from ledger.store.embedded import DatabaseUrls
from tests.http.conftest import Server, listening
from tests.http.test_problems import problem
from tests.integration.store.test_disk_full import fill, small_volume
from tests.scenario.checker import check_everything
from tests.scenario.doors import Recorded
from tests.scenario.fixtures import ledger_of
from tests.scenario.served import SD_JWT, trial_over_http
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

__all__ = ["small_volume"]

READS = ("", "/events", "/subjects", "/refusals", "/audit-trail")


@pytest.fixture
def server(trial: Simulator) -> Iterator[Server]:
    """A server over the trial's ledger."""
    with listening(ledger_of(trial), trial.plan.study) as server:
        yield server


@pytest.fixture
def shut(trial: Simulator, embedded_server: DatabaseUrls) -> Iterator[Callable[[bool], None]]:
    """Shuts the trial's database to everybody and ends every connection; and opens it again."""
    name = str(conninfo_to_dict(ledger_of(trial).urls.app)["dbname"])

    def do(shut: bool) -> None:
        with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
            allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            admin.execute(allow.format(sql.Identifier(name), sql.Literal(not shut)))
            if shut:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    yield do
    do(False)


def test_while_the_database_is_away_everything_says_so_and_goes_on_afterwards(
    server: Server, trial: Simulator, shut: Callable[[bool], None]
) -> None:
    text = trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("1"), number="1")
    size = trial.door.cut().size
    shut(True)
    refused = server.post(text)
    assert refused.status_code == 503
    read = problem(refused, 503, refused.json()["rule"])
    assert "again" in read["remedy"].lower()
    lines = server.post(f'"{text}"\n', "application/x-ndjson")
    assert lines.status_code in (200, 503)
    assert '"status":503' in lines.text
    for path in READS:
        problem(server.http.get(server.path(path)), 503, "DATABASE-1")
    problem(server.http.get("/health/ready"), 503, "DATABASE-1")
    assert server.http.get("/health/live").status_code == 200, "the process itself lives"

    shut(False)
    wait_until(lambda: server.http.get("/health/ready").status_code == 200, "finding the database again")
    answer = wait_until(lambda: _if_recorded(server.post(text)), "recording")
    assert answer["index"] == size, "nothing was half-recorded"


def _if_recorded(answer: httpx.Response) -> Any:
    return answer.json() if answer.status_code in (200, 201, 202) else None


def test_connections_that_die_idle_are_not_noticed_by_anybody(
    server: Server, trial: Simulator, shut: Callable[[bool], None]
) -> None:
    """As after a restart: every pooled connection is dead, and the next statement is recorded at once."""
    trial.screen(trial.subject("1"))
    shut(True)
    shut(False)
    text = trial.sign(trial.staff().coordinator, "SubjectScreened", trial.subject("2"), number="2")
    assert server.post(text).status_code == 201


@pytest.fixture
def on_a_small_disk(small_volume: Path) -> Iterator[Served]:
    """A server whose whole home, database included, has little room."""
    with server_process(small_volume / "home") as served:
        yield served


@pytest.mark.xdist_group("servers")
def test_a_full_disk_is_told_loses_nothing_and_is_over_when_there_is_room(
    small_volume: Path, on_a_small_disk: Served
) -> None:
    served, home = on_a_small_disk, small_volume / "home"
    sim = trial_over_http(served.url, home)
    sim.open()
    study, by, ada = sim.plan.study, sim.staff().coordinator, sim.subject("001")
    address = f"/v1/studies/{study}/events"
    ballast = fill(small_volume)
    with httpx.Client(base_url=served.url, timeout=60.0) as http:

        def send() -> httpx.Response:
            text = sim.sign(by, "VisitRecorded", ada, visit="week 1", comment="x" * 9_000)
            answer = http.post(address, content=text, headers=SD_JWT)
            if answer.status_code in (200, 201, 202):
                sim._told(text, _recorded(answer.json()))
            return answer

        answer = send()
        while answer.status_code in (201, 202):
            answer = send()
        read = answer.json()
        assert (answer.status_code, read["rule"]) in ((507, "WRITER-5"), (503, "WRITER-2"))
        assert read["remedy"]
        size = len(sim.acknowledged)
        summary = http.get(f"/v1/studies/{study}")
        assert summary.status_code == 200, "reading goes on"

        ballast.unlink()
        wait_until(lambda: send().status_code == 201, "recording when there is room")
        wait_until(lambda: http.get(f"/v1/studies/{study}").json()["size"] == size + 1, "a checkpoint")
    with Ledger(Settings(home)) as ledger:
        check_everything(ledger, sim.acknowledged)


def _recorded(read: dict[str, Any]) -> Recorded:
    return Recorded(read["jti"], read["index"], read["receipt"], read["repeat"])
