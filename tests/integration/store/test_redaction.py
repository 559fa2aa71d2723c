"""Redaction removes disclosures of one event and nothing else, for good."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from ledger.store import statements
from ledger.store.database import Conn, Database
from tests.integration.store.events import STUDY, append, event


def test_what_is_redacted_is_gone_and_the_statement_stays(app: Conn) -> None:
    rows = [event(0), event(1), event(2)]
    append(app, rows)
    salt, _, comment = rows[1].disclosures
    assert statements.redact(app, STUDY, 1, [salt, comment]) == 1
    kept = replace(rows[1], disclosures=(salt, comment))
    assert statements.select_events(app, STUDY, 0, 9, 9) == [rows[0], kept, rows[2]]


def test_everything_can_be_redacted(app: Conn) -> None:
    append(app, [event(0)])
    assert statements.redact(app, STUDY, 0, []) == 3
    assert statements.select_events(app, STUDY, 0, 9, 9) == [replace(event(0), disclosures=())]


def test_what_is_gone_does_not_come_back(app: Conn) -> None:
    append(app, [event(0)])
    everything = event(0).disclosures
    statements.redact(app, STUDY, 0, everything[:1])
    assert statements.redact(app, STUDY, 0, everything) == 0
    assert statements.select_events(app, STUDY, 0, 9, 9)[0].disclosures == everything[:1]


def test_redaction_adds_nothing_and_keeps_the_order(app: Conn) -> None:
    append(app, [event(0)])
    first, _, third = event(0).disclosures
    assert statements.redact(app, STUDY, 0, ["invented", third, first, first]) == 1
    assert statements.select_events(app, STUDY, 0, 9, 9)[0].disclosures == (first, third)


def test_a_redaction_without_a_list_removes_everything_rather_than_nothing(app: Conn) -> None:
    append(app, [event(0)])
    assert app.execute("SELECT ledger.redact(%s, 0, NULL)", [STUDY]).fetchone() == (3,)


@pytest.mark.parametrize(("study", "idx"), [(STUDY, 1), (STUDY, -1), ("NCT00000000", 0)])
def test_an_event_that_is_not_there_cannot_be_redacted(app: Conn, study: str, idx: int) -> None:
    append(app, [event(0)])
    with pytest.raises(psycopg.Error, match="LEDGER-9"):
        statements.redact(app, study, idx, [])
    assert statements.select_events(app, STUDY, 0, 9, 9) == [event(0)]


def test_two_redactions_at_once_both_hold(database: Database, app: Conn) -> None:
    append(app, [event(0)])
    first, second, third = event(0).disclosures
    app.execute("BEGIN")
    statements.redact(app, STUDY, 0, [first, second])  # removes the third, not committed yet

    def other() -> None:
        with database.dedicated() as connection:
            statements.redact(connection, STUDY, 0, [second, third])

    thread = threading.Thread(target=other)
    thread.start()
    app.execute("SELECT pg_sleep(0.2)")
    app.execute("COMMIT")
    thread.join()
    assert statements.select_events(app, STUDY, 0, 9, 9)[0].disclosures == (second,)


def test_a_redacted_event_is_still_known_by_its_id(app: Conn) -> None:
    append(app, [event(0)])
    before = statements.known_jtis(app, STUDY, [event(0).jti])
    statements.redact(app, STUDY, 0, [])
    assert statements.known_jtis(app, STUDY, [event(0).jti]) == before
