"""What a replay will do, before anything of it is done: from what to what, how much, for how long, whom it concerns.

Rules:
- what is affected follows from the parts of the two fingerprints: none where they agree; the aggregates with certain
  events where only those or their upcasters differ; else all;
- an estimate is measured: from the last replay of this projection in this study, or from a sample of aggregates;
- the sample is folded by the new version and compared with what answers, at one size; it is taken evenly from the
  aggregates in order of their ids, so that asking twice tells the same;
- nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import study_aggregate_id
from projections.definitions import known_models
from projections.engine import comparing
from projections.engine.definition import ReadModel, Row, partition_of
from projections.engine.difference import differences
from projections.engine.errors import StudyNotKnown
from projections.engine.expectation import lineage
from projections.engine.fingerprint import causes_first, changed_parts
from projections.engine.folding import FoldFailed, aggregates_below, fold_one, new_aggregate, topics_of
from projections.engine.replays import Replay, Side, replays_of, unfinished
from projections.engine.skips import skips_of
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

SAMPLED = 5
"""Aggregates of a sample: enough to see whether every subject differs, few enough to be answered at once."""

MAX_SAMPLED_EVENTS = 2_000
"""An aggregate with more is not sampled: the plan is to be there within a second or two."""

Extent = str
NONE, PART, ALL = "none", "part", "all"


@dataclass(frozen=True, slots=True)
class Affected:
    """How much a new version concerns: none, part or all; the parts of the fingerprint that changed; how many
    aggregates at most, and why."""

    extent: Extent
    changed: tuple[str, ...]
    subjects: int
    because: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A dry run: aggregates folded, how many would differ, how many of these in a way that nothing declares; what
    could not be folded (a sentence), and the rate measured (events a second)."""

    subjects: int
    events: int
    differ: int
    unexplained: int
    failed: str | None
    rate: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay of one projection will do. `state`: of the replay that is under way, None where one begins;
    `in_the_way`: the version that this builds, where it is another one, so that nothing begins; `estimate_s` for the
    workers given, None where nothing could be measured, and what it is `measured` by."""

    study: str
    projection: str
    source: dict[str, Any] | None
    target: dict[str, Any]
    size: int
    subjects: int
    workers: int
    affected: Affected
    sample: Sample | None
    estimate_s: float | None
    measured: str
    state: str | None
    in_the_way: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "affected": asdict(self.affected), "sample": self.sample and asdict(self.sample)}


def plan(conn: Conn, study: str, model: ReadModel, workers: int) -> Plan:
    """The plan of a replay that builds this version; in a snapshot. Raises StudyNotKnown."""
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    own = study_aggregate_id(row[0])
    signed = conn.execute(SQL["signed_size"], {"study": study}).fetchone()
    size = int(signed[0]) if signed is not None else 0
    counted = conn.execute(SQL["originators"], {"study": study, "stop": size}).fetchall()
    name = model.definition.name
    live = _live(conn, study, name)
    sample = _sample(conn, study, own, live, model, counted, size)
    estimate, measured = _estimate(conn, study, name, size, sample, workers)
    under_way = unfinished(conn, study, name)
    return Plan(
        study,
        name,
        None if live is None else live.told(),
        {"version": model.definition.version, "fingerprint": model.fingerprint},
        size,
        len(counted),
        workers,
        _affected(conn, study, live, model, size, len(counted)),
        sample,
        estimate,
        measured,
        None if under_way is None else under_way.state,
        _in_the_way(under_way, model),
    )


def _in_the_way(under_way: Replay | None, model: ReadModel) -> dict[str, Any] | None:
    if under_way is None or under_way.target.fingerprint == model.fingerprint:
        return None
    return under_way.target.told()


def in_words(plan: Plan) -> str:
    """A plan for people."""
    source = "nothing yet" if plan.source is None else f"version {plan.source['version']} ({_short(plan.source)})"
    target = f"version {plan.target['version']} ({_short(plan.target)})"
    lines = [f"{plan.projection} of {plan.study}: {source} answers, {target} is built beside it."]
    if plan.in_the_way is not None:
        other = f"version {plan.in_the_way['version']} ({_short(plan.in_the_way)})"
        lines.append(f"  Not yet: a replay to {other} is under way ({plan.state}); switch or cancel that one first.")
    elif plan.state is not None:
        lines.append(f"  It was begun before ({plan.state}) and goes on.")
    lines.append(f"  {plan.size:,} events of {plan.subjects:,} subjects, the study's own records counted as one.")
    lines.append(f"  Affected: {plan.affected.extent}, {plan.affected.because}")
    if plan.sample is not None:
        lines.append(f"  {_sampled(plan.sample)}")
    if plan.estimate_s is not None:
        many = f"{plan.workers} worker" + ("s" if plan.workers > 1 else "")
        lines.append(f"  About {max(plan.estimate_s, 1):,.0f} s with {many}, measured by {plan.measured}.")
    return "\n".join(lines)


def _sampled(sample: Sample) -> str:
    if sample.failed is not None:
        return f"Tried on {sample.subjects} subjects: an event cannot be taken in: {sample.failed}"
    told = f"Tried on {sample.subjects} subjects: {sample.differ} would differ"
    return f"{told}, {sample.unexplained} of them in a way that nothing declares." if sample.differ else f"{told}."


def _short(side: dict[str, Any]) -> str:
    return str(side["fingerprint"])[:8]


def _live(conn: Conn, study: str, name: str) -> Side | None:
    found = {row[0]: row for row in conn.execute(SQL["live"], {"study": study})}
    return Side(*found[name]) if name in found else None


# -- what is affected ------------------------------------------------------------------------------------------


def _affected(conn: Conn, study: str, live: Side | None, model: ReadModel, size: int, subjects: int) -> Affected:
    if live is None:
        return Affected(ALL, (), subjects, "nothing answers yet.")
    row = conn.execute(SQL["parts_of_definition"], {"schema": live.schema}).fetchone()
    changed = changed_parts(row[0] if row is not None else {}, model.parts)
    if not changed:
        same = "the code is the same; rows differ only where somebody altered them."
        return Affected(NONE, (), 0, same)
    events = sorted({name.partition(" ")[2] for name in changed if name.split(" ")[0] in ("event", "upcaster")})
    if all(name.split(" ")[0] in ("event", "upcaster") for name in changed):
        values = {"study": study, "topics": topics_of(conn, study, events), "stop": size}
        found = conn.execute(SQL["counted_topics"], values).fetchone()
        count = int(found[0]) if found is not None else 0
        because = f"the {count:,} subjects with {', '.join(events)}, which changed."
        return Affected(PART if count else NONE, changed, count, because)
    first = causes_first(changed, model.definition)
    named = ", ".join(first[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
    return Affected(ALL, changed, subjects, f"what changed bears on every row: {named}.")


# -- the sample ------------------------------------------------------------------------------------------------


def _sample(
    conn: Conn,
    study: str,
    own: UUID,
    live: Side | None,
    model: ReadModel,
    counted: Sequence[tuple[UUID, int]],
    signed: int,
) -> Sample | None:
    """Fold some aggregates by the new version, and compare them with the rows that answer."""
    small = [originator for originator, count in counted if count <= MAX_SAMPLED_EVENTS]
    if not small:
        return None
    chosen = list(dict.fromkeys(small[place * (len(small) - 1) // max(SAMPLED - 1, 1)] for place in range(SAMPLED)))
    before = None if live is None else live.readable
    positions: dict[str, int] = dict(conn.execute(SQL["positions"], {"study": study}).fetchall())
    size = signed if live is None else positions.get(live.schema, 0)
    skips = skips_of(conn, study, size)
    began, events, differ, unexplained = time.monotonic(), 0, 0, 0
    for originator in chosen:
        aggregate = new_aggregate(originator, own)
        try:
            for event in aggregates_below(conn, study, {originator: 0}, size):
                fold_one(aggregate, event, skipped=skips.of(model.definition.name, originator))
                events += 1
            rows: list[Row] = list(model.definition.rows(aggregate, list(aggregate.records)))
        except FoldFailed as failed:
            return Sample(len(chosen), events, differ, unexplained, str(failed), 0.0)
        except Exception as error:  # whatever a handler raises: the build would end there
            because = f"{type(error).__name__}: {error}"
            return Sample(len(chosen), events, differ, unexplained, because, 0.0)
        if before is not None:
            found = _differences(conn, study, before, model, partition_of(aggregate), rows)
            differ += bool(found)
            unexplained += any(not intended for intended in found)
    rate = events / max(time.monotonic() - began, 0.001)
    return Sample(len(chosen), events, differ, unexplained, None, rate)


def _differences(
    conn: Conn, study: str, before: ReadModel, after: ReadModel, partition: str, rows: Sequence[Row]
) -> list[bool]:
    """Of each difference of a partition whether it is declared."""
    older, newer = sorted((before.definition, after.definition), key=lambda one: one.version)
    known = [one.definition for one in known_models()]
    way = lineage(older, newer, known)
    stored = list(comparing.partition_rows(conn, before, study, partition, many=False))
    first, other = (stored, rows) if older == before.definition else (rows, stored)
    many = max(len(stored), len(rows))
    return [one.intended for one in differences(way, partition, lambda: first, lambda: other, many)]


# -- the estimate ----------------------------------------------------------------------------------------------


def _estimate(
    conn: Conn, study: str, name: str, size: int, sample: Sample | None, workers: int
) -> tuple[float | None, str]:
    """Seconds, and what they are measured by."""
    last = next((one for one in reversed(replays_of(conn, study, name)) if _measured(one)), None)
    if last is not None:
        return size / (last.ceiling / last.built_s) / workers, "the last replay"
    if sample is None or not sample.rate:
        return None, "nothing"
    return size / sample.rate / workers, f"a sample of {sample.subjects} subjects"


def _measured(replay: Replay) -> bool:
    return replay.built_s > 0 and replay.ceiling > 0
