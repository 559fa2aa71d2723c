"""What every part of a protocol file is built of: strict, frozen models, tables keyed by id, checked text.

Unknown fields are refused, nothing is converted (a number is no text), quantities and durations are text in
a checked form. A table is a mapping in the file's order; each entry knows its key as `id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from ledger.protocol.dates import parse_duration, parse_time
from ledger.protocol.quantities import decimal

T = TypeVar("T")

MAX_TEXT = 20_000  # characters; the longest paragraph of a registry record has a few thousand
MAX_NAME = 300  # characters of a label or title line


class Part(BaseModel):
    """A part of the protocol file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class Entry(Part):
    """A part that stands in a table; `id` is its key there, never a field of its own in the file."""

    id: str = Field(exclude=True)


class Table(Mapping[str, T], Generic[T]):
    """Entries by id, in the order of the file; cannot be changed."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, T]):
        self._entries = dict(entries)

    def __getitem__(self, key: str) -> T:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Table({self._entries!r})"


def _with_ids(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key, entry in value.items():
        if isinstance(entry, Mapping) and "id" in entry:
            raise ValueError(f"{key}: its key is its id; it has no field 'id' of its own")
    return {key: {**entry, "id": key} if isinstance(entry, Mapping) else entry for key, entry in value.items()}


def _checked(check: Callable[[str], Any]) -> AfterValidator:
    def validate(value: str) -> str:
        check(value)
        return value

    return AfterValidator(validate)


def _not_blank(value: str) -> None:
    if not value.strip():
        raise ValueError("is blank: say it, or leave the field out")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_or_listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else _listed(value)


def _date(value: str) -> None:
    if "T" in value:
        raise ValueError(f"{value!r} is not YYYY, YYYY-MM or YYYY-MM-DD")
    parse_time(value)


def _positive_decimal(value: str) -> None:
    if decimal(value) <= 0:
        raise ValueError(f"{value!r} is not more than 0")


def _forward(value: str) -> None:
    if parse_duration(value).rough_seconds < 0:
        raise ValueError(f"{value!r} runs backwards; a length is not negative")


def _zone(value: str) -> None:
    if not re.fullmatch(r"UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2}", value, re.A):
        raise ValueError(f"{value!r} is not an IANA time zone such as Asia/Shanghai")


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,59}$")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME), _checked(_not_blank)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), _checked(_not_blank)]
StudyId = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{3,32}$")]
EventName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{2,59}$")]
FieldPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_ -]{1,60}(\.[A-Za-z0-9_ -]{1,60}){0,4}$")]
Decimal = Annotated[str, _checked(decimal)]
PositiveDecimal = Annotated[str, _checked(_positive_decimal)]
Unit = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,40}$")]
"""A unit in UCUM notation; compared as written, converted only as the file declares."""
Offset = Annotated[str, _checked(parse_duration)]
"""An ISO 8601 duration, backwards with a leading minus."""
Length = Annotated[str, _checked(_forward)]
"""An ISO 8601 duration that is not negative."""
Date = Annotated[str, _checked(_date)]
"""A date as far as the record gives it."""
Zone = Annotated[str, _checked(_zone)]
Items = Annotated[tuple[T, ...], BeforeValidator(_listed)]
OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_one_or_listed), Field(min_length=1)]
"""A list, or one text standing for a list of one."""
Entries = Annotated[Mapping[Id, T], BeforeValidator(_with_ids), AfterValidator(Table)]
"""A table of entries by id."""
Keyed = Annotated[Mapping[Id, T], AfterValidator(Table)]
"""A mapping whose values are no entries of their own."""
Count = Annotated[int, Field(ge=0, le=1_000_000)]
