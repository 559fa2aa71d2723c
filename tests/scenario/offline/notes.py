"""Signed checkpoints: C2SP signed-note, tlog-checkpoint and tlog-cosignature."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from tests.scenario.offline.tree import EMPTY, Wrong

ED25519_NOTE, ED25519_COSIGNATURE, MLDSA44_COSIGNATURE = 0x01, 0x04, 0x06
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile("\N{EM DASH} ([^ +]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint whose signatures are good, and the time (POSIX seconds) of each cosignature, by vkey."""

    origin: str
    size: int
    root: bytes
    times: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    id: bytes
    kind: int
    public: bytes


def standard(text: str) -> bytes:
    """The bytes of standard base64, which must be written as the encoder writes it."""
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong(f"{text[:40]!r} is not base64") from error
    if b64encode(data).decode() != text:
        raise Wrong(f"{text[:40]!r} is not the base64 of its bytes")
    return data


def decimal(text: str) -> int:
    """A number without sign, space or leading zero."""
    if not _DECIMAL.fullmatch(text):
        raise Wrong(f"{text[:40]!r} is not a decimal number")
    return int(text)


def open_checkpoint(note: str | bytes, log_key: str, *also: str, origin: str | None = None) -> Checked:
    """A checkpoint signed by the log's key and by each of the keys `also`, all as name+id+base64.

    The origin is the name of the log's key, unless another is given. Lines of keys that are not named are passed
    over, as the specification demands: they may be missing, added or changed without any effect here.
    """
    text, lines = _divided(note)
    keys = [_key(log_key), *map(_key, also)]
    if keys[0].kind != ED25519_NOTE:
        raise Wrong("a log signs its checkpoints with an Ed25519 key of type 0x01")
    stated = _body(text)
    if stated.origin != (origin or keys[0].name):
        raise Wrong(f"this is a checkpoint of {stated.origin!r}")
    times = []
    for key, vkey in zip(keys, (log_key, *also), strict=True):
        blobs = [blob for name, id, blob in lines if (name, id) == (key.name, key.id)]
        if not blobs:
            raise Wrong(f"no signature of {key.name} ({key.id.hex()})")
        signed = [_signed(key, blob, text, stated) for blob in blobs]
        if key.kind != ED25519_NOTE:
            times.append((vkey, signed[0]))
    return replace(stated, times=tuple(times))


def stated_by(note: str | bytes) -> Checked:
    """What a note states of a log, no signature verified: it shows nothing yet."""
    return _body(_divided(note)[0])


def _divided(note: str | bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """The signed text, and name, key id and signature of each line."""
    try:
        whole = note if isinstance(note, str) else note.decode()
    except UnicodeDecodeError as error:
        raise Wrong("the note is not UTF-8") from error
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n") or _CONTROL.search(whole):
        raise Wrong("this is not a text, an empty line and signatures")
    found = []
    for line in lines[:-1].split("\n"):
        parts = _LINE.fullmatch(line)
        if parts is None or any(character.isspace() for character in parts[1]):
            raise Wrong(f"{line[:60]!r} is not a signature line")
        blob = standard(parts[2])
        if len(blob) < 5:
            raise Wrong("a signature line holds no signature")
        found.append((parts[1], blob[:4], blob[4:]))
    return f"{text}\n".encode(), found


def _body(text: bytes) -> Checked:
    lines = text.decode().split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise Wrong("a checkpoint has three lines: origin, size, root")
    size, root = decimal(lines[1]), standard(lines[2])
    if len(root) != 32 or (size == 0 and root != EMPTY):
        raise Wrong("this is no root of such a tree")
    return Checked(lines[0], size, root)


def _key(vkey: str) -> _Key:
    name, plus, rest = vkey.partition("+")
    id, _, encoded = rest.partition("+")
    material = standard(encoded)
    if not name or not plus or not material:
        raise Wrong(f"{vkey[:60]!r} is no key")
    if hashlib.sha256(name.encode() + b"\n" + material).digest()[:4].hex() != id:
        raise Wrong(f"the id in {vkey[:60]!r} is not that of the key")
    return _Key(name, bytes.fromhex(id), material[0], material[1:])


def _signed(key: _Key, blob: bytes, text: bytes, stated: Checked) -> int:
    """The time of a good signature, 0 for one without; Wrong otherwise."""
    time = int.from_bytes(blob[:8], "big")
    try:
        if key.kind == ED25519_NOTE:
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob, text)
            return 0
        if time >= 2**63:
            raise Wrong("a cosignature of no time")
        if key.kind == ED25519_COSIGNATURE:
            message = b"cosignature/v1\ntime " + str(time).encode() + b"\n" + text
            Ed25519PublicKey.from_public_bytes(key.public).verify(blob[8:], message)
        elif key.kind == MLDSA44_COSIGNATURE:
            message = b"subtree/v1\n\x00" + _counted(key.name) + time.to_bytes(8, "big") + _counted(stated.origin)
            message += bytes(8) + stated.size.to_bytes(8, "big") + stated.root
            MLDSA44PublicKey.from_public_bytes(key.public).verify(blob[8:], message)
        else:
            raise Wrong(f"a key of unknown type {key.kind}")
    except (InvalidSignature, ValueError) as error:
        raise Wrong(f"the signature of {key.name} does not stand") from error
    return time


def _counted(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()
