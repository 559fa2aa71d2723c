"""Electronic signatures with custodial keys: codes, passphrases, sessions, ceremonies (21 CFR 11.50 to 11.300)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from api.client.signing import Actor
from ledger.accounts.attempts import MAX_FAILURES
from ledger.accounts.refusals import (
    CodeWrong,
    ComponentMissing,
    CredentialAged,
    PassphraseWeak,
    SessionEnded,
    SignInRefused,
)
from ledger.accounts.service import Accounts
from ledger.domain.account import CredentialInForce, IdentityNotVerified
from ledger.domain.ceremony import CeremonyRanOut, CeremonyUnknown, NotAccountable
from ledger.domain.refusals import Refusal
from ledger.signing.keys import SigningKey
from ledger.signing.statement import parse
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of, study_of
from tests.scenario.signers import CHEAP, PASSPHRASE, Signer, accounts_of, enrol, offer, with_account
from tests.scenario.simulator import Simulator, Told, refused

REVIEW = {"scope": {}, "first": 0, "last": 1, "rule_version": "1", "findings": "nothing strange"}


@pytest.fixture
def accounts(trial: Simulator) -> Accounts:
    return accounts_of(trial)


@pytest.fixture
def monitor(trial: Simulator, accounts: Accounts) -> Signer:
    """A monitor who has signed in, in a study that asks for ceremonies."""
    trial.record(trial.cast.registrar, "CeremonyRequired", "study")
    someone = with_account(trial, accounts, trial.cast.monitor)
    someone.sign_in()
    return someone


def statement_at(sim: Simulator, index: int) -> Any:
    return ledger_of(sim).entry(sim.plan.study, index).statement


def told_at(sim: Simulator, event: str) -> Told:
    """The newest statement of this event that was acknowledged."""
    return [told for told in sim.acknowledged if told.event == event][-1]


# -- signing ------------------------------------------------------------------------------------------------


def test_a_person_signs_what_was_shown_with_user_id_and_passphrase(trial: Simulator, monitor: Signer) -> None:
    shown = monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    assert shown["components"] == ["user_id", "passphrase"]
    assert any("with the meaning review" in line for line in shown["words"])
    answer = monitor.finish(user_id=monitor.id)
    signed = statement_at(trial, answer.index)
    assert (signed.iss, signed.meaning, signed.ceremony) == (monitor.id, "review", shown["ceremony"])
    assert signed.kid == monitor.kid
    assert signed.content["printed_name"] == "Invented monitor"
    assert signed.content["signed_at"].endswith("+00:00")
    assert {name: signed.claims[name] for name in shown["draft"]["claims"]} == shown["draft"]["claims"]
    assert answer.receipt is not None


def test_the_second_signing_of_a_session_takes_the_passphrase_alone(monitor: Signer) -> None:
    monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    shown = monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    assert shown["components"] == ["passphrase"]
    assert monitor.finish().receipt is not None


def test_the_first_signing_of_a_session_is_refused_without_the_user_id(trial: Simulator, monitor: Signer) -> None:
    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    before = trial.door.cut().size
    with pytest.raises(ComponentMissing):
        monitor.finish()
    with pytest.raises(SignInRefused):
        monitor.finish(user_id="sponsor")
    with pytest.raises(SignInRefused):
        monitor.finish(passphrase="", user_id=monitor.id)
    assert trial.door.cut().size == before


def test_after_logout_idle_time_or_a_days_work_both_components_are_needed_again(
    trial: Simulator, monitor: Signer
) -> None:
    for ending in ("closed", "idle", "long"):
        monitor.sign_in()
        monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
        shown = monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
        if ending == "closed":
            monitor.accounts.sign_out(trial.plan.study, monitor.token)
        elif ending == "idle":
            trial.later(minutes=15, seconds=2)
        else:
            for _ in range(12 * 6):
                trial.later(minutes=10)
                monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
            trial.later(minutes=1)
        with pytest.raises(SessionEnded):
            monitor.finish(ceremony=shown["ceremony"], draft=shown["draft"])
        with pytest.raises(SessionEnded):
            monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
        monitor.sign_in()
        assert monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")["components"] == [
            "user_id",
            "passphrase",
        ]


def test_a_ceremony_runs_out_after_five_minutes(trial: Simulator, monitor: Signer) -> None:
    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    trial.later(minutes=5, seconds=2)
    with pytest.raises(CeremonyRanOut):
        monitor.finish(user_id=monitor.id)


def test_a_retry_returns_what_was_recorded_even_after_the_ceremony_ran_out(trial: Simulator, monitor: Signer) -> None:
    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    first = monitor.finish(user_id=monitor.id)
    trial.later(minutes=6)
    again = monitor.finish(user_id=monitor.id)
    assert (again.index, again.jti, again.repeat) == (first.index, first.jti, True)
    with pytest.raises(SignInRefused):
        monitor.finish(passphrase="another passphrase entirely")


def test_a_signature_that_was_made_and_not_recorded_is_recorded_by_the_retry(
    trial: Simulator, monitor: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, seen = ledger_of(trial), []

    class Died(Exception):
        pass

    def dies(study: str, text: str) -> None:
        seen.append(text)
        raise Died

    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "append", dies)
        with pytest.raises(Died):
            monitor.finish(user_id=monitor.id)
    trial.later(seconds=30)
    answer = monitor.finish()
    assert statement_at(trial, answer.index).jwt == parse(seen[0]).jwt


def test_what_the_ledger_would_refuse_is_refused_before_the_passphrase(trial: Simulator, monitor: Signer) -> None:
    for event, sub, fields, asked, rule in (
        ("AuditTrailReviewed", "study", REVIEW, {"meaning": "applause"}, "SIGNATURE-3"),
        ("AuditTrailReviewed", "study", {"scope": {}}, {"meaning": "review"}, "CATALOGUE-3"),
        ("AuditTrailReviewed", "study", REVIEW, {"meaning": "review", "role": "sponsor"}, "AUTHORITY-5"),
        ("AuditTrailReviewed", "study", {**REVIEW, "printed_name": "Somebody"}, {"meaning": "review"}, "CATALOGUE-3"),
        ("CohortOpened", "cohort/LOW", {}, {"meaning": "approval"}, "ROLE-1"),
        ("Nonsense", "study", {}, {}, "CATALOGUE-1"),
        ("AuditTrailReviewed", "nowhere", REVIEW, {"meaning": "review"}, "CATALOGUE-3"),
        ("AuditTrailReviewed", "study", REVIEW, {"meaning": "review", "time_zone": "Mars/Base"}, "CATALOGUE-3"),
    ):
        with pytest.raises(Refusal) as caught:
            monitor.begin(event, sub, fields, **asked)
        assert caught.value.rule == rule, caught.value.because


def test_where_ceremonies_are_required_a_key_of_ones_own_signs_nothing_and_records_facts(
    trial: Simulator, monitor: Signer
) -> None:
    with refused("SIGNATURE-4"):
        trial.record(trial.cast.monitor, "AuditTrailReviewed", "study", meaning="review", **REVIEW)
    with refused("CEREMONY-1"):
        claims = {"ceremony": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
        trial.record(trial.cast.monitor, "AuditTrailReviewed", "study", meaning="review", claims=claims, **REVIEW)
    trial.screen(trial.subject("001"))


def test_the_second_signature_of_a_decision_takes_a_ceremony_as_the_first_does(
    trial: Simulator, accounts: Accounts
) -> None:
    trial.record(trial.cast.registrar, "CeremonyRequired", "study")
    manager = with_account(trial, accounts, trial.cast.data_manager)
    pi = with_account(trial, accounts, trial.staff().pi)
    manager.sign_in()
    pi.sign_in()
    first = manager.signs("StudyLocked", "study", {"reason": "the trial is over"}, meaning="approval")
    target = {"jti": first.jti, "digest": statement_at(trial, first.index).digest}
    with refused("SIGNATURE-4"):
        trial.record(trial.staff().pi, "Countersigned", "study", claims={"countersigns": target})
    acts = {"countersigns": target}
    assert pi.signs("Countersigned", "study", {}, meaning="approval", acts=acts).receipt is not None


def test_many_records_are_signed_in_one_ceremony(trial: Simulator, accounts: Accounts) -> None:
    pi = with_account(trial, accounts, trial.staff().pi)
    pi.sign_in()
    ada = trial.subject("001")
    told = [trial.screen(ada), trial.consent(ada)]
    records = [one.target for one in told]
    answer = pi.signs("RecordsSigned", ada.label, {"records": records}, meaning="approval")
    assert statement_at(trial, answer.index).body["records"] == records


def test_who_signs_records_is_shown_each_of_them_as_it_reads_now(trial: Simulator, accounts: Accounts) -> None:
    """A list of event ids tells nobody what is signed."""
    pi = with_account(trial, accounts, trial.staff().pi)
    pi.sign_in()
    ada = trial.subject("001")
    first, second = trial.screen(ada, comment="a left knee that hurts"), trial.consent(ada)
    trial.correct(first, "comment", "a right knee that hurts")
    words = pi.begin("RecordsSigned", ada.label, {"records": [second.target, first.target]}, meaning="approval")[
        "words"
    ]
    shown = [line for line in words if line.startswith("Record ")]
    assert [line.split(",")[0] for line in shown] == [f"Record {second.index}", f"Record {first.index}"]
    assert "SubjectScreened by coordinator-NORTH (coordinator)" in shown[1]
    assert "a right knee" in shown[1] and "left knee" not in shown[1] and "comment corrected at index" in shown[1]
    acts = {"voids": first.target}
    voiding = pi.begin("EntryVoided", ada.label, {"reason": "wrong subject"}, acts=acts)["words"]
    assert "a right knee that hurts" in voiding[-1]
    trial.redact({first: ["comment"], told_at(trial, "EntryCorrected"): ["value"]})
    again = pi.begin("RecordsSigned", ada.label, {"records": [first.target]}, meaning="approval")["words"]
    assert "knee" not in "".join(again) and "comment: redacted" in again[-1]


def test_nobody_signs_before_accepting_accountability_and_a_ceremony_takes_the_acceptance(
    trial: Simulator, accounts: Accounts
) -> None:
    registrar, about = trial.cast.registrar, "actor/monitor-2"
    trial.record(registrar, "ActorEnrolled", about, actor_kind="person", name="Invented second monitor")
    trial.record(registrar, "DelegationGranted", about, role="monitor")
    made = accounts.redeem(trial.plan.study, "monitor-2", offer(trial, "monitor-2"), PASSPHRASE)
    enrol(trial, made)
    new = Signer(trial, accounts, "monitor-2", "monitor")
    new.sign_in()
    with pytest.raises(NotAccountable):
        new.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    own = SigningKey.generate()
    trial.send(registrar.enrol_key("monitor-2", own, own.public_jwk))
    by = Actor("monitor-2", "monitor", own, registrar.origin, now=registrar.now, name="Invented second monitor")
    for mode in ("direct", "transcribed"):
        with refused("SIGNATURE-6"):
            trial.record(by, "AuditTrailReviewed", "study", meaning="review", claims={"mode": mode}, **REVIEW)
    new.accepts()
    assert new.signs("AuditTrailReviewed", "study", REVIEW, meaning="review").receipt is not None


# -- codes and keys -----------------------------------------------------------------------------------------


def test_a_new_text_on_accountability_is_accepted_before_the_next_signature(trial: Simulator, monitor: Signer) -> None:
    text = {"statement": "I answer for what I sign, as for my own hand.", "version": "2026-1"}
    trial.record(trial.cast.registrar, "AccountabilityStated", "study", **text)
    with pytest.raises(Refusal) as unanswered:
        monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    assert unanswered.value.rule == "SIGNATURE-6"
    about = f"actor/{trial.cast.monitor.id}"
    with pytest.raises(Refusal) as other:
        monitor.signs("AccountabilityAccepted", about, {**text, "version": "2025-1"}, meaning="responsibility")
    assert other.value.rule == "AUTHORITY-13"
    monitor.signs("AccountabilityAccepted", about, text, meaning="responsibility")
    monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")


def test_a_person_of_another_name_signs_with_it_and_earlier_signatures_keep_the_old_one(
    trial: Simulator, monitor: Signer
) -> None:
    person = trial.cast.monitor
    before = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    trial.record(trial.cast.registrar, "PersonRenamed", f"actor/{person.id}", name="Synthetic Newname")
    after = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    names = [statement_at(trial, told.index).content["printed_name"] for told in (before, after)]
    assert names == [person.name, "Synthetic Newname"]


def test_a_code_works_once_for_one_person_until_it_runs_out(trial: Simulator, accounts: Accounts) -> None:
    study, code = trial.plan.study, offer(trial, "monitor")
    with pytest.raises(CodeWrong):
        accounts.redeem(study, "sponsor", code, PASSPHRASE)
    with pytest.raises(CodeWrong):
        accounts.redeem(study, "monitor", "AAAA-BBBB", PASSPHRASE)
    with pytest.raises(PassphraseWeak):
        accounts.redeem(study, "monitor", code, "monitor12345")
    made = accounts.redeem(study, "monitor", code.lower().replace("-", " "), PASSPHRASE)
    with pytest.raises(CodeWrong):
        accounts.redeem(study, "monitor", code, PASSPHRASE)
    late = offer(trial, "monitor", hours=1)
    trial.later(hours=1, minutes=1)
    with pytest.raises(CodeWrong):
        accounts.redeem(study, "monitor", late, PASSPHRASE)
    assert [one["state"] for one in accounts.credentials(study)] == ["waiting"]
    with pytest.raises(SignInRefused):  # not before a registrar enrolled it
        accounts.sign_in(study, "monitor", PASSPHRASE)
    enrol(trial, made)
    assert [one["state"] for one in accounts.credentials(study)] == ["in force"]
    assert accounts.sign_in(study, "monitor", PASSPHRASE)["user_id"] == "monitor"


@pytest.mark.parametrize(
    "weak",
    [
        "",
        "eleven char",
        "password1234",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "monitormonitor",
        "x" * 1_025,
        "\ud800" * 14,
    ],
)
def test_a_weak_passphrase_is_refused(trial: Simulator, accounts: Accounts, weak: str) -> None:
    with pytest.raises(PassphraseWeak):
        accounts.redeem(trial.plan.study, "monitor", offer(trial, "monitor"), weak)


def test_a_passphrase_is_the_same_however_its_letters_are_composed(trial: Simulator, accounts: Accounts) -> None:
    someone = with_account(trial, accounts, trial.cast.monitor, "h\u00e9ron gris sur le ponton")
    assert someone.sign_in("he\u0301ron gris sur le ponton")


def test_a_forgotten_passphrase_takes_a_new_identity_check_code_and_key(trial: Simulator, monitor: Signer) -> None:
    old = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    registrar = trial.cast.registrar
    with refused(CredentialInForce.rule):
        offer(trial, "monitor")
    trial.record(registrar, "KeyRevoked", "actor/monitor", kid=monitor.kid, reason="the passphrase is forgotten")
    with pytest.raises(SessionEnded):
        monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    with pytest.raises(SignInRefused):
        monitor.sign_in()
    with refused("CREDENTIAL-2"):
        offer(trial, "monitor", verified=False)
    renewed = with_account(trial, monitor.accounts, trial.cast.monitor, "a copper kettle and no stove")
    renewed.sign_in()
    assert renewed.signs("AuditTrailReviewed", "study", REVIEW, meaning="review").receipt is not None
    assert statement_at(trial, old.index).kid == monitor.kid  # what was signed stays signed


def test_only_an_identified_person_is_offered_a_key(trial: Simulator) -> None:
    with refused(IdentityNotVerified.rule):
        offer(trial, "monitor", verified=False)
    with refused(IdentityNotVerified.rule):
        offer(trial, "analyser")


def test_a_key_is_renewed_after_two_years(trial: Simulator, monitor: Signer) -> None:
    trial.later(days=731)
    with pytest.raises(CredentialAged):
        monitor.sign_in()


# -- failures -----------------------------------------------------------------------------------------------


def events(sim: Simulator, name: str) -> int:
    return sum(1 for entry in sim.door.entries() if parse(entry["statement"], partial=True).event == name)


def test_five_failures_lock_the_account_whose_lock_is_recorded_once(trial: Simulator, monitor: Signer) -> None:
    for _ in range(MAX_FAILURES + 3):
        with pytest.raises(SignInRefused):
            monitor.sign_in("not the passphrase at all")
    with pytest.raises(SignInRefused):
        monitor.sign_in(PASSPHRASE)
    assert events(trial, "AccountLocked") == 1
    trial.record(trial.cast.registrar, "AccountUnlocked", "actor/monitor", reason="we spoke on the telephone")
    assert monitor.sign_in()


def test_four_failures_and_a_success_begin_the_count_anew(trial: Simulator, monitor: Signer) -> None:
    for _ in range(3):
        for _ in range(MAX_FAILURES - 1):
            with pytest.raises(SignInRefused):
                monitor.sign_in("not the passphrase at all")
        monitor.sign_in()
    assert events(trial, "AccountLocked") == 0


def test_a_locked_account_signs_nothing_in_a_session_that_goes_on(trial: Simulator, monitor: Signer) -> None:
    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    for _ in range(MAX_FAILURES):
        with pytest.raises(SignInRefused):
            monitor.finish(passphrase="not the passphrase at all", user_id=monitor.id)
    with pytest.raises(SignInRefused):
        monitor.finish(user_id=monitor.id)
    with pytest.raises(Refusal):
        monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    assert events(trial, "AuditTrailReviewed") == 0


@pytest.mark.parametrize("stranger", ["nobody", "analyser", "ledger", "registrar", "", "x\0y", "\ud800", "Monitor"])
def test_an_id_without_an_account_gets_the_same_answer_as_a_wrong_passphrase(
    trial: Simulator, monitor: Signer, stranger: str
) -> None:
    with pytest.raises(SignInRefused) as known:
        monitor.sign_in("not the passphrase at all")
    with pytest.raises(SignInRefused) as unknown:
        monitor.accounts.sign_in(trial.plan.study, stranger, PASSPHRASE)
    assert known.value.as_dict() == unknown.value.as_dict()


def test_a_session_of_another_process_goes_on_here(trial: Simulator, monitor: Signer) -> None:
    other = Accounts(ledger_of(trial), idle=timedelta(minutes=15), cost=CHEAP)
    elsewhere = Signer(trial, other, monitor.id, monitor.role, token=monitor.token)
    assert elsewhere.signs("AuditTrailReviewed", "study", REVIEW, meaning="review").receipt is not None
    assert monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")["components"] == ["passphrase"]


def test_a_ceremony_of_one_session_is_not_signed_in_another(trial: Simulator, monitor: Signer) -> None:
    monitor.begin("AuditTrailReviewed", "study", REVIEW, meaning="review")
    monitor.sign_in()
    with pytest.raises(CeremonyUnknown):
        monitor.finish(user_id=monitor.id)


def test_the_study_says_which_signatures_were_made_in_ceremonies(trial: Simulator, monitor: Signer) -> None:
    answer = monitor.signs("AuditTrailReviewed", "study", REVIEW, meaning="review")
    record = study_of(trial).records.get(answer.jti)
    assert record is not None
    assert record.claims["ceremony"] == monitor.shown["ceremony"]
