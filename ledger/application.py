"""What the entrances call: open, append, read, prove. The command line, HTTP and imports share this one way in.

A statement walks through without turning back: parse and form (`prepare`, any thread), the study's writer
(`submit`), the answer with its receipt. Readers never see beyond the size that a checkpoint covers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError

from ledger.authority import Authority
from ledger.ceremonies import Marks, held
from ledger.cosigning import LogCosigner
from ledger.domain.aggregate import study_aggregate_id
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.genesis import GenesisTerms, GenesisUnsound, NoGenesis, NotOpened, decide_genesis
from ledger.domain.manifestation import FIELDS as MANIFESTATION
from ledger.domain.record import Record
from ledger.domain.refusals import Refusal
from ledger.external_signer import ExternalKeys, ExternalSigner
from ledger.home import Home
from ledger.log_rotation import keys_below, rotations
from ledger.merkle.log_keys import DerivedKeys, LogKeys, LogKeySource, rotation_note
from ledger.merkle.note import VerifierKey
from ledger.merkle.policy import Policy
from ledger.merkle.seal import seal_note
from ledger.receipts import Receipts
from ledger.redaction.carrying_out import Redactions, Step, newly_in_effect
from ledger.redaction.preparing import NothingToRedact, Prepared, prepare
from ledger.redaction.refused import Gone, without_copies
from ledger.seals import authority_below, next_seal, seal_in_force
from ledger.settings import Settings, SettingsError
from ledger.shared_state import SharedState, adopt_file
from ledger.signer import LogSigner
from ledger.signer_state import FileState, SignerAlarm, SignerState, StateStore
from ledger.signing.encoding import unb64url
from ledger.signing.errors import BadSignature, Malformed
from ledger.signing.keys import SigningKey
from ledger.signing.statement import Statement, disclosures_by_digest, parse, read_stored
from ledger.store import evidence, redactions, statements
from ledger.store.database import PROJECTOR, Conn, Database
from ledger.store.embedded import DatabaseUrls, EmbeddedPostgres
from ledger.store.errors import StoreError
from ledger.store.hosts import guarding, state_on_this_host
from ledger.store.migrations import migrate
from ledger.store.recorder import LedgerFactory, LedgerRecorder, LedgerStoredEvent
from ledger.store.rows import CheckpointRow, EventRow
from ledger.store.signer_states import SignerStates
from ledger.timestamps import Timestamping
from ledger.witness_standing import newest_witnessed
from ledger.witnessing import Witnessing
from ledger.writer import (
    Answer,
    NotRecorded,
    Outcome,
    SignatureWrong,
    StudyWriter,
    Submission,
    ledger_mapper,
    stamp,
)

MAX_PAGE = 1_000
"""Entries in one answer of the change feed."""
IN_FLIGHT_BYTES = 16_000_000
"""Bytes of statements that one caller of `append_many` has on their way: a quarter of what a writer's queue takes."""


class StudyNotFound(Refusal):
    """There is no such study here."""

    rule, status = "STUDY-404", 404
    remedy = "Use a study's id from GET /v1/studies, or open the study first."


class MalformedStatement(Refusal):
    """The bytes are not a statement in the profile of this ledger."""

    rule, status = "STATEMENT-0", 400

    def __init__(self, malformed: Malformed) -> None:
        super().__init__(malformed.because)
        self.rule, self.remedy = malformed.rule, malformed.remedy  # type: ignore[misc]


class EntryNotFound(Refusal):
    """No such entry is under a checkpoint yet."""

    rule, status = "ENTRY-404", 404
    remedy = "Wait for the checkpoint that covers it, or look its index up in the change feed."


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded statement as it is served: the exact bytes, its index and the ledger's time."""

    row: EventRow

    @property
    def statement(self) -> Statement:
        """The statement, read."""
        return read_stored(self.row.jwt, self.row.disclosures, self.row.redacted)

    def as_dict(self) -> dict[str, Any]:
        """JSON: index, event, jti, recorded_at, leaf_hash (hex), the statement's text, and of an electronic signature
        its manifestation (None for an entry). What became of it since are entries of their own."""
        row = self.row
        return {
            "index": row.idx,
            "event": row.topic.partition("/")[0],
            "jti": row.jti,
            "recorded_at": row.recorded_at,
            "leaf_hash": row.leaf_hash.hex(),
            "statement": "~".join((row.jwt, *row.disclosures, "")),
            "signature": self._signature(),
        }

    def _signature(self) -> dict[str, Any] | None:
        payload = unb64url(self.row.jwt.split(".")[1])
        if b"meaning" not in payload and b"\\" not in payload:  # most are entries, and reading one takes its time
            return None
        statement = self.statement
        if statement.meaning is None:
            return None
        stated = {name: statement.content.get(name) for name in MANIFESTATION}
        who = {"actor": statement.iss, "role": statement.role, "index": self.row.idx}
        return {**stated, "meaning": statement.meaning, **who, "ceremony": statement.ceremony}


class Ledger:
    """One process's access to the studies of one installation. `open` before use, `close` after it."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings, self.home = settings, Home(settings.home, settings.passphrase_file)
        self.host = self.home.origin_host(settings.origin)
        self.embedded = EmbeddedPostgres(self.home.database) if settings.database_url is None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._writers: dict[str, StudyWriter] = {}
        self._receipts: dict[str, Receipts] = {}
        self._genesis_keys = settings.genesis_keys
        self.redactions: Redactions
        self._unsettled: list[Step] = []
        self.witnessing = Witnessing(
            lambda: self._asking,
            settings.policy_folder or self.home.path / "policies",
            self.home.path / "witness",
            self.origin,
            self.every_log_key,
        )
        self.timestamping = Timestamping(
            settings.timestamp_urls,
            settings.timestamp_roots,
            lambda: self._asking,
            self.studies,
            self.home.path / "witness",
        )
        self._states = None if settings.signer_url is None else SignerStates(settings.signer_url)
        self._external = None if settings.signer_command is None else ExternalSigner(settings.signer_command)
        self.database: Database
        self._writing: Database
        self._signing: Database
        self._asking: Database
        self.urls: DatabaseUrls

    # -- life -----------------------------------------------------------------------------------------------

    def open(self) -> Ledger:
        """Start what is needed and connect; says precisely what is missing (StoreError, SettingsError)."""
        self.urls = self._urls()
        if self.urls.admin:
            migrate(self.urls.admin)
        self.database = Database(self.urls.app).open()
        # Readers may hold every connection of theirs as long as they like: writers and signers have their own.
        self._writing = Database(self.urls.app, name="trial-ledger-writer")
        try:
            begins = guarding(self._signer_name())
            self._signing = Database(
                self.urls.app, name="trial-ledger-signer", waits_for_disk=False, begins=begins
            ).open()  # refuses where another signer is at work
        except StoreError:
            self.close()
            raise
        self.redactions = Redactions(self.home, self.database, self.projector_database, self._clock)
        self.redactions.protect()  # before anything is read: the database may have been restored
        self._asking = Database(self.urls.app, name="trial-ledger-witnessing")
        return self

    def _signer_name(self) -> str:
        """What names the state that is signed with here: the folder on this host, or the store that hosts share."""
        if self._states is None:
            return state_on_this_host(self.home.path / "signer")
        with self.database.connection() as connection:
            self._states.refuse_cluster_of(connection)
        return self._states.identity()

    def share_signer_state(self) -> list[str]:
        """Make the store that several hosts share, and move there what this host's signer kept in files; returns the
        studies that were moved. Nothing without TRIAL_LEDGER_SIGNER_URL."""
        if self._states is None:
            return []
        self._states.make()
        moved = []
        for path in sorted((self.home.path / "signer").glob("*.state")):
            origin = self.origin(path.stem)
            if adopt_file(FileState(path, origin), self._states, origin):
                moved.append(path.stem)
        return moved

    def _urls(self) -> DatabaseUrls:
        if self.embedded is not None:
            return self.embedded.start()
        settings = self.settings
        if settings.database_url is None or settings.projector_url is None:
            raise SettingsError("TRIAL_LEDGER_DATABASE_URL and TRIAL_LEDGER_PROJECTOR_URL go together")
        return DatabaseUrls(settings.database_url, settings.projector_url, settings.admin_url or "")

    def close(self) -> None:
        """Finish what is queued, then let go of the database; the embedded one stops with who started it."""
        with self._lock:
            writers, self._writers = list(self._writers.values()), {}
        self.witnessing.stop()
        self.timestamping.stop()
        for writer in writers:
            writer.stop()
        with suppress(AttributeError):
            self.database.close()
            self._writing.close()
            self._signing.close()
            self._asking.close()
        if self._states is not None:
            self._states.close()
        if self._external is not None:
            self._external.close()
        if self.embedded is not None:
            self.embedded.stop()

    def __enter__(self) -> Ledger:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def projector_database(self) -> Database:
        """A database as the projector's role."""
        return Database(self.urls.projector, role=PROJECTOR, name="trial-ledger-projector")

    def allow_genesis(self, kid: str) -> None:
        """Accept genesis from this registrar key as well: the installation's own."""
        self._genesis_keys = self._genesis_keys | {kid}

    def now(self) -> datetime:
        """The installation's clock, aware."""
        return self._clock()

    def settle_redactions(self, fingerprints: Sequence[str]) -> list[Step]:
        """Carry out what is redacted, as far as it goes now, and let go of what this process holds of it;
        `fingerprints` are those of this release's projections. Returns every redaction that was not settled before."""
        steps = self.redactions.settle(fingerprints)
        for study in newly_in_effect(self._unsettled, steps):
            writer = self._writers.get(study)
            if writer is not None:
                writer.forget()
        self._unsettled = steps
        return steps

    # -- studies --------------------------------------------------------------------------------------------

    def origin(self, study: str) -> str:
        """The origin of a study's log."""
        return f"{self.host}/study/{study}"

    def studies(self) -> list[str]:
        """Ids of the studies that have a genesis."""
        with self.database.connection() as connection:
            known = statements.select_studies(connection)
            return sorted(s for s in known if statements.read_head(connection, s).size)

    def has_study(self, study: str) -> bool:
        """Whether a study has been opened here."""
        return study in self.studies()

    def log_key_source(self, study: str) -> LogKeySource:
        """The keys of a study's log, all generations."""
        if self._external is not None:
            return ExternalKeys(self._external, self.origin(study))
        return DerivedKeys(self.home.master_seed(), self.origin(study))

    def log_signers(self, study: str) -> LogKeys:
        """The keys that a study's log begins with."""
        return self.log_key_source(study).of(1)

    def log_key_history(self, study: str) -> list[dict[str, Any]]:
        """The vkeys of an open study's log, each with the index `since` which they are in force, from genesis on: those
        that sign a checkpoint of size N are the last whose `since` is below N. Empty before genesis."""
        with self.database.snapshot() as connection:
            if study not in statements.select_studies(connection):
                return []
            size = statements.read_head(connection, study).size
            first = [str(key) for key in self.log_signers(study).public()]
            changes = rotations(connection, study, size)
        since = [{"since": 0, "log_keys": first}] if size else []
        return since + [{"since": one.index, "log_keys": list(one.log_keys)} for one in changes]

    def every_log_key(self, study: str) -> list[VerifierKey]:
        """The vkeys of a study's log, of every generation that has been in force: those that its policy may name."""
        texts = [text for one in self.log_key_history(study) for text in one["log_keys"]]
        return [VerifierKey.parse(text) for text in texts] or list(self.log_signers(study).public())

    def log_keys(self, study: str) -> dict[str, Any]:
        """What genesis must state: the log's origin and keys, and the key of the actor `ledger`: this installation's
        newest."""
        key = self.home.seals()[-1]
        return {
            "origin": self.origin(study),
            "log_keys": [str(public) for public in self.log_signers(study).public()],
            "ledger": {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk},
        }

    def seal(self, study: str) -> SigningKey:
        """The key that the system's own records of an open study are sealed with now; raises NoSeal."""
        return seal_in_force(self.home, self._authority(study))

    def next_seal(self, study: str) -> tuple[SigningKey, str]:
        """The key of the actor `ledger` to enrol next, and the note in which the log's own keys vouch for it."""
        key, generation = next_seal(self.home, self._authority(study)), len(self.log_key_history(study))
        return key, seal_note(self.origin(study), key.kid, self.log_key_source(study).of(generation).ed25519)

    def _authority(self, study: str) -> Authority:
        with self.database.snapshot() as connection:
            if study not in statements.select_studies(connection):
                raise StudyNotFound(f"no study {study!r}")
            size = statements.read_head(connection, study).size
            return authority_below(connection, study, self.origin(study), size)

    def terms(self, study: str) -> GenesisTerms:
        """What this installation asks of a study's genesis."""
        stated = self.log_keys(study)
        return GenesisTerms(
            study,
            stated["origin"],
            tuple(stated["log_keys"]),
            stated["ledger"],
            self._genesis_keys,
            self.embedded is not None,
        )

    def is_writing(self, study: str) -> bool:
        """Whether the study's writer runs in this process already: `writer` then answers at once."""
        return study in self._writers

    def writer(self, study: str) -> StudyWriter:
        """The study's writer in this process; raises StudyNotFound."""
        with self._lock:
            writer = self._writers.get(study)
            if writer is not None:
                return writer
        with self.database.connection() as connection:
            origin = statements.select_studies(connection).get(study)
        if origin is None:
            raise StudyNotFound(f"no study {study!r}")
        if origin != self.origin(study):
            raise SettingsError(f"the log of {study} is {origin!r}; this installation writes {self.origin(study)!r}")
        return self._start_writer(study)

    def _start_writer(self, study: str) -> StudyWriter:
        with self._lock:
            writer = self._writers.get(study)
            if writer is None:
                origin = self.origin(study)
                signer = self._signer(study)
                writer = StudyWriter(
                    study,
                    origin,
                    self._writing,
                    self._signing,
                    signer,
                    self.receipts(study),
                    self.terms(study),
                    self._clock,
                    lambda connection, name: held(connection, self.marks, study, name, self._clock()),
                )
                writer.start()
                self._writers[study] = writer
            return writer

    def resume(self) -> None:
        """Start the writers of all studies, so that what a crash left unsigned is signed without being asked."""
        for study in self.studies():
            self.writer(study)

    def check_log(self, study: str) -> SignerAlarm | None:
        """Have the signer compare the log with its own state; None when they agree."""
        try:
            with self._signing.connection() as connection:
                self._signer(study).advance(connection)
        except SignerAlarm as alarm:
            return alarm
        return None

    def signed_state(self, study: str) -> SignerState:
        """What the study's signer signed last, by its own state; raises StudyNotFound, SignerAlarm."""
        if self._states is None and not self.home.signer_state(study).exists():
            raise StudyNotFound(f"no study {study!r}")
        with self._state_store(study).held() as held:
            return held.read()

    def _state_store(self, study: str) -> StateStore:
        origin = self.origin(study)
        if self._states is not None:
            return SharedState(self._states, origin)
        return FileState(self.home.signer_state(study), origin)

    def _signer(self, study: str) -> LogSigner:
        store, origin = self._state_store(study), self.origin(study)
        return LogSigner(store, study, origin, self.log_key_source(study), self._clock)

    def cosign_for_export(self, study: str, size: int) -> CheckpointRow:
        """See to it that a released checkpoint carries the log's ML-DSA-44 line, and return it; `evidence.full_note`
        then gives it with every line. For whatever hands a checkpoint out as evidence, before it does.

        Raises EntryNotFound when no checkpoint has exactly this size, EvidenceConflict when it is not this log's.
        """
        cosigner = LogCosigner(study, self.origin(study), partial(keys_below, self.log_key_source(study)), self._clock)
        with self._writing.connection() as connection:
            row = evidence.checkpoint_at(connection, study, size)
            if row is None:
                raise EntryNotFound(f"{study} has no checkpoint of size {size}")
            cosigner.ensure(connection, row)
        return row

    def receipts(self, study: str) -> Receipts:
        """Proofs of a study's log."""
        return self._receipts.setdefault(study, Receipts(study))

    def log_rotation(self, study: str) -> dict[str, Any]:
        """The fields of a LogKeyRotated to this log's next keys: the new vkeys, and the note signed by both."""
        source, generation = self.log_key_source(study), len(self.log_key_history(study))
        if not generation:
            raise StudyNotFound(f"{study} is not open, so its log's keys are those that its genesis will name")
        old, new = source.of(generation), source.of(generation + 1)
        note = rotation_note(self.origin(study), old, new)
        return {"log_keys": [str(key) for key in new.public()], "note": note}

    # -- appending ------------------------------------------------------------------------------------------

    def open_study(self, text: bytes | str, *, validate_only: bool = False) -> Answer:
        """Open a study by its genesis statement; a repeat of the same statement is harmless. Raises the Refusal,
        which is kept in the refusal list."""
        now = stamp(self._clock())
        try:
            statement, known = self._openable(text, now)
        except Refusal as refusal:
            if not validate_only:
                self.keep_refusal(None, text, refusal)
            raise
        if validate_only and not known:
            return Answer(statement.jti, 0, b"", now)
        study: str = statement.body["study"]
        if not known:
            with self.database.connection() as connection:
                statements.create_study(connection, study, self.origin(study))
        outcome = self.append(study, text, validate_only=validate_only)
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def _openable(self, text: bytes | str, now: str) -> tuple[Statement, bool]:
        """A genesis statement that may open its study, or whose study is open already (then True)."""
        statement = self._parsed(text)
        if statement.event != "StudyOpened":
            named = statement.aud.removeprefix(self.origin(""))
            if self.has_study(named):
                raise NoGenesis(f"{statement.event} opens no study, and {named} is open")
            raise NotOpened(f"{statement.event} opens no study")
        CATALOGUE.check_form(statement)
        study: str = statement.body["study"]
        known = self.has_study(study)
        if not known:
            CATALOGUE.check_accepted(statement.event, statement.version)
            try:
                decide_genesis(statement, self.terms(study), now)
            except GenesisUnsound as unsound:
                if isinstance(unsound.__cause__, BadSignature):  # answered as it is for every other statement
                    raise SignatureWrong(unsound.because) from None
                raise
        return statement, known

    def prepare(self, study: str, text: bytes | str) -> tuple[StudyWriter, Statement]:
        """Parse and check the form; raises a Refusal. For any thread; the signature is the writer's to verify."""
        writer = self.writer(study)
        statement = self._parsed(text)
        CATALOGUE.check_form(statement)
        return writer, statement

    @staticmethod
    def _parsed(text: bytes | str) -> Statement:
        try:
            return parse(text)
        except Malformed as malformed:
            raise MalformedStatement(malformed) from None

    def append(self, study: str, text: bytes | str, *, validate_only: bool = False) -> Outcome:
        """Record one statement and wait for its answer; a refusal is returned and kept in the refusal list."""
        for outcome in self.append_many(study, [text], validate_only=validate_only):
            return outcome
        raise AssertionError("one statement has one answer")

    def append_many(
        self,
        study: str,
        texts: Iterable[bytes | str],
        in_flight: int = 2_000,
        *,
        validate_only: bool = False,
        receipts: bool = True,
    ) -> Iterator[Outcome]:
        """Record statements in order, an answer each, in order, with bounded memory.

        Without `receipts` the answers carry none: they are made when they are asked for.
        """
        answers: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
        arrived: dict[int, tuple[Outcome, bytes | str]] = {}
        sent: dict[int, bytes | str] = {}
        position = weight = 0
        for number, text in enumerate(texts):
            sent[number] = text
            weight += len(text)
            self._send(study, number, text, answers, validate_only, receipts)
            while len(sent) >= in_flight or weight >= IN_FLIGHT_BYTES or not answers.empty():
                done, outcome = answers.get()
                arrived[done] = (outcome, sent.pop(done))
                weight -= len(arrived[done][1])
                while position in arrived:
                    yield self._settled(study, *arrived.pop(position), validate_only)
                    position += 1
        while sent:
            done, outcome = answers.get()
            arrived[done] = (outcome, sent.pop(done))
        while position in arrived:
            yield self._settled(study, *arrived.pop(position), validate_only)
            position += 1

    def _send(
        self,
        study: str,
        number: int,
        text: bytes | str,
        answers: queue.SimpleQueue[Any],
        validate_only: bool,
        receipts: bool,
    ) -> None:
        try:
            writer, statement = self.prepare(study, text)
            done = partial(self._arrived, answers, number)
            writer.submit([Submission(statement, done, validate_only, receipts)])
        except Refusal as refusal:
            answers.put((number, refusal))
        except StoreError as error:
            answers.put((number, NotRecorded(str(error))))

    @staticmethod
    def _arrived(answers: queue.SimpleQueue[tuple[int, Outcome]], number: int, outcome: Outcome) -> None:
        answers.put((number, outcome))

    def _settled(self, study: str, outcome: Outcome, text: bytes | str, validate_only: bool) -> Outcome:
        if isinstance(outcome, Refusal) and not validate_only:
            self.keep_refusal(study, text, outcome)
        return outcome

    def keep_refusal(self, study: str | None, text: bytes | str, refusal: Refusal) -> None:
        """Keep a refused statement in the refusal list; what the ledger itself could not do is not kept."""
        if refusal.status >= 500:
            return
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        jti = iss = None
        with suppress(Malformed):
            statement = parse(data)
            jti, iss = statement.jti, statement.iss
        with suppress(StoreError), self.database.connection() as connection, connection.transaction():
            number = evidence.insert_refusal(
                connection,
                study=study,
                at=self._clock(),
                rule=refusal.rule,
                status=refusal.status,
                because=refusal.as_dict(),
                jti=jti,
                iss=iss,
                statement=data,
            )
            if study is not None and jti is not None:  # it may repeat what is redacted of a recorded statement
                redacted = redactions.select_redactions(connection, study)
                remaining = without_copies(data, Gone.of(redacted)) if redacted else None
                if remaining is not None:
                    redactions.redact_refusal(connection, number, remaining)

    def try_draft(self, study: str, text: str) -> Refusal | None:
        """Whether a statement would be recorded now if it were signed: why not, or None. Its signature is no
        signature yet, and the ceremony that it names is taken as held. Nothing is recorded or kept."""
        answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        writer, statement = self.prepare(study, text)
        writer.submit([Submission(statement, answers.put, drafted=True)])
        outcome = answers.get()
        return outcome if isinstance(outcome, Refusal) else None

    @cached_property
    def marks(self) -> Marks:
        """The marks by which this installation knows its own rows about accounts."""
        return Marks(self.home.secret("accounts"))

    def known(self, study: str, jtis: Sequence[str]) -> set[str]:
        """Which of these event ids are recorded already."""
        found: set[str] = set()
        with self.database.connection() as connection:
            for start in range(0, len(jtis), MAX_PAGE):
                found |= statements.known_jtis(connection, study, jtis[start : start + MAX_PAGE]).keys()
        return found

    def prepare_redaction(self, study: str, wanted: Mapping[str, Sequence[str]]) -> Prepared:
        """The order that destroys these fields (event id -> names of fields; no names: all that are disclosed) of
        records of one subject, or of the study, with the copies that are certain. Raises NothingToRedact."""
        with self.database.connection() as connection:
            rows = {jti: statements.find_event(connection, study, jti) for jti in wanted}

            def disclosed(record: Record) -> Mapping[str, str]:
                row = statements.find_event(connection, study, record.jti)
                return {} if row is None else disclosures_by_digest(row.disclosures)

            missing = [jti for jti, row in rows.items() if row is None]
            if missing:
                raise NothingToRedact(f"{study} has no event {missing[0]}")
            about = {row.originator_id for row in rows.values() if row is not None}
            if len(about) != 1:
                raise NothingToRedact("an order is about the records of one subject, or of the study itself")
            held: Any = self.application(study).repository.get(about.pop())
            named = {jti: names or list(held.records.by_jti[jti].content) for jti, names in wanted.items()}
            return prepare(held.records, named, disclosed)

    # -- reading --------------------------------------------------------------------------------------------

    def checkpoint(self, connection: Conn, study: str) -> CheckpointRow:
        """The newest checkpoint; raises StudyNotFound, EntryNotFound before the first."""
        if study not in statements.select_studies(connection):
            raise StudyNotFound(f"no study {study!r}")
        newest = evidence.latest_checkpoint(connection, study)
        if newest is None:
            raise EntryNotFound(f"{study} has no checkpoint yet")
        return newest

    def entries(
        self,
        study: str,
        after: int,
        limit: int,
        events: Sequence[str] = (),
        subject: UUID | None = None,
        as_of: int | None = None,
    ) -> tuple[list[EventRow], CheckpointRow]:
        """Entries with index >= `after` under the newest checkpoint, in order, and that checkpoint; with `as_of`
        those of the first so many."""
        unknown = next((event for event in events if event not in CATALOGUE), None)
        if unknown is not None:
            CATALOGUE[unknown]  # raises UnknownEvent
        with self.database.snapshot() as connection:
            newest = self.checkpoint(connection, study)
            stop = newest.size if as_of is None else min(as_of, newest.size)
            rows = statements.select_events(
                connection, study, after, stop, min(limit, MAX_PAGE), events or None, subject
            )
            return rows, newest

    def entry(self, study: str, index: int, as_of: int | None = None) -> Entry:
        """The entry at an index; raises EntryNotFound."""
        rows, newest = self.entries(study, index, 1, as_of=as_of)
        if not rows or rows[0].idx != index:
            covered = newest.size if as_of is None else as_of
            raise EntryNotFound(f"index {index} is not among the {covered} entries")
        return Entry(rows[0])

    def receipt(self, connection: Conn, study: str, jti: str, under: CheckpointRow) -> str:
        """The receipt of an event under a checkpoint with every signature known of it; raises EntryNotFound."""
        row = statements.find_event(connection, study, jti)
        if row is None or row.idx >= under.size:
            raise EntryNotFound(f"no event {jti} among the {under.size} entries")
        note = evidence.full_note(connection, study, under)
        return self.receipts(study).receipt(connection, row, under.size, note, None)

    def witnessed(self, connection: Conn, study: str, policy: Policy, holding: int = 0) -> CheckpointRow | None:
        """The newest checkpoint that has the policy's quorum, if it covers `holding` entries; None otherwise."""
        newest = self.checkpoint(connection, study)
        found = newest_witnessed(connection, study, policy, newest.size + 1, holding)
        return found.checkpoint if found else None

    # -- the library's view ---------------------------------------------------------------------------------

    def application(self, study: str) -> Application[UUID]:
        """The study as an `eventsourcing` application: its repository gives the aggregates of the log."""
        database, mapper = self.database, ledger_mapper(self.origin(study))

        def aggregate(id: UUID, after: int, upto: int | None) -> Sequence[EventRow]:
            with database.connection() as connection:
                return statements.select_aggregate(connection, study, id, after, upto)

        def log(start: int, limit: int, stop: int | None, topics: Sequence[str]) -> Sequence[EventRow]:
            with database.connection() as connection:
                last = statements.read_head(connection, study).size if stop is None else stop
                return statements.select_events(connection, study, start, last, limit, topics=topics or None)

        def size() -> int:
            with database.connection() as connection:
                return statements.read_head(connection, study).size

        def write(events: Sequence[LedgerStoredEvent]) -> Sequence[int]:
            return self._write_stored(study, events)

        return _StudyApplication(LedgerFactory(mapper, LedgerRecorder(aggregate, log, size, write)))

    def _write_stored(self, study: str, events: Sequence[LedgerStoredEvent]) -> list[int]:
        texts = ["~".join((event.state.decode(), *event.disclosures, "")) for event in events]
        indexes = []
        for outcome in self.append_many(study, texts):
            if isinstance(outcome, Refusal):
                raise IntegrityError(f"{outcome.rule}: {outcome.because}")
            indexes.append(outcome.index)
        return indexes

    def study_aggregate_id(self, study: str) -> UUID:
        """The id of the study's own aggregate."""
        return study_aggregate_id(self.origin(study))


class _StudyApplication(Application[UUID]):
    """`eventsourcing`'s application over the ledger's recorder, without caches and snapshots of its own."""

    name = "trial-ledger"

    def __init__(self, factory: LedgerFactory) -> None:
        self._factory = factory
        super().__init__()

    def construct_factory(self, env: Any) -> LedgerFactory:
        return self._factory
