"""Waiting for what the ledger does by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 60.0
"""How long a slow machine may take; nothing is asserted about how fast it is."""


def wait_until(done: Callable[[], Any], what: str, patience: float = PATIENCE_SECONDS) -> Any:
    """Wait until `done()` is true, and return that; fails with `what` did not happen."""
    deadline = time.monotonic() + patience
    while not (value := done()):
        assert time.monotonic() < deadline, f"{what} did not happen by itself"
        time.sleep(0.02)
    return value
