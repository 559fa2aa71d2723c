"""Values of several subjects in a few numbers, exactly: decimals and ranges, never floats.

Rules: a value such as `<50` is every number below 50, and takes part as that; a mean or median is then the range
that it can have. What is lacking is not zero: without values there is no mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ledger.protocol.quantities import Interval

Bound = tuple[Fraction | None, bool]
"""An end of a range, None for none, and whether the end itself is left out."""


def summary(values: Sequence[Interval]) -> dict[str, Any]:
    """{"n", "mean", "median", "lowest", "highest"}: texts such as `31.4`, `<50`, `2 to 5`, a fraction
    without end to six places; None without values."""
    if not values:
        return {"n": 0, "mean": None, "median": None, "lowest": None, "highest": None}
    return {
        "n": len(values),
        "mean": str(mean(values)),
        "median": str(median(values)),
        "lowest": str(_from_ends(min(map(_low, values), key=_rank), min(map(_high, values), key=_rank_high))),
        "highest": str(_from_ends(max(map(_low, values), key=_rank), max(map(_high, values), key=_rank_high))),
    }


def mean(values: Sequence[Interval]) -> Interval:
    """The range of the mean."""
    count = len(values)

    def over(bounds: list[Bound]) -> Bound:
        if any(bound is None for bound, _ in bounds):
            return None, False
        total = sum((bound for bound, _ in bounds if bound is not None), Fraction(0))
        return total / count, any(is_open for _, is_open in bounds)

    return _from_ends(over([_low(value) for value in values]), over([_high(value) for value in values]))


def median(values: Sequence[Interval]) -> Interval:
    """The range of the median; of an even number the mean of the two in the middle."""
    lows = sorted(map(_low, values), key=_rank)
    highs = sorted(map(_high, values), key=_rank_high)
    middle = sorted({(len(values) - 1) // 2, len(values) // 2})
    return mean([_from_ends(lows[place], highs[place]) for place in middle])


def difference(value: Interval, start: Interval) -> Interval:
    """The range of value minus start."""
    return Interval(
        None if value.low is None or start.high is None else value.low - start.high,
        None if value.high is None or start.low is None else value.high - start.low,
        value.low_open or start.high_open,
        value.high_open or start.low_open,
    )


def _low(value: Interval) -> Bound:
    return value.low, value.low_open


def _high(value: Interval) -> Bound:
    return value.high, value.high_open


def _rank(bound: Bound) -> tuple[bool, Fraction, bool]:
    """Order of lower ends: without end first, then by number, the closed before the open."""
    return bound[0] is not None, bound[0] or Fraction(0), bound[1]


def _rank_high(bound: Bound) -> tuple[bool, Fraction, bool]:
    """Order of upper ends: by number, the open before the closed, without end last."""
    return bound[0] is None, bound[0] or Fraction(0), not bound[1]


def _from_ends(low: Bound, high: Bound) -> Interval:
    return Interval(low[0], high[0], low[1], high[1])
