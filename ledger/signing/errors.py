"""What this room refuses, and the one table of the rules behind it.

Every sentence of strict parsing has an id here and only here; a refusal carries the id (`rule`), what was
found (`because`) and what to do (`remedy`). Sources: the trial's own profile of SD-JWT (RFC 9901), JWS
(RFC 7515), JSON (RFC 8259, I-JSON RFC 7493), base64url (RFC 4648 section 5), JWK (RFC 7517, 7518, 8037).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RULES: Mapping[str, str] = MappingProxyType(
    {
        "LIMIT-1": "The JWT of a statement has at most 47,900 bytes.",
        "LIMIT-2": "A statement has at most 256 KiB.",
        "LIMIT-3": "A statement has at most 256 disclosures.",
        "STATEMENT-1": "A statement is ASCII.",
        "STATEMENT-2": "A statement is header.payload.signature~disclosure~...~disclosure~ and ends with ~.",
        "STATEMENT-3": "A statement carries no key-binding JWT after its last ~.",
        "STATEMENT-4": "No part of a statement is empty: neither of the JWT's three parts nor a disclosure.",
        "STATEMENT-5": "The header has exactly `typ`, `alg` and `kid`.",
        "STATEMENT-6": "`typ` in the header is trial-event+sd-jwt.",
        "STATEMENT-7": "`alg` in the header is Ed25519, EdDSA (its older name) or ES256.",
        "STATEMENT-8": "`kid` is the key's RFC 7638 thumbprint: SHA-256 as 43 base64url characters.",
        "STATEMENT-9": "The payload is one JSON object with known claims only.",
        "STATEMENT-10": "The payload has iss, role, aud, sub, jti, iat, event, v and _sd_alg, always.",
        "BASE64URL-1": "base64url has the letters A-Z, a-z, 0-9, - and _ only: no padding, no white space.",
        "BASE64URL-2": "base64url is canonical: a possible length, and unused last bits are zero.",
        "JSON-1": "JSON is valid UTF-8 without a byte order mark.",
        "JSON-2": "JSON is one well-formed value with nothing before or after it.",
        "JSON-3": "No key occurs twice in an object, at any depth.",
        "JSON-4": "Numbers are integers: no fraction and no exponent; a decimal quantity is a string.",
        "JSON-5": "NaN and Infinity are not numbers.",
        "JSON-6": "Integers lie between -(2^53-1) and 2^53-1.",
        "JSON-7": "-0 is not written: some readers take it for 0, others for another number.",
        "JSON-8": "No string, and no key, contains NUL.",
        "JSON-9": "No string, and no key, contains half of a surrogate pair.",
        "JSON-10": "Objects and arrays lie at most 8 deep, the outermost counted.",
        "DISCLOSURE-1": "A disclosure is a JSON array of salt, field name and value.",
        "DISCLOSURE-2": "A salt is 128 random bits: 22 base64url characters.",
        "DISCLOSURE-3": "A field name has 1 to 128 characters and is no claim's name, nor _sd or `...`.",
        "DISCLOSURE-4": "No field is disclosed twice.",
        "DISCLOSURE-5": "The digest of every disclosure stands in `_sd`.",
        "DISCLOSURE-6": "Every digest in `_sd` has its disclosure.",
        "DISCLOSURE-7": "No digest stands in `_sd` twice, and no disclosure is sent twice.",
        "DISCLOSURE-8": "Values are disclosed whole: no _sd, _sd_alg or `...` inside a value or `body`.",
        "CLAIM-1": "`iss` is the actor's id: 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or digit first.",
        "CLAIM-2": "`role` is lower-case words joined by - or _, at most 64 characters.",
        "CLAIM-3": "`aud` is one string, the log's origin: 1 to 255 printable ASCII, no space, no +.",
        "CLAIM-4": "`sub` is study, or site/, actor/, cohort/, product/ and an id, or subject/ and a UUIDv4.",
        "CLAIM-5": "`jti` is a lower-case UUID.",
        "CLAIM-6": "`iat` is an integer: seconds since 1970, not after the year 9999.",
        "CLAIM-7": "`event` is a CamelCase name of 2 to 64 letters and digits.",
        "CLAIM-8": "`v` is an integer, 1 or more.",
        "CLAIM-9": '`_sd_alg` is "sha-256".',
        "CLAIM-10": "`_sd` is an array of digests, and absent when nothing is disclosed.",
        "CLAIM-11": "`site` is a site's id: 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or digit first.",
        "CLAIM-12": "`body` is an object.",
        "CLAIM-13": "`corrects` is exactly {jti, digest, field}: the original's, and one field's name.",
        "CLAIM-14": "`voids`, `answers`, `reverses` and `countersigns` are each exactly {jti, digest}.",
        "CLAIM-15": "`meaning` is lower-case words joined by - or _, at most 64 characters.",
        "CLAIM-16": "`ceremony` is 1 to 128 base64url characters.",
        "CLAIM-17": "`cut` and `seen` are exactly {size, root}: integer from 0, and base64url of 32 bytes.",
        "CLAIM-18": "`exp` is an integer: seconds since 1970, after `iat` and at most 24 hours after it.",
        "CLAIM-19": "`mode` is direct or transcribed.",
        "CLAIM-20": "`expected_version` is an integer, 0 or more.",
        "KEY-1": "A public key is a JWK with exactly kty, crv and x, for P-256 also y.",
        "KEY-2": "A key is OKP on Ed25519 or EC on P-256.",
        "KEY-3": "A key's coordinates are 32 bytes each in canonical base64url.",
        "KEY-4": "A key is a point of its curve, on Ed25519 none of the eight points of small order.",
        "PROOF-1": "A proof of possession is a compact JWS: ASCII header.payload.signature, at most 4 KiB.",
        "PROOF-2": "The header of a proof is exactly typ trial-key-proof+jwt, alg and kid.",
        "PROOF-3": "The payload of a proof is exactly {aud, iss, kid, jti}, each as in a statement.",
        "PROOF-4": "A proof is for this log, this actor, this key and this enrolment.",
        "STORED-1": "Stored bytes are those of a statement that was parsed strictly before.",
    }
)


class Malformed(Exception):
    """The bytes break a rule of form; nothing about who signed them was looked at.

    `rule` is an id of `RULES`, `because` says in plain words what was found.
    """

    def __init__(self, rule: str, because: str) -> None:
        assert rule in RULES, rule
        super().__init__(rule, because)
        self.rule = rule
        self.because = because

    @property
    def remedy(self) -> str:
        """What to do: the rule itself, and that signed bytes cannot be mended."""
        return f"{RULES[self.rule]} Sign it anew in this form; signed bytes cannot be mended."

    def __str__(self) -> str:
        return f"{self.rule}: {self.because}. {RULES[self.rule]}"


class BadSignature(Exception):
    """The bytes are well formed, but this key did not sign them: another key, algorithm, or other bytes."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because
