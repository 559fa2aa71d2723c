"""The differences of a comparison, kept beside the rows of the newer read model.

Rules:
- they hold values of rows, and share their fate: a partition that is made anew loses its differences
  (`tables.empty_partition`), and with the schema all go;
- they are written in one transaction, which takes the read model's position at its end: a redaction that came while
  the comparison was looking has then either been taken in, and what was seen of its subject is left out here, or will
  be taken in later, and takes it away;
- between a redaction and its being taken in, nothing of its subject is given to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from projections.engine import tables
from projections.engine.comparing import Write
from projections.engine.difference import Difference
from projections.engine.errors import StudyNotKnown
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]

FETCH = 2_000
"""Differences held in memory at a time."""


@contextmanager
def keeping(conn: Conn, study: str, schema: str, size: int) -> Iterator[Write]:
    """Gives what writes a comparison's differences, made at `size`, in the place of those kept before. In a transaction
    on `conn`, which is not the comparison's own connection: it begins with the first difference, for the digests take
    their time. Nothing is kept where the block raises."""
    own = _own(conn, study)
    begun = False
    with ExitStack() as stack:

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                stack.enter_context(conn.transaction())
                conn.execute(on("empty_study", schema, tables.DIFFERENCES), {"study": study})

        def write(batch: Sequence[Difference]) -> None:
            begin()
            with conn.cursor() as cursor, cursor.copy(on("copy_differences", schema)) as copying:
                for one in batch:
                    copying.write_row((study, *one))

        yield write
        begin()
        conn.execute(SQL["lock_position"], {"study": study, "schema": schema})
        conn.execute(on("forget_redacted", schema), {"study": study, "own": own, "size": size})


def differences(
    conn: Conn,
    study: str,
    schema: str,
    partition: str | None = None,
    table: str | None = None,
    key: str | None = None,
    intended: bool | None = None,
    limit: int | None = None,
) -> Iterator[Difference]:
    """The differences kept of a study, in order, a few in memory at a time; of one partition, table and key where
    these are given. For a transaction."""
    exists = conn.execute(SQL["schema_exists"], {"schema": schema}).fetchone()
    if exists is None or not exists[0]:  # retired, or cancelled
        return
    values = {"study": study, "schema": schema, "own": _own(conn, study), "limit": limit}
    asked = {"partition": partition, "table": table, "key": key, "intended": intended}
    with conn.cursor(name="differences") as cursor:
        cursor.itersize = FETCH
        for row in cursor.execute(on("differences", schema), values | asked):
            yield Difference(*row)


def count(conn: Conn, study: str, schema: str, partition: str | None = None) -> int:
    """How many differences are kept, of a study or of one partition: fewer than were found where something was redacted
    since, or the tables are gone."""
    row = conn.execute(SQL["schema_exists"], {"schema": schema}).fetchone()
    if row is None or not row[0]:
        return 0
    row = conn.execute(on("count_differences", schema), {"study": study, "partition": partition}).fetchone()
    return int(row[0]) if row is not None else 0


def _own(conn: Conn, study: str) -> UUID:
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    return study_aggregate_id(row[0])
