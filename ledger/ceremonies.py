"""What the writer is told of a signing ceremony, and the marks by which this server knows its own rows.

A mark is a MAC (HMAC-SHA-256) by a secret of the installation's home over everything that a row says. Whoever can
write to the database and nothing else cannot make one: a row that was altered, copied or put there counts for
nothing. It stands beside the real fence, which is that only the person's passphrase opens the person's key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime

from ledger.domain.ceremony import Held
from ledger.store import accounts
from ledger.store.database import Conn


class Marks:
    """Marks by one secret of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, kind: str, *parts: str | int | bytes) -> bytes:
        """The mark of a row: 32 bytes over its kind and its parts, each told apart from the next."""
        told = json.dumps([kind, *(part.hex() if isinstance(part, bytes) else part for part in parts)])
        return hmac.digest(self._secret, told.encode(), hashlib.sha256)

    def fits(self, mark: bytes, kind: str, *parts: str | int | bytes) -> bool:
        """Whether a row's mark is this server's own."""
        return hmac.compare_digest(mark, self.of(kind, *parts))


def mark_of(marks: Marks, study: str, ceremony: str, row: accounts.CeremonyRow) -> bytes:
    """The mark that the row of a ceremony must have."""
    return marks.of(
        "ceremony",
        study,
        ceremony,
        row.actor,
        row.kid,
        row.token_hash,
        row.components,
        row.signed_iat,
        row.expires_at,
        row.digest,
    )


def held(connection: Conn, marks: Marks, study: str, ceremony: str, now: datetime) -> Held | None:
    """A ceremony as the rules ask about it (`ledger/domain/ceremony.py`); None of one that was not held here."""
    row = accounts.select_ceremony(connection, study, ceremony)
    if row is None or not hmac.compare_digest(row.mark, mark_of(marks, study, ceremony, row)):
        return None
    return Held(row.actor, row.digest, now.timestamp() > row.expires_at, row.used_at)
