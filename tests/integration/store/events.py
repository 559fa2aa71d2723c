"""Events to store, for tests of the store alone: well-formed rows whose statements nobody verifies here."""

from __future__ import annotations

import hashlib
import uuid
from uuid import UUID

from ledger.store.rows import EventRow, Head
from ledger.store.statements import Conn, begin_append, finish_append

STUDY = "NCT04014166"
ORIGIN = "ledger.example/study/NCT04014166"
ADA = UUID("00000000-0000-4000-8000-00000000ada0")
BEN = UUID("00000000-0000-4000-8000-00000000be00")


def event(idx: int, *, subject: UUID = ADA, version: int | None = None, topic: str = "VisitRecorded/1") -> EventRow:
    """The event at an index; its time grows with it."""
    return EventRow(
        idx=idx,
        originator_id=subject,
        originator_version=idx + 1 if version is None else version,
        topic=topic,
        jwt=f"eyJ0eXAi.{idx}.c2ln",
        disclosures=(f"WyJzYWx0{idx}", "WyJvY2N1cnJlZF9hdCJd", "WyJjb21tZW50Il0"),
        jti=str(uuid.uuid5(ADA, f"{idx} {topic}")),
        kid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U",
        recorded_at=f"2026-05-04T12:00:00.{idx:06d}Z",
        leaf_hash=hashlib.sha256(str(idx).encode()).digest(),
    )


def head_after(rows: list[EventRow]) -> Head:
    """A head that stands right after these events; its Merkle values are made up."""
    last = rows[-1]
    return Head(last.idx + 1, last.leaf_hash, hashlib.sha256(last.leaf_hash).digest(), last.recorded_at)


def append(conn: Conn, rows: list[EventRow], study: str = STUDY) -> None:
    """Appends as the writer does: under the head's lock, in one transaction."""
    begin_append(conn, study, [row.jti for row in rows])
    finish_append(conn, study, rows, head_after(rows))
