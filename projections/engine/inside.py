"""JSON texts, compared inside: by path, every value with its kind told apart.

Rules:
- a text is looked into where it holds a JSON object or array, each name once; any other text is one value;
- numbers are compared as they are written, never as floats; absent, null, "" and 0 are four things;
- lists are compared place by place, so that a path means the same place in every text compared;
- a path has names and places (`record.values.number[2].value`). Its *class* is what counts are made by: no deeper than
  two names below the column and never into a list (`record.values.number[]`), for what lies deeper may be somebody's
  words, and counts are kept for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any, Final

from projections.engine.definition import ANYTHING

Path = tuple[str | int, ...]


class Absent:
    """No value at all, not even null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()

MAX_DEPTH = 64
"""A text that nests deeper is one value; a statement's values are nested eight deep at most."""

CLASS_DEPTH = 2
"""Names of a path that counts tell apart: what a record has, and the catalogue's field."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Number(str):
    """A number as JSON writes it."""

    __slots__ = ()


def read(text: Any) -> Any:
    """The object or list that a text holds; ABSENT where it is none, or not JSON, or says a name twice."""
    if not isinstance(text, str) or text[:1] not in ("{", "["):
        return ABSENT
    try:
        found = json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=_each_once
        )
    except (ValueError, RecursionError):
        return ABSENT
    deep = text.count("{") + text.count("[") > MAX_DEPTH and _too_deep(found)
    return ABSENT if deep else found


def _too_deep(value: Any) -> bool:
    """Whether something is nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for held in level for one in (held.values() if isinstance(held, dict) else held)]
        level = [one for one in level if isinstance(one, (dict, list, tuple))]
        if not level:
            return False
    return True


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def plain(value: Any) -> Any:
    """A structure that code has made, as `read` gives it; ANYTHING stays. Raises ValueError for what is not JSON, or
    nested too deep."""
    if isinstance(value, (dict, list, tuple)) and _too_deep(value):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return _plain(value)


def _plain(value: Any) -> Any:
    if value is None or value is ANYTHING or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, float):
        return Number(json.dumps(value, allow_nan=False))
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _plain(one) for name, one in value.items()}
    raise ValueError(f"a {type(value).__name__} is not JSON")


def text_of(value: Any) -> str:
    """A value as canonical JSON: names in order, no spaces, numbers as they were written. ABSENT parts are left out,
    ANYTHING is written as the bare word, which no JSON is."""
    if value is ANYTHING:
        return "ANYTHING"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Number, int)):
        return str(value)
    if isinstance(value, str):
        written = encode_basestring(value)
        if written.isascii():
            return written
        return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", written)
    if isinstance(value, dict):
        inside = (f"{text_of(name)}:{text_of(value[name])}" for name in sorted(value) if value[name] is not ABSENT)
        return "{" + ",".join(inside) + "}"
    return "[" + ",".join(text_of(one) for one in value) + "]"


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same and of the same kind; a tuple and a list are."""
    if one is other:
        return True
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def differing(one: Any, other: Any, path: Path = ()) -> Iterator[Path]:
    """The paths at which two structures differ, each as deep as can be told; where one of them has ANYTHING, or lacks
    what the other declares as ANYTHING, they agree."""
    if one is ANYTHING or other is ANYTHING or same(one, other):
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from differing(one.get(name, ABSENT), other.get(name, ABSENT), (*path, name))
    elif isinstance(one, list) and isinstance(other, list):
        for place in range(max(len(one), len(other))):
            yield from differing(at(one, (place,)), at(other, (place,)), (*path, place))
    else:
        yield path


def at(value: Any, path: Path) -> Any:
    """What stands at a path; ABSENT where nothing does."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step, ABSENT)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def told(column: str, path: Path) -> str:
    """A path in full; names that are not plain stand quoted in brackets, so that no two paths are written alike."""
    return column + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if _NAME.fullmatch(step) else f"[{text_of(step)}]"
        for step in path
    )


def class_of(column: str, path: Path) -> str:
    """A path as counts know it: up to two names, up to the first list (`[]`). A name that is none of a program's is
    shown as `*`."""
    parts = [column]
    for step in path[: CLASS_DEPTH + 1]:
        if isinstance(step, int):
            parts.append("[]")
            break
        if len(parts) <= CLASS_DEPTH:
            parts.append(f".{step}" if _NAME.fullmatch(step) else ".*")
    return "".join(parts)
