"""What a statement to be signed names: the records, as they read now, for the person to see before the passphrase.

An event id tells nobody anything. Who signs records, corrects, voids, answers or countersigns is shown each record that
the draft names: its place, who recorded it in which role and when, and its fields with their present values (EMA 6.3;
FDA Q&A 2024 III.E: what is signed was shown). Pure; what is redacted is not in the records and not shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ledger.accounts.drafts import ACTS
from ledger.domain.record import Record

LONGEST_VALUE = 2_000
"""Characters of one value: a protocol's file is named, not read in a dialogue."""


def named(draft: Mapping[str, Any]) -> tuple[str, ...]:
    """The event ids of the records that a draft names, each once, in its order."""
    claims = draft["claims"]
    body = claims.get("body", {})
    listed = body["records"] if isinstance(body.get("records"), list) else []
    found = [*listed, body.get("record"), *(claims.get(act) for act in ACTS)]
    return tuple(dict.fromkeys(one["jti"] for one in found if isinstance(one, Mapping) and "jti" in one))


def record_in_words(record: Record) -> str:
    """A record in one line."""
    fields = {**record.body, **record.content}
    values = "; ".join(f"{name}: {_said(value)}" for name, value in fields.items())
    gone = "".join(f"; {name}: redacted" for name in record.redacted if name not in fields)
    who = f"by {record.iss} ({record.role}), recorded {record.recorded_at}"
    return f"Record {record.index}, {record.event} {who}{_standing(record)}. {values}{gone}"


def _standing(record: Record) -> str:
    return "".join(f", {word}" for word in _standings(record))


def _standings(record: Record) -> Iterator[str]:
    if record.pending:
        yield "waits for a second signature"
    if record.void:
        yield "voided"
    if record.reversed_at is not None:
        yield f"reversed at index {record.reversed_at}"
    if record.withdrawn_at is not None:
        yield f"withdrawn at index {record.withdrawn_at}"
    if record.disputed:
        yield "disputed"
    for name, history in record.values.items():
        if len(history) > 1:
            yield f"{name} corrected at index {history[-1].index}"


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"
