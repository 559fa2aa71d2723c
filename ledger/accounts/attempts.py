"""Counting failures: five in a row lock an account, whatever the number of processes and requests at once.

An attempt is noted before its passphrase is tried, under a lock for the account: those that go on at this moment
count as if they could still fail, so that nobody tries a hundred at once. Success begins the count anew; so does
an unlocking (its index is the `epoch`). What is noted is bounded: a locked account notes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.accounts.refusals import TooManyAtOnce
from ledger.store import accounts
from ledger.store.database import Conn
from ledger.store.statements import abandon

MAX_FAILURES = 5
"""In a row; then the account is locked (21 CFR 11.300(d))."""
GOES_ON_SECONDS = 60.0
"""After this an attempt without a result is one whose process died: nobody was told whether it was right."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures in a row: how many, from when to when."""

    count: int
    first_at: datetime
    last_at: datetime

    @property
    def lock(self) -> bool:
        """Whether they lock the account."""
        return self.count >= MAX_FAILURES


def begin(connection: Conn, study: str, actor: str, epoch: int, now: datetime) -> int | Failures:
    """Note an attempt and return its number; the Failures that lock the account instead. Raises TooManyAtOnce."""
    accounts.begin_attempt(connection, study, actor)
    try:
        failures, going_on = _standing(connection, study, actor, epoch, now)
        if failures.lock:
            return failures
        if failures.count + going_on >= MAX_FAILURES:
            raise TooManyAtOnce(f"{going_on} attempts at this account are going on")
        attempt = accounts.insert_attempt(connection, study, actor, epoch, now)
        accounts.commit(connection)
        return attempt
    finally:
        if connection.info.transaction_status.name != "IDLE":
            abandon(connection)


def end(connection: Conn, study: str, actor: str, epoch: int, attempt: int, good: bool, now: datetime) -> Failures:
    """Note how an attempt ended; returns the failures in a row that there are now."""
    accounts.insert_attempt_result(connection, study, attempt, good)
    return _standing(connection, study, actor, epoch, now)[0]


def _standing(connection: Conn, study: str, actor: str, epoch: int, now: datetime) -> tuple[Failures, int]:
    failed: list[datetime] = []
    going_on = 0
    for row in accounts.last_attempts(connection, study, actor, epoch, 4 * MAX_FAILURES, GOES_ON_SECONDS):
        if row.good:
            break
        if row.good is False:
            failed.append(row.at)
        elif row.recent:
            going_on += 1
    return Failures(len(failed), min(failed, default=now), max(failed, default=now)), going_on
