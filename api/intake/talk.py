"""What an import says while it works: on stderr, a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

QUIET_SECONDS = 2.0
"""What is done sooner needs no progress; lines come no more often than this."""


class Listener(Protocol):
    """Who hears what an import does."""

    def say(self, text: str) -> None:
        """One sentence for people."""

    def advance(self, done: int, total: int) -> None:
        """So many rows of so many are dealt with; called often."""


class Talk:
    """Speaks on stderr. `close` it, or use it as a context."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._terminal = self._console.is_terminal
        self._clock = clock
        self._began = self._last = -1.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """One sentence, above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def advance(self, done: int, total: int) -> None:
        """Draw the bar, or print a line when two seconds have passed since the last."""
        if self._terminal:
            if self._bar is None:
                self._bar = Progress(
                    TextColumn("rows"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    console=self._console,
                )
                self._task = self._bar.add_task("rows", total=total)
                self._bar.start()
            assert self._task is not None
            self._bar.update(self._task, completed=done, total=total)
            return
        now = self._clock()
        if self._began < 0:
            self._began = self._last = now
        if now - self._last >= QUIET_SECONDS:
            self._last = now
            rate = done / max(now - self._began, 1e-9)
            left = (total - done) / rate if rate else 0
            self._console.print(
                f"{done:,} of {total:,} rows, {rate:,.0f} a second, about {left:,.0f} s left", highlight=False
            )

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
