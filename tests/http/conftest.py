"""A server in this process, over a trial that the test plays at the same time; and the trial's fixtures."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from api.v1.app import create_app
from ledger.application import Ledger
from projections.definitions import read_models
from projections.engine.runner import Runner
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until


@dataclass(frozen=True)
class Server:
    """A server that listens, a client of it, and the ledger under it."""

    address: tuple[str, int]
    http: httpx.Client
    ledger: Ledger
    study: str

    def path(self, rest: str = "") -> str:
        """An address below the study."""
        return f"/v1/studies/{self.study}{rest}"

    def post(self, content: object, kind: str | None = "application/sd-jwt", **headers: str) -> httpx.Response:
        """POST to the study's events."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind is not None:
            named["Content-Type"] = kind
        return self.http.post(self.path("/events"), content=content, headers=named)  # type: ignore[arg-type]


@contextmanager
def listening(ledger: Ledger, study: str) -> Iterator[Server]:
    """Serve a ledger on a free port while the context lasts."""
    config = uvicorn.Config(create_app(ledger), log_level="critical", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()[:2]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the server's start")
        with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=60.0) as http:
            yield Server(address, http, ledger, study)
        server.should_exit = True
        thread.join()


def follow(ledger: Ledger) -> None:
    """Bring every projection up to the newest checkpoint, as the projector process does."""
    with ledger.projector_database() as database:
        Runner(database, read_models()).catch_up()


@pytest.fixture
def server(trial: Simulator) -> Iterator[Server]:
    """A server over the trial's ledger."""
    with listening(ledger_of(trial), trial.plan.study) as server:
        yield server


@pytest.fixture
def bare_server(before_trial: Simulator) -> Iterator[Server]:
    """A server over a ledger without a study."""
    with listening(ledger_of(before_trial), before_trial.plan.study) as server:
        yield server
