"""The keys of a log, derived from one master seed: one key pair a log and signature type.

HKDF-SHA256 (RFC 5869) with the log's origin as info and the signature type in the salt, so that knowing one
log's keys says nothing about another's, and no key is ever used under two names or in two signature types.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.merkle.cosignature import Mldsa44Cosigner
from ledger.merkle.note import Ed25519Signer, VerifierKey

SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class LogKeys:
    """A log's signers: Ed25519 (0x01) for every checkpoint, ML-DSA-44 (0x06) for exported ones besides."""

    ed25519: Ed25519Signer
    mldsa44: Mldsa44Cosigner

    def public(self) -> tuple[VerifierKey, VerifierKey]:
        """What genesis names and a policy lists: the Ed25519 key, then the ML-DSA-44 key."""
        return self.ed25519.key, self.mldsa44.key


def derive(master_seed: bytes, origin: str, generation: int = 1) -> LogKeys:
    """The keys of the log `origin`, both named like it; `generation` counts its rotations from 1."""
    if len(master_seed) != SEED_BYTES:
        raise ValueError(f"the master seed has {SEED_BYTES} bytes, not {len(master_seed)}")
    if generation < 1:
        raise ValueError("generations of a log's keys are counted from 1")
    return LogKeys(
        Ed25519Signer(origin, _seed(master_seed, f"trial-ledger log key Ed25519 {generation}", origin)),
        Mldsa44Cosigner(origin, _seed(master_seed, f"trial-ledger log key ML-DSA-44 {generation}", origin)),
    )


def _seed(master_seed: bytes, salt: str, origin: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=salt.encode(), info=origin.encode())
    return hkdf.derive(master_seed)
