"""The audit trail as a page, a stream, a file: one line a data point.

Filters and order are answered by indexes, pages by keyset: a page costs the same at any length of the trail. A
reading as of size N is the lines of the indexes below N; `occurred_by` keeps the lines of what had happened by then.
Role is the one acted in; organisation the one held then.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from ledger.domain.catalogue import CATALOGUE
from projections.audit_trail import files
from projections.audit_trail.definition import STANDING
from projections.audit_trail.happened import Occurring
from projections.audit_trail.lines import COLUMNS, Lines
from projections.engine.errors import ReadingMalformed, RecordNotFound, one_of
from projections.engine.reading import Reader, moment_of
from projections.engine.rows import Asked, Where, every
from projections.naming import the_only

__all__ = ["COLUMNS", "SORTS", "Filters", "csv", "event", "history", "ndjson", "page", "rows"]

MAX_LIMIT = 1_000
"""Lines of one page: a browser still shows them at once."""

SORTS = {
    "index": (),
    "subject": ("partition",),
    "site": ("site",),
    "actor": ("iss",),
    "role": ("role",),
    "event": ("event",),
}

_STREAM_PAGE = 500
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which lines, in which order. `subject`: number or UUID; `since`, `until`: an index, a date or a time, both
    included; `reason`: text within the reason; `field`: a field, or a part of one (`items.weight`); `sort`: a name of
    SORTS, with "-" before it downwards."""

    subject: str | None = None
    site: str | None = None
    actor: str | None = None
    role: str | None = None
    event: str | None = None
    field: str | None = None
    since: str | None = None
    until: str | None = None
    reason: str | None = None
    late: bool | None = None
    sort: str = "index"


def page(reader: Reader, filters: Filters, cursor: str | None = None, limit: int = 100) -> dict[str, Any]:
    """A page of lines, and the cursor of the next; raises ReadingMalformed, SubjectNotFound,
    SubjectAmbiguous."""
    limit = max(1, min(limit, MAX_LIMIT))
    asked = _asked(reader, filters)
    skip = 0
    if cursor is not None:
        after, skip = _read_cursor(cursor, filters, len(asked.order))
        asked = asked._replace(after=after)
    found: list[dict[str, Any]] = []
    following = None
    edge = asked.after
    for entry, lines in _entries(reader, asked, filters.field, limit):
        if len(found) + len(lines) - skip > limit:
            taken = limit - len(found)
            found.extend(lines[skip : skip + taken])
            following = _cursor(filters, edge, skip + taken)
            break
        found.extend(lines[skip:])
        skip = 0
        edge = tuple(getattr(entry, name) for name in asked.order)
    return {"rows": found, "next": following, "cut": reader.cut()}


def rows(reader: Reader, filters: Filters) -> Iterator[dict[str, Any]]:
    """Every line, in order, fetched page by page inside the reader's snapshot."""
    asked = _asked(reader, filters)  # what is wrong with the filters is said at once, not when the first line is read
    return (line for _, lines in _entries(reader, asked, filters.field, _STREAM_PAGE) for line in lines)


def ndjson(reader: Reader, filters: Filters) -> Iterator[bytes]:
    """Every line as one JSON object a line."""
    return files.ndjson(rows(reader, filters))


def csv(reader: Reader, filters: Filters) -> Iterator[bytes]:
    """Every line as CSV, header first; columns as in COLUMNS."""
    return files.csv(rows(reader, filters))


def event(reader: Reader, index: int) -> dict[str, Any]:
    """The lines of one statement; raises RecordNotFound."""
    asked = Asked((Where("idx", "=", index), Where("idx", "<", reader.size)), ("idx",), limit=1)
    for _, lines in _entries(reader, asked, None, 1):
        return {"rows": lines, "sentence": lines[0]["sentence"], "cut": reader.cut()}
    raise RecordNotFound(f"index {index} is not below {reader.size}")


def history(reader: Reader, index: int, field: str | None = None) -> dict[str, Any]:
    """Everything that was ever said about one record, or about one of its fields: the entry and every act on it."""
    lines = event(reader, index)["rows"]
    acts = Asked((Where("target", "=", index), Where("idx", "<", reader.size)), ("idx",), limit=_STREAM_PAGE)
    for _, more in _entries(reader, acts, None, _STREAM_PAGE):
        lines.extend(more)
    if field is not None:
        lines = [line for line in lines if line["field"] in (field, STANDING) or line["field"].startswith(f"{field}.")]
    return {"rows": lines, "cut": reader.cut()}


# -- which entries ---------------------------------------------------------------------------------------------


def _asked(reader: Reader, filters: Filters) -> Asked:
    name = filters.sort.removeprefix("-")
    one_of("sort", filters.sort, (*SORTS, *(f"-{one}" for one in SORTS)))
    one_of("event", filters.event, (model.__name__ for model in CATALOGUE))
    where = [Where("idx", "<", reader.size)]
    each = None
    if filters.subject is not None:
        where.append(Where("partition", "=", _partition(reader, filters.subject)))
    plain = (("site", filters.site), ("iss", filters.actor), ("role", filters.role), ("event", filters.event))
    where += [Where(column, "=", value) for column, value in plain if value is not None]
    if filters.field is not None:
        each = ("shape", _shapes(reader, filters.field.partition(".")[0]))
    if filters.since is not None:
        where.append(Where("idx", ">=", _first_index(reader, filters.since, after=False)))
    if filters.until is not None:
        where.append(Where("idx", "<", _first_index(reader, filters.until, after=True)))
    if filters.reason is not None:
        where += [Where("reason", "is", True), Where("reason", "says", filters.reason)]
    if filters.late is not None:
        where.append(Where("late", "is", filters.late))
    return Asked(tuple(where), (*SORTS[name], "idx"), filters.sort.startswith("-"), each=each)


def _partition(reader: Reader, subject: str) -> str:
    try:
        return str(UUID(subject))
    except ValueError:
        pass
    if reader.live:
        rows = reader.rows.select("numbers", Asked((Where("number", "=", subject),)))
        return the_only(subject, (row.partition for row in rows), reader.size)
    return the_only(subject, _numbered(reader, subject), reader.size)


def _numbered(reader: Reader, number: str) -> Iterator[str]:
    """Who had a number at the reader's size: it may have been corrected since."""
    for row in every(reader.rows, "numbers"):
        below = [known for index, known in msgspec.json.decode(row.numbers) if index < reader.size]
        if below and below[-1] == number:
            yield row.partition


def _shapes(reader: Reader, field: str) -> list[str]:
    """The shapes of entries that have a field."""
    return [entry.shape for entry in reader.rows.one_of_each("entries", "shape") if field in entry.fields]


def _first_index(reader: Reader, given: str, after: bool) -> int:
    """The first index from a moment on, or after it."""
    if _DIGITS.fullmatch(given):
        return int(given) + after
    moment = moment_of(given, "until" if after else "since", begins=not after)
    return reader.size_at(moment if after else moment - timedelta(microseconds=1))


def _cursor(filters: Filters, after: tuple[Any, ...] | None, skip: int) -> str:
    return urlsafe_b64encode(msgspec.json.encode([filters.sort, after, skip])).rstrip(b"=").decode()


def _read_cursor(cursor: str, filters: Filters, columns: int) -> tuple[tuple[Any, ...] | None, int]:
    try:
        sort, after, skip = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if sort != filters.sort or not isinstance(skip, int) or skip < 0:
            raise ValueError("another order")
        if after is not None and not (len(after) == columns and isinstance(after[-1], int)):
            raise ValueError("another place")
    except (ValueError, TypeError, msgspec.DecodeError):
        raise ReadingMalformed("the cursor is not one that this page with this order handed out") from None
    return (None if after is None else tuple(after)), skip


# -- from entries to lines -------------------------------------------------------------------------------------


def _entries(reader: Reader, asked: Asked, field: str | None, size: int) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Entries with their lines, fetched so many at a time."""
    made = Lines(reader)
    occurring = None if reader.occurred is None else Occurring(reader, reader.occurred)
    size = size if occurring is None else max(size, _STREAM_PAGE)
    asked = asked._replace(limit=size)
    while True:
        found = reader.rows.select("entries", asked)
        shown = found if occurring is None else occurring.of(found)
        made.learn(shown)
        for entry in shown:
            lines = made.of(entry, field)
            if lines:
                yield entry, lines
        if len(found) < size:
            return
        asked = asked._replace(after=tuple(getattr(found[-1], name) for name in asked.order))
