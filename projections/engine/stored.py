"""Records in rows, and aggregates made of rows again.

A projection that shows whole records keeps each as one row: the record as it stands, in JSON. From such rows
an aggregate is made that the domain's own functions read, so that a page derives its verdicts by the same code
as the writer's decisions. What only verification needs (the digests of the disclosures) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from ledger.domain.aggregate import LedgerAggregate
from ledger.domain.record import Record, Value

A = TypeVar("A", bound=LedgerAggregate)

NOT_KEPT = frozenset({"_sd", "_sd_alg", "aud"})
"""Claims that no page shows: the digests of the disclosures, and the log's own origin."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class StoredRecord(msgspec.Struct, omit_defaults=True):
    """A record as it is kept in a row; fields as in `ledger.domain.record.Record`."""

    index: int
    recorded_at: str
    digest: str
    kid: str
    claims: dict[str, Any]
    kind: str
    body: dict[str, Any] = {}
    content: dict[str, Any] = {}
    values: dict[str, list[Value]] = {}
    pending: bool = False
    void: bool = False
    voids: list[str] = []
    reversed_at: int | None = None
    countersigned_at: int | None = None
    withdrawn_at: int | None = None
    disputed: list[int] = []
    redacted: dict[str, int] = {}
    acts: list[int] = []
    effective_at: int = -1


_FIELDS = StoredRecord.__struct_fields__
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(StoredRecord)


def encode(record: Record, leave_out: frozenset[str] = frozenset()) -> str:
    """The record as it stands, in JSON, without some of its fields; it depends on the record's state alone."""
    claims, content = dict(record.claims), record.content
    for name in NOT_KEPT:
        claims.pop(name, None)
    if not leave_out.isdisjoint(content):
        content = {name: value for name, value in content.items() if name not in leave_out}
    stored = StoredRecord(
        record.index,
        record.recorded_at,
        record.digest,
        record.kid,
        claims,
        record.kind,
        record.body,
        content,
        record.values,
        record.pending,
        record.void,
        record.voids,
        record.reversed_at,
        record.countersigned_at,
        record.withdrawn_at,
        record.disputed,
        record.redacted,
        record.acts,
        record.effective_at,
    )
    return _ENCODER.encode(stored).decode()


def decode(text: str) -> Record:
    """The record that `encode` kept; raises msgspec.DecodeError for anything else."""
    stored = _DECODER.decode(text)
    return Record(*[getattr(stored, name) for name in _FIELDS])


def empty(kind: type[A], id: UUID) -> A:
    """An aggregate with no records yet, to fold statements into without making the library's events."""
    aggregate: A = object.__new__(kind)
    aggregate.__base_init__(id, 0, _BEGINNING)
    aggregate.__init__()  # type: ignore[misc]
    return aggregate


def of_records(kind: type[A], id: UUID, records: Iterable[Record]) -> A:
    """An aggregate that holds these records as they stand, in index order."""
    aggregate = empty(kind, id)
    held = aggregate.records
    for record in sorted(records, key=lambda record: record.index):
        held.by_jti[record.jti] = record
        held.by_event.setdefault(record.event, []).append(record)
        held.last_index = record.index
    return aggregate
