"""A record on a page: what it says, whether it stands, who made it, every value it has had, every act upon it.

What was recorded after consent to it had been withdrawn is masked: that it is there is shown, its content is not,
until new consent covers it (DESIGN section 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ledger.domain import consent
from ledger.domain.aggregate import Study, Subject
from ledger.domain.record import Record, Records
from projections.audit_trail.wording import event_label

MASKED_RULE = consent.DoneAfterWithdrawal.rule


class Entries:
    """Makes entries of the records of one aggregate."""

    def __init__(self, records: Records, masked: frozenset[int] = frozenset()) -> None:
        self._by_index = {record.index: record for record in records}
        self._masked = masked

    def of(self, record: Record) -> dict[str, Any]:
        """One record."""
        masked = record.index in self._masked
        return {
            "index": record.index,
            "event": record.event,
            "event_label": event_label(record.event),
            "event_id": record.jti,
            "recorded_at": record.recorded_at,
            "occurred_at": record.occurred_at,
            "site": record.site,
            "actor": record.iss,
            "role": record.role,
            "mode": record.mode,
            "meaning": record.meaning,
            "standing": standing(record),
            "effective_at": record.effective_at if not record.pending else None,
            "masked": masked,
            "fields": {} if masked else {**record.body, **record.content},
            "redacted": _redacted(record),
            "corrected": {} if masked else {name: _values(record, name) for name in record.values},
            "acts": [self._act(index) for index in record.acts],
        }

    def all(self, records: Iterable[Record]) -> list[dict[str, Any]]:
        """Several records."""
        return [self.of(record) for record in records]

    def _act(self, index: int) -> dict[str, Any]:
        act = self._by_index.get(index)
        if act is None:
            return {"index": index}
        return {
            "index": index,
            "event": act.event,
            "actor": act.iss,
            "role": act.role,
            "recorded_at": act.recorded_at,
            "reason": act.get("reason"),
            "field": (act.claims.get("corrects") or {}).get("field"),
            "standing": standing(act),
        }


def standing(record: Record) -> str:
    """Whether a record counts, in plain words."""
    if record.pending:
        return "waits for a second signature"
    if record.void:
        return "void"
    if record.reversed_at is not None:
        return "reversed"
    if record.withdrawn_at is not None:
        return "signature withdrawn"
    return "stands"


def _values(record: Record, name: str) -> list[dict[str, Any]]:
    """Every value that a field has had, in order: who gave it, in which role, when and why."""
    return [
        {
            "value": value.value,
            "index": value.index,
            "recorded_at": value.recorded_at,
            "actor": value.iss,
            "role": value.role,
            "reason": value.reason,
            "redacted_at": value.redacted,
        }
        for value in record.values[name]
    ]


def _redacted(record: Record) -> dict[str, int]:
    """The fields whose current value is redacted, each with the index from which on it is gone."""
    gone = {name: record.gone(name) for name in (*record.redacted, *record.values)}
    return {name: index for name, index in gone.items() if index is not None}


def masked(study: Study, subject: Subject) -> frozenset[int]:
    """Indexes of the records that were made after consent to them had been withdrawn, and that nothing covers."""
    if "ConsentWithdrawn" not in subject.records.by_event:
        return frozenset()
    found = (finding for finding in consent.findings(study, subject) if finding.rule == MASKED_RULE)
    return frozenset(finding.indexes[0] for finding in found)
