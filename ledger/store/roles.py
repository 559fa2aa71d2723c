"""Whether a database is set up as the ledger needs it: who may do what, and is every fence up.

`check` and `check_projector` are what `trial-ledger doctor` says about the database. They look as the login of
the URL, change nothing, and report everything they find instead of stopping at the first. `missing_grants` is
what an administrator has still to say after `init`: whom the roles are granted to is theirs to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from ledger.store.database import APP, CONNECT_TIMEOUT_S, PROJECTOR, Conn
from ledger.store.errors import DatabaseMisconfigured, StoreError, translated
from ledger.store.migrations import require_schema, require_version
from ledger.store.sql import SQL
from ledger.store.urls import connection_string


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the database: the rule it breaks, what was found, what to do."""

    rule: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule} Found: {self.cause}. {self.remedy}"


ROLES = ("ledger_owner", "ledger_redactor", "ledger_app", "ledger_projector", "ledger_reader")


_INIT = "Run `trial-ledger init` with TRIAL_LEDGER_ADMIN_URL of a login that may create roles."


def _mend(variable: str) -> str:
    return f"Mend the address, login, password or database in {variable}, or what the server says of them."


def check(app_url: str) -> list[Problem]:
    """Everything that is wrong with the database behind the server's URL; empty when it is sound."""
    try:
        with _looking(app_url) as connection:
            return list(_problems(connection))
    except StoreError as error:
        return [_as_problem("The database answers.", error, _mend("TRIAL_LEDGER_DATABASE_URL"))]


def check_projector(projector_url: str) -> list[Problem]:
    """What is wrong with the login of the projections' URL; empty when it can act in its role and no other."""
    try:
        with _looking(projector_url) as connection:
            return list(_missing_roles(connection)) or list(_projector_login(connection))
    except StoreError as error:
        rule = "The database answers to the projections' login."
        return [_as_problem(rule, error, _mend("TRIAL_LEDGER_PROJECTOR_URL"))]


def missing_grants(app_url: str, projector_url: str) -> list[str]:
    """The statements by which an administrator lets the two logins act in their roles, as far as they cannot yet.

    Raises StoreError when a login cannot connect.
    """
    found = []
    for url, role in ((app_url, APP), (projector_url, PROJECTOR)):
        with _looking(url) as connection:
            if not _missing(connection) and not _member(connection, role):
                found.append(_grant(role, connection.info.user))
    return found


@contextmanager
def _looking(url: str) -> Iterator[Conn]:
    """A connection as the login of the URL, in no role."""
    url = connection_string(url, connect_timeout=CONNECT_TIMEOUT_S, application_name="trial-ledger doctor")
    with translated(), psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _member(connection: Conn, role: str) -> bool:
    [(member,)] = connection.execute(SQL["may_act_as"], {"role": role})
    return bool(member)


def _grant(role: str, login: str) -> str:
    quoted = login.replace('"', '""')
    return f'GRANT {role} TO "{quoted}";'


def _missing(connection: Conn) -> list[str]:
    return sorted(set(ROLES) - {role for (role,) in connection.execute(SQL["existing_roles"])})


def _missing_roles(connection: Conn) -> Iterator[Problem]:
    missing = _missing(connection)
    if missing:
        yield Problem(
            "The ledger's roles exist.",
            "missing: " + ", ".join(missing),
            _INIT,
        )


def _projector_login(connection: Conn) -> Iterator[Problem]:
    login = connection.info.user
    if not _member(connection, PROJECTOR):
        yield Problem(
            f"The projections' login acts in the role {PROJECTOR}.",
            f"{login} is not a member of it",
            f"As an administrator: {_grant(PROJECTOR, login)}",
        )


def _problems(connection: Conn) -> Iterator[Problem]:
    try:
        require_version(connection.info.server_version)
    except DatabaseMisconfigured as error:
        yield _as_problem("The database is PostgreSQL 15 or later.", error, error.advice)
        return
    yield from _settings(connection)
    missing = list(_missing_roles(connection))
    if missing:
        yield from missing
        return
    yield from _login(connection)
    if not _member(connection, APP):
        return  # such a login sees nothing of the tables
    try:
        with translated():
            require_schema(connection)
    except DatabaseMisconfigured as error:
        yield _as_problem("The database has exactly this release's tables.", error, _INIT)
        return
    yield from _rights(connection)


def _settings(connection: Conn) -> Iterator[Problem]:
    for name, setting in connection.execute(SQL["unsafe_settings"]):
        yield Problem(
            "What is acknowledged is durable, and text is UTF-8.",
            f"{name} is {setting}",
            "Make the database with ENCODING 'UTF8'."
            if name == "server_encoding"
            else f"Set {name} = on in postgresql.conf, for the database and for the login.",
        )


def _login(connection: Conn) -> Iterator[Problem]:
    [(is_app, is_superuser, is_administrator, is_owner, is_redactor)] = connection.execute(SQL["login_rights"])
    login = connection.info.user
    if not is_app:
        yield Problem(
            "The server's login acts in the role ledger_app.",
            f"{login} is not a member of it",
            f"As an administrator: {_grant(APP, login)}",
        )
    too_much = {
        "is a superuser": is_superuser,
        "may create roles or databases, replicate or bypass row security": is_administrator,
        "is a member of ledger_owner": is_owner,
        "is a member of ledger_redactor": is_redactor,
    }
    for what, has in too_much.items():
        if has:
            yield Problem(
                "The server's login can only add to the ledger.",
                f"{login} {what}",
                "Give TRIAL_LEDGER_DATABASE_URL a login of its own that is granted ledger_app and no more.",
            )
            if is_superuser:
                return  # a superuser is everything else as well


def _rights(connection: Conn) -> Iterator[Problem]:
    remedy = "Run `trial-ledger init` with TRIAL_LEDGER_ADMIN_URL; if it stays, restore the rights by hand."
    lacking = [f"{right} on {table}" for table, right in connection.execute(SQL["needed_rights"])]
    if lacking:
        yield Problem("The server can add to the ledger and read it.", "it lacks " + ", ".join(lacking), remedy)
    [(is_superuser,)] = connection.execute(SQL["is_superuser"])
    excess = [] if is_superuser else list(connection.execute(SQL["excess_rights"]))
    if excess:
        yield Problem(
            "Nobody can change or delete what is recorded.",
            "the login may " + ", ".join(f"{right} {table}" for table, right in excess),
            "Revoke these rights from the login, from ledger_app and from PUBLIC.",
        )
    down = [table for (table,) in connection.execute(SQL["fences_down"])]
    if down:
        yield Problem(
            "The triggers that refuse every change are on.",
            "missing or switched off on " + ", ".join(down),
            "Find out who switched them off and why, verify the ledger, then ENABLE ALWAYS TRIGGER again.",
        )


def _as_problem(rule: str, error: StoreError, remedy: str) -> Problem:
    """`remedy` stands in for the general advice, which is to ask the doctor."""
    general = type(error) is DatabaseMisconfigured
    return Problem(rule, error.cause or str(error), remedy if general else error.advice)
