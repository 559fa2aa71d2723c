"""Genesis, keys and rotations: whether an event that gives rights is sound in itself (check V4).

The same questions that the writer asks (`ledger/domain/genesis.py`, `signature_key.py`, `delegation.py`), asked
again with the evidence alone: nothing here trusts that somebody asked before. Each function raises `Unsound`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.authority import LEDGER_ACTOR
from ledger.merkle.note import (
    COSIGNATURE_MLDSA44,
    ED25519,
    Ed25519Verifier,
    VerifierKey,
    parse_note,
    verify_note,
)
from ledger.merkle.seal import check_seal_note
from ledger.merkle.tree import NotProven
from ledger.signing.encoding import unb64url
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import PublicKey
from ledger.signing.proofs import check_proof
from ledger.verify.recorders import RECORDERS, may_not

REGISTRAR = frozenset({"registrar"})
REDACTION_COUNTERSIGNERS = frozenset({"data-manager", "investigator", "principal-investigator"})
"""The second role of a redaction, another than the first's."""

SYSTEM_EVENTS = frozenset(
    {
        *("ReleaseActivated", "ReplayConcluded", "DataExported", "AccountLocked"),
        *("AccessLogSealed", "RefusalsSealed", "RestorePerformed"),
    }
)
"""What the actor `ledger` records, and nobody else does: its key is the operator's."""

_PERSONAL = frozenset({"AccountabilityAccepted", "SignatureReaffirmed"})
_FOREIGN = frozenset(
    {"site", "cut", "exp", "expected_version", "corrects", "voids", "answers", "reverses", "countersigns"}
)
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


class Unsound(Exception):
    """A governance event is not what it should be; the message says why."""


def check_form(claims: Mapping[str, Any]) -> None:
    """The clear fields of an event that gives rights have the form that folding relies on."""
    event, body = claims["event"], claims.get("body") or {}
    for name, (needed, fits) in _FORMS.get(event, {}).items():
        if name not in body:
            if needed:
                raise Unsound(f"{event} has no `{name}`")
        elif not (body[name] is None and not needed) and not fits(body[name]):
            raise Unsound(f"`{name}` of {event} has not its form")
    about, _, named = claims["sub"].partition("/")
    wanted = _ABOUT.get(event)
    if wanted is not None and (about != wanted or (wanted == "actor") != bool(named)):
        raise Unsound(f"{event} is about {claims['sub']}")
    if may_not(event, claims["role"], transcribed=False):
        raise Unsound(f"{event} is recorded by {' or '.join(sorted(RECORDERS[event]))}, not by {claims['role']!r}")
    if event in _PERSONAL and claims["sub"] != f"actor/{claims['iss']}":
        raise Unsound(f"{claims['iss']!r} cannot speak for {claims['sub']}")


def check_genesis(claims: Mapping[str, Any], kid: str, origin: str) -> PublicKey:
    """The registrar's key that genesis names and is signed with; `origin` is the checkpoint's."""
    if claims["event"] != "StudyOpened" or claims["sub"] != "study":
        raise Unsound(f"the first entry is {claims['event']}, not the genesis of a study")
    check_form(claims)
    body = claims["body"]
    if body["origin"] != origin or claims["aud"] != origin:
        raise Unsound(f"genesis is of {body['origin']!r} and addressed to {claims['aud']!r}, the log is {origin!r}")
    if not origin.endswith(f"/study/{body['study']}") and f"/study/{body['study']}/" not in origin:
        raise Unsound(f"the study {body['study']!r} does not stand in the origin {origin!r}")
    if not _FOREIGN.isdisjoint(claims):
        raise Unsound("genesis names an earlier record, a site, a cut or an end, where nothing came before")
    if not any(key.kind == ED25519 for key in _log_keys(body["log_keys"], origin)):
        raise Unsound("genesis names no Ed25519 key of the log")
    keys = _holders(body)
    if body.get("registrars_required", 1) > len(body["registrars"]):
        raise Unsound("two registrars are required, and one person is named")
    signer = next((r for r in body["registrars"] if r["kid"] == kid and r["actor"] == claims["iss"]), None)
    if signer is None:
        raise Unsound(f"the signing key {kid} of {claims['iss']!r} is not among the registrars that genesis names")
    return keys[kid]


def _holders(body: Mapping[str, Any]) -> dict[str, PublicKey]:
    holders = [*body["registrars"], {**body["ledger"], "actor": LEDGER_ACTOR}]
    keys: dict[str, PublicKey] = {}
    for holder in holders:
        try:
            key = PublicKey.from_jwk(holder["jwk"])
        except Malformed as wrong:
            raise Unsound(f"the key of {holder['actor']!r}: {wrong.because}") from None
        if key.kid != holder["kid"] or key.alg != str(holder["alg"]).replace("EdDSA", "Ed25519"):
            raise Unsound(f"the key of {holder['actor']!r} is {key.alg} with thumbprint {key.kid}")
        if is_the_logs(key, body["log_keys"]):
            raise Unsound(f"the key of {holder['actor']!r} is the log's own")
        keys[key.kid] = key
    if len(keys) != len(holders) or len({holder["actor"] for holder in holders}) != len(holders):
        raise Unsound("genesis names a key or an actor twice")
    return keys


def check_key(claims: Mapping[str, Any], log_keys: Sequence[str]) -> None:
    """KeyEnrolled: a usable key, its thumbprint and algorithm, and its holder's proof over this very enrolment; for the
    actor `ledger` also the log's own word."""
    body = claims["body"]
    try:
        key = PublicKey.from_jwk(body["jwk"])
        if key.kid != body["kid"] or key.alg != body["alg"].replace("EdDSA", "Ed25519"):
            raise Unsound(f"the key is {key.alg} with thumbprint {key.kid}")
        if is_the_logs(key, log_keys):
            raise Unsound("it is the log's own key")
        actor = claims["sub"].partition("/")[2]
        check_proof(body["proof"], key, aud=claims["aud"], iss=actor, jti=claims["jti"])
        if (actor == LEDGER_ACTOR) != (body.get("note") is not None):
            raise Unsound(f"a note of the log stands in the enrolments of {LEDGER_ACTOR!r}, and in no other (KEY-9)")
        if actor == LEDGER_ACTOR:
            check_seal_note(claims["aud"], body["kid"], body["note"], log_keys)
    except NotProven as wrong:
        raise Unsound(f"the log's own keys do not vouch for this key of {LEDGER_ACTOR!r} (KEY-9): {wrong}") from None
    except (Malformed, BadSignature) as wrong:
        raise Unsound(f"the key or the proof of its possession does not stand: {wrong}") from None


def check_rotation(body: Mapping[str, Any], old_keys: Sequence[str], origin: str) -> None:
    """LogKeyRotated: the note says origin, `rotate` and the new keys; every old and new Ed25519 key signed it."""
    old, new = (_log_keys(keys, origin) for keys in (old_keys, body["log_keys"]))
    signing = {key for key in (*old, *new) if key.kind == ED25519}
    if not signing.intersection(new):
        raise Unsound("among the new keys of the log there is no Ed25519 key")
    try:
        note = parse_note(body["note"].encode("utf-8", "surrogatepass"))
        signed = verify_note(note, [Ed25519Verifier(key) for key in signing])
    except NotProven as wrong:
        raise Unsound(f"the note of the rotation does not stand: {wrong}") from None
    if note.text.decode().splitlines() != [origin, "rotate", *body["log_keys"]]:
        raise Unsound("the note does not say the origin, `rotate` and the new keys, a line each")
    if len(signed) < len(signing):
        raise Unsound(f"{len(signed)} of {len(signing)} old and new keys of the log signed the note")


def is_the_logs(key: PublicKey, log_keys: Sequence[str]) -> bool:
    """Whether an actor's key is one of the log's, which sign checkpoints and rotation notes and nothing else."""
    material = b64encode(bytes([ED25519]) + unb64url(key.public_jwk["x"])).decode()
    return any(log_key.endswith(f"+{material}") for log_key in log_keys)


def _log_keys(texts: Sequence[str], origin: str) -> list[VerifierKey]:
    try:
        keys = [VerifierKey.parse(text) for text in texts]
    except ValueError as wrong:
        raise Unsound(f"a key of the log: {wrong}") from None
    if any(key.name != origin for key in keys):
        raise Unsound(f"a key of the log is not named {origin!r}")
    kinds = [key.kind for key in keys]
    # Whoever may name a second one names the true log's beside an own, and signs with the own.
    if not set(kinds) <= {ED25519, COSIGNATURE_MLDSA44} or len(set(kinds)) < len(kinds):
        raise Unsound("a log has one Ed25519 key and at most one ML-DSA-44 key, and these are others or more")
    if len({key.key_id for key in keys}) < len(keys):
        raise Unsound("two keys of the log have the same id, so that a signature by one could pass for the other's")
    return keys


def _text(value: Any) -> bool:
    return type(value) is str and value != ""


def _texts(value: Any) -> bool:
    return type(value) is list and all(map(_text, value))


def _some(value: Any) -> bool:
    return _texts(value) and value != []


def _thumbprint(value: Any) -> bool:
    return type(value) is str and _DIGEST(value) is not None


def _jwk(value: Any) -> bool:
    return type(value) is dict and all(type(part) is str for part in value.values())


def _day(value: Any) -> bool:
    return type(value) is str and _DATE(value) is not None


def _index(value: Any) -> bool:
    return type(value) is int and value >= 0


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in values)


def _key(value: Any) -> bool:
    return type(value) is dict and _jwk(value.get("jwk")) and _thumbprint(value.get("kid")) and _text(value.get("alg"))


def _registrars(value: Any) -> bool:
    return type(value) is list and value != [] and all(_key(one) and _text(one.get("actor")) for one in value)


def _targets(value: Any) -> bool:
    return (
        type(value) is list
        and value != []
        and all(type(one) is dict and _text(one.get("jti")) and _thumbprint(one.get("digest")) for one in value)
    )


def _redacted(value: Any) -> bool:
    return _targets(value) and all(_some(one.get("disclosures")) for one in value)


_FORMS: Mapping[str, Mapping[str, tuple[bool, Callable[[Any], bool]]]] = {
    "StudyOpened": {
        "study": (True, _text),
        "origin": (True, _text),
        "log_keys": (True, _some),
        "registrars": (True, _registrars),
        "ledger": (True, _key),
        "registrars_required": (False, _one_of(1, 2)),
        "ceremony": (True, _one_of("required", "unavailable")),
        "meanings": (True, _some),
        "roles": (True, _some),
        "clock": (True, _one_of("real", "simulated")),
        "synthetic": (True, _one_of(True, False)),
    },
    "ActorEnrolled": {"actor_kind": (True, _one_of("person", "system")), "organisation": (False, _text)},
    "KeyEnrolled": {
        "kid": (True, _thumbprint),
        "alg": (True, _one_of("Ed25519", "EdDSA", "ES256")),
        "jwk": (True, _jwk),
        "proof": (True, _text),
        "note": (False, _text),
    },
    "KeyRevoked": {"kid": (True, _thumbprint), "suspect_since": (False, _index)},
    "DelegationGranted": {
        "role": (True, _text),
        "sites": (False, _texts),
        "events": (False, _texts),
        "organisation": (False, _text),
        "valid_from": (False, _day),
        "valid_until": (False, _day),
    },
    "DelegationEnded": {"delegation": (True, _text)},
    "LogKeyRotated": {"log_keys": (True, _some), "note": (True, _text)},
    "SignatureReaffirmed": {"records": (True, _targets)},
    "AccountabilityStated": {"statement": (True, _text), "version": (True, _text)},
    "AccountabilityAccepted": {"statement": (True, _text), "version": (True, _text)},
    "FieldsRedacted": {"records": (True, _redacted)},
}
"""Field to whether it must be there, and its form."""

_ABOUT = {
    "StudyOpened": "study",
    "LogKeyRotated": "study",
    "CeremonyRequired": "study",
    "ActorEnrolled": "actor",
    "KeyEnrolled": "actor",
    "KeyRevoked": "actor",
    "DelegationGranted": "actor",
    "DelegationEnded": "actor",
    "AccountabilityStated": "study",
    "AccountabilityAccepted": "actor",
    "PersonRenamed": "actor",
    "SignatureReaffirmed": "actor",
}
