"""Replaying: the rows of a study made anew from its first event, in a schema beside the one that answers.

 1. plan       what is built and from how many events is noted, with its parts                      planned, building
 2. build      part by part, in one process or several; see `building`                              building
 3. catch up   what was recorded meanwhile is taken in as a follower does, and kept current from then on   catching up
 4. compare    at one fenced size with what answers; every difference is noted                      comparing
 5.            nothing unexplained: ready; else it waits for an approval                 ready | awaiting approval
Switching is a step of its own (`switching`). Rules:
- each step reads where it is from the database and goes on there, so that a command that was killed at any moment goes
  on when it is run again, with any number of workers; a database that is away is waited for;
- what answers is not touched; a step that fails leaves it as it was;
- strict: an event that cannot be taken in ends the replay as failed, and what was built is taken away;
- it needs no follower and no server, and minds neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.store.database import PROJECTOR, Database
from ledger.store.errors import DatabaseBusy, DatabaseUnavailable
from projections.definitions import model_of
from projections.engine import replays, tables
from projections.engine.building import PART_EVENTS, BuildFailed, Order, PartsGone, Standing, begin_parts, standing
from projections.engine.definition import ReadModel
from projections.engine.errors import OtherReplayUnderWay, RebuildRunning, ReplayMoved, StudyNotKnown
from projections.engine.fencing import compare_at_one_size
from projections.engine.replays import Replay
from projections.engine.runner import Runner
from projections.engine.sql import SQL
from projections.engine.starting import check_definitions
from projections.engine.stopping import stopped_in
from projections.engine.switching import give_up, tidy
from projections.engine.workers import PATIENCE, build

Conn = Connection[TupleRow]

MAX_WORKERS = 4
"""More gain nothing: they share the database's disk (measured: reference prototypes flatten at four)."""

AWAY_S = 300.0
"""How long a database that is away is waited for since anything last went on: a restart after a crash takes less."""

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: its step, the projections, events done of all; events a second and seconds that remain,
    None while nothing is known of them."""

    study: str
    projections: tuple[str, ...]
    step: str
    done: int
    total: int
    rate: float | None = None
    remaining_s: float | None = None

    @property
    def name(self) -> str:
        """What is being done, for showing."""
        return f"{self.step} {', '.join(self.projections)}"


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """How and for whom: worker processes, who asks for it and why; events of a part at least; whether what was compared
    is compared again."""

    workers: int = 1
    by: str = "unnamed"
    reason: str | None = None
    part_events: int = PART_EVENTS
    compare_anew: bool = False


@dataclass
class _Run:
    """One run of a command over some projections of a study."""

    own: Database
    conn: Conn
    study: str
    origin: str
    terms: Terms
    report: Report
    moved: Callable[[], None] = field(repr=False)

    def progress(self, names: Iterable[str], step: str, done: int, total: int, rate: float | None = None) -> None:
        """Tell how far it is; something went on."""
        self.moved()
        remaining = None if not rate else (total - done) / rate
        self.report(Progress(self.study, tuple(names), step, done, total, rate, remaining))


def rebuild(
    database: Database, study: str, names: Sequence[str], terms: Terms | None = None, report: Report = lambda one: None
) -> list[Replay]:
    """Bring replays of these projections as far as they go without a person: compared, or failed. Those under way go
    on. `database` is opened as the projector.

    Raises KeyError for a name that is none, StudyNotKnown, DefinitionChanged, RebuildRunning, OtherReplayUnderWay,
    LiveNotFollowed, NormaliserUnsound, ReplayMoved where it is cancelled meanwhile, and the store's errors where the
    database stays away.
    """
    models = [model_of(name) for name in dict.fromkeys(names)]
    last = [time.monotonic()]

    def moved() -> None:
        last[0] = time.monotonic()

    while True:
        try:
            return _attempt(database, study, models, terms or Terms(), report, moved)
        except DatabaseUnavailable:
            if time.monotonic() - last[0] > AWAY_S:
                raise
        time.sleep(RETRY_S)


def _attempt(
    database: Database,
    study: str,
    models: Sequence[ReadModel],
    terms: Terms,
    report: Report,
    moved: Callable[[], None],
) -> list[Replay]:
    with Database(database.url, role=PROJECTOR, name="trial-ledger-rebuild", **PATIENCE) as own:
        with own.dedicated() as conn:
            check_definitions(conn)
            origin = _origin(conn, study)
            _take_turns(conn, study, [model.definition.name for model in models])
            run = _Run(own, conn, study, origin, terms, report, moved)
            tidy(conn, study)
            under_way = [_under_way(run, model) for model in models]
            _build(run, under_way)
            return [_compared(run, replay) for replay in under_way]


def _origin(conn: Conn, study: str) -> str:
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    return str(row[0])


def _take_turns(conn: Conn, study: str, names: Sequence[str]) -> None:
    """One command at a time replays a projection of a study; the turn ends with the connection."""
    for name in names:
        row = conn.execute(SQL["take_turn"], {"study": study, "name": name}).fetchone()
        if row is None or not row[0]:
            raise RebuildRunning(f"{name!r} of {study} is being rebuilt by another process")


# -- plan ------------------------------------------------------------------------------------------------------


def _under_way(run: _Run, model: ReadModel) -> Replay:
    """The replay of a projection that is under way, or one that begins."""
    name = model.definition.name
    with run.conn.transaction():
        found = replays.unfinished(run.conn, run.study, name)
        if found is None:
            run.conn.execute(SQL["lock_definitions"])
            row = run.conn.execute(SQL["next_generation"], _identity(model)).fetchone()
            assert row is not None
            made = replace(model, generation=int(row[0]))
            source = replays.answering(run.conn, run.study, name)
            ceiling = _signed(run.conn, run.study)
            replays.begin(run.conn, run.study, source, made, ceiling, run.terms.by, run.terms.reason)
            tables.create(run.conn, made, indexes=False)
            tables.register(run.conn, made)
            found = replays.unfinished(run.conn, run.study, name)
    assert found is not None
    if found.target.fingerprint != model.fingerprint or found.target.model is None:
        which = f"{name} version {found.target.version} ({found.target.fingerprint[:8]})"
        raise OtherReplayUnderWay(f"the replay to {which} is {found.state}")
    return found


def _identity(model: ReadModel) -> dict[str, Any]:
    return dict(zip(("name", "version", "fingerprint"), model.identity, strict=True))


def _signed(conn: Conn, study: str) -> int:
    row = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
    return int(row[0]) if row is not None else 0


# -- build -----------------------------------------------------------------------------------------------------


def _build(run: _Run, wanted: Sequence[Replay]) -> None:
    """Build what is not built, together what is equally far. A projection that fails leaves the others to go on."""
    names = {replay.id for replay in wanted}
    while True:
        now = [replays.refreshed(run.conn, replay) for replay in wanted if replay.id in names]
        waiting = [replay for replay in now if replay.state in ("planned", "building")]
        if not waiting:
            return
        groups: dict[tuple[int, ...], list[Replay]] = {}
        ceiling = _signed(run.conn, run.study)  # one for all: what is appended meanwhile would part them
        for replay in waiting:
            far = _planned(run, replay, ceiling)
            groups.setdefault((far.ceiling, far.parts, *far.which), []).append(replay)
        for group in groups.values():
            _build_group(run, group)


def _planned(run: _Run, replay: Replay, ceiling: int) -> Standing:
    """How far a build is; its parts up to `ceiling` are noted first where they are not, or no longer."""
    conn, schema = run.conn, replay.target.schema
    with conn.transaction():
        conn.execute(SQL["lock_replay"], {"replay": replay.id})
        if replays.refreshed(conn, replay).state not in ("planned", "building"):
            raise ReplayMoved(f"the replay of {replay.name} is {replays.refreshed(conn, replay).state} now")
        far = standing(conn, run.study, schema)
        if far.parts and replay.state == "building":
            return far
        begin_parts(conn, run.study, schema, ceiling, run.terms.part_events)
        conn.execute(SQL["plan_replay"], {"replay": replay.id, "ceiling": ceiling})
        return standing(conn, run.study, schema)


def _build_group(run: _Run, group: Sequence[Replay]) -> None:
    """Build the parts that are left of replays that are equally far, and end those builds."""
    conn, names = run.conn, [replay.name for replay in group]
    models = [_model(replay) for replay in group]
    far = standing(conn, run.study, models[0].schema)
    identities = tuple((*model.identity, model.generation) for model in models)
    order = Order(run.own.url, run.study, run.origin, identities, far.ceiling)
    began, before, done = time.monotonic(), far.events_done, far.events_done
    run.progress(names, "build", done, far.events)
    try:
        for events in build(order, run.terms.workers):
            done += events
            rate = (done - before) / max(time.monotonic() - began, 0.001)
            run.progress(names, "build", done, far.events, rate)
    except BuildFailed as failed:
        for replay in group:
            if failed.projection in (None, replay.name):
                _failed(run, replay, failed.failure)
        return
    except DatabaseUnavailable:
        raise
    except Exception as error:
        _still_building(run, group, error)
        return
    for replay in group:
        _end_build(run, replay)


def _still_building(run: _Run, group: Sequence[Replay], error: Exception) -> None:
    """What was taken away while it was built is no error of its own: cancelled, or to be built anew."""
    for replay in group:
        now = replays.refreshed(run.conn, replay)
        if now.state != "building":
            raise ReplayMoved(f"the replay of {replay.name} is {now.state} now", state=now.state) from error
    if not isinstance(error, PartsGone) and all(
        standing(run.conn, run.study, replay.target.schema).parts for replay in group
    ):
        raise error


def _model(replay: Replay) -> ReadModel:
    model = replay.target.model
    assert model is not None, "it was looked for before"
    return model


def _end_build(run: _Run, replay: Replay) -> None:
    """Complete tables and position, in one transaction: from then on a follower keeps it current."""
    conn, model = run.conn, _model(replay)
    with conn.transaction():
        conn.execute(SQL["lock_replay"], {"replay": replay.id})
        far = standing(conn, run.study, model.schema)
        if replays.refreshed(conn, replay).state != "building" or not far.complete:
            return  # whoever looks again sees what there is to do
        if far.events != far.ceiling:
            raise RuntimeError(f"{run.study} has {far.events} events below {far.ceiling}: the log is not whole")
        run.progress([replay.name], "index", far.events, far.events)
        tables.add_indexes(conn, model)
        values = {"study": run.study, "schema": model.schema, "position": far.ceiling}
        conn.execute(SQL["end_build"], values)
        conn.execute(SQL["built_replay"], {"replay": replay.id, "seconds": far.seconds})
        replays.move(conn, replay, "catching up", "building")
    tables.analyze(conn, model.schema, model.definition)


def _failed(run: _Run, replay: Replay, failure: dict[str, Any]) -> None:
    """End a replay at an event that it cannot take in; what was built of it is taken away."""
    with run.conn.transaction():
        run.conn.execute(SQL["lock_replay"], {"replay": replay.id})
        replays.move(run.conn, replay, "failed", *replays.UNFINISHED)
        run.conn.execute(SQL["failed_replay"], {"replay": replay.id, "failure": Jsonb(failure)})
        told = {name: failure[name] for name in ("index", "event", "subject", "rule")}
        replays.conclude(run.conn, replay, "failed", run.terms.by, run.terms.reason, failure=told)
    with suppress(DatabaseBusy):  # somebody looks into it: the next command takes it away
        give_up(run.conn, replay, tries=1)


# -- catch up and compare --------------------------------------------------------------------------------------


def _compared(run: _Run, replay: Replay) -> Replay:
    """Bring a built replay to what answers, and compare the two."""
    now = replays.refreshed(run.conn, replay)
    while now.state in ("catching up", "comparing", "awaiting approval", "ready"):
        if now.state in replays.COMPARED and not run.terms.compare_anew and not replays.outdated(run.conn, now):
            return now  # an approval is of one comparison: another is made only where somebody asks for it
        run.progress([replay.name], "catch up", now.ceiling, max(_signed(run.conn, run.study), now.ceiling))
        if now.source is None:
            first = _first(run, now)
            now = replays.refreshed(run.conn, replay)
            if first:
                Runner(run.own, [_model(now)], until=_signed(run.conn, run.study)).catch_up(only=run.study)
                return now
        _catch_up(run, _against_what_answers(run, now))
        stopped = _stopped(run, now)
        if stopped is not None:
            _failed(run, now, stopped)
        else:
            _compare(run, replays.refreshed(run.conn, now))
        now = replays.refreshed(run.conn, replay)
        if now.state in replays.COMPARED:
            return now
    return now


def _against_what_answers(run: _Run, replay: Replay) -> Replay:
    """The replay, compared from now on with what answers now: something else was gone back to meanwhile."""
    with run.conn.transaction():
        run.conn.execute(SQL["lock_replay"], {"replay": replay.id})
        if replays.outdated(run.conn, replay):
            answers = replays.answering(run.conn, run.study, replay.name)
            assert answers is not None
            run.conn.execute(SQL["source_of_replay"], {"replay": replay.id, **answers.told()})
    return replays.refreshed(run.conn, replay)


def _catch_up(run: _Run, replay: Replay) -> None:
    """Follow with both read models, like any follower, as far as is signed now: whoever goes on until nothing is left
    to take in goes on for ever where appends never pause."""
    with run.conn.transaction():
        run.conn.execute(SQL["lock_replay"], {"replay": replay.id})
        replays.move(run.conn, replay, "catching up", "catching up", "comparing", *replays.COMPARED)
    models = {model.identity: model for side in (replay.source, replay.target) if side and (model := side.model)}
    Runner(run.own, list(models.values()), until=_signed(run.conn, run.study), tries=False).catch_up(only=run.study)


def _stopped(run: _Run, replay: Replay) -> dict[str, Any] | None:
    """The first event at which something of the new read model stands still, in the form of a failure; None where
    nothing does."""
    found = stopped_in(run.conn, run.study, [replay.target.schema])[replay.target.schema].values()
    if not found:
        return None
    first = min(found, key=lambda one: one.index)
    subject = first.partition if first.about.startswith("subject/") else None
    told = {"index": first.index, "event": first.event, "subject": subject, "partition": first.partition}
    return {**told, "rule": None, "because": first.because}


def _first(run: _Run, replay: Replay) -> bool:
    """Let what was built answer, where nothing does; False where something answers by now."""
    conn, target = run.conn, replay.target
    with conn.transaction():
        conn.execute(SQL["lock_replay"], {"replay": replay.id})
        values = {"study": run.study, "schema": target.schema, "name": replay.name, "version": target.version}
        if conn.execute(SQL["first_pointer"], values).rowcount == 1:
            replays.move(conn, replay, "switched", "catching up")
            size = conn.execute(SQL["lock_position"], {"study": run.study, "schema": target.schema}).fetchone()
            replays.conclude(conn, replay, "switched", run.terms.by, run.terms.reason, size=size and size[0])
            return True
        answers = replays.answering(conn, run.study, replay.name)
        assert answers is not None
        conn.execute(SQL["source_of_replay"], {"replay": replay.id, **answers.told()})
        return False


def _compare(run: _Run, replay: Replay) -> None:
    """Compare at one size, note what was found, and move on by it."""
    with run.conn.transaction():
        run.conn.execute(SQL["lock_replay"], {"replay": replay.id})
        replays.move(run.conn, replay, "comparing", "catching up")
    run.progress([replay.name], "compare", replay.ceiling, replay.ceiling)
    compare_at_one_size(run.own, run.conn, run.origin, replay, run.terms.by, run.terms.reason)
