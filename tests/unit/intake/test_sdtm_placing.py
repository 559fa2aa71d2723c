"""A row becomes one statement that the ledger can take, or is told apart with the reason; files can be anything."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from api.intake.errors import UnreadableInput
from api.intake.opening import IMPORTS
from api.intake.sdtm.placing import Chunk, Placer, Sealed, Work, sealed
from api.intake.sdtm.protocol import build
from api.intake.sdtm.survey import survey
from api.intake.sealing import event_id
from ledger.domain.catalogue import CATALOGUE
from ledger.protocol import load
from ledger.signing.keys import SigningKey
from ledger.signing.statement import parse, verify
from tests.unit.intake.transport_files import DM, Cell, event, lab, small_study, write, xport

KEY = SigningKey.from_seed(bytes(32))


def work(folder: Path) -> Work:
    found = survey(folder, "S-1")
    return Work(
        "S-1",
        "ledger.example/study/S-1",
        KEY.to_pem(),
        tuple(found.sources),
        found.people,
        found.misplaced,
        found.study_id,
    )


def every_row(folder: Path) -> list[tuple[str, Sealed]]:
    """All rows of a folder, with their data set."""
    job = work(folder)
    placer = Placer(job)
    return [
        (source.data.identifier, row)
        for number, source in enumerate(job.sources)
        if source.data.rows
        for row in placer.seal(Chunk(number, 0, tuple(range(1, source.data.rows + 1))))
    ]


def labs(folder: Path, *rows: dict[str, Cell]) -> list[Sealed]:
    write(folder, {"dm.xpt": xport("DM", DM), "lb.xpt": xport("LB", list(rows))})
    return [row for name, row in every_row(folder) if name == "lb.xpt"]


def test_every_row_of_a_sound_study_becomes_a_statement_of_its_event(tmp_path: Path) -> None:
    events = []
    for name, row in every_row(write(tmp_path, small_study())):
        assert row.text is not None, row.reason
        statement = parse(row.text)
        verify(statement, KEY.public)
        CATALOGUE.check_form(statement)
        events.append(statement.event)
        assert (statement.iss, statement.role, statement.mode) == ("sdtm-import", "system", "transcribed")
        assert statement.content["source"] == {
            "kind": "SDTM",
            "identifier": name,
            "line": row.line,
            "digest": row.digest,
            "interface_version": "sdtm-import/1",
        }
    assert events == ["SubjectScreened"] * 3 + [
        "DispositionRecorded",
        "TreatmentAdministered",
        *["LabResultReported"] * 3,
        "AdverseEventReported",
    ]


def test_the_event_id_derives_from_study_file_domain_and_row(tmp_path: Path) -> None:
    write(tmp_path, small_study())
    job = work(tmp_path)
    source = job.sources[3]
    assert job.jti(source, 2) == event_id(IMPORTS, f"S-1/{source.data.digest}/LB/2")
    assert job.jti(source, 2) != job.jti(job.sources[4], 2)


def test_a_row_is_recorded_at_the_site_and_under_the_subject_that_dm_names(tmp_path: Path) -> None:
    (row,) = labs(tmp_path, lab(USUBJID="01-702-1028"))
    assert row.text is not None
    statement = parse(row.text)
    assert statement.site == "702"
    assert statement.sub == work(tmp_path).people["01-702-1028"].sub
    assert statement.content["as_transferred"]["USUBJID"] == "01-702-1028"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (lab(USUBJID=""), "USUBJID is blank"),
        (lab(USUBJID="01-999-0001"), "not in DM"),
        (lab(STUDYID="S-2"), "study S-2"),
        (lab(DOMAIN="VS"), "domain VS"),
        (lab(LBORRES=b"1\x002"), "NUL"),
        (lab(LBTESTCD="", LBTEST=""), "analyte"),
        (lab(**{f"X{number}": "x" for number in range(120)}), "as_transferred"),
    ],
)
def test_a_row_that_has_no_place_is_given_back_with_reason_and_cells(
    tmp_path: Path, row: dict[str, Cell], says: str
) -> None:
    good, bad = labs(tmp_path, lab(LBSEQ=1), row)
    assert good.text is not None and good.reason is None
    assert bad.text is None and bad.cells is not None
    assert bad.reason is not None and says in bad.reason


def test_a_row_of_dm_that_makes_no_subject_is_given_back_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, {"dm.xpt": xport("DM", [DM[0], DM[0] | {"SEX": "M"}])})
    (_, first), (_, second) = every_row(tmp_path)
    assert first.text is not None
    assert second.reason is not None and "row 1" in second.reason


def test_a_row_too_long_for_a_statement_is_given_back(tmp_path: Path) -> None:
    wide = lab(**{f"LONG{number}": "x" * 9_000 for number in range(40)})
    files = {"dm.xpt": xport("DM", DM), "lb.xpt": xport("LB", [wide], version=8)}
    *_, (_, row) = every_row(write(tmp_path, files))
    assert row.reason is not None and "longer" in row.reason


def test_rows_sealed_in_a_process_beside_come_in_order_and_are_the_same_events(tmp_path: Path) -> None:
    rows = [lab(LBSEQ=number, LBORRES=str(number)) for number in range(1, 41)]
    write(tmp_path, {"dm.xpt": xport("DM", DM), "lb.xpt": xport("LB", rows)})
    job = work(tmp_path)
    chunks = [Chunk(1, first, tuple(range(first + 1, first + 8, 2))) for first in range(0, 40, 8)]
    beside, here = list(sealed(chunks, job, True)), list(sealed(chunks, job, False))
    assert [chunk for chunk, _ in beside] == chunks

    def told(found: list[tuple[Chunk, list[Sealed]]]) -> list[tuple[int, str, object]]:
        return [(row.line, row.jti, parse(row.text or "").content) for _, rows in found for row in rows]

    assert told(beside) == told(here)
    assert [line for line, _, _ in told(here)] == list(range(1, 41, 2))


def test_a_file_that_is_lost_while_rows_are_sealed_beside_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"dm.xpt": xport("DM", DM)})
    job = work(tmp_path)
    (tmp_path / "dm.xpt").unlink()
    with pytest.raises(UnreadableInput, match=r"dm\.xpt"):
        list(sealed([Chunk(0, 0, (1, 2, 3))], job, True))


def test_no_spoiled_file_does_more_than_be_refused_or_lose_rows_to_quarantine(tmp_path: Path) -> None:
    """Bytes changed anywhere: the file is refused by name, or every row is a statement or has a reason."""
    chance = random.Random(20141)
    files = small_study()
    refused = 0
    for turn in range(120):
        name = chance.choice(sorted(files))
        data = bytearray(files[name])
        for _ in range(chance.choice((1, 3, 30))):
            data[chance.randrange(len(data))] = chance.choice((0, 32, 46, 48, 65, 127, 128, 255, chance.randrange(256)))
        write(tmp_path, files | {name: bytes(data)})
        try:
            for _, row in every_row(tmp_path):
                assert (row.text is None) == (row.reason is not None)
                if row.text is not None:
                    CATALOGUE.check_form(parse(row.text))
            load(build("S-1", survey(tmp_path, "S-1").design).text)
        except UnreadableInput as wrong:
            assert wrong.name and wrong.remedy, turn
            refused += 1
    assert 0 < refused < 120


def test_numbers_where_text_is_usual_and_text_where_numbers_are_usual(tmp_path: Path) -> None:
    rows: list[dict[str, Cell]] = [
        event(
            "LB",
            LBSEQ="7",
            LBTESTCD="PLAT",
            LBORRES=210,
            LBSTRESN="210",
            LBDTC=1704270600,
            VISITNUM="3",
            LBDY="x",
            LBBLFL=1,
        )
    ]
    data = xport("LB", rows, formats={"LBDTC": "DATETIME"})
    *_, (_, row) = every_row(write(tmp_path, {"dm.xpt": xport("DM", DM), "lb.xpt": data}))
    assert row.text is not None, row.reason
    content = parse(row.text).content
    assert (content["sequence"], content["value"], content["baseline"]) == (7, "210", True)
    assert (content["occurred_at"], content["occurred_at_status"]) == ("2014-01-02T08:30:00", "zone unknown")
    assert content["timing"] == {"visit_number": "3"}
    assert content["as_transferred"]["LBDY"] == "x"
