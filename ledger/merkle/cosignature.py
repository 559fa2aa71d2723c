"""Timestamped cosignatures (C2SP tlog-cosignature): Ed25519, type 0x04, and ML-DSA-44, type 0x06.

A cosignature says: as of this time, this is the largest consistent tree I have seen of this log. A witness
signs so; a log's own post-quantum signature has the 0x06 form under the log's name. An Ed25519 key has one
type and one cosigner only, for what 0x04 signs does not include the name. Whether a time lies in the future
is for the caller to judge, who has a clock.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger.merkle.checkpoint import ORIGIN_LIMIT, Checkpoint
from ledger.merkle.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    Ed25519Verifier,
    Signature,
    Verifier,
    VerifierKey,
    ed25519_verifies,
)
from ledger.merkle.tree import NotProven

TIME_LIMIT = 2**63 - 1
"""POSIX seconds, by specification."""

MLDSA44_SIGNATURE_BYTES = 2420
_TIME_BYTES = 8
_ED25519_SIGNATURE_BYTES = 64
_MLDSA_LABEL = b"subtree/v1\n\x00"


class Cosigner(Protocol):
    """Cosigns checkpoints at times that the caller gives, in POSIX seconds."""

    @property
    def key(self) -> VerifierKey:
        """The public key with its name and type."""

    def cosign(self, checkpoint: Checkpoint, time_seconds: int) -> Signature:
        """The signature line for a checkpoint at a time."""


class Ed25519Cosigner:
    """Type 0x04, from a 32-byte seed; deterministic."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, COSIGNATURE_ED25519, self._key.public_key().public_bytes_raw())

    def cosign(self, checkpoint: Checkpoint, time_seconds: int) -> Signature:
        """The signature line for a checkpoint at a time in POSIX seconds."""
        signature = self._key.sign(_ed25519_message(checkpoint.body(), time_seconds))
        return Signature(self.key.name, self.key.key_id, stamped(time_seconds) + signature)


class Mldsa44Cosigner:
    """Type 0x06, from a 32-byte seed; randomised: the same checkpoint gives other bytes each time."""

    def __init__(self, name: str, seed: bytes) -> None:
        if len(name.encode()) > ORIGIN_LIMIT:
            raise ValueError(f"the name of an ML-DSA-44 cosigner has at most {ORIGIN_LIMIT} bytes")
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.key = VerifierKey(name, COSIGNATURE_MLDSA44, self._key.public_key().public_bytes_raw())

    def cosign(self, checkpoint: Checkpoint, time_seconds: int) -> Signature:
        """The signature line for a checkpoint at a time in POSIX seconds."""
        signature = self._key.sign(mldsa44_message(self.key.name, checkpoint, time_seconds))
        return Signature(self.key.name, self.key.key_id, stamped(time_seconds) + signature)


class Ed25519CosignatureVerifier:
    """Verifies type 0x04."""

    def __init__(self, key: VerifierKey) -> None:
        _check_kind(key, COSIGNATURE_ED25519)
        self.name, self.key_id = key.name, key.key_id
        self._key = Ed25519PublicKey.from_public_bytes(key.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether the key cosigned the checkpoint of which `text` is the body."""
        if len(signature) != _TIME_BYTES + _ED25519_SIGNATURE_BYTES or not _is_checkpoint(text):
            return False
        time_seconds = time_of(signature)
        if time_seconds > TIME_LIMIT:
            return False
        return ed25519_verifies(self._key, signature[_TIME_BYTES:], _ed25519_message(text, time_seconds))


class Mldsa44CosignatureVerifier:
    """Verifies type 0x06."""

    def __init__(self, key: VerifierKey) -> None:
        _check_kind(key, COSIGNATURE_MLDSA44)
        if len(key.name.encode()) > ORIGIN_LIMIT:
            raise ValueError(f"the name of an ML-DSA-44 cosigner has at most {ORIGIN_LIMIT} bytes")
        self.name, self.key_id = key.name, key.key_id
        self._key = MLDSA44PublicKey.from_public_bytes(key.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether the key cosigned the checkpoint of which `text` is the body."""
        if len(signature) != _TIME_BYTES + MLDSA44_SIGNATURE_BYTES or time_of(signature) > TIME_LIMIT:
            return False
        try:
            message = mldsa44_message(self.name, Checkpoint.parse(text), time_of(signature))
            self._key.verify(signature[_TIME_BYTES:], message)
        except (NotProven, InvalidSignature):
            return False
        return True


class CosigningAt:
    """A cosigner at one time, as a signer of notes: for `Checkpoint.sign`."""

    def __init__(self, cosigner: Cosigner, time_seconds: int) -> None:
        self._cosigner, self._time_seconds = cosigner, time_seconds

    def sign(self, text: bytes) -> Signature:
        """The cosignature of the checkpoint of which `text` is the body."""
        return self._cosigner.cosign(Checkpoint.parse(text), self._time_seconds)


def time_of(signature: bytes) -> int:
    """The time in a cosignature, POSIX seconds; to be believed only once the signature is verified."""
    return int.from_bytes(signature[:_TIME_BYTES], "big")


def verifier_of(key: VerifierKey) -> Verifier:
    """The verifier for a vkey of type 0x01, 0x04 or 0x06."""
    if key.kind == ED25519:
        return Ed25519Verifier(key)
    if key.kind == COSIGNATURE_ED25519:
        return Ed25519CosignatureVerifier(key)
    return Mldsa44CosignatureVerifier(key)


def _ed25519_message(body: bytes, time_seconds: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_seconds + body


def mldsa44_message(name: str, checkpoint: Checkpoint, time_seconds: int) -> bytes:
    """The `cosigned_message` structure of a whole tree: from leaf 0 to the checkpoint's size."""
    return b"".join(
        (
            _MLDSA_LABEL,
            _with_length(name.encode()),
            time_seconds.to_bytes(8, "big"),
            _with_length(checkpoint.origin.encode()),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _with_length(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def stamped(time_seconds: int) -> bytes:
    """The time as it stands before a cosignature; ValueError when it is none."""
    if not 0 <= time_seconds <= TIME_LIMIT:
        raise ValueError(f"{time_seconds} is no time in POSIX seconds")
    return time_seconds.to_bytes(_TIME_BYTES, "big")


def _check_kind(key: VerifierKey, kind: int) -> None:
    if key.kind != kind:
        raise ValueError(f"{key.name} is a key of type {key.kind:#04x}, not {kind:#04x}")


def _is_checkpoint(text: bytes) -> bool:
    try:
        Checkpoint.parse(text)
    except NotProven:
        return False
    return True
