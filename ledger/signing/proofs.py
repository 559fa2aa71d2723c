"""Proof of possession: the new key itself signs its enrolment.

A compact JWS (RFC 7515) with header exactly {typ, alg, kid} and payload exactly {aud, iss, kid, jti}: the
log's origin, the actor, the key's thumbprint and the id of the KeyEnrolled event. Rules PROOF-1 to PROOF-4,
and those of strict JSON and base64url (`errors.py`). Without it a registrar could enrol somebody else's
public key for an actor, who would then appear to have signed what the key's owner signs.
"""

from __future__ import annotations

import json

from ledger.signing.claims import CLAIMS, DIGEST
from ledger.signing.encoding import b64url, read_json, unb64url
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import ALGORITHMS, PublicKey, Signer

TYPE = "trial-key-proof+jwt"

PROOF_LIMIT = 4096
"""Characters; a proof has about 600."""


def make_proof(signer: Signer, *, aud: str, iss: str, jti: str) -> str:
    """The proof, signed by the new key, that its holder `iss` wants it in log `aud` by event `jti`."""
    header = {"typ": TYPE, "alg": signer.alg, "kid": signer.kid}
    payload = {"aud": aud, "iss": iss, "kid": signer.kid, "jti": jti}
    _check_payload(payload)
    signed = f"{_encode(header)}.{_encode(payload)}"
    return f"{signed}.{b64url(signer.sign(signed.encode('ascii')))}"


def check_proof(text: str, key: PublicKey, *, aud: str, iss: str, jti: str) -> None:
    """Raise `Malformed` or `BadSignature` unless `text` is made by `key`'s holder for this very enrolment."""
    if not isinstance(text, str) or len(text) > PROOF_LIMIT or not text.isascii() or text.count(".") != 2:
        raise Malformed("PROOF-1", "the proof is not header.payload.signature")
    signed, _, signature_part = text.rpartition(".")
    header_part, _, payload_part = signed.partition(".")
    header = read_json(unb64url(header_part, "the proof's header"), "the proof's header")
    if type(header) is not dict or header.keys() != {"typ", "alg", "kid"} or header["typ"] != TYPE:
        raise Malformed("PROOF-2", "the proof's header has other members, lacks one, or has another typ")
    if type(header["alg"]) is not str or header["alg"] not in ALGORITHMS:
        raise Malformed("PROOF-2", f"`alg` is {repr(header['alg'])[:60]}")
    payload = read_json(unb64url(payload_part, "the proof's payload"), "the proof's payload")
    _check_payload(payload)
    expected = {"aud": aud, "iss": iss, "kid": key.kid, "jti": jti}
    for name, value in (*payload.items(), ("kid", header["kid"])):
        if value != expected[name]:
            raise Malformed("PROOF-4", f"`{name}` is {repr(value)[:80]}, not {expected[name]!r}")
    signature = unb64url(signature_part, "the proof's signature")
    if not key.verify(signed.encode("ascii"), signature, header["alg"]):
        raise BadSignature(f"the proof is not signed by the key {key.kid}")


def _check_payload(payload: object) -> None:
    if type(payload) is not dict or payload.keys() != {"aud", "iss", "kid", "jti"}:
        raise Malformed("PROOF-3", "the proof's payload has other members, or lacks one")
    for name in ("aud", "iss", "jti"):
        if not CLAIMS[name][1](payload[name]):
            raise Malformed("PROOF-3", f"`{name}` is {repr(payload[name])[:80]}")
    if type(payload["kid"]) is not str or not DIGEST.fullmatch(payload["kid"]):
        raise Malformed("PROOF-3", f"`kid` is {repr(payload['kid'])[:60]}")


def _encode(value: dict[str, str]) -> str:
    return b64url(json.dumps(value, separators=(",", ":")).encode("ascii"))
