"""Another study needs a protocol file and nothing else: other doses, route, analytes, levels and rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.protocol import ProtocolFile, Resolution, VerdictValue, assess_eligibility, evaluate, load
from ledger.protocol.escalation import CohortCourse, step
from ledger.protocol.series import response_of
from ledger.protocol.windows import Standing, SubjectFacts, check, plan

TEXT = (Path(__file__).parents[2] / "scenario" / "studies" / "INVENTED-01.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study() -> ProtocolFile:
    return load(TEXT)


@pytest.fixture
def participant(record: Any) -> Any:
    """Somebody of 70 with a haemoglobin of 90 and 95 g/L."""
    record.add("ConsentGiven", "2027-02-01T10:00+01:00")
    record.add("SubjectScreened", "2027-02-01T11:00+01:00", population="participant", birth_date="1957-01")
    record.add("LabResultReported", "2027-02-02", analyte="Hb", value="9.5", unit="gm/dL")
    record.add("LabResultReported", "2027-02-05", analyte="haemoglobin", value="90", unit="g/L")
    record.add("HistoryRecorded", category="transfusion", present=False)
    record.add("LabResultReported", "2027-02-02", analyte="parvovirus", text="Not found")
    record.add("EligibilityAssessed", "2027-02-06", criteria={"EX-3": {"verdict": "not met"}})
    return record


def resolved(study: ProtocolFile, option: str = "from-consent") -> Any:
    return study.version().resolved({"Q-1": Resolution(option)})


def test_a_fitting_participant_is_let_in(study: Any, participant: Any) -> None:
    assessment = assess_eligibility(resolved(study), participant)
    assert assessment, [(v.criterion, v.because) for v in assessment.verdicts.values() if not v]
    assert assessment.verdicts["EX-1"].value is VerdictValue.NOT_APPLICABLE


def test_the_lowest_of_several_results_decides_in_whatever_unit(study: Any, participant: Any) -> None:
    participant.add("LabResultReported", "2027-02-03", analyte="Hb", value="4.2", unit="mmol/L")
    assert evaluate(resolved(study), "IN-2", participant).value is VerdictValue.NOT_MET
    participant.change("LabResultReported", {"value": "4.2"}, value="5.2")
    assert evaluate(resolved(study), "IN-2", participant).value is VerdictValue.MET


def test_one_measurement_is_not_two(study: Any, participant: Any) -> None:
    participant.without("LabResultReported", analyte="Hb")
    assert evaluate(resolved(study), "IN-2", participant).value is VerdictValue.NOT_MET


def test_a_laboratorys_own_names_are_its_own(study: Any, participant: Any) -> None:
    participant.change("LabResultReported", {"analyte": "Hb"}, analyte="B-Hemoglobin", unit="g%", value="6.9")
    assert evaluate(resolved(study), "IN-2", participant).value is VerdictValue.NOT_MET, "only one is known"
    participant.change("LabResultReported", {"analyte": "B-Hemoglobin"}, laboratory="LAB-N")
    verdict = evaluate(resolved(study), "IN-2", participant)
    assert verdict.value is VerdictValue.NOT_MET
    assert "69 g/L" in " ".join(verdict.because)


def test_two_readings_of_its_own_ambiguity_differ(study: Any, participant: Any) -> None:
    participant.add("ProcedureRecorded", "2027-01-01", name="Transfusion")
    participant.add("TreatmentAdministered", started_at="2027-02-10T08:00+01:00")
    assert evaluate(resolved(study, "from-consent"), "EX-1", participant).value is VerdictValue.NOT_MET
    participant.change("ProcedureRecorded", occurred_at="2027-01-10")
    assert evaluate(resolved(study, "from-consent"), "EX-1", participant).value is VerdictValue.MET
    assert evaluate(resolved(study, "from-first-dose"), "EX-1", participant).value is VerdictValue.NOT_MET
    assert evaluate(study.version().resolved(), "EX-1", participant).value is VerdictValue.UNKNOWN


def test_its_own_escalation_counts_in_twos(study: Any) -> None:
    made = study.version().definition
    level = CohortCourse("L1", opened=True, enrolled=2, evaluated=2, dlts=1)
    assert step(made, {"L1": level}, "add", "L1")
    assert not step(made, {"L1": level}, "escalate", "L1")
    full = CohortCourse("L1", opened=True, enrolled=4, evaluated=4, dlts=1, added=2, escalated=True)
    assert step(made, {"L1": full}, "escalate", "L1")
    assert step(made, {"L1": full}, "open", "L2")
    assert not step(made, {"L1": full}, "open", "L3")


def test_a_stopping_rule_of_the_study_counts_over_all_levels(study: Any) -> None:
    made = study.version().definition
    courses = {
        "L1": CohortCourse("L1", opened=True, enrolled=4, evaluated=4, dlts=1, added=2, escalated=True),
        "L2": CohortCourse("L2", opened=True, enrolled=4, evaluated=4, dlts=1, added=2, escalated=True),
        "L3": CohortCourse("L3", opened=True, enrolled=1, evaluated=1, dlts=1),
    }
    refused = step(made, courses, "enrol", "L3")
    assert not refused
    assert any("three falls" in reason for reason in refused.because)


def test_its_schedule_repeats_every_other_week_and_by_the_hour(study: Any, participant: Any) -> None:
    participant.add("TreatmentAdministered", started_at="2027-02-10T08:00+01:00")
    planned = {p.key: p for p in plan(resolved(study), SubjectFacts("participant"), participant, UTC)}
    assert [key for key in planned if key.startswith("HB")] == [f"HB.{n}" for n in range(1, 7)]
    assert [key for key in planned if key.startswith("KIN")] == ["KIN.1", "KIN.2", "KIN.3"]
    now = datetime(2027, 6, 1, tzinfo=UTC)
    assert check(planned["KIN.2"], "2027-02-10T09:08Z", now, UTC).standing is Standing.IN_WINDOW
    assert check(planned["KIN.2"], "2027-02-10T09:11Z", now, UTC).standing is Standing.LATE
    assert check(planned["HB.1"], "2027-02-27", now, UTC).standing is Standing.IN_WINDOW
    assert check(planned["HB.1"], "2027-02-28", now, UTC).standing is Standing.LATE
    assert check(planned["HB.6"], None, now, UTC).standing is Standing.MISSED
    assert check(planned["END"], None, now, UTC).standing is Standing.NOT_PLANNED_YET


def test_its_response_needs_three_occasions_over_four_weeks(study: Any, participant: Any) -> None:
    participant.add("TreatmentAdministered", started_at="2027-02-10T08:00+01:00")
    for day, value in (("2027-02-24", "121"), ("2027-03-10", "90"), ("2027-03-20", "122")):
        participant.add("LabResultReported", day, analyte="haemoglobin", value=value, unit="g/L")
    assert response_of(resolved(study), "P1", participant).best == "NONE"
    participant.add("LabResultReported", "2027-03-24", analyte="Hb", value="12.5", unit="g/dL")
    response = response_of(resolved(study), "P1", participant)
    assert response.best == "FULL" and response
    assert (str(response.first_on), str(response.confirmed_on)) == ("2027-02-24", "2027-03-24")


def test_its_amendments_take_away_and_add(study: Any) -> None:
    assert study.versions == ("1.0", "2.0", "3.0")
    second, third = study.version("2.0").definition, study.version("3.0").definition
    assert "X2" not in second.cohorts and second.cohorts["X1"].seats == 12
    assert third.cohorts["L5"].dose == "160" and "X2" not in third.cohorts
    assert study.version().definition.cohorts["X2"].seats == 6
