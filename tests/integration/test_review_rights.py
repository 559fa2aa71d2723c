"""Who tries to do more than is theirs: at another site, alone where two are asked, with the log's own key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from api.client.signing import Actor, Cut
from ledger.merkle.log_keys import derive
from ledger.merkle.note import make_note
from ledger.signing.keys import PublicKey, SigningKey
from ledger.signing.statement import disclosures_by_digest, parse
from tests.scenario import cast
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of, study_of
from tests.scenario.simulator import Simulator, Told, refused


@pytest.fixture
def told(trial: Simulator) -> Iterator[Told]:
    """A fact about a subject of the first site."""
    yield trial.screen(trial.subject("1"))


def sub_of(told: Told) -> str:
    """What a statement is about."""
    return parse(told.text).sub


# -- at another site ----------------------------------------------------------------------------------------


def test_an_investigator_signs_no_records_of_another_site(trial: Simulator, told: Told) -> None:
    ada = sub_of(told)
    away = trial.staff("SOUTH").investigator
    with refused("CORRECTION-2"):
        trial.decide(away, "RecordsSigned", ada, site="SOUTH", records=[told.target])
    trial.decide(trial.staff().investigator, "RecordsSigned", ada, site="NORTH", records=[told.target])


def test_after_a_transfer_the_new_site_signs_what_the_old_one_recorded(trial: Simulator, told: Told) -> None:
    ada = sub_of(told)
    fields = {"from_site": "NORTH", "to_site": "SOUTH", "reason": "moved", "occurred_at": trial.stamp()}
    trial.record(trial.staff().coordinator, "SubjectTransferred", ada, site="NORTH", **fields)
    trial.decide(trial.staff("SOUTH").investigator, "RecordsSigned", ada, site="SOUTH", records=[told.target])


@pytest.mark.parametrize("event", ["SourceVerified", "QueryOpened"])
def test_a_monitor_names_the_site_of_the_record(trial: Simulator, told: Told, event: str) -> None:
    fields: dict[str, Any] = {"records": [told.target]}
    if event == "QueryOpened":
        fields = {"record": told.target, "question": "Is this right?"}
    with refused("CORRECTION-2"):
        trial.record(trial.cast.monitor, event, sub_of(told), site="SOUTH", **fields)
    trial.record(trial.cast.monitor, event, sub_of(told), site="NORTH", **fields)


def test_another_sites_investigator_does_not_shut_a_subject_out(trial: Simulator, told: Told) -> None:
    ada, away = sub_of(told), trial.staff("SOUTH").investigator
    with refused("SITE-2"):
        trial.decide(away, "EligibilityDecided", ada, site="SOUTH", eligible=False)
    trial.decide(trial.staff().investigator, "EligibilityDecided", ada, site="NORTH", eligible=False)


def test_nobody_disputes_what_stands_under_a_colleagues_name(trial: Simulator, told: Told) -> None:
    ada, staff = sub_of(told), trial.staff()
    fields = {"record": told.target, "reason": "I do not believe it"}
    with refused("CORRECTION-6"):
        trial.record(staff.technician, "AttributionDisputed", ada, site="NORTH", **fields)
    trial.record(staff.coordinator, "AttributionDisputed", ada, site="NORTH", **fields)


# -- alone, where two are asked -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["sponsor", "data_manager"])
def test_the_sponsor_does_not_correct_the_makers_records_where_no_site_can_countersign(
    trial: Simulator, who: str
) -> None:
    trial.register_unit()
    registered = trial.acknowledged[-1]
    with refused("CORRECTION-4"):
        trial.correct(registered, "lot", "L9", by=getattr(trial.cast, who))
    with refused("CORRECTION-4"):
        trial.void(registered, by=getattr(trial.cast, who))
    trial.correct(registered, "lot", "L9", by=trial.cast.manufacturer)


def test_one_person_does_not_take_back_what_two_signed(trial: Simulator) -> None:
    manager, pi = trial.cast.data_manager, trial.staff().pi
    for event in ("StudyLocked", "StudyUnlocked"):
        told = trial.decide(manager, event, "study", reason="the data are clean")
        trial.countersign(told, pi)
    with refused("CORRECTION-11"):
        trial.reverse(told, by=manager)
    assert study_of(trial).records.get(told.jti).stands  # type: ignore[union-attr]


def test_what_waits_for_a_second_signature_is_taken_back_by_the_first(trial: Simulator) -> None:
    manager = trial.cast.data_manager
    told = trial.decide(manager, "StudyLocked", "study", reason="the data are clean")
    trial.reverse(told, by=manager)
    trial.countersign(told, trial.staff().pi)
    trial.open_cohort("LOW")


def test_a_reversal_is_signed_like_a_decision(trial: Simulator) -> None:
    opened = trial.open_cohort("LOW")
    claims = {"reverses": opened.target}
    with refused("SIGNATURE-2"):
        trial.record(trial.staff().pi, "DecisionReversed", "cohort/LOW", reason="too early", claims=claims)
    with refused("SIGNATURE-2"):
        paper = claims | {"mode": "transcribed"}
        trial.record(trial.staff().pi, "DecisionReversed", "cohort/LOW", reason="too early", claims=paper)
    trial.reverse(opened)


def test_records_are_signed_on_a_cut(trial: Simulator, told: Told) -> None:
    by, ada = trial.staff().investigator, sub_of(told)
    with refused("SIGNATURE-2"):
        trial.record(by, "RecordsSigned", ada, site="NORTH", records=[told.target], meaning="responsibility")


def test_a_safety_review_stops_a_cohort_after_the_lock_and_lets_nothing_go_on(trial: Simulator) -> None:
    trial.open_cohort("LOW")
    lock = trial.decide(trial.cast.data_manager, "StudyLocked", "study", reason="the data are clean")
    trial.countersign(lock, trial.staff().pi)
    with refused("LOCK-1"):
        trial.review("LOW", "escalate")
    trial.review("LOW", "hold")


# -- keys and systems ---------------------------------------------------------------------------------------


def test_a_systems_delegation_names_its_events(trial: Simulator) -> None:
    about = f"actor/{trial.cast.analyser.id}"
    for events in (None, []):
        with refused("AUTHORITY-7"):
            trial.record(trial.cast.registrar, "DelegationGranted", about, role="system", events=events)


def test_a_system_whose_key_is_stolen_revokes_it(trial: Simulator) -> None:
    analyser = trial.cast.analyser
    about, kid = f"actor/{analyser.id}", cast.key_of(analyser).kid
    trial.record(analyser, "KeyRevoked", about, kid=kid, reason="the machine was stolen")
    with refused("AUTHORITY-3"):
        trial.result(trial.subject("1"), "ferritin", "50")


def test_the_logs_keys_change_only_by_a_note_that_old_and_new_ones_signed(trial: Simulator) -> None:
    registrar, ledger = trial.cast.registrar, ledger_of(trial)
    origin = registrar.origin
    old, new = (derive(ledger.home.master_seed(), origin, generation) for generation in (1, 2))
    keys = [str(key) for key in new.public()]
    text = "\n".join((origin, "rotate", *keys, "")).encode()
    both = make_note(text, [old.ed25519.sign(text), new.ed25519.sign(text)]).decode()
    halves = [make_note(text, [half.ed25519.sign(text)]).decode() for half in (old, new)]
    other = make_note(b"rotate\n", [old.ed25519.sign(b"rotate\n"), new.ed25519.sign(b"rotate\n")]).decode()
    for note in ("trust me", *halves, other):
        with refused("KEY-6"):
            trial.record(registrar, "LogKeyRotated", "study", log_keys=keys, note=note)
    two = [*keys, str(derive(b"x" * 32, trial.terms["origin"]).ed25519.key)]
    elsewhere = [str(key) for key in derive(b"x" * 32, "ledger.test/study/X-1").public()]
    for wrong in (["evil"], keys[1:], two, elsewhere):
        with refused("KEY-5"):
            trial.record(registrar, "LogKeyRotated", "study", log_keys=wrong, note=both)
    assert study_of(trial).authority.log_keys == [str(key) for key in old.public()]


def test_the_logs_own_key_is_nobodys(before_trial: Simulator) -> None:
    log = ledger_of(before_trial).log_signers(before_trial.plan.study).ed25519.key
    key = PublicKey(Ed25519PublicKey.from_public_bytes(log.public))
    fields = cast.genesis_fields(before_trial.plan.study, before_trial.terms, before_trial.cast)
    named = {"actor": "registrar-2", "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    fields["registrars"] = [*fields["registrars"], named]
    with refused("GENESIS-4"):
        before_trial.door.open_study(before_trial.cast.registrar.sign("StudyOpened", "study", fields))


@pytest.mark.parametrize("claim", ["cut", "voids", "expected_version", "site"])
def test_genesis_says_nothing_about_what_came_before(before_trial: Simulator, claim: str) -> None:
    fields = cast.genesis_fields(before_trial.plan.study, before_trial.terms, before_trial.cast)
    digest = "A" * 43
    claims: dict[str, Any] = {
        "cut": Cut(0, digest),
        "voids": {"jti": "00000000-0000-4000-8000-000000000000", "digest": digest},
        "expected_version": 0,
        "site": "NORTH",
    }
    with refused("CATALOGUE-3"):
        text = before_trial.cast.registrar.sign("StudyOpened", "study", fields, **{claim: claims[claim]})
        before_trial.door.open_study(text)


# -- what is named must be there ----------------------------------------------------------------------------


def test_a_redaction_names_what_is_there(trial: Simulator, told: Told) -> None:
    ada, by = sub_of(told), trial.cast.privacy_officer
    order = {"site": "NORTH", "legal_basis": "GDPR 17", "reason": "asked for"}
    digest, field = next(iter(disclosures_by_digest(parse(told.text).disclosures).items()))
    there = {**told.target, "disclosures": [digest], "fields": [field]}
    nowhere = {**there, "jti": "00000000-0000-4000-8000-000000000000", "digest": "A" * 43}
    for wrong in (nowhere, {**there, "disclosures": ["A" * 43]}):
        with refused("CORRECTION-1"):
            trial.record(by, "FieldsRedacted", ada, records=[wrong], **order)
    trial.record(by, "FieldsRedacted", ada, records=[there], **order)


def test_a_data_cut_is_of_a_size_that_this_log_has(trial: Simulator) -> None:
    manager, size = trial.cast.data_manager, trial.door.cut().size
    for beyond in (size + 1, 5_000_000):
        with refused("CUT-1"):
            trial.decide(manager, "DataCutTaken", "study", name="interim", size=beyond, reason="planned")
    trial.decide(manager, "DataCutTaken", "study", name="interim", size=size, reason="planned")


def test_a_version_that_moved_far_shows_a_hundred_of_the_missed_events(trial: Simulator) -> None:
    ada = trial.subject("1")
    trial.send_many(
        [
            trial.sign(trial.cast.analyser, "LabResultReported", ada, analyte="ferritin", value=str(n))
            for n in range(150)
        ]
    )
    with refused("VERSION-1") as problem:
        trial.screen(ada, claims={"expected_version": 20})
    assert len(problem["missed"]) == len(problem["indexes"]) == 100


def test_a_second_registrar_is_a_second_person_with_a_key_of_another(before_trial: Simulator) -> None:
    """With two registrars asked, one alone enrols nobody, for anybody, under any key."""
    sim, second, fresh = before_trial, SigningKey.generate(), SigningKey.generate()
    registrar = sim.cast.registrar
    other = Actor("registrar-2", "registrar", second, registrar.origin, None, sim.seconds)
    fields = cast.genesis_fields(sim.plan.study, sim.terms, sim.cast, registrars_required=2)
    named = {"actor": other.id, "kid": second.kid, "alg": second.alg, "jwk": second.public_jwk}
    fields["registrars"] = [*fields["registrars"], named]
    genesis = registrar.sign("StudyOpened", "study", fields)
    sim._told(genesis, sim.door.open_study(genesis))
    sim.send_many([cast.accountable(registrar), cast.accountable(other)])
    for name in ("kim", "lee"):
        sim.record(registrar, "ActorEnrolled", f"actor/{name}", actor_kind="person")
    for_kim, for_lee = (sim.send(registrar.enrol_key(name, fresh, fresh.public_jwk)) for name in ("kim", "lee"))
    with refused("COUNTERSIGN-2"):
        sim.countersign(for_kim, registrar)
    sim.countersign(for_kim, other)
    with refused("AUTHORITY-9"):
        sim.countersign(for_lee, other)
    own = sim.record(other, "DelegationGranted", f"actor/{other.id}", role="sponsor")
    with refused("AUTHORITY-5"):
        sim.record(other.acting_as("sponsor"), "SiteActivated", "site/WEST", time_zone="UTC")
    sim.record(other, "KeyRevoked", f"actor/{registrar.id}", kid=registrar.key.kid, reason="left")
    with refused("COUNTERSIGN-2"):
        sim.countersign(own, other)
