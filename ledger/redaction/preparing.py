"""An order of redaction, prepared: what is named, the copies that must go with it, what may be a copy besides.

Pure: it works on the records of one aggregate (a subject's, or the study's own) and on what `disclosed` says is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.domain.record import Record, Records
from ledger.domain.redaction import SHORTEST_QUOTE, copies, texts_of

Disclosed = Callable[[Record], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One field to be destroyed: of which record, and why it is in the order."""

    index: int
    event: str
    jti: str
    field: str
    disclosure: str
    why: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """An order about one `sub`: its lines, the texts in them (to search for further copies), `sub` and `site` that
    the statement states, and `body.records`."""

    sub: str
    site: str | None
    lines: tuple[Line, ...]
    texts: tuple[str, ...]
    records: tuple[dict[str, Any], ...]


class NothingToRedact(ValueError):
    """There is no such field to redact."""


def prepare(records: Records, wanted: Mapping[str, Sequence[str]], disclosed: Disclosed) -> Prepared:
    """The order that destroys these fields (event id -> names) with the copies that are certain. Raises
    NothingToRedact for what is not there, or is redacted already."""
    lines: dict[tuple[str, str], Line] = {}
    texts: dict[str, None] = {}
    for jti, names in wanted.items():
        record = records.get(jti)
        if record is None:
            raise NothingToRedact(f"there is no record {jti} among these")
        for name in names:
            line = _line(record, name, disclosed, "named")
            if line is None:
                gone = record.redacted.get(name)
                why = f"it is redacted since index {gone}" if gone is not None else "it discloses no such field"
                raise NothingToRedact(f"{record.event} at index {record.index}: {name}: {why}")
            lines[record.jti, name] = line
            texts |= dict.fromkeys(_quotable(record, name))
    _add_copies(records, lines, texts, disclosed)
    first = records.by_jti[next(iter(wanted))]
    ordered = tuple(sorted(lines.values(), key=lambda line: (line.index, line.field)))
    return Prepared(first.sub, first.claims.get("site"), ordered, tuple(texts), _named(records, ordered))


def _add_copies(
    records: Records, lines: dict[tuple[str, str], Line], texts: dict[str, None], disclosed: Disclosed
) -> None:
    """Add what repeats a value for certain, and what repeats that, until nothing is added any more."""
    waiting = list(lines)
    while waiting:
        jti, name = waiting.pop()
        for copy in copies(records, records.by_jti[jti], [name]):
            key = (copy.record.jti, copy.field)
            line = None if key in lines else _line(copy.record, copy.field, disclosed, copy.why)
            if line is not None:
                lines[key] = line
                texts |= dict.fromkeys(_quotable(copy.record, copy.field))
                waiting.append(key)


def _line(record: Record, name: str, disclosed: Disclosed, why: str) -> Line | None:
    digest = next((digest for digest, field in disclosed(record).items() if field == name), None)
    return None if digest is None else Line(record.index, record.event, record.jti, name, digest, why)


def _quotable(record: Record, name: str) -> list[str]:
    """The texts of a value that are long enough to be looked for elsewhere."""
    first = record.values[name][0].value if name in record.values else record.content.get(name)
    return [text for text in texts_of(first) if len(text) >= SHORTEST_QUOTE]


def _named(records: Records, lines: Sequence[Line]) -> tuple[dict[str, Any], ...]:
    """`body.records` of the order."""
    named: dict[str, dict[str, Any]] = {}
    for line in lines:
        empty = {"jti": line.jti, "digest": records.by_jti[line.jti].digest, "disclosures": [], "fields": []}
        entry = named.setdefault(line.jti, empty)
        entry["disclosures"].append(line.disclosure)
        entry["fields"].append(line.field)
    return tuple(named.values())
