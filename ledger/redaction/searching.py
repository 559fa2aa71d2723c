"""Where a text stands: in disclosures, which can be redacted; in the clear, which cannot; in the refusal list.

A literal text, whatever the case of its letters, inside any value; names of fields are not values. What is redacted
already is found nowhere. Read page by page, so that memory does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from ledger.domain.redaction import quoted
from ledger.signing.errors import Malformed
from ledger.signing.statement import disclosures_by_digest, parse, read_stored
from ledger.signing.wire import STATEMENT_LIMIT
from ledger.store import redactions, statements
from ledger.store.database import Conn
from ledger.store.rows import EventRow

PAGE = 500
"""Entries read at a time: at most 128 MiB of the largest, usually one."""
MAX_FOUND = 1_000
"""Places that one search lists: whoever finds more searches for something longer."""
IN_THE_CLEAR = ("body", "iss", "sub", "site", "role")
"""Claims that hold words; they are signed in the clear and stay for ever."""


@dataclass(frozen=True, slots=True)
class Place:
    """A field that holds a text. `disclosure` is the digest of its disclosure; None: it stands in the clear, and
    cannot be redacted."""

    index: int
    jti: str
    digest: str
    event: str
    sub: str
    site: str | None
    field: str
    disclosure: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; it never holds the text."""
        return asdict(self)


def search(
    conn: Conn, study: str, texts: Collection[str], size: int, aggregate: UUID | None = None, limit: int = MAX_FOUND
) -> Iterator[Place]:
    """The places among the first `size` entries that hold one of these texts, in order of the log, `limit` at most."""
    start, left = 0, limit
    while texts:
        rows = statements.select_events(conn, study, start, size, PAGE, None, aggregate)
        for row in rows:
            for place in places(row, texts):
                if not left:
                    return
                left -= 1
                yield place
        if len(rows) < PAGE:
            return
        start = rows[-1].idx + 1


def places(row: EventRow, texts: Collection[str]) -> Iterator[Place]:
    """The fields of one entry that hold one of these texts."""
    statement = read_stored(row.jwt, row.disclosures)
    about = (row.idx, row.jti, statement.digest, statement.event, statement.sub, statement.site)
    digests = {name: digest for digest, name in disclosures_by_digest(row.disclosures).items()}
    for name, value in statement.content.items():
        if quoted(value, texts):
            yield Place(*about, name, digests[name])
    for name in IN_THE_CLEAR:
        if quoted(statement.claims.get(name), texts):
            yield Place(*about, name, None)


def search_refusals(conn: Conn, study: str, texts: Collection[str]) -> list[int]:
    """The numbers of the refused statements whose disclosures hold one of these texts."""
    found = []
    for number, data in redactions.whole_refusals(conn, study, STATEMENT_LIMIT) if texts else ():
        try:
            content = parse(data, partial=True).content
        except Malformed:
            content = {"bytes": data.decode("utf-8", "replace")}
        if quoted(dict(content), texts):
            found.append(number)
    return found
