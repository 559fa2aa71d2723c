"""The audit trail: every data point of every statement, with who, when, why, before and after."""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger.signing.encoding import unb64url
from ledger.signing.statement import disclosures_by_digest
from ledger.store.database import Database
from projections.audit_trail import view as audit
from projections.audit_trail.view import Filters
from projections.engine.errors import ReadingMalformed, RecordNotFound, SubjectNotFound
from projections.engine.rows import Asked
from tests.integration.projections.book import Book, ref, subject_id
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write

Follow = Callable[[], int]


def lines(read: Read, as_of: int | str | None = None, **given: Any) -> list[dict[str, Any]]:
    """Every line that these filters give."""
    with read("audit_trail", as_of=as_of) as reader:
        return list(audit.rows(reader, Filters(**given)))


@pytest.fixture
def trail(book: Book, follow: Follow) -> Book:
    """A course of a trial, followed."""
    write(book)
    follow()
    return book


def test_every_statement_is_in_the_trail_and_every_field_of_it(trail: Book, read: Read) -> None:
    found = lines(read)
    assert list(dict.fromkeys(line["index"] for line in found)) == list(range(trail.size))
    for index, statement in enumerate(trail.statements):
        fields = {line["field"].partition(".")[0] for line in found if line["index"] == index}
        if statement.event == "EntryCorrected":
            assert fields == {statement.claims["corrects"]["field"]}
        elif statement.event not in ("EntryVoided", "DecisionReversed", "Countersigned"):
            assert fields == {*statement.body, *statement.content} or fields == {""}


def test_the_initial_entry_is_in_the_trail_with_blanks_and_what_was_not_done(trail: Book, read: Read) -> None:
    screened = lines(read, event="SubjectScreened", subject="P-2")
    assert {(line["field"], line["previous_value"], line["new_value"]) for line in screened} == {
        ("number", None, "P-2"),
        ("population", None, "patient"),
        ("sex", None, "male"),
        ("comment", None, None),
    }
    missed = lines(read, event="MedicationRecorded", field="status")
    assert [(line["new_value"], line["sentence"].count("not done")) for line in missed] == [("not done", 1)]


def test_a_correction_has_the_value_before_and_after_and_why(trail: Book, read: Read) -> None:
    found = lines(read, event="EntryCorrected", field="birth_date")
    assert [(line["previous_value"], line["new_value"], line["reason"]) for line in found] == [
        ("1990-03-04", "1990-04-03", "day and month exchanged"),
        ("1990-04-03", None, "not known after all"),
        (None, "1991", "found on the card"),
    ]
    first = next(line for line in lines(read, event="SubjectScreened") if line["field"] == "birth_date")
    assert first["new_value"] == "1990-03-04", "the first entry stays what it was"
    assert {line["target_index"] for line in found} == {first["index"]}


def test_a_field_that_was_absent_at_first_is_no_initial_entry(book: Book, follow: Follow, read: Read) -> None:
    one = book.tell("SubjectScreened", 1, number="P-1")
    book.correct(one, "sex", "female", "was left out")
    blank = book.tell("SubjectScreened", 2, number="P-2", sex=None)
    book.correct(blank, "sex", "male", "was left blank")
    book.sign()
    follow()
    initial = [(line["subject_number"], line["field"]) for line in lines(read, event="SubjectScreened")]
    assert initial == [("P-1", "number"), ("P-2", "number"), ("P-2", "sex")]
    assert [line["previous_value"] for line in lines(read, event="EntryCorrected")] == [None, None]


def test_voids_reversals_and_second_signatures_set_the_standing(trail: Book, read: Read) -> None:
    found = lines(read, field="standing")
    assert [(line["event"], line["previous_value"], line["new_value"]) for line in found] == [
        ("EntryVoided", "stands", "void"),
        ("EntryVoided", "stands", "void"),
        ("Countersigned", "waits for a second signature", "stands"),
        ("DecisionReversed", "stands", "reversed"),
    ]
    assert [line["target_event"] for line in found] == [
        "LabResultReported",
        "EntryVoided",
        "EntryCorrected",
        "SubjectEnrolled",
    ]


def test_what_waits_for_a_second_signature_says_so_until_it_has_one(trail: Book, read: Read) -> None:
    signed = next(i for i, s in enumerate(trail.statements) if s.event == "Countersigned")
    waits = next(i for i, s in enumerate(trail.statements) if s.event == "EntryCorrected" and s.iss == "dm")
    for size, pending, before in ((waits + 1, True, None), (signed, True, None), (signed + 1, False, "male")):
        (line,) = lines(read, as_of=size, event="EntryCorrected", actor="dm")
        assert (line["pending"], line["previous_value"], line["new_value"]) == (pending, before, "female")


def test_role_and_organisation_are_those_held_then(book: Book, follow: Follow, read: Read) -> None:
    grant = {"role": "investigator", "sites": ["S1"], "organisation": "Old clinic"}
    book.tell(
        "ActorEnrolled", "actor/chen", "reg", "registrar", None, {"actor_kind": "person", "organisation": "Agency"}
    )
    before = book.tell("SubjectScreened", 1, number="P-1")
    first = book.tell("DelegationGranted", "actor/chen", "reg", "registrar", None, grant)
    book.tell("ConsentDeclined", 1)
    book.tell("DelegationEnded", "actor/chen", "reg", "registrar", None, {"delegation": first.jti}, reason="moved")
    book.tell("DelegationGranted", "actor/chen", "reg", "registrar", None, {**grant, "organisation": "New clinic"})
    book.tell("ConsentDeclined", 1)
    book.sign()
    follow()
    held = [line["organisation"] for line in lines(read, subject="P-1")]
    assert held == ["Agency", "Old clinic", "New clinic"]
    assert before.iss == "chen"
    assert [line["organisation"] for line in lines(read, as_of=4, subject="P-1")] == ["Agency"]


def test_the_number_shown_is_the_one_known_at_the_size_that_is_read(trail: Book, read: Read) -> None:
    corrected = next(
        i for i, s in enumerate(trail.statements) if s.event == "EntryCorrected" and s.content["value"] == "P-01"
    )
    with read("audit_trail", as_of=corrected) as reader:
        early = audit.page(reader, Filters(subject=subject_id(1)))
    assert {line["subject_number"] for line in early["rows"]} == {"P-1"}
    assert {line["subject_number"] for line in lines(read, subject=subject_id(1))} == {"P-01"}


@pytest.mark.parametrize("size", [1, 4, 9, 13, 20])
def test_as_of_a_size_is_the_trail_up_to_it(trail: Book, read: Read, size: int) -> None:
    early = lines(read, as_of=size)
    assert [line["index"] for line in early] == [line["index"] for line in lines(read) if line["index"] < size]


def test_filters_keep_what_they_name_and_nothing_else(trail: Book, read: Read) -> None:
    everything = lines(read)

    def indexes(**given: Any) -> list[int]:
        return list(dict.fromkeys(line["index"] for line in lines(read, **given)))

    def where(test: Callable[[dict[str, Any]], bool]) -> list[int]:
        return list(dict.fromkeys(line["index"] for line in everything if test(line)))

    assert indexes(subject="P-01") == where(lambda line: line["sub"].endswith(subject_id(1)))
    assert indexes(site="S1") == where(lambda line: line["site"] == "S1")
    assert indexes(actor="mon") == where(lambda line: line["actor"] == "mon") != []
    assert indexes(role="coordinator") == where(lambda line: line["role"] == "coordinator") != []
    assert indexes(event="QueryOpened") == where(lambda line: line["event"] == "QueryOpened") != []
    assert indexes(reason="MISTAKE") == []
    assert indexes(reason="ANOTHER") == where(lambda line: "another" in (line["reason"] or "")) != []
    assert indexes(field="number") == where(lambda line: line["field"] == "number") != []
    assert indexes(since="4", until="6") == [4, 5, 6]
    assert indexes(since="2030-01-02") == []
    assert indexes(until="2029-12-31") == []
    assert indexes(since=trail.rows[5].recorded_at, until=trail.rows[7].recorded_at) == [5, 6, 7]
    assert indexes(subject="P-2", event="EntryCorrected", role="data-manager") == where(
        lambda line: line["role"] == "data-manager"
    )


def test_a_wildcard_in_a_reason_is_a_character(trail: Book, read: Read) -> None:
    assert lines(read, reason="%") == []
    assert lines(read, reason="_") == []


def test_what_was_recorded_late_is_marked_and_found(book: Book, follow: Follow, read: Read) -> None:
    book.tell("VisitRecorded", 1, occurred_at="2029-12-20T10:00:00Z")
    book.tell("VisitRecorded", 1, occurred_at="2029-12-30T10:00:00Z")
    book.tell("VisitRecorded", 1, occurred_at="2029-12-31", late_reason="system was down")
    book.tell("VisitRecorded", 1, claims={"mode": "transcribed"}, occurred_at="2010-01-01")
    book.tell("HistoryRecorded", 1, term="asthma", onset_date="2001")
    book.tell("VisitRecorded", 1, occurred_at="2029-12")
    book.sign()
    follow()
    assert sorted({line["index"] for line in lines(read, late=True)}) == [1, 3]
    assert {line["index"] for line in lines(read, late=False)} == {0, 2, 4, 5, 6}


@pytest.mark.parametrize("sort", ["index", "-index", "site", "-actor", "event", "role", "-subject"])
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_join_up_to_the_whole_trail_in_any_order(trail: Book, read: Read, sort: str, limit: int) -> None:
    found: list[dict[str, Any]] = []
    with read("audit_trail") as reader:
        cursor, pages = None, 0
        while True:
            page = audit.page(reader, Filters(sort=sort), cursor, limit)
            assert 0 < len(page["rows"]) <= limit
            found += page["rows"]
            cursor, pages = page["next"], pages + 1
            if cursor is None:
                break
        assert found == list(audit.rows(reader, Filters(sort=sort)))
        assert sorted(map(str, found)) == sorted(map(str, audit.rows(reader, Filters())))


def test_a_page_of_one_field_joins_up_too(trail: Book, read: Read) -> None:
    with read("audit_trail") as reader:
        found, cursor = [], None
        while True:
            page = audit.page(reader, Filters(field="value"), cursor, 1)
            found += page["rows"]
            cursor = page["next"]
            if cursor is None:
                break
        assert found == list(audit.rows(reader, Filters(field="value")))


@pytest.mark.parametrize("cursor", ["", "x", "bm9uc2Vuc2U", "W10", "WyJpbmRleCIsWzFdXQ", "é"])
def test_a_cursor_that_nobody_handed_out_is_refused(trail: Book, read: Read, cursor: str) -> None:
    with read("audit_trail") as reader, pytest.raises(ReadingMalformed):
        audit.page(reader, Filters(), cursor)


def test_a_cursor_of_another_order_is_refused(trail: Book, read: Read) -> None:
    with read("audit_trail") as reader:
        page = audit.page(reader, Filters(), None, 1)
        with pytest.raises(ReadingMalformed):
            audit.page(reader, Filters(sort="site"), page["next"])


@pytest.mark.parametrize(
    "given", [{"sort": "recorded"}, {"sort": "idx; DROP TABLE"}, {"since": "noon"}, {"until": "2030-01-01T08:00"}]
)
def test_a_filter_that_means_nothing_is_refused(trail: Book, read: Read, given: dict[str, str]) -> None:
    with read("audit_trail") as reader, pytest.raises(ReadingMalformed):
        audit.page(reader, Filters(**given))


def test_a_subject_number_that_nobody_has_is_not_found(trail: Book, read: Read) -> None:
    with read("audit_trail") as reader, pytest.raises(SubjectNotFound):
        audit.page(reader, Filters(subject="P-999"))


def test_filters_are_values_and_never_sql(trail: Book, read: Read) -> None:
    for name in ("site", "actor", "role", "field", "reason"):
        assert lines(read, **{name: "' OR 1=1 --"}) == []
    with pytest.raises(ReadingMalformed, match="none of: StudyOpened, "):
        lines(read, event="' OR 1=1 --")


def test_the_history_of_a_value_is_the_entry_and_every_act_on_it(trail: Book, read: Read) -> None:
    index = next(i for i, s in enumerate(trail.statements) if s.event == "SubjectScreened")
    with read("audit_trail") as reader:
        one = audit.history(reader, index, "birth_date")["rows"]
        everything = audit.history(reader, index)["rows"]
    assert [line["new_value"] for line in one] == ["1990-03-04", "1990-04-03", None, "1991"]
    assert {line["event"] for line in everything} == {"SubjectScreened", "EntryCorrected"}


def test_one_statement_is_found_by_its_index_up_to_the_size(trail: Book, read: Read) -> None:
    with read("audit_trail") as reader:
        assert {line["index"] for line in audit.event(reader, 3)["rows"]} == {3}
        with pytest.raises(RecordNotFound):
            audit.event(reader, trail.size)
    with read("audit_trail", as_of=3) as reader, pytest.raises(RecordNotFound):
        audit.event(reader, 3)


def test_a_file_has_every_line_and_computes_nothing_in_a_spreadsheet(book: Book, follow: Follow, read: Read) -> None:
    book.tell("SubjectScreened", 1, number="P-1", comment='=HYPERLINK("http://x")\nsecond line')
    book.tell("AssessmentRecorded", 1, instrument="lab", items={"change": "-12.5", "note": "-later", "n": 3})
    book.sign()
    follow()
    with read("audit_trail") as reader:
        text = b"".join(audit.csv(reader, Filters())).decode()
        objects = [json.loads(line) for line in b"".join(audit.ndjson(reader, Filters())).splitlines()]
        everything = list(audit.rows(reader, Filters()))
    table = list(csv_format.DictReader(io.StringIO(text)))
    assert len(table) == len(objects) == len(everything)
    assert objects == everything
    assert list(table[0]) == list(audit.COLUMNS) == list(dict.fromkeys(audit.COLUMNS, 0))
    values = {row["field"]: row["new_value"] for row in table}
    assert values["comment"] == '\'=HYPERLINK("http://x")\nsecond line'
    assert (values["items.change"], values["items.note"]) == ("-12.5", "'-later")


def test_fields_that_were_redacted_are_gone_and_the_line_says_so(
    book: Book, follow: Follow, read: Read, database: Database
) -> None:
    one = book.tell("SubjectScreened", 1, number="P-1", comment="her name is Ada")
    book.sign()
    follow()
    (digest,) = [digest for digest, name in disclosures_by_digest(one.disclosures).items() if name == "comment"]
    named = {**ref(one), "disclosures": [digest], "fields": ["comment"]}
    order = {"records": [named], "legal_basis": "GDPR 17"}
    act = book.tell("FieldsRedacted", 1, "dpo", "privacy", body=order, reason="name by mistake")
    book.sign()
    kept = [d for d in one.disclosures if "comment" not in _decoded(d)]
    with database.connection() as conn:
        conn.execute("SELECT ledger.redact(%s, %s, %s)", ["TRIAL-1", 1, kept])
    book.countersign(act, iss="chen", role="investigator")
    book.sign()
    follow()
    found = [line for line in lines(read, subject="P-1") if line["index"] == 1]
    fields = [(line["field"], line["new_value"], line["redacted"], line["redacted_at"]) for line in found]
    assert fields == [("comment", None, True, 3), ("number", "P-1", False, None)]
    ordered = [line for line in lines(read, subject="P-1") if line["index"] == 2]
    assert [line["field"] for line in ordered] == ["comment", "legal_basis", "reason"]
    assert ordered[0]["new_value"] == "redacted in SubjectScreened at index 1"
    assert "1 of its fields are redacted" in found[0]["sentence"]
    assert not any("Ada" in str(line) for line in lines(read))
    with read("patient") as reader:
        assert not any("Ada" in row.record for row in reader.rows.select("records", Asked()))
    with read("patient", as_of=2) as reader:
        assert not any("Ada" in row.record for row in reader.rows.select("records", Asked()))


def _decoded(disclosure: str) -> str:
    return unb64url(disclosure, "a disclosure").decode()
