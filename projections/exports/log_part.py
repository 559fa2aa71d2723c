"""The log in a bundle: tiles, entries, checkpoints, and the disclosures that this recipient may see.

Rules:
- the log is always complete: whatever is withheld, every entry and every hash of the tree is there;
- a disclosure that was redacted is absent; one that this recipient may not see stands in `withheld.ndjson` by its
  digest, with the ground;
- everything is read in one snapshot and page by page: memory does not grow with the log.
Nothing is checked here that the verifier checks: what the database holds is what is handed out, or it is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.application import Ledger
from ledger.merkle.tiles import WIDTH, bundle_bytes
from ledger.merkle.tree import entry_bytes
from ledger.signing.statement import disclosure_digest
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.rows import EventRow
from ledger.verify import bundle as form
from projections.exports.refusals import EntriesNotWhole
from projections.exports.spool import Part, Spool

BUNDLES_AT_ONCE = 8
"""Entry bundles read in one statement: some 2,000 entries, 4 MB."""

OTHER_SUBJECT = "other subject"
"""The ground on which a bundle about one subject withholds the disclosures about the others."""

Report = Callable[[str, int, int], None]
"""(what is being done, how far, of how much)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose disclosures are handed out: everybody's (None), or those of these aggregates alone."""

    shown: frozenset[UUID] | None = None

    def withholds(self, row: EventRow) -> bool:
        """Whether the disclosures of this entry stay here."""
        return self.shown is not None and row.originator_id not in self.shown


def write_hash_tiles(ledger: Ledger, conn: Conn, study: str, size: int, spool: Spool) -> list[Part]:
    """Every hash tile of the tree of `size` entries, level by level, as the log serves them."""
    receipts, parts = ledger.receipts(study), []
    for level, n, width in form.tiles_of(size):
        if isinstance(level, str):
            break
        try:
            parts.append(spool.add(form.log_path(level, n, width), receipts.tile(conn, level, n, size)))
        except LookupError as missing:
            raise EntriesNotWhole(str(missing)) from None
    return parts


def write_entries(
    conn: Conn, study: str, size: int, scope: Scope, spool: Spool, report: Report
) -> tuple[list[Part], list[Part]]:
    """One pass over the log: the entry bundles; and the disclosures with the list of those withheld."""
    entries: list[Part] = []
    disclosures: list[Part] = []
    withheld: list[Part] = []
    with spool.long(form.WITHHELD, withheld) as listed:
        for n, rows in enumerate(_bundles(conn, study, size)):
            with _readable(rows):
                entries.append(spool.add(form.log_path("entries", n, len(rows)), _bundle(rows)))
                held = [row for row in rows if row.disclosures and scope.withholds(row)]
                listed.write(b"".join(_withheld(row) for row in held))
                shown = [row for row in rows if row.disclosures and not scope.withholds(row)]
                if shown:
                    lines = b"".join(form.disclosures_line(row.idx, row.disclosures) for row in shown)
                    disclosures.append(spool.add(form.disclosures_path(n), lines))
            report("entries", n * WIDTH + len(rows), size)
    return entries, disclosures + withheld


def write_checkpoints(conn: Conn, study: str, size: int, until: datetime, spool: Spool) -> list[Part]:
    """Every published checkpoint up to `size`, with the signatures known until a moment."""
    parts: list[Part] = []
    with spool.long(form.CHECKPOINTS, parts) as listed:
        for note in evidence.full_notes(conn, study, size, until):
            listed.write(form.checkpoint_line(note))
    return parts


def write_timestamps(conn: Conn, study: str, size: int, until: datetime, spool: Spool) -> list[Part]:
    """The RFC 3161 timestamps of those checkpoints that were received until a moment, and the list of them."""
    parts: list[Part] = []
    listed: list[dict[str, Any]] = []
    counted: Counter[int] = Counter()
    for row in evidence.select_timestamps(conn, study, size):
        if row.received_at <= until:
            path = form.token_path(row.size, counted[row.size])
            counted[row.size] += 1
            parts.append(spool.add(path, row.token))
            listed.append({"size": row.size, "file": path, "authority": row.authority})
    return [*parts, spool.add(form.TIMESTAMPS, form.canonical_json(listed) + b"\n")]


def _bundles(conn: Conn, study: str, size: int) -> Iterator[list[EventRow]]:
    """The rows of each entry bundle in order; raises EntriesNotWhole."""
    at_once = BUNDLES_AT_ONCE * WIDTH
    for start in range(0, size, at_once):
        stop = min(start + at_once, size)
        rows = _rows(conn, study, start, stop)
        for at in range(0, len(rows), WIDTH):
            yield rows[at : at + WIDTH]


def _rows(conn: Conn, study: str, start: int, stop: int) -> list[EventRow]:
    try:
        rows = statements.select_events(conn, study, start, stop, stop - start)
    except UnicodeDecodeError:
        raise EntriesNotWhole(f"an entry of {study} between {start} and {stop} is not text") from None
    found = {row.idx for row in rows}
    missing = [index for index in range(start, stop) if index not in found]
    if missing:
        raise EntriesNotWhole(f"the entry {missing[0]} of {study} is missing", missing)
    return rows


@contextmanager
def _readable(rows: list[EventRow]) -> Iterator[None]:
    """What no entry or disclosure can be is refused with the entries that it is among."""
    try:
        yield
    except ValueError as error:
        raise EntriesNotWhole(f"an entry between {rows[0].idx} and {rows[-1].idx} cannot be one: {error}") from None


def _bundle(rows: list[EventRow]) -> bytes:
    return bundle_bytes(entry_bytes(row.jwt, row.recorded_at) for row in rows)


def _withheld(row: EventRow) -> bytes:
    return form.withheld_line(row.idx, [disclosure_digest(one) for one in row.disclosures], OTHER_SUBJECT)
