"""What the log says about people's accounts: keys in force, offers of keys, locks, names.

Folded from the log, incrementally, so that nothing about it rests on rows that somebody could put beside the log.
A reader's view: what counts is decided by the writer, under the log's lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.authority import Authority
from ledger.domain.aggregate import AUTHORITY_EVENTS
from ledger.domain.catalogue import CATALOGUE
from ledger.signing.statement import Statement, read_stored
from ledger.store import statements
from ledger.store.database import Conn

EVENTS = AUTHORITY_EVENTS | {"CredentialOffered", "AccountLocked", "AccountUnlocked"}
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A key that a registrar offered: for whom, until when."""

    actor: str
    until: datetime


@dataclass(slots=True)
class Standing:
    """One study's accounts as of `position` entries."""

    study: str
    authority: Authority = field(default_factory=Authority)
    offers: dict[str, Offer] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    unlocked_at: dict[str, int] = field(default_factory=dict)
    enrolled_by: dict[str, str] = field(default_factory=dict)
    position: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self, connection: Conn) -> None:
        """Fold what was recorded since."""
        with self._lock:
            size = statements.read_head(connection, self.study).size
            while self.position < size:
                rows = statements.select_events(connection, self.study, self.position, size, PAGE, EVENTS)
                for row in rows:
                    self._fold(read_stored(row.jwt, row.disclosures, row.redacted), row.idx, row.recorded_at)
                self.position = size if len(rows) < PAGE else rows[-1].idx + 1

    def key_in_force(self, actor: str, kid: str) -> bool:
        """Whether the key is enrolled for this person and not revoked."""
        key = self.authority.key(kid)
        good = key is not None and key.actor == actor and key.revoked is None
        return good and not self.authority.is_system(actor)

    def _fold(self, statement: Statement, index: int, recorded_at: str) -> None:
        _, body, *_ = CATALOGUE.current(statement, index)
        event, actor = statement.event, statement.sub.partition("/")[2]
        if event in AUTHORITY_EVENTS:
            self.authority.apply(statement.claims, index)
        if event in ("ActorEnrolled", "StudyOpened"):
            for name in [actor] if actor else [one["actor"] for one in body["registrars"]]:
                self.enrolled_by.setdefault(name, statement.jti)
        elif event == "PersonRenamed":
            self.enrolled_by[actor] = statement.jti
        elif event == "CredentialOffered":
            until = datetime.fromisoformat(recorded_at) + timedelta(hours=body["valid_hours"])
            self.offers[body["code_digest"]] = Offer(actor, until)
        elif event == "AccountLocked":
            self.locked.add(actor)
        elif event == "AccountUnlocked":
            self.locked.discard(actor)
            self.unlocked_at[actor] = index
