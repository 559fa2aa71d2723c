"""The patient's page and the list: what the domain derives, from rows, at any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.domain import findings as finding_rules
from ledger.domain.catalogue import CATALOGUE
from projections.engine.errors import ReadingMalformed, RecordNotFound, SubjectNotFound
from projections.patient import view as patient
from tests.integration.projections.book import Book, ref, subject_id
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.pages import reading
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import study_of, subject_of
from tests.scenario.simulator import Simulator

Follow = Callable[[], int]


def page(sim: Simulator, number: str, as_of: int | str | None = None) -> dict[str, Any]:
    """A patient's page as it stands, or stood."""
    with reading(sim, "patient", as_of) as reader:
        return patient.subject(reader, number)


def test_the_page_of_a_treated_patient_says_it_all(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    trial.treat(ada, 1)
    told = trial.adverse_event(ada, "fever", 2, serious=False)
    trial.query(told, "Which grade?")
    shown = page(trial, "001")
    assert shown["subject"]["number"] == "001"
    assert shown["subject"]["status"] == "treated"
    assert shown["consent"]["standing"] == "stands"
    assert shown["eligibility"]["permits"] is True
    assert [one["id"] for one in shown["eligibility"]["criteria"]] == ["I1", "I2", "E1", "E2", "E3"]
    ferritin = next(one for one in shown["eligibility"]["criteria"] if one["id"] == "I2")
    assert ferritin["inputs"] and all({"value", "jti", "index"} <= set(one) for one in ferritin["inputs"])
    assert shown["enrolment"]["cohort"] == "LOW"
    assert (shown["enrolment"]["dose"], shown["enrolment"]["dose_unit"]) == ("1.5", "mg/kg")
    assert shown["enrolment"]["order"] == 1
    assert shown["enrolment"]["decision"]["basis_changed"] == []
    (dose,) = shown["treatment"]["administrations"]
    assert dose["authorisation"] is not None
    assert dose["identity_check"]["matched"] is True
    assert dose["unit"]["state"] == "released"
    assert [one["term"] for one in shown["adverse_events"]["events"]] == ["fever"]
    assert [one["state"] for one in shown["queries"]["queries"]] == ["open"]
    assert {one["event"] for one in shown["signatures"]["signatures"]} >= {"EligibilityDecided", "SubjectEnrolled"}
    assert shown["schedule"]


def test_an_administration_shows_no_authorisation_that_names_another_unit_or_came_afterwards(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    unit, other = trial.unit(), trial.unit()
    trial.authorise(ada, 1, unit)
    trial.infuse(ada, 1, other, dose="4.5")
    (dose,) = page(trial, "001")["treatment"]["administrations"]
    assert dose["authorisation"] is None
    assert "INFUSION-11" in {finding["rule"] for finding in page(trial, "001")["findings"]}
    bea = trial.admit(trial.subject("002"), "LOW")
    began = trial.stamp()
    trial.clock.turn(hours=1)
    told = trial.authorise(bea, 1, unit)
    given = trial.infuse(bea, 1, unit, started_at=began)
    (dose,) = page(trial, "002")["treatment"]["administrations"]
    assert dose["authorisation"] is None
    trial.correct(given, "started_at", trial.stamp())
    (dose,) = page(trial, "002")["treatment"]["administrations"]
    assert dose["authorisation"] == told.index


def test_the_page_derives_exactly_what_the_writer_derives(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    trial.treat(ada, 1)
    trial.result(ada, "FERR", "12", "ug/L")
    bob = trial.subject("002")
    trial.draw(bob, "S-9", planned="NO-SUCH-POINT")
    for one, order in ((ada, 1), (bob, None)):
        aggregate, study = subject_of(trial, one), study_of(trial)
        expected = [(f.rule, f.because, list(f.indexes)) for f in finding_rules.of_subject(study, aggregate, order)]
        shown = page(trial, one.label.partition("/")[2])
        assert [(f["rule"], f["because"], f["indexes"]) for f in shown["findings"]] == expected != []


def test_a_resolved_ambiguity_changes_verdicts_without_a_row_being_rewritten(trial: Simulator) -> None:
    ada = trial.subject("001")
    trial.screen(ada)
    trial.consent(ada)
    trial.make_eligible(ada)
    trial.fact("HistoryRecorded", ada, term="asthma as a child", category="asthma", present=True)
    before = page(trial, "001")
    trial.resolve("AMB-1", "not-counted")
    after = page(trial, "001")
    verdicts = [
        {one["id"]: (one["verdict"], one["read_as"]) for one in shown["eligibility"]["criteria"]}
        for shown in (before, after)
    ]
    assert verdicts[0]["E3"] != verdicts[1]["E3"]
    assert before["subject"]["last_index"] == after["subject"]["last_index"]


def test_as_of_an_earlier_size_the_page_knows_no_more_than_was_known(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.subject("001")
    trial.screen(ada)
    consented = trial.consent(ada)
    trial.make_eligible(ada)
    trial.decide_eligible(ada)
    trial.enrol(ada, "LOW")
    early = page(trial, "001", as_of=consented.index)
    assert early["consent"]["standing"] == "none"
    assert early["enrolment"] is None
    assert early["subject"]["status"] == "screened"
    assert early["cut"]["size"] == consented.index
    assert page(trial, "001")["subject"]["status"] == "enrolled"
    with pytest.raises(SubjectNotFound):
        page(trial, "001", as_of=consented.index - 1)


def test_what_was_recorded_after_consent_was_withdrawn_is_masked(trial: Simulator) -> None:
    ada = trial.subject("001")
    trial.screen(ada)
    trial.consent(ada)
    seen = trial.result(ada, "FERR", "80", "ug/L")
    trial.later(days=1)
    trial.withdraw_consent(ada, "data", "specimens", "procedures")
    trial.later(days=1)
    hidden = trial.result(ada, "FERR", "81", "ug/L")
    shown = {one["index"]: one for one in page(trial, "001")["labs"]["results"]}
    assert shown[seen.index]["fields"]["value"] == "80"
    assert shown[hidden.index]["masked"] is True
    assert shown[hidden.index]["fields"] == {}
    assert page(trial, "001")["masked"] == [hidden.index]
    trial.later(days=1)
    trial.consent(ada)
    assert page(trial, "001")["masked"] == [hidden.index], "a later consent does not reach back"


def test_corrected_and_void_values_show_every_value_in_order(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    follow()
    with read("patient") as reader:
        shown = patient.subject(reader, "P-01")
        history = patient.history(reader, subject_id(1), book.statements[3].jti, "birth_date")
    screening = shown["subject"]["screening"][0]
    values = screening["corrected"]["birth_date"]
    assert [one["value"] for one in values] == ["1990-03-04", "1990-04-03", None, "1991"]
    reasons = [None, "day and month exchanged", "not known after all", "found on the card"]
    assert [one["reason"] for one in values] == reasons
    assert all(one["actor"] == "chen" and one["role"] == "investigator" for one in values)
    assert history["record"]["history"]["birth_date"] == values
    assert screening["fields"]["birth_date"] == "1991"
    (lab,) = shown["labs"]["results"]
    assert (lab["standing"], [act["event"] for act in lab["acts"]]) == ("stands", ["EntryVoided"])
    assert lab["acts"][0]["standing"] == "void"


def test_a_correction_that_waits_changes_nothing_yet(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    follow()
    signed = next(i for i, s in enumerate(book.statements) if s.event == "Countersigned")
    for size, sex in ((signed, "male"), (signed + 1, "female")):
        with read("patient", as_of=size) as reader:
            assert patient.subject(reader, "P-2")["subject"]["sex"] == sex


def test_a_study_without_a_protocol_is_served_with_empty_sections(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    follow()
    with read("patient") as reader:
        shown = patient.subject(reader, "P-2")
        found = patient.findings(reader)
    assert shown["eligibility"]["criteria"] == []
    assert shown["eligibility"]["permits"] is None
    assert shown["schedule"] == shown["due"] == []
    assert shown["enrolment"] is None
    assert {one["rule"] for one in found["findings"]} >= {"SITE-4"}


def test_the_list_is_paged_filtered_and_counted(book: Book, follow: Follow, read: Read) -> None:
    for number in range(7):
        book.tell("SubjectScreened", number, site=f"S{number % 2}", number=f"P-{number}", population="patient")
    book.tell("VisitRecorded", 99)
    book.sign()
    follow()
    with read("patient") as reader:
        found, after = [], None
        while True:
            listed = patient.subjects(reader, after=after, limit=3)
            assert listed["total"] == 8
            found += [one["number"] for one in listed["subjects"]]
            after = listed["next"]
            if after is None:
                break
        assert sorted(filter(None, found)) == [f"P-{n}" for n in range(7)]
        assert found.count(None) == 1
        odd = patient.subjects(reader, site="S1")
        assert (odd["total"], [one["number"] for one in odd["subjects"]]) == (4, [None, "P-1", "P-3", "P-5"])
        assert patient.subjects(reader, search="p-6")["total"] == 1
        assert patient.subjects(reader, search="%")["total"] == 0
        assert patient.subjects(reader, population="healthy-control")["subjects"] == []
        with pytest.raises(ReadingMalformed):
            patient.subjects(reader, after="P-3")


def test_the_list_counts_what_stands(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    wrong = book.tell("AdverseEventReported", 1, term="Cough", serious=True)
    book.void(wrong)
    book.sign()
    follow()
    with read("patient") as reader:
        one, two = patient.subjects(reader)["subjects"]
    assert (one["number"], one["cohort"], one["status"]) == ("P-01", "HIGH", "treated")
    assert (one["adverse_events"], one["serious_adverse_events"], one["administrations"]) == (1, 0, 1)
    assert (two["number"], two["status"], two["open_queries"]) == ("P-2", "withdrawn", 1)


def test_a_subject_is_found_by_uuid_and_by_number_and_not_otherwise(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    follow()
    with read("patient") as reader:
        assert patient.subject(reader, subject_id(1)) == patient.subject(reader, "P-01")
        for name in ("P-1", "p-01", "", subject_id(3), "../P-01"):
            with pytest.raises(SubjectNotFound):
                patient.subject(reader, name)
        with pytest.raises(RecordNotFound):
            patient.history(reader, "P-01", book.statements[4].jti)


def test_as_of_a_size_a_subject_is_found_by_the_number_it_had_then(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    follow()
    renumbered = next(
        i for i, s in enumerate(book.statements) if s.event == "EntryCorrected" and s.content["value"] == "P-01"
    )
    with read("patient", as_of=renumbered) as reader:
        assert patient.subject(reader, "P-1")["subject"]["id"] == subject_id(1)
        with pytest.raises(SubjectNotFound):
            patient.subject(reader, "P-01")
    with read("patient", as_of=renumbered + 1) as reader:
        assert patient.subject(reader, "P-01")["subject"]["id"] == subject_id(1)
        with pytest.raises(SubjectNotFound):
            patient.subject(reader, "P-1")


def test_a_decision_whose_basis_changed_shows_what_changed(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.subject("001")
    trial.screen(ada)
    trial.consent(ada)
    facts = trial.make_eligible(ada)
    trial.decide_eligible(ada)
    trial.enrol(ada, "LOW")
    ferritin = next(told for told in facts if told.event == "LabResultReported")
    act = trial.correct(ferritin, "value", "19", "digits exchanged")
    shown = page(trial, "001")
    assert shown["eligibility"]["decision"]["basis_changed"] == [act.index]
    assert shown["enrolment"]["decision"]["basis_changed"] == [act.index]
    assert shown["eligibility"]["failing"] == ["I2"]
    assert {"BASIS-1", "ELIGIBILITY-5"} <= {one["rule"] for one in shown["findings"]}


def test_every_record_of_a_subject_stands_somewhere_on_its_page(book: Book, follow: Follow, read: Read) -> None:
    first = book.tell("SubjectScreened", 1, number="P-1", population="patient")
    for model in CATALOGUE:
        if "subject" not in model.about:
            continue
        claims = {} if model.target is None else {model.target: ref(first)}
        if model.target == "corrects":
            claims["corrects"]["field"] = "comment"
        body = {name: ref(first) for name in ("record",) if name in model.model_fields}
        given = {"reason": "x"} if "reason" in model.disclosed_fields() else {}
        if model.__name__ == "SpecimenDrawn":
            given["specimen"] = "S-1"
        book.tell(model.__name__, 1, claims=claims, body=body or None, **given)
    book.sign()
    follow()
    with read("patient") as reader:
        shown = patient.subject(reader, subject_id(1))
    found: set[int] = set()

    def gather(value: Any) -> None:
        if isinstance(value, dict):
            if "event_label" in value:
                found.add(value["index"])
            for part in value.values():
                gather(part)
        elif isinstance(value, list):
            for part in value:
                gather(part)

    gather({name: part for name, part in shown.items() if name != "findings"})
    assert found == set(range(1, book.size))


def test_signatures_over_records_name_them(book: Book, follow: Follow, read: Read) -> None:
    one = book.tell("SubjectScreened", 1, number="P-1")
    book.tell("RecordsSigned", 1, body={"records": [ref(one)]}, claims={"meaning": "approval"})
    book.sign()
    follow()
    with read("patient") as reader:
        (signature,) = patient.subject(reader, "P-1")["signatures"]["signatures"]
    assert signature["records"] == [one.jti]
    assert (signature["actor"], signature["meaning"], signature["standing"]) == ("chen", "approval", "stands")
