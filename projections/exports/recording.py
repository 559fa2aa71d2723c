"""What the ledger itself states about an export: DataExported, by the actor `ledger`, through the ordinary way in.

The event comes after the entries that the bundle holds, so it cannot be in it; it pins the bundle by its SHA-256, and
keeps what is needed to make the same bytes again: the size, the position of the projections, the subject, the policy,
and until when signatures and timestamps had been received.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.application import Ledger
from ledger.authority import LEDGER_ACTOR
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.refusals import Refusal
from ledger.signing.errors import Malformed
from ledger.signing.statement import make, read_stored
from ledger.store import statements
from ledger.store.database import Conn
from ledger.writer import Answer
from projections.exports.refusals import ExportNotRecorded

EVENT = "DataExported"
WHAT = "evidence bundle"
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Earlier:
    """An export that was recorded: at which index, the bundle's SHA-256 (base64url), and what it was made with."""

    index: int
    digest: str
    received_until: datetime
    policy: str | None


def record_export(ledger: Ledger, study: str, simulated: bool, last: str, facts: dict[str, Any]) -> Answer:
    """Record DataExported with these fields. In a study with a simulated clock the statement is dated like the `last`
    entry (`recorded_at`). Raises ExportNotRecorded, NoSeal."""
    key = ledger.seal(study)
    now = datetime.fromisoformat(last) if simulated else ledger.now()
    model = CATALOGUE.signed_as(EVENT)
    clear = model.clear_fields()
    given = {name: value for name, value in facts.items() if value is not None}
    claims = {
        "iss": LEDGER_ACTOR,
        "role": "system",
        "aud": ledger.origin(study),
        "sub": "study",
        "jti": str(uuid.uuid4()),
        "iat": int(now.timestamp()),
        "event": EVENT,
        "v": model.v,
        "body": {name: value for name, value in given.items() if name in clear},
    }
    text = make(key, claims, {name: value for name, value in given.items() if name not in clear})
    outcome = ledger.append(study, text)
    if isinstance(outcome, Refusal):
        raise ExportNotRecorded(f"{outcome.rule}: {outcome.because}. {outcome.remedy}")
    return outcome


def earlier_export(conn: Conn, study: str, size: int, as_of: int, subject: str | None) -> Earlier | None:
    """The first export of evidence that was recorded with exactly these, if there is one."""
    for index, body, content in _exports(conn, study, size):
        said = (body.get("what"), body.get("size"), body.get("as_of"), body.get("subject"))
        if said == (WHAT, size, as_of, subject):
            moment = datetime.fromisoformat(body["received_until"])
            return Earlier(index, str(body["digest"]), moment, content.get("policy"))
    return None


def earlier_digest(conn: Conn, study: str, what: str, as_of: int) -> tuple[int, str] | None:
    """Index and digest of the first export of this kind that was recorded at a position, if there is one."""
    for index, body, _ in _exports(conn, study, as_of):
        if (body.get("what"), body.get("as_of")) == (what, as_of):
            return index, str(body["digest"])
    return None


def _exports(conn: Conn, study: str, start: int) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Index, clear and disclosed fields of the exports recorded from an index on."""
    stop = statements.read_head(conn, study).size
    while True:
        rows = statements.select_events(conn, study, start, stop, PAGE, [EVENT])
        for row in rows:
            try:
                statement = read_stored(row.jwt, row.disclosures)
            except Malformed:  # altered after it was recorded: whoever verifies the log finds it
                continue
            if statement.iss == LEDGER_ACTOR:
                _, body, content, _ = CATALOGUE.current(statement, row.idx)
                yield row.idx, body, content
        if len(rows) < PAGE:
            return
        start = rows[-1].idx + 1
