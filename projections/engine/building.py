"""Building: the rows of a study's aggregates below a ceiling, copied into the schemas of read models to be.

Rules:
- a build has many small parts, each a run of aggregates in order of their ids, folded once for all read models that are
  built together. A part is one transaction: it is claimed, built and noted as built at once. Whatever ends a worker, at
  whatever moment, its part is as if nobody had begun it, and whoever is there takes it;
- rows depend on the aggregates alone: not on the size of parts, on their order, on who built which;
- a part that is no longer there was taken away, by a cancellation or a redaction: nothing is built into its place;
- strict: an event that cannot be folded or that a handler cannot take in ends the build, and is named.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, Subject, study_aggregate_id
from ledger.domain.refusals import Refusal
from projections.engine import tables
from projections.engine.definition import STUDY_PARTITION, ReadModel, partition_of
from projections.engine.folding import (
    NOTHING,
    FoldFailed,
    StoredEvent,
    fold_one,
    new_aggregate,
    stored_statement,
)
from projections.engine.skips import Skips
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]

PART_EVENTS = 5_000
"""Events of one part, at least: a kill repeats no more than this of each worker, and a progress bar moves every second
or so. An aggregate is never divided."""

NICENESS = 10
"""What is rebuilt can wait; what is appended, read and followed comes first."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: a study's aggregates below the ceiling, for read models that were begun together and are equally
    far. Goes to worker processes."""

    url: str
    study: str
    origin: str
    models: tuple[tuple[str, int, str, int], ...]
    """Name, version, fingerprint and generation of each."""
    ceiling: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a build is: parts and events, all and those that are done, and the seconds that those took."""

    parts: int
    parts_done: int
    events: int
    events_done: int
    seconds: float
    which: tuple[int, ...]
    ceiling: int

    @property
    def complete(self) -> bool:
        """Whether every part is built."""
        return 0 < self.parts == self.parts_done or (self.parts == 0 and self.ceiling == 0)


class PartsGone(Exception):
    """What was to be built into was taken away meanwhile."""


class BuildFailed(Exception):
    """An event ended the build: of one projection (`projection`), or of all that were built together (None).

    `failure`: `index`, `event`, `subject` (None for the study's own), `rule` (None where the cause is no refusal) and
    `because`.
    """

    def __init__(self, projection: str | None, failure: dict[str, Any]) -> None:
        super().__init__(projection, failure)
        self.projection, self.failure = projection, failure

    def __str__(self) -> str:
        return said(self.failure)


def said(failure: dict[str, Any]) -> str:
    """A failure in a sentence."""
    about = f" of subject {failure['subject']}" if failure.get("subject") else ""
    rule = f" ({failure['rule']})" if failure.get("rule") else ""
    return f"{failure['event']} at index {failure['index']}{about}: {failure['because']}{rule}"


# -- parts -----------------------------------------------------------------------------------------------------


def begin_parts(conn: Conn, study: str, schema: str, ceiling: int, part_events: int = PART_EVENTS) -> None:
    """Note the parts of a build: the aggregates below the ceiling, in order of their ids, in runs of `part_events`
    events or a little more."""
    counted = conn.execute(SQL["originators"], {"study": study, "stop": ceiling}).fetchall()
    runs: list[list[Any]] = []
    for originator, count in counted:
        if not runs or runs[-1][2] >= part_events:
            runs.append([originator, originator, 0])
        runs[-1][1] = originator
        runs[-1][2] += count
    columns = [list(column) for column in zip(*runs, strict=True)] or [[], [], []]
    values = dict(zip(("firsts", "lasts", "events"), columns, strict=True))
    values["parts"] = list(range(1, len(runs) + 1))
    conn.execute(on("begin_parts", schema), {"study": study, "ceiling": ceiling, **values})


def standing(conn: Conn, study: str, schema: str) -> Standing:
    """How far the build in a schema is."""
    row = conn.execute(on("parts", schema), {"study": study}).fetchone()
    assert row is not None
    parts, done, events, events_done, seconds, which, ceiling = row
    return Standing(parts, done, int(events), int(events_done), float(seconds), tuple(which), ceiling)


def build_next(conn: Conn, order: Order, models: Sequence[ReadModel], skips: Skips) -> int | None:
    """Build the next part that nobody has; returns its events, or None where there is none left to take. In one
    transaction of its own. `skips`: what the decisions below the ceiling have projections pass over. Raises PartsGone,
    BuildFailed and the store's errors."""
    began = time.monotonic()
    with conn.transaction():
        values = {"study": order.study}
        claimed = conn.execute(on("claim_part", models[0].schema), values).fetchone()
        if claimed is None:
            return None
        part, first, last, events = claimed
        given = {**values, "first": first, "last": last, "stop": order.ceiling}
        found = (StoredEvent(*row) for row in conn.execute(SQL["events_of_part"], given, binary=True))
        for model, rows in _rows_of(found, order, models, skips):
            tables.copy(conn, model.schema, model.definition, rows)
        noted = {**values, "part": part, "ceiling": order.ceiling, "seconds": time.monotonic() - began}
        for model in models:
            if conn.execute(on("finish_part", model.schema), noted).rowcount != 1:
                raise PartsGone(model.schema)
    return int(events)


def _rows_of(
    events: Iterable[StoredEvent], order: Order, models: Sequence[ReadModel], skips: Skips
) -> list[tuple[ReadModel, dict[str, list[tuple[Any, ...]]]]]:
    """The rows of each read model for these events, one aggregate after another."""
    own = study_aggregate_id(order.origin)
    variants = skips.variants(model.definition.name for model in models)
    made: list[tuple[ReadModel, dict[str, list[tuple[Any, ...]]]]] = [(model, {}) for model in models]
    for originator, group in groupby(events, lambda event: event.originator):
        stored = list(group)
        folded = _folded(originator, own, stored, variants.get(originator, (NOTHING,)))
        for model, rows in made:
            passed = skips.of(model.definition.name, originator)
            aggregate = folded[passed]
            if isinstance(aggregate, BuildFailed):
                raise BuildFailed(model.definition.name if len(folded) > 1 else None, aggregate.failure)
            try:
                found = model.definition.rows(aggregate, list(aggregate.records))
                tables.collect(model.definition, order.study, partition_of(aggregate), found, rows)
            except Exception as error:  # whatever a handler raises: the event at which it first does is looked for
                raise _culprit(model, own, stored, passed, error) from error
    return made


def _folded(
    originator: UUID, own: UUID, events: Sequence[StoredEvent], variants: Iterable[frozenset[int]]
) -> dict[frozenset[int], Study | Subject | BuildFailed]:
    """An aggregate for each set of events that is passed over, or why it cannot be folded."""
    made: dict[frozenset[int], Study | Subject | BuildFailed] = {}
    for passed in variants:
        aggregate = made[passed] = new_aggregate(originator, own)
        try:
            for event in events:
                fold_one(aggregate, event, skipped=passed)
        except FoldFailed as failed:
            made[passed] = BuildFailed(None, _failure(originator, own, failed.index, failed.event, failed))
    return made


def _culprit(
    model: ReadModel, own: UUID, events: Sequence[StoredEvent], passed: frozenset[int], error: Exception
) -> BuildFailed:
    """The first event after which the handler fails, taken in one by one."""
    originator = events[0].originator
    aggregate = new_aggregate(originator, own)
    at, cause = events[-1], error
    for event in events:
        touched = fold_one(aggregate, event, skipped=passed)
        try:
            list(model.definition.rows(aggregate, touched))
        except Exception as first:
            at, cause = event, first
            break
    name = stored_statement(at).event
    return BuildFailed(model.definition.name, _failure(originator, own, at.idx, name, cause))


def _failure(originator: UUID, own: UUID, index: int, event: str, error: BaseException) -> dict[str, Any]:
    cause: BaseException = error.__cause__ if isinstance(error, FoldFailed) and error.__cause__ else error
    because = error.because if isinstance(error, FoldFailed) else f"{type(error).__name__}: {error}"
    return {
        "index": index,
        "event": event,
        "subject": None if originator == own else str(originator),
        "partition": STUDY_PARTITION if originator == own else str(originator),
        "rule": cause.rule if isinstance(cause, Refusal) else None,
        "because": because,
    }


def be_nice() -> None:
    """Let everybody else go first, where the system knows how."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
