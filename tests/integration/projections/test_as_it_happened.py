"""As it happened: what had occurred by a moment, whenever it was recorded; beside it, as it was known then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from projections.audit_trail import view as audit_trail
from projections.definitions import DEFINITIONS
from projections.engine.errors import (
    NotHappenedYet,
    ProjectionBehind,
    ReadingMalformed,
    SubjectNotFound,
)
from projections.engine.reading import Reader
from projections.engine.rows import Asked
from projections.patient import view as patient
from projections.patient.view import load
from tests.integration.projections.book import Book, ref, subject_id
from tests.integration.projections.conftest import Read
from tests.integration.projections.course import write
from tests.integration.projections.test_reading import shown

ONE = subject_id(1)


@pytest.fixture
def told(book: Book) -> Book:
    """A site in Shanghai, and one subject who was screened there on 2 January."""
    book.tell("SiteActivated", "site/S1", "spo", "sponsor", "S1", {"time_zone": "Asia/Shanghai"}, name="First site")
    book.tell("SubjectScreened", 1, number="P-1", population="patient", occurred_at="2029-01-02T09:00:00+08:00")
    return book


def events(reader: Reader, subject: str = ONE) -> list[str]:
    """The facts of a subject, as far as they are in."""
    return [record.event for record in load(reader, subject).records]


def results(reader: Reader) -> list[str]:
    """The analytes whose results are in."""
    return [one.get("analyte") for one in load(reader, ONE).records.by_event.get("LabResultReported", ())]


Follow = Callable[[], int]


def test_a_backdated_fact_is_in_as_it_happened_and_not_in_as_it_was_known(
    told: Book, follow: Follow, read: Read
) -> None:
    told.now = told.now.replace(year=2030, month=3)
    told.sign()
    size = told.size
    told.tell("LabResultReported", 1, analyte="platelets", value="12", occurred_at="2029-01-05")
    told.sign()
    follow()
    with read("patient", occurred_by="2029-02-01") as reader:
        assert results(reader) == ["platelets"]
        assert reader.cut()["occurred_by"] == "2029-02-01"
    with read("patient", as_of=size) as reader:
        assert results(reader) == []
    with read("patient", as_of=size, occurred_by="2029-02-01") as reader:
        assert results(reader) == []
    with read("patient", occurred_by="2029-01-04") as reader:
        assert results(reader) == []


def test_a_corrected_time_counts_as_corrected_however_late_it_was_corrected(
    told: Book, follow: Follow, read: Read
) -> None:
    result = told.tell("LabResultReported", 1, analyte="platelets", value="12", occurred_at="2029-01-05")
    told.sign()
    before = told.size
    told.correct(result, "occurred_at", "2029-03-05", "month misread")
    told.sign()
    follow()
    with read("patient", occurred_by="2029-02-01") as reader:
        assert results(reader) == []
        assert "EntryCorrected" not in events(reader), "an act on what is left out is left out"
    with read("patient", as_of=before, occurred_by="2029-02-01") as reader:
        assert results(reader) == ["platelets"]
    with read("patient", occurred_by="2029-03-05") as reader:
        assert results(reader) == ["platelets"]
        assert "EntryCorrected" in events(reader)


def test_a_corrected_value_is_shown_as_corrected_and_a_voided_record_as_void(
    told: Book, follow: Follow, read: Read
) -> None:
    one = told.tell("LabResultReported", 1, analyte="platelets", value="12", occurred_at="2029-01-05")
    two = told.tell("LabResultReported", 1, analyte="ferritin", value="7", occurred_at="2029-01-05")
    told.correct(one, "value", "21")
    told.void(two)
    told.sign()
    follow()
    with read("patient", occurred_by="2029-01-05") as reader:
        found = {record.get("analyte"): record for record in load(reader, ONE).records.by_event["LabResultReported"]}
    assert found["platelets"].get("value") == "21"
    assert found["ferritin"].void


@pytest.mark.parametrize(
    ("stated", "sure", "uncertain"),
    [
        ("2029-01", "2029-01-31", "2029-01-15"),
        ("2029", "2029-12-31", "2029-06-01"),
        ("2029-01-05T10:30", "2029-01-05T02:31:00+00:00", "2029-01-05T02:30:20+00:00"),
        (None, "2030-01-02", "2029-12-31"),
    ],
)
def test_what_may_have_occurred_is_left_out_and_counted(
    told: Book, follow: Follow, read: Read, stated: str | None, sure: str, uncertain: str
) -> None:
    given = {} if stated is None else {"occurred_at": stated}
    told.tell("LabResultReported", 1, analyte="platelets", value="12", **given)
    told.now = told.now.replace(month=2)
    told.tell("VisitRecorded", 1, name="the last", occurred_at="2030-02-01")
    told.sign()
    follow()
    with read("patient", occurred_by=sure) as reader:
        assert results(reader) == ["platelets"]
        assert reader.cut()["uncertain"] == 0
    with read("patient", occurred_by=uncertain) as reader:
        assert results(reader) == []
        assert reader.cut()["uncertain"] == 1


def test_a_day_ends_where_things_happened_and_a_time_is_one_moment_everywhere(
    told: Book, follow: Follow, read: Read
) -> None:
    told.tell("LabResultReported", 1, analyte="evening", value="1", occurred_at="2029-01-05T23:30:00+08:00")
    told.tell("LabResultReported", 1, analyte="night", value="1", occurred_at="2029-01-05T17:30:00Z")
    told.tell("LabResultReported", 1, analyte="as written", value="1", occurred_at="2029-01-05T23:30")
    told.sign()
    follow()
    with read("patient", occurred_by="2029-01-05") as reader:
        assert results(reader) == ["evening", "as written"], "17:30 UTC is the next day in Shanghai"
    with read("patient", occurred_by="2029-01-05T15:30:00+00:00") as reader:
        assert results(reader) == ["evening"]
        assert reader.cut()["uncertain"] == 1, "a minute is not one moment"


def test_decisions_occurred_when_they_were_recorded_and_transcribed_ones_as_they_declare(
    told: Book, follow: Follow, read: Read
) -> None:
    told.tell("EligibilityDecided", 1, claims={"mode": "transcribed"}, eligible=True, occurred_at="2029-01-10")
    told.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="LOW")
    told.sign()
    follow()
    with read("patient", occurred_by="2029-06-01") as reader:
        assert events(reader) == ["SubjectScreened", "EligibilityDecided"]
        assert list(reader.seats) == []
    with read("cohort", occurred_by="2030-01-01") as reader:
        assert list(reader.seats) == [f"subject/{ONE}"]


def test_a_decision_stood_until_it_was_reversed_and_waited_until_it_was_countersigned(
    told: Book, follow: Follow, read: Read
) -> None:
    enrolled = told.tell("SubjectEnrolled", 1, claims={"meaning": "approval"}, cohort="LOW")
    frozen = told.tell("RecordsFrozen", 1, "dm", "data-manager", claims={"meaning": "approval"}, reason="to be cleaned")
    before = told.now.isoformat()
    told.reverse(enrolled)
    told.countersign(frozen)
    told.sign()
    follow()
    with read("patient", occurred_by=before) as reader:
        found = load(reader, ONE).records
        assert found.last("SubjectEnrolled") is not None
        assert found.by_event["RecordsFrozen"][0].pending
        assert list(reader.seats) == [f"subject/{ONE}"]
    with read("patient", occurred_by=told.now.isoformat()) as reader:
        found = load(reader, ONE).records
        assert found.last("SubjectEnrolled") is None
        assert not found.by_event["RecordsFrozen"][0].pending
        assert list(reader.seats) == []


def test_a_correction_that_waits_for_a_second_signature_is_no_more_known_than_otherwise(
    told: Book, follow: Follow, read: Read
) -> None:
    result = told.tell("LabResultReported", 1, analyte="platelets", value="12", occurred_at="2029-01-05")
    waiting = told.correct(result, "occurred_at", "2029-05-05", iss="dm", role="data-manager")
    told.sign()
    size = told.size
    told.countersign(waiting, iss="chen", role="investigator")
    told.sign()
    follow()
    with read("patient", as_of=size, occurred_by="2029-02-01") as reader:
        assert results(reader) == ["platelets"]
    with read("patient", occurred_by="2029-02-01") as reader:
        assert results(reader) == []


def test_rules_for_reading_are_not_cut_and_what_happened_to_the_study_is(
    told: Book, follow: Follow, read: Read
) -> None:
    told.tell("ProductUnitRegistered", "product/U1", occurred_at="2029-03-01", unit="U1")
    told.tell("StudyHeld", iss="spo", role="sponsor", site=None, reason="a doubt")
    told.sign()
    follow()
    with read("patient", occurred_by="2029-02-01") as reader:
        there = {record.event for record in reader.study.records}
    assert there == {"StudyOpened", "SiteActivated"}
    with read("patient", occurred_by="2029-03-01") as reader:
        assert "ProductUnitRegistered" in reader.study.records.by_event
        assert "StudyHeld" not in reader.study.records.by_event


def test_an_end_that_had_not_come_is_not_known_yet(told: Book, follow: Follow, read: Read) -> None:
    told.tell(
        "AdverseEventReported",
        1,
        term="Fever",
        started_at="2029-01-05",
        ended_at="2029-01-09",
        outcome="recovered",
    )
    told.sign()
    follow()
    with read("safety", occurred_by="2029-01-07") as reader:
        (row,) = [row for row in reader.rows.select("records", Asked()) if row.event == "AdverseEventReported"]
        assert "recovered" not in row.record and "ended_at" not in row.record
    with read("safety", occurred_by="2029-01-09") as reader:
        (row,) = [row for row in reader.rows.select("records", Asked()) if row.event == "AdverseEventReported"]
        assert "recovered" in row.record


def test_a_transferred_subject_is_as_it_was_on_that_day(book: Book, follow: Follow, read: Read) -> None:
    transcribed = {"mode": "transcribed"}
    book.tell(
        "SubjectScreened",
        1,
        claims=transcribed,
        number="P-1",
        population="patient",
        reference_started_at="2013-05-01",
        died=True,
        died_at="2013-09-01",
    )
    book.tell("HistoryRecorded", 1, claims=transcribed, term="Asthma", onset_date="1995")
    book.tell("LabResultReported", 1, claims=transcribed, analyte="a", value="1", occurred_at="2013-05-03")
    book.tell("LabResultReported", 1, claims=transcribed, analyte="b", value="1", occurred_at="2013-07-03")
    book.sign()
    follow()
    with read("patient", occurred_by="2013-06-01") as reader:
        (line,) = patient.subjects(reader)["subjects"]
        assert (line["number"], line["status"], results(reader)) == ("P-1", "screened", ["a"])
    with read("patient", occurred_by="2013-09-01") as reader:
        assert patient.subjects(reader)["subjects"][0]["status"] == "died"
    with read("patient", occurred_by="1996-01-01") as reader:
        assert patient.subjects(reader)["subjects"] == [], "a history alone is nobody's part in a trial"
        with pytest.raises(SubjectNotFound):
            load(reader, ONE)


def test_the_audit_trail_keeps_the_lines_of_what_had_happened(told: Book, follow: Follow, read: Read) -> None:
    early = told.tell("LabResultReported", 1, analyte="early", value="1", occurred_at="2029-01-05")
    late = told.tell("LabResultReported", 1, analyte="late", value="1", occurred_at="2029-05-05")
    moved = told.tell("LabResultReported", 1, analyte="moved", value="1", occurred_at="2029-05-05")
    unknown = told.tell("LabResultReported", 1, analyte="unknown", value="1", occurred_at="2029")
    told.correct(early, "value", "2")
    told.correct(late, "value", "2")
    told.correct(moved, "occurred_at", "2029-01-06")
    told.void(told.tell("LabResultReported", 1, analyte="void", value="1", occurred_at="2029-01-07"))
    told.sign()
    follow()
    place = {told.statements.index(one) for one in (early, moved)}
    with read("audit_trail", occurred_by="2029-02-01") as reader:
        found = audit_trail.page(reader, audit_trail.Filters(event="LabResultReported"), limit=1_000)
        assert {line["index"] for line in found["rows"]} == place | {told.size - 2}
        assert found["cut"]["uncertain"] == 1
        everything = audit_trail.page(reader, audit_trail.Filters(), limit=1_000)["rows"]
        streamed = [line["index"] for line in audit_trail.rows(reader, audit_trail.Filters())]
        assert streamed == [line["index"] for line in everything]
        assert {line["target_index"] for line in everything if line["event"] == "EntryCorrected"} == place
        pages, cursor = [], None
        while True:
            page = audit_trail.page(reader, audit_trail.Filters(), cursor, limit=2)
            pages += [line["index"] for line in page["rows"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert pages == streamed
    assert unknown.jti


def test_where_everything_was_recorded_as_it_happened_both_senses_agree(book: Book, follow: Follow, read: Read) -> None:
    book.tell("SiteActivated", "site/S1", "spo", "sponsor", "S1", {"time_zone": "Asia/Shanghai"}, name="First site")
    for number in (1, 2):
        for event, given in (
            ("SubjectScreened", {"number": f"P-{number}", "population": "patient"}),
            ("ConsentGiven", {"document_id": "ICF", "version": "1", "language": "zh"}),
            ("SubjectEnrolled", {"claims": {"meaning": "approval"}, "cohort": "LOW"}),
            ("LabResultReported", {"analyte": "platelets", "value": "5"}),
            ("InfusionGiven", {"number": 1, "product": f"U{number}"}),
        ):
            now = {} if event == "SubjectEnrolled" else {"occurred_at": book.now.isoformat()}
            book.tell(event, number, **given, **now)  # type: ignore[arg-type]
    asked = book.tell("QueryOpened", 2, "mon", "monitor", body={"record": ref(book.statements[3])}, question="why?")
    book.tell("QueryAnswered", 2, "chen", "coordinator", claims={"answers": ref(asked)}, answer="as on the form")
    book.sign()
    follow()
    for definition in DEFINITIONS:
        if definition.temporal:
            continue
        for row in book.rows[1:]:
            with (
                read(definition.name, as_of=row.idx + 1) as known,
                read(definition.name, occurred_by=row.recorded_at) as happened,
            ):
                assert shown(known, definition) == shown(happened, definition)
                assert list(known.seats) == list(happened.seats)


def test_the_end_of_everything_is_what_is_shown_live(book: Book, follow: Follow, read: Read) -> None:
    write(book)
    book.now = book.now.replace(month=2)
    book.tell("VisitRecorded", 1, name="the last", occurred_at="2030-02-01")
    book.sign()
    follow()
    for definition in DEFINITIONS:
        with read(definition.name) as live, read(definition.name, occurred_by=book.now.isoformat()) as happened:
            assert shown(live, definition) == shown(happened, definition)
            assert "occurred_by" not in live.cut() and happened.cut()["uncertain"] == 0


@pytest.mark.parametrize(
    "given",
    ["", "7", "2029", "2029-13-01", "2029-01", "2029-01-05T10:00", "2029-01-05T10:00:00", "yesterday", "2029-02-30"],
)
def test_a_moment_that_cannot_be_read_is_refused(told: Book, follow: Follow, read: Read, given: str) -> None:
    told.sign()
    follow()
    with pytest.raises(ReadingMalformed) as refused, read("patient", occurred_by=given):
        pass
    assert "occurred_by" in refused.value.because


def test_what_lies_after_the_reading_is_refused(told: Book, follow: Follow, read: Read) -> None:
    told.sign()
    follow()
    last = told.now
    with read("patient", occurred_by=last.date().isoformat()), read("patient", occurred_by=last.isoformat()):
        pass
    for beyond in ("2030-01-03", "2030-01-02T00:00:00+00:00", "9999-12-31"):
        with pytest.raises(NotHappenedYet), read("patient", occurred_by=beyond):
            pass
    with pytest.raises(NotHappenedYet), read("patient", as_of="2029-12-01T00:00:00Z", occurred_by="2029-12-02"):
        pass
    with pytest.raises(NotHappenedYet), read("patient", as_of="2031-01-01", occurred_by="2030-06-01"):
        pass  # nothing is known of that day, however late the reading says that it is
    with pytest.raises(NotHappenedYet), read("patient", as_of=1, occurred_by=last.isoformat()):
        pass
    with read("patient", as_of=1, occurred_by=told.rows[1].recorded_at):
        pass


def test_a_reading_that_is_behind_says_so_in_either_sense(told: Book, read: Read) -> None:
    told.sign()
    with pytest.raises(ProjectionBehind), read("patient", occurred_by="2029-02-01"):
        pass
