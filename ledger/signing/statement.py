"""The statement: what an actor signs, made, parsed and verified.

A statement is an SD-JWT (RFC 9901) in the profile of DESIGN section 4: `header.payload.signature~d1~...~dn~`.
`parse` keeps every rule of `errors.RULES` and looks at no signature; `verify` looks at nothing else. What was
received is kept byte for byte: the JWT's bytes are stored, hashed and served, never a re-serialisation.
Pure but for `new_salt`, the one place with randomness.
"""

from __future__ import annotations

import json
import secrets
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.signing import wire
from ledger.signing.claims import check_claims
from ledger.signing.encoding import TO_STANDARD, b64url, decode_part, read_json, unb64url
from ledger.signing.errors import RULES, BadSignature, Malformed
from ledger.signing.keys import PublicKey, Signer

__all__ = [
    "RULES",
    "BadSignature",
    "Malformed",
    "Statement",
    "disclosure_digest",
    "disclosures_by_digest",
    "make",
    "new_salt",
    "parse",
    "read_stored",
    "unmatched_disclosures",
    "verify",
]

# Placeholder of a signature's length, for parsing a statement before it is signed.
_UNSIGNED = "A" * 86


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as received and as read; equal to another when the bytes are.

    `content` holds the fields whose disclosures are present: all of them after `parse`, fewer after
    `read_stored` of a redacted record, whose `redacted` fields are then named, each with the index from which on it
    was. The mappings are not to be changed.
    """

    jwt: str
    disclosures: tuple[str, ...]
    alg: str = field(compare=False)
    kid: str = field(compare=False)
    claims: Mapping[str, Any] = field(compare=False)
    content: Mapping[str, Any] = field(compare=False)
    digest: str = field(compare=False)
    redacted: Mapping[str, int] = field(compare=False, default_factory=dict)

    def text(self) -> str:
        """`jwt~d1~...~dn~`, the bytes received."""
        return "~".join((self.jwt, *self.disclosures, ""))

    @property
    def iss(self) -> str:
        """The actor's id."""
        return self.claims["iss"]  # type: ignore[no-any-return]

    @property
    def role(self) -> str:
        """The role in which the actor acts."""
        return self.claims["role"]  # type: ignore[no-any-return]

    @property
    def aud(self) -> str:
        """The origin of the log it is for."""
        return self.claims["aud"]  # type: ignore[no-any-return]

    @property
    def sub(self) -> str:
        """What it is about: `study`, `site/<id>`, ..., `subject/<UUIDv4>`."""
        return self.claims["sub"]  # type: ignore[no-any-return]

    @property
    def jti(self) -> str:
        """The event's id, lower-case UUID."""
        return self.claims["jti"]  # type: ignore[no-any-return]

    @property
    def iat(self) -> int:
        """When it was signed, by the actor's clock: seconds since 1970."""
        return self.claims["iat"]  # type: ignore[no-any-return]

    @property
    def event(self) -> str:
        """The event's name in the catalogue."""
        return self.claims["event"]  # type: ignore[no-any-return]

    @property
    def version(self) -> int:
        """The claim `v`: the event's schema version."""
        return self.claims["v"]  # type: ignore[no-any-return]

    @property
    def site(self) -> str | None:
        """Where; None on study-level events."""
        return self.claims.get("site")

    @property
    def body(self) -> Mapping[str, Any]:
        """The clear fields; empty when there are none."""
        return self.claims.get("body", {})  # type: ignore[no-any-return]

    @property
    def meaning(self) -> str | None:
        """What an electronic signature means; None for an entry."""
        return self.claims.get("meaning")

    @property
    def ceremony(self) -> str | None:
        """The id of the authentication that led to an electronic signature."""
        return self.claims.get("ceremony")

    @property
    def cut(self) -> Mapping[str, Any] | None:
        """`{size, root}` of the state a decision was made on."""
        return self.claims.get("cut")

    @property
    def exp(self) -> int | None:
        """After when it is refused: seconds since 1970."""
        return self.claims.get("exp")

    @property
    def mode(self) -> str:
        """`direct` or `transcribed`."""
        return self.claims.get("mode", "direct")  # type: ignore[no-any-return]

    @property
    def expected_version(self) -> int | None:
        """The subject's event count that the client saw."""
        return self.claims.get("expected_version")

    @property
    def seen(self) -> Mapping[str, Any] | None:
        """`{size, root}` of the last checkpoint that the client verified."""
        return self.claims.get("seen")

    @property
    def corrects(self) -> Mapping[str, str] | None:
        """`{jti, digest, field}` of the original statement."""
        return self.claims.get("corrects")

    @property
    def voids(self) -> Mapping[str, str] | None:
        """`{jti, digest}` of the statement that is voided."""
        return self.claims.get("voids")

    @property
    def answers(self) -> Mapping[str, str] | None:
        """`{jti, digest}` of the statement that is answered."""
        return self.claims.get("answers")

    @property
    def reverses(self) -> Mapping[str, str] | None:
        """`{jti, digest}` of the decision that is reversed."""
        return self.claims.get("reverses")

    @property
    def countersigns(self) -> Mapping[str, str] | None:
        """`{jti, digest}` of the statement that is countersigned."""
        return self.claims.get("countersigns")


def new_salt() -> str:
    """128 random bits as 22 base64url characters, for one disclosure."""
    return secrets.token_urlsafe(16)


def disclosure_digest(disclosure: str) -> str:
    """What stands in `_sd` for a disclosure: SHA-256 of its ASCII (RFC 9901 section 4.2.3)."""
    return wire.digest(disclosure.encode("ascii"))


def make(
    signer: Signer, claims: Mapping[str, Any], content: Mapping[str, Any], salts: Callable[[], str] = new_salt
) -> str:
    """Sign `claims` and `content` (field name to value, each disclosed on its own) as one statement's text.

    Header, `_sd_alg` and `_sd` are set here. What would not pass `parse` raises `Malformed` and is never
    signed; a value that is not JSON raises TypeError.
    """
    own = {"_sd", "_sd_alg"} & claims.keys()
    if own:
        raise Malformed("STATEMENT-9", f"{min(own)} is set by the maker, not by the caller")
    disclosures = [b64url(_json([salts(), name, value])) for name, value in content.items()]
    payload = {**claims, "_sd_alg": "sha-256"}
    if disclosures:
        payload["_sd"] = sorted(map(disclosure_digest, disclosures))
    header = {"typ": wire.TYPE, "alg": signer.alg, "kid": signer.kid}
    unsigned = f"{b64url(_json(header))}.{b64url(_json(payload))}"
    rest = "~".join(("", *disclosures, ""))
    parse(f"{unsigned}.{_UNSIGNED}{rest}")
    return f"{unsigned}.{b64url(signer.sign(unsigned.encode()))}{rest}"


def parse(text: bytes | str, *, partial: bool = False) -> Statement:
    """Read a statement strictly; `Malformed` names the rule it breaks. The signature is not checked.

    `partial`: disclosures may be missing, because they were redacted or are withheld from this reader
    (DISCLOSURE-6 does not apply); every other rule holds.
    """
    raw = wire.to_ascii(text)
    jwt, *disclosures, end = raw.split(b"~") if b"~" in raw else (raw, raw)
    wire.check_structure(raw, jwt, disclosures, end)
    header, payload, signature = jwt.split(b".")
    alg, kid = wire.read_header(header)
    claims = read_json(decode_part(payload.translate(TO_STANDARD), payload, "the payload"), "the payload")
    check_claims(claims)
    decode_part(signature.translate(TO_STANDARD), signature, "the signature")
    content = wire.read_disclosures(disclosures, claims.get("_sd", []), partial)
    received = tuple([disclosure.decode() for disclosure in disclosures])
    return Statement(jwt.decode(), received, alg, kid, claims, content, wire.digest(jwt))


def verify(statement: Statement, key: PublicKey) -> None:
    """Raise `BadSignature` unless `key` is the one that `kid` names and it signed the statement by `alg`."""
    if statement.kid != key.kid:
        raise BadSignature(f"the statement names the key {statement.kid}, not {key.kid}")
    signed, _, part = statement.jwt.rpartition(".")
    try:
        signature = unb64url(part, "the signature")
    except Malformed as found:
        raise BadSignature(found.because) from None
    if not key.verify(signed.encode("ascii"), signature, statement.alg):
        raise BadSignature(f"the signature is not one by the key {key.kid} ({key.alg}) over these bytes")


def read_stored(jwt: str, disclosures: Iterable[str], redacted: Iterable[str] = ()) -> Statement:
    """Read what was parsed strictly before it was stored; redacted disclosures may be missing, and then stand in
    `redacted` as the store names them: `<index>:<field>`.

    Fast, and therefore without the rules: `unmatched_disclosures` and the Merkle log say whether the stored
    bytes are still the received ones. Bytes that cannot be read at all raise `Malformed` (STORED-1).
    """
    received = tuple(disclosures)
    try:
        raw = jwt.encode("ascii")
        header, payload, _ = raw.split(b".")
        alg, kid = wire.read_header(header)
        # One call for all parts: each was a complete JSON value when it was parsed.
        parts = [payload, *[disclosure.encode("ascii") for disclosure in received]]
        texts = [a2b_base64(part.translate(TO_STANDARD) + b"==") for part in parts]
        claims, *fields = json.loads((b"[" + b",".join(texts) + b"]").decode())
        content = {name: value for _, name, value in fields}
        if len(fields) != len(received) or len(content) != len(received) or type(claims) is not dict:
            raise ValueError("parts do not fit together")
    except (ValueError, TypeError, Malformed) as error:
        raise Malformed("STORED-1", f"a stored statement cannot be read ({error})") from None
    gone = {name: int(index) for index, _, name in (one.partition(":") for one in redacted)}
    return Statement(jwt, received, alg, kid, claims, content, wire.digest(raw), gone)


def unmatched_disclosures(statement: Statement) -> tuple[str, ...]:
    """The disclosures whose digest is not in `_sd`: none, unless stored bytes were altered."""
    digests = frozenset(statement.claims.get("_sd", ()))
    return tuple(d for d in statement.disclosures if disclosure_digest(d) not in digests)


def disclosures_by_digest(disclosures: Iterable[str]) -> dict[str, str]:
    """Of each disclosure the digest and the name of its field."""
    return {disclosure_digest(one): _read(one)[1] for one in disclosures}


def _read(disclosure: str) -> list[Any]:
    """Salt, name and value of a stored disclosure."""
    return json.loads(a2b_base64(disclosure.encode("ascii").translate(TO_STANDARD) + b"=="))  # type: ignore[no-any-return]


def _json(value: Any) -> bytes:
    """Compact JSON; half a surrogate pair, NaN and the like pass here and are refused by `parse`."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
