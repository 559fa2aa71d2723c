"""What the entrances see when the database is well, is not, and is well again."""

from __future__ import annotations

import threading

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ledger.store import statements
from ledger.store.database import Conn, Database, Listener
from ledger.store.embedded import DatabaseUrls
from ledger.store.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    StoreError,
    meaning,
    translated,
)
from tests.integration.store.events import STUDY, append, event


def test_a_database_that_is_not_there_is_unavailable(ledger_database: DatabaseUrls) -> None:
    for settings in ({"host": "/nowhere"}, {"host": "127.0.0.1", "port": "1"}):
        with pytest.raises(DatabaseUnavailable) as caught:
            Database(make_conninfo(ledger_database.app, **settings)).open()
        assert "TRIAL_LEDGER_DATABASE_URL" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"password": "wrong"}, {"password": ""}, {"user": "nobody_known"}, {"dbname": "nowhere"}],
    ids=["wrong password", "no password", "unknown login", "unknown database"],
)
def test_a_database_that_does_not_let_us_in_is_misconfigured(
    ledger_database: DatabaseUrls, settings: dict[str, str]
) -> None:
    with pytest.raises(DatabaseMisconfigured) as caught:
        Database(make_conninfo(ledger_database.app, **settings)).open()
    assert "trial-ledger doctor" in str(caught.value)


def test_a_broken_url_is_refused_without_being_shown() -> None:
    with pytest.raises(DatabaseMisconfigured) as caught:
        Database("postgresql://user:secret@[broken/ledger")
    assert "secret" not in str(caught.value)


def test_a_url_keeps_the_options_that_it_has(ledger_database: DatabaseUrls) -> None:
    url = make_conninfo(ledger_database.app, options="-c work_mem=5MB")
    with Database(url, statement_timeout_s=7) as database, database.connection() as connection:
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in ("work_mem", "statement_timeout", "role")]
    assert shown == [("5MB",), ("7s",), ("ledger_app",)]


def test_the_driver_s_errors_get_a_meaning_that_says_what_to_do(app: Conn) -> None:
    cases: dict[str, type[StoreError] | None] = {
        "SELECT * FROM ledger.nothing": DatabaseMisconfigured,
        "UPDATE ledger.events SET kid = ''": DatabaseMisconfigured,
        "SET statement_timeout = 20; SELECT pg_sleep(5)": DatabaseBusy,
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$": DatabaseFull,
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$": DatabaseUnavailable,
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$": DatabaseUnavailable,
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$": DatabaseBusy,
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX001'; END $$": None,
        "SELECT 1/0": None,
        "SELEC": None,
    }
    for statement, expected in cases.items():
        with pytest.raises(psycopg.Error) as raised:
            app.execute(statement)
        assert meaning(raised.value) is expected, statement
        with pytest.raises(expected or psycopg.Error), translated():
            raise raised.value


def test_an_error_never_quotes_a_row(app: Conn) -> None:
    with pytest.raises(DatabaseMisconfigured) as caught, translated():
        app.execute("INSERT INTO ledger.events (kid, disclosures, absent) VALUES ('k', '{secret}', 1)")
    assert "secret" not in str(caught.value)


def test_a_transaction_left_open_is_not_handed_to_the_next(database: Database) -> None:
    with database.connection() as connection:
        statements.begin_append(connection, STUDY, [])
        statements.insert_events(connection, STUDY, [event(0)])
    with pytest.raises(ZeroDivisionError), database.connection() as connection:
        connection.execute("BEGIN")
        raise ZeroDivisionError
    with database.connection() as connection:
        assert statements.begin_append(connection, STUDY, []).head.size == 0
        statements.abandon(connection)
        assert statements.select_events(connection, STUDY, 0, 9, 9) == []


def test_a_snapshot_sees_one_moment(database: Database, app: Conn) -> None:
    append(app, [event(0)])
    with database.snapshot() as reader:
        assert statements.read_head(reader, STUDY).size == 1
        append(app, [event(1)])
        assert statements.read_head(reader, STUDY).size == 1
        assert len(statements.select_events(reader, STUDY, 0, 9, 9)) == 1
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            statements.insert_events(reader, STUDY, [event(2)])
    with database.snapshot() as reader:
        assert statements.read_head(reader, STUDY).size == 2


def test_when_every_connection_is_taken_the_next_is_told_to_come_again(ledger_database: DatabaseUrls) -> None:
    with Database(ledger_database.app, max_connections=1, connection_wait_s=0.1) as database:
        with database.connection(), pytest.raises(DatabaseBusy), database.connection():
            pass
        with database.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_connections_that_were_cut_are_replaced_before_anybody_notices(database: Database, admin: Conn) -> None:
    with database.connection() as connection:
        cut = connection.info.backend_pid
    admin.execute("SELECT pg_terminate_backend(%s, 5000)", [cut])
    with database.connection() as connection:
        assert connection.execute("SELECT pg_backend_pid() <> %s", [cut]).fetchone() == (True,)


def test_a_connection_that_is_given_back_after_closing_is_closed(ledger_database: DatabaseUrls) -> None:
    database = Database(ledger_database.app, min_connections=2).open()
    with database.connection() as connection:
        database.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.closed


def hint(connection: Conn, study: str, size: int) -> None:
    connection.execute("SELECT pg_notify('ledger', %s)", [f"{study}:{size}"])


def test_a_listener_hears_the_greatest_size_and_survives_a_cut(database: Database, admin: Conn) -> None:
    listener = Listener(database)
    assert listener.wait(0) == {}
    with database.connection() as connection:
        connection.execute("BEGIN")
        for study, size in ((STUDY, 3), ("OTHER-1", 9), (STUDY, 7), (STUDY, 5)):
            hint(connection, study, size)
        connection.execute("COMMIT")
    assert listener.wait(5) == {STUDY: 7, "OTHER-1": 9}

    admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query = 'LISTEN ledger'")
    with pytest.raises(DatabaseUnavailable):
        listener.wait(5)
    assert listener.wait(0) == {}
    with database.connection() as connection:
        hint(connection, STUDY, 8)
    assert listener.wait(5) == {STUDY: 8}
    listener.close()
    listener.close()


def test_a_hint_that_is_not_ours_is_ignored(database: Database, admin: Conn) -> None:
    listener = Listener(database)
    listener.wait(0)
    for payload in ("", "NCT", ":", "NCT:", "NCT:x", "NCT:-1", "NCT:٣x"):
        admin.execute("SELECT pg_notify('ledger', %s)", [payload])
        assert listener.wait(5) == {}
    listener.close()


def test_readers_may_ask_from_many_threads(database: Database, app: Conn) -> None:
    append(app, [event(0)])
    seen: list[int] = []

    def read() -> None:
        for _ in range(20):
            with database.connection() as connection:
                seen.append(statements.read_head(connection, STUDY).size)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 320
