"""What every node of an expression is: read from plain data, checked for types once, evaluated on facts.

Expressions are trees of single-word mappings, `{less_than: [{input: platelets}, {number: "30 10*9/L"}]}`,
never evaluated text. Logic has three values (Kleene): an answer is given when it holds whatever the unknown
parts turn out to be. A result carries its reasons in plain words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, ClassVar, Literal, NamedTuple

from ledger.protocol.dates import PartialTime
from ledger.protocol.facts import AnalyteIndex, Facts, Seen, Selection
from ledger.protocol.model import Definition
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Interval, Units

Kind = Literal["boolean", "text", "number", "date", "analytes"]


class Type(NamedTuple):
    """What a node yields; a number's unit (None: a plain number) and the analyte whose conversions count."""

    kind: Kind
    unit: str | None = None
    analyte: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} in {self.unit}" if self.unit else self.kind


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as far as it is known, with its unit."""

    interval: Interval
    unit: str | None = None
    analyte: str | None = None

    def __str__(self) -> str:
        return f"{self.interval} {self.unit}" if self.unit else str(self.interval)


Value = bool | str | Quantity | PartialTime | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A value, or None for unknown; `shown` as it reads in a sentence, `because` in whole clauses."""

    value: Value | None
    shown: str = ""
    because: tuple[str, ...] = ()


class InputUsed(NamedTuple):
    """A fact that a verdict rests on: the selector, the value shown, the event id and index."""

    name: str
    label: str
    value: str
    jti: str
    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nobody calls


@dataclass
class Scope:
    """What a tree may name, while it is read and checked; problems are collected with their paths."""

    definition: Definition
    units: Units
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def problem(self, path: Path, message: str) -> None:
        """Note what is wrong where."""
        self.problems.append((path, message))


@dataclass(frozen=True)
class Reading:
    """How an ambiguity is read: the option chosen, and what was supplied with it."""

    option: str
    parameters: Mapping[str, Any]


class Run:
    """One evaluation: the facts, the interpretations that stand, and what was looked at on the way."""

    def __init__(
        self,
        definition: Definition,
        units: Units,
        analytes: AnalyteIndex,
        readings: Mapping[str, Reading],
        facts: Facts,
        zone: tzinfo | None,
        selection: Selection | None = None,
    ):
        self.definition = definition
        self.units = units
        self.analytes = analytes
        self.readings = readings
        self.facts = facts
        self.zone = zone
        self.selection = selection or Selection(definition, analytes, facts, zone)
        self.used: dict[tuple[str, str], InputUsed] = {}
        self.open: dict[str, None] = {}
        self.read_as: dict[str, str] = {}

    def again(self) -> Run:
        """A run on the same facts that notes anew what it looks at; selections made are kept."""
        return Run(self.definition, self.units, self.analytes, self.readings, self.facts, self.zone, self.selection)

    def use(self, name: str, label: str, value: str, fact: Seen) -> None:
        """Note that a fact was looked at."""
        self.used[name, fact.jti] = InputUsed(name, label, value, fact.jti, fact.index)

    def reading(self, ambiguity: str) -> Reading | None:
        """The interpretation that stands; notes that the verdict depends on it."""
        found = self.readings.get(ambiguity)
        if found is None:
            self.open[ambiguity] = None
        else:
            self.read_as[ambiguity] = found.option
        return found

    def unit_of(self, text: str, content: Mapping[str, Any]) -> str:
        """The unit that a laboratory means: its own name for it, else what all say, else as written."""
        lab = content.get("laboratory")
        aliases = self.definition.units.aliases
        for source in (lab if isinstance(lab, str) else "any", "any"):
            if source in aliases and text.strip() in aliases[source]:
                return aliases[source][text.strip()]
        return text.strip()


class Node(ABC):
    """A node of an expression; `path` is where it stands in the file."""

    word: ClassVar[str]

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def check(self, scope: Scope) -> Type | None:
        """Its type; None where a problem has been noted."""

    @abstractmethod
    def evaluate(self, run: Run) -> Result:
        """Its value on the facts."""

    def expect(self, scope: Scope, node: Node, kind: Kind) -> Type | None:
        """The type of a part that must be of this kind; notes a problem where it is not."""
        found = node.check(scope)
        if found is not None and found.kind != kind:
            scope.problem(node.path, f"{self.word} needs a {kind} here, and this is a {found.kind}")
            return None
        return found


class Broken(Node):
    """Stands where something could not be read; its problem is noted already."""

    word = "broken"

    def check(self, scope: Scope) -> Type | None:
        return None

    def evaluate(self, run: Run) -> Result:
        raise AssertionError("an expression with problems is never evaluated")


def merged(results: list[Result]) -> tuple[str, ...]:
    """The reasons of several results, each once, in order."""
    return tuple(dict.fromkeys(reason for result in results for reason in result.because))
