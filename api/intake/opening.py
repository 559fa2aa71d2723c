"""Making a study ready for an import: opened where it is not, the importing system enrolled and delegated.

 OPENING-1  a study that does not exist is opened with the home's registrar key; the import then also declares the
            transcription period, adopts the protocol it was given and activates the sites
 OPENING-2  in a study that somebody else opened it only enrols itself and asks for its delegation, as registrar;
            protocol and sites are the sponsor's
 OPENING-3  event ids derive from what is recorded: a second run, or one after a kill, appends what is missing
 OPENING-4  it asks for no more than it needs: the events that it records, at the sites that it brings

A site's time zone is not in such data. UTC is stated, so that nothing is invented about a place; the sponsor
states the real one by activating the site again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import NAMESPACE_OID, uuid5

from api.client.signing import Actor
from api.intake.errors import ImportStopped
from api.intake.sealing import event_id
from ledger.domain.refusals import Refusal
from ledger.domain.roles import ROLES
from ledger.domain.study import b64_sha256
from ledger.home import Home
from ledger.signing.keys import SigningKey
from ledger.signing.proofs import make_proof

IMPORTS = uuid5(NAMESPACE_OID, "trial-ledger import")
"""Namespace of the event ids that imports derive (RFC 9562 section 5.5)."""
REGISTRAR = "registrar"
"""Actor and key name of the registrar of an installation's own studies."""
MEANINGS = ("authorship", "review", "approval", "responsibility")
"""What an electronic signature can mean in a study that an import opens (21 CFR 11.50(a)(3))."""
RETENTION = {"years": 25, "starts": "end of the study"}
"""EU CTR 536/2014 article 58: the trial master file is kept for 25 years after the end of the trial."""
UNKNOWN_ZONE = "UTC"


class LedgerDoor(Protocol):
    """What an import needs of the ledger (`ledger.application.Ledger`)."""

    def allow_genesis(self, kid: str) -> None: ...

    def has_study(self, study: str) -> bool: ...

    def log_keys(self, study: str) -> dict[str, Any]: ...

    def open_study(self, text: str) -> Any: ...

    def known(self, study: str, jtis: Sequence[str]) -> set[str]: ...

    def append_many(self, study: str, texts: Iterable[str], *, receipts: bool = True) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What an import brings to the study: who it is, what it records, the protocol, the sites.

    `sites` maps a site's id to its country where that is known; dates are ISO days.
    """

    study: str
    system: str
    events: tuple[str, ...]
    purpose: str
    title: str | None
    protocol: str
    protocol_version: str
    sites: Mapping[str, str | None]
    starts_on: str
    ends_on: str


def make_ready(ledger: LedgerDoor, home: Home, terms: Terms) -> SigningKey:
    """Record what is missing before rows can be; returns the system's key. Raises ImportStopped."""
    origin = str(ledger.log_keys(terms.study)["origin"])
    registrar = Actor(REGISTRAR, "registrar", home.key(REGISTRAR), origin)
    key = home.key(terms.system)
    system = Actor(terms.system, "system", key, origin)
    steps = _Steps(ledger, terms)
    if not ledger.has_study(terms.study):
        ledger.allow_genesis(registrar.key.kid)
        steps.open(registrar)
    ours = steps.id("genesis") in ledger.known(terms.study, [steps.id("genesis")])
    steps.record(_rights(steps, registrar, system, key), taken="AUTHORITY-9")
    if ours:
        steps.record(_governance(steps, system))
    return key


Step = tuple[str, Callable[[str], str]]
"""A name that says what is recorded, and the maker of its statement from the event id."""


class _Steps:
    def __init__(self, ledger: LedgerDoor, terms: Terms) -> None:
        self.ledger = ledger
        self.terms = terms

    def id(self, name: str) -> str:
        """The event id of a step."""
        return event_id(IMPORTS, f"{self.terms.study}/{self.terms.system}/{name}")

    def open(self, registrar: Actor) -> None:
        """Genesis; somebody who is first with the same study is as good."""
        try:
            self.ledger.open_study(_genesis(self, registrar))
        except Refusal as refusal:
            if not self.ledger.has_study(self.terms.study):
                raise ImportStopped(f"The genesis of {self.terms.study}", refusal) from None

    def record(self, steps: Sequence[Step], taken: str | None = None) -> None:
        """Append the steps that are not known yet; a refusal with the rule `taken` says that it is done already."""
        known = self.ledger.known(self.terms.study, [self.id(name) for name, _ in steps])
        missing = [(name, make) for name, make in steps if self.id(name) not in known]
        texts = [make(self.id(name)) for name, make in missing]
        for (name, _), outcome in zip(missing, self.ledger.append_many(self.terms.study, texts), strict=True):
            if isinstance(outcome, Refusal) and outcome.rule != taken:
                raise ImportStopped(name, outcome)


def _genesis(steps: _Steps, registrar: Actor) -> str:
    terms, key = steps.terms, registrar.key
    assert isinstance(key, SigningKey)
    holder = {"actor": registrar.id, "kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
    fields = {
        "study": terms.study,
        **steps.ledger.log_keys(terms.study),
        "registrars": [holder],
        "registrars_required": 1,
        "ceremony": "unavailable",
        "meanings": list(MEANINGS),
        "roles": sorted(ROLES),
        "retention": RETENTION,
        "clock": "real",
        "synthetic": False,
        "title": terms.title,
    }
    return registrar.sign("StudyOpened", "study", fields, jti=steps.id("genesis"))


def _rights(steps: _Steps, registrar: Actor, system: Actor, key: SigningKey) -> list[Step]:
    terms, about = steps.terms, f"actor/{system.id}"

    def enrol_key(jti: str) -> str:
        proof = make_proof(key, aud=system.origin, iss=system.id, jti=jti)
        fields = {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk, "proof": proof, "custody": "own"}
        return registrar.sign("KeyEnrolled", about, fields, jti=jti)

    sites = sorted(terms.sites)
    own = ("TranscriptionPeriodDeclared", "ProtocolAdopted", "SiteActivated", "ProtocolActivatedAtSite")
    granted = {"role": "system", "sites": sites, "events": [*terms.events, *own]}
    scope = b64_sha256(json.dumps(granted).encode())
    enrolment = {"actor_kind": "system", "name": terms.purpose}
    return [
        (
            "The enrolment of the importing system",
            lambda jti: registrar.sign("ActorEnrolled", about, enrolment, jti=jti),
        ),
        (f"The enrolment of the key {key.kid}", enrol_key),
        (f"The delegation {scope}", lambda jti: registrar.sign("DelegationGranted", about, granted, jti=jti)),
    ]


def _governance(steps: _Steps, system: Actor) -> list[Step]:
    terms = steps.terms
    period = {
        "starts_on": terms.starts_on,
        "ends_on": terms.ends_on,
        "roles": ["system"],
        "events": list(terms.events),
        "purpose": terms.purpose,
    }
    adopted = {
        "version": terms.protocol_version,
        "digest": b64_sha256(terms.protocol.encode()),
        "file": terms.protocol,
        "reason": terms.purpose,
    }
    return [
        (
            f"The transcription period from {terms.starts_on} for protocol {terms.protocol_version}",
            lambda jti: system.sign("TranscriptionPeriodDeclared", "study", period, jti=jti),
        ),
        (
            f"The adoption of protocol {terms.protocol_version}",
            lambda jti: system.sign("ProtocolAdopted", "study", adopted, jti=jti),
        ),
        *(step for site, country in sorted(terms.sites.items()) for step in _site(terms, system, site, country)),
    ]


def _site(terms: Terms, system: Actor, site: str, country: str | None) -> list[Step]:
    place = {"time_zone": UNKNOWN_ZONE, "country": country}
    version = {"version": terms.protocol_version}
    return [
        (
            f"The activation of the site {site}",
            lambda jti: system.sign("SiteActivated", f"site/{site}", place, jti=jti),
        ),
        (
            f"Protocol {terms.protocol_version} at the site {site}",
            lambda jti: system.sign("ProtocolActivatedAtSite", f"site/{site}", version, jti=jti),
        ),
    ]
