"""Nodes that compare numbers with their units, times, text; unknown where the bounds do not decide."""

from __future__ import annotations

from typing import ClassVar

from ledger.protocol.dates import PartialTime, is_before
from ledger.protocol.expression.base import Node, Quantity, Result, Run, Scope, Type, merged
from ledger.protocol.facts import plain
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Interval, is_at_most, is_equal, is_less


def _compared(node: Node, left: Result, right: Result, answer: bool | None, says: str) -> Result:
    if left.value is None or right.value is None:
        missing = [result for result in (left, right) if result.value is None]
        return Result(None, because=merged(missing) or (f"{missing[0].shown} is not known",))
    if answer is None:
        return Result(None, because=(f"whether {left.shown} {says} {right.shown} cannot be decided",))
    return Result(answer, because=(f"{left.shown} {says if answer else _denied(says)} {right.shown}",))


def _denied(says: str) -> str:
    return says.replace("is", "is not", 1)


class Comparison(Node):
    """Two operands of one kind."""

    says: ClassVar[str]

    def __init__(self, path: Path, left: Node, right: Node):
        super().__init__(path)
        self.left = left
        self.right = right

    def evaluate(self, run: Run) -> Result:
        left, right = self.left.evaluate(run), self.right.evaluate(run)
        answer = None
        if left.value is not None and right.value is not None:
            answer = self.decide(run, left, right)
        return _compared(self, left, right, answer, self.says)

    def decide(self, run: Run, left: Result, right: Result) -> bool | None:
        """The answer for two known operands."""
        raise NotImplementedError

    def comparable_numbers(self, scope: Scope) -> Type | None:
        """Both operands are numbers of units that convert; notes a problem where not."""
        left, right = self.expect(scope, self.left, "number"), self.expect(scope, self.right, "number")
        if left is None or right is None:
            return None
        if scope.units.factor(right.unit, left.unit, left.analyte or right.analyte) is None:
            scope.problem(
                self.path, f"{self.word} compares {left.unit or 'no unit'} with {right.unit or 'no unit'}: "
                "they are not the same, and the file declares no conversion"
            )  # fmt: skip
            return None
        return Type("boolean")


def intervals(run: Run, left: Result, right: Result) -> tuple[Interval, Interval]:
    """Both quantities in the unit of the left one."""
    assert isinstance(left.value, Quantity) and isinstance(right.value, Quantity)
    analyte = left.value.analyte or right.value.analyte
    factor = run.units.factor(right.value.unit, left.value.unit, analyte)
    assert factor is not None, "checked when the file was loaded"
    return left.value.interval, right.value.interval.times(factor)


class NumberComparison(Comparison):
    """Compares numbers."""

    def check(self, scope: Scope) -> Type | None:
        return self.comparable_numbers(scope)

    def decide(self, run: Run, left: Result, right: Result) -> bool | None:
        return self.test(*intervals(run, left, right))

    def test(self, left: Interval, right: Interval) -> bool | None:
        """The answer for two intervals in one unit."""
        raise NotImplementedError


class LessThan(NumberComparison):
    """left < right"""

    word, says = "less_than", "is below"

    def test(self, left: Interval, right: Interval) -> bool | None:
        return is_less(left, right)


class AtMost(NumberComparison):
    """left <= right"""

    word, says = "at_most", "is at most"

    def test(self, left: Interval, right: Interval) -> bool | None:
        return is_at_most(left, right)


class MoreThan(NumberComparison):
    """left > right"""

    word, says = "more_than", "is above"

    def test(self, left: Interval, right: Interval) -> bool | None:
        return is_less(right, left)


class AtLeast(NumberComparison):
    """left >= right"""

    word, says = "at_least", "is at least"

    def test(self, left: Interval, right: Interval) -> bool | None:
        return is_at_most(right, left)


class TimeComparison(Comparison):
    """Compares times; `negated` for the opposite of *before*, `swapped` for the other way round."""

    swapped: ClassVar[bool] = False
    negated: ClassVar[bool] = False

    def check(self, scope: Scope) -> Type | None:
        found = [self.expect(scope, part, "date") for part in (self.left, self.right)]
        return None if None in found else Type("boolean")

    def decide(self, run: Run, left: Result, right: Result) -> bool | None:
        assert isinstance(left.value, PartialTime) and isinstance(right.value, PartialTime)
        one, other = (right.value, left.value) if self.swapped else (left.value, right.value)
        answer = is_before(one, other, run.zone)
        return answer if answer is None or not self.negated else not answer


class Before(TimeComparison):
    """left came before right"""

    word, says = "before", "is before"


class After(TimeComparison):
    """left came after right"""

    word, says, swapped = "after", "is after", True


class NotBefore(TimeComparison):
    """left came with or after right"""

    word, says, negated = "not_before", "is at or after", True


class NotAfter(TimeComparison):
    """left came with or before right"""

    word, says, swapped, negated = "not_after", "is at or before", True, True


class Equals(Comparison):
    """Both are the same text, number or yes/no."""

    word, says = "equals", "is"

    def check(self, scope: Scope) -> Type | None:
        left, right = self.left.check(scope), self.right.check(scope)
        if left is None or right is None:
            return None
        if left.kind != right.kind or left.kind in ("date", "analytes"):
            scope.problem(self.path, f"{self.word} cannot compare a {left.kind} with a {right.kind}")
            return None
        return self.comparable_numbers(scope) if left.kind == "number" else Type("boolean")

    def decide(self, run: Run, left: Result, right: Result) -> bool | None:
        if isinstance(left.value, Quantity):
            return is_equal(*intervals(run, left, right))
        if isinstance(left.value, str) and isinstance(right.value, str):
            return plain(left.value) == plain(right.value)
        return left.value == right.value


class OneOf(Node):
    """A text is one of several."""

    word = "in"

    def __init__(self, path: Path, part: Node, of: list[str]):
        super().__init__(path)
        self.part = part
        self.of = of

    def check(self, scope: Scope) -> Type | None:
        return Type("boolean") if self.expect(scope, self.part, "text") else None

    def evaluate(self, run: Run) -> Result:
        result = self.part.evaluate(run)
        if not isinstance(result.value, str):
            return Result(None, because=result.because)
        found = plain(result.value) in {plain(text) for text in self.of}
        return Result(found, because=(f"{result.shown} is {'' if found else 'not '}one of {', '.join(self.of)}",))
