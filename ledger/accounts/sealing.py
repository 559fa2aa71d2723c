"""A private key sealed under a passphrase: scrypt, a secret of the home, AES-256-GCM.

The passphrase is right when the key opens: no hash of it is kept besides. scrypt with N = 2^15, r = 8, p = 3 takes
a quarter of a second and 32 MiB, as strong as N = 2^17, p = 1 by OWASP's table at a quarter of the memory (two at
once must fit the server's 300 MB). What it gives is mixed with a secret of the home, so that whoever has the
database alone cannot even guess. Study, actor and key are authenticated with the box: one of another row does not
open. Nothing here keeps a passphrase or logs one.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.accounts.refusals import PassphraseWeak

SALT_BYTES, NONCE_BYTES, SEED_BYTES = 16, 12, 32
SHORTEST, LONGEST = 12, 1_024
"""Characters of a passphrase: long enough against guessing; short enough that reading one costs nothing."""
MEMORY_ROOM = 1 << 20
"""What OpenSSL takes beside 128 * N * r bytes."""

COMMON = frozenset(
    """
    passwordpassword passphrase12 password1234 password12345 password123456 123456789012 1234567890123 12345678901234
    123456789123456789 qwertyuiop12 qwertyuiopas qwertyuiopasdf 1q2w3e4r5t6y 1qaz2wsx3edc administrator
    administrator1 changemeplease changeme1234 letmeinletmein welcomewelcome welcome12345 iloveyouiloveyou
    trustno1trustno1 correcthorsebatterystaple abcdefghijkl abcdefghijklmnop
    asdfghjklqwerty zaq12wsxcde3 unbelievable1 passwordpasswordpassword thisismypassword mypassword123 secretsecret
    supersecret123 investigator investigator1 clinicaltrial clinicaltrials trialledger trial-ledger
    """.split()
)
"""The most common of sufficient length, and those that this system itself suggests."""


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's cost: log2 of N, r, p. ValueError outside the bounds."""

    log2_n: int = 15
    r: int = 8
    p: int = 3

    def __post_init__(self) -> None:
        if not (10 <= self.log2_n <= 20 and self.r == 8 and 1 <= self.p <= 8):
            raise ValueError(f"scrypt with N=2^{self.log2_n}, r={self.r}, p={self.p} is outside the bounds")

    def as_row(self) -> tuple[int, int, int]:
        """As it is stored."""
        return (self.log2_n, self.r, self.p)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed seed of an Ed25519 key."""

    cost: Cost
    salt: bytes
    nonce: bytes
    box: bytes


def normalised(passphrase: str) -> bytes:
    """The bytes of a passphrase, however its letters were composed (NFKC)."""
    return unicodedata.normalize("NFKC", passphrase[: LONGEST + 1]).encode("utf-8", "surrogatepass")


def check_passphrase(passphrase: str, actor: str) -> None:
    """ACCOUNT-4; no rules of composition (NIST SP 800-63B)."""
    try:
        text = normalised(passphrase).decode()
    except UnicodeDecodeError:
        raise PassphraseWeak("it is not text") from None
    folded = "".join(text.casefold().split())
    if not SHORTEST <= len(text) <= LONGEST:
        raise PassphraseWeak(f"it has {len(text)} characters, not {SHORTEST} to {LONGEST:,}")
    if folded in COMMON or len(set(folded)) < SHORTEST // 3:
        raise PassphraseWeak("it is one of the most common, or repeats a few characters")
    rest = folded.replace(actor.casefold(), "")
    if len(rest) < SHORTEST // 2:
        raise PassphraseWeak("it is little more than the user id")


def seal(
    seed: bytes, passphrase: bytes, bound_to: bytes, secret: bytes, cost: Cost, salt: bytes, nonce: bytes
) -> Sealed:
    """Seal a seed; `bound_to` names study, actor and key, `secret` is the home's, salt and nonce are fresh."""
    box = AESGCM(_key(passphrase, secret, cost, salt)).encrypt(nonce, seed, bound_to)
    return Sealed(cost, salt, nonce, box)


def unseal(sealed: Sealed, passphrase: bytes, bound_to: bytes, secret: bytes) -> bytes | None:
    """The seed, or None: the passphrase is wrong, or the box is another's. Takes as long either way."""
    try:
        return AESGCM(_key(passphrase, secret, sealed.cost, sealed.salt)).decrypt(sealed.nonce, sealed.box, bound_to)
    except InvalidTag:
        return None


def bound_to(study: str, actor: str, kid: str) -> bytes:
    """What a box is bound to; none of the three can contain a line feed."""
    return f"trial-ledger credential/1\n{study}\n{actor}\n{kid}\n".encode()


def _key(passphrase: bytes, secret: bytes, cost: Cost, salt: bytes) -> bytes:
    n = 1 << cost.log2_n
    room = 128 * n * cost.r + 256 * cost.r * cost.p + MEMORY_ROOM
    stretched = hashlib.scrypt(passphrase, salt=salt, n=n, r=cost.r, p=cost.p, maxmem=room, dklen=32)
    return hmac.digest(secret, b"trial-ledger seal/1" + stretched, hashlib.sha256)
