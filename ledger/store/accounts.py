"""The typed statements on custodial keys, attempts, sessions and ceremonies. Rows are only added.

Nothing here decides anything: who may, and whether a row is this server's own, is `ledger/accounts` and
`ledger/ceremonies.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.store.sql import SQL

Conn = Connection[TupleRow]

MAX_CREDENTIALS = 1_000
"""Sealed keys in one list: more people than the largest study has, with every key that they ever had."""


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A person's private key, sealed; `scrypt` is (log2 N, r, p), `enrolment` what a registrar has to sign."""

    actor: str
    kid: str
    code_digest: str
    enrolment: Mapping[str, Any]
    scrypt: Sequence[int]
    salt: bytes
    nonce: bytes
    sealed: bytes
    made_at: datetime
    mark: bytes


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session, its last use, whether anything was signed in it, whether it was closed."""

    study: str
    actor: str
    kid: str
    opened_at: datetime
    mark: bytes
    used_at: datetime | None
    signed: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class CeremonyRow:
    """A ceremony that authenticated its person; `used_at` is the index of the statement that names it."""

    actor: str
    kid: str
    token_hash: bytes
    components: str
    signed_iat: int
    expires_at: int
    digest: str
    mark: bytes
    used_at: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt to give user id and passphrase: `good` is None while it goes on; `recent`: it began just now."""

    at: datetime
    good: bool | None
    recent: bool


def insert_credential(conn: Conn, study: str, row: CredentialRow) -> bool:
    """Keeps a sealed key; False when its code has made one already."""
    values = {
        "study": study,
        "actor": row.actor,
        "kid": row.kid,
        "code_digest": row.code_digest,
        "enrolment": Jsonb(dict(row.enrolment)),
        "scrypt": list(row.scrypt),
        "salt": row.salt,
        "nonce": row.nonce,
        "sealed": row.sealed,
        "made_at": row.made_at,
        "mark": row.mark,
    }
    return conn.execute(SQL["insert_credential"], values).rowcount == 1


def select_credentials(conn: Conn, study: str, actor: str | None = None) -> list[CredentialRow]:
    """Sealed keys of an actor, or of all, the newest first."""
    values = {"study": study, "actor": actor, "limit": MAX_CREDENTIALS}
    rows = conn.execute(SQL["select_credentials"], values).fetchall()
    return [CredentialRow(*row) for row in rows]


def begin_attempt(conn: Conn, study: str, actor: str) -> None:
    """Opens a transaction in which no other attempt at this account is counted or noted; end it soon."""
    conn.execute(SQL["begin_attempt"])
    conn.execute(SQL["lock_account"], {"study": study, "actor": actor})


def last_attempts(conn: Conn, study: str, actor: str, epoch: int, limit: int, seconds: float) -> list[AttemptRow]:
    """The newest attempts since the unlocking at index `epoch`; recent are those of the last `seconds`."""
    values = {"study": study, "actor": actor, "epoch": epoch, "limit": limit, "seconds": seconds}
    return [AttemptRow(*row) for row in conn.execute(SQL["last_attempts"], values)]


def insert_attempt(conn: Conn, study: str, actor: str, epoch: int, at: datetime) -> int:
    """Notes an attempt and returns its number."""
    values = {"study": study, "actor": actor, "epoch": epoch, "at": at}
    [(attempt,)] = conn.execute(SQL["insert_attempt"], values).fetchall()
    return int(attempt)


def insert_attempt_result(conn: Conn, study: str, attempt: int, good: bool) -> None:
    """Notes how an attempt ended."""
    conn.execute(SQL["insert_attempt_result"], {"study": study, "attempt": attempt, "good": good})


def commit(conn: Conn) -> None:
    """Makes the transaction durable."""
    conn.execute(SQL["commit"])


def insert_session(conn: Conn, token_hash: bytes, row: SessionRow) -> None:
    """Keeps a new session."""
    values = {
        "token_hash": token_hash,
        "study": row.study,
        "actor": row.actor,
        "kid": row.kid,
        "opened_at": row.opened_at,
        "mark": row.mark,
    }
    conn.execute(SQL["insert_session"], values)


def select_session(conn: Conn, token_hash: bytes) -> SessionRow | None:
    """The session of a token, by the token's SHA-256."""
    row = conn.execute(SQL["select_session"], {"token_hash": token_hash}).fetchone()
    return None if row is None else SessionRow(*row)


def insert_session_use(conn: Conn, study: str, token_hash: bytes, at: datetime, what: str) -> None:
    """Notes what was done in a session: shown, signed or closed."""
    values = {"study": study, "token_hash": token_hash, "at": at, "what": what}
    conn.execute(SQL["insert_session_use"], values)


def insert_ceremony(conn: Conn, study: str, ceremony: str, row: CeremonyRow) -> bool:
    """Keeps what was signed in a ceremony; False when something was signed in it already."""
    values = {
        "ceremony": ceremony,
        "study": study,
        "actor": row.actor,
        "kid": row.kid,
        "token_hash": row.token_hash,
        "components": row.components,
        "signed_iat": row.signed_iat,
        "expires_at": row.expires_at,
        "digest": row.digest,
        "mark": row.mark,
    }
    return conn.execute(SQL["insert_ceremony"], values).rowcount == 1


def select_ceremony(conn: Conn, study: str, ceremony: str) -> CeremonyRow | None:
    """A ceremony, with the index of the statement that names it where one is recorded."""
    row = conn.execute(SQL["select_ceremony"], {"study": study, "ceremony": ceremony}).fetchone()
    return None if row is None else CeremonyRow(*row)


def ceremony_values(study: str, uses: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The values of `insert_ceremony_uses`: which ceremony is named by the statement at which index."""
    return {"study": study, "ceremonies": [name for name, _ in uses], "idx": [idx for _, idx in uses]}
