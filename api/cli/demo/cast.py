"""Who takes part: synthetic persons and systems, their keys, and how they come into the ledger.

The registrar opens the study and enrols everybody; the principal investigator delegates the site's roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from api.cli.demo.play import Play, Sent
from api.client.signing import Actor
from ledger.domain.roles import ROLES
from ledger.signing.keys import SigningKey

STUDY = "NCT04014166"
TITLE = (
    "Study of Human Umbilical Cord-derived Mesenchymal Stem Cells for Treatment of Refractory Immune "
    "Thrombocytopenia (SYNTHETIC: a simulated course, no real persons)"
)
SITE = "TIANJIN"
ZONE = "Asia/Shanghai"

ACCOUNTABILITY = "I accept that my electronic signature in this synthetic study is as binding as my handwritten one."
MEANINGS = ["authorship", "review", "approval", "responsibility"]


@dataclass(frozen=True, slots=True)
class Part:
    """One actor: `role` as delegated, for the site's roles at the site; a system's `events`."""

    id: str
    role: str
    name: str
    organisation: str
    at_site: bool = False
    events: tuple[str, ...] | None = None


SPONSOR = "Synthetic sponsor"
HOSPITAL = "Synthetic hospital, Tianjin"
MAKER = "Synthetic cell manufacturer"
BOARD = "Synthetic safety review board"
REGISTRAR_NAME = "Synthetic registrar 1"

PARTS: Mapping[str, Part] = {
    "sponsor": Part("sponsor-01", "sponsor", "Synthetic sponsor representative 1", SPONSOR),
    "safety_officer": Part("safety-01", "sponsor-safety", "Synthetic safety physician 1", SPONSOR),
    "monitor": Part("monitor-01", "monitor", "Synthetic monitor 1", SPONSOR),
    "data_manager": Part("data-01", "data-manager", "Synthetic data manager 1", SPONSOR),
    "review": Part("review-01", "safety-review", "Synthetic review board chair", BOARD),
    "manufacturer": Part("maker-01", "manufacturer", "Synthetic production manager 1", MAKER),
    "quality": Part("quality-01", "manufacturer-quality", "Synthetic quality person 1", MAKER),
    "pi": Part("pi-01", "principal-investigator", "Synthetic investigator 1", HOSPITAL, at_site=True),
    "investigator": Part("investigator-02", "investigator", "Synthetic investigator 2", HOSPITAL, at_site=True),
    "coordinator": Part("coordinator-01", "coordinator", "Synthetic study nurse 1", HOSPITAL, at_site=True),
    "nurse": Part("nurse-02", "coordinator", "Synthetic study nurse 2", HOSPITAL, at_site=True),
    "pharmacist": Part("pharmacy-01", "pharmacy", "Synthetic pharmacist 1", HOSPITAL, at_site=True),
    "technician": Part("laboratory-01", "laboratory", "Synthetic laboratory head 1", HOSPITAL, at_site=True),
    "analyser": Part(
        "lab-system-01",
        "system",
        "Synthetic laboratory system",
        HOSPITAL,
        at_site=True,
        events=("LabResultReported", "SpecimenReceived", "SpecimenProcessed"),
    ),
}
BY_REGISTRAR = frozenset({"principal-investigator", "system"})
"""Roles at a site that the registrar grants all the same."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody who signs, by part in the story."""

    registrar: Actor
    sponsor: Actor
    safety_officer: Actor
    monitor: Actor
    data_manager: Actor
    review: Actor
    manufacturer: Actor
    quality: Actor
    pi: Actor
    investigator: Actor
    coordinator: Actor
    nurse: Actor
    pharmacist: Actor
    technician: Actor
    analyser: Actor


def gather_cast(play: Play, registrar_key: SigningKey, origin: str) -> Cast:
    """Give everybody a key; the registrar's is the installation's own."""

    def actor(id: str, role: str, name: str, key: SigningKey, site: str | None) -> Actor:
        signs = (play.clock, play.chance.id, play.chance.salt)
        return Actor(id, role, key, origin, site, *signs, name=name, zone=ZoneInfo(ZONE))

    people = {
        name: actor(part.id, part.role, part.name, play.chance.key(), SITE if part.at_site else None)
        for name, part in PARTS.items()
    }
    return Cast(registrar=actor("registrar-01", "registrar", REGISTRAR_NAME, registrar_key, None), **people)


def open_study(play: Play, cast: Cast, terms: Mapping[str, Any]) -> None:
    """Genesis: `terms` are what the ledger states beforehand (GET .../log-keys)."""
    key = cast.registrar.key
    assert isinstance(key, SigningKey)
    registrar = {"actor": cast.registrar.id, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    sent = play.sign(
        cast.registrar,
        "StudyOpened",
        "study",
        None,
        study=STUDY,
        origin=terms["origin"],
        log_keys=terms["log_keys"],
        ledger=terms["ledger"],
        registrars=[registrar],
        registrars_required=1,
        ceremony="unavailable",
        meanings=MEANINGS,
        roles=sorted(ROLES),
        retention={"years": 25, "starts": "end of the trial"},
        clock="simulated",
        synthetic=True,
        title=TITLE,
        registrar_names={cast.registrar.id: REGISTRAR_NAME},
    )
    play.client.open_study(sent.text)
    play.recorded += 1


def enrol_cast(play: Play, cast: Cast) -> None:
    """Actors, verified identities, keys, roles; the site's own roles by its principal investigator."""
    for name, part in PARTS.items():
        person: Actor = getattr(cast, name)
        about = f"actor/{part.id}"
        kind = "system" if part.role == "system" else "person"
        play.record(
            cast.registrar, "ActorEnrolled", about, actor_kind=kind, organisation=part.organisation, name=part.name
        )
        if kind == "person":
            play.record(
                cast.registrar,
                "IdentityVerified",
                about,
                method="synthetic identity document",
                verified_date=play.now.date().isoformat(),
            )
        _enrol_key(play, cast.registrar, person)
        _grant(play, cast, part, about)


def _enrol_key(play: Play, registrar: Actor, person: Actor) -> None:
    key = person.key
    assert isinstance(key, SigningKey)
    text = registrar.enrol_key(person.id, key, key.public_jwk)
    play.gather(Sent("KeyEnrolled", "", text))


def _grant(play: Play, cast: Cast, part: Part, about: str) -> None:
    registrar = not part.at_site or part.role in BY_REGISTRAR
    play.record(
        cast.registrar if registrar else cast.pi,
        "DelegationGranted",
        about,
        role=part.role,
        sites=[SITE] if part.at_site else None,
        events=list(part.events) if part.events else None,
        organisation=part.organisation,
    )


def accept_and_train(play: Play, cast: Cast) -> None:
    """Everybody who signs electronically says so once; the site's staff is trained."""
    for name, part in PARTS.items():
        about = f"actor/{part.id}"
        if part.role == "system":
            continue
        play.record(getattr(cast, name), "AccountabilityAccepted", about, statement=ACCOUNTABILITY, version="1")
        if part.at_site:
            trainer = cast.registrar if name == "pi" else cast.pi
            play.record(
                trainer,
                "TrainingRecorded",
                about,
                topic="Protocol, good clinical practice and this ledger",
                trained_date=play.now.date().isoformat(),
            )
