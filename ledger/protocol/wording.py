"""What pydantic found wrong with the form of a file, in plain words."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ledger.protocol.problems import Path

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is no field here; the name is wrong, or it belongs elsewhere",
    "string_type": "needs text; quote numbers and dates",
    "int_type": "needs a whole number",
    "bool_type": "needs true or false",
    "tuple_type": "needs a list",
    "dict_type": "needs a mapping of names to entries",
    "mapping_type": "needs a mapping of names to entries",
    "model_type": "needs a mapping of fields",
    "model_attributes_type": "needs a mapping of fields",
}


def in_words(error: ValidationError) -> list[tuple[Path, str]]:
    """Every defect with its path."""
    return [(_path(found["loc"]), _message(found)) for found in error.errors(include_url=False)]


def _path(loc: tuple[str | int, ...]) -> Path:
    return tuple(part for part in loc if part != "[key]")


def _message(found: ErrorDetails) -> str:
    kind, given, details = found["type"], found["input"], found.get("ctx", {})
    if "[key]" in found["loc"]:
        return f"the name {given!r} is not letters, digits, - and _, beginning with a letter"
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "literal_error":
        return f"{given!r} is not one of {details['expected']}"
    if kind == "string_pattern_mismatch":
        return f"{given!r} does not have the form {details['pattern']}"
    if kind == "string_too_long":
        return f"is longer than {details['max_length']:,} characters"
    if kind in ("too_short", "too_long"):
        wanted = details.get("min_length", details.get("max_length"))
        return f"has {details['actual_length']} entries where {wanted} are needed"
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{given!r} is out of range: {found['msg'].lower()}"
    return found["msg"].removeprefix("Value error, ")
