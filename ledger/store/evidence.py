"""The typed statements on evidence: checkpoints, tiles, cosignatures; and on the two sealed lists.

Rules: rows are only added. Storing the same checkpoint or tile again is harmless (a signer that restarts
re-releases the same bytes); a different one for the same place is the sign of a fork and is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.merkle.tiles import WIDTH, tile_root
from ledger.merkle.tree import HASH_BYTES
from ledger.store.errors import EvidenceConflict
from ledger.store.rows import CheckpointRow, SigningStart, TileRow, TimestampRow
from ledger.store.sql import SQL
from ledger.store.statements import head_of

Conn = Connection[TupleRow]

REPLACEMENT = "\ufffd"
"""What stands in the refusal list for characters that PostgreSQL cannot hold (NUL, lone surrogates)."""


def insert_checkpoint(conn: Conn, study: str, checkpoint: CheckpointRow) -> bool:
    """Stores a checkpoint and hints to every Listener that the study is signed as far; False when it is there.
    Raises EvidenceConflict when one of this size with another root or note is there."""
    values = {
        "study": study,
        "size": checkpoint.size,
        "root": checkpoint.root,
        "note": checkpoint.note,
        "signed_at": checkpoint.signed_at,
    }
    [(inserted, _)] = conn.execute(SQL["insert_checkpoint"], values).fetchall()
    if inserted:
        return True
    stored = checkpoint_at(conn, study, checkpoint.size)
    if stored is None or (stored.root, stored.note) != (checkpoint.root, checkpoint.note):
        raise EvidenceConflict(f"checkpoint of {study} at size {checkpoint.size}")
    return False


def begin_signing(conn: Conn, study: str, start: int, limit: int) -> SigningStart:
    """The newest checkpoint, the head, and at most `limit` entries from the index `start` up to the head, as of one
    moment. Raises StudyUnknown."""
    values = {"study": study, "start": start, "limit": limit}
    rows = conn.execute(SQL["begin_signing"], values, binary=True).fetchall()
    first = rows[0] if rows else (None,) * 13
    newest = CheckpointRow(*first[:4]) if first[0] is not None else None
    head = head_of(study, first[4:8] if rows else None)
    entries = [row[8:12] for row in rows if row[8] is not None]
    return SigningStart(newest, head, entries, tuple(first[12] or ()))


def latest_checkpoint(conn: Conn, study: str) -> CheckpointRow | None:
    """The checkpoint of the greatest size, or None before the first."""
    return _checkpoint(conn, "latest_checkpoint", {"study": study})


def checkpoint_at(conn: Conn, study: str, size: int) -> CheckpointRow | None:
    """The checkpoint of exactly this size, or None."""
    return _checkpoint(conn, "checkpoint_at", {"study": study, "size": size})


def checkpoint_covering(conn: Conn, study: str, idx: int) -> CheckpointRow | None:
    """The smallest checkpoint with size > idx, or None while the event is not under a checkpoint."""
    return _checkpoint(conn, "checkpoint_covering", {"study": study, "idx": idx})


def insert_tiles(conn: Conn, study: str, tiles: Sequence[TileRow]) -> None:
    """Stores full tiles; those that are there are left. Raises EvidenceConflict when one differs."""
    values = {
        "study": study,
        "level": [tile.level for tile in tiles],
        "n": [tile.n for tile in tiles],
        "hashes": [tile.hashes for tile in tiles],
        "root": [tile_root(tile.hashes) if len(tile.hashes) == WIDTH * HASH_BYTES else b"" for tile in tiles],
    }
    conn.execute(SQL["insert_tiles"], values)
    differing = conn.execute(SQL["differing_tiles"], values).fetchall()
    if differing:
        raise EvidenceConflict(f"tiles of {study} (level, number): {differing}")


def read_tile(conn: Conn, study: str, level: int, n: int) -> bytes | None:
    """The 8,192 bytes of a full tile, or None while it is not full."""
    values = {"study": study, "level": level, "n": n}
    row = conn.execute(SQL["read_tile"], values, binary=True).fetchone()
    return row[0] if row else None


def tile_roots(conn: Conn, study: str, level: int, start: int, stop: int) -> list[bytes]:
    """The roots of the full tiles of a level with start <= n < stop, in order; fewer while some are not full."""
    values = {"study": study, "level": level, "start": start, "stop": stop}
    return [root for (root,) in conn.execute(SQL["tile_roots"], values, binary=True)]


def insert_cosignature(conn: Conn, study: str, size: int, witness: str, line: str, received_at: datetime) -> bool:
    """Stores a witness's signature line under a checkpoint; False when this witness's is there."""
    values = {"study": study, "size": size, "witness": witness, "line": line, "received_at": received_at}
    return conn.execute(SQL["insert_cosignature"], values).rowcount == 1


def renew_cosignature(conn: Conn, study: str, size: int, witness: str, line: str, received_at: datetime) -> None:
    """Stores a witness's later line under a checkpoint that it has cosigned before."""
    values = {"study": study, "size": size, "witness": witness, "line": line, "received_at": received_at}
    conn.execute(SQL["renew_cosignature"], values)


def cosigned_sizes(
    conn: Conn, study: str, witnesses: Sequence[str], below: int, limit: int
) -> list[tuple[int, list[str]]]:
    """Sizes < `below` that any of these witnesses cosigned, the greatest first, each with who of them did."""
    values = {"study": study, "witnesses": list(witnesses), "below": below, "limit": limit}
    return [(size, names) for size, names in conn.execute(SQL["cosigned_sizes"], values)]


def newest_cosignatures(conn: Conn, study: str, witnesses: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """The greatest size each of these witnesses cosigned, and when its newest line for it came."""
    rows = conn.execute(SQL["newest_cosignatures"], {"study": study, "witnesses": list(witnesses)})
    return {witness: (size, at) for witness, size, at in rows}


def insert_timestamp(conn: Conn, study: str, stamp: TimestampRow) -> None:
    """Stores a time stamp of a checkpoint."""
    values = {
        "study": study,
        "size": stamp.size,
        "authority": stamp.authority,
        "token": stamp.token,
        "stamped_at": stamp.stamped_at,
        "received_at": stamp.received_at,
    }
    conn.execute(SQL["insert_timestamp"], values)


def select_timestamps(conn: Conn, study: str, upto: int) -> list[TimestampRow]:
    """The time stamps of checkpoints of at most this size, in order of size, authority and arrival."""
    rows = conn.execute(SQL["select_timestamps"], {"study": study, "upto": upto}, binary=True)
    return [TimestampRow(*row) for row in rows]


def newest_timestamps(conn: Conn, study: str) -> dict[str, tuple[int, datetime, datetime]]:
    """Of each authority the time stamp that came last: size, the time in it, when it came."""
    rows = conn.execute(SQL["newest_timestamps"], {"study": study}, binary=True)
    return {authority: (size, stamped_at, received_at) for authority, size, stamped_at, received_at in rows}


def select_cosignatures(conn: Conn, study: str, size: int) -> dict[str, str]:
    """The newest signature line of each witness under this checkpoint."""
    values = {"study": study, "size": size}
    return dict(conn.execute(SQL["select_cosignatures"], values).fetchall())


def full_note(conn: Conn, study: str, checkpoint: CheckpointRow) -> str:
    """A checkpoint's note with every signature line known of it: the log's own and the witnesses', in order of name.

    `witness` in the table is `<key name>+<key id in hex>`; `line` is a signature line without its line feed.
    """
    lines = select_cosignatures(conn, study, checkpoint.size).values()
    return checkpoint.note + "".join(f"{line}\n" for line in lines)


NOTES_AT_ONCE = 500
"""Checkpoints read at once for an export: with a handful of post-quantum signatures each some megabytes."""


def full_notes(conn: Conn, study: str, upto: int, until: datetime, after: int = -1) -> Iterator[str]:
    """The notes of the checkpoints above the size `after` up to another, in order, each with the signature lines of
    it that were received until a moment: as `full_note` gave them then. For a snapshot; read page by page."""
    values = {"study": study, "after": after, "upto": upto, "until": until, "limit": NOTES_AT_ONCE}
    while True:
        found = conn.execute(SQL["select_full_notes"], values).fetchall()
        for _, note, lines in found:
            yield note + "".join(f"{line}\n" for line in lines)
        if len(found) < NOTES_AT_ONCE:
            return
        values["after"] = found[-1][0]


def insert_refusal(
    conn: Conn,
    *,
    study: str | None,
    at: datetime,
    rule: str,
    status: int,
    because: Any,
    jti: str | None,
    iss: str | None,
    statement: bytes,
) -> int:
    """Keeps a refused statement as received and returns its number in the list.

    What was refused may be anything: text that PostgreSQL cannot hold is stored with a replacement
    character; `statement` itself is bytes and stays exact, with its SHA-256 beside it.
    """
    values = {
        "study": storable(study),
        "at": at,
        "rule": storable(rule),
        "status": status,
        "because": Jsonb(storable(because)),
        "jti": storable(jti),
        "iss": storable(iss),
        "statement": statement,
        "digest": hashlib.sha256(statement).digest(),
    }
    [(refused_id,)] = conn.execute(SQL["insert_refusal"], values).fetchall()
    return int(refused_id)


def insert_access(
    conn: Conn,
    *,
    study: str | None,
    at: datetime,
    actor: str,
    role: str,
    action: str,
    target: str,
    details: Any,
) -> int:
    """Notes an access (reading, exporting, signing in) and returns its number in the list."""
    values = {
        "study": storable(study),
        "at": at,
        "actor": storable(actor),
        "role": storable(role),
        "action": storable(action),
        "target": storable(target),
        "details": Jsonb(storable(details)),
    }
    [(access_id,)] = conn.execute(SQL["insert_access"], values).fetchall()
    return int(access_id)


def storable(value: Any) -> Any:
    """The JSON value with every character replaced that PostgreSQL's text cannot hold."""
    if isinstance(value, str):
        text = value.replace("\x00", REPLACEMENT)
        return "".join(REPLACEMENT if "\ud800" <= c <= "\udfff" else c for c in text)
    if isinstance(value, dict):
        return {storable(str(key)): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value


def _checkpoint(conn: Conn, name: str, values: dict[str, Any]) -> CheckpointRow | None:
    row = conn.execute(SQL[name], values, binary=True).fetchone()
    return CheckpointRow(*row) if row else None


def count_refusals(conn: Conn, study: str) -> int:
    """How many statements of a study were refused."""
    [(count,)] = conn.execute(SQL["count_refusals"], {"study": study}).fetchall()
    return int(count)


def select_refusals(conn: Conn, study: str, after: int, limit: int, longest: int) -> Iterator[dict[str, Any]]:
    """Refused statements in order: number, time, rule, status, problem, event id, actor, digest (hex), and the bytes
    (None where there are more than `longest`). Fetched one at a time: what was refused may be long."""
    names = ("refusal", "at", "rule", "status", "problem", "jti", "iss", "digest", "statement")
    values = {"study": study, "after": after, "limit": limit, "longest": longest}
    with conn.cursor() as cursor:
        for row in cursor.stream(SQL["select_refusals"], values):
            found = dict(zip(names, row, strict=True))
            found["at"], found["digest"] = found["at"].isoformat(), found["digest"].hex()
            yield found
