"""Authority on a real ledger: two registrars, keys that change hands of time, what is decided in the same batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from api.client.signing import target as target_of
from ledger.domain.refusals import Refusal
from ledger.signing.keys import SigningKey
from tests.scenario import cast
from tests.scenario.fixtures import ledger_of, study_of
from tests.scenario.simulator import Simulator, Told, refused


@pytest.fixture
def two(before_trial: Simulator) -> Simulator:
    """A study in which two registrars are required, and nobody but them is enrolled."""
    sim = before_trial
    second = replace(sim.cast.registrar, id="registrar-2", key=SigningKey.generate())
    named = cast.genesis_fields(sim.plan.study, sim.terms, sim.cast)["registrars"]
    key = cast.key_of(second)
    named = [*named, {"actor": second.id, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}]
    fields = cast.genesis_fields(sim.plan.study, sim.terms, sim.cast, registrars=named, registrars_required=2)
    text = sim.cast.registrar.sign("StudyOpened", "study", fields)
    sim._told(text, sim.door.open_study(text))
    sim.cast = replace(sim.cast, privacy_officer=second)
    sim.send_many([cast.accountable(sim.cast.registrar), cast.accountable(second)])
    return sim


def test_an_enrolment_by_one_registrar_waits_for_the_other(two: Simulator) -> None:
    first, second, sponsor = two.cast.registrar, two.cast.privacy_officer, two.cast.sponsor
    about = f"actor/{sponsor.id}"
    two.record(first, "ActorEnrolled", about, actor_kind="person")
    key = two.send(first.enrol_key(sponsor.id, cast.key_of(sponsor), cast.key_of(sponsor).public_jwk))
    granted = two.record(first, "DelegationGranted", about, role="sponsor")
    with refused("AUTHORITY-2"):
        two.record(sponsor, "SiteActivated", "site/NORTH", time_zone="UTC")
    with refused("COUNTERSIGN-2"):
        two.countersign(key, first)
    two.countersign(key, second)
    with refused("AUTHORITY-5"):
        two.record(sponsor, "SiteActivated", "site/NORTH", time_zone="UTC")
    two.countersign(granted, second)
    two.record(sponsor, "SiteActivated", "site/NORTH", time_zone="UTC")


def test_a_key_enrolled_in_the_meantime_for_somebody_else_is_not_countersigned(two: Simulator) -> None:
    first, second = two.cast.registrar, two.cast.privacy_officer
    key = SigningKey.generate()
    waiting = []
    for actor in ("ada", "ben"):
        two.record(first, "ActorEnrolled", f"actor/{actor}", actor_kind="person")
        waiting.append(two.send(first.enrol_key(actor, key, key.public_jwk)))
    two.countersign(waiting[0], second)
    with refused("AUTHORITY-9"):
        two.countersign(waiting[1], second)
    enrolled = study_of(two).authority.key(key.kid)
    assert enrolled is not None
    assert enrolled.actor == "ada"


def test_enrolment_and_first_use_of_a_key_in_one_batch(trial: Simulator) -> None:
    """What is sent together is decided in order: the key is good for the statement right behind it."""
    registrar, pi, key = trial.cast.registrar, trial.staff().pi, SigningKey.generate()
    nurse = replace(trial.staff().coordinator, id="nurse-2", key=key)
    texts = [
        registrar.sign("ActorEnrolled", "actor/nurse-2", {"actor_kind": "person"}),
        registrar.enrol_key("nurse-2", key, key.public_jwk),
        pi.sign("DelegationGranted", "actor/nurse-2", {"role": "coordinator", "sites": ["NORTH"]}),
        trial.sign(nurse, "SubjectScreened", trial.subject("1"), number="1"),
    ]
    told = trial.send_many(texts)
    assert [one.index for one in told] == list(range(told[0].index, told[0].index + 4))


def test_a_forged_signature_under_a_key_of_the_same_batch_is_found(trial: Simulator) -> None:
    """The key was not known when the statement came in: it is verified after its predecessors."""
    registrar, pi, key = trial.cast.registrar, trial.staff().pi, SigningKey.generate()
    nurse = replace(trial.staff().coordinator, id="nurse-2", key=key)
    good, other = (trial.sign(nurse, "SubjectScreened", trial.subject(n), number=n) for n in ("1", "2"))
    forged = good.replace(good.partition("~")[0].rpartition(".")[2], other.partition("~")[0].rpartition(".")[2])
    texts = [
        registrar.sign("ActorEnrolled", "actor/nurse-2", {"actor_kind": "person"}),
        registrar.enrol_key("nurse-2", key, key.public_jwk),
        pi.sign("DelegationGranted", "actor/nurse-2", {"role": "coordinator", "sites": ["NORTH"]}),
        forged,
    ]
    outcomes: list[Any] = list(ledger_of(trial).append_many(trial.plan.study, texts))
    assert not any(isinstance(outcome, Refusal) for outcome in outcomes[:3])
    assert outcomes[3].rule == "SIGNATURE-0"
    trial.send_many(texts[:3])


def test_a_statement_under_a_key_revoked_in_the_same_batch_is_refused(trial: Simulator) -> None:
    nurse = trial.staff().coordinator
    body = {"kid": cast.key_of(nurse).kid, "reason": "lost"}
    texts = [
        trial.sign(nurse, "SubjectScreened", trial.subject("1"), number="1"),
        nurse.sign("KeyRevoked", f"actor/{nurse.id}", body),
        trial.sign(nurse, "SubjectScreened", trial.subject("2"), number="2"),
    ]
    outcomes: list[Any] = list(ledger_of(trial).append_many(trial.plan.study, texts))
    assert [getattr(outcome, "rule", None) for outcome in outcomes] == [None, None, "AUTHORITY-3"]
    trial.send_many(texts[:1])


@dataclass(frozen=True)
class OlderName:
    """An Ed25519 key whose holder's software still calls the algorithm EdDSA."""

    key: SigningKey
    alg: str = "EdDSA"

    @property
    def kid(self) -> str:
        """The thumbprint, which does not depend on the name."""
        return self.key.kid

    def sign(self, message: bytes) -> bytes:
        """The same signature."""
        return self.key.sign(message)


@pytest.mark.parametrize("name", ["ES256", "Ed25519", "EdDSA"])
def test_every_algorithm_of_the_profile_is_accepted(trial: Simulator, name: str) -> None:
    registrar, pi, key = trial.cast.registrar, trial.staff().pi, SigningKey.generate(name)
    signer = OlderName(key) if name == "EdDSA" else key
    nurse = replace(trial.staff().coordinator, id="nurse-2", key=signer)
    trial.record(registrar, "ActorEnrolled", "actor/nurse-2", actor_kind="person")
    trial.send(registrar.enrol_key("nurse-2", signer, key.public_jwk))
    trial.record(pi, "DelegationGranted", "actor/nurse-2", role="coordinator", sites=["NORTH"])
    trial.screen(trial.subject("1"), by=nurse)


def test_one_person_with_two_roles_acts_in_the_one_that_is_stated(trial: Simulator) -> None:
    pi = trial.staff().pi
    trial.record(pi, "DelegationGranted", f"actor/{pi.id}", role="coordinator", sites=["NORTH"])
    trial.screen(trial.subject("1"), by=pi.acting_as("coordinator"))
    with refused("ROLE-1"):
        trial.record(pi.acting_as("coordinator"), "CohortHeld", "cohort/LOW", reason="unsure")
    trial.hold_cohort("LOW")


@dataclass
class Stolen:
    """A monitor whose key was stolen, revoked and replaced: what was said before, and what under suspicion."""

    again: Any
    before: Told
    meant: Told


@pytest.fixture
def stolen(trial: Simulator) -> Stolen:
    monitor, registrar = trial.cast.monitor, trial.cast.registrar
    about, fresh = f"actor/{monitor.id}", SigningKey.generate()
    fields = {"statement": "I stand by my signature.", "version": "1"}
    before, meant = (trial.record(monitor, "AccountabilityAccepted", about, **fields) for _ in range(2))
    kid = cast.key_of(monitor).kid
    trial.record(registrar, "KeyRevoked", about, kid=kid, suspect_since=meant.index, reason="stolen")
    trial.send(registrar.enrol_key(monitor.id, fresh, fresh.public_jwk))
    return Stolen(replace(monitor, key=fresh), before, meant)


def test_a_disputed_statement_is_reaffirmed_by_its_actor_under_a_good_key(trial: Simulator, stolen: Stolen) -> None:
    again, monitor, sponsor = stolen.again, trial.cast.monitor, trial.cast.sponsor
    about, target = f"actor/{monitor.id}", stolen.meant.target

    def disputed() -> bool:
        kid = cast.key_of(monitor).kid
        return study_of(trial).authority.disputed(kid, stolen.meant.index, target["jti"], target["digest"])

    assert disputed()
    with refused("AUTHORITY-3"):
        trial.record(monitor, "SignatureReaffirmed", about, records=[target])
    with refused("KEY-7"):
        trial.record(sponsor, "SignatureReaffirmed", about, records=[target])
    with refused("KEY-8"):
        trial.record(sponsor, "SignatureReaffirmed", f"actor/{sponsor.id}", records=[target])
    for wrong in (
        [{**target, "digest": "A" * 43}],
        [{**target, "jti": "00000000-0000-4000-8000-000000000000"}],
        [target, target],
        [target, stolen.before.target],
    ):
        with refused("KEY-8"):
            trial.record(again, "SignatureReaffirmed", about, records=wrong)
    assert disputed()
    trial.record(again, "SignatureReaffirmed", about, records=[target])
    assert not disputed()
    with refused("KEY-8"):
        trial.record(again, "SignatureReaffirmed", about, records=[target])


def test_a_record_of_a_subject_is_reaffirmed_like_any_other_in_the_very_batch_that_disputes_it(
    trial: Simulator,
) -> None:
    staff, registrar, fresh = trial.staff(), trial.cast.registrar, SigningKey.generate()
    by = staff.coordinator
    about = f"actor/{by.id}"
    screened = trial.sign(by, "SubjectScreened", trial.subject("1"), number="001")
    size = trial.door.cut().size
    revoked = registrar.sign(
        "KeyRevoked", about, {"kid": cast.key_of(by).kid, "suspect_since": size, "reason": "stolen"}
    )
    enrolled = registrar.enrol_key(by.id, fresh, fresh.public_jwk)
    fields = {"records": [target_of(screened)]}
    reaffirmed = replace(by, key=fresh).sign("SignatureReaffirmed", about, fields)
    told = trial.send_many([screened, revoked, enrolled, reaffirmed])
    jti, digest = fields["records"][0]["jti"], fields["records"][0]["digest"]
    assert not study_of(trial).authority.disputed(cast.key_of(by).kid, told[0].index, jti, digest)
    assert study_of(trial).authority.disputed(cast.key_of(by).kid, told[0].index, jti, "A" * 43)


@pytest.mark.parametrize("alike", ["Monitor-1", "rnonitor-1", "monitor-l"])
def test_a_retired_actor_id_is_never_given_again_nor_one_that_looks_like_it(trial: Simulator, alike: str) -> None:
    registrar = trial.cast.registrar
    trial.record(registrar, "ActorEnrolled", "actor/monitor-1", actor_kind="person")
    with refused("AUTHORITY-9"):
        trial.record(registrar, "ActorEnrolled", f"actor/{alike}", actor_kind="person")
