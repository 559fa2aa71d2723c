"""What each of the 19 criteria of the seed trial says about a patient at its boundaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.protocol import Resolution, VerdictValue, assess_eligibility, evaluate

MET, NOT_MET = VerdictValue.MET, VerdictValue.NOT_MET
NOT_APPLICABLE, UNKNOWN = VerdictValue.NOT_APPLICABLE, VerdictValue.UNKNOWN

Change = Callable[[Any], Any]


def says(resolve: Any, patient: Any, criterion: str, **readings: Resolution) -> VerdictValue:
    """The verdict on one criterion."""
    return evaluate(resolve(**readings), criterion, patient).value


def lab(analyte: str, /, **fields: Any) -> Change:
    """Change the result of an analyte."""
    return lambda patient: patient.change("LabResultReported", {"analyte": analyte}, **fields)


def assessed(instrument: str, **items: Any) -> Change:
    """Change the items of an assessment."""
    return lambda patient: patient.change("AssessmentRecorded", {"instrument": instrument}, items=items)


def screened(**fields: Any) -> Change:
    """Change what was recorded at screening."""
    return lambda patient: patient.change("SubjectScreened", **fields)


def history(category: str, **fields: Any) -> Change:
    """Change the answer to one question of the history."""
    return lambda patient: patient.change("HistoryRecorded", {"category": category}, **fields)


def attested(**fields: Any) -> Change:
    """Change single attestations; None takes one away."""

    def change(patient: Any) -> Any:
        said = {**patient.observations("EligibilityAssessed")[0].content["attestations"], **fields}
        return patient.change("EligibilityAssessed", attestations={k: v for k, v in said.items() if v is not None})

    return change


def dropped(event: str, **content: Any) -> Change:
    """Leave facts out."""
    return lambda patient: patient.without(event, **content)


def splenectomy(day: str | None, outcome: str | None = None) -> Change:
    """Record a splenectomy."""
    return lambda patient: patient.add("ProcedureRecorded", name="Splenectomy", date=day, outcome=outcome)


def drug(drug_class: str, **fields: Any) -> Change:
    """Change a prior treatment."""
    return lambda patient: patient.change("MedicationRecorded", {"drug_class": drug_class}, **fields)


def several(*changes: Change) -> Change:
    """One change after the other."""

    def change(patient: Any) -> Any:
        for each in changes:
            each(patient)

    return change


def never(drug_class: str, patient: Any) -> None:
    """State that a drug was never given."""
    patient.without("MedicationRecorded", drug_class=drug_class)
    patient.add("HistoryRecorded", category=drug_class, term=drug_class, present=False)


# consent was given on 2020-03-02
AGE = [
    ("is 17 years and 364 days old", screened(birth_date="2002-03-03"), NOT_MET),
    ("turns 18 on the day of consent", screened(birth_date="2002-03-02"), MET),
    ("is 60 years and 364 days old", screened(birth_date="1959-03-03"), MET),
    ("turns 61 on the day of consent", screened(birth_date="1959-03-02"), NOT_MET),
    ("was born on 29 February and is 18 on 1 March", screened(birth_date="2000-02-29"), MET),
    ("states a birth year that cannot be under age", screened(birth_date="1990"), MET),
    ("states a birth year that may or may not be 18", screened(birth_date="2002"), UNKNOWN),
    ("states a birth month that decides", screened(birth_date="2002-02"), MET),
    ("states a birth month that does not decide", screened(birth_date="2002-03"), UNKNOWN),
    ("states no birth date", screened(birth_date=None), UNKNOWN),
    ("states a blank birth date", screened(birth_date="  "), UNKNOWN),
    ("states a birth date that is none", screened(birth_date="1980-13-40"), UNKNOWN),
    ("has no recorded consent", dropped("ConsentGiven"), UNKNOWN),
]
DIAGNOSIS = [
    ("six months exactly", history("ITP diagnosis", onset_date="2019-09-02"), NOT_MET),
    ("six months and a day", history("ITP diagnosis", onset_date="2019-09-01"), MET),
    ("a month that decides", history("ITP diagnosis", onset_date="2019-08"), MET),
    ("a month that does not decide", history("ITP diagnosis", onset_date="2019-09"), UNKNOWN),
    ("a year that decides", history("ITP diagnosis", onset_date="2018"), MET),
    ("a blank date", history("ITP diagnosis", onset_date=""), UNKNOWN),
    ("no diagnosis recorded", dropped("HistoryRecorded", category="ITP diagnosis"), UNKNOWN),
    ("a diagnosis denied", history("ITP diagnosis", present=False), UNKNOWN),
]
SPLENECTOMY = [
    ("never had one", lambda patient: None, NOT_APPLICABLE),
    ("was never asked", dropped("HistoryRecorded", category="splenectomy"), UNKNOWN),
    ("three months ago", splenectomy("2019-12-02"), MET),
    ("three months less a day ago", splenectomy("2019-12-03"), NOT_MET),
    ("in a month that may be too recent", splenectomy("2019-12"), UNKNOWN),
    ("on a date not known", splenectomy(None), UNKNOWN),
]
RITUXIMAB = [
    ("three months exactly", drug("rituximab", end_date="2019-12-02"), NOT_MET),
    ("three months and a day", drug("rituximab", end_date="2019-12-01"), MET),
    ("still going on", drug("rituximab", end_date=None), UNKNOWN),
    ("never given", lambda patient: never("rituximab", patient), NOT_APPLICABLE),
    ("never asked", dropped("MedicationRecorded", drug_class="rituximab"), UNKNOWN),
]
PLATELETS = [
    ("29 is below 30", lab("platelets", value="29"), MET),
    ("29.9 is below 30", lab("platelets", value="29.9"), MET),
    ("30 is not below 30", lab("platelets", value="30"), NOT_MET),
    ("30 per nanolitre in the lab's words", lab("platelets", value="30", unit="10^3/uL"), NOT_MET),
    ("29000 per microlitre is 29", lab("platelets", value="29000", unit="/uL"), MET),
    ("a laboratory's giga per litre", lab("platelets", value="29", unit="G/L"), MET),
    ("an unknown unit is not guessed", lab("platelets", value="12", unit="mg/dL"), UNKNOWN),
    ("no unit is not guessed", lab("platelets", value="12", unit=None), UNKNOWN),
    ("below 5 decides", lab("platelets", value="5", comparator="<"), MET),
    ("below 100 does not decide", lab("platelets", value="100", comparator="<"), UNKNOWN),
    ("above 100 decides", lab("platelets", value="100", comparator=">"), NOT_MET),
    ("about 12 decides nothing", lab("platelets", value="12", comparator="~"), UNKNOWN),
    ("no number", lab("platelets", value="few"), UNKNOWN),
    ("an exponent is no decimal", lab("platelets", value="1e1"), UNKNOWN),
    ("not a number", lab("platelets", value="NaN"), UNKNOWN),
    ("no count at all", dropped("LabResultReported", analyte="platelets"), UNKNOWN),
    ("no bleeding tendency", attested(bleeding_tendency=False), NOT_MET),
    ("bleeding tendency not stated", attested(bleeding_tendency=None), UNKNOWN),
]
CONSENT = [
    ("an older version of the document", lambda p: p.change("ConsentGiven", version="1.0"), NOT_MET),
    ("a language without approved document", lambda p: p.change("ConsentGiven", language="en"), UNKNOWN),
    ("no consent", dropped("ConsentGiven"), NOT_MET),
    ("after the first procedure", lambda p: p.change("ConsentGiven", occurred_at="2020-03-04"), NOT_MET),
    ("on the day of the first procedure, time unknown",
     lambda p: p.change("ConsentGiven", occurred_at="2020-03-03"), UNKNOWN),
    ("at a time not known", lambda p: p.change("ConsentGiven", occurred_at=None), UNKNOWN),
    ("a newer version approved since",
     lambda p: p.add("ConsentDocumentApproved", document_id="ICF", version="3.0", language="zh-CN"), NOT_MET),
    ("a newer version in another language only",
     lambda p: p.add("ConsentDocumentApproved", document_id="ICF", version="3.0", language="en"), MET),
    ("an optional consent is none", lambda p: p.change("ConsentGiven", purpose="optional"), NOT_MET),
]  # fmt: skip
CONTRACEPTION = [
    ("positive pregnancy test", lab("hcg", text="Positive"), NOT_MET),
    ("no pregnancy test", dropped("LabResultReported", analyte="hcg"), UNKNOWN),
    ("an indeterminate test", lab("hcg", text="indeterminate"), UNKNOWN),
    ("no contraception", attested(contraception=False), NOT_MET),
    ("no childbearing potential and no test",
     several(screened(childbearing_potential=False), dropped("LabResultReported", analyte="hcg")), MET),
    ("childbearing potential not known, and no test",
     several(screened(childbearing_potential=None), dropped("LabResultReported", analyte="hcg")), UNKNOWN),
    ("a man needs no test",
     several(screened(sex="male"), dropped("LabResultReported", analyte="hcg")), MET),
]  # fmt: skip
ECOG = [
    ("ECOG 1", assessed("ECOG", ecog=1), NOT_MET),
    ("ECOG 2", assessed("ECOG", ecog="2"), MET),
    ("ECOG not done", dropped("AssessmentRecorded", instrument="ECOG"), UNKNOWN),
    ("ECOG true is no number", assessed("ECOG", ecog=True), UNKNOWN),
]
VIRUS = [
    ("HIV positive", lab("hiv", text="positive"), MET),
    ("HBsAg reactive", lab("hbsag", text="Reactive"), MET),
    ("HCV positive", lab("hcv", text="POSITIVE"), MET),
    ("HDV positive", lab("hdv", text="positive"), MET),
    ("syphilis positive in Chinese", lab("syphilis", text="阳性"), MET),
    ("EBV DNA detected", lab("ebv_dna", text="detected"), MET),
    ("CMV DNA positive", lab("cmv_dna", text="positive"), MET),
    ("CMV DNA indeterminate", lab("cmv_dna", text="indeterminate"), UNKNOWN),
    ("HDV not tested", dropped("LabResultReported", analyte="hdv"), UNKNOWN),
    ("a core antibody alone is not asked for", lab("anti_hbc", text="positive"), NOT_MET),
    ("positive decides over one missing",
     several(dropped("LabResultReported", analyte="hdv"), lab("hiv", text="positive")), MET),
]  # fmt: skip
PREGNANCY = [
    ("pregnant", lab("hcg", text="positive"), MET),
    ("breastfeeding", history("lactation", present=True), MET),
    ("breastfeeding not asked", dropped("HistoryRecorded", category="lactation"), UNKNOWN),
    ("a man", several(screened(sex="male"), dropped("LabResultReported", analyte="hcg")), NOT_MET),
    ("sex not known, and a negative test decides", screened(sex="unknown"), NOT_MET),
    ("sex not known, and no test",
     several(screened(sex="unknown"), dropped("LabResultReported", analyte="hcg")), UNKNOWN),
]  # fmt: skip
THROMBOSIS = [
    ("ever", history("thrombosis", present=True), MET),
    ("not asked", history("thrombosis", present=None), UNKNOWN),
    ("denied once and recorded once",
     lambda p: p.add("HistoryRecorded", category="thrombosis", term="stroke", present=True), MET),
]  # fmt: skip
CHEMISTRY = [
    ("ALT 48 with an upper limit of 40 is allowed", lab("alt", value="48"), NOT_MET),
    ("ALT 48.1 is not", lab("alt", value="48.1"), MET),
    ("above 48 is not", lab("alt", value="48", comparator=">"), MET),
    ("above 40 does not decide", lab("alt", value="40", comparator=">"), UNKNOWN),
    ("below 48 is allowed", lab("alt", value="48", comparator="<"), NOT_MET),
    ("the limit belongs to the result: ULN 20", lab("alt", value="30", reference_range={"high": "20"}), MET),
    ("no upper limit stated", lab("alt", reference_range={"low": "5"}), UNKNOWN),
    ("no range stated", lab("alt", reference_range=None), UNKNOWN),
    ("creatinine 96.1 of 80", lab("creatinine", value="96.1"), MET),
    ("creatinine in mg/dL with a range in umol/L",
     lab("creatinine", value="1.2", unit="mg/dL", reference_range={"high": "80", "unit": "umol/L"}), MET),
    ("the same result within that range",
     lab("creatinine", value="1", unit="mg/dL", reference_range={"high": "80", "unit": "umol/L"}), NOT_MET),
    ("bilirubin missing", dropped("LabResultReported", analyte="bilirubin"), UNKNOWN),
    ("one too high decides over one missing",
     several(dropped("LabResultReported", analyte="bilirubin"), lab("alt", value="99")), MET),
]  # fmt: skip
HEART = [
    ("QT 450 without block", assessed("ECG", qt="450", qtc="470", bundle_branch_block=False), NOT_MET),
    ("QT 451 without block", assessed("ECG", qt="451", qtc="440", bundle_branch_block=False), MET),
    ("QTc 480 with block", assessed("ECG", qt="500", qtc="480", bundle_branch_block=True), NOT_MET),
    ("QTc 481 with block", assessed("ECG", qt="400", qtc="481", bundle_branch_block=True), MET),
    ("block not known, and it decides", assessed("ECG", qt="451", qtc="440"), UNKNOWN),
    ("block not known, and it does not decide", assessed("ECG", qt="400", qtc="440"), NOT_MET),
    ("NYHA III", history("heart failure", present=True, details={"nyha": "III"}), MET),
    ("NYHA II", history("heart failure", present=True, details={"nyha": "II"}), NOT_MET),
    ("heart failure of a class not known", history("heart failure", present=True), UNKNOWN),
    ("infarction six months ago exactly",
     history("myocardial infarction", present=True, onset_date="2019-09-02"), MET),
    ("infarction six months and a day ago",
     history("myocardial infarction", present=True, onset_date="2019-09-01"), NOT_MET),
    ("infarction in a month that does not decide",
     history("myocardial infarction", present=True, onset_date="2019-09"), UNKNOWN),
    ("atrial fibrillation", history("arrhythmia with thrombotic risk", present=True), MET),
    ("an arrhythmia treated years ago",
     history("arrhythmia requiring treatment", present=True, onset_date="2010-01-01"), MET),
    ("no ECG", dropped("AssessmentRecorded", instrument="ECG"), UNKNOWN),
]  # fmt: skip
JUDGED = [
    ("I02", "not ITP", attested(ITP_diagnosis=False), NOT_MET),
    ("I02", "not attested", attested(ITP_diagnosis=None), UNKNOWN),
    ("E02", "secondary purpura", attested(secondary_thrombocytopenia=True), MET),
    ("E03", "poor compliance", attested(poor_compliance=True), MET),
    ("E10", "another reason", attested(other_reason=True), MET),
    ("E10", "never assessed", dropped("EligibilityAssessed"), UNKNOWN),
    ("E09", "transplant", history("transplant", present=True), MET),
    ("E09", "transplant not asked", dropped("HistoryRecorded", category="transplant"), UNKNOWN),
    ("I04", "an answer to one drug is not known", drug("TPO agent", response=None), UNKNOWN),
    ("I04", "one drug worked", drug("TPO agent", response="response"), NOT_MET),
    ("I04", "one drug worked, and relapse after splenectomy",
     several(drug("TPO agent", response="response"), splenectomy("2016-01-01", "Relapse")), MET),
    ("I04", "never given rituximab", lambda p: never("rituximab", p), NOT_MET),
]  # fmt: skip
CASES = (
    [("I01", *case) for case in AGE]
    + [("I03", *case) for case in SPLENECTOMY]
    + [("I05", *case) for case in DIAGNOSIS]
    + [("I06", *case) for case in RITUXIMAB]
    + [("I07", *case) for case in PLATELETS]
    + [("I08", *case) for case in CONSENT]
    + [("I09", *case) for case in CONTRACEPTION]
    + [("E01", *case) for case in ECOG]
    + [("E04", *case) for case in VIRUS]
    + [("E05", *case) for case in PREGNANCY]
    + [("E06", *case) for case in THROMBOSIS]
    + [("E07", *case) for case in CHEMISTRY]
    + [("E08", *case) for case in HEART]
    + JUDGED
)


NAMES = [f"{name}-{sentence[:60]}" for name, sentence, *_ in CASES]


@pytest.mark.parametrize(("criterion", "sentence", "change", "expected"), CASES, ids=NAMES)
def test_a_criterion_at_its_boundary(
    resolve: Any, patient: Any, criterion: str, sentence: str, change: Change, expected: VerdictValue
) -> None:
    change(patient)
    verdict = evaluate(resolve(), criterion, patient)
    assert verdict.value is expected, (sentence, verdict.because)
    assert verdict.because, "a verdict says why"


def test_every_criterion_of_the_record_is_put_to_the_test_at_a_boundary(seed: Any) -> None:
    assert {case[0] for case in CASES} == set(seed.definition.criteria)


def test_a_patient_who_fits_is_let_in_by_all_nineteen(resolve: Any, patient: Any) -> None:
    assessment = assess_eligibility(resolve(), patient)
    assert assessment
    assert len(assessment.verdicts) == 19
    assert not assessment.failing and not assessment.unknown


def test_nobody_is_let_in_on_an_empty_record(resolve: Any, record: Any) -> None:
    assessment = assess_eligibility(resolve(), record)
    assert not assessment
    assert {verdict.criterion for verdict in assessment.failing} == {"I08"}
    assert len(assessment.unknown) == 18


def test_an_exclusion_that_is_met_excludes_and_one_that_is_not_lets_in(resolve: Any, patient: Any) -> None:
    assert evaluate(resolve(), "E01", patient).permits
    assessed("ECOG", ecog="2")(patient)
    verdict = evaluate(resolve(), "E01", patient)
    assert verdict.value is MET and not verdict.permits and not verdict


def test_one_criterion_failing_or_unknown_is_enough_to_keep_a_patient_out(resolve: Any, patient: Any) -> None:
    lab("platelets", value="30")(patient)
    lab("hdv", text="pending")(patient)
    assessment = assess_eligibility(resolve(), patient)
    assert not assessment
    assert [verdict.criterion for verdict in assessment.failing] == ["I07"]
    assert [verdict.criterion for verdict in assessment.unknown] == ["E04"]


def test_a_verdict_names_the_facts_it_rests_on(resolve: Any, patient: Any) -> None:
    verdict = evaluate(resolve(), "I07", patient)
    count = next(f for f in patient.facts if f.content.get("analyte") == "platelets")
    used = {entry.name: entry for entry in verdict.inputs}
    assert used["platelets_last"].index == count.index
    assert used["platelets_last"].jti == count.jti
    assert used["platelets_last"].value == "12 10*9/L"
    assert count.index in verdict.indexes


def test_a_count_after_the_first_infusion_does_not_undo_entry(resolve: Any, patient: Any) -> None:
    patient.add("InfusionGiven", number=1, started_at="2020-03-10T09:00+08:00")
    patient.add("LabResultReported", "2020-03-20T08:00+08:00", analyte="platelets", value="150", unit="10*9/L")
    assert evaluate(resolve(), "I07", patient).value is MET


def test_the_newest_count_decides_and_not_the_one_recorded_last(resolve: Any, patient: Any) -> None:
    patient.add("LabResultReported", "2020-02-20", analyte="platelets", value="90", unit="10*9/L")
    assert evaluate(resolve(), "I07", patient).value is MET
    patient.add("LabResultReported", "2020-03-04", analyte="platelets", value="90", unit="10*9/L")
    assert evaluate(resolve(), "I07", patient).value is NOT_MET


def test_two_counts_whose_order_is_not_known_decide_only_where_they_agree(resolve: Any, patient: Any) -> None:
    patient.add("LabResultReported", "2020-03-03", analyte="platelets", value="25", unit="10*9/L")
    assert evaluate(resolve(), "I07", patient).value is MET
    patient.change("LabResultReported", {"value": "25"}, value="90")
    assert evaluate(resolve(), "I07", patient).value is UNKNOWN


def test_of_two_counts_with_the_same_stamp_the_later_record_counts(resolve: Any, patient: Any) -> None:
    patient.add("LabResultReported", "2020-03-03T08:00+08:00", analyte="platelets", value="90", unit="10*9/L")
    assert evaluate(resolve(), "I07", patient).value is NOT_MET


def test_a_pregnancy_test_in_the_course_of_the_study_counts_at_once(resolve: Any, patient: Any) -> None:
    patient.add("InfusionGiven", number=1, started_at="2020-03-10T09:00+08:00")
    patient.add("LabResultReported", "2020-03-16T08:00+08:00", analyte="hcg", text="positive")
    assert evaluate(resolve(), "I09", patient).value is NOT_MET
    assert evaluate(resolve(), "E05", patient).value is NOT_MET, "entry is judged by the test before treatment"


def test_a_judgement_that_contradicts_itself_is_unknown(resolve: Any, patient: Any) -> None:
    patient.change("EligibilityAssessed", criteria={"E03": {"verdict": "met"}})
    verdict = evaluate(resolve(), "E03", patient)
    assert verdict.value is UNKNOWN
    assert "attested" in verdict.because[0]


def test_without_attestation_the_investigators_own_verdict_counts(resolve: Any, patient: Any) -> None:
    attested(poor_compliance=None)(patient)
    patient.change("EligibilityAssessed", criteria={"E03": {"verdict": "not met"}})
    assert evaluate(resolve(), "E03", patient).value is NOT_MET
    patient.change("EligibilityAssessed", criteria={"E03": {"verdict": "perhaps"}})
    assert evaluate(resolve(), "E03", patient).value is UNKNOWN


def test_a_result_under_its_code_is_the_same_result(resolve: Any, patient: Any) -> None:
    lab("platelets", analyte="count", code={"system": "http://loinc.org", "code": "777-3"})(patient)
    assert evaluate(resolve(), "I07", patient).value is MET


def test_a_code_of_another_system_is_not_that_result(resolve: Any, patient: Any) -> None:
    lab("platelets", analyte="count", code={"system": "urn:race", "code": "777-3"})(patient)
    assert evaluate(resolve(), "I07", patient).value is UNKNOWN


def test_hostile_content_makes_a_verdict_unknown_and_never_an_error(resolve: Any, patient: Any) -> None:
    hostile = [{"a": 1}, [1], 1.5, True, "", "9" * 400, "-", "٣", "2020-99-99", -1, {"high": {}}]
    for value in hostile:
        for fact in list(patient.facts):
            content = {name: value for name in fact.content if name not in ("analyte", "category")}
            place = patient.facts.index(fact)
            patient.facts[place] = fact._replace(content={**fact.content, **content})
            assess_eligibility(resolve(), patient)
            patient.facts[place] = fact
        patient.facts = [f._replace(content=dict.fromkeys(f.content, value)) for f in patient.facts]
        assert not assess_eligibility(resolve(), patient)
