"""Following the ledger: batch by batch, rows and position in one transaction.

Rules:
- up to the signed size, never beyond: what a projection shows is under a checkpoint;
- each batch is read and folded once for all read models that stand at the same position; those furthest on come first,
  so that what answers does not wait for what is catching up;
- a read model's row of positions is taken FOR UPDATE SKIP LOCKED: several followers share the work, and none
  does what another is doing. Whatever ends a follower, at whatever moment, leaves rows and position together;
- a projection that nothing answers for in a study is begun; every read model that has a position there and whose
  version this release has is kept current, whether it answers or not. Which one answers is not decided here;
- an event that a projection cannot take in stops its partition alone, an alarm is logged, and the position goes on
  (`stopping.py`). A follower that starts tries what stands still once more;
- hints that the ledger grew are only hints: it is looked at every `POLL_S` as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import Database, Listener
from ledger.store.errors import StoreError, meaning
from projections.engine import tables
from projections.engine.counting import count_what_waits
from projections.engine.definition import ReadModel
from projections.engine.folding import Course
from projections.engine.sql import SQL, on
from projections.engine.stopping import EVERYTHING, Stopped, note, stopped_in, waiting_to_go_on
from projections.engine.taking import EntriesMissing, take_in, try_again

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
    """What a follower remembers of one study: the read models that it keeps current there, and its courses."""

    study: str
    origin: str
    models: dict[str, ReadModel] = field(default_factory=dict)
    courses: list[Course] = field(default_factory=list)

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


class Runner:
    """Follows all studies of a database for all the projections given, `until` a size where one is given. With `tries`
    it begins with trying what stands still once more. For one thread."""

    def __init__(
        self,
        database: Database,
        models: Sequence[ReadModel],
        batch: int = BATCH_EVENTS,
        until: int | None = None,
        tries: bool = True,
    ) -> None:
        self._database = database
        self._known = {model.identity: model for model in models}
        newest = {model.definition.name: model for model in sorted(models, key=lambda one: one.definition.version)}
        self._newest = newest
        self._batch, self._until = batch, until
        self._studies: dict[str, Followed] = {}
        self._begun = not tries

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

    def catch_up(self, stop: threading.Event | None = None, only: str | None = None) -> int:
        """Follow until nothing is left to take in; returns how many batches were taken. Studies take turns, but where
        `only` one is meant."""
        taken = 0
        with self._database.connection() as conn:
            self._lift(conn)
            count_what_waits(conn)
            fingerprints = [fingerprint for _, _, fingerprint in self._known]
            values = {"fingerprints": fingerprints, "names": list(self._newest)}
            progress = True
            while progress and not (stop is not None and stop.is_set()):
                progress = False
                behind = conn.execute(SQL["behind"], values).fetchall()
                for study, origin in (one for one in behind if only in (None, one[0])):
                    followed = self._studies.setdefault(study, Followed(study, origin))
                    self._make_ready(conn, followed)
                    batches = self.step(conn, followed)
                    progress = progress or batches > 0
                    taken += batches
        return taken

    def step(self, conn: Conn, followed: Followed) -> int:
        """A batch of one study for each position at which read models stand behind, the furthest first; returns how
        many were taken."""
        standing = conn.execute(SQL["positions"], {"study": followed.study}).fetchall()
        signed = _one(conn, "signed_size", study=followed.study)
        signed = signed if self._until is None else min(signed, self._until)
        groups: dict[int, list[str]] = {}
        for schema, position in standing:
            if schema in followed.models and position < signed:
                groups.setdefault(position, []).append(schema)
        return sum(self._take(conn, followed, start, groups[start], signed) for start in sorted(groups, reverse=True))

    def _take(self, conn: Conn, followed: Followed, start: int, schemas: Sequence[str], signed: int) -> bool:
        """One batch for the read models that stand at `start`; False when another follower has them.

        If the process dies here nothing has happened: rows and position are committed together at the end. Where the
        database refuses a row, the batch is taken once more, each partition by itself, to find whose it is.
        """
        try:
            return self._taken(conn, followed, start, schemas, signed, careful=False)
        except psycopg.Error as error:
            if meaning(error) is not None:
                raise
            log.warning("%s from %d on is taken in partition by partition: %s", followed.study, start, error.sqlstate)
            return self._taken(conn, followed, start, schemas, signed, careful=True)

    def _taken(
        self, conn: Conn, followed: Followed, start: int, schemas: Sequence[str], signed: int, careful: bool
    ) -> bool:
        study = followed.study
        with conn.transaction():
            locked = conn.execute(SQL["lock_positions"], {"study": study, "schemas": list(schemas)}).fetchall()
            models = [followed.models[schema] for schema, position in locked if position == start]
            if not models:
                return False
            stop = min(start + self._batch, signed)
            stop = _one(conn, "batch_end", study=study, position=start, reach=stop) or stop
            course = followed.course_at(start)
            try:
                reached = take_in(conn, course, models, stop, careful=careful)
            except EntriesMissing as missing:
                self._stand_still(conn, study, models, missing)
                return False
            values = {"study": study, "schemas": [model.schema for model in models]}
            conn.execute(SQL["advance"], {**values, "position": reached})
        followed.keep(course)
        return True

    def bring(self, conn: Conn, study: str, origin: str, model: ReadModel) -> None:
        """Bring one read model of a study as far as this runner goes (`until`), in the transaction of `conn`."""
        followed = Followed(study, origin, {model.schema: model})
        while self.step(conn, followed):
            continue

    def _stand_still(self, conn: Conn, study: str, models: Sequence[ReadModel], missing: EntriesMissing) -> None:
        stopped = Stopped(EVERYTHING, missing.index, "missing", str(missing))
        known = stopped_in(conn, study, [model.schema for model in models])
        for model in models:
            if known[model.schema].get(EVERYTHING) != stopped:
                note(conn, study, model, stopped, None)

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

    # -- what stands still -------------------------------------------------------------------------------------

    def _lift(self, conn: Conn) -> None:
        """Try what stands still again: all of it once when this follower starts, later what somebody wants tried."""
        kept = {
            schema: replace(self._known[name, version, fingerprint], generation=generation)
            for name, version, fingerprint, generation, schema in conn.execute(SQL["kept_models"])
            if (name, version, fingerprint) in self._known
        }
        try:
            for schema in () if self._begun else sorted(kept):
                conn.execute(on("unstop_all", schema))
            self._begun = True
            waiting = waiting_to_go_on(conn, sorted(kept))
        except psycopg.errors.UndefinedTable:
            return  # it was retired at this moment: looked at again in a moment
        for study, schema in sorted(waiting):
            self._try_again(conn, study, kept[schema])

    def _try_again(self, conn: Conn, study: str, model: ReadModel) -> None:
        """Unless another follower has it: whoever has, looks again as well."""
        with conn.transaction():
            values = {"study": study, "schemas": [model.schema]}
            locked = conn.execute(SQL["lock_positions"], values).fetchone()
            row = conn.execute(SQL["origin"], {"study": study}).fetchone()
            if locked is not None and row is not None:
                try_again(conn, study, row[0], model, locked[1])


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
