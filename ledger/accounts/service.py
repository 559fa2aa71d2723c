"""The accounts of a ledger: what the entrances call. Any thread may; each call may take a quarter of a second.

Two components authenticate a person: the user id, which is public, and the passphrase, which opens the person's
key and is checked by nothing else. Unknown, locked and systems' ids cost the same time and get the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from ledger.accounts import attempts, drafts, naming, sealing
from ledger.accounts.codes import code_digest
from ledger.accounts.refusals import (
    CodeWrong,
    ComponentMissing,
    CredentialAged,
    SessionEnded,
    SignInRefused,
    TooManyAtOnce,
)
from ledger.accounts.sealing import Cost, Sealed, bound_to, check_passphrase, normalised
from ledger.accounts.standing import Standing
from ledger.application import Ledger
from ledger.authority import LEDGER_ACTOR
from ledger.ceremonies import mark_of
from ledger.domain.catalogue import CATALOGUE, WrongForm
from ledger.domain.ceremony import CeremonyForAnother, CeremonyRanOut, CeremonyUnknown
from ledger.domain.refusals import Refusal
from ledger.receipts import base64url
from ledger.seals import NoSeal
from ledger.signing.encoding import b64url, unb64url
from ledger.signing.errors import Malformed
from ledger.signing.keys import SigningKey
from ledger.signing.proofs import make_proof
from ledger.signing.statement import make, new_salt, parse, read_stored
from ledger.store import accounts, evidence, statements
from ledger.store.accounts import CeremonyRow, CredentialRow, SessionRow
from ledger.store.database import Conn
from ledger.writer import Answer

AT_ONCE = 2
"""Passphrases tried at once: each takes 32 MiB and a processor for a quarter of a second."""
MAX_WAITING = 32
"""That may wait for their turn, some four seconds; beyond it callers are told to come back."""
IDLE = timedelta(minutes=15)
LONGEST_SESSION = timedelta(hours=12)
"""A working day: whoever comes back tomorrow signs in again."""
LONGEST_CREDENTIAL = timedelta(days=730)
"""A custodial key is checked by being renewed, with the identity verified anew (21 CFR 11.300(b))."""
TOKEN_BYTES, NONCE_BYTES = 32, 16
STRANGERS_NOTED_AN_HOUR = 100
"""Attempts with unknown ids that one process notes in the access log: a flood fills no disk; the log line stays."""

log = structlog.get_logger("ledger.accounts")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that goes on: whose, with which key; `signed`: something was signed in it already."""

    study: str
    actor: str
    kid: str
    token_hash: bytes
    signed: bool

    @property
    def components(self) -> tuple[str, ...]:
        """What the next signing takes."""
        return ("passphrase",) if self.signed else ("user_id", "passphrase")


class Accounts:
    """People's accounts at this server; `idle` is how long a session may rest, `cost` what sealing takes."""

    def __init__(self, ledger: Ledger, *, idle: timedelta = IDLE, cost: Cost | None = None) -> None:
        self._ledger, self._idle, self._cost = ledger, idle, cost or Cost()
        self._secret = ledger.home.secret("accounts")
        self._marks = ledger.marks
        self._standings: dict[str, Standing] = {}
        self._turn = threading.BoundedSemaphore(AT_ONCE)
        self._waiting, self._lock = 0, threading.Lock()
        self._strangers: deque[float] = deque(maxlen=STRANGERS_NOTED_AN_HOUR)

    # -- keys -----------------------------------------------------------------------------------------------

    def redeem(self, study: str, user_id: str, code: str, passphrase: str) -> dict[str, Any]:
        """Make a person's key for a one-time code: `{user_id, kid, enrolment}`; a registrar then signs the
        enrolment (KeyEnrolled) and the key is usable. Raises CodeWrong, PassphraseWeak, TooManyAtOnce."""
        standing, digest = self._standing(study), code_digest(code)
        offer = standing.offers.get(digest)
        if offer is None or offer.actor != user_id or self._now() > offer.until:
            raise CodeWrong("no such code waits for this user id, or it has run out")
        check_passphrase(passphrase, user_id)
        with self._slot():
            row = self._made(study, user_id, digest, passphrase)
        with self._ledger.database.connection() as connection:
            if not accounts.insert_credential(connection, study, row):
                raise CodeWrong("the code was used already")
            self._note(connection, study, user_id, "made a signing key", row.kid, {})
        return {"user_id": user_id, "kid": row.kid, "enrolment": dict(row.enrolment)}

    def _made(self, study: str, actor: str, digest: str, passphrase: str) -> CredentialRow:
        key, origin, jti = SigningKey.generate(), self._ledger.origin(study), str(uuid.uuid4())
        seed = unb64url(key.private_jwk()["d"])
        salt, nonce = secrets.token_bytes(sealing.SALT_BYTES), secrets.token_bytes(sealing.NONCE_BYTES)
        box = sealing.seal(
            seed, normalised(passphrase), bound_to(study, actor, key.kid), self._secret, self._cost, salt, nonce
        ).box
        body = {
            "kid": key.kid,
            "alg": key.alg,
            "jwk": key.public_jwk,
            "proof": make_proof(key, aud=origin, iss=actor, jti=jti),
            "custody": "custodial",
        }
        enrolment = {"event": "KeyEnrolled", "sub": f"actor/{actor}", "jti": jti, "body": body}
        made_at = self._now()
        row = CredentialRow(
            actor, key.kid, digest, enrolment, self._cost.as_row(), salt, nonce, box, made_at, bytes(sealing.SEED_BYTES)
        )
        return replace(row, mark=self._credential_mark(study, row))

    def _credential_mark(self, study: str, row: CredentialRow) -> bytes:
        made_at, said = row.made_at.astimezone(UTC).isoformat(), drafts.canonical(dict(row.enrolment))
        stretched = ",".join(map(str, row.scrypt))
        sealed = (stretched, row.salt, row.nonce, row.sealed)
        return self._marks.of("credential", study, row.actor, row.kid, row.code_digest, *sealed, made_at, said)

    def credentials(self, study: str) -> list[dict[str, Any]]:
        """Every custodial key of a study, the newest first: user_id, kid, state (waiting, in force, revoked), made_at,
        renew_by, locked, and for one that waits what a registrar has to sign. Rows not of this server are left out."""
        standing, found = self._standing(study), []
        with self._ledger.database.connection() as connection:
            rows = accounts.select_credentials(connection, study)
        for row in rows:
            if not hmac.compare_digest(row.mark, self._credential_mark(study, row)):
                log.error("credential-not-ours", study=study, actor=row.actor, kid=row.kid)
                continue
            key = standing.authority.key(row.kid)
            state = "waiting" if key is None else "in force" if key.revoked is None else "revoked"
            found.append(
                {
                    "user_id": row.actor,
                    "kid": row.kid,
                    "state": state,
                    "made_at": row.made_at.isoformat(),
                    "renew_by": (row.made_at + LONGEST_CREDENTIAL).isoformat(),
                    "locked": row.actor in standing.locked,
                    "enrolment": dict(row.enrolment) if state == "waiting" else None,
                }
            )
        return found

    # -- sessions -------------------------------------------------------------------------------------------

    def sign_in(self, study: str, user_id: str, passphrase: str) -> dict[str, Any]:
        """Begin a session: `{token, user_id, idle_minutes, ends_at}`. Raises SignInRefused, CredentialAged."""
        credential, _ = self._authenticated(study, user_id, passphrase, "signed in")
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._now()
        token_hash = _hash_of(token)
        mark = self._session_mark(study, user_id, credential.kid, token_hash, now)
        row = SessionRow(study, user_id, credential.kid, now, mark, None, False, False)
        with self._ledger.database.connection() as connection:
            accounts.insert_session(connection, token_hash, row)
        ends = (now + LONGEST_SESSION).isoformat()
        minutes = int(self._idle.total_seconds() // 60)
        return {"token": token, "user_id": user_id, "idle_minutes": minutes, "ends_at": ends}

    def sign_out(self, study: str, token: str) -> None:
        """End a session."""
        with self._ledger.database.connection() as connection:
            session = self._session(connection, study, token)
            accounts.insert_session_use(connection, study, session.token_hash, self._now(), "closed")
            self._note(connection, study, session.actor, "signed out", "session", {})

    def session(self, study: str, token: str) -> Session:
        """The session of a token; raises SessionEnded. Looking at it is no use of it."""
        with self._ledger.database.connection() as connection:
            return self._session(connection, study, token)

    def _session(self, connection: Conn, study: str, token: str) -> Session:
        standing, token_hash = self._standing(study), _hash_of(token)
        row = accounts.select_session(connection, token_hash)
        if row is None or row.study != study:
            raise SessionEnded("no session of this study has this token")
        mark = self._session_mark(study, row.actor, row.kid, token_hash, row.opened_at)
        if not hmac.compare_digest(row.mark, mark):
            log.error("session-not-ours", study=study, actor=row.actor)
            raise SessionEnded("this server began no such session")
        now, last = self._now(), row.used_at or row.opened_at
        if row.closed:
            raise SessionEnded("it was closed")
        if not last <= now + timedelta(seconds=1) or now - last > self._idle:
            raise SessionEnded(f"nothing was done in it for {int(self._idle.total_seconds() // 60)} minutes")
        if now - row.opened_at > LONGEST_SESSION:
            raise SessionEnded("it is twelve hours old")
        if not standing.key_in_force(row.actor, row.kid):
            raise SessionEnded("the key it was begun with is not in force any more")
        return Session(study, row.actor, row.kid, token_hash, row.signed)

    def _session_mark(self, study: str, actor: str, kid: str, token_hash: bytes, opened_at: datetime) -> bytes:
        return self._marks.of("session", study, actor, kid, token_hash, opened_at.astimezone(UTC).isoformat())

    # -- ceremonies -----------------------------------------------------------------------------------------

    def begin(self, study: str, token: str, asked: drafts.Asked) -> dict[str, Any]:
        """Begin a ceremony: what will be signed, in words and as a draft. The draft is tried first, so that what the
        ledger would refuse is refused here. Raises SessionEnded and every refusal of an append."""
        with self._ledger.database.connection() as connection:
            session = self._session(connection, study, token)
            name = self._printed_name(connection, study, session.actor)
            cut = asked.cut or self._newest(connection, study) if asked.meaning is not None else asked.cut
            accounts.insert_session_use(connection, study, session.token_hash, self._now(), "shown")
        _checked_zone(asked.time_zone)
        expires_at = int(self._now().timestamp()) + drafts.CEREMONY_SECONDS
        draft = drafts.draft_of(
            replace(asked, cut=cut),
            actor=session.actor,
            name=name,
            origin=self._ledger.origin(study),
            jti=asked.jti or str(uuid.uuid4()),
            salts=new_salt,
            expires_at=expires_at,
        )
        ceremony = self._ceremony_id(session, draft, secrets.token_bytes(NONCE_BYTES))
        self._try(study, session, draft, ceremony)
        return {
            "ceremony": ceremony,
            "expires_at": datetime.fromtimestamp(expires_at, UTC).isoformat(),
            "components": list(session.components),
            "words": drafts.in_words(draft, name) + self._named(study, draft),
            "draft": draft,
            "digest": drafts.digest_of(draft),
            "added_when_signed": ["ceremony", "iat", "exp", "signed_at"],
        }

    def sign(
        self, study: str, token: str, ceremony: str, draft: Any, passphrase: str, user_id: str | None = None
    ) -> Answer:
        """Sign what a ceremony showed, and record it; the same again returns what was recorded. `draft` is what was
        shown. Raises CeremonyUnknown, CeremonyRanOut, ComponentMissing, SignInRefused, every refusal of an append."""
        with self._ledger.database.connection() as connection:
            session = self._session(connection, study, token)
            earlier = accounts.select_ceremony(connection, study, ceremony)
        self._check_shown(session, ceremony, draft, earlier)
        if user_id is None and not session.signed:
            raise ComponentMissing("nothing was signed in this session yet: give the user id as well")
        given = session.actor if user_id is None else user_id
        credential, seed = self._authenticated(study, session.actor, passphrase, "signed", given, session.kid)
        key = SigningKey.from_seed(seed)
        iat = int(self._now().timestamp()) if earlier is None else earlier.signed_iat
        text = self._statement(draft, ceremony, key, iat)
        row = CeremonyRow(
            session.actor,
            credential.kid,
            session.token_hash,
            "passphrase" if user_id is None else "user_id,passphrase",
            iat,
            draft["expires_at"],
            parse(text).digest,
            b"",
        )
        if not self._keep(study, ceremony, row):
            text = self._kept(study, ceremony, draft, key, session)
        outcome = self._ledger.append(study, text)
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def _keep(self, study: str, ceremony: str, row: CeremonyRow) -> bool:
        """Keep that the person was authenticated for this statement; False when the ceremony has one already."""
        marked = replace(row, mark=mark_of(self._marks, study, ceremony, row))
        with self._ledger.database.connection() as connection:
            accounts.insert_session_use(connection, study, row.token_hash, self._now(), "signed")
            return accounts.insert_ceremony(connection, study, ceremony, marked)

    def _kept(self, study: str, ceremony: str, draft: Any, key: SigningKey, session: Session) -> str:
        """The statement that was signed in this ceremony before, byte for byte."""
        with self._ledger.database.connection() as connection:
            row = accounts.select_ceremony(connection, study, ceremony)
        assert row is not None
        text = self._statement(draft, ceremony, key, row.signed_iat)
        if row.actor != session.actor or row.digest != parse(text).digest:
            raise CeremonyForAnother("another statement was signed in it")
        return text

    def _check_shown(self, session: Session, ceremony: str, draft: Any, earlier: CeremonyRow | None) -> None:
        """The id is a MAC over this draft, this session and this study: what was not shown is not signed."""
        try:
            nonce = unb64url(ceremony)[:NONCE_BYTES]
        except Malformed:
            nonce = b""
        if not hmac.compare_digest(self._ceremony_id(session, draft, nonce).encode(), ceremony.encode()):
            raise CeremonyUnknown("no ceremony of this id showed this draft in this session")
        recorded = earlier is not None and earlier.used_at is not None
        if not recorded and self._now().timestamp() > draft["expires_at"]:
            raise CeremonyRanOut(f"it ended at {datetime.fromtimestamp(draft['expires_at'], UTC).isoformat()}")

    def _ceremony_id(self, session: Session, draft: Any, nonce: bytes) -> str:
        shown = drafts.digest_of(draft)
        mac = self._marks.of("shown", session.study, session.actor, session.kid, session.token_hash, nonce, shown)
        return b64url(nonce + mac[:NONCE_BYTES])

    def _statement(self, draft: Mapping[str, Any], ceremony: str, key: Any, iat: int) -> str:
        salt = b64url(self._marks.of("salt", ceremony)[:NONCE_BYTES])
        return drafts.statement_of(draft, ceremony, key, iat, salt)

    def _try(self, study: str, session: Session, draft: Mapping[str, Any], ceremony: str) -> None:
        try:
            now = int(self._now().timestamp())
            text = self._statement(draft, ceremony, drafts.Unsigned(session.kid), now)
        except Malformed as wrong:
            raise WrongForm(f"{wrong.rule}: {wrong.because}") from None
        refusal = self._ledger.try_draft(study, text)
        if refusal is not None:
            raise refusal

    def _named(self, study: str, draft: Mapping[str, Any]) -> list[str]:
        """The records that a draft names, a line each."""
        jtis = naming.named(draft)
        with self._ledger.database.connection() as connection:
            rows = [row for jti in jtis if (row := statements.find_event(connection, study, jti)) is not None]
        repository = self._ledger.application(study).repository
        held: dict[uuid.UUID, Any] = {about: repository.get(about) for about in {row.originator_id for row in rows}}
        return [naming.record_in_words(held[row.originator_id].records.by_jti[row.jti]) for row in rows]

    def _newest(self, connection: Conn, study: str) -> dict[str, Any]:
        newest = self._ledger.checkpoint(connection, study)
        return {"size": newest.size, "root": base64url(newest.root)}

    def _printed_name(self, connection: Conn, study: str, actor: str) -> str:
        """The name as enrolled; the id where none was given, or it was redacted."""
        row = statements.find_event(connection, study, self._standing(study).enrolled_by[actor])
        content = {} if row is None else read_stored(row.jwt, row.disclosures, row.redacted).content
        return str(content.get("name") or (content.get("registrar_names") or {}).get(actor) or actor)

    # -- authenticating -------------------------------------------------------------------------------------

    def _authenticated(
        self, study: str, actor: str, passphrase: str, what: str, given: str | None = None, kid: str | None = None
    ) -> tuple[CredentialRow, bytes]:
        """The person's key, opened. `given` is the user id given where the account is known already; `kid` the key
        that it must be. Raises SignInRefused."""
        standing = self._standing(study)
        with self._slot():
            credential = self._credential(study, standing, actor, kid)
            epoch = standing.unlocked_at.get(actor, 0)
            attempt = None if credential is None else self._attempt(study, standing, actor, epoch)
            if credential is None or attempt is None:
                sealing.unseal(self._nobodys(), normalised(passphrase), b"", self._secret)
                self._stranger(study, actor)
                raise SignInRefused("they do not open a key that is in force")
            sealed = Sealed(Cost(*credential.scrypt), credential.salt, credential.nonce, credential.sealed)
            seed = sealing.unseal(sealed, normalised(passphrase), bound_to(study, actor, credential.kid), self._secret)
        if seed is not None and SigningKey.from_seed(seed).kid != credential.kid:
            log.error("credential-not-ours", study=study, actor=actor, kid=credential.kid)
            seed = None  # sealed by somebody who has the home's secret and not the key that was enrolled
        good = seed is not None and (given is None or given == actor)
        self._ended(study, actor, epoch, attempt, good, what)
        if seed is None or not good:
            raise SignInRefused("they do not open a key that is in force")
        if self._now() - credential.made_at > LONGEST_CREDENTIAL:
            raise CredentialAged(f"it was made on {credential.made_at.date().isoformat()}")
        return credential, seed

    def _credential(self, study: str, standing: Standing, actor: str, kid: str | None) -> CredentialRow | None:
        """The newest sealed key of a person that this server made and that is in force."""
        if "\0" in actor or not actor.isascii() or actor in standing.locked:
            return None
        with self._ledger.database.connection() as connection:
            rows = accounts.select_credentials(connection, study, actor)
        for row in rows:
            ours = hmac.compare_digest(row.mark, self._credential_mark(study, row))
            if not ours:
                log.error("credential-not-ours", study=study, actor=actor, kid=row.kid)
            elif standing.key_in_force(actor, row.kid) and kid in (None, row.kid):
                return row
        return None

    def _attempt(self, study: str, standing: Standing, actor: str, epoch: int) -> int | None:
        with self._ledger.database.connection() as connection:
            begun = attempts.begin(connection, study, actor, epoch, self._now())
        if isinstance(begun, int):
            return begun
        self._lock_account(study, actor, epoch, begun)
        return None

    def _ended(self, study: str, actor: str, epoch: int, attempt: int, good: bool, what: str) -> None:
        now = self._now()
        with self._ledger.database.connection() as connection:
            failures = attempts.end(connection, study, actor, epoch, attempt, good, now)
            done = what if good else "failed to give user id and passphrase"
            self._note(connection, study, actor, done, "account", {"failures": failures.count})
        if good:
            return
        log.warning("sign-in-failed", study=study, actor=actor, failures=failures.count)
        if failures.lock:
            self._lock_account(study, actor, epoch, failures)

    def _lock_account(self, study: str, actor: str, epoch: int, failures: attempts.Failures) -> None:
        """Record the lock, once for each epoch: the alert, in the ledger and as a line in the log."""
        log.error("account-locked", study=study, actor=actor, failures=failures.count)
        origin = self._ledger.origin(study)
        try:
            key = self._ledger.seal(study)
        except NoSeal as none:
            log.error("lock-not-recorded", study=study, actor=actor, rule=none.rule, because=none.because)
            return
        claims = {
            "iss": LEDGER_ACTOR,
            "role": "system",
            "aud": origin,
            "sub": f"actor/{actor}",
            "jti": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{origin}/locked/{actor}/{epoch}")),
            "iat": int(failures.last_at.timestamp()),
            "event": "AccountLocked",
            "v": CATALOGUE.signed_as("AccountLocked").v,
            "body": {
                "failures": failures.count,
                "first_at": failures.first_at.astimezone(UTC).isoformat(timespec="seconds"),
                "last_at": failures.last_at.astimezone(UTC).isoformat(timespec="seconds"),
            },
        }
        outcome = self._ledger.append(study, make(key, claims, {}))
        if isinstance(outcome, Refusal) and outcome.rule != "IDEMPOTENCY-1":
            log.error("lock-not-recorded", study=study, actor=actor, rule=outcome.rule, because=outcome.because)

    def _stranger(self, study: str, actor: str) -> None:
        """An attempt with an id that has no account, or whose account is locked: said, and noted within bounds."""
        log.warning("sign-in-refused", study=study, actor=actor[:64])
        now = time.monotonic()
        with self._lock:
            if len(self._strangers) == STRANGERS_NOTED_AN_HOUR and now - self._strangers[0] < 3_600:
                return
            self._strangers.append(now)
        with self._ledger.database.connection() as connection:
            self._note(connection, study, actor[:64] or "?", "tried to give user id and passphrase", "account", {})

    def _nobodys(self) -> Sealed:
        return Sealed(self._cost, bytes(sealing.SALT_BYTES), bytes(sealing.NONCE_BYTES), bytes(sealing.SEED_BYTES + 16))

    # -- what all share -------------------------------------------------------------------------------------

    def _note(self, connection: Conn, study: str, actor: str, action: str, target: str, details: Any) -> None:
        evidence.insert_access(
            connection,
            study=study,
            at=self._now(),
            actor=actor,
            role="",
            action=action,
            target=target,
            details=details,
        )

    def _standing(self, study: str) -> Standing:
        self._ledger.writer(study)  # raises StudyNotFound
        standing = self._standings.setdefault(study, Standing(study))
        with self._ledger.database.connection() as connection:
            standing.refresh(connection)
        return standing

    def _now(self) -> datetime:
        return self._ledger.now()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """A turn to try a passphrase; raises TooManyAtOnce when too many wait."""
        with self._lock:
            if self._waiting >= MAX_WAITING:
                raise TooManyAtOnce(f"{self._waiting} wait already")
            self._waiting += 1
        try:
            with self._turn:
                yield
        finally:
            with self._lock:
                self._waiting -= 1


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _checked_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise WrongForm(f"there is no time zone {name[:40]!r}") from None
