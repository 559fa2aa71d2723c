"""From entries to lines: one line a data point, with who, when, why and the value before and after, in plain words.

The role is the one acted in; the organisation the one held then; the subject's number the one known at the size that is
read. A statement that waits for a second signature at that size says so, and so does one whose attribution is disputed,
whose key is under suspicion, or whose signature was withdrawn. `signed_at` is the time as the signer stated it, in the
signer's zone, where it is an electronic signature, and in UTC otherwise. `signatures` are the electronic signatures
over the statement at the size that is read, each with printed name, time, meaning and index, and whether it is
withdrawn, disputed or by a key under suspicion (21 CFR 11.50(b)); in files they stand as one text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from ledger.authority import Authority, Grant
from ledger.domain.signature import DISPUTED, SUSPECT, WITHDRAWN
from projections.audit_trail.wording import IN_DOUBT, as_cell, event_label, field_label, sentence, signed
from projections.engine.definition import STUDY_PARTITION
from projections.engine.reading import Reader
from projections.engine.rows import Asked, Where

COLUMNS = (
    "index", "recorded_at", "occurred_at", "signed_at", "captured_at", "transferred_at", "aware_at", "sub",
    "subject_number", "site", "event", "event_label", "field", "field_label", "previous_value", "new_value", "actor",
    "role", "organisation", "reason", "meaning", "printed_name", "ceremony", "in_doubt", "mode", "late", "target_index",
    "target_event", "pending", "redacted", "redacted_at", "event_id", "sentence", "signatures",
)  # fmt: skip
"""Of a line, in this order in files. Times are ISO 8601; `recorded_at` in UTC, the others as stated; of `signed_at` see
above. A line in JSON has `signature` besides: the manifestation of an electronic signature, None for an entry."""

_DOUBTS = {"AttributionDisputed": DISPUTED, "SignatureWithdrawn": WITHDRAWN}


class Lines:
    """Makes lines of entries, for one reader."""

    def __init__(self, reader: Reader) -> None:
        self._size = reader.size
        self._numbers = _Numbers(reader)
        self._organisation = organisations(reader.study.authority)
        self._authority, self._reader = reader.study.authority, reader
        self._doubts: dict[int, str] = {}
        self._over: dict[int, list[Any]] = {}

    def learn(self, entries: Iterable[Any]) -> None:
        """Look up together what the lines of these entries need."""
        entries = list(entries)
        self._numbers.learn({entry.partition for entry in entries})
        own = [entry.idx for entry in entries]
        about = Where("target", "in", sorted({*own, *self._signatures(own)}))
        acts = (about, Where("event", "in", list(_DOUBTS)), Where("idx", "<", self._size))
        for act in self._reader.rows.select("entries", Asked(acts, ("idx",))):
            if self._doubts.get(act.target) != WITHDRAWN:
                self._doubts[act.target] = _DOUBTS[act.event]

    def _signatures(self, records: list[int]) -> list[int]:
        """Look up the electronic signatures over these records; returns their indexes."""
        self._over.clear()
        below = Where("idx", "<", self._size)
        pairs = self._reader.rows.select("signed", Asked((Where("record", "in", records), below), ("record", "idx")))
        signed = sorted({pair.idx for pair in pairs})
        if not signed:
            return []
        found = self._reader.rows.select("entries", Asked((Where("idx", "in", signed),), ("idx",)))
        by_index = {entry.idx: entry for entry in found}
        for pair in pairs:
            if pair.idx in by_index:
                self._over.setdefault(pair.record, []).append(by_index[pair.idx])
        return signed

    def _over_it(self, entry: Any) -> list[dict[str, Any]]:
        """The signatures over a statement: its own first, where it is one, then those that cover it."""
        own = [entry] if entry.signature else []
        return [{**_signature(one), "in_doubt": self._in_doubt(one)} for one in (*own, *self._over.get(entry.idx, ()))]

    def of(self, entry: Any, field: str | None = None) -> list[dict[str, Any]]:
        """The lines of one entry: at least one, for a workflow action may set no field. With `field` those of that
        field alone, or of its parts."""
        points = msgspec.json.decode(entry.points)
        pending = entry.effective_at is None or entry.effective_at >= self._size
        about = {
            "actor": entry.iss,
            "role": entry.role,
            "organisation": self._organisation(entry.iss, entry.role, entry.idx, entry.recorded_at),
            "subject_number": self._numbers.of(entry.partition),
            "sub": entry.sub,
            "target_event": entry.target_event,
            "target_index": entry.target,
            "pending": pending,
            "in_doubt": self._in_doubt(entry),
        }
        common = {**_common(entry), "pending": pending, "sentence": _said(entry, points, about)}
        common |= {name: about[name] for name in ("subject_number", "organisation", "in_doubt")}
        common["signatures"] = self._over_it(entry)
        waiting = pending and entry.event == "EntryCorrected"
        return [
            {
                **common,
                "field": name,
                "field_label": field_label(name) if name else "",
                "previous_value": None if waiting else as_cell(before),
                "new_value": as_cell(after),
                "redacted": gone is not None,
                "redacted_at": gone,
            }
            for name, before, after, gone in data_points(points) or [("", None, None, None)]
            if field is None or name == field or name.startswith(f"{field}.")
        ]

    def _in_doubt(self, entry: Any) -> str | None:
        """Why the statement, or the signature that it is, does not stand unquestioned; None where it does."""
        known = self._doubts.get(entry.idx)
        if known is None and self._authority.disputed(entry.kid, entry.idx, entry.jti, entry.digest):
            return SUSPECT
        return known


def _common(entry: Any) -> dict[str, Any]:
    return {
        "index": entry.idx,
        "recorded_at": entry.recorded_at,
        "occurred_at": entry.occurred_at,
        "signed_at": entry.signed_at or datetime.fromtimestamp(entry.iat, UTC).isoformat(),
        "printed_name": entry.printed_name,
        "ceremony": entry.ceremony,
        "signature": _signature(entry) if entry.signature else None,
        "captured_at": entry.captured_at,
        "transferred_at": entry.transferred_at,
        "aware_at": entry.aware_at,
        "sub": entry.sub,
        "site": entry.site or None,
        "event": entry.event,
        "event_label": event_label(entry.event),
        "actor": entry.iss,
        "role": entry.role,
        "reason": entry.reason,
        "meaning": entry.meaning,
        "mode": entry.mode,
        "late": bool(entry.late),
        "target_index": entry.target,
        "target_event": entry.target_event,
        "event_id": entry.jti,
    }


def _signature(entry: Any) -> dict[str, Any]:
    """The manifestation of an electronic signature, as its statement gave it (21 CFR 11.50(a))."""
    named = {name: getattr(entry, name) for name in ("printed_name", "signed_at", "meaning", "ceremony", "role")}
    return {**named, "actor": entry.iss, "index": entry.idx}


def _said(entry: Any, points: list[list[Any]], about: dict[str, Any]) -> str:
    fields = {point[0]: point[2] for point in points if len(point) == 3}
    if entry.event == "EntryCorrected" and points:
        about = {**about, "field": points[0][0], "previous": points[0][1]}
        fields = {"value": "[redacted]" if len(points[0]) > 3 else points[0][2]}
    if entry.reason is not None:
        fields.setdefault("reason", entry.reason)
    said = sentence(entry.event, fields, about)
    if entry.signature:
        said += f" {signed(entry.printed_name, entry.signed_at, entry.meaning)}"
    if about["in_doubt"]:
        said += f" {IN_DOUBT[about['in_doubt']]}"
    return f"{said} {entry.redacted} of its fields are redacted." if entry.redacted else said


def data_points(points: list[list[Any]]) -> list[tuple[str, Any, Any, int | None]]:
    """The points of a statement, with a field that has named parts taken apart into those that changed; last, the
    index from which on a value is gone."""
    found: list[tuple[str, Any, Any, int | None]] = []
    for name, before, after, *gone in points:
        if gone or not _has_parts(before, after):
            found.append((name, before, after, gone[0] if gone else None))
            continue
        earlier, later = before or {}, after or {}
        names = [*earlier, *(part for part in later if part not in earlier)]
        found.extend(
            (f"{name}.{part}", earlier.get(part), later.get(part), None)
            for part in names
            if before is None or earlier.get(part) != later.get(part)
        )
    return found


def _has_parts(before: Any, after: Any) -> bool:
    parts = [value for value in (before, after) if value is not None]
    return bool(parts) and all(isinstance(value, dict) and value for value in parts)


class _Numbers:
    """Subject numbers as they were known at the reader's size."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, str | None] = {STUDY_PARTITION: None}

    def learn(self, partitions: Iterable[str]) -> None:
        """Look up those not known yet, together."""
        missing = sorted(set(partitions) - self._known.keys())
        if not missing:
            return
        self._known.update(dict.fromkeys(missing))
        for row in self._reader.rows.select("numbers", Asked((Where("partition", "in", missing),))):
            below = [number for index, number in msgspec.json.decode(row.numbers) if index < self._reader.size]
            self._known[row.partition] = below[-1] if below else None

    def of(self, partition: str) -> str | None:
        """The number of a subject; None for the study's own records."""
        return self._known[partition]


def organisations(authority: Authority) -> Callable[[str, str, int, str], str | None]:
    """Which organisation an actor acted for in a role at an index: of the delegation in force then, else of the
    actor's enrolment."""
    held: dict[tuple[str, str], list[Grant]] = {}
    for grant in authority.grants.values():
        held.setdefault((grant.actor, grant.role), []).append(grant)

    def organisation(actor: str, role: str, index: int, recorded_at: str) -> str | None:
        for grant in reversed(held.get((actor, role), [])):
            if grant.organisation and _in_force(grant, index, recorded_at[:10]):
                return grant.organisation
        known = authority.actors.get(actor)
        return known.organisation if known is not None else None

    return organisation


def _in_force(grant: Grant, index: int, day: str) -> bool:
    """Whether a delegation held just below an index, on its day."""
    held = grant.since < index and (grant.ended is None or grant.ended >= index)
    return held and (grant.valid_from or day) <= day <= (grant.valid_until or day)
