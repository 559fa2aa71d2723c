"""Rows of a data set as text: each cell that is not empty, by its column's name in upper case.

- text stays as it is, trailing blanks apart; bytes are read as UTF-8, else WINDOWS-1252, else one character each;
- a number is written exactly as the source can mean it, 15 significant digits, without exponent where it fits;
- a number with a SAS format of dates or times is written in ISO 8601, without a zone, because it has none;
- a special missing value (.A to .Z, ._) says why something is missing: it stays as it is written;
- nothing is filled in.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from api.intake.sdtm.transport import BYTES_AS_CHARACTERS, Column, DataSet
from ledger.signing.encoding import b64url

_EPOCH = datetime(1960, 1, 1)
_EXACT = 2.0**53
_LONGEST_EXPONENT = 18  # digits before or after the point that are still written out

_VARIANTS = "[BCDNPS]?"
_DATE = re.compile(
    rf"(?:E8601DA|B8601DA|IS8601DA|DATE|DAY|DDMMYY{_VARIANTS}|MMDDYY{_VARIANTS}|YYMMDD{_VARIANTS}|MMYY{_VARIANTS}"
    rf"|YYMM{_VARIANTS}|YYMON|MONYY|MONTH|MONNAME|YEAR|YYQ{_VARIANTS}|QTR|JULIAN|JULDAY|WORDDATE|WORDDATX"
    r"|WEEKDATE|WEEKDATX|WEEKDAY|DOWNAME|NENGO|WEEK[UVW])[\d.]*"
)
_MOMENT = re.compile(
    r"(?:E8601DT|B8601DT|IS8601DT|E8601DN|B8601DN|DATETIME|DATEAMPM|DTDATE|DTMONYY|DTWKDATX|DTYEAR|DTYYQC|MDYAMPM)[\d.]*"
)
_CLOCK = re.compile(r"(?:E8601TM|B8601TM|IS8601TM|TIME|TIMEAMPM|TOD|HHMM|HOUR)[\d.]*")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its number in the data set from 1, the digest of its bytes, its cells that are not empty.

    `problem` says why it cannot be read wholly.
    """

    line: int
    digest: str
    cells: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


def rows(data: DataSet, first: int, raws: Sequence[bytes]) -> list[Row]:
    """Rows of which the first has the number `first` (from 0)."""
    if not raws:
        return []
    columns, formats = data.decode(raws)
    names = [column.name for column in data.columns]
    texts = [
        _numbers(column, values, raws, shown) if column.numeric else _texts(values)
        for column, values, shown in zip(data.columns, columns, formats, strict=True)
    ]
    spans = _text_spans(data.columns)
    found = []
    for number, (raw, cells) in enumerate(zip(raws, zip(*texts, strict=True), strict=True), start=first + 1):
        kept = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        digest = b64url(hashlib.sha256(raw).digest())
        found.append(Row(number, digest, kept, _problem(data, raw, spans)))
    return found


def likeness(data: DataSet) -> Callable[[bytes], bytes]:
    """What two rows of one domain share exactly when every cell is the same, in whatever file they stand."""
    ordered = sorted(data.columns)

    def likeness_of(row: bytes) -> bytes:
        cells = ((c.name, c.cut(row).rstrip(b"\0" if c.numeric else b" \0")) for c in ordered)
        told = b"\x1e".join(name.encode() + b"\x1f" + cell for name, cell in cells if cell and cell != b".")
        return hashlib.sha256(told).digest()[:16]

    return likeness_of


def _texts(values: Sequence[str]) -> list[str]:
    return [value if value.isascii() else _decoded(value) for value in values]


@lru_cache(maxsize=4096)
def _decoded(value: str) -> str:
    data = value.encode(BYTES_AS_CHARACTERS)
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return value


def _numbers(
    column: Column, values: Sequence[float | None], raws: Sequence[bytes], shown: str | None
) -> list[str | None]:
    write = _writer(shown)
    return [
        _missing(column, raw) if value is None or not math.isfinite(value) else write(value)
        for value, raw in zip(values, raws, strict=True)
    ]


def _missing(column: Column, row: bytes) -> str | None:
    """A special missing value as SAS writes it; other bytes that are no number, as they stand."""
    cell = column.cut(row)
    if cell[1:].strip(b"\0"):
        return None if not cell.strip(b" ") else f"0x{cell.hex()}"
    letter = cell[:1]
    return None if letter in (b".", b"\0", b" ") else f".{letter.decode('ascii', 'backslashreplace')}"


def _writer(shown: str | None) -> Callable[[float], str]:
    name = (shown or "").upper()
    if _MOMENT.fullmatch(name):
        return _moment
    if _DATE.fullmatch(name):
        return _date
    if _CLOCK.fullmatch(name):
        return _clock
    return number


@lru_cache(maxsize=65_536)
def number(value: float) -> str:
    """A number as the source can mean it: SAS keeps 15 significant digits, and transport files cut, not round."""
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    text = f"{value:.15g}"
    if "e" in text and abs(Decimal(text).adjusted()) <= _LONGEST_EXPONENT:
        return f"{Decimal(text):f}"
    return text


@lru_cache(maxsize=16_384)
def _date(value: float) -> str:
    try:
        return (_EPOCH + timedelta(days=int(value))).date().isoformat() if value.is_integer() else number(value)
    except OverflowError:
        return number(value)


@lru_cache(maxsize=16_384)
def _moment(value: float) -> str:
    microseconds = Decimal(number(value)) * 1_000_000
    try:
        if microseconds != int(microseconds):
            return number(value)
        return (_EPOCH + timedelta(microseconds=int(microseconds))).isoformat()
    except OverflowError:
        return number(value)


def _clock(value: float) -> str:
    seconds = Decimal(number(value))
    if not 0 <= seconds < 24 * 3600 or seconds * 1_000_000 != int(seconds * 1_000_000):
        return number(value)
    return (_EPOCH + timedelta(microseconds=int(seconds * 1_000_000))).time().isoformat()


def _text_spans(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Where text stands in a row: runs of text columns side by side, as one span."""
    spans: list[tuple[int, int]] = []
    for column in sorted((c for c in columns if not c.numeric), key=lambda c: c.position):
        if spans and spans[-1][1] == column.position:
            spans[-1] = (spans[-1][0], column.position + column.length)
        else:
            spans.append((column.position, column.position + column.length))
    return spans


def _problem(data: DataSet, raw: bytes, spans: Sequence[tuple[int, int]]) -> str | None:
    if not raw.strip(b" "):
        return "the row is blank"
    if not any(b"\0" in raw[start:end] for start, end in spans):
        return None
    for column in data.columns:
        if not column.numeric and b"\0" in column.cut(raw).rstrip(b" \0"):
            return f"the text in {column.name} holds a NUL character, which no reader shows"
    return None
