"""One source of everything random in the simulation: the same seed plays the same course, byte for byte.

Keys made here are known to whoever reads this file. They serve a synthetic study and nothing else.
"""

from __future__ import annotations

import random
import uuid
from base64 import urlsafe_b64encode

from ledger.signing.keys import SigningKey

SALT_BYTES = 16
"""128 bits of salt for each disclosure, as DESIGN section 4 asks."""
SEED_BYTES = 32
"""What an Ed25519 key is made from (RFC 8032 section 5.1.5)."""


class Chance:
    """Draws in the order in which they are asked for."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def key(self) -> SigningKey:
        """A signing key."""
        return SigningKey.from_seed(self._draw.randbytes(SEED_BYTES))

    def id(self) -> str:
        """A version 4 UUID in lower case."""
        return str(uuid.UUID(int=self._draw.getrandbits(128), version=4))

    def salt(self) -> str:
        """A salt as 22 base64url characters."""
        return urlsafe_b64encode(self._draw.randbytes(SALT_BYTES)).rstrip(b"=").decode()

    def between(self, low: float, high: float, decimals: int = 0) -> str:
        """A number from `low` to `high` as exact decimal text."""
        return f"{self._draw.uniform(low, high):.{decimals}f}"

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return self._draw.randint(low, high)
