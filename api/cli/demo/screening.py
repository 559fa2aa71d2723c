"""What is recorded of a subject before treatment: consent, history, examinations, results, the decision.

The defaults are those of somebody who may take part; a screen failure differs in one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from api.cli.demo.play import Line
from api.cli.demo.setup import CONSENT, LANGUAGE
from api.cli.demo.stage import Case, Stage, at
from api.client.signing import Actor

ABSENT = (
    "thrombosis",
    "heart failure",
    "arrhythmia requiring treatment",
    "arrhythmia with thrombotic risk",
    "myocardial infarction",
    "transplant",
)
"""What the protocol asks about by these categories, and nobody here had."""
VIRUSES = ("hiv", "hcv", "hdv", "syphilis", "ebv_dna", "cmv_dna")
CHEMISTRY = (
    ("ast", 18, 36, "U/L", "40"),
    ("bilirubin", 7, 19, "umol/L", "21.0"),
    ("bun", 3, 7, "mmol/L", "8.0"),
    ("creatinine", 52, 92, "umol/L", "104"),
)
ALT_LIMIT = "50"
"""Upper limit of normal: the protocol allows 1.2 times it, 60."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What screening finds."""

    sex: Literal["female", "male"]
    born: date
    weight: str
    platelets: str
    childbearing: bool = False
    splenectomy: bool = False
    rituximab: bool = True
    alt: str = "24"
    hbsag: str = "negative"


def screen(stage: Stage, case: Case, day: date, found: Findings) -> Line:
    """Consent and screening on `day`, results on the next."""
    cast = stage.cast
    yield at(day, "09:00")
    consent(stage, case, "initial")
    yield at(day, "09:40")
    case.record(
        cast.coordinator,
        "SubjectScreened",
        number=case.number,
        population="patient",
        sex=found.sex,
        birth_date=found.born.isoformat(),
        childbearing_potential=found.childbearing if found.sex == "female" else None,
        country="CN",
    )
    history(stage, case, day, found)
    yield at(day, "10:20")
    examine(stage, case, found.weight)
    specimen = case.draw(cast.nurse)
    yield at(day, "15:00", days=1)
    entry_results(stage, case, specimen, found)


def consent(stage: Stage, case: Case, purpose: str) -> None:
    """The subject signs the current version."""
    case.record(
        stage.cast.investigator,
        "ConsentGiven",
        document_id=CONSENT,
        version=stage.consent_version,
        language=LANGUAGE,
        purpose=purpose,
        given_by="subject",
        informed_by=stage.cast.investigator.id,
        keep=f"consent {stage.consent_version}",
    )


def history(stage: Stage, case: Case, day: date, found: Findings) -> None:
    """Diagnosis, what was asked for and absent, earlier treatments and how they did."""
    nurse = stage.cast.coordinator
    known = stage.play.chance.whole(2, 9)
    diagnosed = f"{day.year - known}-{stage.play.chance.whole(1, 12):02d}"
    case.record(
        nurse,
        "HistoryRecorded",
        term="Immune thrombocytopenia",
        category="ITP diagnosis",
        present=True,
        onset_date=diagnosed,
        keep="diagnosis",
    )
    for category in ABSENT:
        _absent(case, nurse, category)
    if found.sex == "female":
        _absent(case, nurse, "lactation")
    _earlier_treatment(case, nurse, day, found)


def _absent(case: Case, nurse: Actor, category: str) -> None:
    case.record(nurse, "HistoryRecorded", term=f"No {category}", category=category, present=False)


def _earlier_treatment(case: Case, nurse: Actor, day: date, found: Findings) -> None:
    def medicine(name: str, drug_class: str, start: str, end: str, response: str) -> None:
        case.record(
            nurse,
            "MedicationRecorded",
            name=name,
            drug_class=drug_class,
            category="prior",
            indication="immune thrombocytopenia",
            start_date=start,
            end_date=end,
            response=response,
        )

    year = day.year - 1
    medicine("human immunoglobulin", "IVIG", f"{year}-01-10", f"{year}-01-14", "relapse")
    medicine("dexamethasone", "glucocorticoid", f"{year}-01-10", f"{year}-02-28", "no response")
    medicine("recombinant human thrombopoietin", "TPO agent", f"{year}-03-05", f"{year}-04-30", "no response")
    if found.rituximab:
        medicine("rituximab", "rituximab", f"{year}-05-04", f"{year}-05-25", "no response")
    else:
        _absent(case, nurse, "rituximab")
    if found.splenectomy:
        case.record(nurse, "ProcedureRecorded", name="splenectomy", date=f"{year}-06-12", outcome="relapse")
    else:
        _absent(case, nurse, "splenectomy")


def examine(stage: Stage, case: Case, weight: str) -> None:
    """Weight, performance status, ECG, bleeding."""
    doctor, chance = stage.cast.investigator, stage.play.chance
    case.record(
        stage.cast.nurse,
        "AssessmentRecorded",
        instrument="weight",
        items={"weight": weight},
        units={"weight": "kg"},
        keep="weight",
    )
    case.record(doctor, "AssessmentRecorded", instrument="ECOG", items={"ecog": chance.whole(0, 1)})
    qt = chance.whole(372, 428)
    case.record(
        doctor,
        "AssessmentRecorded",
        instrument="ECG",
        items={"bundle_branch_block": False, "qt": qt, "qtc": qt + chance.whole(2, 14)},
        units={"qt": "ms", "qtc": "ms"},
    )
    case.record(
        doctor, "AssessmentRecorded", instrument="bleeding", items={"bleeding": True, "score": chance.whole(1, 3)}
    )


def entry_results(stage: Stage, case: Case, specimen: tuple[str, str], found: Findings) -> None:
    """Platelets, chemistry with the limits that held, serology, a pregnancy test where one is asked for."""
    lab, chance = stage.cast.analyser, stage.play.chance
    case.result(lab, "platelets", specimen, value=found.platelets, unit="10*9/L")
    chemistry = [("alt", found.alt, "U/L", ALT_LIMIT)]
    chemistry += [(name, chance.between(low, high), unit, limit) for name, low, high, unit, limit in CHEMISTRY]
    for name, value, unit, limit in chemistry:
        case.result(lab, name, specimen, value=value, unit=unit, reference_range={"high": limit, "unit": unit})
    for virus in VIRUSES:
        case.result(lab, virus, specimen, text="negative")
    case.result(lab, "hbsag", specimen, text=found.hbsag)
    if found.childbearing:
        case.result(lab, "hcg", specimen, text="negative")


def assess(stage: Stage, case: Case, by: Actor) -> None:
    """What only the investigator can say about the criteria."""
    case.record(
        by,
        "EligibilityAssessed",
        attestations={
            "ITP_diagnosis": True,
            "bleeding_tendency": True,
            "contraception": True,
            "secondary_thrombocytopenia": False,
            "poor_compliance": False,
            "other_reason": False,
        },
        keep="assessment",
    )


def decision(stage: Stage, case: Case, reason: str, *, eligible: bool = True) -> dict[str, Any]:
    """What the investigator decides: the fields of EligibilityDecided."""
    return {
        "eligible": eligible,
        "criteria_version": stage.protocol_version,
        "assessment": case.kept["assessment"].jti,
        "reason": reason,
    }
