"""Nodes that yield values: as written, inputs, anchors, what an interpretation supplied."""

from __future__ import annotations

from ledger.protocol.dates import parse_time
from ledger.protocol.expression.base import Node, Quantity, Result, Run, Scope, Type, Value
from ledger.protocol.expression.picking import hull, picked, shown_value
from ledger.protocol.facts import value_at
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Interval, decimal, measured


class Text(Node):
    """Text as written; compared without case."""

    word = "text"

    def __init__(self, path: Path, text: str):
        super().__init__(path)
        self.text = text

    def check(self, scope: Scope) -> Type | None:
        return Type("text")

    def evaluate(self, run: Run) -> Result:
        return Result(self.text, self.text)


class Number(Node):
    """A decimal, with its unit after a blank where it has one: `30 10*9/L`."""

    word = "number"

    def __init__(self, path: Path, text: str):
        super().__init__(path)
        self.text = text

    def check(self, scope: Scope) -> Type | None:
        number, _, unit = self.text.partition(" ")
        try:
            decimal(number)
        except ValueError as error:
            scope.problem(self.path, str(error))
            return None
        if unit != unit.strip() or " " in unit:
            scope.problem(self.path, f"{self.text!r} is not a decimal and one unit")
            return None
        return Type("number", unit or None)

    def evaluate(self, run: Run) -> Result:
        number, _, unit = self.text.partition(" ")
        return Result(Quantity(Interval.exactly(decimal(number)), unit or None), self.text)


class Date(Node):
    """A date or time as written."""

    word = "date"

    def __init__(self, path: Path, text: str):
        super().__init__(path)
        self.text = text

    def check(self, scope: Scope) -> Type | None:
        try:
            parse_time(self.text)
        except ValueError as error:
            scope.problem(self.path, str(error))
            return None
        return Type("date")

    def evaluate(self, run: Run) -> Result:
        return Result(parse_time(self.text), self.text)


class InputValue(Node):
    """The value of an input, as far as the facts it picks agree."""

    word = "input"

    def __init__(self, path: Path, name: str):
        super().__init__(path)
        self.name = name

    def check(self, scope: Scope) -> Type | None:
        selector = scope.definition.inputs.get(self.name)
        if selector is None:
            scope.problem(self.path, f"there is no input {self.name}")
            return None
        if selector.pick == "all":
            scope.problem(self.path, f"{self.name} picks all facts; only count and recorded take it")
            return None
        return Type(selector.type, selector.unit, selector.analyte)

    def evaluate(self, run: Run) -> Result:
        return picked(run, self.name, run.definition.inputs[self.name], run.selection.input(self.name))


class AnchorTime(Node):
    """The time of an anchor."""

    word = "anchor"

    def __init__(self, path: Path, name: str):
        super().__init__(path)
        self.name = name

    def check(self, scope: Scope) -> Type | None:
        if self.name not in scope.definition.anchors:
            scope.problem(self.path, f"there is no anchor {self.name}")
            return None
        return Type("date")

    def evaluate(self, run: Run) -> Result:
        anchor = run.definition.anchors[self.name]
        for fact in run.selection.anchor(self.name).candidates:
            run.use(
                self.name,
                anchor.label,
                str(next(filter(None, (value_at(fact, f) for f in anchor.field)), "")),
                fact,
            )
        times = run.selection.anchor_times(self.name)
        if not times:
            return Result(None, anchor.label, (f"{anchor.label}: not recorded",))
        value: Value | None = times[0]
        for time in times[1:]:
            value = hull(value, time)
        if value is None:
            return Result(None, anchor.label, (f"{anchor.label}: its time is not known",))
        return Result(value, f"{anchor.label} {shown_value(value)}", (f"{anchor.label}: {shown_value(value)}",))


class Supplied(Node):
    """What an interpretation supplied: `AMB-10.further_analytes`; unknown while it is open or did not say."""

    word = "parameter"
    _kinds = {
        "text": "text",
        "choice": "text",
        "whole number": "number",
        "decimal": "number",
        "date": "date",
        "true or false": "boolean",
        "analytes": "analytes",
    }

    def __init__(self, path: Path, name: str):
        super().__init__(path)
        self.ambiguity, _, self.name = name.partition(".")

    def check(self, scope: Scope) -> Type | None:
        ambiguity = scope.definition.ambiguities.get(self.ambiguity)
        options = ambiguity.options.values() if ambiguity else ()
        found = {option.parameters[self.name].type for option in options if self.name in option.parameters}
        if not found:
            scope.problem(self.path, f"no option of {self.ambiguity} has a parameter {self.name or '(none named)'}")
            return None
        kinds = {self._kinds.get(type_) for type_ in found}
        if len(kinds) != 1 or None in kinds:
            scope.problem(self.path, f"{self.ambiguity}.{self.name} is a {' or '.join(sorted(found))}: no value here")
            return None
        return Type(kinds.pop())  # type: ignore[arg-type]

    def evaluate(self, run: Run) -> Result:
        chosen = run.reading(self.ambiguity)
        if chosen is None:
            return Result(None, because=(f"{self.ambiguity} has no signed interpretation",))
        value = chosen.parameters.get(self.name)
        if value is None:
            return Result(None, because=(f"the interpretation of {self.ambiguity} does not say {self.name}",))
        if isinstance(value, (list, tuple)):
            return Result(tuple(value), ", ".join(value))
        declared = run.definition.ambiguities[self.ambiguity].options[chosen.option].parameters[self.name].type
        if declared in ("decimal", "whole number"):
            return Result(Quantity(measured(str(value))), str(value))
        return Result(parse_time(value) if declared == "date" else value, str(value))
