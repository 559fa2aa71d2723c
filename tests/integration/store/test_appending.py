"""What the writer relies on: events come in gapless, once, in order, and are read back as they were."""

from __future__ import annotations

import hashlib
import threading
import uuid
from dataclasses import replace

import psycopg
import pytest

from ledger.store import statements
from ledger.store.database import Conn, Database
from ledger.store.errors import DatabaseBusy, StudyOriginDiffers, StudyUnknown
from ledger.store.rows import EventRow, Head
from tests.integration.store.events import ADA, BEN, ORIGIN, STUDY, append, event, head_after

EMPTY_ROOT = hashlib.sha256(b"").digest()


def test_a_study_begins_with_an_empty_tree(app: Conn) -> None:
    assert statements.read_head(app, STUDY) == Head(0, b"", EMPTY_ROOT, "")
    assert statements.select_studies(app) == {STUDY: ORIGIN}


def test_what_is_appended_is_read_back_byte_for_byte(app: Conn) -> None:
    rows = [event(0), event(1, subject=BEN, version=1), event(2, version=2)]
    append(app, rows)
    assert statements.select_events(app, STUDY, 0, 3, 10) == rows
    assert statements.read_head(app, STUDY) == head_after(rows)


def test_text_that_could_be_mistaken_for_syntax_stays_what_it_is(app: Conn) -> None:
    strange = replace(
        event(0),
        topic='"; DROP TABLE ledger.events; --\\',
        jwt='{NULL,"a\\b"}\x00\n%s%(idx)s\'',
        kid="{},NULL",
        disclosures=("NULL", '"', "\\", "{", "a,b", "%s"),
    )
    append(app, [strange])
    assert statements.find_event(app, STUDY, strange.jti) == strange


def test_an_event_without_disclosures_has_none(app: Conn) -> None:
    append(app, [replace(event(0), disclosures=())])
    assert statements.select_events(app, STUDY, 0, 1, 1)[0].disclosures == ()


def test_what_cannot_be_a_disclosure_is_not_stored_as_two_or_none(app: Conn) -> None:
    for disclosure in ("", "a~b", "~"):
        with pytest.raises(ValueError, match="disclosure"):
            append(app, [replace(event(0), disclosures=(disclosure,))])
    assert statements.read_head(app, STUDY).size == 0


def test_the_writer_learns_head_known_ids_and_clock_in_one_step(app: Conn) -> None:
    rows = [event(0), event(1)]
    append(app, rows)
    unknown = str(uuid.uuid4())
    start = statements.begin_append(app, STUDY, [rows[1].jti, unknown])
    assert start.head.size == 2
    assert {jti: known.idx for jti, known in start.known.items()} == {rows[1].jti: 1}
    assert start.known[rows[1].jti].jwt_sha256 == hashlib.sha256(rows[1].jwt.encode()).digest()
    assert start.database_time.utcoffset() is not None
    statements.abandon(app)


def _breakers() -> dict[str, tuple[list[EventRow], Head]]:
    first = event(0)
    good = head_after([first])
    return {
        "an index is skipped": ([event(0), event(2)], head_after([event(2)])),
        "the first index is not zero": ([event(1)], head_after([event(1)])),
        "the head claims an event more": ([first], replace(good, size=2)),
        "the head claims an event less": ([first, event(1)], good),
        "the head moves without events": ([], replace(good, size=1)),
        "a leaf hash is short": ([replace(first, leaf_hash=b"short")], good),
        "a time is not in the leaf's form": ([replace(first, recorded_at="2026-05-04T12:00:00Z")], good),
        "a time is not ASCII digits": ([replace(first, recorded_at="２026-05-04T12:00:00.000000Z")], good),
        "an index is negative": ([replace(first, idx=-1)], good),
        "an event is there twice": ([first, replace(event(1), jti=first.jti)], head_after([event(1)])),
        "a version is there twice": (
            [first, replace(event(1), originator_version=1)],
            head_after([event(1)]),
        ),
        "a version is zero": ([replace(first, originator_version=0)], good),
        "a statement is empty": ([replace(first, jwt="")], good),
        "the root is no hash": ([first], replace(good, root=b"?")),
        "the frontier is not made of hashes": ([first], replace(good, frontier=b"?")),
        "the head has no time": ([first], replace(good, last_recorded_at="")),
    }


def test_a_batch_that_breaks_a_rule_of_the_ledger_is_not_recorded_at_all(app: Conn) -> None:
    for case, (rows, head) in _breakers().items():
        statements.begin_append(app, STUDY, [])
        with pytest.raises(psycopg.IntegrityError):
            statements.finish_append(app, STUDY, rows, head)
            pytest.fail(f"recorded although {case}")
        assert statements.read_head(app, STUDY) == Head(0, b"", EMPTY_ROOT, ""), case
        assert statements.select_events(app, STUDY, 0, 100, 100) == [], case
    append(app, [event(0)])  # and the connection is as good as before


def test_a_head_never_goes_back(app: Conn) -> None:
    append(app, [event(0), event(1)])
    later = head_after([event(1)])
    for worse in (
        replace(later, size=1),
        replace(later, size=0, last_recorded_at=""),
        replace(later, root=b"\x00" * 32),
    ):
        with pytest.raises(psycopg.IntegrityError, match="LEDGER-4"):
            statements.store_head(app, STUDY, worse)
    statements.begin_append(app, STUDY, [])
    with pytest.raises(psycopg.IntegrityError, match="LEDGER-5"):
        earlier = replace(event(2), recorded_at="2025-01-01T00:00:00.000000Z")
        statements.finish_append(app, STUDY, [earlier], head_after([earlier]))
    assert statements.read_head(app, STUDY) == later


def test_a_study_that_was_never_opened_takes_no_events(app: Conn) -> None:
    for attempt in (
        lambda: statements.read_head(app, "NCT00000000"),
        lambda: statements.begin_append(app, "NCT00000000", []),
        lambda: statements.store_head(app, "NCT00000000", head_after([event(0)])),
    ):
        with pytest.raises(StudyUnknown):
            attempt()
    with pytest.raises(psycopg.IntegrityError):
        statements.insert_events(app, "NCT00000000", [event(0)])
    append(app, [event(0)])


def test_a_study_identifier_outside_the_rule_is_refused(app: Conn) -> None:
    for study in ("", "ab", "nct1", "A" * 33, "NCT 1", "NCT'1", 'NCT"1', "NCT1\n", "ÄÖÜ"):
        with pytest.raises(psycopg.DataError, match="LEDGER-7"):
            statements.create_study(app, study, ORIGIN + "/2")
            pytest.fail(f"opened a study {study!r}")


def test_opening_a_study_again_changes_nothing(app: Conn) -> None:
    append(app, [event(0)])
    assert statements.create_study(app, STUDY, ORIGIN) is False
    assert statements.read_head(app, STUDY).size == 1


def test_an_origin_belongs_to_one_study_for_ever(app: Conn) -> None:
    with pytest.raises(StudyOriginDiffers):
        statements.create_study(app, STUDY, "elsewhere.example/study/NCT04014166")
    with pytest.raises(StudyOriginDiffers):
        statements.create_study(app, "NCT04014167", ORIGIN)
    assert statements.select_studies(app) == {STUDY: ORIGIN}


def test_many_may_open_the_same_study_at_once_and_one_does(database: Database) -> None:
    made: list[bool] = []

    def open_study(study: str) -> None:
        with database.dedicated() as connection:
            made.append(statements.create_study(connection, study, f"ledger.example/study/{study}"))

    threads = [threading.Thread(target=open_study, args=(f"RACE-{n % 3}",)) for n in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 6 + [True] * 3


def test_a_study_is_opened_while_another_is_being_written(app: Conn, database: Database) -> None:
    statements.begin_append(app, STUDY, [])
    with database.dedicated() as other:
        assert statements.create_study(other, "NCT04014199", "ledger.example/study/NCT04014199")
    statements.finish_append(app, STUDY, [event(0)], head_after([event(0)]))
    assert statements.read_head(app, STUDY).size == 1


def test_writers_of_one_study_take_turns_and_leave_no_gap(database: Database) -> None:
    def write() -> None:
        with database.dedicated() as connection:
            for _ in range(20):
                size = statements.begin_append(connection, STUDY, []).head.size
                rows = [event(size), event(size + 1)]
                statements.finish_append(connection, STUDY, rows, head_after(rows))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.connection() as connection:
        assert statements.read_head(connection, STUDY).size == 160
        assert [row.idx for row in statements.select_events(connection, STUDY, 0, 999, 999)] == list(range(160))


def test_a_writer_that_waits_too_long_for_the_head_is_told_so(database: Database, app: Conn) -> None:
    impatient = Database(database.url, lock_timeout_s=0.1)
    statements.begin_append(app, STUDY, [])
    with pytest.raises(DatabaseBusy), impatient.dedicated() as connection:
        statements.begin_append(connection, STUDY, [])
    statements.abandon(app)


def test_an_abandoned_batch_leaves_no_trace(app: Conn) -> None:
    statements.begin_append(app, STUDY, [])
    statements.insert_events(app, STUDY, [event(0)])
    statements.abandon(app)
    statements.abandon(app)  # harmless when there is nothing to abandon
    assert statements.select_events(app, STUDY, 0, 9, 9) == []


def test_a_writer_whose_connection_is_lost_records_nothing_and_says_so(app: Conn, admin: Conn) -> None:
    statements.begin_append(app, STUDY, [])
    admin.execute("SELECT pg_terminate_backend(%s)", [app.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        statements.finish_append(app, STUDY, [event(0)], head_after([event(0)]))
    assert admin.execute("SELECT count(*) FROM ledger.events").fetchone() == (0,)


def test_events_are_found_by_range_topic_and_subject(app: Conn) -> None:
    rows = [
        event(i, subject=(ADA, BEN)[i % 2], version=i // 2 + 1, topic=f"{('Visit', 'Lab', 'Rare')[i % 3]}/1")
        for i in range(12)
    ]
    append(app, rows)

    def found(*args: int, **filters: object) -> list[int]:
        return [row.idx for row in statements.select_events(app, STUDY, *args, **filters)]  # type: ignore[arg-type]

    assert found(3, 9, 100) == [3, 4, 5, 6, 7, 8]
    assert found(3, 9, 2) == [3, 4]
    assert found(0, 99, 100, topics=["Rare/1", "Lab/1", "Rare/1"]) == [1, 2, 4, 5, 7, 8, 10, 11]
    assert found(2, 99, 3, topics=["Rare/1", "Lab/1"]) == [2, 4, 5]
    assert found(0, 99, 100, topics=["Unknown/1"]) == []
    assert found(0, 99, 100, topics=[]) == []
    assert found(0, 99, 100, originator_id=BEN) == [1, 3, 5, 7, 9, 11]
    assert found(4, 10, 2, originator_id=BEN) == [5, 7]
    assert found(0, 99, 100, originator_id=BEN, topics=["Lab/1"]) == [1, 7]
    assert found(0, 99, 100, originator_id=uuid.uuid4()) == []
    versions = [row.originator_version for row in statements.select_aggregate(app, STUDY, ADA, 2, 4)]
    assert versions == [3, 4]
    assert [row.idx for row in statements.select_aggregate(app, STUDY, ADA)] == [0, 2, 4, 6, 8, 10]
    assert statements.latest_versions(app, STUDY, [ADA, BEN, uuid.uuid4()]) == {ADA: 6, BEN: 6}
    assert statements.leaf_hashes(app, STUDY, 10, 99) == [rows[10].leaf_hash, rows[11].leaf_hash]


def test_studies_do_not_see_each_other(app: Conn) -> None:
    statements.create_study(app, "OTHER-1", "ledger.example/study/OTHER-1")
    append(app, [event(0)])
    append(app, [replace(event(0), jwt="other")], study="OTHER-1")  # the same id in another study is free
    assert [row.jwt for row in statements.select_events(app, "OTHER-1", 0, 9, 9)] == ["other"]
    assert statements.known_jtis(app, "OTHER-1", [event(1).jti]) == {}
    assert statements.latest_versions(app, "OTHER-2", [ADA]) == {}
