"""What a comparison found, shown: in words, as files, as a page, down to the events."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from ledger.store.database import Conn, Database
from projections.engine import kept
from projections.engine.comparing import Comparison, compare
from projections.engine.definition import ReadModel
from projections.engine.errors import NothingCompared, RedactionAhead, StudyNotKnown, SubjectAmbiguous, SubjectNotFound
from projections.reports import comparison, comparison_page, files, stories, text
from projections.reports.comparison import Compared, compared
from tests.integration.projections import course
from tests.integration.projections.book import Book, subject_id
from tests.integration.projections.test_kept_differences import redact
from tests.integration.projections.versions import MODELS, filled

ONE, TWO = MODELS[1], MODELS[2]
ANN, BEN = subject_id(1), subject_id(2)
REPLAY = UUID("00000000-0000-4000-8000-00000000abcd")


def note(projector: Database, book: Book, state: str = "awaiting approval", replay: UUID = REPLAY) -> Comparison:
    """Compare both versions, and keep what a replay keeps of it."""
    with projector.snapshot() as conn, projector.connection() as other:
        with kept.keeping(other, book.study, TWO.schema, book.size) as write:
            made = compare(conn, book.study, ONE, TWO, book.size, write)
        sides = [(one.definition.version, one.fingerprint, one.schema) for one in (ONE, TWO)]
        for version, fingerprint, schema in sides:
            other.execute(
                "INSERT INTO projection.definitions (name, version, fingerprint, schema_name) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                ("invented", version, fingerprint, schema),
            )
            other.execute(
                "INSERT INTO projection.positions (schema_name, study_id, position) VALUES (%s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (schema, book.study, book.size),
            )
        other.execute(
            "INSERT INTO projection.replays (replay_id, study_id, name, from_schema, from_version, from_fingerprint, "
            "schema_name, version, fingerprint, state, ceiling, size, root, report, report_digest, by) "
            "VALUES (%s, %s, 'invented', %s, 1, %s, %s, 2, %s, %s, 0, %s, 'root', %s, %s, 'dm')",
            (replay, book.study, ONE.schema, ONE.fingerprint, TWO.schema, TWO.fingerprint, state, book.size,
             Jsonb(made.report), made.report_digest),
        )  # fmt: skip
    return made


@pytest.fixture
def two(projector: Database, book: Book, monkeypatch: pytest.MonkeyPatch) -> Book:
    """Both versions of the course, compared, both of them known to this release."""
    course.write(book)
    filled(projector, book)
    note(projector, book)

    def known(name: str, version: int, fingerprint: str, generation: int = 0) -> ReadModel | None:
        found = MODELS.get(version)
        return found if found is not None and found.identity == (name, version, fingerprint) else None

    monkeypatch.setattr(stories, "model_with", known)
    return book


@pytest.fixture
def conn(database: Database, two: Book) -> Iterator[Conn]:
    with database.snapshot() as opened:
        yield opened


def found_in(conn: Conn, **asked: Any) -> Compared:
    return compared(conn, "TRIAL-1", "invented", **asked)


# -- in words --------------------------------------------------------------------------------------------------


def test_the_text_says_what_changed_how_much_where_and_what_to_do_next(conn: Conn) -> None:
    said = text.told(found_in(conn))
    assert "version 1 (11111111) against version 2 (22222222)" in said
    assert "1 UNEXPLAINED." in said
    assert f"UNEXPLAINED: P-01 ({ANN}), events [" in said
    assert 'site "S1" -> "LAB" (not as the normaliser says)' in said
    lines = said.splitlines()
    assert next(line.split()[:3] for line in lines if line.startswith("  events")) == ["events", "site", "changed"]
    assert any(line.split() == ["S1", "2", *line.split()[2:3], "1"] for line in lines)
    assert f"projections approve invented --study TRIAL-1 --report {found_in(conn).digest} --reason" in said
    assert "projections cancel invented --study TRIAL-1" in said


def test_the_unexplained_examples_come_first_and_are_few(conn: Conn) -> None:
    found = found_in(conn)
    assert [one.intended for one in found.shown] == [False] + [True] * 9
    assert found.kept == found.total > 10
    assert [one.partition for one in found_in(conn, subject=BEN).shown] == [BEN] * 10


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("ready", "switch invented"),
        ("switched", "rollback invented"),
        ("cancelled", "diff invented"),
    ],
)
def test_the_next_step_depends_on_where_the_replay_stands(
    database: Database, projector: Database, two: Book, state: str, said: str
) -> None:
    with projector.connection() as conn:
        conn.execute("UPDATE projection.replays SET state = %s", (state,))
    with database.snapshot() as conn:
        shown = text.told(found_in(conn))
    assert f"trial-ledger projections {said}" in shown
    assert "projections approve" not in shown


def test_nothing_that_moves_a_cursor_reaches_the_terminal(conn: Conn) -> None:
    found = found_in(conn)
    odd = found.shown[0]._replace(after='"\x1b[2J\n"', path="site\r", key='["\x07"]')
    said = text.told(replace(found, shown=(odd,)))
    assert not set(said) & set("\x1b\r\x07")
    assert text.short("x" * 500).endswith("... (500 characters)")


def test_where_nothing_differs_there_is_nothing_to_look_at(conn: Conn) -> None:
    found = found_in(conn)
    counts = dict.fromkeys(found.counts, 0)
    same = replace(
        found, state="ready", shown=(), kept=0, report={**found.report, "counts": counts}, after=replace(found.before)
    )
    said = text.told(replace(same, after=replace(same.after, generation=2)))
    assert "version 1 (11111111) against version 1 (11111111, build 2)" in said
    assert "Nothing differs." in said
    assert "See every difference" not in said
    assert "projections switch invented" in said


# -- as files --------------------------------------------------------------------------------------------------


def test_the_csv_has_a_line_a_difference_and_runs_nothing_in_a_spreadsheet(conn: Conn) -> None:
    found = found_in(conn)
    rows = list(csv.DictReader(io.StringIO(b"".join(files.csv(found, comparison.all_of(conn, found))).decode())))
    assert len(rows) == found.total
    wrong = next(row for row in rows if row["intended"] == "false")
    assert (wrong["subject"], wrong["site"], wrong["before"], wrong["after"]) == (ANN, "S1", '"S1"', '"LAB"')
    new = next(row for row in rows if row["why"] == "new column")
    assert new["before"] == ""
    odd = found.shown[0]._replace(key="=1+1", path="@x", why="+2", before="-1")
    line = next(csv.DictReader(io.StringIO(b"".join(files.csv(found, [odd])).decode())))
    assert (line["key"], line["path"], line["why"], line["before"]) == ("'=1+1", "'@x", "'+2", "-1")


def test_the_json_has_the_report_its_digest_and_every_difference(conn: Conn) -> None:
    found = found_in(conn)
    told = json.loads(b"".join(files.document(found, comparison.all_of(conn, found))))
    assert told["report"] == found.report
    assert (told["report_digest"], told["state"], told["approval"]) == (found.digest, "awaiting approval", None)
    assert len(told["differences"]) == told["found"] == told["kept"] == found.total
    assert json.loads(b"".join(files.document(found, [])))["differences"] == []


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_and_runs_nothing_and_escapes_what_it_shows(conn: Conn) -> None:
    found = found_in(conn)
    evil = '<script>alert(1)</script>" onload="x'
    odd = found.shown[0]._replace(after=evil, path=evil, key=evil, table=evil, why=evil, expected=evil)
    page = comparison_page.html(replace(found, shown=(odd, *found.shown), name=evil))
    tags = Tags(page).found
    assert {tag for tag, _ in tags} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "table", "caption", "thead"),
        *("tbody", "tr", "th", "td", "code", "span", "strong", "ul", "li"),
    }
    assert not any(name.startswith("on") or name in ("src", "href", "style") for _, given in tags for name in given)
    assert "default-src &#x27;none&#x27;" in page
    for said in ("By column", "By site", "By subject", "By column", found.digest, found.report["root"], "unexplained"):
        assert said in page


# -- down to the events ----------------------------------------------------------------------------------------


def drilled(conn: Conn, subject: str = "P-01", **asked: Any) -> tuple[Compared, list[stories.Story]]:
    found = found_in(conn, subject=subject)
    return found, stories.stories(conn, found, **asked)


def lab(two: Book) -> int:
    return next(index for index, one in enumerate(two.statements) if one.event == "LabResultReported")


def test_a_differing_row_is_shown_in_both_versions_with_the_event_that_made_it_so(conn: Conn, two: Book) -> None:
    found, (story,) = drilled(conn, table="events", key=f"[{lab(two)}]")
    by_path = {one.path: one for one in story.differences}
    assert not by_path["site"].intended
    assert json.loads(story.before.row or "")["site"] == "S1"
    assert json.loads(story.after.row or "")["site"] == "LAB"
    assert story.before.because is not None and story.after.because is not None
    for half in (story.before, story.after):
        assert (half.because or {})["site"].index == lab(two)
        assert ((half.because or {})["site"].actor, (half.because or {})["site"].role) == ("chen", "laboratory")
        assert half.note is None
    said = text.drilled(found, [story])
    assert f"in version 2 since index {lab(two)} LabResultReported by chen (laboratory) at 2030-" in said
    assert "row in version 1: {" in said


def test_later_events_that_changed_the_row_are_steps_of_their_own(conn: Conn, two: Book) -> None:
    _, (story,) = drilled(conn, table="events", key=f"[{lab(two)}]")
    names = [step.event for step in story.after.steps]
    assert names == ["LabResultReported", "EntryVoided", "EntryVoided"]
    assert {change.path for change in story.after.steps[1].changes} >= {"record.void", "record.voids"}
    assert [step.recorded_at for step in story.after.steps] == sorted(step.recorded_at for step in story.after.steps)


def test_all_rows_of_a_subject_and_of_the_study_are_told(conn: Conn) -> None:
    found, rows = drilled(conn)
    assert {story.table for story in rows} == {"events", "lines"}
    assert all(one.partition == ANN for story in rows for one in story.differences)
    line = next(story for story in rows if story.table == "lines")
    assert (line.before.row is None, line.after.row) == (False, None)
    assert len(line.before.steps) > 5
    assert json.loads(json.dumps(files.told(found, rows)))["number"] == "P-01"
    assert "<h2>events <code>[" in comparison_page.drilled(found, rows)
    assert {story.table for story in drilled(conn, "study")[1]} == {"events", "lines"}
    assert "Nothing differs here" in text.drilled(found, drilled(conn, table="nothing")[1])


def test_a_row_that_its_events_do_not_make_is_called_so(database: Database, projector: Database, two: Book) -> None:
    with projector.connection() as conn:
        conn.execute(f"UPDATE {ONE.schema}.events SET site = 'S9' WHERE idx = %s", (lab(two),))
    with database.snapshot() as conn:
        found, (story,) = drilled(conn, table="events", key=f"[{lab(two)}]")
    assert (story.before.note, story.after.note) == (stories.NOT_MADE, None)
    assert "was altered" in text.drilled(found, [story])


def test_a_version_whose_code_is_gone_says_so(conn: Conn, two: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "model_with", lambda name, version, *rest: TWO if version == 2 else None)
    _, (story,) = drilled(conn, table="events", key=f"[{lab(two)}]")
    assert (story.before.note, story.before.row) == (stories.NO_CODE, None)
    assert story.after.row is not None


def test_a_version_whose_tables_are_gone_says_so(database: Database, projector: Database, two: Book) -> None:
    with projector.connection() as conn:
        conn.execute(f"DROP SCHEMA {ONE.schema} CASCADE")
    with database.snapshot() as conn:
        _, (story,) = drilled(conn, table="events", key=f"[{lab(two)}]")
    assert story.before.note == stories.NO_TABLES


def test_a_comparison_whose_tables_are_gone_still_has_its_counts(
    database: Database, projector: Database, two: Book
) -> None:
    with projector.connection() as conn:
        conn.execute(f"DROP SCHEMA {TWO.schema} CASCADE")
    with database.snapshot() as conn:
        found = found_in(conn)
        assert (found.kept, found.shown) == (0, ())
        said = text.told(found)
    assert "are kept: what concerned a redaction went with it" in said
    assert "1 UNEXPLAINED." in said


# -- refusals --------------------------------------------------------------------------------------------------


def test_nothing_of_a_subject_is_shown_while_a_redaction_is_not_taken_in(
    database: Database, projector: Database, two: Book
) -> None:
    redact(projector, database, two, lab(two), two.size + 1)
    with database.snapshot() as conn:
        with pytest.raises(RedactionAhead):
            drilled(conn)
        assert drilled(conn, BEN)[1]
        assert ANN not in {one.partition for one in comparison.all_of(conn, found_in(conn))}


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"study": "NO-STUDY"}, StudyNotKnown),
        ({"name": "patient"}, NothingCompared),
        ({"replay": "00000000-0000-4000-8000-000000000001"}, NothingCompared),
        ({"replay": "no uuid"}, NothingCompared),
        ({"subject": "P-9"}, SubjectNotFound),
        ({"subject": subject_id(9)}, SubjectNotFound),
        ({"subject": ""}, SubjectNotFound),
    ],
)
def test_what_is_not_there_is_refused(conn: Conn, asked: dict[str, str], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        compared(conn, **{"study": "TRIAL-1", "name": "invented", **asked})  # type: ignore[arg-type]


def test_a_number_that_two_subjects_have_is_refused(projector: Database, database: Database, book: Book) -> None:
    for subject in (1, 2):
        book.tell("SubjectScreened", subject, number="P-1", population="patient")
    book.sign()
    filled(projector, book)
    note(projector, book)
    with database.snapshot() as conn, pytest.raises(SubjectAmbiguous):
        found_in(conn, subject="P-1")
