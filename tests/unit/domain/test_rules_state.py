"""What is derived from the records: consent, adverse events, units, cohorts, and where a subject belongs."""

from __future__ import annotations

from datetime import timedelta

from ledger.domain import (
    adverse_event,
    basis,
    consent,
    dose_level,
    eligibility,
    participation,
    pregnancy,
    product,
    specimen,
)
from ledger.domain.study import protocol_for
from tests.unit.domain.conftest import Trial


def test_consent_stands_is_not_current_is_withdrawn_and_stands_again(trial: Trial) -> None:
    ada = trial.screened()

    def standing() -> str:
        return consent.status(trial.study, trial.subject(ada)).standing

    assert standing() == "none"
    given = trial.consent(ada)
    assert standing() == "stands"
    trial.correct(given, "verification", "not verified")
    assert standing() == "not verified"
    trial.correct(given, "verification", "verified")
    trial.fact("ConsentWithdrawn", ada, scope=["contact"])
    assert standing() == "partly withdrawn"
    trial.fact("ConsentWithdrawn", ada, scope=["data"])
    assert standing() == "withdrawn"
    trial.approve("2")
    trial.later(days=1)
    trial.consent(ada)
    assert standing() == "withdrawn", "only a consent to what is approved lifts a withdrawal"
    trial.consent(ada, "2", purpose="reconsent")
    assert standing() == "stands"
    trial.later(days=1)
    trial.approve("3")
    assert standing() == "not current", "a renewal that is due brings no withdrawal back"


def test_after_a_withdrawal_an_older_consent_never_stands_again(trial: Trial) -> None:
    ada = trial.screened()
    trial.consent(ada)
    trial.later(days=1)
    trial.fact("ConsentWithdrawn", ada, scope=["treatment"])
    trial.later(days=1)
    again = trial.consent(ada, purpose="reconsent")
    status = consent.status(trial.study, trial.subject(ada))
    assert status and status.indexes == (again.index,)
    trial.later(days=1)
    trial.approve("2")
    trial.void(again)
    assert consent.status(trial.study, trial.subject(ada)).refusal is consent.ConsentIsWithdrawn


def test_a_consent_dated_after_the_decision_lifts_no_withdrawal_yet(trial: Trial) -> None:
    ada = trial.screened()
    trial.consent(ada)
    trial.later(days=1)
    trial.fact("ConsentWithdrawn", ada, scope=["treatment"])
    before = trial.stamp
    trial.later(days=1)
    trial.consent(ada, purpose="reconsent")
    assert not consent.status(trial.study, trial.subject(ada), before)
    trial.later(minutes=1)
    assert consent.status(trial.study, trial.subject(ada), trial.stamp)


def test_a_better_consent_counts_though_a_worse_one_came_later(trial: Trial) -> None:
    ada = trial.screened()
    good = trial.consent(ada)
    trial.consent(ada, version="0")
    status = consent.status(trial.study, trial.subject(ada))
    assert status and status.record is good


def test_an_adverse_event_is_what_its_follow_ups_say_and_keeps_its_worst_grade(trial: Trial) -> None:
    ada = trial.enrolled()
    rash = trial.fact("AdverseEventReported", ada, term="rash", grade=2, serious=False)
    trial.fact("AdverseEventFollowedUp", ada, adverse_event=rash.jti, grade=4, serious=True)
    trial.fact("AdverseEventFollowedUp", ada, adverse_event=rash.jti, grade=1, outcome="recovered")
    [event] = adverse_event.adverse_events(trial.subject(ada))
    assert (event.get("term"), event.get("grade"), event.get("serious")) == ("rash", 1, True)
    assert (event.get("outcome"), event.highest_grade(), event.fatal) == ("recovered", 4, False)


def test_the_sponsor_s_opinion_stands_beside_the_investigator_s_and_never_in_its_place(trial: Trial) -> None:
    ada = trial.enrolled()
    rash = trial.fact("AdverseEventReported", ada, term="rash")
    judged = {"adverse_event": rash.jti, "causality": "probable", "related": True}
    own = trial.fact("AdverseEventAssessed", ada, role="investigator", **judged)
    claimed = {"adverse_event": rash.jti, "related": False, "party": "investigator"}
    other = trial.fact("AdverseEventAssessed", ada, role="sponsor-safety", **claimed)
    [event] = adverse_event.adverse_events(trial.subject(ada))
    assert event.opinion("investigator") is own and event.opinion("sponsor") is other


def test_a_voided_adverse_event_takes_its_follow_ups_with_it(trial: Trial) -> None:
    ada = trial.enrolled()
    rash = trial.fact("AdverseEventReported", ada, term="rash")
    trial.fact("AdverseEventFollowedUp", ada, adverse_event=rash.jti, grade=4)
    trial.void(rash)
    assert adverse_event.adverse_events(trial.subject(ada)) == []


def test_a_unit_is_unknown_registered_released_revoked_disposed_of(trial: Trial) -> None:
    def state() -> str:
        return product.unit(trial.study, "U1").state

    assert state() == "unknown"
    trial.unit("U1", release=False)
    assert state() == "registered"
    trial.release("U1")
    assert state() == "released"
    trial.say("ProductReleaseRevoked", "product/U1", role="manufacturer-quality", reason="particles")
    assert state() == "release revoked"
    trial.fact("ProductDisposed", "product/U1", reason="particles", role="pharmacy")
    assert state() == "disposed"


def test_a_toxicity_counts_while_its_adjudication_and_its_event_stand(trial: Trial) -> None:
    ada = trial.enrolled()
    judged = trial.toxicity(ada)
    assert dose_level.toxicities(trial.subject(ada)) == [judged]
    event = trial.subject(ada).records.by_jti[judged.get("adverse_event")]
    voided = trial.void(event)
    assert dose_level.toxicities(trial.subject(ada)) == []
    trial.void(voided)
    trial.adjudicate(ada, event.jti, dose_limiting=False)
    assert dose_level.toxicities(trial.subject(ada)) == []


def test_a_subject_is_watched_until_its_time_is_over_or_it_leaves(trial: Trial) -> None:
    ada, bea = trial.enrolled("001"), trial.enrolled("002")
    protocol = protocol_for(trial.study)
    assert protocol is not None

    def standing(label: str, days: float = 0) -> str:
        now = (trial.now + timedelta(days=days)).isoformat()
        return dose_level.watch(trial.study, protocol, trial.subject(label), now).standing

    assert standing(ada, days=100) == "watched", "nobody is evaluated who was never treated"
    trial.treat(ada)
    assert (standing(ada, days=13.9), standing(ada, days=14.1)) == ("watched", "evaluated")
    trial.fact("SubjectWithdrawn", bea, reason="no time")
    assert standing(bea) == "not evaluable"
    trial.fact("SubjectWithdrawn", ada, reason="no time")
    assert standing(ada) == "not evaluable" and standing(ada, days=15) == "evaluated"
    trial.toxicity(ada)
    assert standing(ada) == "evaluated"


def test_a_cohort_by_threes_grows_once_and_then_passes(trial: Trial) -> None:
    first = trial.full_cohort(toxic=1)
    trial.review("LOW", "expand-cohort")
    second = trial.full_cohort(first=4)
    trial.review("LOW", "escalate")
    protocol = protocol_for(trial.study)
    assert protocol is not None
    now = trial.stamp
    course = dose_level.courses(trial.study, protocol, trial.roster, trial.subjects.get, now)["LOW"]
    assert (course.enrolled, course.evaluated, course.dlts, course.added) == (6, 6, 1, 3)
    assert course.escalated and not course.held and len(first + second) == 6
    assert dose_level.state(trial.study, "LOW").standing == "open"


def test_a_review_s_hold_outlasts_a_resumption_by_hand(trial: Trial) -> None:
    trial.open_cohort("LOW")
    trial.review("LOW", "hold")
    trial.say("CohortHeld", "cohort/LOW", reason="by hand")
    assert dose_level.state(trial.study, "LOW").standing == "held"
    trial.review("LOW", "stop")
    assert dose_level.state(trial.study, "LOW").standing == "stopped"


def test_the_dose_of_the_main_part_is_the_level_selected(trial: Trial) -> None:
    protocol = protocol_for(trial.study)
    assert protocol is not None
    assert dose_level.dose_of(trial.study, protocol, "MAIN") is None
    fields = {"cohort": "MAIN", "dose_level": "HIGH", "reason": "best", "occurred_at": trial.stamp}
    chosen = trial.say("DoseSelected", "study", mode="transcribed", **fields)
    assert dose_level.dose_of(trial.study, protocol, "MAIN") == "4.5"
    trial.reverse(chosen)
    assert dose_level.dose_of(trial.study, protocol, "MAIN") is None


def test_a_decision_names_what_changed_of_its_basis(trial: Trial) -> None:
    ada = trial.candidate()
    result = trial.subject(ada).records.last("LabResultReported")
    decision = trial.eligible(ada)
    assert basis.basis_changed(trial.study, trial.subject(ada), decision) == []
    correction = trial.correct(result, "value", "84")
    late = trial.fact("HistoryRecorded", ada, term="gout", onset_date="2020")
    trial.later(days=1)
    trial.fact("LabResultReported", ada, analyte="ferritin", value="80", unit="ug/L")
    assert basis.basis_changed(trial.study, trial.subject(ada), decision) == [correction.index, late.index]


def test_the_sponsor_s_correction_changes_a_basis_once_the_site_has_signed_it(trial: Trial) -> None:
    ada = trial.candidate()
    decision = trial.eligible(ada)
    waiting = trial.correct(trial.subject(ada).records.last("LabResultReported"), "value", "84", role="sponsor")
    assert basis.basis_changed(trial.study, trial.subject(ada), decision) == []
    signed = trial.countersign(waiting, "coordinator")
    assert basis.basis_changed(trial.study, trial.subject(ada), decision) == [signed.index]


def test_a_subject_belongs_to_the_site_it_was_transferred_to(trial: Trial) -> None:
    ada = trial.screened("001")
    moved = trial.fact("SubjectTransferred", ada, from_site="NORTH", to_site="SOUTH", reason="moved house")
    assert participation.site_of(trial.subject(ada)) == "SOUTH"
    trial.void(moved)
    assert participation.site_of(trial.subject(ada)) == "NORTH"
    trial.fact("SubjectRescreened", ada, number="101")
    assert participation.number(trial.subject(ada)) == "101"


def test_infusions_are_in_the_order_in_which_they_were_given(trial: Trial) -> None:
    ada = trial.enrolled()
    trial.later(days=10)
    second = trial.give(ada, 2, "U2")
    first = trial.give(ada, 1, "U1", started_at=trial.ago(days=5), late_reason="paper")
    assert participation.given(trial.subject(ada), None) == [first, second]


def test_the_machine_s_verdict_and_the_investigator_s_stand_side_by_side(trial: Trial) -> None:
    ada = trial.candidate()
    verdicts = {"I2": {"verdict": "not met", "note": "haemolysed"}, "I1": {"verdict": "met"}}
    trial.fact("EligibilityAssessed", ada, attestations={"other_reason": False}, criteria=verdicts)
    found = eligibility.assess(trial.study, trial.subject(ada))
    assert found is not None and not found
    state = found.criteria["I2"]
    assert (state.verdict.value, state.investigator, state.differs) == ("met", "not met", True)
    assert not found.criteria["I1"].differs and list(found.failing) == ["I2"]


def test_a_pregnancy_test_is_asked_of_whom_it_concerns(trial: Trial) -> None:
    protocol = protocol_for(trial.study)
    assert protocol is not None
    asked = {
        ("female", None): True,
        ("female", True): True,
        ("female", False): False,
        ("male", None): False,
        ("unknown", None): True,
    }
    for number, ((sex, potential), expected) in enumerate(asked.items()):
        fields = {"sex": sex, "childbearing_potential": potential}
        ada = trial.screened(f"{number}", **{name: value for name, value in fields.items() if value is not None})
        assert pregnancy.is_asked(protocol, trial.subject(ada)) == expected, (sex, potential)


def test_a_subject_s_plan_counts_from_its_first_infusion(trial: Trial) -> None:
    ada = trial.enrolled()
    planned = {p.key: p for p in specimen.schedule(trial.study, trial.subject(ada))}
    assert planned["FERR"].at is None
    given = trial.treat(ada)
    planned = {p.key: p for p in specimen.schedule(trial.study, trial.subject(ada))}
    day = trial.now.date() + timedelta(days=7)
    assert given.done and planned["FERR"].at is not None and planned["FERR"].at.date() == day
