"""Faults that a test puts into the running ledger: where it fails, and whether the work was done anyway.

A Fault takes the place of one of the ledger's own functions, fails as often as asked and then does the work
again. It cuts the connection that it was given, and raises what the driver raises then, so that an error walks
the whole way that it walks in earnest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from ledger.signer import LogSigner
from ledger.store import evidence, statements
from ledger.writer import StudyWriter


def cut_off() -> Exception:
    """What psycopg raises when the server is gone in the middle of something."""
    return psycopg.OperationalError("server closed the connection unexpectedly")


@dataclass
class Fault:
    """Fails the first `times` calls of a function: before its work, or (`persisted`) after it."""

    function: Callable[..., Any]
    persisted: bool
    times: int = 1
    error: Callable[[], Exception] = cut_off
    happened: int = 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.happened == self.times:
            return self.function(*given, **named)
        self.happened += 1
        if self.persisted:
            self.function(*given, **named)
        for connection in (one for one in given if isinstance(one, psycopg.Connection)):
            with suppress(psycopg.Error):
                connection.close()
        raise self.error()


PLACES: dict[str, tuple[Any, str]] = {
    "taking the head's lock": (statements, "begin_append"),
    "loading a subject": (statements, "select_aggregate"),
    "inserting and committing": (statements, "finish_append"),
    "reading what to sign": (evidence, "begin_signing"),
    "reading the entries to sign": (LogSigner, "_recompute"),
    "writing the signer's state": (LogSigner, "_write"),
    "completing tiles": (LogSigner, "_complete"),
    "releasing the checkpoint": (evidence, "insert_checkpoint"),
    "making the receipt": (StudyWriter, "_with_receipt"),
}
"""Where it fails, in the order of a statement's life: the function that fails there."""


def put(monkeypatch: pytest.MonkeyPatch, where: str, persisted: bool, **more: Any) -> Fault:
    """Put a fault there; returns it, so that the test can see that it happened."""
    owner, name = PLACES[where]
    fault = Fault(getattr(owner, name), persisted, **more)

    def replaced(*given: Any, **named: Any) -> Any:
        return fault(*given, **named)

    monkeypatch.setattr(owner, name, replaced)
    return fault
