"""Copies in the refusal list: a refused statement that holds what is redacted loses it as well.

A copy, as far as it can be known when the value itself is gone:
- a disclosure with the digest of a redacted one (the same statement, refused before it was recorded);
- a field of the redacted name under the redacted event id (signed anew under the id, and refused for that);
- a field of the redacted name in the same event about the same subject (refused, mended, recorded);
- the value of a correction of the redacted field.
What else a refused statement says of somebody nobody can know here: `trial-ledger redact --text` looks into the
refusal list too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.signing.errors import Malformed
from ledger.signing.statement import disclosures_by_digest, parse, read_stored
from ledger.signing.wire import STATEMENT_LIMIT
from ledger.store import redactions, statements
from ledger.store.database import Conn
from ledger.store.rows import RedactionRow

_ACTS = frozenset({"EntryCorrected", "EntryVoided", "DecisionReversed", "QueryAnswered", "QueryClosed"})
"""Events of which there are many on one subject: one is not a copy of another for being the same event."""


@dataclass(slots=True)
class Gone:
    """What is redacted: digests; fields by event id; fields by event and `sub`."""

    digests: set[str] = field(default_factory=set)
    by_jti: dict[str, set[str]] = field(default_factory=dict)
    by_place: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[RedactionRow]) -> Gone:
        """What redactions say by themselves: digests, and fields by event id."""
        gone = cls()
        for row in rows:
            gone.digests.add(row.disclosure)
            gone.by_jti.setdefault(row.jti, set()).add(row.field)
        return gone

    def fields_of(self, claims: Mapping[str, Any]) -> set[str]:
        """The fields that a statement with these claims must not disclose."""
        found = set(self.by_jti.get(claims["jti"], ()))
        found |= self.by_place.get((claims["event"], claims["sub"]), set())
        corrects = claims.get("corrects") or {}
        if corrects.get("field") in self.by_jti.get(corrects.get("jti", ""), ()):
            found.add("value")
        return found


def gone_of(conn: Conn, study: str, rows: Iterable[RedactionRow]) -> Gone:
    """What these redactions mean for refused statements."""
    gone = Gone.of(rows)
    for jti, names in gone.by_jti.items():
        recorded = statements.find_event(conn, study, jti)
        if recorded is not None:
            claims = read_stored(recorded.jwt, ()).claims
            if claims["event"] not in _ACTS:
                gone.by_place.setdefault((claims["event"], claims["sub"]), set()).update(names)
    return gone


def without_copies(data: bytes, gone: Gone) -> bytes | None:
    """The refused bytes without what is redacted; None where they hold nothing of it."""
    try:
        statement = parse(data)
    except Malformed:
        return None
    names = disclosures_by_digest(statement.disclosures)
    hidden = gone.fields_of(statement.claims)
    kept = [
        text
        for text, (digest, name) in zip(statement.disclosures, names.items(), strict=True)
        if digest not in gone.digests and name not in hidden
    ]
    if len(kept) == len(statement.disclosures):
        return None
    return "~".join((statement.jwt, *kept, "")).encode()


def strip_refusals(conn: Conn, study: str, rows: Iterable[RedactionRow]) -> int:
    """Take what is redacted out of the refusal list; returns how many refused statements held copies."""
    gone, stripped = gone_of(conn, study, rows), 0
    for number, data in redactions.whole_refusals(conn, study, STATEMENT_LIMIT):
        remaining = without_copies(data, gone)
        if remaining is not None:
            redactions.redact_refusal(conn, number, remaining)
            stripped += 1
    return stripped
