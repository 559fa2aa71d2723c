"""An installation on somebody's own PostgreSQL: each remedy that is named leads on, until everything is in place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.store.embedded import DatabaseUrls
from ledger.store.roles import check, check_projector, missing_grants

PASSWORD = "a word of the test"


@pytest.fixture
def own(embedded_server: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """An empty database and two logins that nobody granted anything; one has a name that needs its quotes."""
    name = f"own_{uuid.uuid4().hex}"
    logins = (f"{name}-app", f'{name} "proj"')
    with psycopg.connect(embedded_server.admin, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for login in logins:
            make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(make.format(sql.Identifier(login), sql.Literal(PASSWORD)))
        app, projector = (
            make_conninfo(embedded_server.app, dbname=name, user=login, password=PASSWORD) for login in logins
        )
        yield DatabaseUrls(app, projector, make_conninfo(embedded_server.admin, dbname=name))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for login in logins:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def run(home: Path, urls: DatabaseUrls, *arguments: str, admin: bool = False) -> tuple[int, str]:
    """Run the command line on this database: status and what it said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRIAL_LEDGER_")}
    env |= {"TRIAL_LEDGER_HOME": str(home), "TRIAL_LEDGER_DATABASE_URL": urls.app}
    env |= {"TRIAL_LEDGER_PROJECTOR_URL": urls.projector}
    env |= {"TRIAL_LEDGER_ADMIN_URL": urls.admin} if admin else {}
    command = [sys.executable, "-m", "api.cli", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_remedies_lead_from_an_empty_database_to_an_open_study(own: DatabaseUrls, tmp_path: Path) -> None:
    home = tmp_path / "home"
    status, said = run(home, own, "init", "--study", "OWN-1", admin=True)
    grants = re.findall(r"GRANT .*;", said)
    assert (status, len(grants)) == (2, 2), said
    status, said = run(home, own, "doctor")
    assert status == 1
    assert "Run `trial-ledger doctor`" not in said
    assert [grant for grant in grants if grant in said] == grants
    with psycopg.connect(own.admin, autocommit=True) as admin:
        for grant in grants:
            admin.execute(grant.encode())
    status, said = run(home, own, "init", "--study", "OWN-1", admin=True)
    assert (status, "change-passphrase" in said) == (1, True), "real data under keys that nothing protects"
    status, said = run(home, own, "init", "--study", "OWN-1", "--synthetic", "--json", admin=True)
    assert status == 0, said
    assert json.loads(said)["study"] == "OWN-1"
    status, said = run(home, own, "doctor", "--json")
    found = json.loads(said)
    assert (status, found["problems"]) == (0, []), said
    assert "change-passphrase" in "".join(found["notes"]), "a passphrase made beside the keys is told, and no fault"


def test_a_database_without_tables_is_sent_to_init(own: DatabaseUrls, tmp_path: Path) -> None:
    with psycopg.connect(own.admin, autocommit=True) as admin:
        for grant in missing_grants(own.app, own.projector):
            admin.execute(grant.encode())
    status, said = run(tmp_path / "home", own, "doctor")
    assert status == 1
    assert "TRIAL_LEDGER_ADMIN_URL" in said
    assert "Run `trial-ledger doctor`" not in said


def test_a_login_that_is_refused_is_told_of_each_url(own: DatabaseUrls) -> None:
    app, projector = (make_conninfo(url, password="wrong") for url in (own.app, own.projector))
    assert [problem.rule for problem in check(app)] == ["The database answers."]
    assert [problem.rule for problem in check_projector(projector)] == [
        "The database answers to the projections' login."
    ]
