"""The typed statements on events and heads, for the writer and the readers.

Contracts:
- every function takes an open connection of `Database` and leaves errors to `translated()`, which the
  database's context managers apply;
- functions that read outside a transaction see what is committed at that moment; for several answers
  about one moment use `Database.snapshot()`;
- `begin_append` and `finish_append` are one round trip each. Between them the study's head is locked:
  decide quickly. Whatever goes wrong in either, the transaction is rolled back before the error leaves;
  if it goes wrong during `finish_append`, the outcome may be unknown: take the lock again and look the
  event ids up, never retry blindly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from psycopg import Connection, Error
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from ledger.store.accounts import ceremony_values
from ledger.store.errors import StudyOriginDiffers, StudyUnknown
from ledger.store.redactions import insert_redactions
from ledger.store.rows import AppendStart, EventRow, Head, KnownEvent, RedactionRow
from ledger.store.sql import SQL

Conn = Connection[TupleRow]

LAST_VERSION = 2**63 - 1
"""The greatest bigint: "up to the latest"."""

ORIGIN_CONSTRAINTS = ("studies_origin_fixed", "studies_origin_key")
"""What `ledger.create_study` reports when the study has another origin, or the origin another study."""


def create_study(conn: Conn, study: str, origin: str) -> bool:
    """Makes a study's partition and empty head; False when they were there. Any number of processes may
    do this at once. Raises StudyOriginDiffers."""
    try:
        row = conn.execute(SQL["create_study"], {"study": study, "origin": origin}).fetchone()
    except UniqueViolation as error:
        if error.diag.constraint_name in ORIGIN_CONSTRAINTS:
            raise StudyOriginDiffers(f"{study} was to be opened as {origin}") from error
        raise
    return bool(row and row[0])


def select_studies(conn: Conn) -> dict[str, str]:
    """The origin of each study, by its identifier."""
    return dict(conn.execute(SQL["select_studies"]).fetchall())


# --- heads ---------------------------------------------------------------------------------------------


def lock_head(conn: Conn, study: str) -> Head:
    """Locks the head until the transaction ends. Raises StudyUnknown."""
    return head_of(study, conn.execute(SQL["lock_head"], {"study": study}, binary=True).fetchone())


def read_head(conn: Conn, study: str) -> Head:
    """The head as committed. Raises StudyUnknown."""
    return head_of(study, conn.execute(SQL["read_head"], {"study": study}, binary=True).fetchone())


def store_head(conn: Conn, study: str, head: Head) -> None:
    """Moves the head. Only after `insert_events` of exactly the events it adds: the database refuses a
    head that leaves a gap, shrinks, or goes back in time. Raises StudyUnknown."""
    if conn.execute(SQL["store_head"], _head_values(study, head)).rowcount == 0:
        raise StudyUnknown(study)


# --- appending -----------------------------------------------------------------------------------------


def begin_append(conn: Conn, study: str, jtis: Collection[str]) -> AppendStart:
    """Opens the transaction, locks the head and looks the event ids up, in one round trip."""
    with _abandoned_on_error(conn):
        with conn.pipeline():
            conn.execute(SQL["begin_append"])
            head = conn.execute(SQL["lock_head"], {"study": study}, binary=True)
            values = {"study": study, "jtis": [UUID(jti) for jti in jtis]}
            found = conn.execute(SQL["known_jtis_and_clock"], values, binary=True)
        *known, (_, _, _, database_time) = found.fetchall()
        return AppendStart(head_of(study, head.fetchone()), _known(row[:3] for row in known), database_time)


def finish_append(
    conn: Conn,
    study: str,
    rows: Sequence[EventRow],
    head: Head,
    redactions: Sequence[RedactionRow] = (),
    ceremonies: Sequence[tuple[str, int]] = (),
) -> None:
    """Inserts the events, moves the head and commits, in one round trip, with the redactions that take effect at
    these events and which of them names which ceremony. When it returns, the batch is durable."""
    with _abandoned_on_error(conn), conn.pipeline():
        conn.execute(SQL["insert_events"], _event_values(study, rows))
        if redactions:
            insert_redactions(conn, study, redactions)
        if ceremonies:
            conn.execute(SQL["insert_ceremony_uses"], ceremony_values(study, ceremonies))
        conn.execute(SQL["store_head"], _head_values(study, head))
        conn.execute(SQL["commit"])


def abandon(conn: Conn) -> None:
    """Ends an open transaction without recording anything, whatever state the connection is in. A
    connection that cannot even do this is closed: with it the server ends the transaction."""
    try:
        conn.rollback()
    except Error:
        conn.close()


def insert_events(conn: Conn, study: str, rows: Sequence[EventRow]) -> None:
    """Inserts a batch in one statement. The caller holds the head's lock and has checked the indexes."""
    conn.execute(SQL["insert_events"], _event_values(study, rows))


def known_jtis(conn: Conn, study: str, jtis: Collection[str]) -> dict[str, KnownEvent]:
    """Those of the event ids that the study has."""
    return _known(conn.execute(SQL["known_jtis"], {"study": study, "jtis": list(jtis)}, binary=True))


def redact(conn: Conn, study: str, idx: int, keep: Collection[str]) -> int:
    """Removes an event's disclosures except those to keep; returns how many it removed. Repeating it is
    harmless, and nothing that is gone comes back."""
    row = conn.execute(SQL["redact"], {"study": study, "idx": idx, "keep": list(keep)}).fetchone()
    return int(row[0]) if row else 0


# --- reading -------------------------------------------------------------------------------------------


def select_events(
    conn: Conn,
    study: str,
    start: int,
    stop: int,
    limit: int,
    events: Iterable[str] | None = None,
    originator_id: UUID | None = None,
    *,
    topics: Sequence[str] | None = None,
) -> list[EventRow]:
    """At most `limit` events with start <= idx < stop, in order. To go on, start after the last idx.

    `events` are names (None: all): they are found in every version, those that this release does not know as well, so
    that whoever reads them fails loudly instead of passing them over. `topics` are `<event>/<version>`, exactly these.
    """
    values: dict[str, Any] = {"study": study, "start": start, "stop": stop, "limit": limit}
    if events is not None:
        topics = topics_of(conn, study, events)
    values["topics"] = topics = None if topics is None else sorted(set(topics))
    if topics == []:
        return []
    if originator_id is not None:
        values["originator_id"] = originator_id
        return _events(conn, "select_events_by_originator", values)
    return _events(conn, "select_events" if topics is None else "select_events_by_topic", values)


def topics_of(conn: Conn, study: str, events: Iterable[str]) -> list[str]:
    """The topics under which a study holds these events, whatever their version."""
    values = {"study": study, "events": sorted(set(events))}
    return [topic for (topic,) in conn.execute(SQL["topics_of"], values)]


def all_topics(conn: Conn, study: str) -> list[str]:
    """Every topic of a study, whatever its version."""
    return [topic for (topic,) in conn.execute(SQL["all_topics"], {"study": study})]


def select_aggregate(
    conn: Conn, study: str, originator_id: UUID, after_version: int = 0, upto_version: int | None = None
) -> list[EventRow]:
    """One originator's events with after_version < version <= upto_version (None: the latest)."""
    upto = LAST_VERSION if upto_version is None else upto_version
    values = {"study": study, "originator_id": originator_id, "after": after_version, "upto": upto}
    return _events(conn, "select_aggregate", values)


def find_event(conn: Conn, study: str, jti: str) -> EventRow | None:
    """The event with this id, or None."""
    return next(iter(_events(conn, "find_event", {"study": study, "jti": jti})), None)


def latest_versions(conn: Conn, study: str, originator_ids: Iterable[UUID]) -> dict[UUID, int]:
    """The last version of each originator that has events; the others are absent."""
    values = {"study": study, "originator_ids": list(originator_ids)}
    return dict(conn.execute(SQL["latest_versions"], values, binary=True).fetchall())


def leaf_hashes(conn: Conn, study: str, start: int, stop: int) -> list[bytes]:
    """The stored leaf hashes with start <= idx < stop, in order; fewer when the study ends before."""
    values = {"study": study, "start": start, "stop": stop}
    return [leaf for (leaf,) in conn.execute(SQL["leaf_hashes"], values, binary=True)]


# --- from and to rows ----------------------------------------------------------------------------------


@contextmanager
def _abandoned_on_error(conn: Conn) -> Iterator[None]:
    try:
        yield
    except BaseException:
        abandon(conn)
        raise


def head_of(study: str, row: TupleRow | None) -> Head:
    """A row of the heads. Raises StudyUnknown when there is none."""
    if row is None:
        raise StudyUnknown(study)
    size, frontier, root, last_recorded_at = row
    return Head(size, frontier, root, last_recorded_at)


def _head_values(study: str, head: Head) -> dict[str, object]:
    return {
        "study": study,
        "size": head.size,
        "frontier": head.frontier,
        "root": head.root,
        "last_recorded_at": head.last_recorded_at,
    }


def _known(rows: Iterable[TupleRow]) -> dict[str, KnownEvent]:
    return {jti: KnownEvent(idx, digest) for jti, idx, digest in rows}


def _events(conn: Conn, name: str, values: dict[str, Any]) -> list[EventRow]:
    return [
        EventRow(idx, originator, version, topic, state.decode("ascii"), tuple(shown), jti, kid, at, leaf, tuple(gone))
        for idx, originator, version, topic, state, shown, jti, kid, at, leaf, gone in conn.execute(
            SQL[name], values, binary=True
        )
    ]


def _event_values(study: str, rows: Sequence[EventRow]) -> dict[str, object]:
    """The batch as one array per column. Joining disclosures by the character that separates them in a
    statement (RFC 9901 section 4) keeps the arrays plain; an empty one or one with that character in it
    was never a disclosure."""
    if any(not one or "~" in one for row in rows for one in row.disclosures):
        raise ValueError("a disclosure is a non-empty base64url text")
    return {
        "study": study,
        "idx": [row.idx for row in rows],
        "originator_id": [row.originator_id for row in rows],
        "originator_version": [row.originator_version for row in rows],
        "topic": [row.topic for row in rows],
        "state": [row.jwt.encode("ascii") for row in rows],
        "disclosures": ["~".join(row.disclosures) for row in rows],
        "jti": [UUID(row.jti) for row in rows],
        "kid": [row.kid for row in rows],
        "recorded_at": [row.recorded_at for row in rows],
        "leaf_hash": [row.leaf_hash for row in rows],
    }
