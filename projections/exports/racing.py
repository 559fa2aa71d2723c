"""What is redacted while an export is made does not leave with it.

An export reads one moment of the database, which may last minutes; a redaction that takes effect meanwhile is not in
it, and serving what it names has stopped. So the redactions of that moment are counted, and again before and after the
export goes on record: with one more nothing is handed out. What was handed out before is listed, not recalled.
"""

from __future__ import annotations

from ledger.application import Ledger
from ledger.store import redactions
from ledger.store.database import Conn
from projections.exports.refusals import RedactedMeanwhile


def redacted_so_far(conn: Conn, study: str) -> int:
    """How many disclosures of the study are redacted at the moment of this connection; they are only ever added."""
    return len(redactions.select_redactions(conn, study))


def refuse_if_redacted_since(ledger: Ledger, study: str, known: int) -> None:
    """Raises RedactedMeanwhile when there are more by now."""
    with ledger.database.connection() as conn:
        now = redacted_so_far(conn, study)
    if now > known:
        raise RedactedMeanwhile(f"{now - known} fields of {study} were redacted since the export began")
