"""Statements for tests, good ones and ones broken in exactly one place, always signed for real.

A forged statement carries a good signature over its broken bytes, so that only the rule under test can refuse
it. Salts and keys are fixed: the same call gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import count
from typing import Any

from ledger.signing.encoding import b64url
from ledger.signing.keys import SigningKey
from ledger.signing.statement import disclosure_digest

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER_KEY = SigningKey.from_seed(bytes(range(1, 33)))
ORIGIN = "ledger.example.org/study/NCT04014166"

HEADER: dict[str, Any] = {"typ": "trial-event+sd-jwt", "alg": "Ed25519", "kid": KEY.kid}

CLAIMS: dict[str, Any] = {
    "iss": "dr-lee",
    "role": "principal-investigator",
    "aud": ORIGIN,
    "sub": "subject/0b7e9a4e-6d0c-4f6e-9a39-6c7a5f8f2d11",
    "jti": "6f1c1b9e-0d5c-5a57-8e0f-1f7b7a3f9c01",
    "iat": 1_760_000_000,
    "event": "LabResultReported",
    "v": 1,
    "site": "701",
}

CONTENT: dict[str, Any] = {
    "occurred_at": "2025-03-01T10:00:00+01:00",
    "analyte": {"system": "LOINC", "version": "2.77", "code": "777-3", "display": "Platelets"},
    "value": "45",
    "unit": "10*9/L",
    "comment": "Größe über 5 µm, 😀",
}


def fixed_salts() -> Callable[[], str]:
    """A source of salts that is the same in every test."""
    numbers = count()
    return lambda: b64url(sha256(b"salt %d" % next(numbers)).digest()[:16])


def encode(value: Any) -> str:
    """base64url of a value's JSON, or of a text or bytes taken for the JSON itself."""
    if isinstance(value, bytes):
        return b64url(value)
    return b64url((value if isinstance(value, str) else json.dumps(value)).encode())


def disclose(content: Mapping[str, Any]) -> list[str]:
    """One disclosure a field."""
    salts = fixed_salts()
    return [encode([salts(), name, value]) for name, value in content.items()]


def with_digests(claims: Mapping[str, Any], disclosures: Iterable[str]) -> dict[str, Any]:
    """The payload for these claims and disclosures."""
    digests = sorted(map(disclosure_digest, disclosures))
    return {**claims, "_sd_alg": "sha-256", **({"_sd": digests} if digests else {})}


def forge(
    payload: Any = None,
    disclosures: Iterable[str] | None = None,
    header: Any = None,
    key: SigningKey = KEY,
) -> str:
    """A signed statement of these parts as they are; what is left out is that of a good one.

    `payload` and `header` may be JSON text, to break what a JSON writer would not write.
    """
    disclosures = disclose(CONTENT) if disclosures is None else list(disclosures)
    payload = with_digests(CLAIMS, disclosures) if payload is None else payload
    signed = f"{encode(HEADER if header is None else header)}.{encode(payload)}"
    return "~".join((f"{signed}.{b64url(key.sign(signed.encode()))}", *disclosures, ""))


def forge_claims(**changed: Any) -> str:
    """A statement with these claims changed; a value of `...` leaves the claim out."""
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not ...}
    return forge(with_digests(claims, disclose(CONTENT)))


def forge_field(disclosure: Any) -> str:
    """A statement with one disclosure of this JSON, its digest in place."""
    encoded = encode(disclosure)
    return forge(with_digests(CLAIMS, [encoded]), [encoded])
