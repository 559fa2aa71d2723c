"""What is measured after the first infusion: cells, antibodies, immune function, viruses, platelets, pregnancy tests.

A draw is recorded when it is made, its result by the laboratory's system on the next morning.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from api.cli.demo.play import Line
from api.cli.demo.stage import Case, Stage, at
from api.cli.demo.subjects import PATIENTS, Patient
from api.cli.demo.treatment import START

PK_MINUTES = {
    "PK02": 30,
    "PK03": 60,
    "PK04": 120,
    "PK05": 240,
    "PK06": 480,
    "PK07": 960,
    "PK08": 1_440,
    "PK09": 2_880,
    "PK10": 5_760,
}
"""Minutes after the start of the first infusion; PK01 lies half an hour before it."""
PK_COPIES = {"PK02": (900, 1_800), "PK03": (500, 900), "PK04": (220, 480), "PK05": (80, 200)}
"""Range of the cells found, per mL; every other point lies below what can be measured."""
PK_LATE = {("SYN-008", "PK06"): 80}
"""Draws that came too late, by so many minutes."""
IMMUNE_WEEKS = {"IM2": 2, "IM3": 4, "IM4": 8, "IM5": 12, "IM6": 16, "IM7": 28}
IMMUNE = {"th_subsets": (28, 46), "treg": (2, 8)}
"""What is reported of the immune panel here, in percent."""
VIRUS_WEEKS = {"VI1": 4, "VI2": 16}
VIRUS_PANEL = ("hbsag", "hcv", "hiv", "syphilis", "ebv_dna", "cmv_dna")
BLEEDING_WEEKS = range(4, 29, 4)
PREGNANCY_WEEKS = (8, 16, 24)
FIRST_NINE = frozenset(patient.number for patient in PATIENTS[:9])
"""The first nine by order of enrolment, as the interpretation reads the record."""


def day_before(stage: Stage, case: Case, patient: Patient) -> Line:
    """The day before the first infusion: immune panel, the baseline count, a pregnancy test."""
    yield at(patient.first_infusion, "09:00", days=-1)
    nurse = stage.cast.nurse
    immune = case.draw(nurse, "IM1")
    baseline = case.draw(nurse)
    yield at(patient.first_infusion, "16:00", days=-1)
    _immune_results(stage, case, immune, "IM1")
    case.result(stage.cast.analyser, "platelets", baseline, value=str(patient.baseline), unit="10*9/L", keep="baseline")


def pregnancy_test(stage: Stage, case: Case, day: datetime) -> Line:
    """A serum test in the morning, its result in the afternoon."""
    yield day
    specimen = case.draw(stage.cast.nurse, "PRG")
    yield day + timedelta(hours=7)
    case.result(stage.cast.analyser, "hcg", specimen, text="negative", planned="PRG")


def concentrations(stage: Stage, case: Case, patient: Patient) -> Line:
    """The cells in the blood of women, ten times around the first infusion; assayed together afterwards."""
    nurse = stage.cast.nurse
    start = at(patient.first_infusion, START)
    yield start - timedelta(minutes=30)
    draws = {"PK01": case.draw(nurse, "PK01")}
    for name, minutes in PK_MINUTES.items():
        yield start + timedelta(minutes=minutes + PK_LATE.get((patient.number, name), 0))
        draws[name] = case.draw(nurse, name)
    yield at(patient.first_infusion, "11:00", days=5)
    for name, specimen in draws.items():
        found = {"value": "50", "comparator": "<"}
        if name in PK_COPIES:
            found = {"value": stage.play.chance.between(*PK_COPIES[name])}
        case.result(stage.cast.analyser, "msc_concentration", specimen, unit="/mL", planned=name, **found)


def antibodies(stage: Stage, case: Case, patient: Patient) -> Line:
    """Half an hour before the first infusion and 48 hours after the last that was given."""
    nurse, lab = stage.cast.nurse, stage.cast.analyser
    start = at(patient.first_infusion, START)
    yield start - timedelta(minutes=30)
    before = case.draw(nurse, "AB1")
    yield start + timedelta(days=3)
    case.result(lab, "msc_antibody", before, text="negative", planned="AB1")
    yield start + timedelta(weeks=patient.infusions - 1, hours=48)
    after = case.draw(nurse, "AB2")
    yield start + timedelta(weeks=patient.infusions, hours=1)
    case.result(lab, "msc_antibody", after, text="negative", planned="AB2")


def platelets(stage: Stage, case: Case, patient: Patient) -> Line:
    """Every week: a draw before anything else of that day, the count on the next morning."""
    counts = patient.counts(stage.play.chance, stage.responses)
    for week in range(1, patient.last_week + 1):
        yield at(patient.first_infusion, "08:30", days=7 * week)
        specimen = case.draw(stage.cast.nurse, "PLT")
        case.counts[week] = (counts[week], specimen[0])
        yield at(patient.first_infusion, "08:10", days=7 * week + 1)
        case.result(
            stage.cast.analyser,
            "platelets",
            specimen,
            value=counts[week],
            unit="10*9/L",
            planned="PLT",
            keep=f"platelets week {week}",
        )


def immune_function(stage: Stage, case: Case, patient: Patient) -> Line:
    """The panel at six points after the first infusion; in week 2 before the third one."""
    for name, week in IMMUNE_WEEKS.items():
        if week > patient.last_week:
            return
        yield at(patient.first_infusion, "08:40", days=7 * week)
        specimen = case.draw(stage.cast.nurse, name)
        yield at(patient.first_infusion, "14:00", days=7 * week + 2)
        _immune_results(stage, case, specimen, name)


def _immune_results(stage: Stage, case: Case, specimen: tuple[str, str], planned: str) -> None:
    for analyte, (low, high) in IMMUNE.items():
        value = stage.play.chance.between(low, high, 1)
        case.result(stage.cast.analyser, analyte, specimen, value=value, unit="%", planned=planned)


def control_panel(stage: Stage, case: Case, planned: str, draw_at: datetime) -> Line:
    """A healthy control's one sample."""
    yield draw_at
    specimen = case.draw(stage.cast.nurse, planned)
    yield draw_at + timedelta(days=1)
    _immune_results(stage, case, specimen, planned)


def viruses(stage: Stage, case: Case, patient: Patient) -> Line:
    """The virus panel in weeks 4 and 16."""
    for name, week in VIRUS_WEEKS.items():
        yield at(patient.first_infusion, "08:50", days=7 * week)
        specimen = case.draw(stage.cast.nurse, name)
        yield at(patient.first_infusion, "15:00", days=7 * week + 1)
        for analyte in VIRUS_PANEL:
            case.result(stage.cast.analyser, analyte, specimen, text="negative", planned=name)


def bleeding(stage: Stage, case: Case, patient: Patient) -> Line:
    """Bleeding is assessed every four weeks; whose counts rise does not bleed."""
    for week in BLEEDING_WEEKS:
        if week > patient.last_week:
            return
        if (patient.number, week) in NOT_IN_TIME:
            continue
        yield at(patient.first_infusion, "09:40", days=7 * week)
        bleeds = patient.responds is None and not patient.peaks and week % 8 == 4
        assess_bleeding(stage, case, bleeds)


def assess_bleeding(stage: Stage, case: Case, bleeds: bool, **fields: Any) -> None:
    """One assessment."""
    items = {"bleeding": bleeds, "score": 1 if bleeds else 0}
    case.record(stage.cast.investigator, "AssessmentRecorded", instrument="bleeding", items=items, **fields)


NOT_IN_TIME = {("SYN-001", 8), ("SYN-021", 12)}
"""Assessments that were made in time and entered late."""


def pregnancy_tests(stage: Stage, case: Case, patient: Patient) -> Line:
    """Before every infusion, then every eight weeks."""
    for number in range(patient.infusions):
        yield from pregnancy_test(stage, case, at(patient.first_infusion, "08:20", days=7 * number - 1))
    for week in PREGNANCY_WEEKS:
        yield from pregnancy_test(stage, case, at(patient.first_infusion, "08:20", days=7 * week))
