"""What each projection passes over, by decision of a person (`ledger/domain/skipping.py`): one function for following,
rebuilding, reading as of an earlier size, exporting and recomputing.

The decisions that count are those below the size that is known: a follower's those of the batch it takes in, anybody
else's those below the newest signed size. An aggregate is folded once for all projections that pass over the same of
its events; nearly always that is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.skipping import passed_over
from projections.engine.folding import NOTHING, stored_events, stored_statement
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

MOST_EVENTS = 2**53
"""Indexes are JSON's whole numbers."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event that a projection passes over: its index and name, its aggregate, and the index of the decision."""

    index: int
    event: str
    originator: UUID
    decided_at: int


@dataclass(frozen=True)
class Skips:
    """What the projections pass over in one study. Pure."""

    by_projection: Mapping[str, tuple[Skipped, ...]] = field(default_factory=dict)

    def of(self, projection: str, originator: UUID) -> frozenset[int]:
        """The indexes of this aggregate's events that a projection passes over."""
        found = self.by_projection.get(projection)
        if not found:
            return NOTHING
        return frozenset(one.index for one in found if one.originator == originator)

    def variants(self, projections: Iterable[str]) -> dict[UUID, tuple[frozenset[int], ...]]:
        """For each aggregate of which one of these projections passes something over: each different set of indexes
        that these projections pass over, the empty one included where one passes over nothing. Every other aggregate
        is folded once for all."""
        names = tuple(projections)
        concerned = {one.originator for name in names for one in self.by_projection.get(name, ())}
        return {about: tuple(dict.fromkeys(self.of(name, about) for name in names)) for about in concerned}


NO_SKIPS = Skips()

Told = tuple[str, Mapping[str, Any], int]
"""A decision: its event, its clear fields, its index."""


class Decided:
    """The decisions below a size, in order of the log; `place` gives the name and aggregate of the event at an index,
    None where there is none."""

    def __init__(self, told: Iterable[Told], place: Callable[[int], tuple[str, UUID] | None]) -> None:
        # One of another form is a later release's: whoever folds the study stands still at it.
        self._told = tuple(one for one in told if _understood(one[1]))
        self._place = place

    def skips(self, size: int) -> Skips:
        """What is passed over by the decisions below a size."""
        found = passed_over(one for one in self._told if one[2] < size)
        made = {name: tuple(self._skipped(indexes)) for name, indexes in found.items()}
        return Skips({name: skipped for name, skipped in made.items() if skipped})

    def _skipped(self, indexes: Mapping[int, int]) -> Iterable[Skipped]:
        for index in sorted(indexes):
            place = self._place(index)
            if place is not None:
                yield Skipped(index, *place, indexes[index])

    def since(self, size: int) -> set[tuple[str, UUID]]:
        """The projections and aggregates that decisions from a size on are about."""
        found = set()
        for _, body, index in self._told:
            place = self._place(body["index"]) if index >= size else None
            if place is not None:
                found.add((str(body["projection"]), place[1]))
        return found


def decided_below(conn: Conn, study: str, size: int) -> Decided:
    """The decisions of a study below a size, as the database has them."""
    told: list[Told] = []
    for event in stored_events(conn, "decisions", {"study": study, "stop": size}):
        statement = stored_statement(event)
        _, body, *_ = CATALOGUE.current(statement, event.idx)
        told.append((statement.event, body, event.idx))
    if not told:
        return NOTHING_DECIDED
    indexes = sorted({body["index"] for _, body, _ in told if _understood(body)})
    wanted = {"study": study, "indexes": indexes}
    places = {
        index: (str(topic).partition("/")[0], originator)
        for index, topic, originator in conn.execute(SQL["places"], wanted)
    }
    return Decided(told, places.get)


def _understood(body: Mapping[str, Any]) -> bool:
    index = body.get("index")
    return type(body.get("projection")) is str and type(index) is int and 0 <= index < MOST_EVENTS


NOTHING_DECIDED = Decided((), lambda index: None)


def skips_of(conn: Conn, study: str, size: int) -> Skips:
    """What the projections of a study pass over, by the decisions below a size."""
    return decided_below(conn, study, size).skips(size)
