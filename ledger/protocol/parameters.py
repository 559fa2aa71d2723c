"""Whether what an interpretation supplies fits what its option asks for; samples for trying options out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ledger.protocol.model import Definition
from ledger.protocol.model.base import Count, Date, Decimal, Length, Text, Zone
from ledger.protocol.model.interpretation import Parameter

_FORMS: dict[str, tuple[TypeAdapter[Any], str]] = {
    "text": (TypeAdapter(Text), "text that is not blank"),
    "whole number": (TypeAdapter(Count), "a whole number from 0 to 1,000,000"),
    "decimal": (TypeAdapter(Decimal), "a decimal as text, such as '0.5'"),
    "duration": (TypeAdapter(Length), "an ISO 8601 duration such as P4W"),
    "date": (TypeAdapter(Date), "a date, YYYY-MM-DD"),
    "true or false": (TypeAdapter(bool), "true or false"),
    "time zone": (TypeAdapter(Zone), "an IANA time zone such as Asia/Shanghai"),
}


def complaints(
    definition: Definition, ambiguity: str, option: str, supplied: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(parameter or empty, what is wrong) for one interpretation."""
    found = definition.ambiguities.get(ambiguity)
    if found is None:
        yield "", "the protocol has no such ambiguity"
        return
    chosen = found.options.get(option)
    if chosen is None:
        yield "", f"there is no option {option}; there are {', '.join(found.options)}"
        return
    for name in supplied:
        if name not in chosen.parameters:
            yield name, f"the option {option} asks for no such parameter"
    for name, parameter in chosen.parameters.items():
        if supplied.get(name) is None:
            if parameter.required or name in supplied:
                yield name, f"must be supplied: {parameter.label}"
        elif not _fits(definition, parameter, supplied[name]):
            yield name, f"needs {_wanted(definition, parameter)}, and {supplied[name]!r} is none"


def _fits(definition: Definition, parameter: Parameter, value: Any) -> bool:
    if parameter.type == "choice":
        return isinstance(value, str) and value in parameter.choices
    if parameter.type == "analytes":
        return isinstance(value, (list, tuple)) and all(
            isinstance(key, str) and key in definition.analytes for key in value
        )
    try:
        _FORMS[parameter.type][0].validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _wanted(definition: Definition, parameter: Parameter) -> str:
    if parameter.type == "choice":
        return f"one of {', '.join(parameter.choices)}"
    if parameter.type == "analytes":
        return f"a list out of {', '.join(definition.analytes)}"
    return _FORMS[parameter.type][1]


def sample(definition: Definition, parameter: Parameter, turn: int) -> Any:
    """A value that fits, for trying an option out; successive turns go through all choices."""
    makers: dict[str, Callable[[], Any]] = {
        "text": lambda: "as supplied",
        "whole number": lambda: 1,
        "decimal": lambda: "1",
        "duration": lambda: "P1D",
        "date": lambda: "2000-01-01",
        "true or false": lambda: turn % 2 == 0,
        "time zone": lambda: "UTC",
        "choice": lambda: parameter.choices[turn % len(parameter.choices)],
        "analytes": lambda: list(definition.analytes)[:1],
    }
    return makers[parameter.type]()
