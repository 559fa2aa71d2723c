"""How many events of each version a study holds: exact for the signed size, and there at once however long the log is.

Rules:
- a follower adds up the log range by range, each once, counts and the size that they reach in one transaction;
- a reading adds what was recorded since, read by index range: fewer than `COUNT_AT` events while somebody follows;
- an append does nothing for it;
- a database that was put back to an earlier state is counted anew.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.catalogue import CATALOGUE
from projections.engine.errors import StudyNotKnown
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

COUNT_AT = 5_000
"""Events that wait before they are counted: a reading counts as many in 2 ms, and a follower does it rarely."""

COUNT_ONCE = 200_000
"""Events of one transaction of counting: below 0.1 s."""


def count_what_waits(conn: Conn) -> int:
    """Count, in every study, the signed events that wait to be counted; returns how many were. Several processes may do
    it at once: each range is counted by one of them."""
    counted = 0
    for study, signed in conn.execute(SQL["uncounted"], {"at_least": COUNT_AT}).fetchall():
        while (done := _count(conn, study, signed)) > 0:
            counted += done
    return counted


def _count(conn: Conn, study: str, signed: int) -> int:
    """One range of a study; 0 where nothing is left of it, or another process is counting."""
    with conn.transaction():
        row = conn.execute(SQL["lock_counted"], {"study": study}).fetchone()
        if row is None:
            conn.execute(SQL["begin_counting"], {"study": study})
            row = conn.execute(SQL["lock_counted"], {"study": study}).fetchone()
        if row is None:
            return 0
        start = int(row[0])
        if start > signed:  # the database was put back to an earlier state
            conn.execute(SQL["forget_counts"], {"study": study})
            start = 0
        stop = min(start + COUNT_ONCE, signed)
        values = {"study": study, "start": start, "stop": stop}
        if stop > start:
            conn.execute(SQL["add_counts"], values)
        conn.execute(SQL["counted_to"], values)
        return stop - start


def event_versions(conn: Conn, study: str) -> dict[str, Any]:
    """Every version of every event that a study holds up to its signed size, with their number and what this release
    makes of it, in a transaction that sees one moment: `study`, `size`, and `events` in order of name and version, each
    `event`, `version`, `count`, `current` (this release's version of it, None where it does not know the event) and
    `read_as`: "written" where that is the version, "upcast" where an upcaster brings it there, "unknown" where only a
    later release can read it. Raises StudyNotKnown."""
    row = conn.execute(SQL["counted_of"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    signed, counted = int(row[0]), int(row[1])
    usable = counted <= signed
    totals: dict[str, int] = {}
    if usable:
        totals.update(conn.execute(SQL["event_counts"], {"study": study}).fetchall())
    rest = {"study": study, "start": counted if usable else 0, "stop": signed}
    for topic, count in conn.execute(SQL["count_range"], rest):
        totals[topic] = totals.get(topic, 0) + count
    found = sorted((*_split(topic), count) for topic, count in totals.items())
    return {"study": study, "size": signed, "events": [_told(*one) for one in found]}


def _split(topic: str) -> tuple[str, int]:
    event, _, version = topic.rpartition("/")
    return event, int(version)


def _told(event: str, version: int, count: int) -> dict[str, Any]:
    current = CATALOGUE[event].v if event in CATALOGUE else None
    read_as = "unknown"
    if current is not None and version <= current:
        read_as = "written" if version == current else "upcast"
    return {"event": event, "version": version, "count": count, "current": current, "read_as": read_as}
