"""Nodes that measure time between two moments: completed years, calendar months, days, hours.

A partial date gives a range; whole and part months are counted, so that six months and a day are more than 6.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import ClassVar

from ledger.protocol.dates import PartialTime, completed_years, months_between
from ledger.protocol.expression.base import Node, Quantity, Result, Run, Scope, Type, merged
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Interval, shown


class Between(Node):
    """A length of time from one moment to another."""

    unit: ClassVar[str]

    def __init__(self, path: Path, start: Node, end: Node):
        super().__init__(path)
        self.start = start
        self.end = end

    def check(self, scope: Scope) -> Type | None:
        found = [self.expect(scope, part, "date") for part in (self.start, self.end)]
        return None if None in found else Type("number")

    def evaluate(self, run: Run) -> Result:
        start, end = self.start.evaluate(run), self.end.evaluate(run)
        if not isinstance(start.value, PartialTime) or not isinstance(end.value, PartialTime):
            unknown = [result for result in (start, end) if result.value is None]
            return Result(None, because=merged(unknown))
        interval = self.measure(run, start.value, end.value)
        said = f"{_rounded(interval)} {self.unit} from {start.shown} to {end.shown}"
        return Result(Quantity(interval), said, merged([start, end]))

    def measure(self, run: Run, start: PartialTime, end: PartialTime) -> Interval:
        """The length, from the shortest to the longest it may be."""
        return Interval(self.length(start.dates[1], end.dates[0]), self.length(start.dates[0], end.dates[1]))

    def length(self, start: date, end: date) -> Fraction:
        """The length between two dates."""
        raise NotImplementedError


def _rounded(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return str(interval)
    low, high = shown(round(interval.low, 2)), shown(round(interval.high, 2))
    return low if low == high else f"{low} to {high}"


class CompletedYears(Between):
    """Birthdays passed."""

    word, unit = "completed_years", "completed years"

    def length(self, start: date, end: date) -> Fraction:
        return Fraction(completed_years(start, end))


class MonthsBetween(Between):
    """Calendar months, whole and part."""

    word, unit = "months_between", "months"

    def length(self, start: date, end: date) -> Fraction:
        return months_between(start, end)


class DaysBetween(Between):
    """Calendar days."""

    word, unit = "days_between", "days"

    def length(self, start: date, end: date) -> Fraction:
        return Fraction((end - start).days)


class HoursBetween(Between):
    """Hours by the clock."""

    word, unit = "hours_between", "hours"

    def measure(self, run: Run, start: PartialTime, end: PartialTime) -> Interval:
        first, last = start.instants(run.zone)
        other_first, other_last = end.instants(run.zone)
        shortest, longest = other_first - last, other_last - first
        return Interval(
            Fraction(shortest.days * 24) + Fraction(shortest.seconds, 3600),
            Fraction(longest.days * 24) + Fraction(longest.seconds + 1, 3600),
        )
