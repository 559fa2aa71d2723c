"""A store that the signers of several hosts share: one row a log, in another PostgreSQL than the ledger's own.

The row is locked while it is held, and written by comparing its sequence. It must not be in the cluster that the ledger
is in: who restores that one from a backup would take the signer's memory back with it. Whoever may write to it could
make the signer sign a split view: keep it apart from whoever administers the ledger's database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from ledger.store.database import CONNECT_TIMEOUT_S, KEEPALIVES, POOL_WAIT_S, Conn
from ledger.store.errors import DatabaseMisconfigured, translated
from ledger.store.migrations import require_version
from ledger.store.pool import Pool
from ledger.store.sql import SQL
from ledger.store.statements import abandon
from ledger.store.urls import connection_string

LIMITS = "-c timezone=UTC -c synchronous_commit=on -c lock_timeout=5s -c statement_timeout=30s"
LIMITS += " -c idle_in_transaction_session_timeout=30s"
"""Another host holds a row for milliseconds; what it promises is durable; one that hangs lets go."""
CONNECTIONS = 8


class SignerStoreUnusable(DatabaseMisconfigured):
    """The signers' shared store cannot be used. Make it with `trial-ledger init` and TRIAL_LEDGER_SIGNER_URL, in a
    PostgreSQL cluster of its own, as a login that may create a schema there."""


class StateMoved(DatabaseMisconfigured):
    """The signer's row was written by somebody who did not hold it. Find out who writes to the shared store."""


@dataclass(slots=True)
class HeldRow:
    """A log's row while it is held: its sequence and text ("" before the first)."""

    connection: Conn
    origin: str
    sequence: int
    text: str

    def write(self, sequence: int, text: str) -> None:
        """Make the next text durable; the row is held no longer. Raises StateMoved."""
        values = {"origin": self.origin, "old": self.sequence, "sequence": sequence, "state": text}
        if self.connection.execute(SQL["write_signer_state"], values).rowcount != 1:
            raise StateMoved(f"the sequence of {self.origin} was {self.sequence} when it was read")
        self.connection.execute(SQL["commit"])


class SignerStates:
    """The shared store. All methods from any thread."""

    def __init__(self, url: str) -> None:
        self._url = connection_string(
            url,
            options=LIMITS,
            application_name="trial-ledger-signer-state",
            connect_timeout=CONNECT_TIMEOUT_S,
            **KEEPALIVES,
        )
        self._pool = Pool(lambda: psycopg.connect(self._url, autocommit=True), CONNECTIONS, POOL_WAIT_S)

    def make(self) -> None:
        """Make the schema unless it is there."""
        with self._connection() as connection:
            require_version(connection.info.server_version)
            connection.execute(SQL["create_signer_store"])

    def identity(self) -> str:
        """What names this store for ever; raises SignerStoreUnusable when it was not made."""
        with self._connection() as connection:
            try:
                row = connection.execute(SQL["signer_store_id"]).fetchone()
            except (
                psycopg.errors.UndefinedTable,
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.UndefinedFunction,
            ):
                row = None
        if row is None:
            raise SignerStoreUnusable("its schema trial_ledger_signer is not there, or not for this login")
        return str(row[0])

    def refuse_cluster_of(self, ledger: Conn) -> None:
        """Raises SignerStoreUnusable when the ledger's database is in the same cluster, or in a copy of it."""
        with self._connection() as connection:
            own = connection.execute(SQL["cluster"]).fetchone()
        if own == ledger.execute(SQL["cluster"]).fetchone():
            raise SignerStoreUnusable(
                "it is in the cluster of the ledger's own database (or in a copy of it), and would be restored with it"
            )

    @contextmanager
    def held(self, origin: str) -> Iterator[HeldRow]:
        """A log's row, locked until it is written or the context ends."""
        with self._connection() as connection:
            connection.execute(SQL["begin_append"])
            values = {"origin": origin}
            row = connection.execute(SQL["lock_signer_state"], values).fetchone()
            if row is None:
                connection.execute(SQL["insert_signer_state"], values)
                row = connection.execute(SQL["lock_signer_state"], values).fetchone()
            assert row is not None
            yield HeldRow(connection, origin, *row)

    def adopt(self, origin: str, sequence: int, text: str) -> bool:
        """Take over the state of a log that this store knows nothing of; False when it does."""
        with self.held(origin) as row:
            if row.text:
                return False
            row.write(max(sequence, row.sequence + 1), text)
            return True

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[Conn]:
        with translated():
            connection = self._pool.take()
            try:
                yield connection
            finally:
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    abandon(connection)
                self._pool.give(connection)
