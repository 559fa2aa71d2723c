"""The ledger's side of witnessing: a study's policy, the rounds in which its witnesses are asked, and where they stand.

A study's policy is the file `<STUDY>.policy` (tlog-policy, `ledger.merkle.policy`) in the folder that
TRIAL_LEDGER_POLICY names; it is read again when it changes. While it is there, one process of the host asks:
 1. a round takes the newest checkpoint, whatever came before it: a burst of appends is one question;
 2. every witness with an address that has not cosigned it, or not for ten minutes, is asked, all at once, each within
    a second; one that fails is left alone for twice as long each time, five minutes at most;
 3. a line is stored when the policy's key verifies it: the state "witnessed" is these rows, nothing else;
 4. what a witness said instead is kept in words in the home (`witness/<STUDY>.json`), for whoever asks in whichever
    process; what looks like a second history is an alarm, and the checkpoint that the witness shows is kept beside it;
 5. a witness that states less than it cosigned here has an older state: it is asked on, and an alarm while it keeps
    its key.
Nothing of this is waited for by an append. Killed at any point: the next round begins from the rows.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ledger.asking import HttpExchange, LargerTree, OtherHistory, Question, WitnessFailed, ask, monitored
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import Signature, VerifierKey, parse_note
from ledger.merkle.policy import Policy, Witness
from ledger.receipts import Receipts, base64url
from ledger.settings import SettingsError
from ledger.store import evidence
from ledger.store.database import Conn, Database
from ledger.store.errors import StoreError
from ledger.store.locks import FileLock
from ledger.store.rows import CheckpointRow
from ledger.witness_notes import Alarm, Notes, WitnessNote
from ledger.witness_standing import load_policy, row_name

ROUND_SECONDS = 1.0
"""Between two rounds: a witness sees at most one checkpoint a second, and the appends keep the processor."""
ROUND_LIMIT_SECONDS = 4.0
"""How long a round waits for its witnesses; who is slower (a name that does not resolve) is asked again when done."""
HEARTBEAT_SECONDS = 600
"""How old a cosignature of an unchanged checkpoint becomes before it is renewed: an idle log stays fresh."""
BACK_OFF_SECONDS = 300
"""The longest pause after failures: a witness that is back is asked again within five minutes."""

SUFFIX = ".policy"
STUDY = re.compile(r"[A-Z0-9-]{3,32}")

REMEDY = (
    "Either this database was restored from an older backup, or somebody else writes a log with this key, or the "
    "witness errs. Compare both checkpoints (`trial-ledger checkpoints compare`), ask the other witnesses, and append "
    "nothing until it is clear."
)

FORGETFUL = (
    "An older copy of its state was put back, or it runs twice: it could cosign another history of what it forgot. "
    "Have its operator make a new witness with a new key, and write that one into the policy."
)

log = structlog.get_logger("ledger.witnessing")


@dataclass(slots=True)
class _Standing:
    """What this process knows of one witness; for the thread of the rounds alone."""

    witness: Witness
    size: int = 0
    at: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    asked: Future[tuple[Signature, ...]] | None = None
    question: CheckpointRow | None = None
    told_less: int | None = None
    """The size that it stated though it had cosigned more; set by the thread that asks, read when it is done."""
    http: HttpExchange = field(default_factory=HttpExchange)


class StudyWitnessing:
    """Asks the witnesses of one study. `round` is for one thread; other processes of the host are kept out."""

    def __init__(
        self,
        study: str,
        origin: str,
        policy_file: Path,
        log_keys: Callable[[], Sequence[VerifierKey]],
        database: Database,
        folder: Path,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.study, self.origin = study, origin
        self.policy: Policy | None = None
        self._file, self._log_keys, self._database, self._clock = policy_file, log_keys, database, wall_clock
        self._receipts = Receipts(study)  # its own: a proof for a witness does not hold up a receipt
        self._notes = Notes(folder / f"{study}.json")
        self._kept = folder / f"{study}.seen-by-witnesses"
        self._lock = FileLock(folder / f"{study}.lock")
        self._holds = False
        self._stamp: tuple[int, int] | None = None
        self._standings: dict[str, _Standing] = {}
        self._pool = ThreadPoolExecutor(thread_name_prefix=f"witness-{study}")

    def close(self) -> None:
        """Let another process ask."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for standing in self._standings.values():
            standing.http.close()
        self._lock.close()

    def round(self) -> None:
        """Ask whoever is due, and store what is good; raises the store's errors."""
        self._holds = self._holds or self._lock.try_exclusive()
        if not self._holds or not self._current_policy():
            return
        with self._database.connection() as connection:
            newest = evidence.latest_checkpoint(connection, self.study)
        if newest is None:
            return
        now = self._clock()
        for standing in self._standings.values():
            if self._due(standing, newest, now):
                standing.question = newest
                standing.asked = self._pool.submit(self._ask, standing, newest, standing.size)
        asked = [standing for standing in self._standings.values() if standing.asked is not None]
        wait([one.asked for one in asked if one.asked is not None], ROUND_LIMIT_SECONDS)
        for standing in asked:
            if standing.asked is not None and standing.asked.done():
                self._settle(standing)

    @staticmethod
    def _due(standing: _Standing, newest: CheckpointRow, now: float) -> bool:
        if standing.asked is not None or standing.witness.url is None or now < standing.not_before:
            return False
        return standing.size != newest.size or now - standing.at >= HEARTBEAT_SECONDS

    # -- the policy -----------------------------------------------------------------------------------------

    def _current_policy(self) -> bool:
        """Read the policy when its file has changed; a broken one is noted, and the one before stays in force."""
        try:
            found = self._file.stat()
        except OSError:
            self.policy, self._stamp, self._standings = None, None, {}
            return False
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                policy = load_policy(self._file, self.origin, self._log_keys())
            except SettingsError as wrong:
                log.error("witness-policy", study=self.study, because=str(wrong))
                self._notes.set_problem(str(wrong))
                return self.policy is not None
            self._notes.set_problem(None, policy.witnesses)
            self._take_policy(policy)
        return self.policy is not None

    def _take_policy(self, policy: Policy) -> None:
        names = [row_name(witness.key) for witness in policy.witnesses.values()]
        with self._database.connection() as connection:
            stored = evidence.newest_cosignatures(connection, self.study, names)
        for standing in self._standings.values():
            standing.http.close()
        self._standings = {}
        for name, witness in policy.witnesses.items():
            size, at = stored.get(row_name(witness.key), (0, None))
            self._standings[name] = _Standing(witness, size, at.timestamp() if at else 0.0)
        self.policy = policy

    # -- one witness ----------------------------------------------------------------------------------------

    def _ask(self, standing: _Standing, newest: CheckpointRow, seen: int) -> tuple[Signature, ...]:
        """In a thread of the pool."""
        witness = standing.witness
        assert self.policy is not None and witness.url is not None

        def proof(old: int) -> list[bytes]:
            with self._database.connection() as connection:
                return self._receipts.consistency_proof(connection, old, newest.size)

        def forgot(told: int) -> None:
            standing.told_less = told

        question = Question(Checkpoint.parse(parse_note(newest.note.encode()).text), newest.note.encode(), proof)
        known = self.policy.witness_verifiers()
        url, post = witness.url.rstrip("/"), standing.http.post
        return ask(url, witness.key, known, question, seen, self._clock, post, forgot)

    def _settle(self, standing: _Standing) -> None:
        """Take a witness's answer in: store its lines, or note its failure."""
        asked, question = standing.asked, standing.question
        assert asked is not None and question is not None
        standing.asked = None
        name, now = standing.witness.name, self._clock()
        self._note_forgetful(standing)
        try:
            lines = self._answer_of(asked)
        except WitnessFailed as failure:
            standing.failures += 1
            standing.not_before = now + min(2.0 ** min(standing.failures, 16), BACK_OFF_SECONDS)
            alarm = self._alarm(standing, failure)
            if alarm is not None and self._notes.of(name).alarm != alarm:
                log.error("witness-alarm", study=self.study, witness=name, because=alarm.because, remedy=alarm.remedy)
            self._notes.failed(name, str(failure), alarm, now, standing.not_before)
            return
        self._store(question, lines, renewed=standing.size == question.size)
        standing.size, standing.at, standing.failures, standing.not_before = question.size, now, 0, 0.0
        self._notes.answered(name)

    def _note_forgetful(self, standing: _Standing) -> None:
        """Keep that a witness stated less than it had cosigned."""
        if standing.told_less is None:
            return
        told, standing.told_less = standing.told_less, None
        alarm = Alarm(
            f"the witness {standing.witness.name} says that it has seen {told} entries, though it cosigned "
            f"{standing.size} before",
            FORGETFUL,
        )
        log.error("witness-alarm", study=self.study, because=alarm.because, remedy=alarm.remedy)
        self._notes.forgot(row_name(standing.witness.key), alarm)

    @staticmethod
    def _answer_of(asked: Future[tuple[Signature, ...]]) -> tuple[Signature, ...]:
        """A witness's lines; whatever else went wrong than the database is this witness's failure, and no other's."""
        try:
            return asked.result()
        except (WitnessFailed, StoreError):
            raise
        except Exception as error:
            log.exception("witness-fault")
            raise WitnessFailed(f"asking it failed: {type(error).__name__}") from None

    def _store(self, checkpoint: CheckpointRow, lines: Sequence[Signature], *, renewed: bool) -> None:
        """Store lines, the witness's own first; `renewed` when it had cosigned this checkpoint before."""
        received_at = datetime.now(UTC)
        with self._database.connection() as connection:
            for place, signature in enumerate(lines):
                witness = f"{signature.name}+{signature.key_id.hex()}"
                line = signature.line().decode().removesuffix("\n")
                values = (self.study, checkpoint.size, witness, line, received_at)
                if not evidence.insert_cosignature(connection, *values) and renewed and place == 0:
                    evidence.renew_cosignature(connection, *values)

    def _alarm(self, standing: _Standing, failure: WitnessFailed) -> Alarm | None:
        """What a person has to look at, if this failure is more than a failure."""
        if not isinstance(failure, LargerTree | OtherHistory):
            return None
        with self._database.connection() as connection:
            newest = evidence.latest_checkpoint(connection, self.study)
            if newest is None or (isinstance(failure, LargerTree) and failure.size <= newest.size):
                return None  # another server has signed more meanwhile
            seen = self._what_it_shows(connection, standing, newest)
        history = "a larger tree" if isinstance(failure, LargerTree) else "another history"
        return Alarm(f"the witness {standing.witness.name} has seen {history}: {failure}. {seen}", REMEDY)

    def _what_it_shows(self, connection: Conn, standing: _Standing, newest: CheckpointRow) -> str:
        """What the witness has to show for it, in words; a checkpoint with the log's own signature is kept."""
        assert standing.witness.url is not None
        keys = [verifier_of(key) for key in self._log_keys()]
        shown = monitored(standing.witness.url.rstrip("/"), self.origin, keys, standing.http.get)
        if shown is None:
            return "It shows no checkpoint that is signed with this log's key, so it may be the witness that errs"
        tree = Checkpoint.parse(parse_note(shown).text)
        own = self._receipts.root_at(connection, tree.size) if tree.size <= newest.size else None
        if own == base64url(tree.root):
            return f"But what it shows, {tree.size} entries, is this log's own history, so it is the witness that errs"
        path = self._kept / f"{standing.witness.key.key_id.hex()}-{tree.size}.note"
        with suppress(OSError):
            self._kept.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(shown)
        proof = "which proves two histories" if own is not None else "which this log does not hold"
        return f"It shows a checkpoint of {tree.size} entries signed with this log's key, {proof}; kept in {path.name}"


class Witnessing:
    """All studies' witnesses, asked by one thread a study; and what every process can say about them."""

    def __init__(
        self,
        database: Callable[[], Database],
        folder: Path,
        home: Path,
        origin: Callable[[str], str],
        log_keys: Callable[[str], Sequence[VerifierKey]],
    ) -> None:
        self._database, self._folder, self._home = database, folder, home
        self._origin, self._log_keys = origin, log_keys
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._supervisor: threading.Thread | None = None

    def policy_file(self, study: str) -> Path:
        """Where a study's policy is looked for."""
        return self._folder / f"{study}{SUFFIX}"

    def policy(self, study: str) -> Policy | None:
        """A study's policy as its file says now, None where there is none; SettingsError when it is broken."""
        path = self.policy_file(study)
        return load_policy(path, self._origin(study), self._log_keys(study)) if path.exists() else None

    def policy_in_words(self, study: str) -> str:
        """The text that goes into a bundle: the policy, or, where there is none, the log's own keys and no witness."""
        policy = self.policy(study)
        return str(policy if policy is not None else Policy.without_witnesses(self._log_keys(study)))

    def notes(self, study: str) -> dict[str, WitnessNote]:
        """What the asking process noted of each witness that failed."""
        return Notes(self._home / f"{study}.json").read()[1]

    def problem(self, study: str) -> str | None:
        """What is wrong with the policy's file, as far as this or the asking process noted it."""
        try:
            self.policy(study)
        except SettingsError as wrong:
            return str(wrong)
        return None

    def alarms(self, study: str) -> list[Alarm]:
        """What a person has to look at."""
        policy_alarm = self.problem(study)
        found = [Alarm(policy_alarm, "Mend the policy's file; it is read again at once.")] if policy_alarm else []
        found += [note.alarm for note in self.notes(study).values() if note.alarm is not None]
        forgetful = Notes(self._home / f"{study}.json").forgetful()
        policy = self.policy(study) if forgetful and not policy_alarm else None
        keys = {row_name(witness.key) for witness in policy.witnesses.values()} if policy is not None else set()
        return found + [alarm for key, alarm in forgetful.items() if key in keys]

    # -- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin asking. Raises SettingsError for a policy that cannot be used; later ones are noted only."""
        for path in self._files():
            load_policy(path, self._origin(path.stem), self._log_keys(path.stem))
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._stop.clear()
        self._supervisor = threading.Thread(target=self._supervise, name="witnessing", daemon=True)
        self._supervisor.start()

    def stop(self) -> None:
        """Ask nobody any more; waits for what is being stored."""
        self._stop.set()
        if self._supervisor is not None:
            self._supervisor.join()
        for thread in self._threads.values():
            thread.join()

    def _files(self) -> list[Path]:
        found = self._folder.glob(f"*{SUFFIX}") if self._folder.is_dir() else ()
        return sorted(path for path in found if STUDY.fullmatch(path.stem))

    def _supervise(self) -> None:
        while not self._stop.is_set():
            for path in self._files():
                thread = self._threads.get(path.stem)
                if thread is None or not thread.is_alive():
                    thread = threading.Thread(target=self._rounds, args=(path,), name=f"witnessing-{path.stem}")
                    thread.daemon = True
                    self._threads[path.stem] = thread
                    thread.start()
            self._stop.wait(ROUND_SECONDS)

    def _rounds(self, path: Path) -> None:
        study = path.stem
        keys = lambda: self._log_keys(study)  # noqa: E731
        asking = StudyWitnessing(study, self._origin(study), path, keys, self._database(), self._home)
        try:
            while path.exists():
                try:
                    asking.round()
                except StoreError as error:
                    log.warning("witnessing-waits", study=study, because=str(error))
                except Exception:
                    log.exception("witnessing-fault", study=study)
                if self._stop.wait(ROUND_SECONDS):
                    return
        finally:
            asking.close()
