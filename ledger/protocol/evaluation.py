"""Verdicts on criteria, and the assessment of a subject's eligibility.

Rules (ELIGIBILITY): a verdict is one of four: met, not met, not applicable, unknown. It speaks of the
criterion itself, so an exclusion criterion that is met excludes. Unknown never permits. A criterion judged by
a person takes the attestation, or the person's own verdict; where these contradict each other it is unknown.
Only the eligibility facts themselves are named here; everything else comes from the protocol file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any

from ledger.protocol.expression.base import InputUsed, Node, Result, Run
from ledger.protocol.facts import Facts, Seen, value_at
from ledger.protocol.model.criteria import Criterion
from ledger.protocol.versions import ResolvedProtocol

ASSESSMENT = "EligibilityAssessed"
"""The fact in which a person states `criteria.<id>.verdict` and attests `attestations.<name>`."""


class VerdictValue(StrEnum):
    """What can be said of a criterion."""

    MET = "met"
    NOT_MET = "not met"
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict that explains itself; true in a condition exactly where it permits.

    `because`: why, in clauses. `inputs`: the facts it rests on. `ambiguities`: those still open that it
    depends on; `read_as`: the options of those resolved that it was read with.
    """

    criterion: str
    category: str
    value: VerdictValue
    because: tuple[str, ...]
    inputs: tuple[InputUsed, ...]
    ambiguities: tuple[str, ...]
    read_as: Mapping[str, str]

    @property
    def permits(self) -> bool:
        """Whether it stands in nobody's way."""
        fitting = VerdictValue.MET if self.category == "inclusion" else VerdictValue.NOT_MET
        return self.value in (fitting, VerdictValue.NOT_APPLICABLE)

    def __bool__(self) -> bool:
        return self.permits

    @property
    def indexes(self) -> tuple[int, ...]:
        """Indexes of the facts it rests on, each once, in order."""
        return tuple(sorted({used.index for used in self.inputs}))


@dataclass(frozen=True, slots=True)
class EligibilityAssessment:
    """The verdicts on all criteria of a protocol; true in a condition exactly where all of them permit."""

    verdicts: Mapping[str, Verdict]

    def __bool__(self) -> bool:
        return all(self.verdicts.values())

    @property
    def failing(self) -> tuple[Verdict, ...]:
        """Verdicts that are known and do not permit."""
        return tuple(v for v in self.verdicts.values() if not v and v.value is not VerdictValue.UNKNOWN)

    @property
    def unknown(self) -> tuple[Verdict, ...]:
        """Verdicts that cannot be given yet."""
        return tuple(v for v in self.verdicts.values() if v.value is VerdictValue.UNKNOWN)


def assess_eligibility(resolved: ResolvedProtocol, facts: Facts, zone: tzinfo | None = None) -> EligibilityAssessment:
    """All criteria on the facts of one subject; `zone` is the site's, for stamps without offset."""
    run = resolved.run(facts, zone)
    return EligibilityAssessment({key: _verdict(resolved, key, run.again()) for key in resolved.criteria})


def evaluate(resolved: ResolvedProtocol, criterion_id: str, facts: Facts, zone: tzinfo | None = None) -> Verdict:
    """One criterion on the facts of one subject; KeyError where the protocol has no such criterion."""
    return _verdict(resolved, criterion_id, resolved.run(facts, zone))


def _verdict(resolved: ResolvedProtocol, criterion_id: str, run: Run) -> Verdict:
    criterion = resolved.definition.criteria[criterion_id]
    applicable, expression = resolved.criteria[criterion_id]
    if expression is None:
        value, because = _judged(criterion, run)
    else:
        value, because = _computed(applicable, expression, run)
    return Verdict(
        criterion.id,
        criterion.category,
        value,
        because,
        tuple(sorted(run.used.values(), key=lambda used: (used.index, used.name))),
        tuple(run.open),
        dict(run.read_as),
    )


def _computed(applicable: Node | None, expression: Node, run: Run) -> tuple[VerdictValue, tuple[str, ...]]:
    if applicable is not None:
        applies = applicable.evaluate(run)
        if applies.value is None:
            return VerdictValue.UNKNOWN, applies.because
        if not applies.value:
            return VerdictValue.NOT_APPLICABLE, applies.because
    result: Result = expression.evaluate(run)
    if result.value is None:
        return VerdictValue.UNKNOWN, result.because
    return (VerdictValue.MET if result.value else VerdictValue.NOT_MET), result.because


def _judged(criterion: Criterion, run: Run) -> tuple[VerdictValue, tuple[str, ...]]:
    """What the newest assessment attests or states about a criterion that a person judges."""
    assessments = sorted(run.facts.observations(ASSESSMENT), key=lambda fact: fact.index)
    if not assessments:
        return VerdictValue.UNKNOWN, ("no assessment by the investigator is recorded",)
    newest = assessments[-1]
    attested = _attested(criterion, newest)
    stated = _stated(criterion, newest)
    for name, found in ((criterion.attestation or "", attested), (criterion.id, stated)):
        if found is not None:
            run.use(name, f"the investigator's judgement on {criterion.id}", str(found), newest)
    if attested is not None and stated is not None and attested is not stated:
        return VerdictValue.UNKNOWN, (f"it is attested as {attested} and stated as {stated}",)
    verdict = attested or stated
    if verdict is None:
        return VerdictValue.UNKNOWN, ("the investigator's assessment does not say",)
    return verdict, (f"the investigator judged it {verdict}",)


def _attested(criterion: Criterion, assessment: Seen) -> VerdictValue | None:
    if criterion.attestation is None:
        return None
    attested: Any = value_at(assessment, f"attestations.{criterion.attestation}")
    if not isinstance(attested, bool):
        return None
    return VerdictValue.MET if attested else VerdictValue.NOT_MET


def _stated(criterion: Criterion, assessment: Seen) -> VerdictValue | None:
    stated = value_at(assessment, f"criteria.{criterion.id}.verdict")
    return next((value for value in VerdictValue if value.value == stated), None)
