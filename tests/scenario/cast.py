"""Who takes part in a simulated trial: persons and systems with keys of their own, made in the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from api.client.signing import Actor
from ledger.signing.keys import SigningKey

MEANINGS = ["authorship", "review", "approval", "responsibility"]
LAB_EVENTS = ["LabResultReported", "SpecimenReceived", "SpecimenProcessed"]


@dataclass(frozen=True, slots=True)
class Staff:
    """The people of one site."""

    pi: Actor
    investigator: Actor
    coordinator: Actor
    pharmacist: Actor
    technician: Actor


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody who signs: the study's own people, its laboratory system, and each site's staff."""

    registrar: Actor
    sponsor: Actor
    safety_officer: Actor
    monitor: Actor
    data_manager: Actor
    privacy_officer: Actor
    review: Actor
    manufacturer: Actor
    quality: Actor
    analyser: Actor
    sites: dict[str, Staff]

    def study_people(self) -> Iterator[Actor]:
        """Those who do not belong to a site, the registrar and the system left out."""
        for part in fields(self):
            if part.name not in ("registrar", "analyser", "sites"):
                yield getattr(self, part.name)


ROLES_OF_STUDY = {
    "sponsor": "sponsor",
    "safety_officer": "sponsor-safety",
    "monitor": "monitor",
    "data_manager": "data-manager",
    "privacy_officer": "privacy",
    "review": "safety-review",
    "manufacturer": "manufacturer",
    "quality": "manufacturer-quality",
    "analyser": "system",
}
ROLES_OF_SITE = {
    "pi": "principal-investigator",
    "investigator": "investigator",
    "coordinator": "coordinator",
    "pharmacist": "pharmacy",
    "technician": "laboratory",
}


def gather(origin: str, registrar: SigningKey, sites: tuple[str, ...], now: Callable[[], int]) -> Cast:
    """Give everybody a key. The registrar's is the installation's own; every third person signs by ES256."""
    made = 0

    def key() -> SigningKey:
        nonlocal made
        made += 1
        return SigningKey.generate("ES256" if made % 3 == 0 else "Ed25519")

    def staff(site: str) -> Staff:
        return Staff(**{part: actor(f"{part}-{site}", role, key(), site) for part, role in ROLES_OF_SITE.items()})

    def actor(id: str, role: str, key: SigningKey, site: str | None = None) -> Actor:
        return Actor(id, role, key, origin, site, now, name=f"Invented {id}")

    people = {part: actor(part, role, key()) for part, role in ROLES_OF_STUDY.items()}
    return Cast(
        registrar=actor("registrar", "registrar", registrar),
        sites={site: staff(site) for site in sites},
        **people,
    )


def genesis_fields(study: str, terms: dict[str, Any], cast: Cast, **changed: Any) -> dict[str, Any]:
    """What StudyOpened states; `changed` fields take the place of the usual ones."""
    from ledger.domain.roles import ROLES

    key = key_of(cast.registrar)
    registrar = {"actor": cast.registrar.id, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    return {
        "study": study,
        "origin": terms["origin"],
        "log_keys": terms["log_keys"],
        "ledger": terms["ledger"],
        "registrars": [registrar],
        "registrars_required": 1,
        "ceremony": "unavailable",
        "meanings": MEANINGS,
        "roles": sorted(ROLES),
        "retention": {"years": 25, "starts": "end of the trial"},
        "clock": "real",
        "synthetic": True,
        "title": f"The invented study {study}",
        **changed,
    }


def enrolment(cast: Cast) -> Iterator[str]:
    """The statements by which everybody comes into the ledger, in an order that the ledger accepts."""
    for person in cast.study_people():
        yield from _enrolled(cast.registrar, person)
        yield cast.registrar.sign("DelegationGranted", f"actor/{person.id}", {"role": person.role})
        yield accountable(person)
    yield from _enrolled(cast.registrar, cast.analyser, "system")
    rights = {"role": "system", "sites": sorted(cast.sites), "events": LAB_EVENTS}
    yield cast.registrar.sign("DelegationGranted", f"actor/{cast.analyser.id}", rights)
    for site, staff in cast.sites.items():
        for part in ROLES_OF_SITE:
            person = getattr(staff, part)
            yield from _enrolled(cast.registrar, person)
            grantor = cast.registrar if part == "pi" else staff.pi
            rights = {"role": person.role, "sites": [site], "organisation": f"Hospital {site}"}
            yield grantor.sign("DelegationGranted", f"actor/{person.id}", rights)
            yield accountable(person)


def _enrolled(registrar: Actor, person: Actor, kind: str = "person") -> Iterator[str]:
    yield registrar.sign("ActorEnrolled", f"actor/{person.id}", {"actor_kind": kind, "name": person.name})
    key = key_of(person)
    yield registrar.enrol_key(person.id, key, key.public_jwk)


def accountable(person: Actor) -> str:
    """The person's acceptance to be held accountable, without which nothing is signed electronically."""
    fields = {"statement": "I answer for what I sign.", "version": "1"}
    return person.sign("AccountabilityAccepted", f"actor/{person.id}", fields)


def key_of(person: Actor) -> SigningKey:
    """The person's private key, which only a test holds for everybody."""
    assert isinstance(person.key, SigningKey)
    return person.key
