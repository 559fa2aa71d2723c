"""Rebuilding from the first event gives what following gave, whatever the number of workers, and never harms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection

from ledger.store.database import Database
from ledger.store.errors import DatabaseUnavailable
from projections.definitions import NAMES, known_models, read_models
from projections.engine import building, operations, replay, tables, workers
from projections.engine.digest import of_tables
from projections.engine.errors import (
    DefinitionChanged,
    OtherReplayUnderWay,
    RebuildRunning,
    ReplayMoved,
    StudyNotKnown,
)
from projections.engine.replay import Progress
from projections.engine.replays import replays_of
from projections.engine.runner import Runner
from projections.engine.sql import SQL
from tests.integration.projections.book import Book
from tests.integration.projections.course import write
from tests.integration.projections.test_following import digests, positions
from tests.integration.projections.two_versions import COHORT, breaking_at, release, second


class Killed(BaseException):
    """As if the process ended here."""


@pytest.fixture
def followed(book: Book, follow: Callable[[], int]) -> Book:
    """A study whose projections stand at its size."""
    write(book)
    follow()
    return book


def rebuild(projector: Database, *names: str, **given: Any) -> list[dict[str, Any]]:
    """Rebuild projections of the study of `book`."""
    return operations.rebuild(projector, "TRIAL-1", names or None, **{"workers": 1, "by": "dm"} | given)


def built(projector: Database, made: dict[str, Any]) -> str:
    """The digest of what a replay built."""
    model = next(one for one in known_models() if one.definition.name == made["projection"])
    with projector.snapshot() as conn:
        return of_tables(conn, made["schema"], model.definition, "TRIAL-1").root


def schemas(projector: Database) -> set[str]:
    """The schemas of read models that are there."""
    with projector.connection() as conn:
        return {name for (name,) in conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rm%'")}


def pointers(projector: Database, study: str = "TRIAL-1") -> dict[str, str]:
    """What answers for each projection."""
    with projector.connection() as conn:
        return dict(conn.execute(SQL["pointers"], {"study": study}).fetchall())


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_rebuild_gives_the_digest_that_following_gave(followed: Book, projector: Database, number: int) -> None:
    before, live = digests(projector), pointers(projector)
    names = NAMES if number == 1 else ("patient", "audit_trail")
    for made in rebuild(projector, *names, workers=number, part_events=4):
        assert (made["state"], made["changed"], made["size"]) == ("ready", False, followed.size)
        assert made["digest"] == made["digest_before"] == before[made["projection"]] == built(projector, made)
        assert made["schema"].endswith("_g1")
    assert digests(projector) == before
    assert pointers(projector) == live, "nothing is switched by itself"


@pytest.mark.parametrize("events", [1, 3, 10, 100_000])
def test_the_size_of_parts_does_not_matter(followed: Book, projector: Database, events: int) -> None:
    before = digests(projector)
    (made,) = rebuild(projector, "patient", part_events=events)
    assert built(projector, made) == before["patient"]


def test_what_was_built_has_the_keys_and_indexes_of_what_is_followed(followed: Book, projector: Database) -> None:
    (made,) = rebuild(projector, "audit_trail")
    asked = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = %s"
    with projector.connection() as conn:
        first, other = (
            sorted(
                (table, text.replace(schema, "").partition(" USING ")[2])
                for table, text in conn.execute(asked, [schema])
            )
            for schema in (made["from"]["schema"], made["schema"])
        )
    assert first == other and len(first) > 9


def test_rows_that_were_lost_or_altered_are_shown_as_differences_that_nothing_explains(
    followed: Book, projector: Database
) -> None:
    model = next(m for m in read_models() if m.definition.name == "patient")
    with projector.connection() as conn:
        conn.execute(f'DELETE FROM "{model.schema}".records WHERE idx % 3 = 0')
        conn.execute(f"""UPDATE "{model.schema}".subjects SET status = 'cured'""")
    (made,) = rebuild(projector, "patient")
    assert (made["state"], made["changed"]) == ("awaiting approval", True)
    assert made["differences"]["unexplained"] > 0 and made["differences"]["intended"] == 0


def test_what_is_recorded_during_a_rebuild_is_in_it(followed: Book, projector: Database) -> None:
    def meanwhile(progress: Progress) -> None:
        if progress.step in ("build", "catch up", "compare") and progress.step not in told:
            told.add(progress.step)
            followed.correct(followed.statements[3], "number", f"P-00{len(told)}", "meanwhile")
            followed.tell("SubjectScreened", 10 + len(told), number=f"P-3{len(told)}")
            followed.sign()

    told: set[str] = set()
    ceiling = followed.size
    (made,) = rebuild(projector, "patient", progress=meanwhile)
    assert made["size"] > ceiling + 2
    assert (made["state"], made["changed"]) == ("ready", False)
    Runner(projector, known_models()).catch_up()
    assert positions(projector) == {followed.size}, "from then on a follower keeps it current"
    assert built(projector, made) == digests(projector)["patient"]


def test_a_rebuild_ends_while_appends_never_pause(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every batch that anybody takes in, something more is recorded."""
    taken: list[int] = []
    step = Runner.step

    def one_more(*_: Any) -> None:
        followed.tell("SubjectScreened", followed.size, number=f"P-{followed.size}")
        followed.sign()

    def and_one_more(runner: Runner, *given: Any) -> int:
        batches = step(runner, *given)
        taken.append(batches)
        assert len(taken) < 100, "it goes on as long as appends do"
        one_more()
        return batches

    monkeypatch.setattr(Runner, "step", and_one_more)
    made = rebuild(projector, "patient", "cohort", progress=one_more)
    assert taken
    assert [one["state"] for one in made] == ["ready", "ready"]


def test_projections_that_are_begun_together_are_built_together_while_appends_go_on(
    followed: Book, projector: Database
) -> None:
    def meanwhile(progress: Progress) -> None:
        if progress.step == "build":
            together.append(progress.projections)

    together: list[tuple[str, ...]] = []
    signed = replay._signed

    def growing(conn: Connection[Any], study: str) -> int:
        followed.tell("SubjectScreened", 100 + followed.size, number=f"P-{followed.size}")
        followed.sign()
        return signed(conn, study)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "_signed", growing)
        rebuild(projector, "patient", "cohort", "schedule", progress=meanwhile)
    assert set(together) == {("patient", "cohort", "schedule")}


def test_a_rebuild_of_a_study_that_nobody_followed_lets_it_answer(book: Book, projector: Database) -> None:
    write(book)
    made = rebuild(projector)
    assert {one["state"] for one in made} == {"switched"}
    assert positions(projector) == {book.size}
    assert pointers(projector) == {one["projection"]: one["schema"] for one in made}
    Runner(projector, known_models()).catch_up()
    assert schemas(projector) == {one["schema"] for one in made}, "a follower begins nothing where something answers"


def test_a_follower_that_was_faster_is_compared_with(
    book: Book, projector: Database, follow: Callable[[], int]
) -> None:
    write(book)
    (made,) = rebuild(projector, "cohort", progress=lambda one: follow() if one.step == "build" else None)
    assert (made["state"], made["changed"]) == ("ready", False)
    assert made["from"]["schema"] == pointers(projector)["cohort"] != made["schema"]


def test_a_study_without_events_is_rebuilt_too(book: Book, projector: Database) -> None:
    (made,) = rebuild(projector, "safety")
    assert made["state"] == "switched"
    assert positions(projector) == {0}


def test_an_event_that_a_handler_cannot_take_in_ends_the_replay_and_is_named(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, live, there = digests(projector), pointers(projector), schemas(projector)
    release(monkeypatch, replace(COHORT, version=2, changed=breaking_at("AdverseEventReported")), COHORT)
    failed, other = rebuild(projector, "cohort", "safety")
    index = next(row.idx for row in followed.rows if row.topic.startswith("AdverseEventReported"))
    failure = failed["failure"]
    assert failed["state"] == "failed"
    assert (failure["index"], failure["event"]) == (index, "AdverseEventReported")
    assert failure["subject"] in followed.statements[index].sub
    assert failure["because"] == "ValueError: cannot read this"
    assert other["state"] == "ready", "what else was built with it goes on"
    monkeypatch.undo()
    assert digests(projector) == before and pointers(projector) == live
    assert schemas(projector) == there | {other["schema"]}, "what was built of it is taken away"


def test_an_event_of_a_newer_version_ends_every_replay_and_names_the_rule(book: Book, projector: Database) -> None:
    write(book)
    poison = book.size
    book.tell("SubjectScreened", 5, claims={"v": 2}, number="P-5")
    book.sign()
    for made in rebuild(projector, "patient", "cohort"):
        assert made["state"] == "failed"
        assert (made["failure"]["index"], made["failure"]["rule"]) == (poison, "CATALOGUE-8")
    assert pointers(projector) == {} and schemas(projector) == set()


def test_a_rebuild_that_was_killed_goes_on_where_it_was_with_another_number_of_workers(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(progress: Progress) -> None:
        if progress.done:
            raise Killed

    with pytest.raises(Killed):
        rebuild(projector, "patient", progress=once, part_events=1)
    seen: list[int] = []
    (made,) = rebuild(projector, "patient", workers=2, progress=lambda one: seen.append(one.done))
    assert seen[0] > 0, "what was built is not built again"
    assert (made["state"], made["changed"]) == ("ready", False)
    assert made["schema"].endswith("_g1")


STEPS = ("begin_parts", "end_build", "built_replay", "move_replay", "compared_replay", "note_step", "plan_replay")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_rebuild_that_ends_at_any_step_goes_on(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """Before and after each statement that moves it."""
    live, execute = pointers(projector), Connection.execute
    deaths = 0
    while deaths < 12:
        calls = iter(range(1_000))

        def dying(conn: Any, query: Any, *given: Any, deaths: int = deaths, calls: Any = calls, **more: Any) -> Any:
            mine = step in ("begin_parts",) and "_parts" in str(query) and "INSERT" in str(query)
            if (mine or query == SQL[step]) and next(calls) == deaths:
                if after:
                    execute(conn, query, *given, **more)
                raise Killed
            return execute(conn, query, *given, **more)

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "execute", dying)
            try:
                (made,) = rebuild(projector, "cohort")
            except Killed:
                deaths += 1
                continue
        break
    assert deaths >= 1
    assert (made["state"], made["changed"]) == ("ready", False)
    assert pointers(projector) == live
    with projector.connection() as conn:
        assert len(replays_of(conn, "TRIAL-1", "cohort")) == 1
        assert conn.execute("SELECT step FROM projection.replay_steps").fetchall() == [("compared",)]
    assert built(projector, made) == digests(projector)["cohort"]


def test_a_database_that_was_away_is_waited_for(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, failures = tables.copy, iter([True, False, True, False, False, False, False, False])

    def away(*given: Any) -> None:
        if next(failures):
            raise DatabaseUnavailable("it restarts")
        copied(*given)

    monkeypatch.setattr(replay, "RETRY_S", 0.0)
    monkeypatch.setattr(tables, "copy", away)
    (made,) = rebuild(projector, "patient", part_events=1)
    assert made["state"] == "ready"


def test_a_database_that_stays_away_ends_the_command_and_not_the_replay(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any) -> None:
        raise DatabaseUnavailable("it is down")

    monkeypatch.setattr(replay, "RETRY_S", 0.0)
    monkeypatch.setattr(replay, "AWAY_S", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(tables, "copy", away)
        with pytest.raises(DatabaseUnavailable):
            rebuild(projector, "patient")
    with projector.connection() as conn:
        (only,) = replays_of(conn, "TRIAL-1")
        assert only.state == "building"
    assert rebuild(projector, "patient")[0]["state"] == "ready"


def test_two_rebuilds_of_one_projection_do_not_meet(followed: Book, projector: Database) -> None:
    refused: list[str] = []

    def meanwhile(progress: Progress) -> None:
        if progress.step == "build" and not refused:
            with pytest.raises(RebuildRunning):
                rebuild(projector, "cohort", "patient")
            refused.append("yes")
            (other,) = rebuild(projector, "safety")
            assert other["state"] == "ready"

    (made,) = rebuild(projector, "patient", progress=meanwhile)
    assert refused and made["state"] == "ready"
    assert rebuild(projector, "patient") == [made], "one that is compared stays as it is"


def test_one_that_is_cancelled_while_it_is_built_stops_and_leaves_nothing(followed: Book, projector: Database) -> None:
    there = schemas(projector)

    def meanwhile(progress: Progress) -> None:
        if progress.step == "build" and progress.done and not cancelled:
            cancelled.append(operations.cancel(projector, "TRIAL-1", "patient", "dm", "the wrong one"))

    cancelled: list[dict[str, Any]] = []
    with pytest.raises(ReplayMoved, match="is cancelled now"):
        rebuild(projector, "patient", progress=meanwhile, part_events=1)
    assert cancelled[0]["state"] == "cancelled"
    assert schemas(projector) == there
    (again,) = rebuild(projector, "patient")
    assert again["state"] == "ready" and again["schema"].endswith("_g2"), "no schema's name is used twice"


def test_a_build_that_a_redaction_emptied_begins_anew(followed: Book, projector: Database) -> None:
    def meanwhile(progress: Progress) -> None:
        if progress.step == "build" and progress.done and not forgotten:
            with projector.connection() as conn:
                live = list(pointers(projector).values())
                forgotten.append(conn.execute("SELECT projection.forget('TRIAL-1', %s)", [live]).fetchone())

    forgotten: list[Any] = []
    (made,) = rebuild(projector, "patient", progress=meanwhile, part_events=1)
    assert forgotten
    assert (made["state"], made["changed"]) == ("ready", False)
    assert built(projector, made) == digests(projector)["patient"]


def test_a_replay_of_another_release_is_not_continued(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        release(patched, second(), COHORT)
        rebuild(projector, "cohort")
    with pytest.raises(OtherReplayUnderWay, match="cohort version 2"):
        rebuild(projector, "cohort")


def test_code_that_was_changed_under_its_version_rebuilds_nothing(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(monkeypatch, replace(COHORT, changed=breaking_at("StudyHeld")))
    with pytest.raises(DefinitionChanged, match="cohort version 1: "):
        rebuild(projector, "patient")


def test_a_worker_that_dies_again_and_again_ends_the_command(
    followed: Book, projector: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MAX_REPLACED", 1)
    monkeypatch.setattr(workers, "_report", lambda worker: None)
    with pytest.raises(workers.WorkersDie):
        rebuild(projector, "patient", workers=2)
    monkeypatch.undo()
    assert rebuild(projector, "patient")[0]["state"] == "ready"


def test_a_study_that_is_not_there_is_not_rebuilt(projector: Database) -> None:
    with pytest.raises(StudyNotKnown):
        operations.rebuild(projector, "NO-STUDY", ["patient"])


def test_an_unknown_projection_is_not_rebuilt(followed: Book, projector: Database) -> None:
    with pytest.raises(KeyError, match="there is no projection 'patients'"):
        rebuild(projector, "patients")


def test_parts_are_runs_of_whole_aggregates(followed: Book, projector: Database) -> None:
    (made,) = rebuild(projector, "patient", part_events=2)
    with projector.connection() as conn:
        far = building.standing(conn, "TRIAL-1", made["schema"])
        rows = conn.execute(f'SELECT first, last, events FROM "{made["schema"]}"._parts ORDER BY part').fetchall()
    assert far.complete and far.events == far.ceiling == followed.size
    assert len(rows) == 3 and all(first == last for first, last, _ in rows)


def test_a_rebuild_of_one_study_follows_no_other(database: Database, projector: Database, book: Book) -> None:
    write(book)
    other = Book(database, study="TRIAL-2")
    other.open()
    write(other)
    rebuild(projector, "cohort")
    rebuild(projector, "cohort")
    assert {study for study, *_ in all_positions(projector)} == {"TRIAL-1"}


def all_positions(projector: Database) -> list[Any]:
    """Study, schema and position of every read model that is kept."""
    with projector.connection() as conn:
        return conn.execute("SELECT study_id, schema_name, position FROM projection.positions").fetchall()
