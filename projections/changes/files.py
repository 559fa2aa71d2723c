"""The changes between two cuts as text and as CSV; pure. One line a change."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from projections.audit_trail.files import harmless
from projections.audit_trail.wording import as_cell, field_label


class Change(NamedTuple):
    """A change in plain columns; `indexes` are the entries responsible for it."""

    subject: str
    number: str
    change: str
    record_index: int | None
    record_event: str
    what: str
    before: str | None
    after: str | None
    reason: str | None
    actor: str | None
    role: str | None
    indexes: tuple[int, ...]


COLUMNS = Change._fields


def flat(found: dict[str, Any]) -> Iterator[Change]:
    """Every change of an answer, the study's first."""
    if found["study"] is not None:
        yield from _of(found["study"], "", "")
    for one in found["subjects"]:
        yield from _of(one, one["subject"], one["number"] or "")


def _of(found: dict[str, Any], subject: str, number: str) -> Iterator[Change]:
    for one in found["recorded"]:
        who = (one["actor"], one["role"], (one["index"],))
        yield Change(subject, number, "recorded", one["index"], one["event"], "", None, None, None, *who)
    for one in found["corrected"]:
        about, indexes = one["record"], tuple(dict.fromkeys((one["index"], one["effective_at"])))
        values = (as_cell(one["before"]), as_cell(one["after"]), one["reason"], one["actor"], one["role"], indexes)
        yield Change(subject, number, "corrected", about["index"], about["event"], one["field"], *values)
    for name in ("voided", "reversed", "standing"):
        for one in found[name]:
            about = one["record"]
            values = (one["before"], one["after"], one["reason"], one["actor"], one["role"], tuple(one["indexes"]))
            yield Change(subject, number, name, about["index"], about["event"], "standing", *values)
    for one in found["redacted"]:
        about, rest = one["record"], (None, None, None, None, None, (one["index"],))
        yield Change(subject, number, "redacted", about["index"], about["event"], ", ".join(one["fields"]), *rest)
    for one in (*found["views"], *found.get("due", ())):
        what = one.get("what", "due")
        named = f"{what} of cohort {one['cohort']}" if "cohort" in one else one.get("label", what)
        values = (as_cell(one["before"]), as_cell(one["after"]), None, None, None, tuple(one["indexes"]))
        yield Change(subject, number, "due" if "key" in one else "view", None, "", named, *values)
    for one in found.get("rows", ()):
        values = (one["before"], one["after"], None, None, None, ())
        yield Change(
            subject, number, f"row {one['kind']}", None, one["table"], f"{one['key']} {one['column']}", *values
        )


def csv(found: dict[str, Any]) -> Iterator[bytes]:
    """RFC 4180, UTF-8, header first; indexes are separated by spaces."""
    yield _line(COLUMNS)
    for change in flat(found):
        cells = change._replace(indexes=" ".join(map(str, change.indexes)))  # type: ignore[arg-type]
        yield _line(["" if cell is None else harmless(cell) for cell in cells])


def text(found: dict[str, Any]) -> Iterator[str]:
    """Sentences for people, one a line."""
    since, until = found["from"], found["to"]
    entries = "1 entry" if found["entries"] == 1 else f"{found['entries']} entries"
    yield f"From {_cut(since)} to {_cut(until)}: {entries}."
    place = None
    for change in flat(found):
        if change.subject != place:
            place = change.subject
            yield f"Subject {change.number or 'without a number'} ({place}):" if place else "The study:"
        yield f"  {_sentence(change)}"
    if found["next"] is not None:
        yield f"There is more: go on after {found['next']}."


def _cut(cut: dict[str, Any]) -> str:
    named = "" if cut["named"] == str(cut["size"]) else f" ({cut['named']})"
    return f"size {cut['size']}{named}"


def _sentence(change: Change) -> str:
    by = f" by {change.actor} ({change.role})" if change.actor else ""
    at = f" [{', '.join(map(str, change.indexes))}]" if change.indexes else ""
    why = f": {change.reason}" if change.reason else ""
    about = f"{change.record_event} of index {change.record_index}"
    if change.change == "recorded":
        return f"recorded: {change.record_event}{by}{at}"
    if change.change == "redacted":
        return f"redacted: {change.what} of {about}{at}"
    moved = f"{_shown(change.before)} -> {_shown(change.after)}"
    if change.record_index is None:
        return f"{change.change}: {field_label(change.what)}: {moved}{at}"
    return f"{change.change}: {field_label(change.what)} of {about}: {moved}{by}{why}{at}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value


def _line(cells: Any) -> bytes:
    line = io.StringIO()
    csv_format.writer(line).writerow(cells)
    return line.getvalue().encode()
