"""An event that a projection cannot take in: its partition stands still, all else goes on; and how it is lifted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.database import Database
from ledger.store.redactions import insert_redactions
from ledger.store.rows import RedactionRow
from projections.definitions import NAMES, model_of, read_models
from projections.engine import stopping, tables, taking
from projections.engine.folding import events_of
from projections.engine.runner import Runner
from projections.engine.sql import on
from projections.engine.stopping import EVERYTHING
from tests.integration.projections.book import Book, ref
from tests.integration.projections.course import write
from tests.integration.projections.sick import (
    ONE,
    TWO,
    at_event,
    at_index,
    first,
    partition_at,
    parts,
    position,
    refusing,
    release,
    standing_still,
)
from tests.integration.projections.test_following import digests, forget
from tests.integration.projections.test_skipping import skip

POISON = "AdverseEventReported"


@pytest.mark.parametrize("batch", [1, 2, 7, 5_000])
def test_one_partition_stands_still_just_below_the_event_and_everything_else_goes_on(
    book: Book, projector: Database, batch: int
) -> None:
    write(book)
    Runner(projector, read_models()).catch_up()
    whole = parts(projector, model_of("patient"))
    forget(projector)
    sick = refusing("patient", at_event(POISON))
    Runner(projector, release(sick), batch).catch_up()
    index = first(book, POISON)
    (stopped,) = standing_still(projector, sick).values()
    assert (stopped.partition, stopped.index, stopped.event) == (ONE, index, POISON)
    assert stopped.because == "ValueError: cannot read this"
    assert {position(projector, model) for model in release(sick)} == {book.size}
    shown = parts(projector, sick)
    assert shown[TWO] == whole[TWO] and shown[ONE] != whole[ONE]
    with projector.connection() as conn:
        found = conn.execute(
            f"SELECT idx FROM {sick.schema}.records WHERE study_id = 'TRIAL-1' AND partition = %s ORDER BY idx",
            (ONE,),
        ).fetchall()
    expected = [row.idx for row, one in zip(book.rows, book.statements, strict=True)
                if one.sub == f"subject/{ONE}" and row.idx < index]  # fmt: skip
    assert [idx for (idx,) in found] == expected
    for other in NAMES:
        assert other == "patient" or not standing_still(projector, model_of(other))


def test_the_alarm_is_raised_once_however_often_the_subject_comes_by(
    book: Book, projector: Database, caplog: pytest.LogCaptureFixture
) -> None:
    write(book)
    sick = refusing("patient", at_event(POISON))
    runner = Runner(projector, release(sick))
    with caplog.at_level(logging.WARNING, "projections"):
        runner.catch_up()
        for visit in range(3):
            book.tell("VisitRecorded", 1, visit=f"V{visit}")
            book.sign()
            runner.catch_up()
        Runner(projector, release(sick)).catch_up()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    message = caplog.records[0].getMessage()
    assert message.startswith("ALARM: projection patient version 1 of TRIAL-1: ")
    assert f"subject/{ONE} stands still at index {first(book, POISON)} ({POISON}): ValueError" in message
    assert position(projector, sick) == book.size


def test_a_follower_that_starts_tries_once_more_and_a_mended_projection_is_whole(
    book: Book, projector: Database
) -> None:
    write(book)
    Runner(projector, read_models()).catch_up()
    undisturbed = digests(projector)
    forget(projector)
    sick = refusing("patient", at_event(POISON))
    Runner(projector, release(sick), batch=3).catch_up()
    assert digests(projector) != undisturbed
    mended = Runner(projector, read_models())
    mended.catch_up()
    assert digests(projector) == undisturbed
    assert not standing_still(projector, sick)


def test_somebody_may_have_it_tried_again_while_it_runs(book: Book, projector: Database) -> None:
    write(book)
    ill = True
    sick = refusing("patient", lambda record: ill and record.event == POISON)
    runner = Runner(projector, release(sick))
    runner.catch_up()
    ill = False
    runner.catch_up()
    assert standing_still(projector, sick), "nobody asked for it"
    with projector.connection() as conn:
        conn.execute(on("unstop", sick.schema), {"study": book.study})
    runner.catch_up()
    assert not standing_still(projector, sick)
    followed = digests(projector)
    forget(projector)
    Runner(projector, read_models()).catch_up()
    assert digests(projector) == followed


def test_a_decision_to_pass_over_it_lifts_it_in_that_projection_alone(book: Book, projector: Database) -> None:
    write(book)
    index = first(book, POISON)
    models = release(refusing("patient", at_event(POISON)), refusing("safety", at_event(POISON)))
    runner = Runner(projector, models)
    runner.catch_up()
    skip(book, index, "patient")
    book.sign()
    runner.catch_up()
    assert not standing_still(projector, model_of("patient"))
    assert set(standing_still(projector, model_of("safety"))) == {ONE}
    with projector.connection() as conn:
        rows = conn.execute(f"SELECT idx FROM {model_of('patient').schema}.records WHERE partition = %s", (ONE,))
        shown = {idx for (idx,) in rows}
        rows = conn.execute(f"SELECT idx FROM {model_of('audit_trail').schema}.entries WHERE partition = %s", (ONE,))
        trail = {idx for (idx,) in rows}
    assert trail - shown == {index}, "the others fold it, and what came after it is shown again"


@pytest.mark.parametrize("batch", [1, 4, 5_000])
def test_what_is_passed_over_is_the_same_however_it_came_to_be(book: Book, projector: Database, batch: int) -> None:
    """Decided before or after it stood still, followed by steps or at once, taken in again and passed over again."""
    runner = Runner(projector, release(refusing("patient", at_event(POISON))))
    book.after_each = runner.catch_up
    write(book)
    index = first(book, POISON)
    skip(book, index, "patient")
    book.tell("VisitRecorded", 1, visit="V1")
    skip(book, index, "patient", "SkippingEnded")
    assert standing_still(projector, model_of("patient"))[ONE].index == index
    skip(book, index, "patient")
    skip(book, first(book, "InfusionGiven"), "safety")
    followed = digests(projector)
    forget(projector)
    Runner(projector, release(refusing("patient", at_event(POISON))), batch).catch_up()
    assert digests(projector) == followed
    assert not standing_still(projector, model_of("patient"))


def test_taking_it_in_again_puts_a_mended_projection_where_it_would_have_been(book: Book, projector: Database) -> None:
    write(book)
    index = first(book, POISON)
    skip(book, index, "patient")
    skip(book, index, "patient", "SkippingEnded")
    book.sign()
    Runner(projector, read_models(), batch=1).catch_up()
    followed = digests(projector)
    forget(projector)
    Runner(projector, read_models()).catch_up()
    assert digests(projector) == followed
    with projector.connection() as conn:
        query = f"SELECT count(*) FROM {model_of('patient').schema}.records WHERE idx = %s"
        assert conn.execute(query, (index,)).fetchone() == (1,)


def test_an_event_that_nobody_can_fold_stops_its_subject_in_every_projection(
    book: Book, projector: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """An older follower meets an event of a newer version: it does not guess."""
    write(book)
    poison = book.size
    book.tell("VisitRecorded", 1, claims={"v": 2}, visit="V1")
    book.tell("VisitRecorded", 1, visit="V2")
    book.tell("VisitRecorded", 2, visit="V2")
    book.sign()
    with caplog.at_level(logging.ERROR, "projections"):
        Runner(projector, read_models(), batch=6).catch_up()
    for model in read_models():
        (stopped,) = standing_still(projector, model).values()
        assert (stopped.partition, stopped.index) == (ONE, poison)
        assert stopped.because.startswith("EventUnreadable")
        assert position(projector, model) == book.size
    assert caplog.text.count("ALARM") == len(NAMES)
    skip(book, poison, "patient")
    book.sign()
    Runner(projector, read_models()).catch_up()
    assert not standing_still(projector, model_of("patient"))
    assert set(standing_still(projector, model_of("safety"))) == {ONE}


def test_an_event_of_the_study_itself_stops_the_study_and_no_subject(book: Book, projector: Database) -> None:
    write(book)
    poison = book.size
    book.tell(
        "AccessReviewed", claims={"v": 2}, iss="reg", role="registrar", site=None, body={"as_of": 1}, findings="x"
    )
    book.tell("VisitRecorded", 1, visit="V1")
    book.sign()
    Runner(projector, read_models()).catch_up()
    for model in read_models():
        assert [(one.partition, one.index) for one in standing_still(projector, model).values()] == [("study", poison)]
        assert position(projector, model) == book.size
    with projector.connection() as conn:
        rows = conn.execute(f"SELECT max(idx) FROM {model_of('patient').schema}.records WHERE partition = %s", (ONE,))
        assert rows.fetchone() == (book.size - 1,)


@pytest.mark.parametrize("batch", [1, 5_000])
def test_a_row_that_the_database_refuses_stops_its_partition_too(book: Book, projector: Database, batch: int) -> None:
    write(book)
    index = first(book, "InfusionGiven")
    sick = refusing("patient", at_index(index), becomes=("records", (None, "x", "y")))
    Runner(projector, release(sick), batch).catch_up()
    (stopped,) = standing_still(projector, sick).values()
    assert (stopped.partition, stopped.index) == (partition_at(book, index), index)
    assert stopped.because.startswith("NotNullViolation") and "Failing row" not in stopped.because
    assert position(projector, sick) == book.size


def test_whatever_event_a_projection_cannot_take_in_stops_just_its_own_partition(
    book: Book, projector: Database
) -> None:
    write(book)
    book.sign()
    Runner(projector, read_models()).catch_up()
    whole = parts(projector, model_of("audit_trail"))
    for index in range(0, book.size, 3):
        forget(projector)
        sick = refusing("audit_trail", at_index(index))
        Runner(projector, release(sick), batch=11).catch_up()
        found = standing_still(projector, sick)
        assert {one.partition: one.index for one in found.values()} == {partition_at(book, index): index}
        shown = parts(projector, sick)
        assert {name for name in whole if shown.get(name) != whole[name]} == {partition_at(book, index)}


def test_two_subjects_and_the_study_stand_still_each_at_its_own_event(book: Book, projector: Database) -> None:
    write(book)
    wanted = {partition_at(book, index): index for index in (first(book, "SiteActivated"), first(book, POISON))}
    wanted[TWO] = first(book, "MedicationRecorded")
    sick = refusing("audit_trail", lambda record: record.index in wanted.values())
    Runner(projector, release(sick), batch=4).catch_up()
    assert {one.partition: one.index for one in standing_still(projector, sick).values()} == wanted


def _redact(book: Book, target: Any, field: str) -> None:
    """A field is redacted: ordered, countersigned, and from then on given to nobody."""
    from ledger.signing.statement import disclosures_by_digest

    digest = next(one for one, name in disclosures_by_digest(target.disclosures).items() if name == field)
    named = {**ref(target), "disclosures": [digest], "fields": [field]}
    body = {"records": [named], "legal_basis": "erasure"}
    order = book.tell("FieldsRedacted", target.sub, "dpo", "privacy", target.site, body, reason="asked for")
    book.countersign(order, iss="dm", role="data-manager")
    with book.database.connection() as conn:
        insert_redactions(conn, book.study, [RedactionRow(target.jti, digest, field, book.size - 2, book.size - 1)])
    book.sign()


def test_what_is_redacted_leaves_the_last_rows_of_what_stands_still(book: Book, projector: Database) -> None:
    book.tell("SubjectScreened", 1, number="P-1", comment="Rosalind came alone")
    told = book.tell("VisitRecorded", 1, visit="V1", comment="Rosalind again")
    book.tell(POISON, 1, term="Fever", comment="Rosalind had it")
    book.sign()
    sick = refusing("patient", at_event(POISON))
    runner = Runner(projector, release(sick))
    runner.catch_up()

    def shown() -> str:
        with projector.connection() as conn:
            rows = conn.execute(f"SELECT record FROM {sick.schema}.records WHERE partition = %s", (ONE,)).fetchall()
        return " ".join(row[0] for row in rows)

    assert "Rosalind again" in shown()
    _redact(book, told, "comment")
    runner.catch_up()
    assert standing_still(projector, sick)[ONE].event == POISON
    assert "Rosalind came alone" in shown() and "Rosalind again" not in shown()
    assert position(projector, sick) == book.size


def test_entries_that_are_missing_stop_the_whole_read_model_and_nothing_is_passed_over(
    book: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(book)
    gone = 9
    monkeypatch.setattr(taking, "events_of", lambda *asked: [one for one in events_of(*asked) if one.idx != gone])
    runner = Runner(projector, read_models(), batch=4)
    with caplog.at_level(logging.ERROR, "projections"):
        runner.catch_up()
        runner.catch_up()
    patient = model_of("patient")
    assert position(projector, patient) == gone
    assert standing_still(projector, patient)[EVERYTHING].because.endswith(f"no entry at index {gone}, which is signed")
    assert caplog.text.count("ALARM") == len(NAMES)
    monkeypatch.undo()
    runner.catch_up()
    assert position(projector, patient) == book.size
    assert not standing_still(projector, patient)


class Killed(BaseException):
    """As if the process ended here."""


STEPS: dict[str, tuple[Any, str]] = {
    "rows are written": (tables, "upsert"),
    "a partition is emptied": (tables, "empty_partition"),
    "a partition is made anew": (taking, "make_anew"),
    "it is noted": (taking, "note"),
    "it is lifted": (taking, "lift"),
    "the first event is looked for": (stopping, "_first_refused"),
}


@pytest.mark.parametrize("place", STEPS, ids=list(STEPS))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_stopping_and_lifting_it_ends_where_an_undisturbed_one_ends(
    book: Book, projector: Database, monkeypatch: pytest.MonkeyPatch, place: str, after: bool
) -> None:
    write(book)
    skip(book, first(book, "InfusionGiven"), "safety")
    skip(book, first(book, POISON), "patient")
    book.tell("VisitRecorded", 2, visit="V2")
    book.sign()
    sick = release(refusing("patient", at_event(POISON)), refusing("cohort", at_event("InfusionGiven")))
    Runner(projector, sick, batch=7).catch_up()
    expected, still = digests(projector), standing_still(projector, model_of("cohort"))
    assert len(still) == 1
    forget(projector)
    owner, name = STEPS[place]
    original = getattr(owner, name)
    calls = iter(range(10_000))

    def killing(*args: Any, **more: Any) -> Any:
        dies = next(calls) % 3 == 0
        if dies and not after:
            raise Killed
        done = original(*args, **more)
        if dies:
            raise Killed
        return done

    monkeypatch.setattr(owner, name, killing)
    deaths = 0
    while position(projector, model_of("patient")) < book.size and deaths < 200:
        try:
            Runner(projector, sick, batch=7).catch_up()
        except Killed:
            deaths += 1
    monkeypatch.undo()
    assert deaths
    Runner(projector, sick, batch=7).catch_up()
    assert digests(projector) == expected
    assert standing_still(projector, model_of("cohort")) == still


def test_a_broken_handler_stops_every_subject_that_it_meets_and_the_position_goes_on(
    book: Book, projector: Database, follow: Callable[[], int]
) -> None:
    for subject in range(40):
        book.tell("SubjectScreened", subject, number=f"P-{subject}")
    book.sign()
    sick = refusing("patient", at_event("SubjectScreened"))
    Runner(projector, release(sick)).catch_up()
    assert len(standing_still(projector, sick)) == 40 and position(projector, sick) == book.size
    follow()
    assert not standing_still(projector, sick)
    assert len(parts(projector, sick)) == 40
