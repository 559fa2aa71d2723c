"""Reads expressions: one word per node, in the table NODES; everything else is refused with what is possible.

A new kind of node is one class and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.protocol.expression import compare, logic, results, times, values
from ledger.protocol.expression.base import Broken, Node, Scope
from ledger.protocol.problems import Path

__all__ = ["parse"]


def parse(raw: Any, path: Path, scope: Scope) -> Node:
    """The tree of an expression; problems are noted in the scope, and a Broken node stands in their place."""
    if isinstance(raw, bool):
        return logic.Constant(path, raw)
    if isinstance(raw, dict) and len(raw) == 1:
        word, body = next(iter(raw.items()))
        reader = NODES.get(word)
        if reader is not None:
            return reader(body, (*path, word), scope)
        scope.problem(path, f"{word!r} is no word of expressions; there are {', '.join(sorted(NODES))}")
        return Broken(path)
    scope.problem(path, "an expression is true, false, or a mapping of exactly one word, such as {input: name}")
    return Broken(path)


Reader = Callable[[Any, Path, Scope], Node]


def _parts(make: Callable[[Path, list[Node]], Node]) -> Reader:
    def read(body: Any, path: Path, scope: Scope) -> Node:
        if not isinstance(body, list) or not body:
            scope.problem(path, "needs a list of expressions")
            return Broken(path)
        return make(path, [parse(part, (*path, place), scope) for place, part in enumerate(body)])

    return read


def _pair(make: Callable[[Path, Node, Node], Node]) -> Reader:
    def read(body: Any, path: Path, scope: Scope) -> Node:
        if not isinstance(body, list) or len(body) != 2:
            scope.problem(path, "needs a list of exactly two expressions")
            return Broken(path)
        return make(path, parse(body[0], (*path, 0), scope), parse(body[1], (*path, 1), scope))

    return read


def _one(make: Callable[[Path, Node], Node]) -> Reader:
    return lambda body, path, scope: make(path, parse(body, path, scope))


def _text(make: Callable[[Path, str], Node]) -> Reader:
    def read(body: Any, path: Path, scope: Scope) -> Node:
        if not isinstance(body, str) or not body.strip():
            scope.problem(path, "needs text (quote numbers and dates)")
            return Broken(path)
        return make(path, body)

    return read


def _fields(body: Any, path: Path, scope: Scope, needed: set[str], optional: frozenset[str] = frozenset()) -> bool:
    """Whether the body is a mapping of exactly these fields."""
    if not isinstance(body, dict):
        scope.problem(path, f"needs a mapping with {', '.join(sorted(needed))}")
        return False
    wrong = [f"lacks {name}" for name in sorted(needed - set(body))]
    wrong += [f"has an unknown field {name}" for name in body if name not in needed | optional]
    for message in wrong:
        scope.problem(path, message)
    return not wrong


def _between(make: Callable[[Path, Node, Node], Node]) -> Reader:
    def read(body: Any, path: Path, scope: Scope) -> Node:
        if not _fields(body, path, scope, {"from", "to"}):
            return Broken(path)
        return make(path, parse(body["from"], (*path, "from"), scope), parse(body["to"], (*path, "to"), scope))

    return read


def _if(body: Any, path: Path, scope: Scope) -> Node:
    if not _fields(body, path, scope, {"when", "then", "else"}):
        return Broken(path)
    return logic.If(path, *(parse(body[name], (*path, name), scope) for name in ("when", "then", "else")))


def _reading(body: Any, path: Path, scope: Scope) -> Node:
    if not _fields(body, path, scope, {"of", "options"}):
        return Broken(path)
    if not isinstance(body["of"], str) or not isinstance(body["options"], dict) or not body["options"]:
        scope.problem(path, "of is the id of an ambiguity, options a mapping from its options to expressions")
        return Broken(path)
    at = (*path, "options")
    branches = {name: parse(part, (*at, name), scope) for name, part in body["options"].items()}
    return logic.Reading(path, body["of"], branches)


def _one_of(body: Any, path: Path, scope: Scope) -> Node:
    if not _fields(body, path, scope, {"value", "of"}):
        return Broken(path)
    if not isinstance(body["of"], list) or not body["of"] or not all(isinstance(text, str) for text in body["of"]):
        scope.problem((*path, "of"), "needs a list of texts")
        return Broken(path)
    return compare.OneOf(path, parse(body["value"], (*path, "value"), scope), body["of"])


def _exceeds(body: Any, path: Path, scope: Scope) -> Node:
    if not _fields(body, path, scope, {"inputs", "factor"}, frozenset({"also"})):
        return Broken(path)
    inputs, factor = body["inputs"], body["factor"]
    if not isinstance(inputs, list) or not inputs or not all(isinstance(name, str) for name in inputs):
        scope.problem((*path, "inputs"), "needs a list of names of inputs")
        return Broken(path)
    if not isinstance(factor, str):
        scope.problem((*path, "factor"), "needs a quoted decimal")
        return Broken(path)
    also = parse(body["also"], (*path, "also"), scope) if "also" in body else None
    if also is not None and not isinstance(also, values.Supplied):
        scope.problem((*path, "also"), "needs {parameter: ...} with further analytes")
        return Broken(path)
    return results.AnyResultExceedsUln(path, inputs, factor, also)


NODES: dict[str, Reader] = {
    "all": _parts(logic.All),
    "any": _parts(logic.AnyOf),
    "not": _one(logic.Not),
    "if": _if,
    "reading": _reading,
    "first_known": _parts(logic.FirstKnown),
    "text": _text(values.Text),
    "number": _text(values.Number),
    "date": _text(values.Date),
    "input": _text(values.InputValue),
    "anchor": _text(values.AnchorTime),
    "parameter": _text(values.Supplied),
    "less_than": _pair(compare.LessThan),
    "at_most": _pair(compare.AtMost),
    "more_than": _pair(compare.MoreThan),
    "at_least": _pair(compare.AtLeast),
    "before": _pair(compare.Before),
    "after": _pair(compare.After),
    "not_before": _pair(compare.NotBefore),
    "not_after": _pair(compare.NotAfter),
    "equals": _pair(compare.Equals),
    "in": _one_of,
    "completed_years": _between(times.CompletedYears),
    "months_between": _between(times.MonthsBetween),
    "days_between": _between(times.DaysBetween),
    "hours_between": _between(times.HoursBetween),
    "recorded": _text(results.Recorded),
    "known": _one(results.Known),
    "count": _text(results.CountOf),
    "positive": _text(results.Positive),
    "any_result_exceeds_uln": _exceeds,
}
