"""A protocol file, its versions, and a version with the interpretations that stand.

Rules: amendments build on each other in the order of the file; an option's patches apply only while its
interpretation stands; every result is validated as a whole, so that no patch can make a protocol that the
file itself could not have been. All objects are immutable; resolving the same thing twice costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from ledger.protocol import checks
from ledger.protocol.expression.base import Node, Reading, Run, Scope
from ledger.protocol.facts import AnalyteIndex, Facts
from ledger.protocol.model import Definition
from ledger.protocol.model.interpretation import Ambiguity
from ledger.protocol.parameters import complaints
from ledger.protocol.patches import SETTLED, BadPatch, apply
from ledger.protocol.problems import InvalidResolution, Path, Problem, UnknownVersion, dotted
from ledger.protocol.quantities import Units
from ledger.protocol.wording import in_words

NEEDS_DEFINITIONS = frozenset({"SubjectEnrolled", "CohortOpened", "SafetyReviewConcluded", "DoseSelected"})
"""Decisions that bring people to a dose: not before dose-limiting toxicity and stopping are defined."""

_KEPT = 64  # resolved protocols kept at hand: a few versions times the steps in which interpretations arrive


@dataclass(frozen=True)
class Resolution:
    """How an ambiguity is read: one of its options, and the values of that option's parameters."""

    option: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResolvedProtocol:
    """A version of a protocol with the interpretations that stand; what decides and finds reads this.

    `definition` has the chosen options' patches applied; `open` lists the ambiguities without interpretation.
    """

    label: str
    study: str
    definition: Definition
    interpretations: Mapping[str, Resolution]
    open: tuple[Ambiguity, ...]
    units: Units = field(repr=False)
    analytes: AnalyteIndex = field(repr=False)
    criteria: Mapping[str, tuple[Node | None, Node | None]] = field(repr=False)
    readings: Mapping[str, Reading] = field(repr=False)

    def blocks(self, decision: str) -> tuple[Ambiguity, ...]:
        """The open ambiguities that hold up this decision (the event's name)."""
        return tuple(ambiguity for ambiguity in self.open if decision in ambiguity.blocks)

    def run(self, facts: Facts, zone: tzinfo | None) -> Run:
        """One evaluation on the facts of one subject; `zone` is the site's, for stamps without offset."""
        return Run(self.definition, self.units, self.analytes, self.readings, facts, zone)

    def missing(self, decision: str) -> tuple[str, ...]:
        """What the protocol must define before this decision and does not, in sentences."""
        made = self.definition
        if not made.requires.dlt_and_stopping_rules or decision not in NEEDS_DEFINITIONS:
            return ()
        lacking = {
            "the protocol does not define dose-limiting toxicity": made.dlt.definition is None,
            "the protocol does not say how long dose-limiting toxicity is watched for": made.dlt.window is None,
            "the protocol has no stopping rule": not made.stopping_rules,
        }
        return tuple(sentence for sentence, is_lacking in lacking.items() if is_lacking)


@dataclass(frozen=True)
class Protocol:
    """One version of a protocol: as registered, or as amended up to `label`."""

    label: str
    study: str
    definition: Definition
    data: Mapping[str, Any] = field(repr=False)
    key: str = field(repr=False)

    def __hash__(self) -> int:
        return hash((self.key, self.label))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Protocol) and (self.key, self.label) == (other.key, other.label)

    def check_resolution(self, ambiguity: str, resolution: Resolution) -> tuple[str, ...]:
        """What is wrong with one interpretation, in sentences; empty where it fits."""
        try:
            self.resolved({ambiguity: resolution})
        except InvalidResolution as error:
            return tuple(f"{problem.path}: {problem.message}" for problem in error.problems)
        return ()

    def resolved(self, interpretations: Mapping[str, Resolution] | None = None) -> ResolvedProtocol:
        """This version with these interpretations; InvalidResolution lists what does not fit."""
        given = interpretations or {}
        problems = [
            Problem(f"{key}{'.' if name else ''}{name}", None, message)
            for key, resolution in given.items()
            for name, message in complaints(self.definition, key, resolution.option, resolution.parameters)
        ]
        if problems:
            raise InvalidResolution(problems)
        plain = {key: [given[key].option, dict(given[key].parameters)] for key in sorted(given)}
        return _resolved(self, json.dumps(plain, sort_keys=True, default=list))


@lru_cache(maxsize=_KEPT)
def _resolved(protocol: Protocol, given: str) -> ResolvedProtocol:
    chosen = {key: Resolution(option, supplied) for key, (option, supplied) in json.loads(given).items()}
    data: Any = protocol.data
    ambiguities = protocol.definition.ambiguities
    try:
        for key, ambiguity in ambiguities.items():
            if key in chosen:
                option = ambiguity.options[chosen[key].option]
                data = apply(data, option.sets, SETTLED, chosen[key].parameters)
    except BadPatch as error:
        raise InvalidResolution([Problem("", None, f"the options chosen do not go together: {error}")]) from error
    definition = protocol.definition
    if data is not protocol.data:
        made, found = validated(data)
        if made is None or found:
            raise InvalidResolution(
                Problem(dotted(path), None, f"would be wrong: {message}") for path, message in found
            )
        definition = made
    scope = Scope(definition, checks.units_of(definition))
    trees = checks.compiled(definition, scope)
    return ResolvedProtocol(
        protocol.label,
        protocol.study,
        definition,
        chosen,
        tuple(ambiguity for key, ambiguity in ambiguities.items() if key not in chosen),
        scope.units,
        AnalyteIndex(definition),
        trees,
        {key: Reading(made.option, made.parameters) for key, made in chosen.items()},
    )


def validated(data: Any) -> tuple[Definition | None, list[tuple[Path, str]]]:
    """The definition that plain data describe, or everything that is wrong with them."""
    try:
        definition = Definition.model_validate(data)
    except ValidationError as error:
        return None, in_words(error)
    return definition, checks.problems(definition)


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol file: its first version and those of its amendments; `digest` is of its UTF-8 text."""

    study: str
    digest: str
    protocols: Mapping[str, Protocol] = field(repr=False)

    @property
    def versions(self) -> tuple[str, ...]:
        """Labels, the first version first."""
        return tuple(self.protocols)

    def version(self, label: str | None = None) -> Protocol:
        """The version of this label, or the first; UnknownVersion where there is none."""
        label = label if label is not None else self.versions[0]
        if label not in self.protocols:
            known = ", ".join(self.versions)
            raise UnknownVersion(f"the protocol of {self.study} has no version {label!r}; it has {known}")
        return self.protocols[label]
