"""Keys of actors and of the log, and what people say about their signatures (21 CFR 11.10(j), 11.100, 11.300).

KEY-5  an enrolled key is a usable public key with its thumbprint and algorithm
KEY-6  its holder proves to have it, for this very enrolment
KEY-7  acceptance of accountability and reaffirmation are personal
KEY-8  what is reaffirmed are own statements that are disputed, named by event id and digest, each once
KEY-9  a key of the actor `ledger` is one that the log's own keys vouch for, so that no registrar gives away its voice
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from ledger.authority import LEDGER_ACTOR
from ledger.domain.account import enrols_a_credential
from ledger.domain.context import Context
from ledger.domain.model import (
    DISCLOSED,
    Digest,
    EventModel,
    Governance,
    Index,
    Label,
    Reason,
    Target,
    Text,
)
from ledger.domain.refusals import Refusal
from ledger.domain.roles import ANYONE, REGISTRAR
from ledger.merkle.note import ED25519, Ed25519Verifier, VerifierKey, parse_note, verify_note
from ledger.merkle.seal import check_seal_note
from ledger.merkle.tree import NotProven
from ledger.signing.encoding import unb64url
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.proofs import check_proof


class KeyEnrolled(Governance):
    """A key is enrolled for an actor, who proved to hold it."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "enrolled a key of the actor"
    rules = (
        *("KEY-5", "KEY-6", "KEY-9", "AUTHORITY-9", "AUTHORITY-10"),
        *("CREDENTIAL-1", "CREDENTIAL-2", "CREDENTIAL-3"),
    )

    kid: Digest
    alg: Literal["Ed25519", "EdDSA", "ES256"]
    jwk: dict[str, str]
    proof: Annotated[str, "compact JWS, typ trial-key-proof+jwt, over {aud, iss, kid, jti}"]
    custody: Literal["own", "custodial"] | None = None
    note: Annotated[Text | None, "for the actor `ledger`: the log's own keys vouch for the key"] = None


class KeyRevoked(Governance):
    """A key is revoked; what it signed from `suspect_since` on is disputed until reaffirmed."""

    about = ("actor",)
    recorders = ANYONE
    stopping = True
    words = "revoked a key: {reason}"

    kid: Digest
    suspect_since: Index | None = None
    reason: Annotated[Reason, DISCLOSED]


class LogKeyRotated(Governance):
    """The log's own keys change; the note is signed by the old and the new ones."""

    about = ("study",)
    recorders = REGISTRAR
    words = "rotated the log's key"
    rules = ("KEY-5", "KEY-6")

    log_keys: list[Text]
    note: Text


class CeremonyRequired(Governance):
    """From here on electronic signatures need a signing ceremony."""

    about = ("study",)
    recorders = REGISTRAR
    words = "made signing ceremonies mandatory"


class SignatureReaffirmed(Governance):
    """An actor stands by a statement whose key came under suspicion."""

    about = ("actor",)
    recorders = ANYONE
    words = "reaffirmed own earlier signatures"
    rules = ("KEY-7", "KEY-8", "AUTHORITY-11")

    records: Annotated[list[Target], Field(min_length=1)]


class AccountabilityStated(Governance):
    """The study states the text by which people answer for their signatures; from here on they accept this one."""

    about = ("study",)
    recorders = REGISTRAR
    words = "stated the text on accountability for electronic signatures, version {version}"
    rules = ("AUTHORITY-13",)

    statement: Text
    version: Label


class AccountabilityAccepted(Governance):
    """A person accepts to be held accountable for actions under the own electronic signature."""

    about = ("actor",)
    recorders = ANYONE
    words = "accepted accountability for electronic signatures"
    rules = ("KEY-7", "AUTHORITY-13")

    statement: Text
    version: Label


EVENTS: tuple[type[EventModel], ...] = (
    KeyEnrolled,
    KeyRevoked,
    LogKeyRotated,
    CeremonyRequired,
    SignatureReaffirmed,
    AccountabilityStated,
    AccountabilityAccepted,
)


class KeyUnusable(Refusal):
    """The key is not a usable public key, not the one its thumbprint says, somebody's already, or the log's own."""

    rule, status = "KEY-5", 422
    remedy = (
        "State the public JWK of an Ed25519 or P-256 key of the actor's own and its RFC 7638 thumbprint; for the log, "
        "the verifier keys."
    )
    source = "RFC 7517, RFC 7638, RFC 8037"


class PossessionNotProved(Refusal):
    """The proof that the actor, or the log, holds the new key does not stand."""

    rule, status = "KEY-6", 422
    remedy = (
        "Have the new key sign {aud, iss, kid, jti} as a compact JWS with typ trial-key-proof+jwt; for the log, have "
        "every old and new key sign the note of its rotation."
    )
    source = "DESIGN section 4, KeyEnrolled"


class SealNotVouchedFor(Refusal):
    """A key of the actor `ledger` is the system's own, and the log's keys say so."""

    rule, status = "KEY-9", 422
    remedy = (
        "Have the installation make its next key with `trial-ledger keys rotate-seal`; no other key seals for the "
        "system, and `note` stands in no other enrolment."
    )
    source = "21 CFR 11.10(d), (e)"


class NotOneself(Refusal):
    """Only the actor concerned can record this."""

    rule, status = "KEY-7", 403
    remedy = "Have the actor named in `sub` record it, under an own key."


class NotDisputed(Refusal):
    """Only an own statement that is disputed can be reaffirmed."""

    rule, status = "KEY-8", 422
    remedy = (
        "Name own statements that a revoked key signed from its `suspect_since` on, by event id and digest, each once; "
        "what is not disputed needs no reaffirmation."
    )
    source = "21 CFR 11.10(j), 11.300(c)"


def key_is_sound(ctx: Context) -> None:
    """KEY-5, KEY-6: a usable key, its thumbprint, its algorithm, and the holder's proof over this enrolment."""
    body, claims = ctx.candidate.body, ctx.candidate.claims
    try:
        key = PublicKey.from_jwk(body["jwk"])
    except Malformed as wrong:
        raise KeyUnusable(str(wrong)) from None
    if key.kid != body["kid"] or key.alg != body["alg"].replace("EdDSA", "Ed25519"):
        raise KeyUnusable(f"the key is {key.alg} with thumbprint {key.kid}")
    if is_the_logs(key, _ever(ctx)):
        raise KeyUnusable("it is the log's own key")
    actor = claims["sub"].partition("/")[2]
    try:
        check_proof(body["proof"], key, aud=claims["aud"], iss=actor, jti=claims["jti"])
    except (Malformed, BadSignature) as wrong:
        raise PossessionNotProved(str(wrong)) from None


def system_is_vouched_for(ctx: Context) -> None:
    """KEY-9: for the actor `ledger` there is a note over this very key by the log's keys; for others there is none."""
    body, authority = ctx.candidate.body, ctx.study.authority
    note, system = body.get("note"), ctx.candidate.sub == f"actor/{LEDGER_ACTOR}"
    if not system and note is None:
        return
    if not system or note is None:
        raise SealNotVouchedFor("`note` is missing" if system else f"{ctx.candidate.sub} is not the system")
    try:
        check_seal_note(authority.origin, body["kid"], note, authority.log_keys)
    except NotProven as wrong:
        raise SealNotVouchedFor(str(wrong)) from None


def is_the_logs(key: PublicKey, log_keys: Iterable[str]) -> bool:
    """Whether an actor's key is one of the log's, which sign checkpoints and rotation notes and nothing else."""
    material = b64encode(bytes([ED25519]) + unb64url(key.public_jwk["x"])).decode()
    return any(log_key.endswith(f"+{material}") for log_key in log_keys)


def _ever(ctx: Context) -> frozenset[str]:
    """Every key that the log has ever had."""
    return frozenset(key for _, keys in ctx.study.authority.log_keys_since for key in keys)


def log_is_handed_over(ctx: Context) -> None:
    """KEY-5, KEY-6: the keys are new, the log's own and nobody's else; the note names the log, `rotate` and them; every
    old and new Ed25519 key signed it."""
    body, authority = ctx.candidate.body, ctx.study.authority
    try:
        old, new = ([VerifierKey.parse(key) for key in keys] for keys in (authority.log_keys, body["log_keys"]))
    except ValueError as wrong:
        raise KeyUnusable(str(wrong)) from None
    signing = {key for key in (*old, *new) if key.kind == ED25519}
    if not signing.intersection(new) or any(key.name != authority.origin for key in new):
        raise KeyUnusable(f"among the new keys there is no Ed25519 key, or one that is not named {authority.origin}")
    if len({key.kind for key in new}) < len(new) or len({key.key_id for key in new}) < len(new):
        raise KeyUnusable("a log has one key of each type, under an id of its own, and two of the new ones share it")
    if not _ever(ctx).isdisjoint(body["log_keys"]):
        raise KeyUnusable("one of the new keys has been the log's before")
    enrolled = authority.keys.values()
    held = next((key for key in enrolled if is_the_logs(PublicKey.from_jwk(key.jwk), body["log_keys"])), None)
    if held is not None:
        raise KeyUnusable(f"one of the new keys is {held.actor!r}'s, enrolled at index {held.since}", (held.since,))
    try:
        note = parse_note(body["note"].encode())
        signed = verify_note(note, [Ed25519Verifier(key) for key in signing])
    except NotProven as wrong:
        raise PossessionNotProved(str(wrong)) from None
    if note.text.decode().splitlines() != [authority.origin, "rotate", *body["log_keys"]]:
        raise PossessionNotProved("the note does not say the origin, `rotate` and the new keys, a line each")
    if len(signed) < len(signing):
        raise PossessionNotProved(f"{len(signed)} of {len(signing)} keys signed the note")


def is_oneself(ctx: Context) -> None:
    """KEY-7: acceptance and reaffirmation are personal."""
    if ctx.candidate.sub != f"actor/{ctx.candidate.iss}":
        raise NotOneself(f"{ctx.candidate.iss!r} cannot speak for {ctx.candidate.sub}")


def own_and_disputed(ctx: Context) -> None:
    """KEY-8: every record named is the actor's own, is disputed, and is the one with this digest."""
    named = ctx.candidate.body["records"]
    if len({one["jti"] for one in named}) != len(named):
        raise NotDisputed("a statement is named twice")
    for one in named:
        found = ctx.entered(one["jti"])
        if found is None or found.digest != one["digest"]:
            raise NotDisputed(f"there is no statement {one['jti']} with this digest", (found.index,) if found else ())
        if found.iss != ctx.candidate.iss:
            raise NotDisputed(f"the statement at index {found.index} is {found.iss!r}'s", (found.index,))
        if not ctx.study.authority.disputed(found.kid, found.index, found.jti, found.digest):
            raise NotDisputed(f"the statement at index {found.index} is not disputed", (found.index,))


PRECONDITIONS = {
    "KeyEnrolled": (key_is_sound, system_is_vouched_for, enrols_a_credential),
    "LogKeyRotated": (log_is_handed_over,),
    "AccountabilityAccepted": (is_oneself,),
    "SignatureReaffirmed": (is_oneself, own_and_disputed),
}
