"""A PostgreSQL database as one role of the ledger sees it: pooled connections, one snapshot, hints.

Rules: every connection acts in the role it was opened for and no other, whatever the login could do
beyond; it is in autocommit, so that a transaction exists only where one is opened in so many words; it
has limits on statements, locks and idle transactions; it notices a dead peer. The driver's errors leave
as the store's own (`ledger.store.errors`). Nothing here retries: who asked knows whether that is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.errors import translated
from ledger.store.migrations import require_schema, require_version
from ledger.store.pool import Pool
from ledger.store.sql import SQL
from ledger.store.statements import abandon
from ledger.store.urls import connection_string

Conn = Connection[TupleRow]

APP = "ledger_app"
PROJECTOR = "ledger_projector"

CONNECT_TIMEOUT_S = 5
"""A database that takes longer to answer is treated as down: a caller waits for it."""

POOL_WAIT_S = 5.0
"""How long a caller may wait for a free connection before it is told that the database is busy."""

LOCK_TIMEOUT_S = 5.0
IDLE_IN_TRANSACTION_TIMEOUT_S = 5.0
"""A transaction that waits or dawdles longer would hold up every writer of its study."""

STATEMENT_TIMEOUT_S = 30.0
"""No single statement of the server takes longer; a rebuild sets its own limit."""

KEEPALIVES: dict[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A peer that vanished (power, cable, failover) is noticed within a minute, in seconds and milliseconds."""

HINT_CHANNEL_SEPARATOR = ":"


class Database:
    """Connections to one database in one role.

    `open()` proves that the database is there, new enough, migrated and accessible, and says precisely what
    is missing; it may be called again after a failure. All methods may be called from any thread. A pooler
    between us and PostgreSQL must pool sessions, not transactions: role and limits belong to the session.
    """

    def __init__(
        self,
        url: str,
        *,
        role: str = APP,
        name: str = "trial-ledger",
        min_connections: int = 1,
        max_connections: int = 8,
        connection_wait_s: float = POOL_WAIT_S,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        idle_in_transaction_timeout_s: float = IDLE_IN_TRANSACTION_TIMEOUT_S,
        waits_for_disk: bool = True,
        begins: Callable[[Conn], None] | None = None,
    ) -> None:
        limits: dict[str, str | int] = {
            "role": role,
            "timezone": "UTC",
            "statement_timeout": round(statement_timeout_s * 1000),
            "lock_timeout": round(lock_timeout_s * 1000),
            "idle_in_transaction_session_timeout": round(idle_in_transaction_timeout_s * 1000),
        }
        if not waits_for_disk:  # for what is kept elsewhere as well, and written again when it is missing
            limits["synchronous_commit"] = "off"
        self.url = connection_string(
            url,
            options=" ".join(f"-c {key}={value}" for key, value in limits.items()),
            application_name=name,
            connect_timeout=CONNECT_TIMEOUT_S,
            **KEEPALIVES,
        )
        self._begins = begins
        """What a new session does first; one that refuses is not used."""
        self._at_least = max(1, min_connections)
        self._pool = Pool(self._connect, max_connections, connection_wait_s)

    def open(self) -> Self:
        """Makes the first connections. Raises DatabaseUnavailable, DatabaseMisconfigured and its kinds."""
        with ExitStack() as opened:
            first, *_ = [opened.enter_context(self.connection()) for _ in range(self._at_least)]
            require_version(first.info.server_version)
            require_schema(first)
        return self

    def close(self) -> None:
        """Closes every pooled connection; those in use when they are given back."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[Conn]:
        """A pooled connection in autocommit. An open transaction is rolled back when it is given back."""
        with translated():
            connection = self._pool.take()
            try:
                yield connection
            finally:
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    abandon(connection)
                self._pool.give(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Conn]:
        """A pooled connection in a read-only transaction that sees one moment throughout."""
        with self.connection() as connection:
            connection.execute(SQL["begin_snapshot"])
            yield connection

    @contextmanager
    def dedicated(self) -> Iterator[Conn]:
        """A connection of its own, for a writer that keeps one; not counted by the pool."""
        with translated(), self._connect() as connection:
            yield connection

    def _connect(self) -> Conn:
        connection = psycopg.connect(self.url, autocommit=True)
        if self._begins is not None:
            try:
                self._begins(connection)
            except BaseException:
                connection.close()
                raise
        return connection


class Listener:
    """Waits for hints that a study has grown. Hints may be lost: poll as well.

    It has a connection of its own and makes a new one when that is lost. For one thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Conn | None = None

    def wait(self, timeout_s: float) -> dict[str, int]:
        """The greatest size heard of each study; empty after `timeout_s` seconds without a hint. Returns
        soon after the first hint. Raises DatabaseUnavailable; call it again later."""
        try:
            with translated():
                connection = self._connect()
                sizes: dict[str, int] = {}
                for hint in connection.notifies(timeout=timeout_s, stop_after=1):
                    study, _, size = hint.payload.rpartition(HINT_CHANNEL_SEPARATOR)
                    if size.isdecimal():
                        sizes[study] = max(int(size), sizes.get(study, 0))
                return sizes
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection; the next `wait` makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> Conn:
        if self._connection is None:
            self._connection = psycopg.connect(self._database.url, autocommit=True)
            self._connection.execute(SQL["listen"])
        return self._connection
