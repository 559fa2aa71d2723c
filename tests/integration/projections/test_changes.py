"""What changed between two cuts, and which entries are responsible."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger.domain.refusals import Refusal
from ledger.store.database import Database
from projections.changes import files
from projections.changes.view import Wanted, changes, whole
from tests.integration.exports.test_export_command import run_command
from tests.integration.projections.book import Book, ref, subject_id
from tests.integration.projections.course import write
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.simulator import Simulator

Follow = Callable[[], int]


def between(database: Database, since: int | str, until: int | str | None = None, **more: Any) -> dict[str, Any]:
    """The changes in the study of `book`."""
    wanted = Wanted(str(since), None if until is None else str(until), **more)
    return changes(database, "TRIAL-1", wanted)


def one(found: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """What changed of one subject."""
    (subject,) = [one for one in found["subjects"] if one["subject"] == subject_id(number)]
    return dict(subject)


def test_nothing_changed_between_a_cut_and_itself(book: Book, database: Database) -> None:
    write(book)
    for size in (0, 1, book.size):
        found = between(database, size, size)
        assert (found["entries"], found["subjects"]) == (0, [])
        assert not any(found["study"].values())


def test_corrections_voids_and_reversals_are_told_with_before_after_reason_and_who(
    book: Book, database: Database
) -> None:
    screened = book.tell("SubjectScreened", 1, number="P-1", population="patient", sex="female")
    result = book.tell("LabResultReported", 1, analyte="ferritin", value="12")
    enrolled = book.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="LOW")
    book.sign()
    start = book.size
    book.correct(screened, "sex", "male", "typed wrongly", iss="coord")
    book.correct(screened, "sex", None, "not known after all")
    book.void(result, "another subject's tube")
    book.reverse(enrolled, "read wrongly")
    book.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="HIGH")
    book.sign()
    found = one(between(database, start))
    told = [(c["field"], c["before"], c["after"], c["reason"], c["actor"], c["index"]) for c in found["corrected"]]
    assert told == [
        ("sex", "female", "male", "typed wrongly", "coord", start),
        ("sex", "male", None, "not known after all", "chen", start + 1),
    ]
    (voided,), (reversed_,) = found["voided"], found["reversed"]
    assert (voided["record"]["index"], voided["before"], voided["after"], voided["indexes"]) == (
        1 + 1,
        "stands",
        "void",
        [start + 2],
    )
    assert (voided["reason"], reversed_["reason"]) == ("another subject's tube", "read wrongly")
    assert [record["event"] for record in found["recorded"]] == ["SubjectEnrolled"]
    assert {view["what"]: (view["before"], view["after"], view["indexes"]) for view in found["views"]} == {
        "sex": ("female", None, [start, start + 1]),
        "cohort": ("LOW", "HIGH", [start + 3, start + 4]),
    }


def test_what_waits_for_a_second_signature_is_told_when_it_takes_effect(book: Book, database: Database) -> None:
    screened = book.tell("SubjectScreened", 1, number="P-1", population="patient", sex="female")
    book.sign()
    begun = book.size
    waiting = book.correct(screened, "sex", "male", "site said so", iss="dm", role="data-manager")
    book.sign()
    middle = book.size
    book.countersign(waiting, iss="chen", role="investigator")
    book.sign()
    ordered = one(between(database, begun, middle))
    assert ordered["corrected"] == []
    (waits,) = ordered["recorded"]
    assert (waits["index"], waits["event"]) == (begun, "EntryCorrected"), "no entry of the span is passed over"
    assert waits["standing"] == "waits for a second signature"
    (told,) = one(between(database, middle))["corrected"]
    assert (told["index"], told["effective_at"], told["after"], told["actor"]) == (begun, middle, "male", "dm")
    (view,) = one(between(database, middle))["views"]
    assert (view["what"], view["indexes"]) == ("sex", [middle])


def test_a_void_that_is_lifted_is_told_as_a_change_of_standing(book: Book, database: Database) -> None:
    result = book.tell("LabResultReported", 1, analyte="ferritin", value="12")
    voided = book.void(result)
    book.sign()
    start = book.size
    book.void(voided, "it was hers after all")
    book.sign()
    found = one(between(database, start))
    assert [(s["record"]["index"], s["before"], s["after"]) for s in found["standing"]] == [(1, "void", "stands")]
    assert [one["record"]["index"] for one in found["voided"]] == [2], "the void itself is void now"


def test_only_subjects_of_whom_something_was_recorded_are_in_it_and_they_come_by_pages(
    book: Book, database: Database
) -> None:
    write(book)
    start = book.size
    for number in (2, 3, 4):
        book.tell("VisitRecorded", number, name="extra")
    book.sign()
    found = between(database, start)
    ids = sorted(subject_id(number) for number in (2, 3, 4))
    assert [one["subject"] for one in found["subjects"]] == ids
    assert [one["new"] for one in found["subjects"]] == [name != subject_id(2) for name in ids]
    first = between(database, start, limit=2)
    assert ([one["subject"] for one in first["subjects"]], first["next"]) == (ids[:2], ids[1])
    second = between(database, start, after=first["next"], limit=2)
    assert ([one["subject"] for one in second["subjects"]], second["next"], second["study"]) == (ids[2:], None, None)
    assert between(database, start, subject="P-2")["subjects"][0]["subject"] == subject_id(2)
    assert between(database, start, subject="P-01")["subjects"] == []
    assert found["events"] == {"VisitRecorded": 3}


def test_a_cut_is_named_by_size_time_event_id_index_or_event(book: Book, database: Database) -> None:
    write(book)
    opened = book.tell("CohortOpened", "cohort/HIGH", claims={"meaning": "approval"})
    book.tell("CohortOpened", "cohort/LOW", claims={"meaning": "approval"})
    book.tell("VisitRecorded", 1, name="since")
    book.sign()
    size = book.statements.index(opened) + 1
    moment = book.rows[size - 1].recorded_at
    for given in (str(size), moment, opened.jti, f"index:{size - 1}", "CohortOpened:HIGH"):
        found = between(database, given)
        assert found["from"]["size"] == size, given
        assert found["from"]["at"] == moment
        assert [r["event"] for r in one(found)["recorded"]] == ["VisitRecorded"]
    assert between(database, "CohortOpened")["from"]["size"] == size + 1, "the newest"
    assert "opened" in between(database, "CohortOpened:HIGH")["from"]["named"].casefold()


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"since": "100000"}, "READ-3"),
        ({"since": "yesterday"}, "READ-5"),
        ({"since": "2030-01-01T10:00"}, "READ-5"),
        ({"since": "20", "until": "10"}, "READ-5"),
        ({"since": "index:100000"}, "READ-8"),
        ({"since": "6ba7b812-9dad-41d1-80b4-00c04fd430c8"}, "READ-8"),
        ({"since": "CohortOpened:NOWHERE"}, "READ-8"),
        ({"since": "CohortInvented"}, "READ-5"),
        ({"since": "1", "subject": "nobody"}, "READ-6"),
        ({"since": "1", "subject": "6ba7b812-9dad-41d1-80b4-00c04fd430c8"}, "READ-6"),
        ({"since": "1", "projection": "weather"}, "READ-5"),
        ({"since": "1", "after": "somewhere"}, "READ-5"),
    ],
)
def test_what_cannot_be_compared_is_refused(book: Book, database: Database, given: dict[str, str], rule: str) -> None:
    write(book)
    with pytest.raises(Refusal) as refused:
        between(database, given.pop("since"), given.pop("until", None), **given)
    assert refused.value.rule == rule
    assert "as_of" not in refused.value.because + refused.value.remedy


def test_a_refusal_says_how_a_cut_is_named(book: Book, database: Database) -> None:
    write(book)
    with pytest.raises(Refusal) as refused:
        between(database, "cohortopened:HIGH")
    assert "CohortOpened:HIGH" in refused.value.because and "index:N" in refused.value.because
    with pytest.raises(Refusal) as refused:
        between(database, 1, 100_000)
    assert "to=100000" in refused.value.because
    with pytest.raises(Refusal) as refused:
        between(database, 20, 10)
    assert "exchange them" in refused.value.because


def test_every_entry_of_the_span_is_told_and_none_as_recorded_twice(book: Book, database: Database) -> None:
    write(book)
    book.sign()
    found = between(database, 0)
    shown = [found["study"], *found["subjects"]]
    recorded = [told["index"] for about in shown for told in about["recorded"]]
    responsible = {told["index"] for about in shown for name in ("corrected", "redacted") for told in about[name]}
    for about in shown:
        for told in (*about["voided"], *about["reversed"], *about["standing"]):
            responsible |= {told["record"]["index"], *told["indexes"]}
    assert len(recorded) == len(set(recorded))
    assert set(recorded) | responsible == set(range(book.size))


def test_the_study_itself_changes_too(book: Book, database: Database) -> None:
    write(book)
    start = book.size
    book.tell("StudyHeld", iss="spo", role="sponsor", site=None, reason="a doubt")
    book.sign()
    found = between(database, start)
    assert [one["event"] for one in found["study"]["recorded"]] == ["StudyHeld"]
    assert found["subjects"] == []


def test_rows_of_a_projection_that_differ_are_told_by_path(book: Book, database: Database) -> None:
    screened = book.tell("SubjectScreened", 1, number="P-1", population="patient", sex="female")
    book.sign()
    start = book.size
    book.correct(screened, "sex", "male")
    book.sign()
    rows = one(between(database, start, projection="patient"))["rows"]
    changed = {(row["table"], row["column"]): (row["before"], row["after"]) for row in rows if row["kind"] == "changed"}
    assert changed["subjects", "sex"] == ('"female"', '"male"')
    assert changed["records", "record.content.sex"] == ('"female"', '"male"')
    assert [row["table"] for row in rows if row["kind"] == "added"] == ["records"]


def test_who_cannot_be_folded_is_named_and_refused_alone_and_the_others_are_told(
    book: Book, database: Database
) -> None:
    write(book)
    start = book.size
    book.tell("VisitRecorded", 1, claims={"v": 2}, name="of a newer release")
    book.tell("VisitRecorded", 2, name="extra")
    book.sign()
    found = between(database, start)
    assert [one["subject"] for one in found["subjects"]] == [subject_id(2)]
    (stopped,) = found["cut"]["stopped"]
    assert (stopped["about"], stopped["index"]) == (f"subject/{subject_id(1)}", start)
    with pytest.raises(Refusal) as refused:
        between(database, start, subject=subject_id(1))
    assert (refused.value.rule, refused.value.status) == ("READ-4", 503)


def test_text_and_csv_say_the_same_line_by_line(book: Book, database: Database) -> None:
    write(book)
    asked = book.tell("QueryOpened", 2, "mon", "monitor", body={"record": ref(book.statements[4])}, question="why?")
    book.correct(book.statements[3], "number", "=1+1", "a list that computes")
    book.sign()
    found = whole(database, "TRIAL-1", Wanted("1"))
    flat = list(files.flat(found))
    lines = b"".join(files.csv(found)).decode().split("\r\n")
    assert len(lines) - 2 == len(flat) and lines[0].startswith("subject,number,change")
    assert any(",'=1+1," in line for line in lines)
    said = list(files.text(found))
    assert sum(line.startswith("  ") for line in said) == len(flat)
    assert any("female -> nothing" in line or "-> =1+1" in line for line in said)
    assert asked.jti


def test_what_was_known_when_a_cohort_was_opened_and_what_changed_since(trial: Simulator) -> None:
    ledger, study = ledger_of(trial), trial.plan.study
    trial.open_cohort("LOW")
    ada = trial.admit(trial.subject("001"), "LOW")
    known = trial.adverse_event(ada, "cough", 1)
    for number in (1, 2):
        trial.treat(ada, number, "LOW")
        trial.later(days=14)
    trial.hold_cohort("LOW")
    opened = trial.resume_cohort("LOW")
    act = trial.correct(known, "grade", 2, "graded by the other scale")
    trial.redact({known: ["term"]})
    ben = trial.admit(trial.subject("002"), "LOW")
    trial.hold_cohort("LOW")
    found = changes(ledger.database, study, Wanted("CohortResumed:LOW"))
    assert found["from"]["size"] == opened.index + 1
    views = {(one["what"], one["cohort"]): (one["before"], one["after"]) for one in found["study"]["views"]}
    assert views == {("status", "LOW"): ("open", "held"), ("enrolled", "LOW"): (1, 2)}
    people = {one["number"]: one for one in found["subjects"]}
    (corrected,) = people["001"]["corrected"]
    assert (corrected["before"], corrected["after"], corrected["index"]) == (1, 2, act.index)
    (gone,) = people["001"]["redacted"]
    assert (gone["record"]["index"], gone["fields"]) == (known.index, ["term"])
    assert people["002"]["new"] and people["002"]["subject"] in ben.label
    assert {one["what"]: one["after"] for one in people["002"]["views"]}["status"] == "enrolled"
    assert "cough" not in str(found)


def test_the_command_says_it_in_words_as_data_and_as_a_table(trial: Simulator) -> None:
    ada = trial.subject("001")
    screened = trial.screen(ada)
    start = str(screened.index + 1)
    trial.correct(screened, "sex", "female")
    said = run_command(trial, ("changes",), "--from", start)
    assert said.returncode == 0, said.stderr
    assert "sex of SubjectScreened" in said.stdout and "male -> female" in said.stdout
    data = json.loads(run_command(trial, ("changes",), "--from", start, "--json").stdout)
    assert data["subjects"][0]["corrected"][0]["after"] == "female"
    table = run_command(trial, ("changes",), "--from", start, "--to", start, "--format", "csv")
    assert table.stdout.splitlines() == [",".join(files.COLUMNS)]
    refused = run_command(trial, ("changes",), "--from", "then")
    assert (refused.returncode, refused.stdout) == (1, "") and "READ-5" in refused.stderr
    assert run_command(trial, ("changes",), "--from", "1", "--format", "xml").returncode == 64
    assert run_command(trial, ("changes",)).returncode == 64
