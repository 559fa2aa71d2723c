"""Public keys as JWK (RFC 7517), read strictly: one key has one spelling, and is a sound point of its curve.

Rules KEY-1 to KEY-4 (`errors.py`). Members beyond the defining ones are refused, so that the same key cannot
be enrolled in two forms and no private part slips into a ledger. Shapes: RFC 7518 section 6.2, RFC 8037
section 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.signing.encoding import b64url, unb64url
from ledger.signing.errors import Malformed

RawPublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_COORDINATE_BYTES = 32

# Ed25519 (RFC 8032 section 5.1): the field, the curve's constant d, and the y of the eight points of small
# order. Under such a "public key" anybody can make a signature that fits every message.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


def read(jwk: Mapping[str, Any]) -> RawPublicKey:
    """The key of a public JWK with exactly its defining members; `Malformed` (KEY-1 to KEY-4) otherwise."""
    if not isinstance(jwk, Mapping) or any(type(value) is not str for value in jwk.values()):
        raise Malformed("KEY-1", "this is no JWK: not an object of strings")
    kind = (jwk.get("kty"), jwk.get("crv"))
    if kind == ("OKP", "Ed25519"):
        if jwk.keys() != {"kty", "crv", "x"}:
            raise Malformed("KEY-1", "an Ed25519 key has other members, a private one, or no x")
        return _ed25519_point(_coordinate(jwk["x"]))
    if kind == ("EC", "P-256"):
        if jwk.keys() != {"kty", "crv", "x", "y"}:
            raise Malformed("KEY-1", "a P-256 key has other members, a private one, or lacks x or y")
        return _p256_point(_coordinate(jwk["x"]), _coordinate(jwk["y"]))
    raise Malformed("KEY-2", f"kty and crv are {repr(kind)[:60]}")


def write(key: RawPublicKey) -> dict[str, str]:
    """The public JWK: kty, crv, x and for P-256 y."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw())}
    numbers = key.public_numbers()
    x, y = (b64url(value.to_bytes(_COORDINATE_BYTES, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638: base64url SHA-256 of the defining members, sorted, without white space."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    return b64url(sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def _coordinate(text: str) -> bytes:
    try:
        value = unb64url(text, "a coordinate")
    except Malformed as found:
        raise Malformed("KEY-3", found.because) from None
    if len(value) != _COORDINATE_BYTES:
        raise Malformed("KEY-3", f"a coordinate has {len(value)} bytes")
    return value


def _ed25519_point(encoded: bytes) -> ed25519.Ed25519PublicKey:
    """RFC 8032 section 5.1.3, which the library leaves until a signature is verified."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    if y in _SMALL_ORDER_Y:
        raise Malformed("KEY-4", "the Ed25519 key is a point of small order")
    # x^2 = (y^2 - 1) / (d y^2 + 1) has a root exactly when numerator times denominator is a square.
    if y >= _P or pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) != 1:
        raise Malformed("KEY-4", "the Ed25519 key is no point of the curve")
    return ed25519.Ed25519PublicKey.from_public_bytes(encoded)


def _p256_point(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    try:
        return numbers.public_key()
    except ValueError:
        raise Malformed("KEY-4", "the P-256 key is no point of the curve") from None
