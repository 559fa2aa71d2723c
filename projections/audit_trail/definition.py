"""The audit trail's rows: one a statement, with every data point that it set (ICH E6(R3) 4.2.2; 21 CFR 11.10(e)).

Rules:
- the initial entry is in the trail like every change, blanks and "not done" included; so is every workflow action;
- a row says what was recorded then: later corrections have rows of their own, with the value before and after;
- what waits for a second signature says so, and from which index on it took effect;
- what was redacted is no longer there: the row names the field, and from which index on it is gone; the order of a
  redaction has a data point for each field that it names;
- an electronic signature's printed name, time and meaning stand in columns of their own, beside every data point;
- a record that an electronic signature covers is named with it, so that its own lines show that it was signed.
A statement's data points stand together in one row; the view makes a line of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from ledger.domain.aggregate import Study, Subject
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.conduct import LATE_AFTER
from ledger.domain.manifestation import FIELDS as MANIFESTATION
from ledger.domain.moments import elapsed
from ledger.domain.record import CLAIM_FIELDS, Record
from ledger.domain.signature import covers
from projections.engine.definition import Column, Definition, Index, Row, Table

STANDING = "standing"
"""The data point that a void, a reversal, a second signature or a withdrawal sets of the record it names."""

_STANDING = {
    "EntryVoided": ("stands", "void"),
    "DecisionReversed": ("stands", "reversed"),
    "Countersigned": ("waits for a second signature", "stands"),
    "SignatureWithdrawn": ("signed", "signature withdrawn"),
    "AttributionDisputed": ("attributed", "attribution disputed"),
}

_SETS_MORE = frozenset({"EntryCorrected", "FieldsRedacted", *_STANDING})
"""Events that set something of the records that they name."""

_KNOWN_LATER = frozenset({"HistoryRecorded", "MedicationRecorded", "ProcedureRecorded", "AdverseEventReported"})
"""Facts that may become known long after they began: never late by their own beginning."""

ENTRIES = Table(
    "entries",
    (
        Column("idx", "bigint"),
        Column("event"),
        Column("kind"),
        Column("jti"),
        Column("sub"),
        Column("site"),
        Column("iss"),
        Column("role"),
        Column("mode"),
        Column("meaning"),
        Column("signature", "boolean", optional=True),
        Column("printed_name", optional=True),
        Column("signed_at", optional=True),
        Column("ceremony", optional=True),
        Column("kid"),
        Column("digest"),
        Column("recorded_at"),
        Column("iat", "bigint"),
        Column("occurred_at", optional=True),
        Column("captured_at", optional=True),
        Column("transferred_at", optional=True),
        Column("aware_at", optional=True),
        Column("reason", optional=True),
        Column("late", "boolean", optional=True),
        Column("target", "bigint", optional=True),
        Column("target_event", optional=True),
        Column("effective_at", "bigint", optional=True),
        Column("redacted", "bigint", optional=True),
        Column("shape"),
        Column("fields", "text[]"),
        Column("points"),
    ),
    key=("idx",),
    indexes=(
        Index(("idx",)),
        Index(("site", "idx")),
        Index(("iss", "idx")),
        Index(("role", "idx")),
        Index(("event", "idx")),
        Index(("target", "idx"), present="target"),
        Index(("idx",), present="reason"),
        Index(("idx",), present="late"),
        Index(("shape", "idx")),
    ),
)

"""`shape` stands for the event and its set of fields: a study has few shapes and many entries, so that entries with a
given field are found by their shapes, at the price of one index entry each."""

NUMBERS = Table(
    "numbers",
    (Column("number", optional=True), Column("numbers")),
    indexes=(Index(("number",), present="number"),),
)
"""Of each subject the number in use last, and every number with the index from which it was known."""

SIGNED = Table(
    "signed",
    (Column("record", "bigint"), Column("idx", "bigint")),
    key=("record", "idx"),
    indexes=(Index(("record", "idx")),),
)
"""Which record an electronic signature covers: the index of the record and that of the signature, which is in force
from its own index on (21 CFR 11.50(b))."""

_WITH_OFFSET = len("2024-03-11T10:00+01:00")

_ENCODER = msgspec.json.Encoder()

Point = tuple[str, Any, Any] | tuple[str, Any, Any, int]
"""Field, value before, value after; for a value that is redacted, the index from which on it is gone."""


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """One row for each record and for each other that it signs, and the subject's numbers with a screening."""
    numbered = False
    for record in touched:
        yield "entries", _entry(state, record)
        for covered in _covered(state, record):
            yield "signed", (covered.index, record.index)
        numbered = numbered or record.event in ("SubjectScreened", "SubjectRescreened")
    if numbered:
        numbers = list(_numbers(state))
        yield "numbers", (numbers[-1][1] if numbers else None, _ENCODER.encode(numbers).decode())


def _covered(state: Study | Subject, record: Record) -> Iterator[Record]:
    """The earlier records that an electronic signature covers; itself is none."""
    if record.meaning is None:
        return
    for jti in covers(record):
        named = state.records.get(jti)
        if named is not None and named.index != record.index:
            yield named


def _entry(state: Study | Subject, record: Record) -> tuple[Any, ...]:
    claims = record.claims
    event, role, meaning = claims["event"], claims["role"], claims.get("meaning")
    target = _target(state, record)
    recorded = as_recorded(record)
    fields, shape, points = _set(state, record, target, recorded)
    gone = len(claims.get("_sd", ())) - len(recorded)
    return (
        record.index,
        event,
        record.kind,
        claims["jti"],
        claims["sub"],
        claims.get("site") or "",
        claims["iss"],
        role,
        claims.get("mode", "direct"),
        meaning or ("seal" if role == "system" else "entry"),
        None if meaning is None else True,
        recorded.get("printed_name"),
        recorded.get("signed_at"),
        claims.get("ceremony"),
        record.kid,
        record.digest,
        record.recorded_at,
        claims["iat"],
        recorded.get("occurred_at"),
        recorded.get("captured_at"),
        recorded.get("transferred_at"),
        recorded.get("aware_at"),
        _reason(record, recorded),
        _late(record, recorded),
        None if target is None else target.index,
        None if target is None else target.event,
        None if record.pending else record.countersigned_at or record.index,
        gone if gone > 0 else None,
        shape,
        fields,
        _ENCODER.encode(points).decode(),
    )


def _set(
    state: Study | Subject, record: Record, target: Record | None, recorded: dict[str, Any]
) -> tuple[tuple[str, ...], str, list[Point]]:
    """What a statement set: the fields in order of their names, their shape, the data points."""
    event = record.claims["event"]
    if event in _SETS_MORE or record.redacted:
        points = list(_points(state, record, target, recorded))
        fields = tuple(sorted({point[0] for point in points}))
        return fields, _shape(event, fields), points
    stated = {**record.body, **recorded} if record.body else recorded
    names, fields, shape = _plain(event, tuple(stated))
    return fields, shape, [(name, None, stated[name]) for name in names]


@lru_cache(maxsize=4_096)
def _plain(event: str, stated: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Of a statement that sets the fields that it states: their names in the catalogue's order and in their own, and
    their shape. Most are like this, and a study's have few sets of fields."""
    names = tuple(name for name in CATALOGUE[event].model_fields if name in stated and name not in MANIFESTATION)
    fields = tuple(sorted(names))
    return names, fields, _shape(event, fields)


@lru_cache(maxsize=4_096)
def _shape(event: str, fields: tuple[str, ...]) -> str:
    """The event, and 12 hex digits of SHA-256 over the names of the fields."""
    return f"{event}:{hashlib.sha256(' '.join(fields).encode()).hexdigest()[:12]}"


def _target(state: Study | Subject, record: Record) -> Record | None:
    named = record.body.get("record")
    if isinstance(named, dict):
        return state.records.get(named.get("jti", ""))
    return state.records.target_of(record)


def as_recorded(record: Record) -> dict[str, Any]:
    """The disclosed fields as the statement itself gave them, whatever was corrected since."""
    if record.earlier is not None:
        return {name: value for name, value in record.earlier.content.items() if name not in record.redacted}
    corrected = [name for name in record.values if name not in CLAIM_FIELDS]
    if not corrected:
        return record.content
    content = dict(record.content)
    blank = []
    for name in corrected:
        content[name] = record.values[name][0].value
        if name in record.redacted:
            del content[name]
        elif content[name] is None:
            blank.append(name)
    missing = len(content) + len(record.redacted) - len(record.claims.get("_sd", ()))
    if blank and missing > 0:  # these were not stated at all; what was stated as blank stays
        for name in blank:
            del content[name]
    return content


def _points(state: Study | Subject, record: Record, target: Record | None, recorded: dict[str, Any]) -> Iterator[Point]:
    """What this statement set, whatever it is."""
    if record.event == "EntryCorrected":
        yield from _correction(record, target, recorded.get("value"))
        return
    if record.event == "FieldsRedacted":
        yield from _ordered(state, record)
    if record.event in _STANDING:
        before, after = _STANDING[record.event]
        yield _point(STANDING, before, after)
    said_already: tuple[str, ...] = ("record", "reason") if record.event in _STANDING else ()
    if record.event == "FieldsRedacted":
        said_already = ("records",)
    said_already = (*said_already, *MANIFESTATION)
    # In the catalogue's order: the one in the statement is lost where a later correction took a field away.
    fields = {**record.body, **recorded}
    for name in CATALOGUE[record.event].model_fields:
        if name in fields and name not in said_already:
            yield _point(name, None, fields[name])
        elif name in record.redacted and (name not in said_already or name in MANIFESTATION):
            yield _point(name, None, None, record.redacted[name])


def _correction(record: Record, target: Record | None, value: Any) -> Iterator[Point]:
    """The field that a correction set, or those that it set by the name that one of them had in an earlier version."""
    named, gone = record.claims["corrects"]["field"], record.redacted.get("value")
    names = (named,) if target is None else target.now_named(named)
    for name in names:
        history = [] if target is None or names == (named,) else target.values.get(name, [])
        made = next((one.value for one in history if one.index == record.index), value)
        yield _point(name, _before(record, target, name), made, gone)


def _point(name: str, before: Any, after: Any, gone: int | None = None) -> Point:
    return (name, before, after) if gone is None else (name, before, after, gone)


def _ordered(state: Study | Subject, record: Record) -> Iterator[Point]:
    """Each field that an order of redaction names, and of which record."""
    for named in record.body["records"]:
        holder = state.records.get(named["jti"])
        where = "a record that does not stand here" if holder is None else f"{holder.event} at index {holder.index}"
        for name in named.get("fields", ()):
            yield _point(name, None, f"redacted in {where}")


def _before(record: Record, target: Record | None, name: str) -> Any:
    """The value that a correction replaced; None while it waits for a second signature."""
    history = [] if target is None else target.values.get(name, [])
    for earlier, later in pairwise(history):
        if later.index == record.index:
            return earlier.value
    return None


def _reason(record: Record, recorded: dict[str, Any]) -> str | None:
    stated = recorded.get("reason") or record.body.get("reason") or recorded.get("late_reason")
    return str(stated) if stated is not None else None


def _late(record: Record, recorded: dict[str, Any]) -> bool | None:
    """True where a reason for delay is given, or where the time since the fact could be recorded surely exceeds
    the limit; transcribed records are late by nature and not marked."""
    if recorded.get("late_reason") is not None:
        return True
    if record.kind != "fact" or record.mode == "transcribed":
        return None
    known = recorded.get("captured_at") or recorded.get("aware_at")
    if known is None and record.event == "LabResultReported":
        return None
    if known is None:
        began = None if record.event in _KNOWN_LATER else recorded.get("started_at")
        known = began or recorded.get("occurred_at")
    if known is None or _surely_in_time(known, record.recorded_at):
        return None
    gap = elapsed(known, record.recorded_at, None)
    return True if gap is not None and gap[0] > LATE_AFTER else None


def _surely_in_time(known: str, recorded_at: str) -> bool:
    """Told quickly of nearly all: both times say their offset, and the limit is not exceeded. False: look closer."""
    if len(known) < _WITH_OFFSET or known[10] != "T" or known[-3] != ":":
        return False
    try:
        return datetime.fromisoformat(recorded_at) - datetime.fromisoformat(known) <= LATE_AFTER
    except (ValueError, TypeError, OverflowError):
        return False


def _numbers(state: Study | Subject) -> Iterator[tuple[int, str]]:
    """Every subject number, with the index at which it was stated."""
    found: list[tuple[int, str]] = []
    for event in ("SubjectScreened", "SubjectRescreened"):
        for record in state.records.by_event.get(event, ()):
            history = record.values.get("number")
            if history:
                found.extend((value.index, value.value) for value in history if value.value)
            elif record.content.get("number"):
                found.append((record.index, record.content["number"]))
    yield from sorted(found)


DEFINITION = Definition("audit_trail", 3, (ENTRIES, NUMBERS, SIGNED), changed, study=True, temporal=True)
