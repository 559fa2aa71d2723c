"""What a person is about to sign: the draft, its digest, its words, and the statement that it becomes. Pure.

A draft is JSON: `claims` and `content` (each field as [salt, name, value]) exactly as they will be signed,
`expires_at` (seconds since 1970), `time_zone` of the printed time. Only the time of signing (`iat`, `exp`,
`signed_at`) and the ceremony's id are added when it is signed. The server keeps no draft: the person's own client
sends back what it showed, and the ceremony's id is a MAC over the draft's digest, so that nothing else is signed
(21 CFR 11.70), and a redaction finds no copy of a field outside the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ledger.domain.catalogue import CATALOGUE, WrongForm
from ledger.signing.encoding import b64url
from ledger.signing.keys import SIGNATURE_BYTES, Signer
from ledger.signing.statement import make

CEREMONY_SECONDS = 300
"""How long a person may look at what is to be signed before the passphrase: longer, and the state has moved on."""
SIGNATURE_SECONDS = 600
"""`exp` after `iat`: the statement is recorded at once, or by a retry within minutes."""
ACTS = ("corrects", "voids", "answers", "reverses", "countersigns")
SET_BY_CEREMONY = frozenset({"printed_name", "signed_at"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks to sign: the statement's own parts, nothing about who signs."""

    event: str
    sub: str
    role: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    site: str | None = None
    meaning: str | None = None
    cut: Mapping[str, Any] | None = None
    acts: Mapping[str, Any] = field(default_factory=dict)
    expected_version: int | None = None
    jti: str | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Stands for a key that is not open: for trying a statement before it is signed."""

    kid: str
    alg: str = "Ed25519"

    def sign(self, message: bytes) -> bytes:
        """No signature of anything."""
        return bytes(SIGNATURE_BYTES)


def draft_of(
    asked: Asked, *, actor: str, name: str, origin: str, jti: str, salts: Callable[[], str], expires_at: int
) -> dict[str, Any]:
    """The draft of what is asked; raises WrongForm, UnknownEvent."""
    model = CATALOGUE.signed_as(asked.event)
    given = {field: value for field, value in asked.fields.items() if value is not None}
    if not SET_BY_CEREMONY.isdisjoint(given):
        raise WrongForm("`printed_name` and `signed_at` are stated by the ceremony")
    stated = {
        "iss": actor,
        "role": asked.role,
        "aud": origin,
        "sub": asked.sub,
        "jti": jti,
        "event": asked.event,
        "v": model.v,
        "site": asked.site,
        "body": {field: value for field, value in given.items() if field in model.clear_fields()} or None,
        "meaning": asked.meaning,
        "cut": None if asked.cut is None else dict(asked.cut),
        "expected_version": asked.expected_version,
        **{act: asked.acts[act] for act in ACTS if act in asked.acts},
    }
    content = {field: value for field, value in given.items() if field not in model.clear_fields()}
    if asked.meaning is not None and "printed_name" in model.disclosed_fields():
        content["printed_name"] = name
    return {
        "claims": {claim: value for claim, value in stated.items() if value is not None},
        "content": [[salts(), field, value] for field, value in content.items()],
        "expires_at": expires_at,
        "time_zone": asked.time_zone,
    }


def canonical(draft: Any) -> bytes:
    """The bytes of a draft: whatever way its client writes JSON, the same draft has the same."""
    text = json.dumps(draft, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def digest_of(draft: Any) -> str:
    """base64url SHA-256 of a draft."""
    return b64url(hashlib.sha256(canonical(draft)).digest())


def statement_of(draft: Mapping[str, Any], ceremony: str, key: Signer, iat: int, salt: str) -> str:
    """The statement that a draft becomes when it is signed at `iat`; `salt` is that of `signed_at`."""
    same = json.loads(canonical(draft))
    claims = {**same["claims"], "ceremony": ceremony, "iat": iat}
    if "cut" in claims:
        claims["exp"] = iat + SIGNATURE_SECONDS
    content = list(same["content"])
    if "meaning" in claims and "signed_at" in CATALOGUE[claims["event"]].disclosed_fields():
        moment = datetime.fromtimestamp(iat, UTC).astimezone(ZoneInfo(same["time_zone"]))
        content.append([salt, "signed_at", moment.isoformat(timespec="seconds")])
    in_turn = iter([salt for salt, _, _ in content])
    return make(key, claims, {name: value for _, name, value in content}, lambda: next(in_turn))


def in_words(draft: Mapping[str, Any], name: str) -> list[str]:
    """What will be signed, a sentence or field a line, for the person to read before the passphrase."""
    claims = draft["claims"]
    fields = {**claims.get("body", {}), **{field: value for _, field, value in draft["content"]}}
    model = CATALOGUE[claims["event"]]
    says = f", with the meaning {claims['meaning']}" if "meaning" in claims else ", as an entry"
    lines = [
        f"{name} ({claims['iss']}) signs in the role {claims['role']}{says}.",
        f"{claims['event']}: {' '.join((model.__doc__ or '').split())}",
        f"About {claims['sub']}" + (f" at the site {claims['site']}." if "site" in claims else "."),
    ]
    lines += [f"{field}: {_said(value)}" for field, value in fields.items() if field not in SET_BY_CEREMONY]
    lines += [f"{act}: {_said(claims[act])}" for act in ACTS if act in claims]
    if "cut" in claims:
        lines.append(f"On the state of {claims['cut']['size']} entries, root {claims['cut']['root']}.")
    return lines


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
