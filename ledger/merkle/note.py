"""Signed notes (C2SP signed-note v1.0.0): a text, a blank line, and one line a signature.

This and the other C2SP formats of this folder are those of commit 5ba5ee8 of the specifications.

The signature is over the text with its last line feed, without the blank line. A signature is named by key
name and four-byte key id together; unknown ones are ignored, a known one that is bad spoils the whole note.
base64 is the standard alphabet with padding, and only in its canonical form. Pure, no I/O.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.merkle.tree import NotProven

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
COSIGNATURE_MLDSA44 = 0x06

PUBLIC_KEY_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}

SIGNATURES_LIMIT = 100
"""Lines; every verifier must accept 16, the reference one refuses more than 100."""

NOTE_LIMIT = 1_000_000
"""Bytes: the limit of the reference reader; 100 post-quantum signatures have about 330,000."""

_DASH = "\N{EM DASH} "
_KEY_ID_BYTES = 4
_LINE = re.compile(r"\N{EM DASH} (\S+) (\S+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class OtherKeys(NotProven):
    """The note is signed in a known name, and by none of its known keys: forged, or the keys were rotated."""


class BadSignatureLine(NotProven):
    """A signature line that no signer can have written: the text it stands under is unsigned as far as it goes."""


class Verifier(Protocol):
    """A known key; knows its name, its id, and what of the text its signatures cover."""

    @property
    def name(self) -> str:
        """The key's name."""

    @property
    def key_id(self) -> bytes:
        """The key's id, 4 bytes."""

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` (what follows the key id) is this key's for the note's text."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: key name, 4-byte key id, and the bytes that follow it."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> bytes:
        """`(em dash) <name> <base64(key id || signature)>` and a line feed."""
        return f"{_DASH}{self.name} {b64encode(self.key_id + self.signature).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A note as parsed: its text, ending in a line feed, and its signatures, none of them verified."""

    text: bytes
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        """Text, blank line, signature lines."""
        return self.text + b"\n" + b"".join(signature.line() for signature in self.signatures)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A vkey: `<name>+<hex key id>+<base64(type || public key)>`."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES.get(self.kind):
            raise ValueError(f"a key of type {self.kind:#04x} does not have {len(self.public)} bytes")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name LF type || public key), the first 4 bytes."""
        return key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a vkey; ValueError unless writing it gives the same text (so the id must be right)."""
        name, _, rest = text.partition("+")
        material = unbase64(rest.partition("+")[2])
        if not material:
            raise ValueError(f"{text[:80]!r} is no verifier key: <name>+<id>+<base64> is needed")
        key = cls(name, material[0], material[1:])
        if str(key) != text:
            raise ValueError(f"the id in {text[:80]!r} is not that of the key; the key's is {key.key_id.hex()}")
        return key


class Ed25519Verifier:
    """Verifies plain note signatures, type 0x01."""

    def __init__(self, key: VerifierKey) -> None:
        if key.kind != ED25519:
            raise ValueError(f"{key.name} is a key of type {key.kind:#04x}, not 0x01")
        self.name, self.key_id = key.name, key.key_id
        self._key = Ed25519PublicKey.from_public_bytes(key.public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether the key signed exactly this text."""
        return ed25519_verifies(self._key, signature, text)


class Ed25519Signer:
    """Signs notes, type 0x01, from a 32-byte seed; deterministic (RFC 8032)."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, ED25519, self._key.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> Signature:
        """The signature line of this key for a note's text."""
        return Signature(self.key.name, self.key.key_id, self._key.sign(text))


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """The 4-byte id of a key: SHA-256(name || LF || type || public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_ID_BYTES]


def check_name(name: str) -> None:
    """ValueError unless `name` may name a key: not empty, no white space or control character, no plus."""
    if not name or "+" in name or any(c.isspace() or ord(c) < 0x20 for c in name) or not _encodes(name):
        raise ValueError(f"{name[:80]!r} is no key name: it is empty, or has a space or a +")


def make_note(text: bytes, signatures: Sequence[Signature]) -> bytes:
    """A signed note; ValueError when the result could not be parsed again."""
    note = Note(text, tuple(signatures)).to_bytes()
    try:
        parsed = parse_note(note)
    except NotProven as error:
        raise ValueError(str(error)) from None
    if parsed.text != text:
        raise ValueError("the text itself ends like a note: it would be divided elsewhere")
    return note


LONG_KEY = 200
"""Characters beyond which nobody reads a vkey out: an ML-DSA-44 key has some 1,800, an Ed25519 key about 100."""


def told(vkey: str) -> str:
    """A verifier key as it is printed: one that is too long to be read out with the SHA-256 of its text beside it."""
    return vkey if len(vkey) <= LONG_KEY else f"{vkey} (SHA-256 {sha256(vkey.encode()).hexdigest()})"


def parse_note(data: bytes) -> Note:
    """Text and signatures of a note; `NotProven` when it is malformed. Verifies nothing."""
    if len(data) > NOTE_LIMIT:
        raise NotProven(f"the note has {len(data)} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotProven("the note is not UTF-8") from None
    if _CONTROL.search(whole):
        raise NotProven("the note contains a control character")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NotProven("the note does not end with a blank line and signature lines")
    found = lines[:-1].split("\n")
    if len(found) > SIGNATURES_LIMIT:
        raise NotProven(f"the note has {len(found)} signatures")
    return Note(f"{text}\n".encode(), tuple(map(parse_signature_line, found)))


def parse_signature_line(line: str) -> Signature:
    """One signature line without its line feed; `BadSignatureLine` when it is malformed."""
    found = _LINE.fullmatch(line)
    try:
        if not found:
            raise ValueError("it is not em dash, name, base64")
        check_name(found[1])
        blob = unbase64(found[2])
        if len(blob) <= _KEY_ID_BYTES:
            raise ValueError("it holds no signature")
    except ValueError as error:
        raise BadSignatureLine(f"a signature line is malformed: {error}") from None
    return Signature(found[1], blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def verify_note(note: Note, verifiers: Iterable[Verifier]) -> tuple[Signature, ...]:
    """The signatures by known keys, the first of each; `NotProven` when one is bad or there is none."""
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    good: dict[tuple[str, bytes], Signature] = {}
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key not in known or key in good:
            continue
        if not known[key].verify(note.text, signature.signature):
            raise NotProven(f"the signature of {signature.name} ({signature.key_id.hex()}) is not good")
        good[key] = signature
    if not good:
        raise _no_known_key(note, {name for name, _ in known})
    return tuple(good.values())


def _no_known_key(note: Note, names: set[str]) -> NotProven:
    """Why no signature counts: whoever holds the keys of before a rotation is not to take the log for a forger."""
    because = "the note has no signature of a known key"
    foreign = next((signature for signature in note.signatures if signature.name in names), None)
    if foreign is None:
        return NotProven(because)
    return OtherKeys(
        f"{because}: in the name of {foreign.name} it is signed by the key {foreign.key_id.hex()}, which is none of "
        "those that you hold. Either it is forged, or the keys were changed since you were given yours"
    )


def unbase64(text: str) -> bytes:
    """The bytes of canonical standard base64 with padding; ValueError for anything else."""
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text:
        raise ValueError("the base64 is not in its canonical form")
    return data


def ed25519_verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the signature is good; False, not an exception, when it is not."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _encodes(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
