"""Nodes about facts and results: is there one, how many, is it positive, does it exceed its own range."""

from __future__ import annotations

from ledger.protocol.expression.base import Node, Quantity, Result, Run, Scope, Type, merged
from ledger.protocol.expression.picking import converted, factor_to
from ledger.protocol.expression.values import Supplied
from ledger.protocol.facts import Seen, plain, value_at
from ledger.protocol.model.criteria import Input
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Interval, decimal, is_less, measured

RANGE_FIELD = "reference_range"
"""Where a laboratory result states its own reference range: `{low, high, unit}`."""


class AboutInput(Node):
    """A node that takes an input by its name."""

    def __init__(self, path: Path, name: str):
        super().__init__(path)
        self.name = name

    def selector(self, scope: Scope) -> Input | None:
        """The input; notes a problem where there is none."""
        found = scope.definition.inputs.get(self.name)
        if found is None:
            scope.problem(self.path, f"there is no input {self.name}")
        return found


class Recorded(AboutInput):
    """At least one such fact is recorded; says nothing about what was never asked."""

    word = "recorded"

    def check(self, scope: Scope) -> Type | None:
        return Type("boolean") if self.selector(scope) else None

    def evaluate(self, run: Run) -> Result:
        label = run.definition.inputs[self.name].label
        chosen = run.selection.input(self.name)
        for fact in chosen.candidates:
            run.use(self.name, label, "recorded", fact)
        if chosen.sure:
            return Result(True, because=(f"{label}: recorded",))
        if chosen.possible:
            return Result(None, because=(f"{label}: whether index {chosen.possible[0].index} counts is not known",))
        return Result(False, because=(f"{label}: nothing is recorded",))


class CountOf(AboutInput):
    """How many such facts are recorded."""

    word = "count"

    def check(self, scope: Scope) -> Type | None:
        return Type("number") if self.selector(scope) else None

    def evaluate(self, run: Run) -> Result:
        label = run.definition.inputs[self.name].label
        chosen = run.selection.input(self.name)
        for fact in (*chosen.sure, *chosen.possible):
            run.use(self.name, label, "recorded", fact)
        low, more = len(chosen.sure), len(chosen.possible)
        number = Interval.exactly(low).hull(Interval.exactly(low + more))
        return Result(Quantity(number), f"the number of {label}, {number},")


class Known(Node):
    """The part has a value; always yes or no."""

    word = "known"

    def __init__(self, path: Path, part: Node):
        super().__init__(path)
        self.part = part

    def check(self, scope: Scope) -> Type | None:
        return Type("boolean") if self.part.check(scope) else None

    def evaluate(self, run: Run) -> Result:
        result = self.part.evaluate(run)
        return Result(result.value is not None, because=result.because)


class Positive(AboutInput):
    """A result in words is positive, by the words that its analyte declares; other words decide nothing."""

    word = "positive"

    def check(self, scope: Scope) -> Type | None:
        found = self.selector(scope)
        if found is None:
            return None
        analyte = scope.definition.analytes.get(found.analyte or "")
        if found.type != "text" or analyte is None or analyte.words is None or found.pick not in ("first", "last"):
            scope.problem(self.path, f"{self.name} is no result in words of an analyte that declares them")
            return None
        return Type("boolean")

    def evaluate(self, run: Run) -> Result:
        selector = run.definition.inputs[self.name]
        words = run.definition.analytes[selector.analyte or ""].words
        assert words is not None, "checked when the file was loaded"
        chosen = run.selection.input(self.name)
        if not chosen.candidates:
            return Result(None, because=(f"{selector.label}: nothing is recorded",))
        answers: set[bool | None] = set()
        said = []
        for fact in chosen.candidates:
            value, _ = converted(run, selector, fact)
            text = value if isinstance(value, str) else ""
            run.use(self.name, selector.label, text or "not stated", fact)
            said.append(text or "not stated")
            answers.add(_by_words(text, words.positive, words.negative))
        answer = answers.pop() if len(answers) == 1 and chosen.sure else None
        decides = "" if answer is not None else ", which is neither positive nor negative for certain"
        return Result(answer, because=(f"{selector.label}: {' or '.join(dict.fromkeys(said))}{decides}",))


def _by_words(text: str, positive: tuple[str, ...], negative: tuple[str, ...]) -> bool | None:
    if plain(text) in {plain(word) for word in positive}:
        return True
    return False if plain(text) in {plain(word) for word in negative} else None


class AnyResultExceedsUln(Node):
    """At least one result lies above `factor` times the upper limit that its own laboratory states with it.

    `inputs` name the results; `also` a parameter with further analytes, selected like the first input.
    """

    word = "any_result_exceeds_uln"

    def __init__(self, path: Path, inputs: list[str], factor: str, also: Supplied | None):
        super().__init__(path)
        self.inputs = inputs
        self.factor = factor
        self.also = also

    def check(self, scope: Scope) -> Type | None:
        before = len(scope.problems)
        for place, name in enumerate(self.inputs):
            found = scope.definition.inputs.get(name)
            if found is None:
                scope.problem((*self.path, "inputs", place), f"there is no input {name}")
            elif found.type != "number" or not found.analyte or not found.unit_field or found.pick == "all":
                scope.problem((*self.path, "inputs", place), f"{name} is no single laboratory result with its unit")
        try:
            if decimal(self.factor) <= 0:
                raise ValueError(f"{self.factor!r} is not more than 0")
        except ValueError as error:
            scope.problem((*self.path, "factor"), str(error))
        if self.also is not None:
            self.expect(scope, self.also, "analytes")
        return Type("boolean") if len(scope.problems) == before else None

    def evaluate(self, run: Run) -> Result:
        selectors = [(name, run.definition.inputs[name]) for name in self.inputs]
        results = []
        if self.also is not None:
            further = self.also.evaluate(run)
            if run.reading(self.also.ambiguity) is None:
                results.append(Result(None, because=further.because))
            for key in further.value if isinstance(further.value, tuple) else ():
                label = run.definition.analytes[key].label
                like = selectors[0][1].model_copy(update={"analyte": key, "label": label})
                selectors.append((key, like))
        results += [self._exceeds(run, name, selector) for name, selector in selectors]
        for value in (True, None):
            deciding = [result for result in results if result.value is value]
            if deciding:
                return Result(value, because=merged(deciding))
        return Result(False, because=merged(results))

    def _exceeds(self, run: Run, name: str, selector: Input) -> Result:
        chosen = run.selection.chosen(selector)
        if not chosen.candidates:
            return Result(None, because=(f"{selector.label}: nothing is recorded",))
        found = [self._above(run, name, selector, fact) for fact in chosen.candidates]
        answers = {result.value for result in found}
        agreed = found[0].value if len(answers) == 1 and chosen.sure else None
        return Result(agreed, because=merged(found))

    def _above(self, run: Run, name: str, selector: Input, fact: Seen) -> Result:
        label, stated = selector.label, value_at(fact, selector.field)
        unit, limits = value_at(fact, selector.unit_field or ""), value_at(fact, RANGE_FIELD)
        limits = limits if hasattr(limits, "get") else {}
        high, limit_unit = limits.get("high"), limits.get("unit") or unit
        comparator = value_at(fact, selector.comparator_field) if selector.comparator_field else None
        run.use(name, label, f"{comparator or ''}{stated} {unit or ''}, upper limit {high}".strip(), fact)
        try:
            value = measured(str(stated), comparator)
            own_unit = run.unit_of(unit, fact.content) if isinstance(unit, str) else None
            limit = measured(str(high)).times(factor_to(run, own_unit, limit_unit, fact, selector.analyte))
        except ValueError:
            return Result(None, because=(f"{label}: {stated} with the upper limit {high} cannot be compared",))
        answer = is_less(limit.times(decimal(self.factor)), value)
        says = {True: "is above", False: "is not above", None: "may be above"}[answer]
        return Result(answer, because=(f"{label} {comparator or ''}{stated} {says} {self.factor} times {high}",))
