"""Folding makes many small objects that all stay: the garbage collector, left alone, looks through them again and again
(measured: a quarter of the time). Nothing here makes cycles worth looking for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (100_000, 20, 50)
"""Allocations between two looks, instead of 700: a batch of events makes about as many."""


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """The collector looks rarely while this lasts, then as before. For a process of its own, or one thread's work."""
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
