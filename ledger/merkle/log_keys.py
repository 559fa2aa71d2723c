"""The keys of a log, derived from one master seed: one key pair a log, generation and signature type.

HKDF-SHA256 (RFC 5869) with the log's origin as info and the signature type in the salt, so that knowing one
log's keys says nothing about another's, and no key is ever used under two names or in two signature types.
The keys change by a note (origin, the word `rotate`, the new vkeys, a line each) that the old and the new Ed25519 key
signed; the ML-DSA-44 key signs checkpoints and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.merkle.cosignature import Cosigner, Mldsa44Cosigner
from ledger.merkle.note import (
    Ed25519Signer,
    Ed25519Verifier,
    Signature,
    VerifierKey,
    make_note,
    parse_note,
    verify_note,
)
from ledger.merkle.tree import NotProven

SEED_BYTES = 32


class KeyedSigner(Protocol):
    """Signs notes with a key that it can name: one in this process, or in a module that keeps it to itself."""

    @property
    def key(self) -> VerifierKey:
        """The public key with its name and type."""

    def sign(self, text: bytes) -> Signature:
        """The signature line for a note's text."""


@dataclass(frozen=True, slots=True)
class LogKeys:
    """A log's signers: Ed25519 (0x01) for every checkpoint, ML-DSA-44 (0x06) for exported ones besides."""

    ed25519: KeyedSigner
    mldsa44: Cosigner

    def public(self) -> tuple[VerifierKey, VerifierKey]:
        """What genesis names and a policy lists: the Ed25519 key, then the ML-DSA-44 key."""
        return self.ed25519.key, self.mldsa44.key


class LogKeySource(Protocol):
    """The keys of one log by generation."""

    def of(self, generation: int) -> LogKeys:
        """The keys of a generation, counted from 1."""


class DerivedKeys:
    """All generations of one log's keys, from the master seed."""

    def __init__(self, master_seed: bytes, origin: str) -> None:
        self._master_seed, self._origin = master_seed, origin
        self._made: dict[int, LogKeys] = {}

    def of(self, generation: int) -> LogKeys:
        """The keys of a generation, counted from 1."""
        made = self._made.get(generation)
        if made is None:
            made = self._made[generation] = derive(self._master_seed, self._origin, generation)
        return made


def rotation_note(origin: str, old: LogKeys, new: LogKeys) -> str:
    """The note by which the old keys hand the log over to the new ones."""
    text = _rotation_text(origin, new)
    return make_note(text, [old.ed25519.sign(text), new.ed25519.sign(text)]).decode()


def is_rotation(origin: str, note: str, old: LogKeys, new: LogKeys) -> bool:
    """Whether a note hands this log over from these old to these new keys."""
    try:
        parsed = parse_note(note.encode())
        signed = verify_note(parsed, [Ed25519Verifier(keys.ed25519.key) for keys in (old, new)])
    except NotProven:
        return False
    return parsed.text == _rotation_text(origin, new) and len(signed) == 2


def _rotation_text(origin: str, new: LogKeys) -> bytes:
    return "\n".join((origin, "rotate", *map(str, new.public()), "")).encode()


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
