"""The time that a trial runs by: a clock that the test turns, or the wall's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

FIRST_MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
"""A Monday: trials open on working days."""


class Clock(Protocol):
    """Gives the time, aware; called like a function."""

    def __call__(self) -> datetime:
        """The time now."""


class WallClock:
    """The machine's own clock."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True)
class TurnedClock:
    """Stands still until it is turned; never runs backwards."""

    now: datetime = FIRST_MORNING

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **span: Any) -> datetime:
        """Turn it on by so many `days`, `hours`, `minutes`, `seconds`; returns the new time."""
        self.now += timedelta(**span)
        return self.now

    def tick(self) -> None:
        """One second on: two statements are never signed in the same moment."""
        self.now += timedelta(seconds=1)
