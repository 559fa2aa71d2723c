"""Reading: one moment, one read model, one size; live or as of an earlier size, and as it was known or as it happened.

Rules:
- a reader sees one snapshot: the pointer is followed once (see `answering`), and rows, position and the study are of
  one size;
- the study's own aggregate is folded from the ledger to exactly that size. It is shared between readers and never
  changed: a reader that is further on makes its own copy;
- a reading as of a size folds the events below it by the same handler that follows the ledger, lazily: the page of one
  subject folds one subject. A temporal projection is cut by its indexes instead;
- `occurred_by` leaves out of that what had not happened by a moment (see `occurrence`): rows are folded from what had,
  by the same handler; a temporal projection asks of each row whether it is in;
- what is redacted is served by nobody: until the projection has taken the redaction in, a reading waits for it;
- "now" is given by the caller; in a reading as of an earlier moment, and in a study with a simulated clock, it is the
  ledger's own time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.domain.aggregate import Study, Subject, study_aggregate_id
from ledger.domain.context import Roster, Seat
from ledger.domain.moments import at
from ledger.merkle.tiles import HashTiles, MissingTile
from ledger.protocol.dates import FARTHEST_EAST
from ledger.signing.encoding import b64url
from ledger.store.database import Database
from ledger.store.evidence import checkpoint_at, read_tile, tile_roots
from ledger.store.statements import leaf_hashes
from projections.engine.answering import answering
from projections.engine.definition import ReadModel
from projections.engine.earlier import Fold, Uncertain, cut_study, cut_subject
from projections.engine.errors import (
    CutBeyond,
    NotHappenedYet,
    ProjectionBehind,
    ReadingMalformed,
    RedactionAhead,
    StillDraining,
)
from projections.engine.folding import NOTHING, FoldFailed, subjects_of
from projections.engine.lacking import WHOLE, GuardedRows, Lacking, cannot_fold, lacking, refusal
from projections.engine.occurrence import OccurredBy
from projections.engine.rows import MemoryRows, Rows, TableRows
from projections.engine.skips import Skips, skips_of
from projections.engine.sql import SQL
from projections.engine.stopping import EVERYTHING, Stopped, stopped_in
from projections.engine.studies import StudyCache, cache_of

Conn = Connection[TupleRow]

WAIT_S = 10.0
"""A reading waits no longer for the projection to reach a size; then it is told to come again."""

WAIT_STEPS_S = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Between two looks while waiting: soon at first, for most waits are over within a few milliseconds."""

_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass
class Reader:
    """One reading of one projection of one study; `size` is the size that its answers stand for.

    `rows` are the rows as of that size; `newest` those as of now, to look where to look.
    """

    study_id: str
    model: ReadModel
    size: int
    signed: int
    at: datetime
    live: bool
    study: Study
    rows: Rows
    newest: Rows
    conn: Conn = field(repr=False)
    cache: StudyCache = field(repr=False)
    occurred: OccurredBy | None = None
    uncertain: Uncertain = field(default_factory=Uncertain)
    lacking: Lacking = WHOLE

    @property
    def projection_version(self) -> int:
        """The version of the projection that answers."""
        return self.model.definition.version

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the code that made the rows."""
        return self.model.fingerprint

    @cached_property
    def roster(self) -> Roster:
        """Who sits where, and nothing else of the roster; not to be changed."""
        without = self.lacking.left_out if self.lacking else None
        if self.occurred is not None:
            return self.cache.roster_by(self.conn, self.study_id, self.size, self.study, self.occurred, without)
        return self.cache.roster_at(self.conn, self.study_id, self.size, without)

    @cached_property
    def seats(self) -> dict[str, Seat]:
        """Who is enrolled, in order of enrolment: the seat of each subject, by its label."""
        ordered = sorted(self.roster.seats.values(), key=lambda seat: seat.index)
        return {seat.subject: seat for seat in ordered}

    def enrolment_order(self, label: str) -> int | None:
        """A subject's place among those enrolled, counted from 1; None where it is not enrolled."""
        return next((place for place, name in enumerate(self.seats, start=1) if name == label), None)

    def subjects_from(self, events: frozenset[str]) -> Iterable[Subject]:
        """Every subject as of this size, folded from these events and the acts upon them alone."""
        found = subjects_of(self.conn, self.study_id, self.study.id, events, self.size, self.lacking.left_out)
        if self.occurred is None:
            return found
        return (cut_subject(one, self.occurred, self.study) for one in found)

    @cached_property
    def root(self) -> str:
        """The root of the ledger's tree at this size, base64url."""
        return b64url(root_at(self.conn, self.study_id, self.size))

    def size_at(self, moment: datetime) -> int:
        """How many events were recorded up to a moment, as far as this reading sees them."""
        return _size_at(self.conn, self.study_id, moment, self.size)

    def cut(self) -> dict[str, Any]:
        """What an answer stands for: size, root, time, projection; with `occurred_by`, by when it had happened, and how
        many records that the answer looked at may have occurred by then and are left out; what stands still and what is
        passed over."""
        happened = {}
        if self.occurred is not None:
            happened = {"occurred_by": self.occurred.text, "uncertain": self.uncertain.total}
        return {
            "study": self.study_id,
            "size": self.size,
            "root": self.root,
            "at": self.at.isoformat(),
            "live": self.live,
            "projection": self.model.definition.name,
            "version": self.projection_version,
            "fingerprint": self.fingerprint,
            **happened,
            **self.lacking.told(),
        }


@contextmanager
def open_reader(
    database: Database,
    study: str,
    name: str,
    as_of: int | str | None,
    wait_for: int | str | None,
    now: datetime,
    occurred_by: str | None = None,
) -> Iterator[Reader]:
    """A reader of one projection, valid inside the `with` block.

    `as_of`: a size (digits), or a time: ISO 8601 with offset, or a date, which means its end in UTC. `wait_for`: a
    size that the projection has to have reached. `now`: the moment of reading, aware. `occurred_by`: a time with
    offset, or a date, which means its end where things happened. A time that has not come yet means what is known now:
    nothing is due or missed in advance. Raises StudyNotKnown, ReadingMalformed, CutBeyond,
    NotHappenedYet, ProjectionBehind, ProjectionStopped, and the store's own errors.
    """
    occurred = None if occurred_by is None else occurred_by_of(occurred_by)
    wanted = _size("wait_for", wait_for)
    if wanted is not None:
        _wait(database, study, name, wanted)
    with _begun(database, study, name) as (conn, model, position, signed, stopped):
        size = position if as_of is None else cut_size(conn, study, as_of, signed)
        if EVERYTHING in stopped and (as_of is None or size > position):
            raise refusal(stopped[EVERYTHING])
        if wanted is not None and position < wanted:
            raise _behind(position, wanted)
        definition = model.definition
        if definition.temporal and size > position:
            raise _behind(position, size)
        live = size == position
        told = definition.temporal or (live and occurred is None)
        # What the rows were made without, or what rows are folded without now.
        skips = skips_of(conn, study, position if told else signed)
        without = lacking(name, _own(conn, study, skips, stopped), size, stopped, skips)
        try:
            cache = cache_of(database)
            state = cache.study_at(conn, study, size, without.passed_over(without.own) if without.own else NOTHING)
            newest: Rows = TableRows(conn, definition, model.schema, study)
            known = known_until(conn, study, state, signed, now)
            moment = min(moment_read(conn, study, state, size, as_of, now), known)
            uncertain = Uncertain()
            if occurred is not None:
                check_happened(conn, study, occurred, size, as_of, moment)
                state, moment = cut_study(state, occurred, uncertain), min(moment, occurred.moment)
                if definition.temporal:
                    uncertain = Uncertain()  # its view counts the entries that it looks at
            rows: Rows = newest
            if not told:
                fold = Fold(conn, definition, study, size, state, occurred, uncertain, without)
                rows = MemoryRows(definition, fold)
            rows = GuardedRows(rows, without) if without.stopped else rows
            shown = (as_of is None, state, rows, newest, conn, cache, occurred, uncertain, without)
            yield Reader(study, model, size, signed, moment, *shown)
        except FoldFailed as failed:
            raise cannot_fold(failed) from failed


def _own(conn: Conn, study: str, skips: Skips, stopped: Mapping[str, Stopped]) -> UUID | None:
    """The study's own aggregate, where something is passed over or stands still: nobody asks for it otherwise."""
    if not (skips.by_projection or stopped):
        return None
    row = conn.execute(SQL["origin"], {"study": study}).fetchone()
    return None if row is None else study_aggregate_id(row[0])


_Begun = tuple[Conn, ReadModel, int, int, Mapping[str, Stopped]]


@contextmanager
def _begun(database: Database, study: str, name: str) -> Iterator[_Begun]:
    """A snapshot with the read model that answers in it, whose rows hold nothing that is redacted; waits for it to take
    a redaction in, and for a version that is drained to be where the live one is."""
    deadline, steps = time.monotonic() + WAIT_S, iter(WAIT_STEPS_S)
    while True:
        with database.snapshot() as conn:
            try:
                standing = _standing(conn, study, name)
            except (RedactionAhead, StillDraining):
                if time.monotonic() >= deadline:
                    raise
            else:
                yield conn, *standing
                return
        time.sleep(next(steps, WAIT_STEPS_S[-1]))


def root_at(conn: Conn, study: str, size: int) -> bytes:
    """The root at a size: of its checkpoint, or computed from the tiles."""
    checkpoint = checkpoint_at(conn, study, size)
    if checkpoint is not None:
        return checkpoint.root

    def full_tile(level: int, n: int) -> bytes:
        tile = read_tile(conn, study, level, n)
        if tile is None:
            raise MissingTile(f"{study} lacks the tile {level}/{n}")
        return tile

    return HashTiles(
        full_tile,
        lambda start, end: leaf_hashes(conn, study, start, end),
        lambda level, start, end: tile_roots(conn, study, level, start, end),
    ).root_at(size)


# -- where a reading starts ------------------------------------------------------------------------------------


def _standing(conn: Conn, study: str, name: str) -> tuple[ReadModel, int, int, Mapping[str, Stopped]]:
    """What answers, its position, the signed size, and what of it stands still; raises where it cannot answer at
    all."""
    answers = answering(conn, study, name)
    schema, position, signed = answers.model.schema, answers.position, answers.signed
    if answers.holds:
        raise RedactionAhead("something is redacted that it has not taken in", position=position, wanted=signed)
    return answers.model, position, signed, stopped_in(conn, study, [schema])[schema]


def _wait(database: Database, study: str, name: str, wanted: int) -> None:
    """Wait until the projection stands at `wanted`; says nothing, for the reader looks again."""
    deadline = time.monotonic() + WAIT_S
    steps = iter(WAIT_STEPS_S)
    while time.monotonic() < deadline:
        with database.connection() as conn:
            row = conn.execute(SQL["position"], {"study": study, "name": name}).fetchone()
            if row is not None and row[0] >= wanted:
                return
            if row is None and conn.execute(SQL["origin"], {"study": study}).fetchone() is None:
                return
        time.sleep(next(steps, WAIT_STEPS_S[-1]))


def _behind(position: int, wanted: int) -> ProjectionBehind:
    return ProjectionBehind(
        f"it stands at size {position}, and size {wanted} was asked for", position=position, wanted=wanted
    )


def _size(name: str, given: int | str | None) -> int | None:
    if given is None or isinstance(given, int):
        return given
    if not _DIGITS.fullmatch(given):
        raise ReadingMalformed(f"{name}={given!r} is not a size")
    return int(given)


def cut_size(conn: Conn, study: str, as_of: int | str, signed: int) -> int:
    """The size that `as_of` means: a size, or how many entries were recorded up to a time. Raises CutBeyond,
    ReadingMalformed."""
    if isinstance(as_of, str) and not _DIGITS.fullmatch(as_of):
        return _size_at(conn, study, moment_of(as_of, "as_of"), signed)
    size = int(as_of)
    if size < 0:
        raise ReadingMalformed(f"as_of={size} is not a size")
    if size > signed:
        raise CutBeyond(f"the newest checkpoint has size {signed}, not {size}")
    return size


def _size_at(conn: Conn, study: str, moment: datetime, limit: int) -> int:
    """How many of the first `limit` events were recorded up to a moment."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    row = conn.execute(SQL["size_at"], {"study": study, "moment": text, "signed": limit}).fetchone()
    return int(row[0]) if row is not None else 0


def moment_of(text: str, name: str, begins: bool = False) -> datetime:
    """A moment: ISO 8601 with offset; a date means its end, or its beginning, in UTC. Raises ReadingMalformed."""
    try:
        if _DATE.fullmatch(text):
            edge = datetime.min.time() if begins else datetime.max.time()
            return datetime.combine(date.fromisoformat(text), edge, UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        kinds = "a date nor a time" if name == "occurred_by" else "a size nor a date or time"
        raise ReadingMalformed(f"{name}={text!r} is neither {kinds}") from None
    if moment.tzinfo is None:
        raise ReadingMalformed(f"{name}={text!r} has no offset, so it could be any of several moments")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ReadingMalformed(f"{name}={text!r} is before or after every moment that can be named in UTC") from None


def occurred_by_of(text: str) -> OccurredBy:
    """What `occurred_by` means: a time with offset, or a day, which ends where things happened. Raises
    ReadingMalformed."""
    if _DIGITS.fullmatch(text):
        raise ReadingMalformed(f"occurred_by={text!r} is a number: sizes are for as_of, this is a date or a time")
    moment = moment_of(text, "occurred_by")
    if _DATE.fullmatch(text):
        begins = moment_of(text, "occurred_by", begins=True)
        east = begins - FARTHEST_EAST if begins.year > 1 else begins  # a day begins where the sun rises first
        return OccurredBy(text, east, moment, moment.date())
    said = at(text)
    return OccurredBy(text, moment, moment if said is None else said.instants(None)[1])


def known_until(conn: Conn, study: str, state: Study, signed: int, now: datetime) -> datetime:
    """Up to when anything can be known here: now, and never before the newest entry was recorded."""
    found = moment_read(conn, study, state, signed, None, now)
    row = conn.execute(SQL["recorded_at"], {"study": study, "idx": signed - 1}).fetchone() if signed else None
    return found if row is None else max(found, datetime.fromisoformat(row[0]))


def check_happened(
    conn: Conn, study: str, occurred: OccurredBy, size: int, as_of: int | str | None, moment: datetime
) -> None:
    """Refuse to say what had happened by a moment that lies after everything this reading knows of."""
    known = moment
    if as_of is not None and (isinstance(as_of, int) or _DIGITS.fullmatch(as_of)):
        following = conn.execute(SQL["recorded_at"], {"study": study, "idx": size}).fetchone()
        known = moment if following is None else datetime.fromisoformat(following[0])
    if occurred.begins > known:
        raise NotHappenedYet(f"occurred_by={occurred.text!r} lies after {known.isoformat()}, of which this reading is")


def moment_read(conn: Conn, study: str, state: Study, size: int, as_of: int | str | None, now: datetime) -> datetime:
    """What "now" is in a reading, where it is not later than anything that is known."""
    if isinstance(as_of, str) and not _DIGITS.fullmatch(as_of):
        return moment_of(as_of, "as_of")
    opened = state.records.by_event.get("StudyOpened", [])
    simulated = any(record.body.get("clock") == "simulated" for record in opened)
    if size and (as_of is not None or simulated):
        row = conn.execute(SQL["recorded_at"], {"study": study, "idx": size - 1}).fetchone()
        if row is not None:
            return datetime.fromisoformat(row[0])
    return now
