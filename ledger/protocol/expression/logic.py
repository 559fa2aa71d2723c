"""Nodes of logic: true, all, any, not, if, the choice between readings, the first that is known.

Kleene: `all` is false as soon as one part is false, whatever the rest; unknown only while it could go either
way. A choice between readings is unknown until the ambiguity is resolved, even where its branches agree: a
decision must not rest on a reading that nobody has signed.
"""

from __future__ import annotations

from ledger.protocol.expression.base import Node, Result, Run, Scope, Type, merged
from ledger.protocol.problems import Path


class Constant(Node):
    """`true` or `false`."""

    word = "true"

    def __init__(self, path: Path, value: bool):
        super().__init__(path)
        self.value = value

    def check(self, scope: Scope) -> Type | None:
        return Type("boolean")

    def evaluate(self, run: Run) -> Result:
        return Result(self.value, "yes" if self.value else "no")


class Several(Node):
    """Parts joined by and / or; `decisive` is the value that one part suffices for."""

    decisive: bool

    def __init__(self, path: Path, parts: list[Node]):
        super().__init__(path)
        self.parts = parts

    def check(self, scope: Scope) -> Type | None:
        found = [self.expect(scope, part, "boolean") for part in self.parts]
        return None if None in found else Type("boolean")

    def evaluate(self, run: Run) -> Result:
        results = [part.evaluate(run) for part in self.parts]
        for value in (self.decisive, None):
            deciding = [result for result in results if result.value is value]
            if deciding:
                return Result(value, because=merged(deciding))
        return Result(not self.decisive, because=merged(results))


class All(Several):
    """Every part holds."""

    word = "all"
    decisive = False


class AnyOf(Several):
    """At least one part holds."""

    word = "any"
    decisive = True


class Not(Node):
    """The part does not hold."""

    word = "not"

    def __init__(self, path: Path, part: Node):
        super().__init__(path)
        self.part = part

    def check(self, scope: Scope) -> Type | None:
        return self.expect(scope, self.part, "boolean")

    def evaluate(self, run: Run) -> Result:
        result = self.part.evaluate(run)
        return Result(None if result.value is None else not result.value, because=result.because)


def same_type(node: Node, scope: Scope, parts: list[Node]) -> Type | None:
    """The type that all parts share; notes a problem where they differ."""
    found = [part.check(scope) for part in parts]
    first = next((type_ for type_ in found if type_ is not None), None)
    for part, type_ in zip(parts, found, strict=True):
        if type_ is not None and first is not None and (type_.kind, type_.unit) != (first.kind, first.unit):
            scope.problem(part.path, f"the parts of {node.word} must be alike: a {first}, and this is a {type_}")
            return None
    return None if None in found else first


class If(Node):
    """`then` where `when` holds, `else` where it does not; where that is unknown, what both agree on."""

    word = "if"

    def __init__(self, path: Path, when: Node, then: Node, otherwise: Node):
        super().__init__(path)
        self.when = when
        self.then = then
        self.otherwise = otherwise

    def check(self, scope: Scope) -> Type | None:
        when = self.expect(scope, self.when, "boolean")
        branches = same_type(self, scope, [self.then, self.otherwise])
        return None if when is None else branches

    def evaluate(self, run: Run) -> Result:
        when = self.when.evaluate(run)
        if when.value is not None:
            branch = (self.then if when.value else self.otherwise).evaluate(run)
            return Result(branch.value, branch.shown, merged([when, branch]))
        branches = [self.then.evaluate(run), self.otherwise.evaluate(run)]
        if branches[0].value is not None and branches[0].value == branches[1].value:
            return Result(branches[0].value, branches[0].shown, merged(branches))
        return Result(None, because=when.because)


class Reading(Node):
    """The branch of the option chosen for an ambiguity; unknown while it is open."""

    word = "reading"

    def __init__(self, path: Path, ambiguity: str, branches: dict[str, Node]):
        super().__init__(path)
        self.ambiguity = ambiguity
        self.branches = branches

    def check(self, scope: Scope) -> Type | None:
        ambiguity = scope.definition.ambiguities.get(self.ambiguity)
        if ambiguity is None:
            scope.problem(self.path, f"there is no ambiguity {self.ambiguity}")
            return None
        known = True
        for option in self.branches:
            if option not in ambiguity.options:
                scope.problem((*self.path, option), f"{self.ambiguity} has no option {option}")
                known = False
        for option in ambiguity.options:
            if option not in self.branches:
                scope.problem(self.path, f"says nothing for the option {option} of {self.ambiguity}")
                known = False
        found = same_type(self, scope, list(self.branches.values()))
        return found if known else None

    def evaluate(self, run: Run) -> Result:
        chosen = run.reading(self.ambiguity)
        if chosen is None:
            return Result(None, because=(f"{self.ambiguity} has no signed interpretation",))
        return self.branches[chosen.option].evaluate(run)


class FirstKnown(Node):
    """The first part that has a value."""

    word = "first_known"

    def __init__(self, path: Path, parts: list[Node]):
        super().__init__(path)
        self.parts = parts

    def check(self, scope: Scope) -> Type | None:
        return same_type(self, scope, self.parts)

    def evaluate(self, run: Run) -> Result:
        results = [part.evaluate(run) for part in self.parts]
        known = next((result for result in results if result.value is not None), None)
        return known or Result(None, because=merged(results))
