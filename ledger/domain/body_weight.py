"""Body weight: what is recorded of a subject, and which weight a dose per kilogram is reckoned from.

A weight is an assessment's item that is called so, the only item of an assessment called so, or of one that
carries LOINC's code for it. It is in kilograms unless its unit says otherwise; in a unit that is not known
here, or with a value that is no number above 0, it says nothing.
Sources: LOINC 29463-7, 3141-9; UCUM for the units.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ledger.domain.moments import decided, happened, later, surely_before
from ledger.domain.record import Record
from ledger.protocol.quantities import decimal

if TYPE_CHECKING:
    from ledger.domain.aggregate import Subject
    from ledger.protocol.model.course import Treatment

TOLERANCE = Fraction(1, 10)
"""How far a weight may lie from the recorded one, as a part of it: by custom a dose per kilogram is reckoned
anew once the weight has changed by a tenth; less is scales, clothing and rounding."""

_NAMES = frozenset({"weight", "body weight"})
_CODES = frozenset({"29463-7", "3141-9"})
_LOINC = "http://loinc.org"
_KILOGRAMS = {"kg": Fraction(1), "g": Fraction(1, 1000), "[lb_av]": Fraction(45359237, 10**8)}
"""What one of a unit is in kilograms; the pound exactly, as defined in 1959."""


def recorded(
    treatment: Treatment, subject: Subject, when: str | None, zone: tzinfo | None
) -> tuple[Record, Fraction] | None:
    """The weight in kg that counts at a moment, with the assessment that says it; None where none is recorded.

    The newest that was not surely taken after the moment. Where the protocol reckons from the weight at
    screening, the newest from before enrolment, as far as there is one.
    """
    known = [found for found in _weights(subject, zone) if not surely_before(when, happened(found[0]), zone)]
    seat = subject.records.last("SubjectEnrolled")
    if treatment.weight == "screening" and seat is not None:
        early = [found for found in known if not surely_before(decided(seat), happened(found[0]), zone)]
        known = early or known
    return known[-1] if known else None


def contradicts(stated: Fraction, known: Fraction) -> bool:
    """Whether a weight lies further from the recorded one than it may."""
    return abs(stated - known) > known * TOLERANCE


def _weights(subject: Subject, zone: tzinfo | None) -> list[tuple[Record, Fraction]]:
    """Every weight that stands, oldest first."""
    found: list[tuple[Record, Fraction]] = []
    for record in subject.records.of("AssessmentRecorded"):
        kilograms = next(_kilograms(record), None) if record.done else None
        if kilograms is not None:
            place = len(found)
            while place and not later(record, found[place - 1][0], zone):
                place -= 1
            found.insert(place, (record, kilograms))
    return found


def _kilograms(record: Record) -> Iterator[Fraction]:
    items, units, code = record.get("items") or {}, record.get("units") or {}, record.get("code") or {}
    coded = code.get("system") == _LOINC and code.get("code") in _CODES
    alone = len(items) == 1 and (coded or _is_weight(record.get("instrument")))
    for name, value in items.items():
        factor, number = _KILOGRAMS.get(units.get(name, "kg")), _number(value)
        if (alone or _is_weight(name)) and factor is not None and number is not None and number > 0:
            yield number * factor


def _is_weight(name: Any) -> bool:
    return " ".join(str(name).replace("_", " ").casefold().split()) in _NAMES


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool):
        return None
    try:
        return decimal(str(value))
    except ValueError:
        return None
