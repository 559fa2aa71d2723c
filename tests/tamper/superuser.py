"""What a PostgreSQL superuser can do to a ledger's database: everything. Triggers are off, rows are rewritten.

Only the attacks of this folder use it. It knows the store's tables and the public formats, and keeps the database
plausible where an attacker would: versions without gaps, leaf hashes, tiles and head recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from ledger.merkle.checkpoint import Checkpoint, NoteSigner
from ledger.merkle.tiles import HashTiles
from ledger.merkle.tree import Frontier, entry_leaf_hash
from ledger.store import statements
from ledger.store.rows import EventRow


@dataclass(frozen=True)
class Superuser:
    """A superuser's connection, and the study that is attacked."""

    conn: Connection[TupleRow]
    study: str

    def fences_down(self) -> None:
        """Every trigger of the ledger is switched off, and what keeps event ids unique is dropped."""
        names = self.conn.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'ledger' AND c.relkind IN ('r', 'p')"
        ).fetchall()
        for (name,) in names:
            self.conn.execute(sql.SQL("ALTER TABLE ledger.{} DISABLE TRIGGER ALL").format(sql.Identifier(name)))
        unique = self.conn.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'ledger.events'::regclass AND contype = 'u'"
        ).fetchall()
        for (name,) in unique:
            self.conn.execute(sql.SQL("ALTER TABLE ledger.events DROP CONSTRAINT {}").format(sql.Identifier(name)))

    def rows(self) -> list[EventRow]:
        """Every event."""
        return statements.select_events(self.conn, self.study, 0, 2**60, 100_000)

    def row(self, idx: int) -> EventRow:
        """One event."""
        (found,) = statements.select_events(self.conn, self.study, idx, idx + 1, 1)
        return found

    def change(self, idx: int, **columns: Any) -> None:
        """Overwrite columns of one event."""
        for name, value in columns.items():
            statement = sql.SQL("UPDATE ledger.events SET {} = %s WHERE study_id = %s AND idx = %s")
            self.conn.execute(statement.format(sql.Identifier(name)), [value, self.study, idx])

    def remove(self, start: int, stop: int | None = None) -> None:
        """Delete a range of events."""
        values = [self.study, start, start + 1 if stop is None else stop]
        self.conn.execute("DELETE FROM ledger.events WHERE study_id = %s AND idx >= %s AND idx < %s", values)

    def put(self, rows: Sequence[EventRow]) -> None:
        """The whole log is replaced by these rows, with indexes and versions as a writer would give them."""
        self.conn.execute("DELETE FROM ledger.events WHERE study_id = %s", [self.study])
        versions: dict[UUID, int] = {}
        numbered = []
        for idx, row in enumerate(rows):
            versions[row.originator_id] = versions.get(row.originator_id, 0) + 1
            numbered.append(replace(row, idx=idx, originator_version=versions[row.originator_id]))
        statements.insert_events(self.conn, self.study, numbered)

    def rehash(self) -> None:
        """Leaf hashes, tiles and head are made to fit the rows."""
        rows = self.rows()
        leaves = [entry_leaf_hash(row.jwt, row.recorded_at) for row in rows]
        for row, leaf in zip(rows, leaves, strict=True):
            if row.leaf_hash != leaf:
                self.change(row.idx, leaf_hash=leaf)
        self.conn.execute("DELETE FROM ledger.tiles WHERE study_id = %s", [self.study])
        tiles = HashTiles(_nothing, lambda start, end: leaves[start:end])
        for level, n, tile, root in tiles.completed(0, len(leaves)):
            self.conn.execute(
                "INSERT INTO ledger.tiles VALUES (%s, %s, %s, %s, %s)", [self.study, level, n, tile, root]
            )
        grown = Frontier().extend(leaves)
        self.conn.execute(
            "UPDATE ledger.heads SET size = %s, frontier = %s, root = %s, last_recorded_at = %s WHERE study_id = %s",
            [len(leaves), b"".join(grown.peaks), grown.root(), rows[-1].recorded_at, self.study],
        )

    def forget_checkpoints(self, above: int = -1) -> None:
        """Checkpoints above a size are gone, with all that others said about them."""
        for table in ("cosignatures", "renewed_cosignatures", "timestamps", "checkpoints"):
            statement = sql.SQL("DELETE FROM ledger.{} WHERE study_id = %s AND size > %s")
            self.conn.execute(statement.format(sql.Identifier(table)), [self.study, above])

    def publish(self, origin: str, sizes: Sequence[int], key: NoteSigner) -> None:
        """Checkpoints of these sizes over the rows as they are now, signed with `key`."""
        leaves = [row.leaf_hash for row in self.rows()]
        for size in sizes:
            root = Frontier().extend(leaves[:size]).root()
            note = Checkpoint(origin, size, root).sign([key]).decode()
            values = [self.study, size, root, note, datetime.now(UTC)]
            self.conn.execute("INSERT INTO ledger.checkpoints VALUES (%s, %s, %s, %s, %s)", values)

    def published(self) -> list[int]:
        """The sizes of all checkpoints."""
        found = self.conn.execute("SELECT size FROM ledger.checkpoints WHERE study_id = %s ORDER BY size", [self.study])
        return [size for (size,) in found]


@contextmanager
def superuser(url: str, study: str) -> Iterator[Superuser]:
    """A superuser without fences in front of him."""
    with psycopg.connect(url, autocommit=True) as conn:
        user = Superuser(conn, study)
        user.fences_down()
        yield user


def _nothing(level: int, n: int) -> bytes:
    raise AssertionError(f"tile {level}/{n} is not there yet")
