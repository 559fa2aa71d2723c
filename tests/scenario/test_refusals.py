"""Every refusal that a statement can meet on its way in: rule, cause and remedy, and the remedy works.

Each case is a short story on a real ledger. It yields an attempt that must be refused by its rule, then does what
the remedy says; the same attempt, or the one that it yields next, then succeeds. Clinical rules have their stories
in `tests/unit/domain/test_rules_refusals.py`; here stand form, authority, signature, governance, acts and
genesis. At the end it is asserted that no rule is without a story.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

import ledger.domain
from api.client.http import Refused
from api.client.signing import Actor, Cut
from ledger.domain.refusals import FindingRule, Refusal, all_rules
from ledger.domain.study import b64_sha256
from ledger.signing.keys import SigningKey
from ledger.signing.proofs import make_proof
from ledger.signing.statement import make, new_salt, parse
from tests.scenario import cast
from tests.scenario.simulator import Simulator, Told
from tests.unit.domain.test_rules_findings import CASES as FINDING_CASES
from tests.unit.domain.test_rules_refusals import CASES as CLINICAL_CASES

Attempt = Callable[[], Told]
Story = Callable[[Simulator], Iterator[Attempt]]
CASES: list[tuple[str, str, Story]] = []
GENESIS_CASES: list[tuple[str, str, Story]] = []
WRONG_ROOT = "A" * 43


def case(rule: str, cases: list[tuple[str, str, Story]] = CASES) -> Callable[[Story], Story]:
    """Register a story about a rule."""

    def register(story: Story) -> Story:
        cases.append((rule, story.__name__.replace("_", " "), story))
        return story

    return register


# -- the bytes ----------------------------------------------------------------------------------------------


@case("STATEMENT-3")
def bytes_that_are_no_statement(t: Simulator) -> Iterator[Attempt]:
    text = t.sign(t.staff().coordinator, "SubjectScreened", t.subject("1"), number="1")
    yield lambda: t.send(text + "e30.e30.e30")
    yield lambda: t.send(text)


@case("SIGNATURE-0")
def the_signature_of_another_statement(t: Simulator) -> Iterator[Attempt]:
    by, ada = t.staff().coordinator, t.subject("1")
    mine, other = (t.sign(by, "SubjectScreened", ada, number=n) for n in ("1", "2"))
    head, _, tail = mine.partition("~")
    forged = f"{head.rpartition('.')[0]}.{other.partition('~')[0].rpartition('.')[2]}~{tail}"
    yield lambda: t._told(forged, t.door.append(forged))
    yield lambda: t.send(mine)


@case("IDEMPOTENCY-1")
def the_event_id_of_another_statement(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told = t.screen(ada)
    again = t.sign(t.staff().coordinator, "SubjectScreened", ada, number="2", claims={"jti": told.jti})
    yield lambda: t.send(again)
    yield lambda: t.send(t.sign(t.staff().coordinator, "SubjectScreened", ada, number="2"))


@case("STUDY-404")
def a_study_that_is_not_here(t: Simulator) -> Iterator[Attempt]:
    text = t.sign(t.staff().coordinator, "SubjectScreened", t.subject("1"), number="1")
    door: Any = t.door

    def elsewhere() -> Told:
        door.study = "NOWHERE-1"
        try:
            return t.send(text)
        finally:
            door.study = t.plan.study

    yield elsewhere
    yield lambda: t.send(text)


# -- the catalogue ------------------------------------------------------------------------------------------


def raw(by: Actor, sub: str, event: str, **claims: Any) -> str:
    """A statement that the client would not make."""
    content = claims.pop("content", {})
    usual = {"iss": by.id, "role": by.role, "aud": by.origin, "sub": sub, "jti": by.new_id(), "iat": by.now()}
    return make(by.key, {**usual, "event": event, "v": 1, **claims}, content, new_salt)


@case("CATALOGUE-1")
def an_event_that_nobody_knows(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    by = t.staff().coordinator
    yield lambda: t._told("", t.door.append(raw(by, ada.label, "SubjectBlessed", site=ada.site)))
    yield lambda: t.send(raw(by, ada.label, "SubjectScreened", site=ada.site, content={"number": "1"}))


@case("CATALOGUE-2")
def a_version_of_tomorrow(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.screen(ada, claims={"v": 2})
    yield lambda: t.screen(ada)


@case("CATALOGUE-3")
def a_field_that_the_event_does_not_have(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.screen(ada, shoe_size="42")
    yield lambda: t.screen(ada)


@case("CATALOGUE-3")
def a_field_in_the_clear_that_must_be_disclosed(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    by = t.staff().coordinator
    yield lambda: t.send(raw(by, ada.label, "SubjectScreened", site=ada.site, body={"number": "1"}))
    yield lambda: t.send(raw(by, ada.label, "SubjectScreened", site=ada.site, content={"number": "1"}))


@case("CATALOGUE-3")
def a_blank_reason(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.correct(told, "number", "2", reason=" \n\t ")
    yield lambda: t.correct(told, "number", "2", reason="misread")


@case("CATALOGUE-3")
def a_fact_that_says_nothing(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.fact("LabResultReported", ada, by=t.staff().technician, value="5")
    yield lambda: t.fact("LabResultReported", ada, by=t.staff().technician, status="not done", status_reason="lost")


@case("CATALOGUE-4")
def a_consent_of_the_study(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    fields = {"document_id": "ICF", "version": "1", "language": "en"}
    yield lambda: t.record(t.staff().coordinator, "ConsentGiven", "study", site=ada.site, **fields)
    yield lambda: t.consent(ada)


@case("CATALOGUE-5")
def a_fact_without_a_site(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    by = replace(t.staff().coordinator, site=None)
    yield lambda: t.send(by.sign("SubjectScreened", ada.label, {"number": "1"}))
    yield lambda: t.send(by.sign("SubjectScreened", ada.label, {"number": "1"}, site=ada.site))


@case("CATALOGUE-5")
def a_site_that_is_activated_under_anothers_name(t: Simulator) -> Iterator[Attempt]:
    by = t.cast.sponsor
    body = {"time_zone": "UTC"}
    yield lambda: t.send(raw(by, "site/WEST", "SiteActivated", site="NORTH", body=body))
    yield lambda: t.send(raw(by, "site/WEST", "SiteActivated", site="WEST", body=body))


@case("CATALOGUE-6")
def a_void_of_nothing(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told = t.screen(ada)
    yield lambda: t.record(t.staff().coordinator, "EntryVoided", ada, reason="wrong person")
    yield lambda: t.void(told)


@case("CATALOGUE-6")
def a_fact_that_pretends_to_correct(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told = t.screen(ada)
    yield lambda: t.consent(ada, claims={"voids": told.target})
    yield lambda: t.consent(ada)


# -- authority ----------------------------------------------------------------------------------------------


@case("AUTHORITY-1")
def a_statement_for_another_log(t: Simulator) -> Iterator[Attempt]:
    ada, by = t.subject("1"), t.staff().coordinator
    away = replace(by, origin="ledger.example/study/OTHER-1")
    yield lambda: t.send(away.sign("SubjectScreened", ada.label, {"number": "1"}))
    yield lambda: t.send(by.sign("SubjectScreened", ada.label, {"number": "1"}))


@case("AUTHORITY-2")
def a_key_that_nobody_enrolled(t: Simulator) -> Iterator[Attempt]:
    key = SigningKey.generate()
    by = replace(t.staff().coordinator, key=key)
    ada = t.subject("1")
    yield lambda: t.screen(ada, by=by)
    t.send(t.cast.registrar.enrol_key(by.id, key, key.public_jwk))


@case("AUTHORITY-3")
def a_key_that_was_revoked(t: Simulator) -> Iterator[Attempt]:
    by = t.staff().coordinator
    kid = cast.key_of(by).kid
    t.record(t.cast.registrar, "KeyRevoked", f"actor/{by.id}", kid=kid, reason="telephone stolen")
    ada = t.subject("1")
    yield lambda: t.screen(ada)
    fresh = SigningKey.generate()
    t.send(t.cast.registrar.enrol_key(by.id, fresh, fresh.public_jwk))
    yield lambda: t.screen(ada, by=replace(by, key=fresh))


@case("AUTHORITY-4")
def a_colleagues_key(t: Simulator) -> Iterator[Attempt]:
    ada, staff = t.subject("1"), t.staff()
    yield lambda: t.screen(ada, by=replace(staff.coordinator, key=staff.pi.key))
    yield lambda: t.screen(ada, by=staff.coordinator)


@case("AUTHORITY-5")
def a_role_that_was_not_delegated(t: Simulator) -> Iterator[Attempt]:
    ada, staff = t.subject("1"), t.staff()
    by = staff.pharmacist.acting_as("coordinator")
    yield lambda: t.screen(ada, by=by)
    t.record(staff.pi, "DelegationGranted", f"actor/{by.id}", role="coordinator", sites=[ada.site])


@case("AUTHORITY-5")
def a_delegation_that_ended(t: Simulator) -> Iterator[Attempt]:
    ada, staff = t.subject("1"), t.staff()
    about = f"actor/{staff.coordinator.id}"
    granted = next(
        told for told in t.acknowledged if told.event == "DelegationGranted" and parse(told.text).sub == about
    )
    t.record(staff.pi, "DelegationEnded", about, delegation=granted.jti, reason="left the hospital")
    yield lambda: t.screen(ada)
    t.record(staff.pi, "DelegationGranted", about, role="coordinator", sites=[ada.site], reason="came back")


@case("AUTHORITY-5")
def a_delegation_whose_dates_are_over(t: Simulator) -> Iterator[Attempt]:
    ada, staff = t.subject("1"), t.staff()
    about, by = f"actor/{staff.pharmacist.id}", staff.pharmacist.acting_as("coordinator")
    granted = {"role": "coordinator", "sites": [ada.site]}
    t.record(staff.pi, "DelegationGranted", about, **granted, valid_until="2026-02-01")
    yield lambda: t.screen(ada, by=by)
    t.record(staff.pi, "DelegationGranted", about, **granted, valid_from="2026-03-02")


@case("AUTHORITY-6")
def a_role_at_another_site(t: Simulator) -> Iterator[Attempt]:
    north, south = t.staff("NORTH"), t.staff("SOUTH")
    ada = t.subject("1", "SOUTH")
    yield lambda: t.screen(ada, by=north.coordinator)
    t.record(south.pi, "DelegationGranted", f"actor/{north.coordinator.id}", role="coordinator", sites=["SOUTH"])


@case("AUTHORITY-7")
def a_system_outside_its_events(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.screen(ada, by=t.cast.analyser)
    rights = {"role": "system", "sites": ["NORTH"], "events": ["SubjectScreened"]}
    t.record(t.cast.registrar, "DelegationGranted", f"actor/{t.cast.analyser.id}", **rights)


@case("AUTHORITY-7")
def a_system_that_signs_like_a_person(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.result(ada, "ferritin", "50", "ug/L", meaning="authorship")
    yield lambda: t.result(ada, "ferritin", "50", "ug/L")


@case("AUTHORITY-8")
def a_registrar_who_gives_out_a_sites_role(t: Simulator) -> Iterator[Attempt]:
    about = f"actor/{t.staff().pharmacist.id}"
    rights = {"role": "coordinator", "sites": ["NORTH"]}
    yield lambda: t.record(t.cast.registrar, "DelegationGranted", about, **rights)
    yield lambda: t.record(t.staff().pi, "DelegationGranted", about, **rights)


@case("AUTHORITY-8")
def an_investigator_who_gives_out_roles_elsewhere(t: Simulator) -> Iterator[Attempt]:
    about = f"actor/{t.staff().pharmacist.id}"
    yield lambda: t.record(t.staff().pi, "DelegationGranted", about, role="coordinator", sites=["NORTH", "SOUTH"])
    yield lambda: t.record(t.staff().pi, "DelegationGranted", about, role="coordinator", sites=["NORTH"])


@case("AUTHORITY-8")
def a_role_that_genesis_does_not_list(t: Simulator) -> Iterator[Attempt]:
    about = f"actor/{t.cast.monitor.id}"
    yield lambda: t.record(t.cast.registrar, "DelegationGranted", about, role="king")
    yield lambda: t.record(t.cast.registrar, "DelegationGranted", about, role="auditor")


@case("AUTHORITY-8")
def a_colleagues_key_revoked_by_a_colleague(t: Simulator) -> Iterator[Attempt]:
    staff = t.staff()
    about, kid = f"actor/{staff.coordinator.id}", cast.key_of(staff.coordinator).kid
    yield lambda: t.record(staff.pharmacist, "KeyRevoked", about, kid=kid, reason="I saw it lying about")
    yield lambda: t.record(staff.coordinator, "KeyRevoked", about, kid=kid, reason="lost")


@case("AUTHORITY-9")
def an_actor_id_given_twice(t: Simulator) -> Iterator[Attempt]:
    fields = {"actor_kind": "person"}
    yield lambda: t.record(t.cast.registrar, "ActorEnrolled", f"actor/{t.cast.monitor.id}", **fields)
    yield lambda: t.record(t.cast.registrar, "ActorEnrolled", "actor/monitor-2", **fields)


@case("AUTHORITY-9")
def one_key_for_two_people(t: Simulator) -> Iterator[Attempt]:
    registrar, key = t.cast.registrar, cast.key_of(t.cast.monitor)
    own = SigningKey.generate()
    yield lambda: t.send(registrar.enrol_key(t.cast.data_manager.id, key, key.public_jwk))
    yield lambda: t.send(registrar.enrol_key(t.cast.data_manager.id, own, own.public_jwk))


@case("KEY-9")
def a_key_of_a_registrars_own_for_the_ledger_itself(t: Simulator) -> Iterator[Attempt]:
    own = SigningKey.generate()
    yield lambda: t.send(t.cast.registrar.enrol_key("ledger", own, own.public_jwk))
    yield lambda: t.send(t.cast.registrar.enrol_key(t.cast.monitor.id, own, own.public_jwk))


@case("AUTHORITY-13")
def another_text_accepted_than_the_study_states(t: Simulator) -> Iterator[Attempt]:
    t.record(t.cast.registrar, "AccountabilityStated", "study", statement="I answer for it.", version="2")
    about = f"actor/{t.cast.monitor.id}"
    yield lambda: t.record(t.cast.monitor, "AccountabilityAccepted", about, statement="I do not.", version="2")
    yield lambda: t.record(t.cast.monitor, "AccountabilityAccepted", about, statement="I answer for it.", version="2")


@case("AUTHORITY-13")
def one_version_for_two_texts(t: Simulator) -> Iterator[Attempt]:
    by = t.cast.registrar
    t.record(by, "AccountabilityStated", "study", statement="I answer for it.", version="2")
    yield lambda: t.record(by, "AccountabilityStated", "study", statement="I answer for nothing.", version="2")
    yield lambda: t.record(by, "AccountabilityStated", "study", statement="I answer for all of it.", version="3")


@case("AUTHORITY-7")
def a_system_given_the_name_of_a_person(t: Simulator) -> Iterator[Attempt]:
    fields = {"name": "Synthetic Other"}
    yield lambda: t.record(t.cast.registrar, "PersonRenamed", f"actor/{t.cast.analyser.id}", **fields)
    yield lambda: t.record(t.cast.registrar, "PersonRenamed", f"actor/{t.cast.monitor.id}", **fields)


@case("AUTHORITY-12")
def the_role_of_the_ledger_itself_ended(t: Simulator) -> Iterator[Attempt]:
    granted = t.record(t.cast.registrar, "DelegationGranted", f"actor/{t.cast.monitor.id}", role="auditor")
    said = {"reason": "no longer wanted"}
    yield lambda: t.record(t.cast.registrar, "DelegationEnded", "actor/ledger", delegation="genesis/ledger", **said)
    about = f"actor/{t.cast.monitor.id}"
    yield lambda: t.record(t.cast.registrar, "DelegationEnded", about, delegation=granted.jti, **said)


@case("ROLE-1")
def a_monitor_who_records_a_fact(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.screen(ada, by=t.cast.monitor)
    yield lambda: t.screen(ada)


@case("ROLE-1")
def a_system_that_speaks_for_the_ledger(t: Simulator) -> Iterator[Attempt]:
    rights = {"role": "system", "events": ["ReleaseActivated"]}
    t.record(t.cast.registrar, "DelegationGranted", f"actor/{t.cast.analyser.id}", **rights)
    yield lambda: t.record(t.cast.analyser, "ReleaseActivated", "study", release="1.0")
    door: Any = t.door
    ledger = replace(t.cast.analyser, id="ledger", key=door.ledger.home.key("ledger"))
    yield lambda: t.record(ledger, "ReleaseActivated", "study", release="1.0")


@case("ROLE-1")
def the_ledger_that_speaks_for_a_site(t: Simulator) -> Iterator[Attempt]:
    door: Any = t.door
    ledger = replace(t.cast.analyser, id="ledger", key=door.ledger.home.key("ledger"))
    ada = t.subject("1")
    yield lambda: t.screen(ada, by=ledger)
    yield lambda: t.screen(ada)


@case("KEY-5")
def a_key_that_is_none(t: Simulator) -> Iterator[Attempt]:
    registrar, key = t.cast.registrar, SigningKey.generate()
    wrong = {**key.public_jwk, "x": "A" * 43}
    yield lambda: t.send(registrar.enrol_key(t.cast.monitor.id, key, wrong))
    yield lambda: t.send(registrar.enrol_key(t.cast.monitor.id, key, key.public_jwk))


@case("KEY-6")
def a_key_whose_holder_did_not_agree(t: Simulator) -> Iterator[Attempt]:
    registrar, monitor, key = t.cast.registrar, t.cast.monitor, SigningKey.generate()
    about = f"actor/{monitor.id}"
    good = parse(registrar.enrol_key(monitor.id, key, key.public_jwk)).body
    yield lambda: t.record(registrar, "KeyEnrolled", about, **good)  # the proof is for another enrolment
    yield lambda: t.send(registrar.enrol_key(monitor.id, key, key.public_jwk))


@case("KEY-7")
def accountability_accepted_for_somebody_else(t: Simulator) -> Iterator[Attempt]:
    fields = {"statement": "I stand by my signature.", "version": "1"}
    about = f"actor/{t.cast.monitor.id}"
    yield lambda: t.record(t.cast.sponsor, "AccountabilityAccepted", about, **fields)
    yield lambda: t.record(t.cast.monitor, "AccountabilityAccepted", about, **fields)


@case("KEY-8")
def what_is_not_disputed_is_reaffirmed(t: Simulator) -> Iterator[Attempt]:
    monitor, registrar = t.cast.monitor, t.cast.registrar
    about, fresh = f"actor/{monitor.id}", SigningKey.generate()
    fields = {"statement": "I stand by my signature.", "version": "1"}
    before, meant = (t.record(monitor, "AccountabilityAccepted", about, **fields) for _ in range(2))
    t.record(registrar, "KeyRevoked", about, kid=cast.key_of(monitor).kid, suspect_since=meant.index, reason="stolen")
    t.send(registrar.enrol_key(monitor.id, fresh, fresh.public_jwk))
    again = replace(monitor, key=fresh)
    yield lambda: t.record(again, "SignatureReaffirmed", about, records=[before.target])
    yield lambda: t.record(again, "SignatureReaffirmed", about, records=[meant.target])


# -- time and signature -------------------------------------------------------------------------------------


@case("TIME-1")
def a_statement_from_tomorrow(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    yield lambda: t.screen(ada, claims={"iat": t.seconds() + 86_400})
    yield lambda: t.screen(ada)


@case("TIME-2")
def a_decision_that_waited_too_long(t: Simulator) -> Iterator[Attempt]:
    by, cut = t.staff().pi, t.door.cut()
    text = t.sign(by, "CohortOpened", "cohort/LOW", cut)
    t.later(hours=3)
    yield lambda: t.send(text)
    yield lambda: t.open_cohort("LOW")


@case("SIGNATURE-1")
def records_signed_without_saying_why(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told, pi = t.screen(ada), t.staff().pi
    yield lambda: t.record(pi, "RecordsSigned", ada, records=[told.target])
    yield lambda: t.decide(pi, "RecordsSigned", ada, records=[told.target])


@case("SIGNATURE-1")
def a_replay_approved_by_an_entry_that_is_no_signature(t: Simulator) -> Iterator[Attempt]:
    by, fields = t.cast.data_manager, {"projection": "patient", "report_digest": "A" * 43, "reason": "looked at"}
    yield lambda: t.record(by, "ReplayApproved", "study", **fields)
    yield lambda: t.decide(by, "ReplayApproved", "study", **fields)


@case("SIGNATURE-2")
def a_decision_without_its_cut(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.record(t.staff().pi, "CohortOpened", "cohort/LOW", meaning="approval")
    yield lambda: t.open_cohort("LOW")


@case("SIGNATURE-2")
def a_transcribed_decision_that_claims_to_be_signed(t: Simulator) -> Iterator[Attempt]:
    period = {"starts_on": "2026-01-01", "roles": ["investigator"], "purpose": "paper"}
    t.record(t.cast.sponsor, "TranscriptionPeriodDeclared", "study", **period)
    ada, by = t.subject("1"), t.staff().investigator
    fields = {"cohort": "LOW", "occurred_at": "2026-01-02", "claims": {"mode": "transcribed"}}
    yield lambda: t.decide(by, "SubjectEnrolled", ada, **fields)
    yield lambda: t.record(by, "SubjectEnrolled", ada, **fields)


@case("SIGNATURE-5")
def a_fact_that_states_an_end(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    by, fields = t.staff().coordinator, {"number": "1"}
    yield lambda: t.record(by, "SubjectScreened", ada, claims={"exp": t.seconds() + 3600}, **fields)
    yield lambda: t.record(by, "SubjectScreened", ada, **fields)


@case("SIGNATURE-5")
def a_fact_that_states_a_cut_without_being_signed(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    by, cut, told = t.staff().coordinator, t.door.cut(), {"number": "1"}
    entry = {"site": ada.site, "content": told}
    yield lambda: t.send(raw(by, ada.label, "SubjectScreened", cut=cut.as_claim(), **entry))
    yield lambda: t.record(by, "SubjectScreened", ada, cut=cut, **told)


@case("SIGNATURE-3")
def a_meaning_that_the_study_does_not_know(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", meaning="applause")
    yield lambda: t.open_cohort("LOW", meaning="responsibility")


@case("SIGNATURE-4")
def a_signature_without_its_ceremony(t: Simulator) -> Iterator[Attempt]:
    t.record(t.cast.registrar, "CeremonyRequired", "study")
    yield lambda: t.open_cohort("LOW")
    yield lambda: t.screen(t.subject("1"))  # a fact, with a key of one's own; signing is in tests/integration


@case("CEREMONY-1")
def a_ceremony_that_nobody_held(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", claims={"ceremony": "c29tZS1jZXJlbW9ueQ"})
    yield lambda: t.open_cohort("LOW")


@case("SIGNATURE-6")
def a_signature_by_somebody_who_is_not_accountable_yet(t: Simulator) -> Iterator[Attempt]:
    new, key = replace(t.cast.monitor, id="monitor-2"), SigningKey.generate()
    new = replace(new, key=key)
    registrar, about = t.cast.registrar, f"actor/{new.id}"
    t.record(registrar, "ActorEnrolled", about, actor_kind="person", name=new.name)
    t.send(registrar.enrol_key(new.id, key, key.public_jwk))
    t.record(registrar, "DelegationGranted", about, role=new.role)
    yield lambda: signed(t, new)
    t.send(cast.accountable(new))


def signed(t: Simulator, by: Actor) -> Told:
    """A statement of somebody's with a meaning."""
    fields = {"scope": {}, "first": 0, "last": 1, "rule_version": "1", "findings": "none"}
    return t.record(by, "AuditTrailReviewed", "study", meaning="review", **fields)


# -- custodial keys -----------------------------------------------------------------------------------------

OFFER = {"code_digest": b64_sha256(b"a code"), "valid_hours": 24}


def verified(t: Simulator, name: str) -> Told:
    """A registrar verified who somebody is."""
    fields = {"method": "passport", "verified_date": "2026-01-05"}
    return t.record(t.cast.registrar, "IdentityVerified", f"actor/{name}", **fields)


def custodial(t: Simulator, name: str) -> Told:
    """A custodial key of somebody's is enrolled."""
    key, registrar, jti = SigningKey.generate(), t.cast.registrar, str(uuid4())
    proof = make_proof(key, aud=registrar.origin, iss=name, jti=jti)
    body = {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk, "proof": proof, "custody": "custodial"}
    return t.record(registrar, "KeyEnrolled", f"actor/{name}", **body, claims={"jti": jti})


@case("CREDENTIAL-1")
def a_key_for_somebody_whose_identity_nobody_verified(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.record(t.cast.registrar, "CredentialOffered", "actor/monitor", **OFFER)
    verified(t, "monitor")


@case("CREDENTIAL-1")
def a_custodial_key_for_a_system(t: Simulator) -> Iterator[Attempt]:
    verified(t, "analyser")
    yield lambda: custodial(t, "analyser")
    key = SigningKey.generate()
    yield lambda: t.send(t.cast.registrar.enrol_key("analyser", key, key.public_jwk))


@case("CREDENTIAL-2")
def another_key_after_a_loss_without_looking_at_the_person_again(t: Simulator) -> Iterator[Attempt]:
    verified(t, "monitor")
    kid = parse(custodial(t, "monitor").text).body["kid"]
    t.record(t.cast.registrar, "KeyRevoked", "actor/monitor", kid=kid, reason="the passphrase is forgotten")
    yield lambda: t.record(t.cast.registrar, "CredentialOffered", "actor/monitor", **OFFER)
    verified(t, "monitor")


@case("CREDENTIAL-3")
def a_second_custodial_key_beside_the_first(t: Simulator) -> Iterator[Attempt]:
    verified(t, "monitor")
    kid = parse(custodial(t, "monitor").text).body["kid"]
    yield lambda: custodial(t, "monitor")
    t.record(t.cast.registrar, "KeyRevoked", "actor/monitor", kid=kid, reason="replaced")
    verified(t, "monitor")


@case("CREDENTIAL-4")
def unlocking_an_account_that_is_not_locked(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.record(t.cast.registrar, "AccountUnlocked", "actor/monitor", reason="it was the person")
    locked(t, "monitor")


@case("CREDENTIAL-4")
def a_registrar_who_unlocks_the_own_account(t: Simulator) -> Iterator[Attempt]:
    registrar = t.cast.registrar
    locked(t, registrar.id)
    yield lambda: t.record(registrar, "AccountUnlocked", f"actor/{registrar.id}", reason="it was me")
    key = SigningKey.generate()
    other = replace(registrar, id="registrar-2", key=key)
    t.record(registrar, "ActorEnrolled", "actor/registrar-2", actor_kind="person")
    t.send(registrar.enrol_key("registrar-2", key, key.public_jwk))
    t.record(registrar, "DelegationGranted", "actor/registrar-2", role="registrar")
    yield lambda: t.record(other, "AccountUnlocked", f"actor/{registrar.id}", reason="we spoke on the telephone")


def locked(t: Simulator, name: str) -> Told:
    """The ledger locked somebody's account."""
    door: Any = t.door
    own = Actor("ledger", "system", door.ledger.home.key("ledger"), t.cast.registrar.origin, None, t.seconds)
    fields = {"failures": 5, "first_at": t.stamp(), "last_at": t.stamp()}
    return t.record(own, "AccountLocked", f"actor/{name}", **fields)


@case("SIGNATURE-7")
def a_signature_in_another_persons_name(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", printed_name=t.staff().coordinator.name)
    yield lambda: t.open_cohort("LOW", printed_name=t.staff().pi.name)


@case("SIGNATURE-7")
def a_signature_that_does_not_say_whose_it_is(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", printed_name=None)
    yield lambda: t.open_cohort("LOW")


@case("SIGNATURE-7")
def a_signature_without_its_time(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.open_cohort("LOW", signed_at=None)
    yield lambda: t.open_cohort("LOW")


@case("SIGNATURE-7")
def a_signature_dated_to_the_day_before(t: Simulator) -> Iterator[Attempt]:
    moment = t.clock() + timedelta(seconds=1)  # each signing takes a second
    yield lambda: t.open_cohort("LOW", signed_at=(moment - timedelta(days=1)).isoformat())
    elsewhere = (t.clock() + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=9)))
    yield lambda: t.open_cohort("LOW", signed_at=elsewhere.isoformat())


@case("SIGNATURE-7")
def a_second_signature_with_a_meaning_and_no_name(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told = t.screen(ada)
    correction = t.correct(told, "sex", "female", by=t.cast.data_manager)
    by = t.staff().coordinator
    yield lambda: t.countersign(correction, by, printed_name=None)
    yield lambda: t.countersign(correction, by)


@case("SIGNATURE-7")
def an_entry_that_looks_like_a_signature(t: Simulator) -> Iterator[Attempt]:
    ada, by = t.subject("1"), t.staff().coordinator
    yield lambda: t.record(by, "SubjectScreened", ada, number="1", printed_name=by.name)
    yield lambda: t.record(by, "SubjectScreened", ada, number="1")


@case("SIGNATURE-8")
def a_record_signed_that_nobody_had_seen(t: Simulator) -> Iterator[Attempt]:
    ada, pi, before = t.subject("1"), t.staff().pi, t.door.cut()
    told = t.screen(ada)
    fields = {"records": [told.target], "meaning": "approval"}
    yield lambda: t.decide(pi, "RecordsSigned", ada, cut=before, **fields)
    yield lambda: t.decide(pi, "RecordsSigned", ada, **fields)


@case("SIGNATURE-8")
def a_record_signed_twice_at_once(t: Simulator) -> Iterator[Attempt]:
    ada, pi = t.subject("1"), t.staff().pi
    told = t.screen(ada)
    yield lambda: t.decide(pi, "RecordsSigned", ada, records=[told.target, told.target])
    yield lambda: t.decide(pi, "RecordsSigned", ada, records=[told.target])


@case("CUT-1")
def a_cut_that_never_was(t: Simulator) -> Iterator[Attempt]:
    size = t.door.cut().size
    yield lambda: t.open_cohort("LOW", cut=Cut(size, WRONG_ROOT))
    yield lambda: t.open_cohort("LOW")


@case("CUT-1")
def a_cut_of_the_future(t: Simulator) -> Iterator[Attempt]:
    now = t.door.cut()
    yield lambda: t.open_cohort("LOW", cut=Cut(now.size + 1, now.root))
    yield lambda: t.open_cohort("LOW", cut=now)


@case("TRANSCRIPTION-1")
def a_decision_from_paper_outside_any_period(t: Simulator) -> Iterator[Attempt]:
    ada, by = t.subject("1"), t.staff().investigator
    fields = {"cohort": "LOW", "occurred_at": "2026-01-02", "claims": {"mode": "transcribed"}}
    yield lambda: t.record(by, "SubjectEnrolled", ada, **fields)
    period = {"starts_on": "2026-01-01", "ends_on": "2026-01-31", "roles": ["investigator"], "purpose": "paper"}
    t.record(t.cast.sponsor, "TranscriptionPeriodDeclared", "study", **period)


@case("VERSION-1")
def somebody_else_recorded_in_between(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    yield lambda: t.adverse_event(ada, claims={"expected_version": 1})
    yield lambda: t.adverse_event(ada, claims={"expected_version": 2})


# -- governance ---------------------------------------------------------------------------------------------


def adoption(t: Simulator, text: str, **changed: Any) -> Told:
    """A protocol text is adopted."""
    fields = {"version": "1.0", "digest": b64_sha256(text.encode()), "file": text}
    return t.record(t.cast.sponsor, "ProtocolAdopted", "study", **fields | changed)


@case("PROTOCOL-1")
def a_protocol_file_that_is_broken(t: Simulator) -> Iterator[Attempt]:
    broken = t.plan.protocol.replace("criteria.E3", "criteria.E9")
    yield lambda: adoption(t, broken)
    yield lambda: adoption(t, t.plan.protocol)


@case("PROTOCOL-1")
def the_protocol_of_another_study(t: Simulator) -> Iterator[Attempt]:
    yield lambda: adoption(t, t.plan.protocol.replace("study: COAST-07", "study: COAST-08"))
    yield lambda: adoption(t, t.plan.protocol)


@case("PROTOCOL-1")
def a_version_that_the_file_does_not_have(t: Simulator) -> Iterator[Attempt]:
    yield lambda: adoption(t, t.plan.protocol, version="3.0")
    yield lambda: adoption(t, t.plan.protocol, version="2.0")


@case("PROTOCOL-2")
def a_protocol_file_with_another_digest(t: Simulator) -> Iterator[Attempt]:
    yield lambda: adoption(t, t.plan.protocol, digest=WRONG_ROOT)
    yield lambda: adoption(t, t.plan.protocol)


@case("PROTOCOL-3")
def a_version_comes_into_force_before_it_is_adopted(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.activate("NORTH", "2.0")
    adoption(t, t.plan.protocol, version="2.0")


@case("PROTOCOL-4")
def a_decision_where_no_protocol_is_in_force(t: Simulator) -> Iterator[Attempt]:
    staff = cast.gather(t.terms["origin"], cast.key_of(t.cast.registrar), ("WEST",), t.seconds)
    pi, registrar = staff.sites["WEST"].pi, t.cast.registrar
    t.send(registrar.sign("ActorEnrolled", f"actor/{pi.id}", {"actor_kind": "person"}))
    t.send(registrar.enrol_key(pi.id, cast.key_of(pi), cast.key_of(pi).public_jwk))
    rights = {"role": "principal-investigator", "sites": ["WEST"]}
    t.record(registrar, "DelegationGranted", f"actor/{pi.id}", **rights)
    t.send(cast.accountable(pi))
    t.record(t.cast.sponsor, "SiteActivated", "site/WEST", time_zone="UTC")
    ada = t.subject("1", "WEST")
    t.screen(ada, by=pi)
    t.consent(ada, by=pi)
    for event, fields in t.plan.eligible:
        t.fact(event, ada, by=pi, **fields)
    yield lambda: t.decide_eligible(ada, by=pi)
    t.activate("WEST")


@case("SITE-1")
def a_version_for_a_site_that_is_not_active(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.activate("EAST")
    t.record(t.cast.sponsor, "SiteActivated", "site/EAST", time_zone="UTC")


@case("SITE-1")
def a_decision_at_a_site_that_was_closed(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    t.screen(ada)
    t.consent(ada)
    t.make_eligible(ada)
    t.record(t.cast.sponsor, "SiteClosed", "site/NORTH", reason="too few patients")
    yield lambda: t.decide_eligible(ada)
    t.record(t.cast.sponsor, "SiteActivated", "site/NORTH", time_zone="UTC")


@case("STUDY-1")
def a_decision_while_the_study_is_on_hold(t: Simulator) -> Iterator[Attempt]:
    t.record(t.cast.sponsor, "StudyHeld", "study", reason="a signal elsewhere")
    yield lambda: t.open_cohort("LOW")
    t.record(t.cast.sponsor, "StudyResumed", "study", reason="no signal")


@case("STUDY-2")
def resuming_what_is_not_held(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.record(t.cast.sponsor, "StudyResumed", "study", reason="let us go on")
    t.record(t.cast.sponsor, "StudyHeld", "study", reason="to be able to go on")


@case("INTERPRETATION-1")
def an_option_that_the_protocol_does_not_offer(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.resolve("AMB-1", "sometimes", countersigned=False)
    yield lambda: t.resolve("AMB-1", "not-counted", countersigned=False)


@case("INTERPRETATION-1")
def an_option_without_its_parameter(t: Simulator) -> Iterator[Attempt]:
    fields = {"ambiguity": "AMB-2", "option": "as-supplied", "reason": "defined"}
    given = {"definition": "fever above 39"}
    yield lambda: t.record(t.cast.sponsor, "InterpretationResolved", "study", **fields)
    yield lambda: t.record(t.cast.sponsor, "InterpretationResolved", "study", **fields, parameters=given)


# -- acts ---------------------------------------------------------------------------------------------------


@case("CORRECTION-1")
def a_correction_of_a_record_that_is_not_there(t: Simulator) -> Iterator[Attempt]:
    ada, ben = t.subject("1"), t.subject("2")
    of_ada = t.screen(ada)
    t.screen(ben)
    yield lambda: t.correct(of_ada, "number", "3", about=ben.label)
    yield lambda: t.correct(of_ada, "number", "3")


@case("CORRECTION-1")
def a_correction_with_another_digest(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    forged = {"corrects": {"jti": told.jti, "digest": WRONG_ROOT, "field": "number"}}
    yield lambda: t.correct(told, "number", "3", claims=forged)
    yield lambda: t.correct(told, "number", "3")


@case("CORRECTION-2")
def a_correction_from_another_site(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.correct(told, "number", "3", site="SOUTH", by=t.staff("SOUTH").coordinator)
    yield lambda: t.correct(told, "number", "3")


@case("CORRECTION-3")
def a_decision_that_is_corrected(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    t.screen(ada)
    told = t.decide_eligible(ada, eligible=False)
    yield lambda: t.correct(told, "eligible", True)
    yield lambda: t.reverse(told)


@case("CORRECTION-3")
def a_release_that_is_voided(t: Simulator) -> Iterator[Attempt]:
    told = t.release_unit(t.register_unit())
    yield lambda: t.void(told, by=t.cast.manufacturer)
    yield lambda: t.reverse(told)


@case("CORRECTION-8")
def a_void_record_that_is_corrected(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    void = t.void(told)
    yield lambda: t.correct(told, "number", "2")
    t.void(void, reason="it was right after all")


@case("CORRECTION-4")
def the_laboratorys_result_corrected_by_the_site(t: Simulator) -> Iterator[Attempt]:
    staff = t.staff()
    told = t.fact("LabResultReported", t.subject("1"), by=staff.technician, analyte="ferritin", value="5")
    yield lambda: t.correct(told, "value", "50", by=staff.coordinator)
    yield lambda: t.correct(told, "value", "50", by=staff.technician)


@case("CORRECTION-4")
def a_field_that_the_fact_does_not_have(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.correct(told, "shoe_size", "42")
    yield lambda: t.correct(told, "comment", "shoe size 42")


@case("CORRECTION-4")
def a_value_of_another_form(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.correct(told, "birth_date", "second of June")
    yield lambda: t.correct(told, "birth_date", "1980-06-02")


@case("CORRECTION-5")
def a_decision_that_is_reversed_twice(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    t.screen(ada)
    first = t.decide_eligible(ada, eligible=False)
    t.reverse(first)
    yield lambda: t.reverse(first)
    second = t.decide_eligible(ada, eligible=False)
    yield lambda: t.reverse(second)


@case("CORRECTION-7")
def a_correction_that_is_corrected(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    act = t.correct(told, "number", "2")
    yield lambda: t.correct(act, "value", "3")
    yield lambda: t.correct(told, "number", "3")


@case("CORRECTION-7")
def a_correction_that_is_voided(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    act = t.correct(told, "number", "2")
    yield lambda: t.void(act)
    yield lambda: t.correct(told, "number", "1")


@case("CORRECTION-7")
def a_void_that_is_reversed(t: Simulator) -> Iterator[Attempt]:
    void = t.void(t.screen(t.subject("1")))
    yield lambda: t.reverse(void, by=t.staff().investigator)
    yield lambda: t.void(void, reason="it was right after all")


@case("CORRECTION-8")
def a_void_record_that_is_voided_again(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    void = t.void(told)
    yield lambda: t.void(told)
    t.void(void, reason="it was right after all")


@case("CORRECTION-9")
def a_fact_that_is_reversed(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.reverse(told, by=t.staff().investigator)
    yield lambda: t.void(told)


@case("CORRECTION-10")
def a_reversal_that_is_reversed(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    t.screen(ada)
    reversal = t.reverse(t.decide_eligible(ada, eligible=False))
    yield lambda: t.reverse(reversal)
    yield lambda: t.decide_eligible(ada, eligible=False)


@case("CORRECTION-11")
def an_unlocking_by_two_people_that_one_takes_back(t: Simulator) -> Iterator[Attempt]:
    lock(t)
    told = t.decide(t.cast.data_manager, "StudyUnlocked", "study", reason="something is missing")
    t.countersign(told, t.staff().pi)
    yield lambda: t.reverse(told, by=t.cast.data_manager)
    yield lambda: lock(t)


@case("CORRECTION-12")
def an_enrolment_reversed_after_an_infusion_that_was_never_given(t: Simulator) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.admit(t.subject("1"))
    seat = t.enrol(ada, "LOW")
    given = t.treat(ada, 1)
    yield lambda: t.reverse(seat)
    t.void(given, reason="the bag was given to somebody else")


@case("CORRECTION-12")
def an_enrolment_reversed_of_who_is_not_to_be_treated_any_more(t: Simulator) -> Iterator[Attempt]:
    t.open_cohort("LOW")
    ada = t.admit(t.subject("1"))
    seat = t.enrol(ada, "LOW")
    t.treat(ada, 1)
    yield lambda: t.reverse(seat)
    yield lambda: t.fact("TreatmentDiscontinued", ada, reason="enrolled by mistake")


@case("CORRECTION-6")
def a_signature_withdrawn_by_somebody_else(t: Simulator) -> Iterator[Attempt]:
    told = t.open_cohort("LOW")
    fields = {"record": told.target, "reason": "I was mistaken"}
    yield lambda: t.record(t.staff("SOUTH").pi, "SignatureWithdrawn", "cohort/LOW", **fields)
    yield lambda: t.record(t.staff("NORTH").pi, "SignatureWithdrawn", "cohort/LOW", **fields)


@case("COUNTERSIGN-1")
def a_countersignature_that_nobody_waits_for(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.countersign(told, t.staff().pi)
    waiting = t.correct(told, "number", "2", by=t.cast.data_manager)
    yield lambda: t.countersign(waiting, t.staff().pi)


@case("COUNTERSIGN-1")
def a_countersignature_of_the_wrong_side(t: Simulator) -> Iterator[Attempt]:
    told = t.resolve("AMB-1", countersigned=False)
    yield lambda: t.countersign(told, t.cast.monitor)
    yield lambda: t.countersign(told, t.staff().investigator)


@case("COUNTERSIGN-2")
def one_person_who_signs_twice(t: Simulator) -> Iterator[Attempt]:
    manager, pi = t.cast.data_manager, t.staff().pi
    rights = {"role": "data-manager"}
    t.record(t.cast.registrar, "DelegationGranted", f"actor/{pi.id}", **rights)
    both = replace(pi.acting_as("data-manager"), site=None)
    told = t.decide(both, "StudyLocked", "study", reason="all data in")
    assert manager.id != pi.id
    yield lambda: t.countersign(told, replace(pi, site=None))
    yield lambda: t.countersign(told, t.staff("SOUTH").pi)


def lock(t: Simulator) -> Told:
    """Data manager and investigator lock the study."""
    told = t.decide(t.cast.data_manager, "StudyLocked", "study", reason="all data in")
    return t.countersign(told, t.staff().pi)


def unlock(t: Simulator) -> Told:
    """And unlock it."""
    told = t.decide(t.cast.data_manager, "StudyUnlocked", "study", reason="something is missing")
    return t.countersign(told, t.staff().pi)


@case("LOCK-1")
def a_correction_after_the_lock(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    lock(t)
    yield lambda: t.correct(told, "number", "2")
    unlock(t)


@case("LOCK-1")
def a_decision_after_the_lock(t: Simulator) -> Iterator[Attempt]:
    lock(t)
    yield lambda: t.open_cohort("LOW")
    unlock(t)


@case("LOCK-1")
def a_correction_in_a_frozen_subject(t: Simulator) -> Iterator[Attempt]:
    ada = t.subject("1")
    told = t.screen(ada)
    manager, pi = replace(t.cast.data_manager, site=ada.site), t.staff().pi
    t.countersign(t.decide(manager, "RecordsFrozen", ada, reason="monitored"), pi)
    yield lambda: t.correct(told, "number", "2")
    t.countersign(t.decide(manager, "RecordsUnfrozen", ada, reason="a mistake was found"), pi)


@case("LOCK-2")
def unlocking_what_is_not_locked(t: Simulator) -> Iterator[Attempt]:
    yield lambda: t.decide(t.cast.data_manager, "StudyUnlocked", "study", reason="to be sure")
    lock(t)


@case("QUERY-1")
def an_answer_to_a_query_that_is_closed(t: Simulator) -> Iterator[Attempt]:
    query = t.query(t.screen(t.subject("1")))
    t.close_query(query)
    yield lambda: t.answer(query)
    t.reopen_query(query)


@case("QUERY-2")
def a_query_about_a_field_that_the_record_does_not_have(t: Simulator) -> Iterator[Attempt]:
    told = t.screen(t.subject("1"))
    yield lambda: t.query(told, field="shoe_size")
    yield lambda: t.query(told, field="birth_date")


# -- genesis ------------------------------------------------------------------------------------------------


def opening(t: Simulator, key: SigningKey | None = None, **changed: Any) -> Callable[[], Told]:
    """Genesis with some fields changed."""

    def attempt() -> Told:
        by = t.cast.registrar if key is None else replace(t.cast.registrar, key=key)
        people = replace(t.cast, registrar=by)
        fields = cast.genesis_fields(t.plan.study, t.terms, people, **changed)
        text = t.sign(by, "StudyOpened", "study", **fields)
        return t._told(text, t.door.open_study(text))

    return attempt


@case("GENESIS-1", GENESIS_CASES)
def a_fact_before_genesis(t: Simulator) -> Iterator[Attempt]:
    text = t.sign(t.staff().coordinator, "SubjectScreened", t.subject("1"), number="1")
    yield lambda: t._told(text, t.door.open_study(text))
    yield opening(t)


@case("GENESIS-7", GENESIS_CASES)
def a_fact_sent_to_where_studies_are_opened(t: Simulator) -> Iterator[Attempt]:
    told = opening(t)()
    text = t.sign(t.staff().coordinator, "SubjectScreened", t.subject("1"), number="1")
    yield lambda: t._told(text, t.door.open_study(text))
    yield lambda: t._told(told.text, t.door.open_study(told.text))


@case("SIGNATURE-0", GENESIS_CASES)
def a_genesis_with_the_signature_of_another(t: Simulator) -> Iterator[Attempt]:
    mine, other = (
        t.sign(t.cast.registrar, "StudyOpened", "study", **cast.genesis_fields(t.plan.study, t.terms, t.cast))
        for _ in range(2)
    )
    head, _, tail = mine.partition("~")
    forged = f"{head.rpartition('.')[0]}.{other.partition('~')[0].rpartition('.')[2]}~{tail}"
    yield lambda: t._told(forged, t.door.open_study(forged))
    yield lambda: t._told(mine, t.door.open_study(mine))


@case("GENESIS-2", GENESIS_CASES)
def a_genesis_key_that_the_server_does_not_know(t: Simulator) -> Iterator[Attempt]:
    key = SigningKey.generate()
    attempt = opening(t, key)
    yield attempt
    door: Any = t.door
    door.ledger.allow_genesis(key.kid)


@case("GENESIS-3", GENESIS_CASES)
def log_keys_of_another_log(t: Simulator) -> Iterator[Attempt]:
    door: Any = t.door
    yield opening(t, log_keys=door.ledger.log_keys("OTHER-1")["log_keys"])
    yield opening(t)


@case("GENESIS-3", GENESIS_CASES)
def another_key_for_the_actor_ledger(t: Simulator) -> Iterator[Attempt]:
    key = SigningKey.generate()
    yield opening(t, ledger={"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk})
    yield opening(t)


@case("GENESIS-4", GENESIS_CASES)
def two_registrars_required_and_one_named(t: Simulator) -> Iterator[Attempt]:
    yield opening(t, registrars_required=2)
    yield opening(t, registrars_required=1)


@case("GENESIS-4", GENESIS_CASES)
def a_registrar_called_ledger(t: Simulator) -> Iterator[Attempt]:
    key = SigningKey.generate()
    named = {"actor": "ledger", "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    own = cast.genesis_fields(t.plan.study, t.terms, t.cast)["registrars"]
    yield opening(t, registrars=[*own, named])
    yield opening(t, registrars=[*own, {**named, "actor": "registrar-2"}])


@case("GENESIS-5", GENESIS_CASES)
def a_simulated_clock_on_a_server_of_ones_own(t: Simulator) -> Iterator[Attempt]:
    yield opening(t, clock="simulated", synthetic=True)
    yield opening(t, clock="real")


@case("GENESIS-6", GENESIS_CASES)
def a_second_genesis(t: Simulator) -> Iterator[Attempt]:
    first = opening(t)()
    yield opening(t, synthetic=False)
    yield lambda: t._told(first.text, t.door.open_study(first.text))


# -- the tests ----------------------------------------------------------------------------------------------


def play(trial: Simulator, rule: str, story: Story) -> None:
    """The attempt is refused by its rule and leaves no trace; after the remedy it is recorded."""
    steps = story(trial)
    attempt = next(steps)
    before = size_of(trial)
    with pytest.raises(Refused) as caught:
        attempt()
    problem = caught.value.problem
    assert problem["rule"] == rule, problem
    assert problem["because"].strip()
    assert problem["remedy"].strip().endswith(".")
    assert problem["title"].strip().endswith(".")
    assert all(0 <= index < before for index in problem["indexes"]), "a cause names records that are there"
    assert size_of(trial) == before, "a refused statement leaves no trace in the ledger"
    then = next(steps, attempt)
    then()


def size_of(trial: Simulator) -> int:
    """How many entries the trial's ledger has."""
    door: Any = trial.door
    if not door.ledger.has_study(trial.plan.study):
        return 0
    return trial.door.cut().size


def ids(cases: list[tuple[str, str, Story]]) -> list[str]:
    """Names of the cases."""
    return [f"{rule}: {name}" for rule, name, _ in cases]


@pytest.mark.parametrize(("rule", "story"), [(r, s) for r, _, s in CASES], ids=ids(CASES))
def test_a_statement_is_refused_and_its_remedy_makes_it_succeed(trial: Simulator, rule: str, story: Story) -> None:
    play(trial, rule, story)


@pytest.mark.parametrize(("rule", "story"), [(r, s) for r, _, s in GENESIS_CASES], ids=ids(GENESIS_CASES))
def test_genesis_is_refused_and_its_remedy_makes_it_succeed(before_trial: Simulator, rule: str, story: Story) -> None:
    play(before_trial, rule, story)


ELSEWHERE = {
    "AUTHORITY-0": "a template: each denial has its own rule, AUTHORITY-1 to AUTHORITY-13",
    "STATEMENT-0": "a template: each broken sentence of strict parsing has its own rule (tests/unit)",
    "WRITER-1": "infrastructure: the queue is full (tests/crash/test_writer.py)",
    "WRITER-2": "infrastructure: the database is away (tests/crash/test_faults.py)",
    "WRITER-3": "infrastructure: the clock runs back (tests/crash/test_writer.py)",
    "WRITER-4": "infrastructure: a defect of the ledger itself (tests/crash/test_writer.py)",
    **dict.fromkeys(
        ("SKIP-1", "SKIP-2", "SKIP-3", "SKIP-4", "SKIP-5", "SKIP-6"),
        "a projection's own (tests/integration/projections/test_skipping.py)",
    ),
    **dict.fromkeys(
        ("RESTORE-1", "RESTORE-2", "RESTORE-3", "RESTORE-4", "RESTORE-5"),
        "a restored database (tests/crash/test_restored_entries.py)",
    ),
    "SEAL-1": "the system's own (tests/integration/exports/test_seal.py)",
    "WRITER-5": "infrastructure: the disk is full (tests/crash/test_database.py)",
    "WRITER-6": "infrastructure: the entries are in doubt (tests/crash/test_signer.py)",
    "ENTRY-404": "a reading's refusal (tests/http)",
    "REDACTION-1": "takes the disclosures of a record (tests/scenario/test_redaction.py)",
    "CATALOGUE-7": "takes an event of several versions (tests/integration/test_later_release.py)",
    "CATALOGUE-8": "takes a later release (tests/integration/test_later_release.py)",
    "CATALOGUE-9": "takes a faulty upcaster (tests/integration/test_later_release.py)",
    "REDACTION-2": "takes the disclosures of a record (tests/scenario/test_redaction.py)",
    "REDACTION-3": "takes the disclosures of a record (tests/scenario/test_redaction.py)",
    "ACCOUNT-1": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-2": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-3": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-4": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-5": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-6": "a person's account (tests/integration/test_signature_ceremonies.py)",
    "ACCOUNT-7": "a person's account (tests/integration/test_signature_attacks.py)",
    "CEREMONY-2": "takes a ceremony (tests/integration/test_signature_attacks.py)",
    "CEREMONY-3": "takes a ceremony (tests/integration/test_signature_ceremonies.py)",
    "CEREMONY-4": "takes a ceremony (tests/integration/test_signature_attacks.py)",
    "CEREMONY-5": "takes a ceremony (tests/integration/test_signature_attacks.py)",
}
"""Refusals that no story of this table can meet, and where they are met instead."""


def test_no_refusal_and_no_finding_is_without_its_story() -> None:
    for module in pkgutil.iter_modules(ledger.domain.__path__, "ledger.domain."):
        importlib.import_module(module.name)
    told = {rule for cases in (CASES, GENESIS_CASES, CLINICAL_CASES) for rule, _, _ in cases} | set(ELSEWHERE)
    classes = [cls for cls in all_rules(Refusal) if cls.__module__.startswith("ledger.")]
    assert {cls.rule for cls in classes} - told == set()
    found = {rule for rule, _, _ in FINDING_CASES}
    assert {cls.rule for cls in all_rules(FindingRule)} - found == set()
