"""One-time codes: 128 random bits that a registrar hands to a person, and whose digest stands in the log.

Written in base32 in groups of four, so that they can be read out; read in any case, with or without the hyphens.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode

from ledger.signing.encoding import b64url

CODE_BYTES = 16
GROUP = 4


def code_of(chance: bytes) -> str:
    """The code of 16 random bytes, such as `ABCD-EFGH-...`."""
    if len(chance) != CODE_BYTES:
        raise ValueError(f"a code is made of {CODE_BYTES} bytes")
    letters = b32encode(chance).decode().rstrip("=")
    return "-".join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))


def code_digest(code: str) -> str:
    """What the log holds of a code: base64url of the SHA-256 of its letters."""
    letters = "".join(letter for letter in code.upper() if letter.isalnum())
    return b64url(hashlib.sha256(letters.encode("utf-8", "surrogatepass")).digest())
