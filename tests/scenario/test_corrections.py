"""Nothing is edited: what was wrong is corrected, voided or reversed, and everything stays visible in order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.domain import basis, findings, query
from ledger.domain.refusals import Finding
from tests.scenario.fixtures import ledger_of, record_of, study_of, subject_of
from tests.scenario.simulator import Simulator, Subject, Told, refused


@pytest.fixture
def ada(trial: Simulator) -> Subject:
    """A subject who was screened."""
    ada = trial.subject("001")
    trial.screen(ada)
    return ada


# -- corrections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "002"),
        ("sex", "female"),
        ("birth_date", "1981"),
        ("childbearing_potential", True),
        ("occurred_at", "2026-02-28T10:00:00+01:00"),
        ("occurred_at_status", "zone unknown"),
        ("performed_by", "coordinator-NORTH"),
        ("visit", "screening"),
        ("source", {"kind": "paper", "identifier": "p. 12", "status": "certified copy"}),
        ("late_reason", "the register was locked away"),
        ("comment", "said so herself"),
        ("age", "44"),
    ],
)
def test_any_field_of_a_fact_is_corrected_and_every_value_stays(trial: Simulator, field: str, value: Any) -> None:
    told = trial.screen(trial.subject("001"))
    first = record_of(trial, told).content.get(field)
    act = trial.correct(told, field, value, reason="compared with the source")
    record = record_of(trial, told)
    assert record.content[field] == value
    assert [v.value for v in record.values[field]] == [first, value]
    newest = record.values[field][-1]
    assert (newest.index, newest.iss, newest.reason) == (act.index, "coordinator-NORTH", "compared with the source")
    assert record.values[field][0].index == told.index


def test_values_stay_in_order_through_many_corrections_of_two_fields(trial: Simulator) -> None:
    told = trial.screen(trial.subject("001"))
    for value in ("002", "003", "001", "004"):
        trial.correct(told, "number", value)
    trial.correct(told, "sex", "unknown", by=trial.staff().pi)
    record = record_of(trial, told)
    assert [v.value for v in record.values["number"]] == ["001", "002", "003", "001", "004"]
    assert [v.value for v in record.values["sex"]] == ["male", "unknown"]
    assert [v.role for v in record.values["sex"]] == ["coordinator", "principal-investigator"]
    indexes = [v.index for v in record.values["number"]]
    assert indexes == sorted(set(indexes))


def test_a_correction_names_the_original_even_after_other_corrections(trial: Simulator) -> None:
    told = trial.screen(trial.subject("001"))
    act = trial.correct(told, "number", "002")
    with refused("CORRECTION-7") as problem:
        trial.correct(act, "value", "003")
    assert told.jti in problem["because"]
    assert problem["indexes"] == [act.index, told.index]


def test_the_site_of_a_fact_is_corrected(trial: Simulator) -> None:
    told = trial.screen(trial.subject("001"))
    trial.correct(told, "site", "SOUTH")
    record = record_of(trial, told)
    assert record.site == "SOUTH"
    assert [v.value for v in record.values["site"]] == ["NORTH", "SOUTH"]
    assert record.claims["site"] == "NORTH", "what was signed stays as it was signed"
    trial.correct(told, "number", "002")  # acts still name the original's own site


@pytest.mark.parametrize("value", [None, "", "  ", 7, ["SOUTH"]])
def test_a_site_is_corrected_to_nothing_but_a_site(trial: Simulator, value: Any) -> None:
    told = trial.screen(trial.subject("001"))
    with refused("CORRECTION-4"):
        trial.correct(told, "site", value)


def test_a_value_is_taken_back_where_none_is_known(trial: Simulator) -> None:
    told = trial.screen(trial.subject("001"))
    trial.correct(told, "birth_date", None, reason="there is no document")
    record = record_of(trial, told)
    assert "birth_date" not in record.content
    assert [v.value for v in record.values["birth_date"]] == ["1980-06-01", None]


@pytest.mark.parametrize("reason", ["", " ", "\t\n", " "])
def test_a_blank_reason_is_refused(trial: Simulator, ada: Subject, reason: str) -> None:
    told = trial.consent(ada)
    with refused("CATALOGUE-3"):
        trial.correct(told, "version", "2", reason=reason)
    with refused("CATALOGUE-3"):
        trial.void(told, reason=reason)


def test_a_missing_reason_is_refused(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    claims = {"corrects": {**told.target, "field": "version"}}
    with refused("CATALOGUE-3"):
        trial.record(trial.staff().coordinator, "EntryCorrected", ada, claims=claims, value="2")


@pytest.mark.parametrize(
    "field", ["jti", "iss", "role", "sub", "iat", "event", "_sd", "body", "content", "no such field"]
)
def test_what_is_no_field_of_the_fact_is_not_corrected(trial: Simulator, ada: Subject, field: str) -> None:
    told = trial.consent(ada)
    with refused("CORRECTION-4", "CLAIM-13"):
        trial.correct(told, field, "x")


def test_one_subjects_record_is_not_corrected_under_another(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    ben = trial.subject("002")
    trial.screen(ben)
    with refused("CORRECTION-1"):
        trial.correct(told, "version", "2", about=ben.label)


def test_a_corrected_fact_decides_as_corrected(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ben = trial.subject("002")
    trial.screen(ben)
    trial.consent(ben)
    ferritin, *_ = trial.make_eligible(ben)
    trial.correct(ferritin, "value", "12")
    with refused("ELIGIBILITY-1") as problem:
        trial.decide_eligible(ben)
    assert ferritin.index in problem["indexes"]
    trial.correct(ferritin, "value", "85")
    trial.decide_eligible(ben)


# -- voids --------------------------------------------------------------------------------------------------


def test_a_void_fact_counts_no_longer_and_stays_visible(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    void = trial.void(told, reason="that was the sister")
    record = record_of(trial, told)
    assert record.void
    assert record.content["version"] == "1"
    assert record.acts == [void.index]
    assert subject_of(trial, ada).records.of("ConsentGiven") == []


def test_a_void_of_a_void_lifts_it_and_so_on(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    chain, state = trial.void(told), True
    for _ in range(4):
        assert record_of(trial, told).void is state
        chain, state = trial.void(chain, reason="on second thoughts"), not state
    assert record_of(trial, told).void is state


def test_what_is_void_is_not_voided_again_but_its_void_is(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    void = trial.void(told)
    with refused("CORRECTION-8") as problem:
        trial.void(told)
    assert problem["indexes"] == [told.index, void.index]
    trial.void(void)
    trial.void(told, reason="wrong after all")
    assert record_of(trial, told).void


@pytest.mark.parametrize("event", ["EntryCorrected", "QueryOpened"])
def test_only_facts_and_voids_are_voided(trial: Simulator, ada: Subject, event: str) -> None:
    told = trial.consent(ada)
    act = trial.correct(told, "version", "2") if event == "EntryCorrected" else trial.query(told)
    with refused("CORRECTION-7"):
        trial.void(act)


# -- decisions and governance -------------------------------------------------------------------------------


def test_a_decision_is_reversed_and_its_seat_is_free_again(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    people = [trial.admit(trial.subject(f"{n:03}")) for n in range(4)]
    seats = [trial.enrol(person, "LOW") for person in people[:3]]
    with refused("COHORT-3"):
        trial.enrol(people[3], "LOW")
    trial.reverse(seats[1], reason="enrolled into the wrong cohort")
    assert record_of(trial, seats[1]).reversed_at is not None
    trial.enrol(people[3], "LOW")


def test_an_enrolment_is_not_reversed_while_an_infusion_stands_and_nothing_vanishes(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"))
    seat = trial.enrol(ada, "LOW")
    given = [trial.treat(ada, 1)]
    with refused("CORRECTION-12") as problem:
        trial.reverse(seat)
    assert problem["indexes"] == [seat.index, given[0].index]
    trial.fact("TreatmentDiscontinued", ada, reason="enrolled by mistake")
    with refused("CORRECTION-12"):
        trial.reverse(seat)
    assert record_of(trial, seat).stands
    void = trial.void(given[0], reason="the bag was given to somebody else")
    trial.reverse(seat)
    trial.void(void, reason="it was hers after all")
    assert "INFUSION-18" in {finding.rule for finding in findings.of_subject(study_of(trial), subject_of(trial, ada))}


@pytest.mark.parametrize("field", ["eligible", "reason", "occurred_at"])
def test_a_decision_is_not_corrected(trial: Simulator, ada: Subject, field: str) -> None:
    told = trial.decide_eligible(ada, eligible=False)
    with refused("CORRECTION-3", "CORRECTION-4"):
        trial.correct(told, field, "x", by=trial.staff().investigator)
    with refused("CORRECTION-3"):
        trial.void(told, by=trial.staff().investigator)


def test_governance_is_neither_corrected_nor_voided_nor_reversed(trial: Simulator) -> None:
    told = trial.approve_consent("2", "en")
    sponsor = trial.cast.sponsor
    with refused("CATALOGUE-4"):
        trial.correct(told, "version", "3", by=sponsor)
    with refused("CATALOGUE-4"):
        trial.void(told, by=sponsor)
    with refused("CORRECTION-9"):
        trial.reverse(told, by=sponsor)


def test_a_decision_is_reversed_only_by_who_may_decide_it(trial: Simulator) -> None:
    told = trial.open_cohort("LOW")
    with refused("CORRECTION-4"):
        trial.reverse(told, by=trial.cast.monitor)
    trial.reverse(told, by=trial.staff("SOUTH").investigator)


def changed_basis(trial: Simulator, subject: Subject) -> list[Finding]:
    """Decisions whose basis changed."""
    return list(basis.findings(study_of(trial), subject_of(trial, subject)))


def test_a_decision_shows_that_its_basis_changed(trial: Simulator) -> None:
    ben = trial.subject("002")
    trial.screen(ben)
    trial.consent(ben)
    ferritin, *_ = trial.make_eligible(ben)
    decision = trial.decide_eligible(ben)
    assert changed_basis(trial, ben) == []
    act = trial.correct(ferritin, "value", "84", reason="misread")
    (finding,) = changed_basis(trial, ben)
    assert finding.rule == "BASIS-1"
    assert finding.indexes == (decision.index, act.index)
    trial.reverse(decision)
    assert changed_basis(trial, ben) == []


def test_a_fact_recorded_late_changes_the_basis_of_a_decision_made_before(trial: Simulator) -> None:
    ben = trial.admit(trial.subject("002"))
    yesterday = "2026-03-01T10:00:00+01:00"
    late = trial.fact("HistoryRecorded", ben, term="hay fever", category="allergy", occurred_at=yesterday)
    assert {i for finding in changed_basis(trial, ben) for i in finding.indexes} >= {late.index}


# -- two people ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["sponsor", "data_manager"])
def test_a_sponsors_correction_waits_for_the_sites_countersignature(trial: Simulator, ada: Subject, who: str) -> None:
    told = trial.consent(ada)
    by = getattr(trial.cast, who)
    act = trial.correct(told, "version", "2", by=by)
    assert record_of(trial, told).content["version"] == "1", "nothing changes before the second signature"
    assert "version" not in record_of(trial, told).values
    second = trial.countersign(act, trial.staff().investigator)
    record = record_of(trial, told)
    assert record.content["version"] == "2"
    assert [v.iss for v in record.values["version"]] == ["coordinator-NORTH", by.id]
    assert record_of(trial, act).countersigned_at == second.index


def test_nobody_of_the_sponsors_side_countersigns_it(trial: Simulator, ada: Subject) -> None:
    act = trial.correct(trial.consent(ada), "version", "2", by=trial.cast.data_manager)
    for other in (trial.cast.sponsor, trial.cast.monitor, trial.cast.data_manager):
        with refused("COUNTERSIGN-1", "COUNTERSIGN-2"):
            trial.countersign(act, other)


def test_the_second_signature_decides_anew(trial: Simulator, ada: Subject) -> None:
    """What was possible at the first signature and is so no longer is refused at the second."""
    told = trial.consent(ada)
    act = trial.correct(told, "version", "2", by=trial.cast.data_manager)
    trial.void(told)
    with refused("CORRECTION-8"):
        trial.countersign(act, trial.staff().pi)
    assert record_of(trial, told).content["version"] == "1"


def test_the_first_signers_key_must_still_be_good_at_the_second_signature(trial: Simulator, ada: Subject) -> None:
    from tests.scenario.cast import key_of

    told = trial.consent(ada)
    manager = trial.cast.data_manager
    act = trial.correct(told, "version", "2", by=manager)
    kid = key_of(manager).kid
    trial.record(trial.cast.registrar, "KeyRevoked", f"actor/{manager.id}", kid=kid, reason="stolen")
    with refused("AUTHORITY-3"):
        trial.countersign(act, trial.staff().pi)


def test_what_was_countersigned_is_not_countersigned_again(trial: Simulator, ada: Subject) -> None:
    act = trial.correct(trial.consent(ada), "version", "2", by=trial.cast.sponsor)
    trial.countersign(act, trial.staff().pi)
    with refused("COUNTERSIGN-1"):
        trial.countersign(act, trial.staff().investigator)


def test_a_sponsors_void_waits_too_and_its_void_does_not_count_before(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    act = trial.void(told, by=trial.cast.sponsor)
    assert not record_of(trial, told).void
    trial.countersign(act, trial.staff().pi)
    assert record_of(trial, told).void


# -- locks --------------------------------------------------------------------------------------------------


def lock(trial: Simulator) -> None:
    """The study is locked by two people."""
    told = trial.decide(trial.cast.data_manager, "StudyLocked", "study", reason="all data are in")
    assert study_of(trial).records.of("StudyLocked") == [], "a lock stands when the second person signed"
    trial.countersign(told, trial.staff().pi)


def test_after_a_lock_nothing_is_corrected_voided_or_decided_and_facts_are_still_recorded(
    trial: Simulator, ada: Subject
) -> None:
    told = trial.consent(ada)
    decision = trial.decide_eligible(ada, eligible=False)
    waiting = trial.correct(told, "version", "2", by=trial.cast.sponsor)
    lock(trial)
    for attempt in (
        lambda: trial.correct(told, "version", "3"),
        lambda: trial.void(told),
        lambda: trial.reverse(decision),
        lambda: trial.decide_eligible(ada, eligible=False),
        lambda: trial.countersign(waiting, trial.staff().pi),
    ):
        with refused("LOCK-1"):
            attempt()
    event = trial.adverse_event(ada, serious=True)
    trial.query(event)
    trial.hold_cohort("LOW")
    trial.withdraw_consent(ada)


def test_a_freeze_of_a_site_reaches_its_subjects_and_no_others(trial: Simulator) -> None:
    north, south = (trial.screen(trial.subject("1", site)) for site in ("NORTH", "SOUTH"))
    manager = replace(trial.cast.data_manager, site=None)
    frozen = trial.decide(manager, "RecordsFrozen", "site/NORTH", reason="monitored")
    trial.countersign(frozen, trial.staff("NORTH").pi)
    with refused("LOCK-1"):
        trial.correct(north, "number", "2")
    trial.correct(south, "number", "2")


# -- queries ------------------------------------------------------------------------------------------------


def query_state(trial: Simulator, subject: Subject, told: Told) -> str:
    """`open`, `answered` or `closed`."""
    records = subject_of(trial, subject).records
    opened = records.get(told.jti)
    assert opened is not None
    return query.state(records, opened)


def test_a_query_is_opened_answered_closed_and_reopened(trial: Simulator, ada: Subject) -> None:
    told = trial.query(trial.consent(ada), "Is the language right?", field="language")
    seen = [query_state(trial, ada, told)]
    for step in (trial.answer, trial.close_query, trial.reopen_query, trial.answer, trial.reopen_query):
        step(told)
        seen.append(query_state(trial, ada, told))
    assert seen == ["open", "answered", "closed", "open", "answered", "open"]


def test_steps_that_do_not_fit_the_querys_state_are_refused(trial: Simulator, ada: Subject) -> None:
    told = trial.query(trial.consent(ada))
    with refused("QUERY-1"):
        trial.reopen_query(told)
    trial.answer(told)
    with refused("QUERY-1"):
        trial.answer(told)
    trial.close_query(told)
    with refused("QUERY-1"):
        trial.close_query(told)


def test_the_site_answers_and_does_not_close_and_the_sponsor_does_not_answer(trial: Simulator, ada: Subject) -> None:
    told = trial.query(trial.consent(ada))
    with refused("ROLE-1"):
        trial.close_query(told, by=trial.staff().coordinator)
    with refused("ROLE-1"):
        trial.answer(told, by=trial.cast.data_manager)
    with refused("ROLE-1"):
        trial.query(trial.consent(ada), by=trial.staff().coordinator)


def test_two_queries_about_one_record_are_answered_apart(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    one, two = trial.query(told, "First?"), trial.query(told, "Second?", by=trial.cast.monitor)
    trial.answer(one)
    assert (query_state(trial, ada, one), query_state(trial, ada, two)) == ("answered", "open")


def test_a_query_about_nothing_is_refused(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    lost = {"jti": "00000000-0000-4000-8000-000000000000", "digest": told.target["digest"]}
    with refused("CORRECTION-1"):
        trial.record(trial.cast.data_manager, "QueryOpened", ada, record=lost, question="What?")


# -- attribution and signatures -----------------------------------------------------------------------------


def test_a_signature_is_withdrawn_by_its_signer_and_the_record_says_so(trial: Simulator) -> None:
    told = trial.open_cohort("LOW")
    fields = {"record": told.target, "reason": "I signed without having read it"}
    act = trial.record(trial.staff().pi, "SignatureWithdrawn", "cohort/LOW", **fields)
    assert record_of(trial, told).withdrawn_at == act.index


def test_an_attribution_is_disputed_and_the_record_says_so(trial: Simulator, ada: Subject) -> None:
    told = trial.consent(ada)
    fields = {"record": told.target, "reason": "I was on leave that day"}
    act = trial.record(trial.staff().coordinator, "AttributionDisputed", ada, **fields)
    assert record_of(trial, told).disputed == [act.index]
    assert ledger_of(trial).entry(trial.plan.study, act.index).statement.event == "AttributionDisputed"


def test_the_name_and_the_time_of_a_signature_are_not_corrected(trial: Simulator) -> None:
    ada = trial.subject("1")
    pi = trial.staff().pi
    told = trial.record(pi, "AdverseEventReported", ada, term="rash", meaning="authorship")
    for name, value in (("printed_name", "Invented Somebody"), ("signed_at", "2026-03-02T08:00:00+00:00")):
        with refused("CORRECTION-4"):
            trial.correct(told, name, value, by=pi)
    assert record_of(trial, told).content["printed_name"] == pi.name
