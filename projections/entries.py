"""A record on a page: what it says, whether it stands, who made it, every value it has had, every act upon it.

What was recorded after consent to it had been withdrawn is masked: that it is there is shown, its content is not,
until new consent covers it (DESIGN section 4). A record whose attribution is disputed, or whose key came under
suspicion, says so and is not hidden; who signed it is shown with it (21 CFR 11.50(b)).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ledger.authority import Authority
from ledger.domain import consent
from ledger.domain.aggregate import Study, Subject
from ledger.domain.manifestation import FIELDS
from ledger.domain.record import Record, Records
from ledger.domain.signature import SUSPECT, Change, Signatures, nobody
from projections.audit_trail.wording import event_label

MASKED_RULE = consent.DoneAfterWithdrawal.rule


class Entries:
    """Makes entries of the records of one aggregate of a study."""

    def __init__(self, study: Study, records: Records, masked: frozenset[int] = frozenset()) -> None:
        self._by_index = {record.index: record for record in records}
        self._masked = masked
        authority = study.authority
        self._authority, self._records = authority, records

    @cached_property
    def signatures(self) -> Signatures:
        """The electronic signatures among the records."""
        return Signatures(self._records, self._authority.disputed if self._authority.doubts() else nobody)

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
            "disputed": dispute(self._authority, record),
            "signatures": [self.signature(one, record) for one in self.signatures.over(record)],
        }

    def signature(self, signature: Record, about: Record | None = None) -> dict[str, Any]:
        """An electronic signature: manifestation and standing; with `about`, as far as that record goes."""
        state = self.signatures.state(signature, None if about is None else about.jti)
        return {
            "index": signature.index,
            "event": signature.event,
            **manifestation(signature),
            "recorded_at": signature.recorded_at,
            "standing": state.standing,
            "changes": [_change(change) for change in state.changes],
            "change_waits": [_change(change) for change in state.waiting],
            "because": list(state.because) or self._revocation(signature, state.standing),
        }

    def _revocation(self, record: Record, standing: str) -> list[int]:
        """Where the key was revoked that puts a signature in doubt."""
        return [_revoked(self._authority, record)] if standing == SUSPECT else []

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


def dispute(authority: Authority, record: Record) -> dict[str, Any] | None:
    """Why it is in doubt that the actor named made this statement, and the acts that say so; None where it is not."""
    if record.disputed:
        return {"because": "attribution disputed", "indexes": list(record.disputed)}
    if authority.disputed(record.kid, record.index, record.jti, record.digest):
        return {"because": SUSPECT, "indexes": [_revoked(authority, record)]}
    return None


def _revoked(authority: Authority, record: Record) -> int:
    """The index at which the key of a statement was revoked."""
    revoked = authority.keys[record.kid].revoked
    assert revoked is not None, "only a revoked key is under suspicion"
    return revoked


def manifestation(signature: Record) -> dict[str, Any]:
    """What an electronic signature says in words (21 CFR 11.50(a)): a name that was redacted is listed as such."""
    return {
        **{name: signature.content.get(name) for name in FIELDS},
        "redacted": [name for name in FIELDS if name in signature.redacted],
        "meaning": signature.meaning,
        "actor": signature.iss,
        "role": signature.role,
        "ceremony": signature.claims.get("ceremony"),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "event_id": change.jti,
        "what": change.what,
        "fields": list(change.fields),
        "index": change.index,
        "effective_at": change.effective_at,
        "at": change.at,
        "actor": change.actor,
        "signed_again": list(change.again),
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
