"""The container of a bundle: a zip whose bytes follow from its members alone, and a reader that trusts nothing.

Written: every member STORED, dated 1980-01-01, mode 0644, without extra fields or comments, one behind the
other from the first byte on, so that the same members give the same bytes on any machine. Zip64 records stand
only where a number does not fit otherwise.

Read: refused is whatever two zip readers could see differently, or what could harm: compressed or encrypted
members, names twice, data between members, a local header that says something else than the directory. Other
dates and attributes are accepted (`plain` is then False): they say nothing about what is inside.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

MEMBER_LIMIT = 2**32 - 2
"""Bytes of one member: sizes then fit a zip header without extra fields."""

NAME_LIMIT = 200
"""Bytes of a member's name; the longest of the format has about 60."""

MEMBERS_LIMIT = 2_000_000
"""Members: a log of 150 million entries."""

PIECE_BYTES = 1 << 20
"""How much is read or written at once."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64_MARK, _LOCATOR64_MARK = b"PK\x06\x06", b"PK\x06\x07"

_VERSION, _VERSION64 = 20, 45
_MADE_BY = 3 << 8 | _VERSION
_DATE = 1 << 5 | 1  # 1980-01-01, the first day that a zip can name
_MODE = 0o100644 << 16
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_UTF8, _ENCRYPTED = 0x800, 0x1


class Unreadable(Exception):
    """The file cannot be read, or is no zip file: nothing about what it should hold can be decided."""


class Refused(Exception):
    """The zip file is not one of the format: nothing in it is believed."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member's bytes lie in the file, and the CRC-32 that its header states."""

    path: str
    offset: int
    size: int
    crc: int


def write(target: BinaryIO, members: Iterable[tuple[str, bytes | Path]]) -> None:
    """Write a zip of these members in this order; a Path stands for that file's bytes. ValueError past a limit."""
    directory: list[bytes] = []
    at = 0
    for path, content in members:
        name = path.encode("ascii")
        size, crc = _measure(content)
        if size > MEMBER_LIMIT or not 1 <= len(name) <= NAME_LIMIT:
            raise ValueError(f"{path[:80]} has {size} bytes: a member's name or size is past the limit")
        target.write(_LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name)
        _copy(content, size, target)
        directory.append(_central(name, crc, size, at))
        at += _LOCAL.size + len(name) + size
    listing = b"".join(directory)
    target.write(listing + _end(len(directory), len(listing), at))


def _central(name: bytes, crc: int, size: int, at: int) -> bytes:
    far = at >= _MAX32
    extra = struct.pack("<2HQ", 1, 8, at) if far else b""
    version = _VERSION64 if far else _VERSION
    where = _MAX32 if far else at
    head = (_CENTRAL_MARK, _MADE_BY, version, 0, 0, 0, _DATE, crc, size, size)
    return _CENTRAL.pack(*head, len(name), len(extra), 0, 0, 0, _MODE, where) + name + extra


def _end(count: int, length: int, at: int) -> bytes:
    short = (min(count, _MAX16), min(count, _MAX16), min(length, _MAX32), min(at, _MAX32))
    end = _END.pack(_END_MARK, 0, 0, *short, 0)
    if count < _MAX16 and length < _MAX32 and at < _MAX32:
        return end
    large = _END64.pack(_END64_MARK, _END64.size - 12, _MADE_BY, _VERSION64, 0, 0, count, count, length, at)
    return large + _LOCATOR64.pack(_LOCATOR64_MARK, 0, at + length, 1) + end


def _measure(content: bytes | Path) -> tuple[int, int]:
    if isinstance(content, bytes):
        return len(content), crc32(content)
    size = crc = 0
    with content.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            size, crc = size + len(piece), crc32(piece, crc)
    return size, crc


def _copy(content: bytes | Path, size: int, target: BinaryIO) -> None:
    if isinstance(content, bytes):
        target.write(content)
        return
    written = 0
    with content.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            target.write(piece)
            written += len(piece)
    if written != size:
        raise ValueError(f"{content.name} changed while it was written")


def read_directory(file: BinaryIO) -> tuple[list[Member], bool]:
    """The members in their order, and whether the container is exactly as `write` makes it.

    `Unreadable` for what is no whole zip file, `Refused` for a zip that is not of the format.
    """
    length = file.seek(0, 2)
    count, listing, start = _find_directory(file, length)
    members: list[Member] = []
    seen: set[str] = set()
    plain, at, expected = True, 0, 0
    for _ in range(count):
        member, as_written, at = _read_entry(listing, at)
        if member.path in seen:
            raise Refused(f"the name {member.path!r} occurs twice")
        seen.add(member.path)
        data, as_local = _check_local(file, member, expected)
        expected = data + member.size
        members.append(Member(member.path, data, member.size, member.crc))
        plain = plain and as_written and as_local
    if at != len(listing) or expected != start:
        raise Refused("there are bytes between the members, or behind them, that no member accounts for")
    return members, plain


def _find_directory(file: BinaryIO, length: int) -> tuple[int, bytes, int]:
    """Number of members, the directory's bytes, and where it begins."""
    if _at(file, 0, 4) not in (_LOCAL_MARK, _END_MARK):
        raise Unreadable("it does not begin like a zip file")
    tail = _at(file, length - _END.size, _END.size)
    if len(tail) < _END.size or tail[:4] != _END_MARK:
        raise Unreadable(
            "the end of the zip file is missing, or something follows it: the file is cut short or damaged"
        )
    _, disk, disk_start, here, count, size, start, comment = _END.unpack(tail)
    end = length - _END.size
    if comment or disk or disk_start or here != count:
        raise Refused("the zip file has a comment or several parts")
    if count == _MAX16 or _MAX32 in (size, start):
        count, size, start, end = _large_directory(file, end)
    if count > MEMBERS_LIMIT or start + size != end:
        raise Refused("the directory of the zip file does not lie where its end says")
    return count, _at(file, start, size), start


def _large_directory(file: BinaryIO, end: int) -> tuple[int, int, int, int]:
    locator = _at(file, end - _LOCATOR64.size, _LOCATOR64.size)
    where = end - _LOCATOR64.size - _END64.size
    if len(locator) < _LOCATOR64.size or locator != _LOCATOR64.pack(_LOCATOR64_MARK, 0, max(0, where), 1):
        raise Refused("the zip64 locator does not name the record before it")
    found = _END64.unpack(_at(file, where, _END64.size))
    mark, rest, _, _, disk, disk_start, here, count, size, start = found
    if mark != _END64_MARK or rest != _END64.size - 12 or disk or disk_start or here != count:
        raise Refused("the zip64 record is not one of a single file")
    return count, size, start, where


def _read_entry(listing: bytes, at: int) -> tuple[Member, bool, int]:
    """One entry of the directory: the member with the offset of its local header, and where the next begins."""
    head = listing[at : at + _CENTRAL.size]
    if len(head) < _CENTRAL.size or head[:4] != _CENTRAL_MARK:
        raise Refused("the directory of the zip file is cut short")
    _, made, version, flags, method, time, date, crc, size, real, names, extras, comment, disk, inner, mode, start = (
        _CENTRAL.unpack(head)
    )
    at += _CENTRAL.size
    name, extra = listing[at : at + names], listing[at + names : at + names + extras]
    path = name.decode("ascii", "replace")
    _check_method(path, flags, method)
    if len(name) < names or not 1 <= names <= NAME_LIMIT or not name.isascii():
        raise Refused(f"the name {path[:80]!r} is empty, too long or not ASCII")
    if size != real or size > MEMBER_LIMIT or comment or disk:
        raise Refused(f"{path} is stored with two sizes, a comment or in another part")
    if start == _MAX32:
        start = _far_offset(path, extra)
        extra = b""
    exact = (made, flags, time, date, inner, mode, extra) == (_MADE_BY, 0, 0, _DATE, 0, _MODE, b"")
    return Member(path, start, size, crc), exact and version in (_VERSION, _VERSION64), at + names + extras


def _check_method(path: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise Refused(f"{path[:80]} is encrypted")
    if method:
        raise Refused(
            f"{path[:80]} is compressed: members of a bundle are stored as they are, so that every byte has one form"
        )
    if flags & ~_UTF8:
        raise Refused(f"{path[:80]} has flags ({flags:#06x}) that the format does not use")


def _far_offset(path: str, extra: bytes) -> int:
    if len(extra) != 12 or struct.unpack_from("<2H", extra) != (1, 8):
        raise Refused(f"{path} lies beyond 4 GiB, and its zip64 field does not say where")
    return int.from_bytes(extra[4:], "little")


def _check_local(file: BinaryIO, member: Member, expected: int) -> tuple[int, bool]:
    """Where the member's data begin, and whether its local header is as `write` makes it. The header follows the
    member before and says what the directory says."""
    if member.offset != expected:
        raise Refused(f"{member.path} does not follow the member before it")
    head = _at(file, member.offset, _LOCAL.size)
    if len(head) < _LOCAL.size:
        raise Unreadable(f"the file ends before {member.path}")
    mark, version, flags, method, time, date, crc, size, real, names, extras = _LOCAL.unpack(head)
    _check_method(member.path, flags, method)
    name = _at(file, member.offset + _LOCAL.size, names)
    said = (mark, crc, size, real, name)
    if said != (_LOCAL_MARK, member.crc, member.size, member.size, member.path.encode("ascii")):
        raise Refused(f"the header of {member.path} says something else than the directory")
    exact = (version, flags, time, date, extras) == (_VERSION, 0, 0, _DATE, 0)
    return member.offset + _LOCAL.size + int(names) + int(extras), exact


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(size)
