"""Which version answers: switched to once it is compared and approved, switched back from, and never mixed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection

from ledger.store.database import Database
from ledger.store.errors import DatabaseBusy
from projections.definitions import known_models
from projections.engine import operations, replay, switching
from projections.engine.errors import (
    NotKeptCurrent,
    ReplayMoved,
    ReplayNotApproved,
    ReplayNotCompared,
    ReplayNotThere,
    RowsAltered,
    StandsStill,
    UnexplainedSince,
    VersionStillNeeded,
)
from projections.engine.reading import open_reader
from projections.engine.rows import Asked
from projections.engine.runner import Runner
from projections.engine.sql import SQL
from tests.integration.projections.book import Book
from tests.integration.projections.conftest import NOW
from tests.integration.projections.course import write
from tests.integration.projections.test_rebuilding import Killed, pointers, rebuild, schemas
from tests.integration.projections.two_versions import COHORT, release, second

STUDY = "TRIAL-1"


@pytest.fixture
def followed(book: Book, follow: Callable[[], int]) -> Book:
    """A study whose projections, version 1, stand at its size."""
    write(book)
    follow()
    return book


@pytest.fixture
def two(followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch) -> Book:
    """The same, and a release with version 2 of the cohort projection beside version 1."""
    release(monkeypatch, second(), COHORT)
    return followed


def follow_all(projector: Database) -> None:
    """What this release follows."""
    Runner(projector, known_models()).catch_up()


def statuses(database: Database, **asked: Any) -> tuple[int, set[str]]:
    """The version that answers for the cohort projection, and every status that it shows."""
    with open_reader(database, STUDY, "cohort", asked.get("as_of"), None, NOW) as reader:
        found = {row.status for row in reader.rows.select("subjects", Asked())}
        return reader.projection_version, found


def act(projector: Database, name: str, projection: str = "cohort") -> dict[str, Any]:
    """Switch, roll back, cancel or retire."""
    done: dict[str, Any] = getattr(operations, name)(projector, STUDY, projection, "dm", "because")
    return done


def steps(projector: Database) -> list[str]:
    """What was concluded, in order."""
    with projector.connection() as conn:
        return [step for (step,) in conn.execute("SELECT step FROM projection.replay_steps ORDER BY at, number")]


def approve(book: Book, made: dict[str, Any], **more: Any) -> Any:
    """A data manager's signature under a report."""
    claims = {"meaning": "approval", **more.pop("claims", {})}
    body = {"projection": made["projection"], "report_digest": made["report_digest"], **more}
    given = book.tell("ReplayApproved", "study", "dm", "data-manager", None, body, claims, reason="looked at")
    book.sign()
    return given


def test_a_declared_change_is_switched_to_and_back_and_the_version_before_retired(
    two: Book, projector: Database, database: Database
) -> None:
    version, before = statuses(database)
    (made,) = rebuild(projector, "cohort")
    assert made["state"] == "ready"
    assert made["differences"]["unexplained"] == 0 < made["differences"]["intended"]
    assert statuses(database) == (1, before), "nothing is switched by itself"
    assert act(projector, "switch")["state"] == "switched"
    assert statuses(database) == (2, {status.upper() for status in before})
    two.tell("SubjectScreened", 7, number="P-7")
    two.sign()
    follow_all(projector)
    assert act(projector, "roll_back")["state"] == "rolled back"
    assert statuses(database) == (version, before | {"screened"})
    with open_reader(database, STUDY, "cohort", None, None, NOW) as reader:
        assert reader.size == two.size, "the version before was kept current"
    assert act(projector, "switch")["state"] == "switched", "and it can be switched to again"
    retired = act(projector, "retire")
    assert (retired["state"], retired["retired"]) == ("retired", made["from"])
    assert made["from"]["schema"] not in schemas(projector)
    assert statuses(database)[0] == 2
    assert steps(projector) == ["compared", "switched", "rolled back", "switched", "retired"]


def test_what_is_unexplained_is_not_switched_to_without_an_approval_of_exactly_that_report(
    followed: Book, projector: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, second(None), COHORT)
    (made,) = rebuild(projector, "cohort")
    assert made["state"] == "awaiting approval"
    with pytest.raises(ReplayNotApproved, match=made["report_digest"]):
        act(projector, "switch")
    approve(followed, made, report_digest="0" * 43)
    approve(followed, made, projection="patient")
    unsigned = {"projection": "cohort", "report_digest": made["report_digest"]}
    followed.tell("ReplayApproved", "study", "dm", "data-manager", None, unsigned, reason="an entry is no signature")
    followed.sign()
    withdrawn = approve(followed, made)
    followed.tell(
        "SignatureWithdrawn", "study", "dm", "data-manager", None,
        {"record": {"jti": withdrawn.jti, "digest": withdrawn.digest}}, reason="signed too early",
    )  # fmt: skip
    followed.sign()
    with pytest.raises(ReplayNotApproved):
        act(projector, "switch")
    assert statuses(database)[0] == 1
    standing = approve(followed, made)
    done = act(projector, "switch")
    assert (done["state"], done["approval"]) == ("switched", standing.jti)
    assert statuses(database)[0] == 2


def test_nothing_is_switched_to_that_was_not_compared(two: Book, projector: Database) -> None:
    with pytest.raises(ReplayNotThere):
        act(projector, "switch")
    with pytest.raises(Killed):
        rebuild(projector, "cohort", progress=_dies_at("compare"))
    with pytest.raises(ReplayNotThere, match="awaiting approval or ready"):
        act(projector, "switch")


def _dies_at(step: str) -> Callable[[Any], None]:
    def report(progress: Any) -> None:
        if progress.step == step:
            raise Killed

    return report


def test_a_difference_since_the_comparison_that_the_report_does_not_have_stops_the_switch(
    two: Book, projector: Database, database: Database
) -> None:
    (made,) = rebuild(projector, "cohort")
    two.tell("SubjectScreened", 8, number="P-8")
    two.sign()
    follow_all(projector)
    with projector.connection() as conn:
        conn.execute(f"""UPDATE "{made["schema"]}".subjects SET number = 'P-9' WHERE number = 'P-8'""")
    with pytest.raises(UnexplainedSince, match="subjects number changed"):
        act(projector, "switch")
    assert statuses(database)[0] == 1


def test_more_since_the_comparison_than_can_be_looked_through_is_compared_anew(
    two: Book, projector: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "MAX_RECHECKED", 1)
    (made,) = rebuild(projector, "cohort")
    for number in (8, 9):
        two.tell("SubjectScreened", number, number=f"P-{number}")
    two.sign()
    follow_all(projector)
    with pytest.raises(ReplayNotCompared, match="2 events were recorded since the comparison"):
        act(projector, "switch")
    (again,) = rebuild(projector, "cohort", compare_anew=True)
    assert again["report_digest"] != made["report_digest"] and again["size"] == two.size
    assert act(projector, "switch")["state"] == "switched"


def test_the_switch_brings_both_to_one_size_where_nobody_follows(
    two: Book, projector: Database, database: Database
) -> None:
    rebuild(projector, "cohort")
    two.tell("SubjectScreened", 8, number="P-8")
    two.sign()
    Runner(projector, [one for one in known_models() if one.definition.version == 1]).catch_up()
    act(projector, "switch")
    with open_reader(database, STUDY, "cohort", None, None, NOW) as reader:
        assert (reader.projection_version, reader.size) == (2, two.size), "no reader goes back in time"


def test_two_switches_at_once_switch_once(two: Book, projector: Database) -> None:
    rebuild(projector, "cohort")
    outcomes: list[str] = []

    def go() -> None:
        try:
            outcomes.append(act(projector, "switch")["state"])
        except (ReplayMoved, ReplayNotThere) as refused:
            outcomes.append(refused.rule)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[-1] == "switched" and outcomes.count("switched") == 1
    assert steps(projector).count("switched") == 1


@pytest.mark.parametrize("name", ["switch", "roll_back", "cancel", "retire"])
@pytest.mark.parametrize("at", ["lock_replay", "move_replay", "note_step", "switch"])
@pytest.mark.parametrize("after", [False, True])
def test_a_step_that_ends_at_any_moment_was_done_whole_or_not_at_all(
    two: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, name: str, at: str, after: bool
) -> None:
    rebuild(projector, "cohort")
    if name in ("roll_back", "retire"):
        act(projector, "switch")
    before, done = pointers(projector), steps(projector)
    execute = Connection.execute

    def dying(conn: Any, query: Any, *given: Any, **more: Any) -> Any:
        if query == SQL[at]:
            if after:
                execute(conn, query, *given, **more)
            raise Killed
        return execute(conn, query, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "execute", dying)
        try:
            act(projector, name)
        except Killed:
            assert (pointers(projector), steps(projector)) == (before, done)
    if steps(projector) == done:
        act(projector, name)
    assert len(steps(projector)) == len(done) + 1
    assert (pointers(projector) != before) is (name in ("switch", "roll_back"))


def test_what_a_killed_command_left_is_taken_away_by_the_next(
    two: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = rebuild(projector, "cohort")

    def dying(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(switching, "_take_away", dying)
        act(projector, "cancel")
    assert made["schema"] in schemas(projector)
    rebuild(projector, "safety")
    assert made["schema"] not in schemas(projector)


def test_a_forgotten_session_keeps_nobody_from_rebuilding_and_what_it_held_is_taken_away_after_it(
    two: Book, projector: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "DROP_WAIT_S", 0.0)
    monkeypatch.setattr(replay, "AWAY_S", 0.0)
    (made,) = rebuild(projector, "cohort")
    act(projector, "switch")
    held = made["from"]["schema"]
    with database.snapshot() as forgotten:
        forgotten.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        forgotten.execute(f'SELECT count(*) FROM "{held}".subjects')
        with pytest.raises(DatabaseBusy):
            act(projector, "retire")
        assert steps(projector)[-1] == "retired"
        (other,) = rebuild(projector, "safety")
        assert (other["state"], held in schemas(projector)) == ("ready", True)
    rebuild(projector, "schedule")
    assert held not in schemas(projector)


def test_each_version_that_no_longer_answers_is_retired_in_its_turn(followed: Book, projector: Database) -> None:
    """Three rebuilds: one switched to, one switched to and back, one switched to; then everything that is left goes."""
    kept = {name for name in schemas(projector) if not name.startswith("rm_cohort")}
    for back in (False, True, False):
        rebuild(projector, "cohort")
        act(projector, "switch")
        if back:
            act(projector, "roll_back")
    for _ in range(3):
        act(projector, "retire")
    assert schemas(projector) - kept == {pointers(projector)["cohort"]}
    with pytest.raises(ReplayNotThere):
        act(projector, "retire")


def test_the_version_that_answers_is_never_taken_away(two: Book, projector: Database, database: Database) -> None:
    with pytest.raises(ReplayNotThere):
        act(projector, "retire")
    rebuild(projector, "cohort")
    with pytest.raises(ReplayNotThere):
        act(projector, "retire")
    act(projector, "switch")
    with pytest.raises(ReplayNotThere):
        act(projector, "cancel")
    act(projector, "roll_back")
    retired = act(projector, "retire")
    assert retired["retired"] == retired["to"], "it is said which of the two is gone"
    assert retired["to"]["schema"] not in schemas(projector)
    assert statuses(database)[0] == 1
    with pytest.raises(ReplayNotThere):
        act(projector, "switch")


def test_what_a_pointer_was_moved_to_by_hand_is_not_taken_away_by_cancelling(
    two: Book, projector: Database, database: Database
) -> None:
    (made,) = rebuild(projector, "cohort")
    with projector.connection() as conn:
        moved = "UPDATE projection.pointers SET schema_name = %s, version = 2 WHERE name = 'cohort'"
        conn.execute(moved, (made["schema"],))
    shown = statuses(database)
    with pytest.raises(VersionStillNeeded):
        act(projector, "cancel")
    assert statuses(database) == shown


def test_a_version_that_is_no_longer_kept_current_is_not_gone_back_to(
    two: Book, projector: Database, database: Database
) -> None:
    rebuild(projector, "cohort")
    act(projector, "switch")
    act(projector, "retire")
    with pytest.raises(ReplayNotThere):
        act(projector, "roll_back")
    with projector.connection() as conn:
        conn.execute("UPDATE projection.replays SET state = 'switched'")
    with pytest.raises(NotKeptCurrent):
        act(projector, "roll_back")
    assert statuses(database)[0] == 2


def test_a_schema_that_another_study_uses_stays_and_is_emptied_of_this_one(
    two: Book, projector: Database, database: Database
) -> None:
    other = Book(database, "TRIAL-2")
    other.open()
    other.tell("SubjectScreened", 1, number="Q-1")
    other.sign()
    old = [one for one in known_models() if one.definition.version == 1 and one.definition.name == "cohort"]
    Runner(projector, old).catch_up()
    (made,) = rebuild(projector, "cohort")
    act(projector, "switch")
    act(projector, "retire")
    with projector.connection() as conn:
        held = conn.execute(f'SELECT DISTINCT study_id FROM "{made["from"]["schema"]}".subjects').fetchall()
    assert held == [("TRIAL-2",)]
    assert pointers(projector, "TRIAL-2")["cohort"] == made["from"]["schema"]


def test_readers_during_switches_see_one_version_or_the_other_and_never_go_back(
    two: Book, projector: Database, database: Database
) -> None:
    """Four readers read as fast as they can; the ledger grows, followers follow, versions change to and fro."""
    rebuild(projector, "cohort")
    stop, faults, seen = threading.Event(), [], set()

    def read() -> None:
        size = 0
        while not stop.is_set():
            try:
                with open_reader(database, STUDY, "cohort", None, None, NOW) as reader:
                    first = {row.status for row in reader.rows.select("subjects", Asked())}
                    again = {row.status for row in reader.rows.select("subjects", Asked())}
                    version = reader.projection_version
                    if reader.size < size:
                        faults.append(f"went back from {size} to {reader.size}")
                    if first != again or any(one.isupper() is not (version == 2) for one in first):
                        faults.append(f"version {version} shows {first} and {again}")
                    size = reader.size
                    seen.add(version)
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(6):
            two.tell("SubjectScreened", 20 + number, number=f"P-{20 + number}")
            two.sign()
            if number % 2:
                follow_all(projector)
            act(projector, "roll_back" if number % 2 else "switch")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert faults == []
    assert seen == {1, 2}


def test_a_second_rebuild_of_what_answers_makes_a_generation_of_its_own(
    two: Book, projector: Database, database: Database
) -> None:
    for generation in (1, 2):
        (made,) = rebuild(projector, "cohort")
        assert made["schema"].endswith(f"_g{generation}")
        act(projector, "switch")
    with pytest.raises(ReplayNotThere):
        act(projector, "cancel")
    assert act(projector, "roll_back")["from"]["schema"].endswith("_g1")
    assert pointers(projector)["cohort"].endswith("_g1")


def test_a_replay_of_other_code_is_not_switched_by_a_release_without_it(
    two: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(projector, "cohort")
    before = pointers(projector)
    release(monkeypatch, replace(COHORT, version=3))
    with pytest.raises(Exception, match="does not have cohort version 2"):
        act(projector, "switch")
    assert pointers(projector) == before


def test_every_version_that_was_left_behind_can_be_retired(two: Book, projector: Database) -> None:
    left = [pointers(projector)["cohort"]]
    for _ in range(2):
        (made,) = rebuild(projector, "cohort")
        act(projector, "switch")
        left.append(made["schema"])
    *left, live = left
    gone = [act(projector, "retire")["retired"]["schema"] for _ in left]
    assert gone == left[::-1]
    assert live in schemas(projector) and not schemas(projector) & set(left)
    with pytest.raises(ReplayNotThere):
        act(projector, "retire")


def test_what_was_compared_with_a_version_that_was_rolled_back_is_compared_anew(
    two: Book, projector: Database, database: Database
) -> None:
    rebuild(projector, "cohort")
    act(projector, "switch")
    (again,) = rebuild(projector, "cohort")
    act(projector, "roll_back")
    with pytest.raises(ReplayNotCompared, match="does not answer now"):
        act(projector, "switch")
    (anew,) = rebuild(projector, "cohort")
    assert anew["replay"] == again["replay"] and anew["state"] == "ready"
    assert again["from"]["version"] == 2 and anew["from"]["schema"] == pointers(projector)["cohort"]
    assert anew["differences"]["changed"] > 0 == again["differences"]["changed"]
    assert act(projector, "switch")["state"] == "switched"
    assert statuses(database)[0] == 2
    assert act(projector, "roll_back")["state"] == "rolled back"
    assert statuses(database)[0] == 1


def test_what_stands_still_since_the_comparison_is_not_switched_to(
    followed: Book, projector: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = followed.size

    def changed(state: Any, touched: Any) -> Any:
        if any(record.index >= compared for record in touched):
            raise ValueError("cannot read this")
        return COHORT.changed(state, touched)

    release(monkeypatch, replace(second(None), changed=changed), COHORT)
    (made,) = rebuild(projector, "cohort")
    assert made["state"] == "ready"
    followed.tell("SubjectScreened", 7, number="P-7")
    followed.sign()
    follow_all(projector)
    with pytest.raises(StandsStill, match=f"SubjectScreened at index {compared}: ValueError: cannot read this"):
        act(projector, "switch")
    assert statuses(database)[0] == 1


def test_a_report_that_was_altered_is_not_switched_by(
    followed: Book, projector: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, second(None), COHORT)
    (made,) = rebuild(projector, "cohort")
    assert made["differences"]["unexplained"] > 0
    with projector.connection() as conn:
        conn.execute("UPDATE projection.replays SET report = jsonb_set(report, '{counts,unexplained}', '0')")
    with pytest.raises(ReplayNotCompared, match="it was altered"):
        act(projector, "switch")
    assert statuses(database)[0] == 1


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE {0}.subjects SET status = 'ENROLLED'",
        "DELETE FROM {0}.records WHERE idx = (SELECT min(idx) FROM {0}.records)",
        "UPDATE {0}._compared SET digest = repeat('0', 64)",
        "DELETE FROM {0}._compared",
    ],
)
def test_rows_that_were_altered_since_the_comparison_are_not_switched_to(
    two: Book, projector: Database, database: Database, lie: str
) -> None:
    (made,) = rebuild(projector, "cohort")
    two.tell("SubjectScreened", 7, number="P-7")
    two.sign()
    follow_all(projector)
    with projector.connection() as conn:
        conn.execute(lie.format(made["schema"]).encode())
    with pytest.raises(RowsAltered, match=made["schema"]):
        act(projector, "switch")
    assert statuses(database)[0] == 1
    act(projector, "cancel")
    rebuild(projector, "cohort")
    assert act(projector, "switch")["state"] == "switched"
