"""The evidence bundle, `trial-ledger-evidence/1`: names, order and lines of its members; made and opened.

FORMAT.md describes it byte for byte; whoever writes a bundle and whoever verifies one take every constant from
here. A bundle is a zip (`zipform.py`) of the members that `section` knows, in the order of `sort_key`.
`open_bundle` looks at the container and the names alone; what members say is for the procedure to check.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from ledger.merkle.note import NOTE_LIMIT
from ledger.merkle.tiles import TILE_BYTES, WIDTH, parse_tile_path, tile_path, tile_width
from ledger.merkle.tree import ENTRY_LIMIT
from ledger.signing.encoding import b64url
from ledger.signing.keys import Signer
from ledger.verify import zipform
from ledger.verify.zipform import PIECE_BYTES, Member, Refused, Unreadable

__all__ = ["FORMAT", "Bundle", "Refused", "Unreadable", "open_bundle", "write_zip"]

FORMAT = "trial-ledger-evidence/1"

README, MANIFEST, MANIFEST_JWS, POLICY = "README.txt", "MANIFEST.json", "MANIFEST.jws", "policy.txt"
CHECKPOINT, CHECKPOINTS = "log/checkpoint", "log/checkpoints.ndjson"
WITHHELD, TIMESTAMPS = "withheld.ndjson", "timestamps.json"

JWS_TYPE = "trial-evidence-manifest+jws"

OTHER_SUBJECT = "other subject"

GROUNDS: Mapping[str, str] = {
    OTHER_SUBJECT: "the bundle is about one subject, and the field belongs to another",
    "outside the request": "the field was not asked for",
    "outside the recipient's rights": "the recipient may not read the field",
    "identity": "the field would identify a person",
    "blinding": "the field would break the blinding of the study",
}
"""Why a disclosure may be withheld: a fixed vocabulary, because free text could itself disclose."""

ALWAYS = (README, MANIFEST, MANIFEST_JWS, POLICY, CHECKPOINT, CHECKPOINTS, WITHHELD, TIMESTAMPS)
"""Members of every bundle, some of which may be empty; tiles follow from the size."""

SMALL_LIMIT = 1 << 20
"""Bytes of the README, the policy and the signature of the manifest."""
MANIFEST_LIMIT = 256 << 20
"""Bytes: some 150 a member."""
DISCLOSURES_LIMIT = 80 << 20
"""Bytes of the disclosures of 256 entries: each statement has at most 256 KiB."""
TOKEN_LIMIT = 64 << 10
"""Bytes of an RFC 3161 token; one with its certificates has about 6,000."""
LINE_LIMIT = 2 * NOTE_LIMIT
"""Bytes of a line: the longest holds a note as a JSON string."""
PROJECTION_LIMIT = 1 << 31
"""Bytes of a projection's rows."""

_SECTIONS = (
    *(README, MANIFEST, MANIFEST_JWS, POLICY, CHECKPOINT, "log/tile", "log/tile/entries", CHECKPOINTS),
    *("disclosures", WITHHELD, "timestamps", TIMESTAMPS, "projections"),
)
_LIMITS = {
    MANIFEST: MANIFEST_LIMIT,
    CHECKPOINT: NOTE_LIMIT,
    "log/tile": TILE_BYTES,
    "log/tile/entries": WIDTH * (2 + ENTRY_LIMIT),
    CHECKPOINTS: zipform.MEMBER_LIMIT,
    "disclosures": DISCLOSURES_LIMIT,
    WITHHELD: zipform.MEMBER_LIMIT,
    "timestamps": TOKEN_LIMIT,
    TIMESTAMPS: MANIFEST_LIMIT,
    "projections": PROJECTION_LIMIT,
}
_TOKEN = re.compile(r"timestamps/(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,5})\.tsr")
_PROJECTION = re.compile(r"projections/([a-z][a-z0-9_]{0,62})\.json")
_DISCLOSURES = re.compile(r"disclosures/((?:x[0-9]{3}/)*[0-9]{3})\.ndjson")
_DISCLOSURES_LINE = re.compile(rb'\{"index":(0|[1-9][0-9]{0,18}),"disclosures":\["([A-Za-z0-9_"\-,]+)"\]\}\n')
_PART = re.compile(rb"[A-Za-z0-9_-]+")


# -- names ------------------------------------------------------------------------------------------------------


def sort_key(path: str) -> tuple[int, tuple[int, ...], str]:
    """What members are sorted by; `Refused` for a name that the format does not know."""
    if path in ALWAYS:
        return _SECTIONS.index(path), (), ""
    name, numbers, text = _place(path)
    return _SECTIONS.index(name), numbers, text


def section(path: str) -> str:
    """Which part of a bundle a member belongs to, as `_LIMITS` and FORMAT.md name it."""
    return _SECTIONS[sort_key(path)[0]]


def _place(path: str) -> tuple[str, tuple[int, ...], str]:
    if path.startswith("log/tile/"):
        try:
            level, n, width = parse_tile_path(path.removeprefix("log/"))
        except ValueError:
            raise Refused(f"{path!r} is not the name of a tile") from None
        if isinstance(level, str):
            return "log/tile/entries", (n, width), ""
        return "log/tile", (level, n, width), ""
    if found := _DISCLOSURES.fullmatch(path):
        n = int(found[1].replace("x", "").replace("/", ""))
        if disclosures_path(n) == path:
            return "disclosures", (n,), ""
    if found := _TOKEN.fullmatch(path):
        return "timestamps", (int(found[1]), int(found[2])), ""
    if found := _PROJECTION.fullmatch(path):
        return "projections", (), found[1]
    raise Refused(f"{path[:120]!r} is no member of an evidence bundle")


def log_path(level: int | str, n: int, width: int = WIDTH) -> str:
    """`log/tile/...` of a hash tile or (level `entries`) an entry bundle."""
    return f"log/{tile_path(level, n, width)}"


def tiles_of(size: int) -> Iterator[tuple[int | str, int, int]]:
    """(level, n, width) of every tile and entry bundle of a log of `size` entries, in the order of the members."""
    level = 0
    while size >> 8 * level:
        for n in range((size >> 8 * level) + WIDTH - 1 >> 8):
            yield level, n, tile_width(level, n, size)
        level += 1
    for n in range(size + WIDTH - 1 >> 8):
        yield "entries", n, tile_width(0, n, size)


def disclosures_path(n: int) -> str:
    """Where the disclosures of entry bundle n stand: the number is written as in its path, without a width."""
    return f"disclosures/{tile_path('entries', n).removeprefix('tile/entries/')}.ndjson"


def token_path(size: int, number: int) -> str:
    """Where an RFC 3161 token over the checkpoint of `size` entries stands; `number` counts from 0."""
    return f"timestamps/{size}-{number}.tsr"


# -- lines ------------------------------------------------------------------------------------------------------


def canonical_json(value: Any) -> bytes:
    """UTF-8, keys sorted, no spaces, no line feed at the end."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def checkpoint_line(note: str) -> bytes:
    """A line of `log/checkpoints.ndjson`: a full note as a JSON string."""
    return canonical_json(note) + b"\n"


def disclosures_line(index: int, disclosures: Sequence[str]) -> bytes:
    """A line of `disclosures/`: the disclosures of an entry that are present, in their order in the statement."""
    listed = '","'.join(disclosures)
    return f'{{"index":{index},"disclosures":["{listed}"]}}\n'.encode("ascii")


def withheld_line(index: int, digests: Sequence[str], ground: str) -> bytes:
    """A line of `withheld.ndjson`; `ground` is one of `GROUNDS`, the digests are sorted."""
    if ground not in GROUNDS:
        raise ValueError(f"{ground!r} is no ground for withholding; use one of: {', '.join(GROUNDS)}")
    listed = json.dumps(sorted(digests), separators=(",", ":"))
    return f'{{"index":{index},"digests":{listed},"ground":{json.dumps(ground)}}}\n'.encode("ascii")


def read_disclosures_line(line: bytes) -> tuple[int, list[bytes]]:
    """Index and disclosures of a line; ValueError unless `disclosures_line` gives the same bytes."""
    found = _DISCLOSURES_LINE.fullmatch(line)
    parts = found[2].split(b'","') if found else []
    if not found or b'"' in b"".join(parts) or not all(map(_PART.fullmatch, parts)):
        raise ValueError('a line is not {"index":...,"disclosures":["..."]}')
    return int(found[1]), parts


def read_withheld_line(line: bytes) -> tuple[int, list[str], str]:
    """Index, digests and ground of a line; ValueError unless `withheld_line` gives the same bytes."""
    try:
        value = json.loads(line)
        index, digests, ground = value["index"], value["digests"], value["ground"]
        again = withheld_line(index, digests, ground)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('a line is not {"index":...,"digests":["..."],"ground":"..."} with a known ground') from None
    if again != line or type(index) is not int or index < 0 or not digests or len(set(digests)) != len(digests):
        raise ValueError("a line of withheld disclosures is not in its one form")
    return index, digests, ground


def read_checkpoint_line(line: bytes) -> bytes:
    """The note of a line; ValueError unless `checkpoint_line` gives the same bytes."""
    try:
        note = json.loads(line)
        if type(note) is not str or checkpoint_line(note) != line:
            raise ValueError
        return note.encode()
    except (ValueError, RecursionError):
        raise ValueError("a line is no checkpoint as a JSON string") from None


# -- manifest ---------------------------------------------------------------------------------------------------


def manifest_bytes(facts: Mapping[str, Any], files: Iterable[tuple[str, int, str]]) -> bytes:
    """`MANIFEST.json`. `facts`: study, origin, size, root (base64, as in the checkpoint), as_of, subject;
    `files`: path, bytes and hexadecimal SHA-256 of every other member but MANIFEST.jws, in their order."""
    listed = [{"path": path, "size": size, "sha256": digest} for path, size, digest in files]
    return canonical_json({"format": FORMAT, **facts, "files": listed}) + b"\n"


def sign_manifest(manifest: bytes, signer: Signer) -> bytes:
    """`MANIFEST.jws`: a detached JWS (RFC 7515 appendix F) by the key of the actor `ledger`, and a line feed."""
    header = b64url(canonical_json({"typ": JWS_TYPE, "alg": signer.alg, "kid": signer.kid}))
    signature = signer.sign(f"{header}.{b64url(manifest)}".encode("ascii"))
    return f"{header}..{b64url(signature)}\n".encode("ascii")


def digest_of(content: bytes | Path) -> tuple[int, str]:
    """Bytes and hexadecimal SHA-256 of a member, as the manifest states them."""
    if isinstance(content, bytes):
        return len(content), sha256(content).hexdigest()
    size, digest = 0, sha256()
    with content.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()


# -- the file ---------------------------------------------------------------------------------------------------


def write_zip(target: Path | str | BinaryIO, members: Iterable[tuple[str, bytes | Path]]) -> None:
    """Write a bundle; ValueError when members are unknown, twice, or not in the order of the format.

    A Path as content stands for that file's bytes, so that nobody has to hold a large member in memory.
    """
    if isinstance(target, (str, Path)):
        with open(target, "wb") as file:
            zipform.write(file, _in_order(members))
    else:
        zipform.write(target, _in_order(members))


def _in_order(members: Iterable[tuple[str, bytes | Path]]) -> Iterator[tuple[str, bytes | Path]]:
    last: tuple[int, tuple[int, ...], str] | None = None
    for path, content in members:
        try:
            key = sort_key(path)
        except Refused as wrong:
            raise ValueError(str(wrong)) from None
        if last is not None and key <= last:
            raise ValueError(f"{path} does not belong behind the member before it")
        last = key
        yield path, content


@dataclass(slots=True)
class Bundle:
    """An opened bundle: its members by name, in their order. Reads as asked, keeps nothing in memory.

    `plain`: the container is byte for byte as the format writes it. `ordered`: the members stand in its order.
    Not for several threads at once; pickling it gives another process its own file handle.
    """

    path: str
    members: dict[str, Member]
    plain: bool
    ordered: bool
    _file: BinaryIO | None = None

    def __contains__(self, path: str) -> bool:
        return path in self.members

    def paths(self, name: str) -> list[str]:
        """The members of a section, in their order."""
        return [path for path in self.members if section(path) == name]

    def read(self, path: str) -> bytes:
        """A member's bytes; KeyError when it is not there, `Unreadable` when the file gives fewer."""
        member = self.members[path]
        return b"".join(self._pieces(member)) if member.size > PIECE_BYTES else self._at(member.offset, member.size)

    def lines(self, path: str) -> Iterator[bytes]:
        """A member's lines with their line feeds; ValueError when one is longer than `LINE_LIMIT`."""
        rest = b""
        for piece in self._pieces(self.members[path]):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) > LINE_LIMIT:
                raise ValueError(f"a line of {path} is longer than {LINE_LIMIT} bytes")
        if rest:
            yield rest

    def digest(self, path: str) -> tuple[str, bool]:
        """Hexadecimal SHA-256 of a member, and whether its CRC-32 is the one in the zip's own header."""
        member, found, crc = self.members[path], sha256(), 0
        for piece in self._pieces(member):
            found.update(piece)
            crc = crc32(piece, crc)
        return found.hexdigest(), crc == member.crc

    def _pieces(self, member: Member) -> Iterator[bytes]:
        for at in range(0, member.size, PIECE_BYTES):
            yield self._at(member.offset + at, min(PIECE_BYTES, member.size - at))

    def _at(self, offset: int, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = open(self.path, "rb")
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read ({error.strerror or error})") from None
        if len(data) != size:
            raise Unreadable(f"{self.path} became shorter while it was read")
        return data

    def close(self) -> None:
        """Give the file back; reading opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reopened(self) -> Bundle:
        """The same bundle with a file handle of its own."""
        return Bundle(self.path, self.members, self.plain, self.ordered)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bundle, (self.path, self.members, self.plain, self.ordered)

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_bundle(path: Path | str) -> Bundle:
    """Open a bundle; `Unreadable` when there is no zip file to read, `Refused` when it is not of the format."""
    try:
        with open(path, "rb") as file:
            members, plain = zipform.read_directory(file)
    except OSError as error:
        raise Unreadable(f"{os.fspath(path)} cannot be read ({error.strerror or error})") from None
    if not members:
        raise Refused("the zip file is empty")
    keys = [sort_key(member.path) for member in members]
    for member, key in zip(members, keys, strict=True):
        limit = _LIMITS.get(_SECTIONS[key[0]], SMALL_LIMIT)
        if member.size > limit:
            raise Refused(f"{member.path} has {member.size} bytes; the format allows {limit}")
    found = {member.path: member for member in members}
    return Bundle(os.fspath(path), found, plain, keys == sorted(keys))
