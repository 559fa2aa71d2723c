"""The signatures projection: one row an electronic signature, with its manifestation and how it stands by the records
of its own subject (21 CFR 11.50; FDA Q&A 2024 III.E).

What depends on the study as well (a key under suspicion, what was reaffirmed) is added when a list is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ledger.domain.aggregate import Study, Subject
from ledger.domain.manifestation import FIELDS
from ledger.domain.participation import number
from ledger.domain.record import Record, Records
from ledger.domain.signature import TOUCHING, Change, Signatures, changes_by, covers
from projections.engine.definition import Column, Definition, Index, Row, Table

SIGNATURES = Table(
    "signatures",
    (
        Column("idx", "bigint"),
        Column("event"),
        Column("kind"),
        Column("jti"),
        Column("digest"),
        Column("kid"),
        Column("sub"),
        Column("site"),
        Column("iss"),
        Column("role"),
        Column("meaning"),
        Column("printed_name", optional=True),
        Column("signed_at", optional=True),
        Column("redacted", "text[]"),
        Column("iat", "bigint"),
        Column("recorded_at"),
        Column("ceremony", optional=True),
        Column("cut", "bigint", optional=True),
        Column("covers", "bigint"),
        Column("standing"),
        Column("state"),
    ),
    key=("idx",),
    indexes=(
        Index(("idx",)),
        Index(("iss", "idx")),
        Index(("site", "idx")),
        Index(("standing", "idx")),
    ),
)
"""`standing` and `state` (JSON: changes, waiting, because) as `ledger.domain.signature` tells them, no key being under
suspicion; `covers` is how many records it is about."""

NUMBERS = Table("numbers", (Column("number", optional=True),), indexes=(Index(("number",), present="number"),))
"""Of each subject the number in use."""

_NUMBERING = ("SubjectScreened", "SubjectRescreened")


class KeptChange(msgspec.Struct, omit_defaults=True):
    """A change as a row keeps it: of which record, what, by which act, since when; `again`: what settled it."""

    jti: str
    digest: str
    event: str
    idx: int
    what: str
    index: int
    effective_at: int | None
    at: str
    actor: str
    fields: tuple[str, ...] = ()
    again: tuple[int, ...] = ()


class KeptState(msgspec.Struct, omit_defaults=True):
    """How a signature stands, as a row keeps it."""

    changes: list[KeptChange] = []
    waiting: list[KeptChange] = []
    because: tuple[int, ...] = ()


_ENCODER = msgspec.json.Encoder()


def changed(state: Study | Subject, touched: Sequence[Record]) -> Iterator[Row]:
    """A row for each signature among the records and for each that covers what they are about; the subject's number."""
    if isinstance(state, Subject) and any(record.event in _NUMBERING for record in touched):
        yield "numbers", (number(state),)
    if not any(record.meaning is not None or record.event in TOUCHING for record in touched):
        return
    found = Signatures(state.records)
    wanted: dict[int, Record] = {}
    for jti in _affected(state.records, touched):
        own = state.records.get(jti)
        if own is not None and own.meaning is not None:
            wanted[own.index] = own
        wanted.update((one.index, one) for one in found.covering(jti))
    for index in sorted(wanted):
        yield "signatures", _row(state.records, found, wanted[index])


def _affected(records: Records, touched: Sequence[Record]) -> set[str]:
    """Event ids of what these records are about: themselves, what they sign, what they change."""
    by_index = {record.index: record for event in TOUCHING for record in records.by_event.get(event, ())}
    about: set[str] = set()
    for record in touched:
        if record.meaning is not None:
            about |= {record.jti, *covers(record)}
        if record.event in TOUCHING:
            about |= {change.jti for change in changes_by(records, record, by_index)}
    for record in touched:  # the end of one signature may end what it settled for another over the same records
        if record.event in ("SignatureWithdrawn", "AttributionDisputed"):
            target = records.get(record.body["record"]["jti"])
            about |= set(covers(target)) if target is not None and target.meaning is not None else set()
    return about


def _row(records: Records, found: Signatures, record: Record) -> tuple[Any, ...]:
    stated, state = record.content, found.state(record)
    kept = KeptState(
        [_kept(records, change) for change in state.changes],
        [_kept(records, change) for change in state.waiting],
        state.because,
    )
    return (
        record.index,
        record.event,
        record.kind,
        record.jti,
        record.digest,
        record.kid,
        record.sub,
        record.claims.get("site") or "",
        record.iss,
        record.role,
        record.meaning,
        stated.get("printed_name"),
        stated.get("signed_at"),
        tuple(name for name in FIELDS if name in record.redacted),
        record.iat,
        record.recorded_at,
        record.claims.get("ceremony"),
        None if record.cut is None else record.cut["size"],
        len(covers(record)),
        state.standing,
        _ENCODER.encode(kept).decode(),
    )


def _kept(records: Records, change: Change) -> KeptChange:
    record = records.by_jti[change.jti]
    return KeptChange(
        change.jti,
        record.digest,
        record.event,
        record.index,
        change.what,
        change.index,
        change.effective_at,
        change.at,
        change.actor,
        change.fields,
        change.again,
    )


DEFINITION = Definition("signatures", 1, (SIGNATURES, NUMBERS), changed, study=True)
