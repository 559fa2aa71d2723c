"""The typed statements on redactions: which disclosures, carried out where, in events and in the refusal list.

Rules: a redaction is noted in the transaction that commits its second signature (`statements.finish_append`), or
from the register of a restored database; from that commit on no reader is given what it names. Rows are only added,
and every function here is harmless when repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL as Text
from psycopg.sql import Identifier

from ledger.store.rows import DestructionRow, RedactionRow
from ledger.store.sql import SQL

Conn = Connection[TupleRow]

REFUSALS_AT_ONCE = 100
"""Refused statements that are held in memory at a time: 256 KiB each at most."""


def insert_redactions(conn: Conn, study: str, rows: Sequence[RedactionRow]) -> None:
    """Redact disclosures; those that are redacted stay as they are."""
    columns = ("jti", "disclosure", "field", "ordered_idx", "effective_idx")
    values = {name: [getattr(row, name) for row in rows] for name in columns}
    conn.execute(SQL["insert_redactions"], {"study": study, **values})


def select_redactions(conn: Conn, study: str) -> list[RedactionRow]:
    """Every redacted disclosure of a study, in the order in which redactions took effect."""
    return [RedactionRow(*row) for row in conn.execute(SQL["select_redactions"], {"study": study})]


def took_effect(conn: Conn, study: str, idx: int) -> bool:
    """Whether the entry at an index is the second signature of a redaction."""
    return conn.execute(SQL["took_effect"], {"study": study, "idx": idx}).fetchone() is not None


def fields_redacted(conn: Conn, study: str, jti: str) -> dict[str, str]:
    """The redacted fields of one event id, each with its disclosure's digest."""
    return dict(conn.execute(SQL["fields_redacted"], {"study": study, "jti": jti}).fetchall())


def unsettled_studies(conn: Conn) -> list[str]:
    """The studies with a redaction that is not carried out everywhere."""
    return [study for (study,) in conn.execute(SQL["unsettled_studies"])]


def destroy(conn: Conn, study: str, jtis: Sequence[str]) -> int:
    """Destroy what is redacted of these events; returns how many disclosures were there."""
    found = conn.execute(SQL["undestroyed"], {"study": study, "jtis": list(jtis)}).fetchall()
    for index, keep, _ in found:
        conn.execute(SQL["redact"], {"study": study, "idx": index, "keep": keep})
    return sum(int(count) for _, _, count in found)


def undestroyed(conn: Conn, study: str, jtis: Sequence[str]) -> int:
    """How many redacted disclosures of these events are still stored."""
    return sum(
        int(count) for _, _, count in conn.execute(SQL["undestroyed"], {"study": study, "jtis": list(jtis)}).fetchall()
    )


def note_destruction(conn: Conn, study: str, row: DestructionRow) -> bool:
    """Note that a redaction was carried out in a place; False when that was noted before."""
    values = {name: getattr(row, name) for name in DestructionRow.__slots__}
    return conn.execute(SQL["note_destruction"], {"study": study, **values}).rowcount == 1


def select_destructions(conn: Conn, study: str) -> dict[tuple[int, str], DestructionRow]:
    """What was carried out, by the index of the second signature and the place."""
    rows = [DestructionRow(*row) for row in conn.execute(SQL["select_destructions"], {"study": study})]
    return {(row.effective_idx, row.place): row for row in rows}


def whole_refusals(conn: Conn, study: str, longest: int) -> Iterator[tuple[int, bytes]]:
    """Every refused statement of a study that is no longer than a statement may be: number and bytes."""
    after = 0
    while True:
        values = {"study": study, "after": after, "longest": longest, "limit": REFUSALS_AT_ONCE}
        found = conn.execute(SQL["whole_refusals"], values).fetchall()
        yield from ((number, bytes(data)) for number, data in found)
        if len(found) < REFUSALS_AT_ONCE:
            return
        after = found[-1][0]


def redact_refusal(conn: Conn, refusal: int, remaining: bytes) -> None:
    """Leave of a refused statement only `remaining`, and of its problem nothing that quotes it."""
    conn.execute(SQL["redact_refusal"], {"refusal": refusal, "remaining": remaining})


def kept_current(conn: Conn, study: str, fingerprints: Sequence[str]) -> list[tuple[str, int, bool]]:
    """The read models of a study that are followed or were: schema, position, whether made by one of these codes."""
    values = {"study": study, "fingerprints": list(fingerprints)}
    return [(schema, position, known) for schema, position, known in conn.execute(SQL["kept_current"], values)]


def stands_still(conn: Conn, schema: str, study: str) -> bool:
    """Whether a read model of a study stands still as a whole. One that only stands still in some partitions takes
    redactions into these as well."""
    query = Text(SQL["stands_still"]).format(schema=Identifier(schema))
    return any((row[0], row[1]) == (study, "*") for row in conn.execute(query).fetchall())


def built_since(conn: Conn, study: str, idx: int) -> list[str]:
    """Schemas in which a read model is being built from the events below a size beyond this index: whoever builds it
    was never given what is redacted there."""
    return [schema for (schema,) in conn.execute(SQL["built_since"], {"study": study, "idx": idx})]


def analyze_read_models(conn: Conn, schemas: Sequence[str]) -> None:
    """Have the planner's statistics of these read models made anew: they hold samples of values."""
    for schema, table in conn.execute(SQL["read_model_tables"], {"schemas": list(schemas)}).fetchall():
        conn.execute(Text(SQL["analyze_table"]).format(table=Identifier(schema, table)))


def forget_read_models(conn: Conn, study: str, but: Sequence[str] = ()) -> int:
    """Empty a study's rows in every read model but these, to be made anew from the log; for the projector's role.
    Returns how many tables it looked at."""
    row = conn.execute(SQL["forget_read_models"], {"study": study, "but": list(but)}).fetchone()
    return int(row[0]) if row else 0
