"""The two aggregates, Study and Subject: each folds its own statements, in the order of the log.

`sub` decides where a statement belongs: `subject/<id>` to that subject, everything else to the study. Each
statement triggers exactly one event of the `eventsourcing` library; state is the records and, for the study,
the authority folded from them. What can be derived is derived by the concept files from the records, so that
there is one fold, and the projections use the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.domain import Aggregate

from ledger.authority import Authority
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.record import Record, Records
from ledger.signing.statement import Statement

AUTHORITY_EVENTS = frozenset(
    {
        "StudyOpened",
        "ActorEnrolled",
        "KeyEnrolled",
        "KeyRevoked",
        "DelegationGranted",
        "DelegationEnded",
        "LogKeyRotated",
        "CeremonyRequired",
        "PersonRenamed",
        "AccountabilityStated",
        "AccountabilityAccepted",
        "SignatureReaffirmed",
        "Countersigned",
    }
)


def record_of(statement: Statement, index: int, recorded_at: str, registrars_required: int = 1) -> Record:
    """The record that a statement becomes at its index, brought to the newest version of its event. Raises
    EventUnreadable, UpcastFailed."""
    model, body, content, earlier = CATALOGUE.current(statement, index)
    claims = statement.claims
    record = Record(index, recorded_at, statement.digest, statement.kid, claims, model.kind, body, content)
    record.pending = bool(CATALOGUE.countersigners(claims, registrars_required))
    record.earlier = earlier
    for name, gone in statement.redacted.items() if statement.redacted else ():
        record.redacted |= dict.fromkeys(record.now_named(name), gone)
    return record


class LedgerAggregate(Aggregate):
    """What Study and Subject share: records, and one event a statement."""

    class Recorded(Aggregate.Event):
        """A statement was recorded; `index` is its place in the log."""

        statement: Statement
        index: int
        recorded_at: str

        def apply(self, aggregate: LedgerAggregate) -> None:
            aggregate.fold(self.statement, self.index, self.recorded_at)

    class Begun(Aggregate.Created):
        """The first statement of a subject, or of the study, was recorded."""

        statement: Statement
        index: int
        recorded_at: str

        def apply(self, aggregate: LedgerAggregate) -> None:
            aggregate.fold(self.statement, self.index, self.recorded_at)

    def __init__(self) -> None:
        self.records = Records()

    @classmethod
    def begin(cls, id: UUID, statement: Statement, index: int, recorded_at: str) -> LedgerAggregate:
        """A new aggregate with its first statement."""
        moment = datetime.fromisoformat(recorded_at)
        return cls._create(
            cls.Begun, id=id, timestamp=moment, statement=statement, index=index, recorded_at=recorded_at
        )

    def record(self, statement: Statement, index: int, recorded_at: str) -> None:
        """Take in a statement that was decided: triggers exactly one event."""
        moment = datetime.fromisoformat(recorded_at)
        self.trigger_event(self.Recorded, timestamp=moment, statement=statement, index=index, recorded_at=recorded_at)

    def fold(self, statement: Statement, index: int, recorded_at: str) -> list[Record]:
        """Bring the state forward by one statement; returns its record and those it changed. Pure."""
        return self.records.apply(record_of(statement, index, recorded_at))


class Subject(LedgerAggregate):
    """Everything recorded about one subject."""

    class Recorded(LedgerAggregate.Recorded):
        """A statement about this subject."""

    class Begun(LedgerAggregate.Begun):
        """The first statement about this subject."""

    @property
    def label(self) -> str:
        """The subject as statements name it: `subject/<uuid>`."""
        return f"subject/{self.id}"


class Study(LedgerAggregate):
    """Everything recorded about the study itself, its sites, actors, cohorts and product units."""

    class Recorded(LedgerAggregate.Recorded):
        """A statement about the study."""

    class Begun(LedgerAggregate.Begun):
        """Genesis."""

    def __init__(self) -> None:
        super().__init__()
        self.authority = Authority()

    def fold(self, statement: Statement, index: int, recorded_at: str) -> list[Record]:
        """Bring records and authority forward by one statement; pure."""
        changed = self.records.apply(record_of(statement, index, recorded_at, self.authority.registrars_required))
        if statement.event in AUTHORITY_EVENTS:
            self.authority.apply(statement.claims, index)
        return changed

    @property
    def genesis(self) -> Record:
        """The StudyOpened record."""
        return self.records.by_event["StudyOpened"][0]


def study_aggregate_id(origin: str) -> UUID:
    """The id of a study's own aggregate: a UUIDv5 of the log's origin."""
    return uuid5(NAMESPACE_URL, f"https://{origin}")


def aggregate_id(claims: Mapping[str, Any], study_id: UUID) -> UUID:
    """Which aggregate a statement belongs to."""
    kind, _, name = claims["sub"].partition("/")
    return UUID(name) if kind == "subject" else study_id
