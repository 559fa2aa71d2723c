"""Locks between processes of one host. The kernel holds them, so they end with their holder, however it
dies; nothing stale is ever left behind.

A lock belongs to the process that took it: in a forked child it is closed, because otherwise a worker
that outlives its parent would hold the parent's locks.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.005
"""How often a lock with a deadline is tried; flock itself knows no deadline."""

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock on a file, shared by many or exclusive to one. Not for several threads at once."""

    _descriptor: int | None = None

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _held.add(self)

    def try_shared(self) -> bool:
        """Takes the lock together with others; False when somebody has it exclusively."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Takes the lock alone; False when anybody has it. A shared lock held until then is given up,
        also in vain."""
        return self._try(fcntl.LOCK_EX)

    def wait_shared(self, timeout_s: float) -> bool:
        """`try_shared` until it succeeds or the time is over."""
        return self._wait(fcntl.LOCK_SH, timeout_s)

    def wait_exclusive(self, timeout_s: float) -> bool:
        """`try_exclusive` until it succeeds or the time is over."""
        return self._wait(fcntl.LOCK_EX, timeout_s)

    def close(self) -> None:
        """Gives the lock up."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _try(self, kind: int) -> bool:
        if self._descriptor is None:
            raise ValueError("this lock is closed")
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, kind: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self._try(kind):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _close_all() -> None:
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_close_all)
