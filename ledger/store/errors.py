"""What can go wrong between the ledger and PostgreSQL, in words an operator can act on.

Every class is one situation. Its docstring is the message: first what is wrong, then what to do.
The cause, a sentence about this occurrence, is added when it is raised. Causes never carry row
contents: PostgreSQL's DETAIL lines quote whole rows, which may hold data about a person, so only
the SQLSTATE and the primary message are taken over.

`translated()` turns the driver's errors into these. What it does not know (a violated constraint,
a programming error) passes through unchanged, because hiding it would hide a defect.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


class StoreError(Exception):
    """The store could not do what was asked."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        self.advice = " ".join(inspect.cleandoc(type(self).__doc__ or "").split())
        super().__init__(f"{self.advice} Cause: {cause}" if cause else self.advice)


class DatabaseUnavailable(StoreError):
    """The database does not answer: it is down, starting, or out of reach. Nothing was half-recorded.
    Try again in a few seconds; if it persists, check that PostgreSQL runs and that
    TRIAL_LEDGER_DATABASE_URL names it."""


class DatabaseBusy(DatabaseUnavailable):
    """The database is there but could not serve this in time: a lock, a connection or a statement took
    too long. Nothing was half-recorded. Try again in a few seconds; if it persists, look for a
    transaction that holds a lock."""


class DatabaseFull(StoreError):
    """The disk of the database is full. Nothing was half-recorded and nothing is lost. Free space on the
    volume that holds the database; recording continues by itself."""


class DatabaseMisconfigured(StoreError):
    """The database cannot be used as it is set up. Run `trial-ledger doctor`; missing tables and roles
    are made by `trial-ledger init` with TRIAL_LEDGER_ADMIN_URL."""


class PostgresTooOld(DatabaseMisconfigured):
    """The ledger needs PostgreSQL 15 or later. Upgrade the server, or leave TRIAL_LEDGER_DATABASE_URL
    unset to use the embedded one."""


class MigrationChanged(DatabaseMisconfigured):
    """A migration that this database has already applied differs from the one in this release, so the
    tables may not be what the code expects. Install the release that made the database; never edit an
    applied migration."""


class SchemaNewerThanCode(DatabaseMisconfigured):
    """The database was migrated by a newer release, and older code must not write to it. Install that
    release or a later one."""


class SchemaOlderThanCode(DatabaseMisconfigured):
    """The database lacks migrations of this release. Run `trial-ledger init` with TRIAL_LEDGER_ADMIN_URL."""


class StudyUnknown(StoreError):
    """This ledger has no such study. Open it with POST /v1/studies or `trial-ledger init` first."""


class StudyOriginDiffers(StoreError):
    """A study has one origin for ever and an origin one study, and this would break that. Check the study's
    identifier and TRIAL_LEDGER_ORIGIN."""


class EvidenceConflict(StoreError):
    """A checkpoint or tile that is already stored differs from the one offered for the same place. The
    log may have been forked: stop signing, keep both, and call the person responsible for the log."""


# SQLSTATE codes and classes (PostgreSQL manual, appendix A). The longest match decides.
_MEANING: dict[str, type[StoreError]] = {
    "53100": DatabaseFull,  # disk_full
    "53": DatabaseUnavailable,  # insufficient resources, too_many_connections
    "08": DatabaseUnavailable,  # connection exceptions
    "57P": DatabaseUnavailable,  # shutdown, crash, starting up
    "57014": DatabaseBusy,  # query_canceled: statement_timeout
    "55P03": DatabaseBusy,  # lock_not_available: lock_timeout
    "25P03": DatabaseBusy,  # idle_in_transaction_session_timeout
    "40": DatabaseBusy,  # serialization failure, deadlock
    "58030": DatabaseUnavailable,  # io_error
    "28": DatabaseMisconfigured,  # invalid authorization
    "3D000": DatabaseMisconfigured,  # no such database
    "3F000": DatabaseMisconfigured,  # no such schema
    "42501": DatabaseMisconfigured,  # insufficient privilege
    "42P01": DatabaseMisconfigured,  # undefined table
    "42703": DatabaseMisconfigured,  # undefined column
    "42704": DatabaseMisconfigured,  # undefined object, a role for example
    "42883": DatabaseMisconfigured,  # undefined function
    "25006": DatabaseMisconfigured,  # read-only: a standby's address
}

# A refused connection carries no SQLSTATE in libpq, only the server's words.
_REFUSED_CONNECTION = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied",
    "is not permitted to log in",
    "invalid connection option",
)


def meaning(error: psycopg.Error) -> type[StoreError] | None:
    """The class of ours that fits a driver's error, or None when it is none of these situations."""
    state = error.sqlstate
    if state:
        return next((_MEANING[state[:n]] for n in (5, 3, 2) if state[:n] in _MEANING), None)
    text = str(error)
    if "No space left on device" in text:
        return DatabaseFull
    if any(words in text for words in _REFUSED_CONNECTION):
        return DatabaseMisconfigured
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailable
    return None


def describe(error: psycopg.Error) -> str:
    """The cause in one line without row contents."""
    primary = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return f"{primary} (SQLSTATE {error.sqlstate})" if error.sqlstate else primary


@contextmanager
def translated() -> Iterator[None]:
    """Raises the store's own errors in place of the driver's, with the driver's as the cause."""
    try:
        yield
    except psycopg.Error as error:
        ours = meaning(error)
        if ours is None:
            raise
        raise ours(describe(error)) from error
