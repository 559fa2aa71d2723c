"""From the facts that a selector picked to one value, as far as they agree.

Rules: every candidate must state a usable value; numbers and dates become the range over all candidates,
anything else must be the same. Quantities are converted to the selector's unit, or are not usable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ledger.protocol.dates import PartialTime, parse_time
from ledger.protocol.expression.base import Quantity, Result, Run, Value
from ledger.protocol.facts import Chosen, Seen, plain, value_at
from ledger.protocol.model.criteria import Input
from ledger.protocol.quantities import Interval, measured


def picked(run: Run, name: str, selector: Input, chosen: Chosen) -> Result:
    """The value of the facts that a selector picked, as far as they agree."""
    values = []
    for fact in chosen.candidates:
        value, complaint = converted(run, selector, fact)
        run.use(name, selector.label, shown_value(value) if value is not None else complaint or "not stated", fact)
        values.append(value)
    agreed, why = _agreed(selector, chosen, values)
    if agreed is None:
        return Result(None, selector.label, why)
    shown = shown_value(agreed)
    return Result(agreed, f"{selector.label} {shown}", (f"{selector.label}: {shown}",))


def shown_value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.text if isinstance(value, PartialTime) else str(value)


def converted(run: Run, selector: Input, fact: Seen) -> tuple[Value | None, str | None]:
    """The value that a fact states for a selector, in the selector's unit; else None and what is wrong."""
    raw = value_at(fact, selector.field)
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return None, None
    if selector.type == "boolean":
        return (raw, None) if isinstance(raw, bool) else (None, f"{raw!r} is neither yes nor no")
    if selector.type == "text":
        if isinstance(raw, str) and plain(raw) in {plain(word) for word in selector.not_known}:
            return None, raw
        return (raw.strip(), None) if isinstance(raw, str) else (None, f"{raw!r} is not text")
    try:
        if selector.type == "date":
            return parse_time(raw.strip() if isinstance(raw, str) else ""), None
        return _quantity(run, selector, fact, raw), None
    except ValueError as error:
        return None, str(error)


def _quantity(run: Run, selector: Input, fact: Seen, raw: Any) -> Quantity:
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        raise ValueError(f"{raw!r} is not a decimal")
    comparator = value_at(fact, selector.comparator_field) if selector.comparator_field else None
    if comparator is not None and not isinstance(comparator, str):
        raise ValueError(f"{comparator!r} is no comparator")
    number = measured(str(raw).strip(), comparator)
    if not selector.unit_field:
        return Quantity(number, selector.unit, selector.analyte)
    factor = factor_to(run, selector.unit, value_at(fact, selector.unit_field), fact, selector.analyte)
    return Quantity(number.times(factor), selector.unit, selector.analyte)


def factor_to(run: Run, unit: str | None, stated: Any, fact: Seen, analyte: str | None) -> Fraction:
    """What to multiply a stated quantity by to have it in `unit`; ValueError where it does not convert."""
    if not isinstance(stated, str) or not stated.strip():
        raise ValueError("stated without a unit")
    factor = run.units.factor(run.unit_of(stated, fact.content), unit, analyte)
    if factor is None:
        raise ValueError(f"the unit {stated} does not convert to {unit}")
    return factor


def _agreed(selector: Input, chosen: Chosen, values: list[Value | None]) -> tuple[Value | None, tuple[str, ...]]:
    """What all candidates agree on, or None and why not."""
    label = selector.label
    if not chosen.candidates:
        return None, (f"{label}: nothing is recorded",)
    if not chosen.sure and selector.pick != "any":
        return None, (f"{label}: whether index {chosen.possible[0].index} is meant cannot be decided",)
    if selector.pick == "any":
        return _any_of(label, chosen, values)
    if None in values:
        index = chosen.candidates[values.index(None)].index
        return None, (f"{label}: index {index} states no value that can be used",)
    if selector.pick in ("lowest", "highest"):
        return _extreme(selector, chosen, values), ()
    value = values[0]
    for other in values[1:]:
        value = hull(value, other)
    if value is None:
        places = ", ".join(str(fact.index) for fact in chosen.candidates)
        return None, (f"{label}: which of index {places} is the {selector.pick} cannot be decided",)
    return value, ()


def _any_of(label: str, chosen: Chosen, values: list[Value | None]) -> tuple[Value | None, tuple[str, ...]]:
    sure = values[: len(chosen.sure)]
    if True in sure:
        return True, ()
    if None in values or True in values or not sure:
        return None, (f"{label}: not every record says yes or no",)
    return False, ()


def _extreme(selector: Input, chosen: Chosen, values: list[Value | None]) -> Value | None:
    lowest = selector.pick == "lowest"
    value = _outermost([known for known in values[: len(chosen.sure)] if known is not None], lowest)
    return hull(value, _outermost([known for known in values if known is not None], lowest))


def _outermost(values: Iterable[Value], lowest: bool) -> Value | None:
    found: Value | None = None
    for value in values:
        found = value if found is None else _further(found, value, lowest)
    return found


def _further(one: Value, other: Value, lowest: bool) -> Value:
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        choose = min if lowest else max
        a, b = one.interval, other.interval
        low = _end([(a.low, a.low_open), (b.low, b.low_open)], choose, none_wins=lowest)
        high = _end([(a.high, a.high_open), (b.high, b.high_open)], choose, none_wins=not lowest)
        return replace(one, interval=Interval(low[0], high[0], low[1], high[1]))
    assert isinstance(one, PartialTime) and isinstance(other, PartialTime)
    if lowest:
        return one if one.first <= other.first else other
    return one if one.last >= other.last else other


def _end(ends: list[tuple[Fraction | None, bool]], choose: Any, none_wins: bool) -> tuple[Fraction | None, bool]:
    known = [end for end in ends if end[0] is not None]
    if not known or (none_wins and len(known) < len(ends)):
        return None, False
    best = choose(end[0] for end in known)
    return best, all(is_open for value, is_open in known if value == best)


def hull(one: Value | None, other: Value | None) -> Value | None:
    """The range over two values of which either may be meant; None where they differ otherwise."""
    if one is None or other is None:
        return None
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return replace(one, interval=one.interval.hull(other.interval))
    if isinstance(one, PartialTime) and isinstance(other, PartialTime):
        if one == other:
            return one
        if one.offset != other.offset:
            return None
        text = f"{min(one.text, other.text)} or {max(one.text, other.text)}"
        return PartialTime(text, min(one.first, other.first), max(one.last, other.last), one.offset)
    if isinstance(one, str) and isinstance(other, str):
        return one if one.casefold() == other.casefold() else None
    return one if one == other else None
