"""Product units and infusions: registered, released, authorised, checked by two persons, given.

An infusion begins at 09:30. All units of a subject are of one lot and are released before the first infusion.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from api.cli.demo.cast import SITE
from api.cli.demo.play import Line
from api.cli.demo.stage import Case, Stage, at, stamp
from api.cli.demo.subjects import Patient

DOSES = {"A": "0.5", "B": "1.0", "C": "2.0", "EXP": "2.0"}
"""Doses as the course has them: the expansion's is what the investigator selects."""
DOSE_UNIT = "10*6.{cells}/kg"
CELLS_UNIT = "10*6.{cells}"
START, END = "09:30", "10:30"
SHELF_DAYS = 90
RELEASED_LATE = frozenset({("SYN-002", 2)})
"""Units that quality had forgotten to release."""
NURSE_TRIES = ("SYN-013", 3)
"""An infusion that a nurse tries to authorise in the physician's place."""


def unit(patient: Patient, number: int) -> str:
    """The id of the unit for one infusion of a subject."""
    return f"{patient.number}-U{number}"


def register_units(stage: Stage, patient: Patient) -> None:
    """The manufacturer registers one unit for each infusion."""
    play = stage.play
    lot = f"SYN-LOT-{patient.first_infusion:%y%m%d}"
    for number in range(1, 5):
        play.record(
            stage.cast.manufacturer,
            "ProductUnitRegistered",
            f"product/{unit(patient, number)}",
            product_name="hUC-MSC",
            donor=f"SYN-DONOR-{1 + patient.first_infusion.month % 3}",
            bank="SYN-MCB-01",
            passage="P5",
            lot=lot,
            unit_number=str(number),
            viability_percent=play.chance.between(88, 96, 1),
            cells=patient.cells(DOSES[patient.cohort]),
            cells_unit=CELLS_UNIT,
            volume="100",
            volume_unit="mL",
            manufactured_at=(patient.first_infusion - timedelta(days=12)).isoformat(),
            expires_at=(patient.first_infusion + timedelta(days=SHELF_DAYS)).isoformat(),
            storage="vapour phase of liquid nitrogen",
            occurred_at=play.stamp(),
        )


def release_units(stage: Stage, patient: Patient, numbers: list[int]) -> None:
    """The manufacturer's quality releases units; one person, one cut, one certificate each."""
    numbers = [number for number in numbers if (patient.number, number) not in RELEASED_LATE] or numbers
    units = [f"product/{unit(patient, number)}" for number in numbers]
    stage.play.decide_together(stage.cast.quality, "ProductReleased", units, reason="Certificate of analysis in order")


def authorisation(patient: Patient, number: int) -> dict[str, Any]:
    """What an investigator authorises: the fields of InfusionAuthorised."""
    return {
        "number": number,
        "product": unit(patient, number),
        "dose": DOSES[patient.cohort],
        "dose_unit": DOSE_UNIT,
        "weight": patient.weight,
    }


def infuse(stage: Stage, case: Case, patient: Patient, number: int) -> Line:
    """One infusion on its day: authorised at 08:10, identity checked at 09:20, given from 09:30."""
    cast = stage.cast
    day = infusion_day(patient, number)
    yield at(day, "08:10")
    doctor = getattr(cast, patient.by)
    wanted = authorisation(patient, number)
    if (patient.number, number) in RELEASED_LATE:
        tried = f"to authorise infusion {number} of {patient.number} with a unit that is not released"
        case.attempt("PRODUCT-2", tried, doctor, "InfusionAuthorised", **wanted)
        release_units(stage, patient, [number])
    if (patient.number, number) == NURSE_TRIES:
        tried = f"a study nurse to authorise infusion {number} of {patient.number}"
        case.attempt("ROLE-1", tried, cast.nurse, "InfusionAuthorised", **wanted)
    case.decide(doctor, "InfusionAuthorised", **wanted)
    yield at(day, "09:20")
    case.record(
        cast.nurse,
        "IdentityChecked",
        product=unit(patient, number),
        number=number,
        checked_by=[cast.nurse.id, cast.pharmacist.id],
        matched=True,
    )
    yield at(day, START)
    breaks = INTERRUPTED.get((patient.number, number))
    end = at(day, "10:55" if breaks else END)
    yield end
    case.record(
        cast.nurse,
        "InfusionGiven",
        number=number,
        product=unit(patient, number),
        cells_per_kg=DOSES[patient.cohort],
        cells=patient.cells(DOSES[patient.cohort]),
        cells_unit=CELLS_UNIT,
        dose=DOSES[patient.cohort],
        dose_unit=DOSE_UNIT,
        volume="100",
        volume_unit="mL",
        weight=patient.weight,
        started_at=stamp(at(day, START)),
        ended_at=stamp(end),
        interruptions=breaks and [_interruption(day, *breaks)],
        outcome="interrupted" if breaks else "completed",
        performed_by=cast.nurse.id,
        occurred_at=stamp(at(day, START)),
        keep=f"infusion {number}",
    )


def infusion_day(patient: Patient, number: int) -> date:
    """Weekly from the first."""
    return patient.first_infusion + timedelta(weeks=number - 1)


INTERRUPTED = {("SYN-007", 2): ("09:50", "10:15", "Chills; went on at half the rate after paracetamol")}
"""Infusions that stood still: from, to, why."""


def _interruption(day: date, start: str, end: str, reason: str) -> dict[str, str]:
    return {"started_at": stamp(at(day, start)), "ended_at": stamp(at(day, end)), "reason": reason}


def withhold_last(stage: Stage, case: Case, patient: Patient, reason: str, adverse_event: str) -> None:
    """The next infusion is not given, and treatment ends; the unit is disposed of."""
    cast = stage.cast
    number = patient.infusions + 1
    case.record(
        cast.investigator,
        "InfusionWithheld",
        number=number,
        product=unit(patient, number),
        reason=reason,
        adverse_event=adverse_event,
    )
    case.record(cast.pi, "TreatmentDiscontinued", reason=reason, adverse_event=adverse_event)
    stage.play.record(
        cast.pharmacist,
        "ProductDisposed",
        f"product/{unit(patient, number)}",
        site=SITE,
        reason="Treatment of the subject was discontinued",
        method="incineration as clinical waste",
    )
