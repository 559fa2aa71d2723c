"""Whose signature it is, when it was given and what it means stands in what is signed, and cannot mislead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain.cohort import CohortOpened
from ledger.domain.correction import Countersigned
from ledger.domain.delegation import ActorEnrolled
from ledger.domain.manifestation import FIELDS, ManifestationWrong, check_manifestation, enrolled_name
from ledger.domain.model import Signable, SystemEvent
from ledger.domain.oversight import EVENTS, RecordsSigned
from ledger.domain.record import Record
from tests.unit.domain.conftest import Trial

SIGNED = datetime(2024, 3, 4, 9, 0, tzinfo=UTC)
NAME = "Invented Chen"


@pytest.fixture
def named() -> Trial:
    """A trial in which one person was enrolled under a name and one without."""
    trial = Trial().open()
    trial.say("ActorEnrolled", "actor/chen", role="registrar", actor_kind="person", name=NAME)
    trial.say("ActorEnrolled", "actor/lee", role="registrar", actor_kind="person")
    return trial


def signature(iss: str = "chen", meaning: str | None = "approval", **content: Any) -> Record:
    """A statement of CohortOpened as a candidate."""
    claims: dict[str, Any] = {"iss": iss, "iat": int(SIGNED.timestamp()), "event": "CohortOpened"}
    if meaning is not None:
        claims["meaning"] = meaning
    return Record(9, "", "", "", claims, "decision", {}, content)


def stamp(zone: timezone = UTC, **late: float) -> str:
    """The time of signing, or so much later, in a zone."""
    return (SIGNED + timedelta(**late)).astimezone(zone).isoformat()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"printed_name": NAME},
        {"signed_at": stamp()},
        {"printed_name": "Invented Lee", "signed_at": stamp()},
        {"printed_name": NAME.lower(), "signed_at": stamp()},
        {"printed_name": "Invented \u0421hen", "signed_at": stamp()},  # a letter of another alphabet that looks alike
        {"printed_name": NAME, "signed_at": stamp(seconds=61)},
        {"printed_name": NAME, "signed_at": stamp(seconds=-61)},
        {"printed_name": NAME, "signed_at": stamp()[:19] + "+08:00"},  # the same digits, another moment
        {"printed_name": None, "signed_at": stamp()},
    ],
)
def test_a_signature_without_its_signers_own_name_and_the_moment_is_refused(
    named: Trial, content: dict[str, Any]
) -> None:
    with pytest.raises(ManifestationWrong):
        check_manifestation(named.study, signature(**content))


@pytest.mark.parametrize("content", [{"printed_name": NAME}, {"signed_at": stamp()}])
def test_what_has_no_meaning_does_not_look_like_a_signature(named: Trial, content: dict[str, Any]) -> None:
    with pytest.raises(ManifestationWrong):
        check_manifestation(named.study, signature(meaning=None, **content))


def test_the_moment_may_be_told_in_the_signers_own_zone(named: Trial) -> None:
    for zone in (UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-3, minutes=-30))):
        check_manifestation(named.study, signature(printed_name=NAME, signed_at=stamp(zone)))
    check_manifestation(named.study, signature(printed_name=NAME, signed_at=stamp(seconds=60)))


def test_the_same_letters_are_the_same_name_however_they_are_encoded(named: Trial) -> None:
    named.say("ActorEnrolled", "actor/juergen", role="registrar", actor_kind="person", name="J\u00fcrgen Invented")
    spelt = signature("juergen", printed_name="Ju\u0308rgen Invented", signed_at=stamp())
    check_manifestation(named.study, spelt)
    with pytest.raises(ManifestationWrong):
        check_manifestation(named.study, signature("juergen", printed_name="Jurgen Invented", signed_at=stamp()))


def test_an_entry_has_no_manifestation(named: Trial) -> None:
    check_manifestation(named.study, signature(meaning=None))


def test_where_no_name_was_enrolled_the_signers_word_is_taken(named: Trial) -> None:
    check_manifestation(named.study, signature("lee", printed_name="Anybody", signed_at=stamp()))
    assert enrolled_name(named.study, "lee") is None
    assert enrolled_name(named.study, "nobody") is None


def test_a_redacted_name_is_compared_with_no_more(named: Trial) -> None:
    enrolled = named.study.records.by_event["ActorEnrolled"][0]
    enrolled.redacted["name"] = 99
    check_manifestation(named.study, signature(printed_name="Anybody", signed_at=stamp()))


def test_whoever_has_another_name_signs_with_it_from_then_on(named: Trial) -> None:
    named.say("PersonRenamed", "actor/chen", role="registrar", name="Invented Lee-Chen")
    check_manifestation(named.study, signature(printed_name="Invented Lee-Chen", signed_at=stamp()))
    with pytest.raises(ManifestationWrong):
        check_manifestation(named.study, signature(printed_name=NAME, signed_at=stamp()))
    named.say("PersonRenamed", "actor/lee", role="registrar", name="Invented Other")
    named.say("PersonRenamed", "actor/chen", role="registrar", name=NAME)
    assert (enrolled_name(named.study, "chen"), enrolled_name(named.study, "lee")) == (NAME, "Invented Other")


def test_a_registrars_name_stands_in_genesis(named: Trial) -> None:
    named.study.genesis.content["registrar_names"] = {"registrar": "Invented Registrar"}
    assert enrolled_name(named.study, "registrar") == "Invented Registrar"
    with pytest.raises(ManifestationWrong):
        check_manifestation(named.study, signature("registrar", printed_name=NAME, signed_at=stamp()))


@pytest.mark.parametrize(
    "fields",
    [
        {"signed_at": "2024-03-04T09:00:00"},
        {"signed_at": "2024-03-04"},
        {"signed_at": "2024-03-04T09:00+01:00"},
        {"signed_at": "2024-03-04T09:00:00 +01:00"},
        {"signed_at": "2024-02-30T09:00:00Z"},
        {"signed_at": "2024-03-04T24:00:00Z"},
        {"signed_at": "2024-03-04T09:00:00+14:01"},
        {"signed_at": "0204-03-04T09:00:00Z"},
        {"signed_at": 1709542800},
        {"printed_name": " "},
        {"printed_name": "Invented\nChen"},
        {"printed_name": "Invented Chen "},
        {"printed_name": "Invented \u202enehC"},
        {"printed_name": "x" * 201},
    ],
)
def test_a_manifestation_that_could_mislead_is_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Countersigned.model_validate(fields)


def test_a_name_that_could_mislead_is_not_enrolled() -> None:
    with pytest.raises(ValidationError):
        ActorEnrolled.model_validate({"actor_kind": "person", "name": "Invented\u2028Chen"})


def test_the_manifestation_is_disclosed_and_can_be_redacted() -> None:
    for model in (CohortOpened, Countersigned, RecordsSigned, ActorEnrolled):
        assert set(FIELDS) <= model.disclosed_fields(), model.__name__


def test_the_system_itself_never_signs() -> None:
    for model in EVENTS:
        assert issubclass(model, SystemEvent) != issubclass(model, Signable), model.__name__
