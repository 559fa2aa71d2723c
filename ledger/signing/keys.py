"""Keys that sign statements: Ed25519 and ES256 (P-256), as signers, as public keys, as files.

`kid` is the RFC 7638 SHA-256 thumbprint, so a key names itself, and a key has one algorithm. Signatures are
raw JOSE signatures of 64 bytes: RFC 8032 for Ed25519, r then s for ES256 (RFC 7518 section 3.4). Whatever has
`kid`, `alg` and `sign` is a `Signer`: a key of this file, or a client of a key management service.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from ledger.signing import jwks
from ledger.signing.encoding import b64url
from ledger.signing.pkcs8 import IV_BYTES, SALT_BYTES, encrypted_pem

ALGORITHMS: Mapping[str, str] = {"Ed25519": "Ed25519", "EdDSA": "Ed25519", "ES256": "ES256"}
"""Name in a JOSE header to the algorithm a key has (RFC 9864: EdDSA is the older name of Ed25519)."""

SIGNATURE_BYTES = 64
"""Of both algorithms; any other length is no signature."""

_HALF = SIGNATURE_BYTES // 2
_ES256 = ec.ECDSA(hashes.SHA256())


class Signer(Protocol):
    """What can sign; `sign` may take a network call, and raises what its implementation documents."""

    @property
    def kid(self) -> str:
        """RFC 7638 SHA-256 thumbprint of the public key."""

    @property
    def alg(self) -> str:
        """`Ed25519` or `ES256`."""

    def sign(self, message: bytes) -> bytes:
        """The raw JOSE signature over `message`, 64 bytes."""


class KeyFileError(Exception):
    """A key file cannot be read or written as asked; the message says why and what to do."""


class PublicKey:
    """A public key that may stand in a ledger: strict in what it reads, and bound to one algorithm."""

    __slots__ = ("_key", "alg", "kid", "public_jwk")

    def __init__(self, key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self.alg = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "ES256"
        self.public_jwk: dict[str, str] = jwks.write(key)
        self.kid = jwks.thumbprint(self.public_jwk)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> PublicKey:
        """The key of a JWK with exactly the members that define it; `Malformed` (KEY-1 to -4) otherwise."""
        return cls(jwks.read(jwk))

    def verify(self, message: bytes, signature: bytes, alg: str) -> bool:
        """Whether `signature` is this key's over `message`, made by `alg`; never raises on bad input."""
        if ALGORITHMS.get(alg) != self.alg or len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
                self._key.verify(encode_dss_signature(r, s), message, _ES256)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.kid == other.kid

    def __hash__(self) -> int:
        return hash(self.kid)

    def __repr__(self) -> str:
        return f"PublicKey({self.alg} {self.kid})"


class SigningKey:
    """A private key held in this process; a `Signer`."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def generate(cls, alg: str = "Ed25519") -> SigningKey:
        """A new key from the system's randomness; `alg` is Ed25519 (or EdDSA) or ES256."""
        if alg not in ALGORITHMS:
            raise ValueError(f"no key of algorithm {alg!r} can be made; ask for Ed25519 or ES256")
        if ALGORITHMS[alg] == "Ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The Ed25519 key of a 32-byte seed (RFC 8032 section 5.1.5); ValueError for another length."""
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> SigningKey:
        """The key of a PKCS #8 PEM text; `KeyFileError` when it cannot be read or is of another kind."""
        try:
            key = serialization.load_pem_private_key(pem, passphrase)
        except TypeError:
            if passphrase is None:
                raise KeyFileError("the key is encrypted: give its passphrase") from None
            raise KeyFileError("the key is not encrypted: give no passphrase") from None
        except (ValueError, UnsupportedAlgorithm):
            raise KeyFileError("the passphrase is wrong, or this is no private key in PEM form") from None
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise KeyFileError("the key is neither Ed25519 nor P-256: make one with one of these algorithms")

    @property
    def kid(self) -> str:
        """RFC 7638 SHA-256 thumbprint, base64url."""
        return self.public.kid

    @property
    def alg(self) -> str:
        """`Ed25519` or `ES256`."""
        return self.public.alg

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public key as a JWK: kty, crv, x and for P-256 y."""
        return dict(self.public.public_jwk)

    def sign(self, message: bytes) -> bytes:
        """The raw JOSE signature, 64 bytes."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, _ES256))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS #8 in PEM, encrypted (scrypt, AES-256-CBC) when a passphrase is given."""
        form, pkcs8 = serialization.Encoding, serialization.PrivateFormat.PKCS8
        if passphrase is None:
            return self._key.private_bytes(form.PEM, pkcs8, serialization.NoEncryption())
        if not passphrase:
            raise ValueError("an empty passphrase protects nothing: give one, or None to store the key open")
        der = self._key.private_bytes(form.DER, pkcs8, serialization.NoEncryption())
        return encrypted_pem(der, passphrase, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(IV_BYTES))

    def private_jwk(self) -> dict[str, str]:
        """The private key as a JWK: the public members and d. Whoever reads it can sign."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            d = self._key.private_bytes_raw()
        else:
            d = self._key.private_numbers().private_value.to_bytes(_HALF, "big")
        return {**self.public_jwk, "d": b64url(d)}

    def __repr__(self) -> str:
        return f"SigningKey({self.alg} {self.kid})"


def save_key(path: Path | str, key: SigningKey, passphrase: bytes | None) -> None:
    """Write a key file, readable by its owner only: complete or not at all, durable on return.

    Never replaces a file: a private key that is overwritten is lost, and with it whatever only it could do.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(key.to_pem(passphrase))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails when the name is taken.
        os.link(draft, path)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already and is not replaced: choose another name") from None
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def load_key(path: Path | str, passphrase: bytes | None) -> SigningKey:
    """Read a key file; `KeyFileError` when it is missing, of another kind, or the passphrase is wrong."""
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read ({error.strerror})") from None
    try:
        return SigningKey.from_pem(pem, passphrase)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; Windows has no such call, its file systems journal names themselves."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
