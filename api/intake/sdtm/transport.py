"""SAS transport files (XPORT versions 5 and 8), framed: where each data set and each row begins and ends.

`pyreadstat` decodes the values; it takes a file that was cut short for a shorter one, reads a second data set
as rows of the first, and fills missing rows up. So the frames are checked here, before anything is recorded:

 - the file is a transport file, a whole number of 80-byte records, with columns and rows where they must be;
 - nothing but padding follows the last row; version 8 states the number of rows, and they are all there;
 - every row is exactly its bytes, so that its digest can be checked with any tool.

Source: SAS TS-140, "The Record Layout of a Data Set in SAS Transport (XPORT) Format", versions 5/6 and 8/9.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyreadstat

from api.intake.errors import UnreadableInput

RECORD = 80
"""Bytes of one record of a transport file."""
BLOCK = RECORD * 12_800
"""Bytes read at once, about 1 MB: a whole number of records."""
MAX_HEADER = RECORD * 40_000
"""Bytes from a data set's header to its first row: 20,000 columns, many more than SAS itself allows."""
MAX_ROW = 4_000_000
"""Bytes of one row: a few hundred columns of the longest text that version 8 allows."""
BYTES_AS_CHARACTERS = "ISO-8859-1"
"""Every byte becomes the character of its number, and so comes back: the real encoding is found per value."""

_LIBRARY = (b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!", b"HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!")
_MEMBER = (b"HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!", b"HEADER RECORD*******MEMBV8  HEADER RECORD!!!!!!!")
_COLUMNS = (b"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!", b"HEADER RECORD*******NAMSTV8 HEADER RECORD!!!!!!!")
_ROWS = (b"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!", b"HEADER RECORD*******OBSV8   HEADER RECORD!!!!!!!")
_TITLE = len(_ROWS[0])
_LIBRARY_BYTES = 3 * RECORD
_NUMERIC, _TEXT = 1, 2

_AGAIN = (
    "Ask for the file again, as a SAS transport file (XPORT version 5 or 8), or, unless DM is in it, take it out of "
    "the folder"
)


class Column(NamedTuple):
    """A column: `position` and `length` are bytes within a row."""

    name: str
    numeric: bool
    length: int
    position: int

    def cut(self, row: bytes) -> bytes:
        """This column's bytes of a row."""
        return row[self.position : self.position + self.length]


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set in a transport file; `start` is the offset of its first row.

    `header` is what precedes the rows, so that header and any run of rows are a transport file of their own.
    """

    path: Path
    name: str
    identifier: str
    member: int
    digest: str
    columns: tuple[Column, ...]
    header: bytes
    start: int
    rows: int
    row_length: int

    def column(self, name: str) -> Column | None:
        """A column by its name in upper case."""
        return next((column for column in self.columns if column.name == name), None)

    def read(self, first: int, count: int) -> list[bytes]:
        """The bytes of `count` rows from row `first` (from 0)."""
        length = self.row_length
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + first * length)
                data = file.read(count * length)
        except OSError as error:
            raise UnreadableInput(self.path.name, f"it cannot be read ({error.strerror})", _AGAIN) from None
        if len(data) != count * length:
            raise UnreadableInput(self.path.name, "it became shorter while it was read", _AGAIN)
        return [data[i : i + length] for i in range(0, len(data), length)]

    def blocks(self) -> Iterator[tuple[int, list[bytes]]]:
        """All rows, with bounded memory: number of the first row (from 0), then rows."""
        step = max(1, BLOCK // self.row_length)
        for first in range(0, self.rows, step):
            yield first, self.read(first, min(step, self.rows - first))

    def decode(self, rows: Sequence[bytes]) -> tuple[list[list[Any]], list[str | None]]:
        """Values column by column (text, float or None), and each column's SAS format.

        Numbers with a format of dates stay numbers; text has one character a byte (BYTES_AS_CHARACTERS).
        """
        body = b"".join(rows)
        text = self.header[:-RECORD] + _row_header(self.header[-RECORD:], len(rows)) + body
        try:
            found, about = pyreadstat.read_xport(
                io.BytesIO(text + b" " * (-len(text) % RECORD)),
                encoding=BYTES_AS_CHARACTERS,
                output_format="dict",
                disable_datetime_conversion=True,
            )
        except Exception as error:  # the reader is C code with error types of its own
            raise UnreadableInput(self.path.name, f"it cannot be decoded ({error})", _AGAIN) from None
        columns = [list(values) for values in found.values()]
        if len(columns) != len(self.columns):
            raise UnreadableInput(self.path.name, "two of its columns have the same name", _AGAIN)
        for column, values in zip(self.columns, columns, strict=True):
            # Blank rows at the end look like padding to the reader.
            values.extend([None if column.numeric else ""] * (len(rows) - len(values)))
        formats = [about.original_variable_types.get(name) for name in found]
        return columns, formats


def _row_header(record: bytes, rows: int) -> bytes:
    """The record before the rows; version 8 states their number there."""
    if not record.startswith(_ROWS[1]):
        return record
    return _ROWS[1] + f"{rows:>15}".encode() + b" " * (RECORD - _TITLE - 15)


def data_sets(path: Path) -> list[DataSet]:
    """The data sets of a transport file, framed and checked; raises UnreadableInput."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _framed(path, file, size)
    except OSError as error:
        raise UnreadableInput(path.name, f"it cannot be read ({error.strerror})", _AGAIN) from None


def _framed(path: Path, file: io.BufferedReader, size: int) -> list[DataSet]:
    library = file.read(_LIBRARY_BYTES)
    _check_kind(path, library, size)
    digest = hashlib.sha256(library)
    members = []
    offset = len(library)
    while block := file.read(BLOCK):
        digest.update(block)
        members += [offset + at for at in _found(block)]
        offset += len(block)
    if size % RECORD or offset != size:
        raise UnreadableInput(path.name, f"it ends within a record, so it was cut short ({size:,} bytes)", _AGAIN)
    if not members or members[0] != _LIBRARY_BYTES:
        raise UnreadableInput(path.name, "it holds no data set", _AGAIN)
    ends = [*members[1:], size]
    return [
        _data_set(path, file, library, (start, end), (number, len(members)), digest.hexdigest())
        for number, (start, end) in enumerate(zip(members, ends, strict=True))
    ]


def _check_kind(path: Path, library: bytes, size: int) -> None:
    if size == 0:
        raise UnreadableInput(path.name, "it is empty", _AGAIN)
    if library.startswith(b"**COMPRESSED**"):
        raise UnreadableInput(
            path.name,
            "it is a SAS CPORT file, which only SAS reads",
            "Have it written by the XPORT engine (LIBNAME ... XPORT) instead of PROC CPORT",
        )
    if not library.startswith(_LIBRARY):
        seen = library[:40].decode("ascii", "backslashreplace")
        raise UnreadableInput(path.name, f"it is no SAS transport file; it begins with {seen!r}", _AGAIN)


def _found(block: bytes) -> list[int]:
    """Offsets of data set headers in a block; they stand at the beginning of a record."""
    places = []
    for title in _MEMBER:
        at = block.find(title)
        while at >= 0:
            if at % RECORD == 0:
                places.append(at)
            at = block.find(title, at + 1)
    return sorted(places)


def _data_set(
    path: Path, file: io.BufferedReader, library: bytes, span: tuple[int, int], member: tuple[int, int], digest: str
) -> DataSet:
    start, end = span
    file.seek(start)
    head = file.read(min(end - start, MAX_HEADER))
    at = _row_title(path, head)
    name = head[2 * RECORD + 8 : 2 * RECORD + 40].split(b"SASDATA")[0].decode("ascii", "replace").strip()
    columns = _columns(path, head[:at])
    length = max(column.position + column.length for column in columns)
    first = start + at + RECORD
    rows = _count(path, file, head[at : at + RECORD], (first, end), length)
    identifier = path.name if member[1] == 1 else f"{path.name}/{name}"
    header = library + head[: at + RECORD]
    return DataSet(path, name, identifier, member[0], digest, columns, header, first, rows, length)


def _row_title(path: Path, head: bytes) -> int:
    for at in range(0, len(head), RECORD):
        if head.startswith(_ROWS, at):
            return at
    raise UnreadableInput(path.name, "its header ends before the rows begin, so it was cut short", _AGAIN)


def _columns(path: Path, head: bytes) -> tuple[Column, ...]:
    at = next((i for i in range(0, len(head), RECORD) if head.startswith(_COLUMNS, i)), None)
    number = head[at + _TITLE : at + _TITLE + 10] if at is not None else b""
    size = head[RECORD - 6 : RECORD - 2]
    if at is None or not number.isdigit() or size not in (b"0140", b"0136") or int(number) == 0:
        raise UnreadableInput(path.name, "its header names no columns", _AGAIN)
    first = at + RECORD
    entries = [head[first + i * int(size) : first + (i + 1) * int(size)] for i in range(int(number))]
    if len(entries[-1]) != int(size):
        raise UnreadableInput(path.name, "its list of columns is cut short", _AGAIN)
    long_names = head.startswith(_COLUMNS[1], at)
    columns = tuple(_column(entry, place, long_names) for place, entry in enumerate(entries, start=1))
    reach = 0
    for column in sorted(columns, key=lambda column: column.position):
        sound = column.length > 0 and (not column.numeric or 2 <= column.length <= 8)
        if not sound or column.position < reach or "\0" in column.name:
            because = f"its column {column.name!r} has an impossible name or place in the row"
            raise UnreadableInput(path.name, because, _AGAIN)
        reach = column.position + column.length
    if reach > MAX_ROW:
        raise UnreadableInput(path.name, f"its rows have {reach:,} bytes; more than {MAX_ROW:,} are not read", _AGAIN)
    twice = {column.name for column in columns if [c.name for c in columns].count(column.name) > 1}
    if twice:
        raise UnreadableInput(path.name, f"the column {min(twice)} stands in it twice", _AGAIN)
    return columns


def _column(entry: bytes, place: int, long_names: bool) -> Column:
    kind, _, length = struct.unpack(">hhh", entry[:6])
    (position,) = struct.unpack(">i", entry[84:88])
    raw = entry[88:120].strip(b" \0") if long_names else b""
    name = (raw or entry[8:16].strip(b" \0")).decode(BYTES_AS_CHARACTERS)
    known = kind in (_NUMERIC, _TEXT)
    return Column(name.upper() or f"COLUMN{place}", kind == _NUMERIC, length if known else 0, position)


def _count(path: Path, file: io.BufferedReader, title: bytes, span: tuple[int, int], length: int) -> int:
    first, end = span
    stated = title[_TITLE : _TITLE + 15].strip()
    rows, rest = divmod(end - first, length)
    if title.startswith(_ROWS[1]) and stated.isdigit():
        if int(stated) > rows:
            raise UnreadableInput(path.name, f"it states {int(stated):,} rows and holds {rows:,}: cut short", _AGAIN)
        rows, rest = int(stated), end - first - int(stated) * length
    else:
        while rows and rest + length < RECORD and not _tail(file, end, rest + length):
            rows, rest = rows - 1, rest + length
    if rest >= RECORD or _tail(file, end, rest):
        because = "what follows its last whole row is no padding, so it was cut short or changed"
        raise UnreadableInput(path.name, because, _AGAIN)
    return rows


def _tail(file: io.BufferedReader, end: int, count: int) -> bytes:
    """What the last `count` bytes before `end` hold besides padding."""
    file.seek(end - count)
    return file.read(count).strip(b" \0")
