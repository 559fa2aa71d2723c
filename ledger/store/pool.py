"""A handful of connections that many threads share.

A connection is made by the thread that needs one, when none is idle: a database that is down is told so at
once and in its own words, and one that is back is used at once. (A pool that connects in the background, as
psycopg_pool does, lets every request wait out its time-out while the database is down, only to say that the
pool is empty, and pauses between its own attempts: measured 5 s to an error, 1 to 2 s to recover.)
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.errors import DatabaseBusy

Conn = Connection[TupleRow]


class Pool:
    """At most `limit` connections at a time, the latest used first. All methods from any thread."""

    def __init__(self, connect: Callable[[], Conn], limit: int, wait_s: float) -> None:
        self._connect = connect
        self._free = threading.BoundedSemaphore(limit)
        self._wait_s = wait_s
        self._turn = threading.Lock()
        self._idle: list[Conn] = []
        self._closed = False

    def take(self) -> Conn:
        """A connection that was alive a moment ago. Raises DatabaseBusy when all are taken for too long, and
        what connecting raises."""
        if not self._free.acquire(timeout=self._wait_s):
            raise DatabaseBusy(f"all connections have been in use for {self._wait_s:g} seconds")
        try:
            while (idle := self._take_idle()) is not None:
                if _still_connected(idle):
                    return idle
                idle.close()
            return self._connect()
        except BaseException:
            self._free.release()
            raise

    def give(self, connection: Conn) -> None:
        """Takes a connection back; one that is not as it was handed out is closed."""
        with self._turn:
            as_new = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            keep = as_new and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        self._free.release()

    def close(self) -> None:
        """Closes the idle connections, and those in use when they are given back."""
        with self._turn:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take_idle(self) -> Conn | None:
        with self._turn:
            return self._idle.pop() if self._idle else None


def _still_connected(connection: Conn) -> bool:
    """Nobody sends anything to an idle connection but a server that hangs up."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
