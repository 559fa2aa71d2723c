"""What a cell's text means: a quantity, a time, yes or no; or nothing that can be said exactly.

Everything here returns None rather than guess. A time that is known in part stays a part: no day, hour or zone
is filled in. SDTM writes ISO 8601 with a hyphen for each missing component (SDTMIG 3.4 section 4.4.2).
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ledger.domain.model import PartialTime

_QUANTITY = re.compile(
    r"(<=|>=|=<|=>|<|>|~|\u2264|\u2265)?\s*([+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(?:[eE][+-]?[0-9]{1,2})?)"
)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?")
_SIGNS = {"=<": "<=", "=>": ">=", "\u2264": "<=", "\u2265": ">="}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,8})")
_TIME = TypeAdapter(PartialTime)
_KNOWN_PART = re.compile(
    r"([0-9]{4})(?:-([0-9]{2}))?(?:-([0-9]{2})(?=T))?(?:T[0-9:-]*|-|--?(?:-[0-9]{2})?(?:T[0-9:-]*)?)"
)


class Quantity(NamedTuple):
    """An exact decimal with its comparator, and whether the text is written just so."""

    comparator: str | None
    value: str
    verbatim: bool


@lru_cache(maxsize=65_536)
def quantity(text: str) -> Quantity | None:
    """`<0.2` as (`<`, `0.2`); None where the text is no number."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    sign, digits = match.groups()
    value = digits if _DECIMAL.fullmatch(digits) else f"{Decimal(digits):f}"
    if not _DECIMAL.fullmatch(value):
        return None
    comparator = _SIGNS.get(sign, sign)
    return Quantity(comparator, value, text == (comparator or "") + value)


def integer(text: str) -> int | None:
    """A whole number of at most nine digits; None for any other text."""
    return int(text) if _INTEGER.fullmatch(text) else None


@lru_cache(maxsize=65_536)
def time(text: str) -> str | None:
    """The text, where it is a time of ISO 8601 as far as it is known; None otherwise."""
    try:
        return _TIME.validate_python(text)
    except ValidationError:
        return None


@lru_cache(maxsize=4096)
def known_part(text: str) -> str | None:
    """The part of a time before its first missing component: `2003---15` is 2003, `2003-12-15T13` that day."""
    match = _KNOWN_PART.fullmatch(text.strip())
    if match is None:
        return None
    return time("-".join(part for part in match.groups() if part))


def time_status(text: str | None) -> str:
    """`occurred_at_status`: a clock time without offset has a zone that is not known."""
    if text is None:
        return "unknown"
    clock = text.partition("T")[2]
    return "zone unknown" if clock and not re.search(r"Z|[+-]", clock) else "known"


def yes_or_no(text: str) -> bool | None:
    """Y or N, and what stands for them in data sets of numbers; None for anything else."""
    word = text.strip().upper()
    if word in ("Y", "YES", "1"):
        return True
    return False if word in ("N", "NO", "0") else None
