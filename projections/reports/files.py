"""A comparison as files for machines: CSV, one line a difference, and JSON; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from projections.audit_trail.files import csv_line, harmless
from projections.engine.difference import Difference
from projections.reports.comparison import Compared, Side
from projections.reports.stories import Half, Story

COLUMNS = (
    *("study", "projection", "from_version", "to_version", "size", "subject", "site", "table", "key", "kind", "column"),
    *("path", "before", "after", "expected", "intended", "why"),
)
"""`subject`: UUID, or `study`; `key`, `before`, `after`, `expected`: JSON, an empty cell for what is absent."""


def csv(found: Compared, differences: Iterable[Difference]) -> Iterator[bytes]:
    """RFC 4180, UTF-8, header first; a text that a spreadsheet would compute is led by an apostrophe."""
    yield csv_line(COLUMNS)
    about = (found.study, found.name, found.before.version, found.after.version, found.report["size"])
    for one in differences:
        place = found.places.get(one.partition)
        row = (*about, one.partition, None if place is None else place.site, *one[1:])
        yield csv_line([harmless(cell) for cell in row])


def document(found: Compared, differences: Iterable[Difference]) -> Iterator[bytes]:
    """One JSON object: what was compared, the report with its digest, and every difference, a line each."""
    head: dict[str, Any] = {
        "study": found.study,
        "projection": found.name,
        "replay": str(found.replay),
        "state": found.state,
        "before": _side(found.before),
        "after": _side(found.after),
        "report": found.report,
        "report_digest": found.digest,
        "approval": None if found.approval is None else str(found.approval),
        "found": found.total,
        "kept": found.kept,
    }
    yield json.dumps(head, ensure_ascii=False, sort_keys=True)[:-1].encode() + b', "differences": ['
    separator = b"\n"
    for one in differences:
        yield separator + json.dumps(one._asdict(), ensure_ascii=False).encode()
        separator = b",\n"
    yield b"\n]}\n"


def told(found: Compared, rows: Sequence[Story]) -> dict[str, Any]:
    """The differing rows of one subject, with the events behind them, as one JSON object."""
    place = found.places.get(found.only or "")
    return {
        "study": found.study,
        "projection": found.name,
        "replay": str(found.replay),
        "before": _side(found.before),
        "after": _side(found.after),
        "subject": found.only,
        "number": None if place is None else place.number,
        "site": None if place is None else place.site,
        "rows": [_row(story) for story in rows],
    }


def _row(story: Story) -> dict[str, Any]:
    return {
        "table": story.table,
        "key": json.loads(story.key),
        "differences": [one._asdict() for one in story.differences],
        "before": _half(story.before),
        "after": _half(story.after),
    }


def _half(half: Half) -> dict[str, Any]:
    return {
        "row": None if half.row is None else json.loads(half.row),
        "because": {path: step.index for path, step in (half.because or {}).items()},
        "events": [asdict(step) for step in half.steps],
        "note": half.note,
    }


def _side(side: Side) -> dict[str, Any]:
    return {"version": side.version, "fingerprint": side.fingerprint, "schema": side.schema}
