"""Workers on all cores: the same function over many ranges of entries, answers in order, memory bounded.

Processes, because reading strictly holds the interpreter's lock. Forked on Linux while this process has one
thread, so that workers cost next to nothing; spawned anywhere else, which also works from inside a zipapp (its
path is on `sys.path`, and a zipapp's main module is not run again).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ledger.verify.bundle import Bundle
from ledger.verify.zipform import Unreadable

Answer = TypeVar("Answer")

AHEAD = 4
"""Tasks a worker may be ahead of the fold: no worker waits, and answers do not pile up."""

ALONE_BELOW = 8
"""Entry bundles below which starting workers costs more than they save."""

_bundle: Bundle | None = None


def cores() -> int:
    """How many processes may run at once here."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


class Crew:
    """Runs `function(bundle, *arguments)` here or in workers; a context manager that leaves no process behind."""

    def __init__(self, bundle: Bundle, tasks: int, workers: int | None) -> None:
        self._bundle = bundle
        wanted = cores() if workers is None else max(1, workers)
        self.workers = 1 if tasks < ALONE_BELOW or multiprocessing.current_process().daemon else min(wanted, tasks)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Crew:
        if self.workers > 1:
            forks = sys.platform == "linux" and threading.active_count() == 1
            context = multiprocessing.get_context("fork" if forks else "spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _begin, (self._bundle,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[..., Answer], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Answer]:
        """The answers in the order of the tasks; `Unreadable` when a worker dies."""
        if self._pool is None:
            for arguments in tasks:
                yield function(self._bundle, *arguments)
            return
        waiting: deque[Future[Answer]] = deque()
        try:
            for arguments in tasks:
                waiting.append(self._pool.submit(_call, function, arguments))
                if len(waiting) >= AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise Unreadable("a worker process was ended from outside, perhaps for lack of memory") from None


def _begin(bundle: Bundle) -> None:
    global _bundle
    _bundle = bundle.reopened()  # a file's position is shared across a fork


def _call(function: Callable[..., Answer], arguments: tuple[Any, ...]) -> Answer:
    assert _bundle is not None
    return function(_bundle, *arguments)
