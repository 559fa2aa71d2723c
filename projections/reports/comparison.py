"""What a comparison found, put together for showing: the report that an approval is about, the subjects' numbers,
examples of the differences, and what to do next.

The report is counts and names; everything else here is read when it is asked for, in one snapshot, and holds nothing
that is redacted: differences of a subject with a redaction that is not taken in are left out (`engine/kept.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from ledger.domain.aggregate import study_aggregate_id
from ledger.store.database import Conn
from projections.engine import kept
from projections.engine.approvals import approval_of
from projections.engine.comparing import Placed, placed
from projections.engine.definition import STUDY_PARTITION
from projections.engine.difference import Difference
from projections.engine.errors import NothingCompared, StudyNotKnown
from projections.engine.sql import SQL
from projections.naming import the_only

EXAMPLES = 10
"""Differences that a terminal shows of a comparison: enough to see what it is about."""

MAX_SHOWN = 1_000
"""Differences that a page shows, the unexplained ones first: the CSV has all."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two read models that were compared; `generation` is None where its tables are gone."""

    schema: str
    version: int
    fingerprint: str
    generation: int | None


@dataclass(frozen=True)
class Compared:
    """A comparison that was made, as it is kept; `places` of the subjects. `shown` are some of the `kept` differences,
    of the partition `only` where one was asked for. `approval`: the standing one of this report, or
    that of the switch."""

    study: str
    name: str
    own: UUID
    replay: UUID
    state: str
    before: Side
    after: Side
    report: Mapping[str, Any]
    digest: str
    approval: UUID | None
    places: Mapping[str, Placed] = field(default_factory=dict)
    only: str | None = None
    shown: tuple[Difference, ...] = ()
    kept: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """The shortest summary of the report."""
        found: Mapping[str, int] = self.report["counts"]
        return found

    @property
    def total(self) -> int:
        """All differences that were found."""
        return self.counts["intended"] + self.counts["unexplained"]

    def subject(self, partition: str) -> str:
        """A partition in words: the subject's number with its UUID, or the study itself."""
        if partition == STUDY_PARTITION:
            return "the study itself"
        place = self.places.get(partition)
        return partition if place is None or place.number is None else f"{place.number} ({partition})"


def compared(
    conn: Conn, study: str, name: str, replay: str | None = None, limit: int = EXAMPLES, subject: str | None = None
) -> Compared:
    """The last comparison of a projection, or that of a replay, with up to `limit` differences, the unexplained ones
    first; of one subject (UUID, number, `study`) where it is given. For a snapshot. Raises StudyNotKnown,
    NothingCompared, SubjectNotFound, SubjectAmbiguous."""
    found = _read(conn, study, name, replay)
    size = int(found.report["size"])
    places = placed(conn, study, found.own, size)
    only = None if subject is None else partition_of(places, subject, size)
    shown: list[Difference] = []
    for intended in (False, True):
        left = limit - len(shown)
        shown += kept.differences(conn, study, found.after.schema, only, intended=intended, limit=left)
    count = kept.count(conn, study, found.after.schema, only)
    return replace(found, places=places, only=only, shown=tuple(shown), kept=count)


def _read(conn: Conn, study: str, name: str, replay: str | None) -> Compared:
    origin = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if origin is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    values = {"study": study, "name": name, "replay": _uuid(replay)}
    row = conn.execute(SQL["compared"], values).fetchone()
    if row is None:
        which = "" if replay is None else f" by the replay {replay[:40]}"
        raise NothingCompared(f"nothing was compared yet of {name} in {study}{which}")
    id_, state = row[:2]
    before, after = Side(row[2], row[3], row[4], row[8]), Side(row[5], row[6], row[7], row[9])
    found = Compared(study, name, study_aggregate_id(origin[0]), id_, state, before, after, *row[10:])
    if state != "awaiting approval":
        return found
    return replace(found, approval=approval_of(conn, study, name, found.digest))


def _uuid(text: str | None) -> UUID | None:
    if text is None:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NothingCompared(f"{text[:40]!r} is no replay's id") from None


def partition_of(places: Mapping[str, Placed], subject: str, size: int) -> str:
    """The partition of a subject that is named by UUID or number, or of the study itself (`study`). Raises
    SubjectNotFound, SubjectAmbiguous."""
    by_uuid = subject.lower().removeprefix("subject/")
    if subject == STUDY_PARTITION or by_uuid in places:
        return by_uuid
    return the_only(subject, (name for name, place in places.items() if place.number == subject), size)


def all_of(conn: Conn, found: Compared) -> Iterator[Difference]:
    """Every difference that is kept, in order; of the subject alone that the comparison was asked for."""
    return kept.differences(conn, found.study, found.after.schema, found.only)


def next_steps(found: Compared) -> list[str]:
    """What a data manager can do now, each a sentence with its command."""
    command = f"trial-ledger projections {{}} {found.name} --study {found.study}"
    look = [
        f"See every difference: {command.format('diff')} --format html --output differences.html "
        "(or csv); one subject with the events behind it: --subject NUMBER."
    ]
    look = look if found.total else []
    if found.state == "awaiting approval" and found.approval is not None:
        return [
            *look,
            f"What is unexplained is approved ({found.approval}). Let the new version answer: "
            f"{command.format('switch')}; back is {command.format('rollback')}.",
        ]
    if found.state == "awaiting approval":
        return [
            f"Nothing declares what is counted as unexplained ({found.counts['unexplained']:,}): nothing is switched "
            "before a person has answered for it.",
            *look,
            f"If it is right: {command.format('approve')} --report {found.digest} --reason '...' --key FILE, "
            f"then {command.format('switch')}.",
            f"If it is not: {command.format('cancel')}, mend the projection, raise its version, and rebuild.",
        ]
    if found.state == "ready":
        return [*look, f"Let the new version answer: {command.format('switch')}; back is {command.format('rollback')}."]
    if found.state == "switched":
        return [*look, f"The new version answers. The way back: {command.format('rollback')}."]
    return look
