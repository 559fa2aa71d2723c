"""Quantities exactly: decimals as strings, intervals where only a bound is known, units that convert or not.

No floats. A result such as `<0.2` is every number below 0.2; a comparison with it answers True or False only
when all of these agree, and None (*unknown*) otherwise. `~` says nothing that could decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,12})?", re.A)


@dataclass(frozen=True, slots=True)
class Interval:
    """Every number between `low` and `high`; None is no bound; `*_open` leaves the bound itself out."""

    low: Fraction | None
    high: Fraction | None
    low_open: bool = False
    high_open: bool = False

    @classmethod
    def exactly(cls, number: Fraction | int) -> Interval:
        """One number."""
        return cls(Fraction(number), Fraction(number))

    @property
    def is_exact(self) -> bool:
        """One number and no other."""
        return self.low is not None and self.low == self.high

    def times(self, factor: Fraction) -> Interval:
        """Every number multiplied by a positive factor."""
        return Interval(
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
            self.low_open,
            self.high_open,
        )

    def hull(self, other: Interval) -> Interval:
        """The smallest interval with both in it."""
        low, low_open = _wider(self.low, self.low_open, other.low, other.low_open, sign=1)
        high, high_open = _wider(self.high, self.high_open, other.high, other.high_open, sign=-1)
        return Interval(low, high, low_open, high_open)

    def __str__(self) -> str:
        if self.is_exact and self.low is not None:
            return shown(self.low)
        if self.low is None and self.high is None:
            return "unknown"
        if self.low is None and self.high is not None:
            return f"{'<' if self.high_open else '<='}{shown(self.high)}"
        if self.high is None and self.low is not None:
            return f"{'>' if self.low_open else '>='}{shown(self.low)}"
        assert self.low is not None and self.high is not None
        return f"{shown(self.low)} to {shown(self.high)}"


def _wider(
    one: Fraction | None, one_open: bool, other: Fraction | None, other_open: bool, sign: int
) -> tuple[Fraction | None, bool]:
    if one is None or other is None:
        return None, False
    if one == other:
        return one, one_open and other_open
    return (one, one_open) if (one < other) == (sign > 0) else (other, other_open)


def decimal(text: str) -> Fraction:
    """An exact decimal such as `0.5` or `-12`; no exponent, no leading zeros; ValueError otherwise."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a decimal such as 30 or 0.5")
    return Fraction(text)


def measured(text: str, comparator: str | None = None) -> Interval:
    """A reported value and its comparator as the numbers it may stand for."""
    number = decimal(text)
    if comparator is None or comparator == "":
        return Interval.exactly(number)
    bounds = {
        "<": Interval(None, number, high_open=True),
        "<=": Interval(None, number),
        ">": Interval(number, None, low_open=True),
        ">=": Interval(number, None),
        "~": Interval(None, None),
    }
    if not isinstance(comparator, str) or comparator not in bounds:
        raise ValueError(f"{comparator!r} is no comparator")
    return bounds[comparator]


def shown(number: Fraction) -> str:
    """The number as a decimal without trailing zeros, to six places where it has no end."""
    scaled = round(number * 10**6)
    whole, rest = divmod(abs(scaled), 10**6)
    digits = f"{rest:06d}".rstrip("0")
    return f"{'-' if scaled < 0 else ''}{whole}{'.' + digits if digits else ''}"


def is_less(one: Interval, other: Interval) -> bool | None:
    """one < other, where the bounds decide."""
    if one.high is not None and other.low is not None:
        if one.high < other.low or (one.high == other.low and (one.high_open or other.low_open)):
            return True
    if one.low is not None and other.high is not None and one.low >= other.high:
        return False
    return None


def is_at_most(one: Interval, other: Interval) -> bool | None:
    """one <= other, where the bounds decide."""
    more = is_less(other, one)
    return None if more is None else not more


def is_equal(one: Interval, other: Interval) -> bool | None:
    """one = other: True only for two exact numbers, False where they have no number in common."""
    if one.is_exact and other.is_exact:
        return one.low == other.low
    return False if is_less(one, other) or is_less(other, one) else None


class Units:
    """Conversions that the protocol declares, exactly; nothing else converts.

    `table` maps (from, to) to the factor, for one analyte or, under None, for every quantity.
    """

    def __init__(self, conversions: Mapping[str | None, Iterable[tuple[str, str, str]]]):
        self._factors: dict[tuple[str | None, str, str], Fraction] = {}
        for analyte, rows in conversions.items():
            for start, end, factor in rows:
                exact = decimal(factor)
                self._factors[analyte, start, end] = exact
                self._factors.setdefault((analyte, end, start), 1 / exact)

    def factor(self, start: str | None, end: str | None, analyte: str | None = None) -> Fraction | None:
        """What to multiply by to go from one unit to the other; None where they do not convert."""
        if start == end:
            return Fraction(1)
        if start is None or end is None:
            return None
        own = self._factors.get((analyte, start, end))
        return own if own is not None else self._factors.get((None, start, end))
