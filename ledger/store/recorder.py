"""The adapter between the `eventsourcing` library and the ledger's own store.

The library gives the aggregates, the repository and the mapping of events; what it does itself for PostgreSQL
is not used, because it needs rights on the event table that nobody here has and orders commits by a table lock
(measured: DECISIONS.md). A stored event's state is the statement's JWT, byte for byte, its topic
`<event>/<version>`; what is not in the catalogue is never resolved, and a version newer than the code fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    IntegrityError,
    Mapper,
    Notification,
    StoredEvent,
    Subscription,
    Transcoder,
)
from eventsourcing.utils import Environment

from ledger.signing.statement import Statement, read_stored
from ledger.store.rows import EventRow


@dataclass(frozen=True)
class LedgerStoredEvent(StoredEvent):
    """A stored event with what stands beside the JWT: its disclosures, its index and the ledger's time."""

    disclosures: tuple[str, ...] = ()
    index: int = -1
    recorded_at: str = ""
    redacted: tuple[str, ...] = ()

    @classmethod
    def of_row(cls, row: EventRow) -> LedgerStoredEvent:
        """A row of `ledger.events` as the library knows stored events."""
        return cls(
            row.originator_id,
            row.originator_version,
            row.topic,
            row.jwt.encode(),
            row.disclosures,
            row.idx,
            row.recorded_at,
            row.redacted,
        )


@dataclass(frozen=True, slots=True)
class EventClasses:
    """The domain's event classes of one kind of aggregate, and the topics that may be resolved.

    `check(event, version, index)` raises for what the catalogue does not know.
    """

    begun: type[Any]
    recorded: type[Any]
    aggregate_topic: str
    check: Callable[[str, int, int], None]


class LedgerMapper(Mapper[UUID]):
    """Statements to stored events and back; pure."""

    def __init__(self, study_id: UUID, study: EventClasses, subject: EventClasses) -> None:
        self._study_id, self._study, self._subject = study_id, study, subject

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> LedgerStoredEvent:
        """State is the JWT's bytes, topic `<event>/<version>`."""
        event: Any = domain_event
        statement: Statement = event.statement
        return LedgerStoredEvent(
            event.originator_id,
            event.originator_version,
            f"{statement.event}/{statement.version}",
            statement.jwt.encode(),
            statement.disclosures,
            event.index,
            event.recorded_at,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """The event that a stored statement is; the catalogue upcasts its fields when it is folded."""
        assert isinstance(stored_event, LedgerStoredEvent)
        classes = self._study if stored_event.originator_id == self._study_id else self._subject
        event, _, version = stored_event.topic.partition("/")
        classes.check(event, int(version), stored_event.index)
        statement = read_stored(stored_event.state.decode(), stored_event.disclosures, stored_event.redacted)
        fields: dict[str, Any] = {
            "originator_id": stored_event.originator_id,
            "originator_version": stored_event.originator_version,
            "timestamp": datetime.fromisoformat(stored_event.recorded_at),
            "statement": statement,
            "index": stored_event.index,
            "recorded_at": stored_event.recorded_at,
        }
        first = stored_event.originator_version == 1
        if first:
            fields["originator_topic"] = classes.aggregate_topic
        domain_event: Any = object.__new__(classes.begun if first else classes.recorded)
        domain_event.__dict__.update(fields)
        return domain_event  # type: ignore[no-any-return]


class LedgerRecorder(ApplicationRecorder):
    """Reads from the ledger; writing goes through the study's writer, which decides again under its lock."""

    def __init__(
        self,
        read_aggregate: Callable[[UUID, int, int | None], Sequence[EventRow]],
        read_log: Callable[[int, int, int | None, Sequence[str]], Sequence[EventRow]],
        size: Callable[[], int],
        write: Callable[[Sequence[LedgerStoredEvent]], Sequence[int]],
    ) -> None:
        self._read_aggregate, self._read_log, self._size, self._write = read_aggregate, read_log, size, write

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Hand the statements to the writer; raises IntegrityError when one is refused or out of turn."""
        for event in stored_events:
            if not isinstance(event, LedgerStoredEvent):
                raise IntegrityError("only signed statements are recorded")
        return [index + 1 for index in self._write([e for e in stored_events if isinstance(e, LedgerStoredEvent)])]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Stored events of one aggregate by version."""
        rows = self._read_aggregate(UUID(str(originator_id)), gt or 0, lte)
        events = [LedgerStoredEvent.of_row(row) for row in rows]
        if desc:
            events.reverse()
        return events[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The log by notification id, which is the index plus one."""
        first = (start or 1) - (1 if inclusive_of_start or start is None else 0)
        rows = self._read_log(first, limit, stop, topics)
        return [
            Notification(row.originator_id, row.originator_version, row.topic, row.jwt.encode(), row.idx + 1)
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        """The size of the log; None while it is empty."""
        return self._size() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Not offered: readers follow the change feed, projections their own runner."""
        raise NotImplementedError("follow the change feed or a projection instead")


class LedgerFactory(InfrastructureFactory[Any]):
    """Gives an `eventsourcing` Application the ledger's mapper and recorder."""

    def __init__(self, mapper: LedgerMapper, recorder: LedgerRecorder) -> None:
        super().__init__(Environment())
        self._mapper, self._recorder = mapper, recorder

    def mapper(self, transcoder: Transcoder | None = None, mapper_class: Any = None) -> Any:
        """The ledger's mapper."""
        return self._mapper

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """The ledger's recorder; there are no snapshots."""
        return self._recorder

    def application_recorder(self) -> ApplicationRecorder:
        """The ledger's recorder."""
        return self._recorder

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> Any:
        """Not offered: projections keep their own positions."""
        raise NotImplementedError("projections keep their own positions")

    def process_recorder(self) -> Any:
        """Not offered: projections keep their own positions."""
        raise NotImplementedError("projections keep their own positions")
