"""Figures by cohort, and what an outcome cannot say yet, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ledger.protocol import ResolvedProtocol
from ledger.protocol.model.course import Outcome
from projections.safety.people import Person

Tally = Mapping[str, Any]


def by_cohort(
    cohorts: Iterable[str], enrolled: Sequence[Person], tally: Callable[[Sequence[Person]], Tally]
) -> dict[str, dict[str, Any]]:
    """A tally of the enrolled of each cohort, each with how many are enrolled."""
    found = {}
    for cohort in cohorts:
        own = [person for person in enrolled if person.cohort == cohort]
        found[cohort] = {"enrolled": len(own), **tally(own)}
    return found


def still_open(protocol: ResolvedProtocol, outcome: Outcome) -> list[str]:
    """The ambiguities of an outcome that no interpretation resolves, each as `AMB: text`."""
    return [f"{one.id}: {one.text}" for one in protocol.open if one.id in outcome.ambiguities]


def because_open(protocol: ResolvedProtocol, outcome: Outcome, said: str) -> str:
    """A sentence that something is not defined, with the ambiguities that are open."""
    opened = still_open(protocol, outcome)
    return f"{said}." if not opened else f"{said}; open is {' '.join(opened)}"
