"""Every projection there is. A new one is a room beside these, listed here.

A version that is live somewhere and that this release still has the code of stands in EARLIER: it is then kept current
and answers until the switch, and can be switched back to. Its fingerprint has to stay what it was, so its handler
stays as it is, in a module of its own.
"""

from __future__ import annotations

from dataclasses import replace

from projections.audit_trail.definition import DEFINITION as AUDIT_TRAIL
from projections.cohort.definition import DEFINITION as COHORT
from projections.engine.definition import Definition, ReadModel
from projections.engine.fingerprint import read_model
from projections.outcomes.definition import DEFINITION as OUTCOMES
from projections.patient.definition import DEFINITION as PATIENT
from projections.safety.definition import DEFINITION as SAFETY
from projections.schedule.definition import DEFINITION as SCHEDULE
from projections.signatures.definition import DEFINITION as SIGNATURES

DEFINITIONS: tuple[Definition, ...] = (PATIENT, COHORT, AUDIT_TRAIL, SCHEDULE, SAFETY, OUTCOMES, SIGNATURES)
"""The newest version of each."""

EARLIER: tuple[Definition, ...] = ()
"""Earlier versions of these that this release has as well."""

NAMES: tuple[str, ...] = tuple(definition.name for definition in DEFINITIONS)


def read_models() -> tuple[ReadModel, ...]:
    """The newest version of every projection, as this release has it."""
    return tuple(read_model(definition) for definition in DEFINITIONS)


def known_models() -> tuple[ReadModel, ...]:
    """Every version of every projection that this release has, the newest of each first."""
    return read_models() + tuple(read_model(definition) for definition in EARLIER)


def model_of(name: str) -> ReadModel:
    """The newest version of a projection by its name; KeyError where there is none."""
    for definition in DEFINITIONS:
        if definition.name == name:
            return read_model(definition)
    raise KeyError(f"there is no projection {name!r}: {', '.join(NAMES)}")


def model_with(name: str, version: int, fingerprint: str, generation: int = 0) -> ReadModel | None:
    """Exactly this version of a projection; None where this release does not have it."""
    for model in known_models():
        if model.identity == (name, version, fingerprint):
            return replace(model, generation=generation)
    return None
