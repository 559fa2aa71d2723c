"""How much was given to a subject, and whether its figures agree with the plan, each other and the weight.

 INFUSION-15  given in another dose than the cohort's or the authorised one
 INFUSION-21  the figures of one administration contradict each other: dose, dose in cells, cells, weight
 INFUSION-22  reckoned from another weight than was authorised or is recorded of the subject
A dose per kilogram times the weight is what is given: cells = dose x weight, in the unit of the dose.
Sources: ICH E6(R3) 2.10, 3.15; 21 CFR 312.60, 312.62.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import tzinfo
from fractions import Fraction
from typing import TYPE_CHECKING

from ledger.domain import body_weight, dose_level
from ledger.domain.moments import decided, happened, surely_before
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule
from ledger.protocol.quantities import decimal
from ledger.protocol.quantities import shown as in_figures

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol
    from ledger.protocol.model.course import Treatment

ROUNDING = Fraction(5, 100)
"""How far a count of cells may lie from dose x weight, as a part of it, where the protocol allows no more: a
count stated in two figures, as counts of cells often are, is off by at most that."""


class OtherDose(FindingRule):
    """Study treatment was given in another dose than the cohort's, or than was authorised."""

    rule = "INFUSION-15"


class FiguresContradict(FindingRule):
    """The figures of an administration contradict each other."""

    rule = "INFUSION-21"
    source = "ICH E6(R3) 2.12.2"


class OtherWeight(FindingRule):
    """The dose was reckoned from another weight than was authorised, or than is recorded of the subject."""

    rule = "INFUSION-22"


def dose_of(record: Record) -> Fraction | None:
    """The dose given or authorised, as a number in the protocol's unit; None where it is not recorded."""
    stated = record.get("dose") if record.get("dose") is not None else record.get("cells_per_kg")
    return None if stated is None else decimal(stated)


def tolerance(treatment: Treatment) -> Fraction:
    """How far a dose given may lie from the planned one, as a part of it; none where the protocol gives none."""
    percent = treatment.dose_tolerance_percent
    return Fraction(0) if percent is None else decimal(percent) / 100


def authorisation_of(subject: Subject, record: Record, number: int, zone: tzinfo | None) -> Record | None:
    """The newest authorisation of this number that stood when it was given, if not of another unit."""
    stood = [
        known
        for known in subject.records.of("InfusionAuthorised")
        if known.get("number") == number and not surely_before(happened(record), decided(known), zone)
    ]
    units = {known.get("product") for known in (record, *stood[-1:])} - {None}
    return stood[-1] if stood and len(units) < 2 else None


def findings(
    study: Study, subject: Subject, protocol: ResolvedProtocol, record: Record, number: int, zone: tzinfo | None
) -> Iterator[Finding]:
    """INFUSION-15, INFUSION-21 and INFUSION-22 for one administration."""
    treatment = protocol.definition.treatment
    if treatment is None:
        return
    place, unit = (record.sub, record.site), record.get("dose_unit")
    own = dose_of(record)
    if own is not None and unit is not None and unit != treatment.dose_unit:
        because = f"it is recorded in {unit}, the protocol counts in {treatment.dose_unit}"
        yield OtherDose.found(because, (record.index,), *place)
    else:
        yield from _planned(study, subject, protocol, treatment, record, number)
        yield from _twice_stated(treatment, record)
        if treatment.per_kilogram:
            yield from _cells(subject, protocol, treatment, record, number, zone)
    if treatment.per_kilogram:
        yield from _weight(subject, treatment, record, number, zone)


def _planned(
    study: Study, subject: Subject, protocol: ResolvedProtocol, treatment: Treatment, record: Record, number: int
) -> Iterator[Finding]:
    """INFUSION-15: against the cohort's dose and the authorised one, within the protocol's tolerance."""
    own = dose_of(record)
    if own is None:
        return
    seat = subject.records.last("SubjectEnrolled")
    allowed = [r for r in subject.records.of("InfusionAuthorised") if r.get("number") == number][-1:]
    planned = None if seat is None else dose_level.dose_of(study, protocol, seat.get("cohort"))
    expected = [(seat, None if planned is None else decimal(planned)), *((r, dose_of(r)) for r in allowed)]
    for other, dose in expected:
        if other is None or dose is None or _agree(own, dose, tolerance(treatment), record):
            continue
        what = "the cohort's dose is" if other is seat else "authorised was"
        because = f"{in_figures(own)} {treatment.dose_unit} was given, {what} {in_figures(dose)}"
        yield OtherDose.found(because, (record.index, other.index), record.sub, record.site)


def _twice_stated(treatment: Treatment, record: Record) -> Iterator[Finding]:
    """INFUSION-21: the dose, and the same again as cells per kilogram."""
    if record.get("dose") is None or record.get("cells_per_kg") is None:
        return
    dose, cells = decimal(record.get("dose")), decimal(record.get("cells_per_kg"))
    if not _agree(cells, dose, tolerance(treatment), record):
        because = f"the dose is {in_figures(dose)}, cells per kg are {in_figures(cells)} {treatment.dose_unit}"
        yield FiguresContradict.found(because, (record.index,), record.sub, record.site)


def _cells(
    subject: Subject,
    protocol: ResolvedProtocol,
    treatment: Treatment,
    record: Record,
    number: int,
    zone: tzinfo | None,
) -> Iterator[Finding]:
    """INFUSION-21: cells against dose x weight; of what the administration does not state, the authorised."""
    allowed = authorisation_of(subject, record, number, zone)
    stated = [r for r in (record, allowed) if r is not None]
    doses = ((r, dose) for r in stated if (dose := dose_of(r)) is not None)
    weights = [(r, decimal(r.get("weight"))) for r in stated if r.get("weight") is not None]
    known = body_weight.recorded(treatment, subject, happened(record), zone)
    dosed, weighed = next(doses, None), next(iter(weights), known)
    if record.get("cells") is None or dosed is None or weighed is None:
        return
    dose, weight, cells = dosed[1], weighed[1], decimal(record.get("cells"))
    amount = treatment.dose_unit.removesuffix("/kg")
    unit = record.get("cells_unit") or amount
    factor = _factor(protocol, unit, amount)
    shown = tuple(dict.fromkeys((record.index, dosed[0].index, weighed[0].index)))
    if factor is None:
        if not _scale(amount)[1]:  # else the dose does not count cells
            because = f"cells are recorded in {unit!r}, the dose counts in {treatment.dose_unit!r}"
            yield FiguresContradict.found(because, shown, record.sub, record.site)
    elif not _agree(cells * factor, dose * weight, max(tolerance(treatment), ROUNDING), record):
        product = f"{in_figures(dose)} {treatment.dose_unit} x {in_figures(weight)} kg = {in_figures(dose * weight)}"
        because = f"{in_figures(cells)} {unit} were given; {product} {amount}"
        yield FiguresContradict.found(because, shown, record.sub, record.site)


def _weight(
    subject: Subject, treatment: Treatment, record: Record, number: int, zone: tzinfo | None
) -> Iterator[Finding]:
    """INFUSION-22: the weight against the authorised one (as near as doses must be) and the recorded one."""
    if record.get("weight") is None:
        return
    weight, place = decimal(record.get("weight")), (record.sub, record.site)
    allowed = authorisation_of(subject, record, number, zone)
    if allowed is not None and allowed.get("weight") is not None:
        other = decimal(allowed.get("weight"))
        if abs(weight - other) > other * tolerance(treatment):
            because = f"reckoned from {in_figures(weight)} kg, authorised was {in_figures(other)} kg"
            yield OtherWeight.found(because, (record.index, allowed.index), *place)
    known = body_weight.recorded(treatment, subject, happened(record), zone)
    if known is not None and body_weight.contradicts(weight, known[1]):
        because = f"reckoned from {in_figures(weight)} kg, recorded are {in_figures(known[1])} kg"
        yield OtherWeight.found(because, (record.index, known[0].index), *place)


def _agree(own: Fraction, other: Fraction, part: Fraction, record: Record) -> bool:
    """Whether a figure lies near enough to another; it may be less where the administration was stopped."""
    return abs(own - other) <= abs(other) * part or (own < other and record.get("outcome") == "stopped")


def _factor(protocol: ResolvedProtocol, unit: str, amount: str) -> Fraction | None:
    """What one of a unit is in another: as the protocol declares, else by UCUM's powers of ten."""
    declared = protocol.units.factor(unit, amount)
    if declared is not None:
        return declared
    (one, what), (other, same) = _scale(unit), _scale(amount)
    return one / other if what == same else None


_POWER = re.compile(r"10[*^](\d{1,2})\.?", re.ASCII)
_ANNOTATION = re.compile(r"\{[^{}]*\}|^1$")


def _scale(unit: str) -> tuple[Fraction, str]:
    """The power of ten before a unit, and what is left: nothing for a bare count, as `{cells}` is in UCUM."""
    power = _POWER.match(unit)
    rest = unit[power.end() :] if power is not None else unit
    return Fraction(10 ** int(power[1]) if power is not None else 1), _ANNOTATION.sub("", rest)
