"""The note by which a log's own keys vouch for a key of the actor `ledger`, which seals what the system itself records.

Its text is the origin, the word `seal` and the key's RFC 7638 thumbprint, a line each; the log's Ed25519 key in force
signs it. Without it a registrar could give the system's voice to somebody else. A checkpoint's second line is a
number and a rotation's the word `rotate`, so that no note passes for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger.merkle.note import ED25519, Ed25519Verifier, VerifierKey, make_note, parse_note, verify_note
from ledger.merkle.tree import NotProven

if TYPE_CHECKING:
    from ledger.merkle.log_keys import KeyedSigner


def seal_note(origin: str, kid: str, signer: KeyedSigner) -> str:
    """The note for a key, signed by the log's Ed25519 key."""
    text = _text(origin, kid)
    return make_note(text, [signer.sign(text)]).decode()


def check_seal_note(origin: str, kid: str, note: str, log_keys: Sequence[str]) -> None:
    """Raises NotProven when the note does not say this key of this log, or the vkeys in force did not sign it."""
    try:
        known = [VerifierKey.parse(key) for key in log_keys]
        parsed = parse_note(note.encode())
    except ValueError as wrong:
        raise NotProven(str(wrong)) from None
    verify_note(parsed, [Ed25519Verifier(key) for key in known if key.kind == ED25519])
    if parsed.text != _text(origin, kid):
        raise NotProven(f"the note does not say the origin, `seal` and {kid}, a line each")


def _text(origin: str, kid: str) -> bytes:
    return "\n".join((origin, "seal", kid, "")).encode()
