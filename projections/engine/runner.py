"""Following the ledger: batch by batch, rows and position in one transaction.

Rules:
- up to the signed size, never beyond: what a projection shows is under a checkpoint;
- each batch is read and folded once for all projections that stand at the same position;
- a projection's row of positions is taken FOR UPDATE SKIP LOCKED: several followers share the work, and none
  does what another is doing. Whatever ends a follower, at whatever moment, leaves rows and position together;
- a projection that nothing answers for in a study is begun; every read model that has a position there and whose
  version this release has is kept current, whether it answers or not. Which one answers is not decided here;
- an event that a projection cannot take in stops that projection for that study and nothing else; its
  readers are told, an alarm is logged. A follower that starts tries it once more;
- hints that the ledger grew are only hints: it is looked at every `POLL_S` as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import Database, Listener
from ledger.store.errors import StoreError
from projections.engine import tables
from projections.engine.definition import STUDY_PARTITION, ReadModel, partition_of
from projections.engine.folding import Course, FoldFailed, Touched, event_name, events_of
from projections.engine.sql import SQL, on

Conn = Connection[TupleRow]
log = logging.getLogger("projections")

BATCH_EVENTS = 5_000
"""Events of one transaction at most: larger ones are no faster and keep their locks longer."""

POLL_S = 0.5
"""A hint that was lost delays a page by no more than this."""

RETRY_S = 2.0
"""How long a follower waits when the database is away."""

COURSES_KEPT = 2
"""The one that is live, and one that catches up: each holds aggregates in memory."""


@dataclass
class Followed:
    """What a follower remembers of one study: its courses, the batch limits of suspects, what stands still."""

    study: str
    origin: str
    ready: set[str] = field(default_factory=set)
    models: dict[str, ReadModel] = field(default_factory=dict)
    courses: list[Course] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)

    def course_at(self, position: int) -> Course:
        """A course at this position: the nearest one behind it, brought there, or a fresh one."""
        near = max((one for one in self.courses if one.size <= position), key=lambda one: one.size, default=None)
        if near is None:
            return Course(self.study, self.origin, position)
        self.courses.remove(near)
        near.size = position
        return near

    def keep(self, course: Course) -> None:
        """Remember a course for the next batch."""
        self.courses = sorted([*self.courses, course], key=lambda one: one.size)[-COURSES_KEPT:]


@dataclass(frozen=True, slots=True)
class Batch:
    """A range of indexes of a study, for the projections that stand at its start."""

    followed: Followed
    models: Sequence[ReadModel]
    start: int
    stop: int


class Runner:
    """Follows all studies of a database for all the projections given, `until` a size where one is given. For one
    thread."""

    def __init__(
        self, database: Database, models: Sequence[ReadModel], batch: int = BATCH_EVENTS, until: int | None = None
    ) -> None:
        self._database = database
        self._known = {model.identity: model for model in models}
        newest = {model.definition.name: model for model in sorted(models, key=lambda one: one.definition.version)}
        self._newest = newest
        self._batch, self._until = batch, until
        self._studies: dict[str, Followed] = {}

    def run(self, stop: threading.Event) -> None:
        """Follow until told to stop. A database that is away is waited for."""
        listener = Listener(self._database)
        try:
            while not stop.is_set():
                try:
                    self.catch_up(stop)
                    listener.wait(POLL_S)
                except StoreError as error:
                    log.warning("the database does not answer; following goes on when it does: %s", error)
                    stop.wait(RETRY_S)
        finally:
            listener.close()

    def catch_up(self, stop: threading.Event | None = None) -> int:
        """Follow until nothing is left to take in; returns how many batches were taken. Studies take turns."""
        taken = 0
        with self._database.connection() as conn:
            progress = True
            while progress and not (stop is not None and stop.is_set()):
                progress = False
                fingerprints = [fingerprint for _, _, fingerprint in self._known]
                values = {"fingerprints": fingerprints, "names": list(self._newest)}
                for study, origin in conn.execute(SQL["behind"], values).fetchall():
                    followed = self._studies.setdefault(study, Followed(study, origin))
                    self._make_ready(conn, followed)
                    if self.step(conn, followed):
                        progress = True
                        taken += 1
        return taken

    def step(self, conn: Conn, followed: Followed) -> bool:
        """One batch of one study, for the projections that stand furthest back; False when none is behind.

        If the process dies here nothing has happened: rows and position are committed together at the end.
        """
        with conn.transaction():
            batch = self._next(conn, followed)
            if batch is None:
                return False
            course = followed.course_at(batch.start)
            try:
                touched = self._fold(conn, course, batch)
            except FoldFailed as failure:
                for model in batch.models:
                    self._doubt(conn, batch, model, failure)
                return True
            done = [model for model in batch.models if self._write(conn, batch, model, touched)]
            values = {"study": followed.study, "schemas": [model.schema for model in done]}
            conn.execute(SQL["advance"], {**values, "position": batch.stop})
        followed.keep(course)
        return True

    def bring(self, conn: Conn, study: str, origin: str, model: ReadModel) -> None:
        """Bring one read model of a study as far as this runner goes (`until`), in the transaction of `conn`."""
        followed = Followed(study, origin, {model.schema}, {model.schema: model})
        while self.step(conn, followed):
            continue

    # -- what a study needs before it is followed --------------------------------------------------------------

    def _make_ready(self, conn: Conn, followed: Followed) -> None:
        """Begin what nothing answers for, and look at what is kept current: rebuilds add to it and take away."""
        values = {"study": followed.study}
        answering = {name: rest for name, *rest in conn.execute(SQL["answering"], values)}
        for name, model in self._newest.items():
            version, fingerprint, generation, current = answering.get(name, (0, "", 0, False))
            if name not in answering:
                prepare(conn, followed.study, model)
            elif not current and (name, version, fingerprint) in self._known:  # its rows were taken away
                prepare(conn, followed.study, replace(self._known[name, version, fingerprint], generation=generation))
        standing = [(tuple(identity), generation) for *identity, generation in conn.execute(SQL["followed"], values)]
        models = [
            replace(self._known[identity], generation=generation)
            for identity, generation in standing
            if identity in self._known
        ]
        followed.models = {model.schema: model for model in models}
        for schema in followed.models.keys() - followed.ready:
            conn.execute(on("unstop", schema), values)
            followed.ready.add(schema)
        for schema in tuple(followed.stopped):
            if conn.execute(on("stopped", schema), values).fetchone() is None:
                followed.stopped.discard(schema)  # a rebuild has lifted it

    # -- one batch ---------------------------------------------------------------------------------------------

    def _next(self, conn: Conn, followed: Followed) -> Batch | None:
        wanted = [schema for schema in followed.models if schema not in followed.stopped]
        standing = conn.execute(SQL["lock_positions"], {"study": followed.study, "schemas": wanted}).fetchall()
        signed = _one(conn, "signed_size", study=followed.study)
        signed = signed if self._until is None else min(signed, self._until)
        behind = [(position, schema) for schema, position in standing if position < signed]
        if not behind:
            return None
        start = min(behind)[0]
        models = [followed.models[schema] for position, schema in behind if position == start]
        limit = min(followed.limits.get(model.schema, self._batch) for model in models)
        stop = min(start + limit, signed)
        if limit == self._batch:
            stop = _one(conn, "batch_end", study=followed.study, position=start, reach=stop) or stop
        return Batch(followed, models, start, stop)

    def _fold(self, conn: Conn, course: Course, batch: Batch) -> list[Touched]:
        events = events_of(conn, batch.followed.study, batch.start, batch.stop)
        if len(events) != batch.stop - batch.start:
            raise FoldFailed(batch.start, "missing", f"the ledger has {len(events)} events up to {batch.stop}")
        return course.advance(conn, events, batch.stop)

    def _write(self, conn: Conn, batch: Batch, model: ReadModel, touched: Sequence[Touched]) -> bool:
        """Write one projection's rows of a batch; False when its handler cannot take an event in."""
        definition, study = model.definition, batch.followed.study
        rows: dict[str, list[tuple[Any, ...]]] = {}
        try:
            for one in touched:
                made = definition.rows(one.aggregate, one.records)
                tables.collect(definition, study, partition_of(one.aggregate), made, rows)
        except Exception as error:  # whatever a handler raises stops its own projection alone
            self._doubt(conn, batch, model, FoldFailed(batch.start, "", f"{type(error).__name__}: {error}"))
            return False
        for one in touched:
            if one.remade:
                tables.empty_partition(conn, model.schema, definition, study, partition_of(one.aggregate))
        tables.upsert(conn, model.schema, definition, rows)
        self._trust(batch, model)
        return True

    def _trust(self, batch: Batch, model: ReadModel) -> None:
        limits = batch.followed.limits
        if model.schema in limits:
            limits[model.schema] *= 2
            if limits[model.schema] >= self._batch:
                del limits[model.schema]

    def _doubt(self, conn: Conn, batch: Batch, model: ReadModel, failure: FoldFailed) -> None:
        """Narrow a failing batch down to its event; at the event, stop this projection for this study."""
        followed, count = batch.followed, batch.stop - batch.start
        if count > 1:
            followed.limits[model.schema] = count // 2
            return
        event = failure.event or event_name(conn, followed.study, batch.start)
        values = {"study": followed.study, "idx": batch.start, "event": event, "because": failure.because}
        values["partition"] = STUDY_PARTITION
        conn.execute(on("stop", model.schema), values)
        followed.stopped.add(model.schema)
        followed.limits.pop(model.schema, None)
        log.error(
            "ALARM: projection %s of %s stands still at index %d (%s): %s",
            *(model.definition.name, followed.study, batch.start, event, failure.because),
        )


def prepare(conn: Conn, study: str, model: ReadModel) -> None:
    """Make sure that a read model, its position and a pointer are there; any number of processes may do so."""
    with conn.transaction():
        tables.create(conn, model)
        tables.register(conn, model)
        values = {"study": study, "schema": model.schema}
        conn.execute(SQL["begin_position"], values)
        named = {"name": model.definition.name, "version": model.definition.version}
        conn.execute(SQL["first_pointer"], {**values, **named})


def _one(conn: Conn, name: str, **values: Any) -> int:
    row = conn.execute(SQL[name], values).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])
