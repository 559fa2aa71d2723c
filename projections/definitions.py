"""Every projection there is. A new one is a room beside these, listed here."""

from __future__ import annotations

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
NAMES: tuple[str, ...] = tuple(definition.name for definition in DEFINITIONS)


def read_models() -> tuple[ReadModel, ...]:
    """Every projection as this release has it."""
    return tuple(read_model(definition) for definition in DEFINITIONS)


def model_of(name: str) -> ReadModel:
    """A projection by its name; KeyError where there is none."""
    for definition in DEFINITIONS:
        if definition.name == name:
            return read_model(definition)
    raise KeyError(f"there is no projection {name!r}: {', '.join(NAMES)}")
