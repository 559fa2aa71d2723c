"""Genesis: whether a study's ledger may be opened (DESIGN section 4, StudyOpened).

 GENESIS-1  it is the first statement of its log, signed by a registrar key that it names
 GENESIS-2  that key's thumbprint stands in the server's list of genesis keys
 GENESIS-3  origin, log keys and the key of `ledger` are exactly what the server states beforehand
 GENESIS-4  keys and thumbprints fit, actors are distinct and do not look alike; where two registrars are required,
            two persons are named; only known roles
 GENESIS-5  a simulated clock only with synthetic data and the embedded database
 GENESIS-7  what is sent where studies are opened is a genesis, and nothing for a study that is open already
GENESIS-6, that a study is opened once, is asked of whatever comes later (`study.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

from ledger.authority import LEDGER_ACTOR, looks_like
from ledger.domain.catalogue import CATALOGUE, WrongForm
from ledger.domain.decide import CLOCK_LEEWAY, SignedInTheFuture
from ledger.domain.refusals import Refusal
from ledger.domain.roles import ROLES
from ledger.domain.signature_key import is_the_logs
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.statement import Statement, verify

_FOREIGN = frozenset(
    {"site", "cut", "exp", "meaning", "ceremony", "expected_version"}
    | {"corrects", "voids", "answers", "reverses", "countersigns"}
)
"""Claims that say something about what came before, where nothing did; and what only electronic signatures have."""


@dataclass(frozen=True, slots=True)
class GenesisTerms:
    """What this server states beforehand for a study: GET /v1/studies/{study}/log-keys gives the same."""

    study: str
    origin: str
    log_keys: tuple[str, ...]
    ledger: Mapping[str, Any]
    genesis_keys: frozenset[str]
    embedded: bool


class NotOpened(Refusal):
    """The study has not been opened yet, and this is not its genesis."""

    rule, status = "GENESIS-1", 404
    remedy = "Open the study first: POST its StudyOpened to /v1/studies."


class GenesisKeyUnknown(Refusal):
    """This server does not open studies for that key."""

    rule, status = "GENESIS-2", 403
    remedy = "Add the registrar key's thumbprint to TRIAL_LEDGER_GENESIS_KEYS and restart, or sign with a listed key."


class GenesisTermsDiffer(Refusal):
    """Genesis does not state origin, log keys and the key of `ledger` as this server has them."""

    rule, status = "GENESIS-3", 422
    remedy = "Take them from GET /v1/studies/{study}/log-keys and sign again."


class GenesisUnsound(Refusal):
    """Genesis names keys, actors or roles that do not fit together."""

    rule, status = "GENESIS-4", 422
    remedy = "Mend what is named and sign again."


class NoGenesis(Refusal):
    """Only a study's genesis is sent to where studies are opened, and this study is open."""

    rule, status = "GENESIS-7", 400
    remedy = "POST it to /v1/studies/{study}/events, where everything after genesis goes."


class SimulatedClockRefused(Refusal):
    """A simulated clock is only for synthetic data in the embedded database."""

    rule, status = "GENESIS-5", 422
    remedy = "State `clock` real, or `synthetic` true on an embedded database."


def decide_genesis(statement: Statement, terms: GenesisTerms, recorded_at: str) -> None:
    """Decide the first statement of a log, its signature included; raises a Refusal.

    A wrong signature is GenesisUnsound with the BadSignature as its cause (`__cause__`).
    """
    if statement.event != "StudyOpened" or statement.claims["sub"] != "study":
        raise NotOpened(f"{terms.study} has no genesis")
    CATALOGUE.check_form(statement)
    body = statement.body
    registrar = _signer(statement)
    if statement.kid not in terms.genesis_keys:
        raise GenesisKeyUnknown(f"the key {statement.kid} is not listed")
    _terms(statement, body, terms)
    _soundness(body)
    try:
        verify(statement, PublicKey.from_jwk(registrar["jwk"]))
    except BadSignature as wrong:
        raise GenesisUnsound(str(wrong)) from wrong
    if body["clock"] == "simulated" and not (body["synthetic"] and terms.embedded):
        because = "`synthetic` is false" if terms.embedded else "the database is not the embedded one"
        raise SimulatedClockRefused(f"`clock` is simulated, and {because}")
    if body["clock"] == "real":
        ahead = statement.iat - datetime.fromisoformat(recorded_at).timestamp()
        if ahead > CLOCK_LEEWAY.total_seconds():
            raise SignedInTheFuture(f"`iat` is {ahead:.0f} s after the ledger's time {recorded_at}")


def _signer(statement: Statement) -> Mapping[str, Any]:
    for registrar in statement.body["registrars"]:
        if registrar["kid"] == statement.kid and registrar["actor"] == statement.iss:
            return registrar  # type: ignore[no-any-return]
    raise GenesisUnsound(f"the signing key {statement.kid} of {statement.iss!r} is not among the registrars")


def _terms(statement: Statement, body: Mapping[str, Any], terms: GenesisTerms) -> None:
    stated = {
        "aud": (statement.aud, terms.origin),
        "study": (body["study"], terms.study),
        "origin": (body["origin"], terms.origin),
        "log_keys": (list(body["log_keys"]), list(terms.log_keys)),
        "ledger": (dict(body["ledger"]), dict(terms.ledger)),
    }
    wrong = [name for name, (given, own) in stated.items() if given != own]
    if wrong:
        raise GenesisTermsDiffer(f"{', '.join(wrong)}: not as this server states them")
    if statement.role != "registrar" or not _FOREIGN.isdisjoint(statement.claims):
        raise WrongForm(
            "genesis is signed in the role registrar, and names no site, no cut, no end, no meaning, no earlier record"
        )


def _soundness(body: Mapping[str, Any]) -> None:
    holders = [*body["registrars"], {"actor": LEDGER_ACTOR, **body["ledger"]}]
    for holder in holders:
        try:
            key = PublicKey.from_jwk(holder["jwk"])
        except Malformed as wrong:
            raise GenesisUnsound(f"the key of {holder['actor']!r}: {wrong.because}") from None
        if key.kid != holder["kid"] or key.alg != holder["alg"].replace("EdDSA", "Ed25519"):
            raise GenesisUnsound(f"the key of {holder['actor']!r} is {key.alg} with thumbprint {key.kid}")
        if is_the_logs(key, body["log_keys"]):
            raise GenesisUnsound(f"the key of {holder['actor']!r} is the log's own")
    if len({holder["kid"] for holder in holders}) != len(holders):
        raise GenesisUnsound("one key is named twice")
    for one, other in combinations((holder["actor"] for holder in holders), 2):
        if looks_like(one, other):
            raise GenesisUnsound("one actor is named twice" if one == other else f"{one!r} and {other!r} look alike")
    if body.get("registrars_required", 1) > len(body["registrars"]):
        raise GenesisUnsound("two registrars are required, and one person is named")
    strange = sorted(set(body["roles"]) - ROLES)
    if strange:
        raise GenesisUnsound(f"unknown roles: {', '.join(strange)}")
