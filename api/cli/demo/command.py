"""`trial-ledger demo`: the seed trial's course in a ledger of its own, then the server to look around in.

The home is temporary and goes when the command ends, however that is asked for: at the end, by Ctrl-C, by
SIGTERM or SIGHUP, by an error. The server, its projector and its database end with this process, even where it
is killed: they read a pipe that it holds.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from api.cli.output import Json, console, talk
from api.cli.serve import server_process

ENDINGS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask for an end; Windows has no SIGHUP."""
REDRAW_SECONDS = 2.0
"""Without a terminal, how often a line of progress is printed."""


def demo(
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the summary.")] = False,
    json_: Json = False,
) -> None:
    """Play the seed trial's published course over HTTP in a fresh ledger, sum it up, then serve it."""
    with contextlib.suppress(KeyboardInterrupt), _ending_by_signal(), temporary_home() as home:
        _play(home, json_, serve=not no_serve)


def _play(home: Path, json_: bool, serve: bool) -> None:
    begun = time.monotonic()
    with Progress() as progress:
        progress("Starting a ledger with an embedded database", 0)
        with server_process(home) as served:
            from api.cli.demo.playing import play  # loaded while the server starts

            play(served, home, progress, begun, json_, serve)


class Progress:
    """What is playing and how many events are recorded: a moving line on a terminal, else a line at times."""

    def __init__(self) -> None:
        self._console: Console = console
        self._status: Status | None = None
        self._said = 0.0

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __call__(self, chapter: str, events: int) -> None:
        line = f"{chapter} ({events} events)" if events else chapter
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() - self._said >= REDRAW_SECONDS:
            self._said = time.monotonic()
            talk(line)

    def end(self) -> None:
        """Clear the moving line."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A fresh home that goes with the command."""
    home = Path(tempfile.mkdtemp(prefix="trial-ledger-demo-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if home.exists():
            sys.stderr.write(f"{home} could not be removed altogether; remove it by hand.\n")


@contextlib.contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Turn signals that ask for an end into KeyboardInterrupt, so that everything is let go of in order."""

    def end(number: int, frame: FrameType | None) -> None:
        for name in ENDINGS:  # the first one is obeyed; those that follow would only interrupt the clearing up
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {name: signal.signal(getattr(signal, name), end) for name in ENDINGS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
