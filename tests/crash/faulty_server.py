"""A server that carries out an order to kill: itself, or its database, at one moment of a statement's life.

    TRIAL_LEDGER_TEST_ORDERS=<file> python -m tests.crash.faulty_server --port 0 ...

The order is a small JSON file: `{"at": "committed", "passages": 3, "victim": "server"}`. The third time that the
moment is passed the file is removed and the victim gets SIGKILL: nothing is flushed, closed or said. Only tests
start this; the ledger itself knows of no such thing, and importing this module changes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import typer

from api.cli.serve import serve
from ledger.home import Home
from ledger.signer import LogSigner
from ledger.store import evidence, statements
from ledger.store.accounts import ceremony_values
from ledger.store.embedded import EmbeddedPostgres
from ledger.store.redactions import insert_redactions
from ledger.store.sql import SQL
from ledger.writer import StudyWriter

MOMENTS = (
    "pooled",
    "written",
    "commit sent",
    "committed",
    "state durable",
    "tiles stored",
    "checkpointed",
    "answered",
)
"""In the order of a statement's life; each is reached when the step before it has returned."""


class Executioner:
    """Looks for an order whenever a moment is passed; from any thread."""

    def __init__(self, orders: Path, home: Path) -> None:
        self._orders, self._database = orders, EmbeddedPostgres(Home(home).database)
        self._turn = threading.Lock()
        self._passed = 0

    def passed(self, moment: str) -> None:
        """Carry out the order for this moment, if it is there and its time has come."""
        self.kill(self.due(moment))

    def kill(self, victim: str | None) -> None:
        """SIGKILL."""
        if victim == "server":
            os.kill(os.getpid(), signal.SIGKILL)
        if victim == "database" and (pid := self._database.pid):
            os.kill(pid, signal.SIGKILL)

    def due(self, moment: str) -> str | None:
        """The victim, when an order's moment has come; the order is then gone."""
        with self._turn:
            try:
                order = json.loads(self._orders.read_text(encoding="ascii"))
            except FileNotFoundError:
                return None
            if order["at"] != moment:
                return None
            self._passed += 1
            if self._passed < order["passages"]:
                return None
            self._passed = 0
            self._orders.unlink()
            return str(order["victim"])


def after(owner: Any, name: str, executioner: Executioner, moment: str) -> None:
    """Let a function pass a moment when it has done its work."""
    function: Callable[..., Any] = getattr(owner, name)

    def passing(*given: Any, **named: Any) -> Any:
        result = function(*given, **named)
        executioner.passed(moment)
        return result

    static = isinstance(owner.__dict__[name], staticmethod)
    setattr(owner, name, staticmethod(passing) if static else passing)


def within_the_transaction(executioner: Executioner) -> None:
    """`written`: everything is inserted; `commit sent`: the server has the COMMIT, and nobody its answer."""
    finish = statements.finish_append

    def passing(connection: Any, study: str, rows: Any, head: Any, redactions: Any = (), ceremonies: Any = ()) -> None:
        written, sent = executioner.due("written"), executioner.due("commit sent")
        if written is None and sent is None:
            return finish(connection, study, rows, head, redactions, ceremonies)
        statements.insert_events(connection, study, rows)
        insert_redactions(connection, study, redactions)
        if ceremonies:
            connection.execute(SQL["insert_ceremony_uses"], ceremony_values(study, ceremonies))
        statements.store_head(connection, study, head)
        if sent is not None:
            connection.pgconn.send_query(b"COMMIT")
            connection.pgconn.flush()
        executioner.kill(written or sent)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    statements.finish_append = passing


def install(executioner: Executioner) -> None:
    """Make every moment look for an order."""
    after(StudyWriter, "_take", executioner, "pooled")
    within_the_transaction(executioner)
    after(statements, "finish_append", executioner, "committed")
    after(LogSigner, "_write", executioner, "state durable")
    after(LogSigner, "_complete", executioner, "tiles stored")
    after(evidence, "insert_checkpoint", executioner, "checkpointed")
    after(StudyWriter, "_answer", executioner, "answered")


if __name__ == "__main__":
    install(Executioner(Path(os.environ["TRIAL_LEDGER_TEST_ORDERS"]), Path(os.environ["TRIAL_LEDGER_HOME"])))
    typer.run(serve)
