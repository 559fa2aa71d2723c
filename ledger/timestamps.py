"""Time stamps (RFC 3161) over checkpoints: others say when a tree existed, whatever the ledger's own clock said.

What is stamped is SHA-256 of the checkpoint's text: its three lines, origin, size and root (`ledger/verify/FORMAT.md`).
Once an hour while the log grows, each configured authority is asked about the newest checkpoint. An answer is kept
when it grants, is over that text, repeats the request's nonce, states a time that is now, and, where roots are
configured, is signed by an authority that they vouch for. The whole answer is kept, to be checked again by anybody.
Nothing waits for an authority; one process of the host asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import structlog
from cryptography import x509
from rfc3161_client import HashAlgorithm, PKIStatus, TimestampRequestBuilder, decode_timestamp_response

from ledger.asking import HttpExchange, Reply, WitnessFailed
from ledger.merkle.note import parse_note
from ledger.merkle.tree import NotProven
from ledger.settings import SettingsError
from ledger.store import evidence
from ledger.store.database import Database
from ledger.store.errors import StoreError
from ledger.store.locks import FileLock
from ledger.store.rows import CheckpointRow, TimestampRow
from ledger.verify import rfc3161
from ledger.witness_notes import Notes

STAMP_SECONDS = 3_600
"""Between two stamps of a growing log by one authority: public ones ask for restraint."""
LOOK_SECONDS = 30.0
"""Between two looks whether one is due."""
AGAIN_SECONDS = 300
"""After a failure."""
ASK_SECONDS = 10.0
"""How long an authority may take: some are slow, and nobody waits."""
CLOCK_SECONDS = 300
"""How far an authority's clock may be off ours before its stamp is not believed."""

QUERY = "application/timestamp-query"

log = structlog.get_logger("ledger.timestamps")


@dataclass(frozen=True, slots=True)
class TimestampResult:
    """Whether a token is good; with `decided` False, that it is over the message but nobody vouches for its signer."""

    good: bool
    decided: bool
    at: datetime | None
    authority: str
    because: str

    def __bool__(self) -> bool:
        return self.good


class StampRefused(Exception):
    """An authority gave no stamp that can be kept; the message says why."""


def stamped_text(note: str | bytes) -> bytes:
    """What is stamped of a signed checkpoint: its text, three lines, without any signature."""
    return parse_note(note.encode() if isinstance(note, str) else note).text


def verify_token(
    token: bytes, message: bytes, roots: Sequence[x509.Certificate], nonce: int | None = None
) -> TimestampResult:
    """Whether `token` (a TimeStampResp in DER) stamps `message` and leads to one of `roots`; with `nonce`, whether it
    answers that request. Certificates that have expired since count as of the stamp's time. Never raises."""

    def wrong(because: str) -> TimestampResult:
        return TimestampResult(False, True, None, "", because)

    try:
        response = decode_timestamp_response(token)
        if PKIStatus(response.status) != PKIStatus.GRANTED:
            return wrong("the authority did not grant a stamp")
        info = response.tst_info
        if info.message_imprint.message != sha256(message).digest():
            return wrong("the stamp is over something else")
        if nonce is not None and info.nonce != nonce:
            return wrong("the stamp answers another request")
        at = info.gen_time
    except Exception as error:  # whatever a library says of hostile bytes
        return wrong(f"this is no time stamp: {str(error)[:200]}")
    if not roots:
        return TimestampResult(False, False, at, "", "no roots were given, so nobody vouches for who stamped it")
    try:
        _, authority = rfc3161.reader(roots)(token, message)
    except NotProven as error:
        return wrong(str(error))
    except Exception as error:
        return wrong(f"the token does not stand: {str(error)[:200]}")
    return TimestampResult(True, True, at, authority, f"{authority} stamped it at {at.isoformat()}")


def stamp(
    url: str, note: str, roots: Sequence[x509.Certificate], post: Callable[[str, bytes], Reply], now: datetime
) -> tuple[bytes, datetime]:
    """A new token of the authority at `url` over a checkpoint, and the time in it; raises StampRefused."""
    text = stamped_text(note)
    request = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        reply = post(url, request.as_bytes())
    except WitnessFailed as failure:
        raise StampRefused(str(failure)) from None
    if reply.status != 200:
        raise StampRefused(f"it answers {reply.status}")
    result = verify_token(reply.body, text, roots, request.nonce)
    if result.decided and not result.good:
        raise StampRefused(result.because)
    assert result.at is not None
    off = (result.at - now).total_seconds()
    if abs(off) > CLOCK_SECONDS:
        raise StampRefused(f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours")
    return reply.body, result.at


class Timestamping:
    """Asks the configured authorities about the studies' checkpoints: in the background, or now."""

    def __init__(
        self,
        urls: Sequence[str],
        roots_file: Path | None,
        database: Callable[[], Database],
        studies: Callable[[], Sequence[str]],
        folder: Path,
    ) -> None:
        self.urls, self._database, self._studies, self._folder = tuple(urls), database, studies, folder
        self._roots = _roots(roots_file)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._not_before: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Begin asking, where there is an authority to be asked."""
        if self.urls:
            self.prepare()
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="timestamps", daemon=True)
            self._thread.start()

    def prepare(self) -> None:
        """Make the folder of the notes."""
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def now(self, study: str) -> dict[str, str | None]:
        """Have the newest checkpoint of a study stamped by every authority; what went wrong with each, or None."""
        with self._database().connection() as connection:
            newest = evidence.latest_checkpoint(connection, study)
        if newest is None:
            return dict.fromkeys(self.urls, "the log has no checkpoint yet")
        return {url: self._ask(study, url, newest) for url in self.urls}

    def problems(self, study: str) -> dict[str, str]:
        """By address, what went wrong with the authorities that failed last."""
        notes = Notes(self._notes_file(study)).read()[1]
        return {url: note.error for url, note in notes.items() if note.error and url in self.urls}

    def round(self) -> None:
        """Ask whoever is due; raises the store's errors."""
        for study in self._studies():
            with self._database().connection() as connection:
                newest = evidence.latest_checkpoint(connection, study)
                stored = evidence.newest_timestamps(connection, study)
            for url in self.urls:
                if newest is not None and self._due(study, url, newest, stored.get(url)):
                    self._ask(study, url, newest)

    def _due(self, study: str, url: str, newest: CheckpointRow, last: tuple[int, datetime, datetime] | None) -> bool:
        if time.monotonic() < self._not_before.get((study, url), 0.0):
            return False
        if last is None:
            return True
        size, _, received_at = last
        return size != newest.size and (datetime.now(UTC) - received_at).total_seconds() >= STAMP_SECONDS

    def _ask(self, study: str, url: str, newest: CheckpointRow) -> str | None:
        http = HttpExchange(QUERY, ASK_SECONDS)
        notes = Notes(self._notes_file(study))
        now = datetime.now(UTC)
        try:
            token, at = stamp(url, newest.note, self._roots, http.post, now)
        except StampRefused as refused:
            log.warning("timestamp-failed", study=study, authority=url, because=str(refused))
            self._not_before[study, url] = time.monotonic() + AGAIN_SECONDS
            notes.failed(url, str(refused), None, now.timestamp(), now.timestamp() + AGAIN_SECONDS)
            return str(refused)
        finally:
            http.close()
        with self._database().connection() as connection:
            evidence.insert_timestamp(connection, study, TimestampRow(newest.size, url, token, at, now))
        notes.answered(url)
        return None

    def _run(self) -> None:
        with FileLock(self._folder / "timestamps.lock") as lock:
            while not self._stop.is_set():
                try:
                    if lock.try_exclusive():
                        self.round()
                except StoreError as error:
                    log.warning("timestamps-wait", because=str(error))
                except Exception:
                    log.exception("timestamps-fault")
                self._stop.wait(LOOK_SECONDS)

    def _notes_file(self, study: str) -> Path:
        return self._folder / f"{study}.timestamps.json"


def _roots(file: Path | None) -> list[x509.Certificate]:
    if file is None:
        return []
    try:
        return rfc3161.certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"TRIAL_LEDGER_TIMESTAMP_ROOTS: {file} has no certificates in PEM form ({error})") from None
