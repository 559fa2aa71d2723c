"""One writer per study and process: queue -> verify -> decide -> one transaction -> checkpoint -> receipts.

Life of a statement, and what is true if the process dies there:
 pooled        it waits in this process's queue; nobody was told anything; it is gone, the sender sends again
 written       it is in an open transaction; the database rolls it back
 committed     it is durable at its index; the sender, not yet told, sends again and gets the stored answer
 checkpointed  a signed checkpoint covers it and its receipt can be made; the signer releases the same bytes again
 witnessed     others have cosigned that checkpoint

A batch is what queued until the last one was committed and taken by the signer, no timer. Its signatures are
verified; then, under the study's head lock, the writer catches up with what other processes appended, decides
each statement in turn against the aggregates, and inserts what stands with contiguous indexes. Deciding under
the lock makes seats, keys and versions race-free. Anything but a confirmed commit discards the aggregates held
in memory. After an unknown outcome the head lock waits the old transaction out, and the event ids say what
became of it: nothing is ever retried blindly.

The writer's thread owns the state and its connection; the signer's thread owns the signer and another one;
`submit` may be called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog

from ledger.domain.aggregate import (
    LedgerAggregate,
    Study,
    Subject,
    aggregate_id,
    record_of,
    study_aggregate_id,
)
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.ceremony import Held
from ledger.domain.context import ROSTER_EVENTS, Context, Entered, Roster
from ledger.domain.decide import decide
from ledger.domain.genesis import GenesisTerms, decide_genesis
from ledger.domain.record import Record
from ledger.domain.redaction import taken_effect
from ledger.domain.refusals import Refusal
from ledger.domain.study import protocol_file
from ledger.domain.versions import EventUnreadable, UpcastFailed, known, unreadable
from ledger.external_signer import ExternalSignerFailed
from ledger.merkle.tree import HASH_BYTES, Frontier, entry_leaf_hash
from ledger.protocol import BrokenProtocol
from ledger.receipts import Receipts, base64url
from ledger.signer import LogSigner, SignedTree, fell_back
from ledger.signer_state import SignerAlarm
from ledger.signing.errors import BadSignature
from ledger.signing.keys import PublicKey
from ledger.signing.statement import Statement, disclosures_by_digest, read_stored, verify
from ledger.store import evidence, redactions, statements
from ledger.store.database import Conn, Database
from ledger.store.errors import DatabaseFull, DatabaseUnavailable, StoreError, translated
from ledger.store.hosts import OtherSignerAtWork
from ledger.store.recorder import EventClasses, LedgerMapper, LedgerStoredEvent
from ledger.store.rows import AppendStart, EventRow, Head, RedactionRow

MAX_BATCH = 1_000
"""Statements in one transaction: some 100 ms of deciding, so that a lock is never held long."""
MAX_BATCH_BYTES = 1_000_000
"""Bytes in one transaction, disclosures included."""
MAX_QUEUED = 10_000
"""Statements that may wait in one process; beyond it callers are told to come back."""
MAX_QUEUED_BYTES = 64_000_000
"""And their bytes: ten thousand of the largest would be 2.6 GB."""
DECIDE_SECONDS = 1.0
"""How long one transaction decides before it commits and leaves the rest to the next: other processes wait for the
lock meanwhile, 5 s at most, and the database ends a transaction that idles as long."""
MAX_CACHED_RECORDS = 40_000
"""Records of subjects kept in memory, some 2 KB each."""
TREES_KEPT = 8
"""Trees signed last that are kept at hand: an advance may cover what is handed over only after it."""
CLOCK_SKEW = timedelta(seconds=2)
"""How far the last `recorded_at` may lie ahead of this machine's clock, and the database's clock from it, before the
writer stops (DESIGN section 5)."""

SIGN_AGAIN_SECONDS = 1.0
"""How soon the signer tries again what it could not do: a database is back in a second, or in minutes."""
SIGN_LOOK_SECONDS = 5.0
"""How often an idle signer looks for what another process committed and did not live to sign."""

SETTLE_SECONDS = 20.0
"""How long to look for the outcome of an unconfirmed commit: a database restarts in less."""
SETTLE_PAUSE_SECONDS = 0.2

log = structlog.get_logger("ledger.writer")


class Busy(Refusal):
    """The study's queue is full."""

    rule, status = "WRITER-1", 503
    remedy = "Wait as long as Retry-After says and send the same statement again; nothing was recorded."


class NotRecorded(Refusal):
    """The statement was not recorded, because the ledger could not write."""

    rule, status = "WRITER-2", 503
    remedy = "Send the same statement again in a moment; its event id makes that harmless."


class NoRoom(NotRecorded):
    """The statement was not recorded, because the disk of the database is full."""

    rule, status = "WRITER-5", 507
    remedy = "Free space on the volume that holds the database, then send the same statement again."


class ClockAlarm(Refusal):
    """This machine's clock is behind the ledger's last entry, or off the database's; the writer has stopped."""

    rule, status = "WRITER-3", 503
    remedy = "Set the clocks of all writing machines right; the writer goes on by itself."
    source = "FDA Q&A 2024, Q14"


class LogInDoubt(Refusal):
    """The entries are not those that were signed; nothing is appended to them until a person has looked."""

    rule, status = "WRITER-6", 503
    remedy = "Do what the alarm says, and send the same statement again; nothing was recorded."

    def __init__(self, alarm: SignerAlarm) -> None:
        super().__init__(alarm.because)
        self.remedy = f"{alarm.remedy} Then send the same statement again; nothing was recorded."  # type: ignore[misc]


class OtherStatement(Refusal):
    """Another statement has this event id."""

    rule = "IDEMPOTENCY-1"
    remedy = "Give a new statement an event id of its own; send the original bytes to repeat it."


class SignatureWrong(Refusal):
    """The statement's signature is not that of the key it names."""

    rule, status = "SIGNATURE-0", 401
    remedy = "Sign the exact bytes with the key named in `kid`."
    source = "21 CFR 11.70"


@dataclass(frozen=True, slots=True)
class SeenDiffers:
    """An alarm: an actor was shown another history than this one, or states so wrongly (`seen`)."""

    because: str
    remedy: str = (
        "Get the signed checkpoint that this actor's client holds and compare it with the log's own: two that "
        "conflict prove that somebody was shown another history."
    )


class Fault(Refusal):
    """The ledger itself failed on this statement; it was not recorded."""

    rule, status = "WRITER-4", 500
    remedy = "Report it with the request id; sending it again is harmless."


@dataclass(frozen=True, slots=True)
class Answer:
    """A recorded statement: where it stands, and the receipt that proves it (None while the signer is down)."""

    jti: str
    index: int
    leaf_hash: bytes
    recorded_at: str
    repeat: bool = False
    receipt: str | None = None
    size: int = 0
    root: str = ""
    row: EventRow | None = None


Outcome = Answer | Refusal


@dataclass(slots=True)
class Submission:
    """A statement on its way; `done` is called once, from a thread of the writer. One that is `drafted` bears no
    signature yet and is only tried: its ceremony is taken as held."""

    statement: Statement
    done: Callable[[Outcome], None]
    validate_only: bool = False
    receipt: bool = True
    drafted: bool = False
    verified: bool = field(init=False, default=False)
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        if self.drafted:
            self.validate_only = self.verified = True
        self.weight = len(self.statement.jwt) + sum(map(len, self.statement.disclosures))


@dataclass(slots=True)
class _State:
    """What the writer knows of the study as of `position`."""

    position: int = 0
    frontier: Frontier = field(default_factory=Frontier)
    last_recorded_at: str = ""
    study: Study | None = None
    roster: Roster = field(default_factory=Roster)
    subjects: OrderedDict[UUID, Subject] = field(default_factory=OrderedDict)
    looked_at: int = 0

    def keep(self, id: UUID, subject: Subject) -> None:
        self.subjects[id] = subject
        self.subjects.move_to_end(id)

    def shrink(self) -> None:
        """Let go of the subjects used least; looked at once in a while, for it counts everything."""
        if self.position - self.looked_at < MAX_CACHED_RECORDS // 40:
            return
        self.looked_at = self.position
        total = sum(len(subject.records) for subject in self.subjects.values())
        while total > MAX_CACHED_RECORDS and len(self.subjects) > 1:
            _, dropped = self.subjects.popitem(last=False)
            total -= len(dropped.records)


def ledger_mapper(origin: str) -> LedgerMapper:
    """The mapping between stored events and the two aggregates of one study."""

    def check(event: str, version: int, index: int) -> None:
        if event not in CATALOGUE:
            raise unreadable(event, version, None, index)
        known(CATALOGUE.versions(event), version, index)

    def classes(aggregate: type[LedgerAggregate]) -> EventClasses:
        topic = f"{aggregate.__module__}:{aggregate.__qualname__}"
        return EventClasses(aggregate.Begun, aggregate.Recorded, topic, check)

    return LedgerMapper(study_aggregate_id(origin), classes(Study), classes(Subject))


class StudyWriter:
    """The writer of one study in this process."""

    def __init__(
        self,
        study: str,
        origin: str,
        database: Database,
        signing: Database,
        signer: LogSigner,
        receipts: Receipts,
        terms: GenesisTerms,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        ceremonies: Callable[[Conn, str], Held | None] = lambda connection, name: None,
    ) -> None:
        self.study, self.origin, self.signed_size = study, origin, 0
        self.alarm: SignerAlarm | None = None
        self.clock_alarm: ClockAlarm | None = None
        self.seen_alarm: SeenDiffers | None = None
        self._database, self._signing, self._signer, self._receipts = database, signing, signer, receipts
        self._terms, self._clock, self._ceremonies = terms, clock, ceremonies
        self._study_id = study_aggregate_id(origin)
        self._mapper = ledger_mapper(origin)
        self._state: _State | None = None
        self._keys: Mapping[str, Any] = {}
        self._trees: deque[SignedTree] = deque(maxlen=TREES_KEPT)
        self._queue: deque[Submission] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._stopping = self._forgetting = False
        self._unsigned: deque[tuple[Submission, Answer]] = deque()
        self._sign_wake = threading.Condition()
        self._looked = False
        self._threads = [
            threading.Thread(target=self._write_loop, name=f"writer-{study}", daemon=True),
            threading.Thread(target=self._sign_loop, name=f"signer-{study}", daemon=True),
        ]

    # -- from any thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take nothing new, finish what is queued and signed, end the threads."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._threads[0].join()
        with self._sign_wake:
            self._sign_wake.notify_all()
        self._threads[1].join()

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Queue statements, in order; raises Busy when they do not fit, and then none is queued."""
        weight = sum(submission.weight for submission in submissions)
        with self._wake:
            full = len(self._queue) + len(submissions) > MAX_QUEUED
            heavy = bool(self._queue) and self._queued_bytes + weight > MAX_QUEUED_BYTES
            if self._stopping or full or heavy:
                raise Busy(f"{len(self._queue)} statements of {self.study} wait already")
            self._queue.extend(submissions)
            self._queued_bytes += weight
            self._wake.notify()

    def forget(self) -> None:
        """Let go of what is held of the study, because something was redacted; read anew when it is needed."""
        with self._wake:
            self._forgetting = True
            self._wake.notify()

    @property
    def queued(self) -> int:
        """How many statements wait."""
        return len(self._queue)

    @property
    def alarms(self) -> list[SignerAlarm | ClockAlarm | SeenDiffers]:
        """What a person has to look at, each with `because` and `remedy`; the gravest first."""
        return [alarm for alarm in (self.alarm, self.clock_alarm, self.seen_alarm) if alarm is not None]

    # -- the writer's thread --------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        while True:
            batch = self._take()
            if batch is None:
                return
            batch = self._verified_early(batch)
            if batch:
                self._write_safely(batch)

    def _verified_early(self, batch: list[Submission]) -> list[Submission]:
        """Verify, before the head is locked, what keys known here have signed; the others after their predecessors.

        The interpreter's lock is free meanwhile: whoever parses the next statements does so then.
        """
        left = []
        for submission in batch:
            try:
                self._verify_early(submission)
            except SignatureWrong as wrong:
                self._answer([(submission, wrong)])
            except Exception:  # it is tried again, and answered, where it is decided
                log.exception("verify-fault", study=self.study, jti=submission.statement.jti)
                left.append(submission)
            else:
                left.append(submission)
        return left

    def _verify_early(self, submission: Submission) -> None:
        statement = submission.statement
        key = self._keys.get(statement.kid)
        if key is None or submission.verified:
            return
        _verify(statement, key.jwk)
        submission.verified = True
        if statement.event == "ProtocolAdopted":
            with suppress(BrokenProtocol):
                protocol_file(statement.content["file"])  # read here, and not while the head is locked

    def _write_safely(self, batch: list[Submission]) -> None:
        """The loop outlives whatever one batch did; a statement that spoils its batch is then alone with it."""
        try:
            self._write(batch)
        except Exception:
            log.exception("writer-fault", study=self.study, statements=len(batch))
            self._state = None
            if len(batch) == 1:
                self._answer([(batch[0], Fault("an unexpected fault while writing"))])
                return
            for submission in batch:
                self._write_safely([submission])

    def _take(self) -> list[Submission] | None:
        with self._sign_wake:  # what is committed sooner than the signer can take it is answered no sooner
            self._sign_wake.wait_for(lambda: self._looked and not self._unsigned)
        with self._wake:
            while not self._queue or self._forgetting:
                if self._forgetting:
                    self._state, self._forgetting = None, False
                elif self._stopping:
                    return None
                else:
                    self._wake.wait()
            batch, weight = [self._queue.popleft()], 0
            weight = batch[0].weight
            while self._queue and len(batch) < MAX_BATCH:
                weight += self._queue[0].weight
                if weight > MAX_BATCH_BYTES:
                    break
                batch.append(self._queue.popleft())
            self._queued_bytes -= sum(submission.weight for submission in batch)
            return batch

    def _put_back(self, batch: list[Submission]) -> None:
        """Let what this transaction had no time for come first in the next."""
        with self._wake:
            self._queue.extendleft(reversed(batch))
            self._queued_bytes += sum(submission.weight for submission in batch)

    def _write(self, batch: list[Submission]) -> None:
        """One transaction. Each submission is answered exactly once, here or by the signer's thread."""
        out = _Batch()
        try:
            with self._database.connection() as connection:
                self._transact(connection, batch, out)
        except DatabaseUnavailable as error:
            self._state = None
            if not out.committing or not self._settled(out):
                self._answer([(s, NotRecorded(str(error))) for s in batch])
                return
        except StoreError as error:
            self._state = None
            refusal = NoRoom if isinstance(error, DatabaseFull) else NotRecorded
            self._answer([(s, refusal(str(error))) for s in batch])
            return
        except LogInDoubt as doubt:
            self._answer([(s, doubt) for s in batch])
            return
        except (EventUnreadable, UpcastFailed) as cannot:
            log.error("log-unreadable", study=self.study, because=cannot.because)
            self._answer([(s, cannot) for s in batch])
            return
        except ClockAlarm as alarm:
            if self.clock_alarm is None:
                log.error("clock-alarm", study=self.study, because=alarm.because, remedy=alarm.remedy)
            self.clock_alarm = alarm
            self._answer([(s, alarm) for s in batch])
            return
        self.clock_alarm = None
        if out.redactions:
            self._state = None  # what it holds was read before: numbers in the roster, other records' copies
        if self._state is not None:
            self._state.shrink()
        self._put_back(out.left)
        self._answer(out.refused)
        self._hand_over(out)

    def _transact(self, connection: Conn, batch: list[Submission], out: _Batch) -> None:
        """Decide under the head's lock and commit; whatever else happens, nothing was recorded."""
        begun = statements.begin_append(connection, self.study, {s.statement.jti for s in batch})
        try:
            self._check_log(begun.head)
            self._decide_all(connection, begun, batch, out)
        except BaseException:
            self._state = None
            statements.abandon(connection)
            raise
        if not out.rows:
            statements.abandon(connection)
            return
        out.committing = True
        state = self._state
        assert state is not None
        frontier = out.growth(state)
        head = Head(state.position, b"".join(frontier.peaks), frontier.root(), state.last_recorded_at)
        try:
            statements.finish_append(connection, self.study, out.rows, head, out.redactions, out.ceremonies)
        except BaseException:
            self._state = None
            raise
        state.frontier = frontier

    def _decide_all(self, connection: Conn, begun: AppendStart, batch: list[Submission], out: _Batch) -> None:
        drift = datetime.now(UTC) - begun.database_time  # before catching up, which may take long
        state = self._caught_up(connection, begun.head)
        clock = self._clock()
        self._check_clock(state, clock, drift)
        now = stamp(clock)
        out.known = {jti: (known.idx, known.jwt_sha256) for jti, known in begun.known.items()}
        until = time.monotonic() + DECIDE_SECONDS
        for place, submission in enumerate(batch):
            if place and time.monotonic() > until:
                out.left = batch[place:]
                return
            try:
                answer = self._one(connection, state, submission, now, out)
            except Refusal as refusal:
                out.refused.append((submission, refusal))
            except StoreError:
                raise
            except Exception:
                log.exception("decide-fault", study=self.study, jti=submission.statement.jti)
                if out.spoiled:
                    raise
                out.refused.append((submission, Fault("an unexpected fault while deciding")))
            else:
                out.answers.append((submission, answer))

    def _check_log(self, head: Head) -> None:
        """Nothing is appended to entries that are not those that were signed."""
        alarm = self.alarm
        if head.size < self.signed_size:  # sooner than the signer finds out
            alarm = fell_back(self.origin, head.size, self.signed_size)
            self._raise_alarm(alarm)
        if alarm is not None and alarm.stops:
            raise LogInDoubt(alarm)

    def _check_clock(self, state: _State, now: datetime, drift: timedelta) -> None:
        if state.study is not None and state.study.genesis.body["clock"] == "simulated":
            return
        if abs(drift) > CLOCK_SKEW:
            raise ClockAlarm(f"this machine's clock differs from the database's by {drift.total_seconds():.1f} s")
        last = state.last_recorded_at
        if last and datetime.fromisoformat(last) > now + CLOCK_SKEW:
            raise ClockAlarm(f"the clock says {stamp(now)}, the last entry {last}")

    def _one(self, connection: Conn, state: _State, submission: Submission, now: str, out: _Batch) -> Answer:
        statement = submission.statement
        known = out.known.get(statement.jti)
        if known is not None:
            index, digest = known
            if digest != sha256(statement.jwt.encode()).digest():
                raise OtherStatement(f"the event id {statement.jti} stands at index {index}", (index,))
            return Answer(statement.jti, index, b"", "", repeat=True)
        recorded_at = self._recorded_at(state, statement, now)
        subject = self._decided(connection, state, submission, recorded_at, out)
        if submission.validate_only:
            return Answer(statement.jti, state.position, b"", recorded_at)
        if statement.seen is not None:
            self._compare(connection, statement, statement.seen, out)
        out.spoiled = True
        answer = self._record(state, statement, subject, recorded_at, out)
        out.spoiled = False
        return answer

    def _compare(self, connection: Conn, statement: Statement, seen: Mapping[str, Any], out: _Batch) -> None:
        """Whether what the actor's client verified last is this log; a difference is kept, never refused."""
        own = self._root_at(connection, seen["size"])
        if own != seen["root"]:
            because = f"{statement.iss!r} states in {statement.jti} to have seen the root {seen['root']} at size "
            because += f"{seen['size']}, where this log " + (f"has {own}" if own else "has signed nothing yet")
            out.differing.append(SeenDiffers(because))

    def _recorded_at(self, state: _State, statement: Statement, now: str) -> str:
        """The later of the clock and the previous entry's time; a simulated study's clock is the statement's."""
        claims = statement.claims
        study = state.study
        clock = study.genesis.body["clock"] if study else statement.body.get("clock")
        if clock == "simulated":
            own = "" if claims["iss"] == "ledger" else stamp(datetime.fromtimestamp(claims["iat"], UTC))
            return max(own, state.last_recorded_at)
        return max(now, state.last_recorded_at)

    def _decided(
        self, connection: Conn, state: _State, submission: Submission, recorded_at: str, out: _Batch
    ) -> LedgerAggregate | None:
        statement = submission.statement
        if state.study is None:
            decide_genesis(statement, self._terms, recorded_at)
            return None
        self._verified(state, submission)
        about = aggregate_id(statement.claims, self._study_id)
        subject = None if about == self._study_id else self._load(connection, state, about)
        registrars = state.study.authority.registrars_required
        candidate = record_of(statement, state.position, recorded_at, registrars)
        decide(
            Context(
                state.study,
                state.roster,
                subject,
                candidate,
                recorded_at,
                self.signed_size,
                lambda id: self._load(connection, state, id),
                lambda size: self._root_at(connection, size),
                lambda jti: self._entered(connection, jti, out),
                lambda record: self._disclosed(connection, record, out),
                lambda name: self._ceremony(connection, submission, name),
                lambda index: self._recorded(connection, index),
            )
        )
        return state.study if about == self._study_id else subject

    def _ceremony(self, connection: Conn, submission: Submission, name: str) -> Held | None:
        """What the server keeps of a ceremony; whoever only tries a draft has not held it yet."""
        if submission.drafted:
            return Held(submission.statement.iss, submission.statement.digest)
        with translated():
            return self._ceremonies(connection, name)

    def _entered(self, connection: Conn, jti: str, out: _Batch) -> Entered | None:
        """A recorded statement by its event id, those of this very batch included."""
        row = next((row for row in out.rows if row.jti == jti), None) or statements.find_event(
            connection, self.study, jti
        )
        if row is None:
            return None
        statement = read_stored(row.jwt, row.disclosures)
        return Entered(jti, statement.iss, row.kid, statement.digest, row.idx)

    def _recorded(self, connection: Conn, index: int) -> Statement | None:
        """The statement at an index that is committed, as the log has it."""
        with translated():
            rows = statements.select_events(connection, self.study, index, index + 1, 1)
        return read_stored(rows[0].jwt, rows[0].disclosures) if rows else None

    def _verified(self, state: _State, submission: Submission) -> None:
        """A statement whose key was not known before the batch is verified here, after its predecessors."""
        if submission.verified or state.study is None:
            return
        statement = submission.statement
        key = state.study.authority.key(statement.kid)
        if key is not None:  # decide() says so where it is not enrolled
            _verify(statement, key.jwk)

    def _record(
        self, state: _State, statement: Statement, aggregate: LedgerAggregate | None, at: str, out: _Batch
    ) -> Answer:
        about = aggregate_id(statement.claims, self._study_id)
        if aggregate is None:
            kind: type[LedgerAggregate] = Study if about == self._study_id else Subject
            aggregate = kind.begin(about, statement, state.position, at)
            if isinstance(aggregate, Study):
                state.study = aggregate
            elif isinstance(aggregate, Subject):
                state.keep(about, aggregate)
        else:
            aggregate.record(statement, state.position, at)
        if statement.event in ROSTER_EVENTS:
            state.roster.apply(record_of(statement, state.position, at))
        leaf = entry_leaf_hash(statement.jwt, at)
        (event,) = aggregate.collect_events()
        row = _row(self._mapper.to_stored_event(event), statement, leaf)
        out.rows.append(row)
        answer = Answer(statement.jti, state.position, leaf, at, row=row)
        out.redactions += [RedactionRow(*one) for one in taken_effect(aggregate.records, statement.jti)]
        out.known[statement.jti] = (state.position, sha256(statement.jwt.encode()).digest())
        out.leaves.append(leaf)
        if statement.ceremony is not None:
            out.ceremonies.append((statement.ceremony, state.position))
        state.position += 1
        state.last_recorded_at = at
        return answer

    def _settled(self, out: _Batch) -> bool:
        """The commit's outcome is unknown: wait the old transaction out under the lock, then look.

        A commit is all or nothing, so one event id tells of all; False: nothing was recorded, or the database
        is still away and nobody can say (then the sender's repeat will find out).
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        first = out.rows[0]
        while time.monotonic() < deadline:
            try:
                with self._database.connection() as connection:
                    found = statements.begin_append(connection, self.study, {first.jti}).known.get(first.jti)
                    statements.abandon(connection)
                return found is not None and found.idx == first.idx
            except StoreError:
                time.sleep(SETTLE_PAUSE_SECONDS)
        return False

    # -- state ----------------------------------------------------------------------------------------------

    def _caught_up(self, connection: Conn, head: Head) -> _State:
        """The state as of the head: what other processes appended is folded, or everything loaded afresh."""
        state = self._state
        if state is None or state.position > head.size:  # a database that fell back: what it holds counts
            state = self._load_all(connection, head)
        while state.position < head.size:
            rows = statements.select_events(connection, self.study, state.position, head.size, MAX_BATCH)
            for row in rows:
                if self._fold(connection, state, row):
                    return self._caught_up(connection, head)
                state.position = row.idx + 1
        state.frontier = frontier_of(head)
        state.last_recorded_at = head.last_recorded_at
        self._state = state
        self._keys = state.study.authority.keys if state.study else {}
        return state

    def _load_all(self, connection: Conn, head: Head) -> _State:
        """Everything read anew. A log that holds one event of a later release is not written to by this one, whomever
        that event is about: what it decides might rest on it."""
        self._all_known(connection, head)
        state = _State(position=head.size)
        for row in statements.select_aggregate(connection, self.study, self._study_id):
            state.study = self._event(row).mutate(state.study)
        position = 0
        while True:
            rows = statements.select_events(connection, self.study, position, head.size, MAX_BATCH, ROSTER_EVENTS)
            for row in rows:
                statement = self._event(row).statement
                state.roster.apply(record_of(statement, row.idx, row.recorded_at))
            if len(rows) < MAX_BATCH:
                return state
            position = rows[-1].idx + 1

    def _all_known(self, connection: Conn, head: Head) -> None:
        """Raises EventUnreadable where the log holds an event or version that this release does not know."""
        for topic in statements.all_topics(connection, self.study):
            event, _, version = topic.partition("/")
            if event not in CATALOGUE or int(version) > CATALOGUE[event].v:
                rows = statements.select_events(connection, self.study, 0, head.size, 1, topics=[topic])
                raise unreadable(
                    event,
                    int(version),
                    CATALOGUE[event].v if event in CATALOGUE else None,
                    rows[0].idx if rows else None,
                )

    def _event(self, row: EventRow) -> Any:
        return self._mapper.to_domain_event(LedgerStoredEvent.of_row(row))

    def _fold(self, connection: Conn, state: _State, row: EventRow) -> bool:
        """Fold one row that is already recorded into what is held in memory. True: something is redacted since, so
        that everything has to be read anew, and nothing is held any more."""
        event = self._event(row)
        if event.statement.event == "Countersigned" and redactions.took_effect(connection, self.study, row.idx):
            self._state = None
            return True
        if row.originator_id == self._study_id:
            state.study = event.mutate(state.study)
        elif row.originator_id in state.subjects:
            event.mutate(state.subjects[row.originator_id])
        if event.statement.event in ROSTER_EVENTS:
            state.roster.apply(record_of(event.statement, row.idx, row.recorded_at))
        return False

    def _load(self, connection: Conn, state: _State, id: UUID) -> Subject | None:
        subject = state.subjects.get(id)
        if subject is None:
            with translated():
                rows = statements.select_aggregate(connection, self.study, id)
            for row in rows:
                subject = self._event(row).mutate(subject)
            if subject is None:
                return None
        state.keep(id, subject)
        return subject

    def _disclosed(self, connection: Conn, record: Record, out: _Batch) -> dict[str, str]:
        """The disclosures of a record that are there: digest and field. Of this very batch, or as recorded before."""
        with translated():
            recorded = next((row for row in out.rows if row.idx == record.index), None)
            row = recorded or statements.find_event(connection, self.study, record.jti)
        here = disclosures_by_digest(() if row is None else row.disclosures)
        return {
            digest: name for digest, name in here.items() if record.redacted.keys().isdisjoint(record.now_named(name))
        }

    def _root_at(self, connection: Conn, size: int) -> str | None:
        """The root of the first `size` entries; None beyond what was signed, by whichever process."""
        with translated():
            if size > self.signed_size:
                newest = evidence.latest_checkpoint(connection, self.study)
                if newest is None or size > newest.size:
                    return None
                self.signed_size = max(self.signed_size, newest.size)
            return self._receipts.root_at(connection, size)

    # -- the signer's thread --------------------------------------------------------------------------------

    def _hand_over(self, out: _Batch) -> None:
        """Dry runs are answered now, the rest when a checkpoint covers it."""
        for differing in out.differing:
            log.error("seen-differs", study=self.study, because=differing.because, remedy=differing.remedy)
            self.seen_alarm = differing
        self._answer([(s, a) for s, a in out.answers if s.validate_only])
        waiting = [(s, a) for s, a in out.answers if not s.validate_only]
        if waiting:
            with self._sign_wake:
                self._unsigned.extend(waiting)
                self._sign_wake.notify()

    def _sign_loop(self) -> None:
        due = 0.0  # at once: whatever a crash left unsigned
        while True:
            with self._sign_wake:
                self._sign_wake.wait_for(lambda: self._unsigned or self._ended, max(0.0, due - time.monotonic()))
                if not self._unsigned and self._ended:
                    return
                waiting = list(self._unsigned)
                self._unsigned.clear()
                self._sign_wake.notify_all()
            try:
                done = self._sign(waiting)
            except Exception:
                log.exception("signer-fault", study=self.study)
                self._answer(waiting)
                done = False
            if not self._looked:
                with self._sign_wake:
                    self._looked = True
                    self._sign_wake.notify_all()
            due = time.monotonic() + (SIGN_LOOK_SECONDS if done else SIGN_AGAIN_SECONDS)
            due = min(due, self._cosign() if done else due)

    def _cosign(self) -> float:
        """Have the newest checkpoint signed with the log's second key too, when its time has come: the answers are out
        by then. Returns when to come again."""
        if self._signer.cosigning_due <= time.monotonic():
            try:
                with self._signing.connection() as connection:
                    self._signer.cosign(connection)
            except (StoreError, SignerAlarm) as error:  # an export insists; this is only for the others
                log.warning("cosigning-failed", study=self.study, because=str(error))
        return self._signer.cosigning_due

    @property
    def _ended(self) -> bool:
        """Whether nothing will be committed here any more."""
        return self._stopping and not self._threads[0].is_alive()

    def _sign(self, waiting: list[tuple[Submission, Answer]]) -> bool:
        """Have everything committed signed, by whichever process it was; answer who waits. False: not yet."""
        try:
            with self._signing.connection() as connection:
                try:
                    if not waiting and self.alarm is None and self._nothing_new(connection):
                        return True
                    tree = self._signed_already(waiting) or self._signer.advance(connection)
                except SignerAlarm as alarm:
                    self._raise_alarm(alarm)
                    self._answer([(s, self._found(connection, a)) for s, a in waiting])
                    return False
                self.alarm, self.signed_size = None, tree.size
                self._receipts.remember(tree.size, tree.root)
                if tree.growth.before.size < tree.size and tree not in self._trees:
                    self._trees.append(tree)
                self._answer([(s, self._with_receipt(connection, tree, s, a)) for s, a in waiting])
                return True
        except StoreError as error:
            if isinstance(error, OtherSignerAtWork | ExternalSignerFailed):  # what waiting alone does not mend
                self._raise_alarm(SignerAlarm(error.cause, error.advice, stops=False))
            log.warning("signer-waits", study=self.study, because=str(error))
            self._answer(waiting)
            return False

    def _nothing_new(self, connection: Conn) -> bool:
        """Whether all that was committed is signed and the checkpoint where readers find it: a database that was
        killed may have lost its row. At the first look only a log that was never begun has nothing."""
        size = statements.read_head(connection, self.study).size
        if not self._looked:
            return size == self._signer.signed_size() == 0
        newest = evidence.latest_checkpoint(connection, self.study)
        return size == self.signed_size == (newest.size if newest else 0)

    def _raise_alarm(self, alarm: SignerAlarm) -> None:
        if self.alarm is None or self.alarm.because != alarm.because:
            log.error("signer-alarm", study=self.study, because=alarm.because, remedy=alarm.remedy)
        self.alarm = alarm

    def _signed_already(self, waiting: list[tuple[Submission, Answer]]) -> SignedTree | None:
        """The newest tree, where what was signed last holds these very entries: an advance takes in whatever was
        committed. Another entry at such an index is a database that fell back; the signer finds out."""
        newest = self._trees[-1] if self._trees and self.alarm is None else None
        return newest if newest and waiting and all(self._tree_of(a) for _, a in waiting) else None

    def _tree_of(self, answer: Answer) -> SignedTree | None:
        """The tree that brought an entry in, while it is kept."""
        return next((tree for tree in self._trees if tree.growth.holds(answer.index, answer.leaf_hash)), None)

    def _found(self, connection: Conn, answer: Answer) -> Answer:
        """The answer with its row; a repeat's was recorded earlier, perhaps by another process."""
        if answer.row is not None:
            return answer
        row = statements.find_event(connection, self.study, answer.jti)
        assert row is not None
        return replace(answer, row=row, leaf_hash=row.leaf_hash, recorded_at=row.recorded_at)

    def _with_receipt(self, connection: Conn, tree: SignedTree, submission: Submission, answer: Answer) -> Answer:
        answer = self._found(connection, answer)
        receipt = None
        if submission.receipt:
            assert answer.row is not None
            tree = self._tree_of(answer) or tree  # proved there without reading older hashes
            receipt = self._receipts.receipt(connection, answer.row, tree.size, tree.checkpoint, tree.growth)
        return replace(answer, receipt=receipt, size=tree.size, root=base64url(tree.root), row=None)

    @staticmethod
    def _answer(outcomes: Sequence[tuple[Submission, Outcome]]) -> None:
        for submission, outcome in outcomes:
            try:
                submission.done(outcome)
            except Exception:  # whoever waited is gone; what was recorded stands
                log.exception("answer-fault", jti=submission.statement.jti)


@dataclass(slots=True)
class _Batch:
    """What one transaction decided. `spoiled`: an aggregate may be half folded; `left`: what it had no time for."""

    rows: list[EventRow] = field(default_factory=list)
    answers: list[tuple[Submission, Answer]] = field(default_factory=list)
    refused: list[tuple[Submission, Outcome]] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    known: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    differing: list[SeenDiffers] = field(default_factory=list)
    left: list[Submission] = field(default_factory=list)
    redactions: list[RedactionRow] = field(default_factory=list)
    ceremonies: list[tuple[str, int]] = field(default_factory=list)
    spoiled: bool = False
    committing: bool = False

    def growth(self, state: _State) -> Frontier:
        """The frontier after this batch."""
        return state.frontier.extend(self.leaves)


def stamp(moment: datetime) -> str:
    """A time as the leaf holds it: `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def frontier_of(head: Head) -> Frontier:
    """The frontier as the head row keeps it: the peaks alone."""
    peaks = tuple(head.frontier[at : at + HASH_BYTES] for at in range(0, len(head.frontier), HASH_BYTES))
    return Frontier(head.size, peaks)


def _row(stored: LedgerStoredEvent, statement: Statement, leaf: bytes) -> EventRow:
    return EventRow(
        stored.index,
        UUID(str(stored.originator_id)),
        stored.originator_version,
        stored.topic,
        statement.jwt,
        statement.disclosures,
        statement.jti,
        statement.kid,
        stored.recorded_at,
        leaf,
    )


def _verify(statement: Statement, jwk: Mapping[str, Any]) -> None:
    try:
        verify(statement, _public_key(statement.kid, jwk))
    except BadSignature as wrong:
        raise SignatureWrong(str(wrong)) from None


_PARSED: dict[str, PublicKey] = {}


def _public_key(kid: str, jwk: Mapping[str, Any]) -> PublicKey:
    """A parsed key, once per process: thumbprints name keys for ever."""
    key = _PARSED.get(kid)
    if key is None:
        key = _PARSED[kid] = PublicKey.from_jwk(jwk)
    return key
