"""Other PostgreSQL servers than the embedded one, for the tests that must hold on any."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.store.hosting import account_for, environment, identity

DEBIAN = Path("/usr/lib/postgresql/15/bin")
START_WAIT_S = "30"


@pytest.fixture(scope="session")
def other_server() -> Iterator[str]:
    """URL of an administrator on PostgreSQL 15 or later that is not the embedded one: the server that
    TRIAL_LEDGER_TEST_DATABASE_URL names (roles and databases are made on it), or a temporary one made with
    Debian's binaries."""
    given = os.environ.get("TRIAL_LEDGER_TEST_DATABASE_URL")
    if given:
        yield given
    elif not (DEBIAN / "postgres").exists():
        pytest.skip("no PostgreSQL 15: install postgresql-15 or set TRIAL_LEDGER_TEST_DATABASE_URL")
    else:
        yield from _temporary_server()


@pytest.fixture
def other_database(other_server: str) -> Iterator[str]:
    """URL of the administrator on a new, empty database of the other server."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(other_server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_conninfo(other_server, dbname=name)
    with psycopg.connect(other_server, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _temporary_server() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="pg15-", dir="/tmp"))
    account = account_for(folder / "data")
    if account is not None:
        os.chown(folder, account.uid, account.gid)

    def run(program: str, *arguments: str) -> None:
        with open(os.devnull, "r+b") as nothing:
            subprocess.run(
                [str(DEBIAN / program), "-D", str(folder / "data"), *arguments],
                check=True,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                cwd=folder,
                env=environment(),
                **identity(account),
            )

    try:
        run("initdb", "-U", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c max_prepared_transactions=0"
        run("pg_ctl", "-w", "-t", START_WAIT_S, "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield make_conninfo(host=str(folder), port=5432, user="postgres", dbname="postgres")
        finally:
            run("pg_ctl", "-w", "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
