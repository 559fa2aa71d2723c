"""Lines of the audit trail as files; pure."""

from __future__ import annotations

import csv as csv_format
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from projections.audit_trail.lines import COLUMNS


def ndjson(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """One JSON object a line."""
    for line in lines:
        yield msgspec.json.encode(line) + b"\n"


def csv(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """RFC 4180, UTF-8, header first. A text that a spreadsheet would compute is led by an apostrophe, so that opening
    the file runs nothing."""
    yield csv_line(COLUMNS)
    for line in lines:
        cells = {**line, "signatures": _in_words(line["signatures"])}
        yield csv_line([harmless(cells[name]) for name in COLUMNS])


def _in_words(signatures: Iterable[dict[str, Any]]) -> str:
    """Signatures over a record in one cell: name, time, meaning, index, and what is wrong with one; `; ` between."""
    return "; ".join(
        f"{one['printed_name'] or '[redacted]'}, {one['signed_at'] or '[redacted]'}: {one['meaning']} "
        f"(index {one['index']}{', ' + one['in_doubt'] if one['in_doubt'] else ''})"
        for one in signatures
    )


_COMPUTED = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet computes."""
    """A cell as a spreadsheet may have it: text that it would compute is led by an apostrophe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_COMPUTED) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_line(cells: Iterable[Any]) -> bytes:
    """Cells as one line of RFC 4180; None is an empty cell."""
    line = io.StringIO()
    csv_format.writer(line).writerow(["" if cell is None else cell for cell in cells])
    return line.getvalue().encode()
