"""Every cell of a row can be found in the event, under the field that means it, and nothing else is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.intake.sdtm import mapping, reading
from api.intake.sdtm.mapping import DOMAINS, NO_CONSENT_DATE
from api.intake.sdtm.transport import data_sets
from ledger.domain.catalogue import CATALOGUE

REAL = Path(__file__).parents[4] / "shared" / "data" / "cdiscpilot03"


def content(domain: str, **cells: str) -> dict[str, Any]:
    return mapping.content(DOMAINS[domain], cells)


def leaves(value: Any) -> Iterator[str]:
    """Everything that a content holds, as text."""
    if isinstance(value, dict):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield str(value)


def told(found: dict[str, Any]) -> set[str]:
    """What stands in the event as text; a value together with its comparator as well."""
    texts = set(leaves(found))
    for part in (found, found.get("standard", {})):
        if "comparator" in part:
            texts.add(part["comparator"] + part["value"])
    return texts


COLUMNS = {
    "DM": "STUDYID DOMAIN USUBJID SUBJID RFSTDTC RFENDTC RFXSTDTC RFXENDTC RFICDTC RFPENDTC DTHDTC DTHFL SITEID AGE "
    "AGEU SEX RACE ETHNIC ARMCD ARM ACTARMCD ACTARM COUNTRY DMDTC DMDY BRTHDTC INVNAM",
    "DS": "STUDYID USUBJID DSSEQ DSSPID DSTERM DSDECOD DSCAT DSSCAT VISITNUM VISIT EPOCH DSDTC DSSTDTC DSDY DSSTDY",
    "EX": "USUBJID EXSEQ EXTRT EXCAT EXDOSE EXDOSTXT EXDOSU EXDOSFRM EXDOSFRQ EXROUTE EXLOC EXLOT EXADJ EXSTAT "
    "EXREASND EXOCCUR VISITDY EXSTDTC EXENDTC EXSTDY EXENDY EXTPT",
    "LB": "USUBJID LBSEQ LBTESTCD LBTEST LBCAT LBSCAT LBORRES LBORRESU LBORNRLO LBORNRHI LBSTRESC LBSTRESN LBSTRESU "
    "LBSTNRLO LBSTNRHI LBSTNRC LBNRIND LBSTAT LBREASND LBNAM LBLOINC LBSPEC LBMETHOD LBBLFL LBFAST LBPOS LBREFID "
    "VISITNUM VISIT VISITDY EPOCH LBDTC LBENDTC LBDY LBTPT",
    "AE": "USUBJID AESEQ AESPID AETERM AELLT AELLTCD AEDECOD AEPTCD AEHLT AEHLTCD AEHLGT AEHLGTCD AEBODSYS AEBDSYCD "
    "AESOC AESOCCD AECAT AELOC AESEV AETOXGR AESER AEACN AEACNOTH AEREL AEPATT AEOUT AESCAN AESCONG AESDISAB AESDTH "
    "AESHOSP AESLIFE AESOD AESMIE AECONTRT AESTDTC AEENDTC AEDTC AESTDY AEENDY AEDY AEENRF",
}
CELLS = st.one_of(
    st.sampled_from(
        [
            "Y",
            "N",
            "5",
            "5.0",
            "<0.2",
            "< 5",
            ".5",
            "007",
            "-3",
            "1e3",
            "2014",
            "2014-01-02",
            "2014-01-02T08:30",
            "2003---15",
        ]
        + [
            "2014-02-30",
            "NOT DONE",
            "ONGOING",
            "F",
            "M",
            "U",
            "x" * 250,
            " lead",
            "12-20",
            "1,5",
            "-1",
            ".A",
            "=<5",
            "9" * 30,
        ]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20).filter(
        lambda text: text.strip() == text
    ),
)


@pytest.mark.parametrize("domain", sorted(DOMAINS))
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_cell_is_found_as_it_was_written_and_the_event_has_its_form(domain: str, data: st.DataObject) -> None:
    names = [*COLUMNS[domain].split(), "UNHEARDOF"]
    needed = {"DM": (), "DS": ("DSTERM",), "EX": ("EXTRT",), "LB": ("LBTESTCD",), "AE": ("AETERM",)}[domain]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names)))
    cells = {name: data.draw(CELLS, label=name) for name in chosen} | dict.fromkeys(needed, "said")
    found = mapping.content(DOMAINS[domain], cells)
    missing = {name: cell for name, cell in cells.items() if cell not in told(found)}
    assert not missing, f"cells that the event does not hold: {missing}"
    for name in set(cells) & set(found.get("as_transferred", {})):
        assert found["as_transferred"][name] == cells[name]
    if domain == "DM":
        found["number"] = "1"
    CATALOGUE[DOMAINS[domain].event].model_validate(found)


@pytest.mark.skipif(not REAL.is_dir(), reason="the CDISC pilot data are not beside the repository")
@pytest.mark.parametrize("name", ["dm", "ds", "ex", "ae", "lbch", "lbhe", "lbur"])
def test_every_cell_of_the_real_study_is_found(name: str) -> None:
    (data,) = data_sets(REAL / f"{name}.xpt")
    domain = DOMAINS[name[:2].upper()]
    found_rows = [row for first, raws in data.blocks() for row in reading.rows(data, first, raws)]
    for row in found_rows[:: max(1, data.rows // 1_000)]:
        found = mapping.content(domain, row.cells)
        assert set(row.cells.values()) <= told(found), row.line


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_a_blank_row_of_columns_says_nothing_but_that_its_time_is_unknown(domain: str) -> None:
    found = content(domain)
    found.pop("comment", None)
    assert found == {"occurred_at_status": "unknown"}


def test_a_result_below_the_limit_keeps_its_comparator() -> None:
    found = content("LB", LBTESTCD="CRP", LBORRES="<0.2", LBORRESU="mg/L", LBSTRESC="<0.2", LBSTRESU="mg/L")
    assert (found["comparator"], found["value"], found["unit"]) == ("<", "0.2", "mg/L")
    assert found["standard"] == {"comparator": "<", "value": "0.2", "unit": "mg/L"}
    assert "text" not in found


def test_a_result_in_words_stays_text() -> None:
    found = content("LB", LBTESTCD="COLOR", LBORRES="N", LBSTRESC="N")
    assert found["text"] == "N"
    assert "value" not in found


def test_a_result_keeps_its_trailing_zero_and_the_standard_one_beside_it() -> None:
    found = content("LB", LBTESTCD="PH", LBORRES="5.0", LBSTRESC="5", LBSTRESN="5", LBORNRLO="5", LBORNRHI="8")
    assert found["value"] == "5.0"
    assert found["standard"] == {"value": "5"}
    assert found["reference_range"] == {"low": "5", "high": "8"}
    assert "as_transferred" not in found


def test_a_result_that_was_not_done_says_so_and_why() -> None:
    found = content("LB", LBTESTCD="PLAT", LBSTAT="NOT DONE", LBREASND="CLOTTED")
    assert (found["status"], found["status_reason"]) == ("not done", "CLOTTED")
    assert not {"value", "text"} & set(found)


def test_a_clock_time_without_zone_is_kept_and_marked() -> None:
    found = content("LB", LBTESTCD="PLAT", LBDTC="2014-01-02T08:30")
    assert (found["occurred_at"], found["occurred_at_status"]) == ("2014-01-02T08:30", "zone unknown")


def test_a_partial_date_stays_partial_and_a_blank_one_unknown() -> None:
    assert content("AE", AETERM="RASH", AESTDTC="2014")["occurred_at"] == "2014"
    found = content("AE", AETERM="RASH", AEENDTC="")
    assert found["occurred_at_status"] == "unknown"
    assert not {"occurred_at", "started_at", "ended_at"} & set(found)


def test_a_date_with_a_hole_keeps_what_is_known_and_the_original_beside_it() -> None:
    found = content("AE", AETERM="RASH", AESTDTC="2003---15")
    assert (found["occurred_at"], found["as_transferred"]["AESTDTC"]) == ("2003", "2003---15")


def test_a_date_that_does_not_exist_is_unknown_and_kept() -> None:
    found = content("AE", AETERM="RASH", AESTDTC="2014-02-30")
    assert "occurred_at" not in found
    assert (found["occurred_at_status"], found["as_transferred"]["AESTDTC"]) == ("unknown", "2014-02-30")


def test_a_blank_consent_date_is_legacy_and_not_verified_and_never_invented() -> None:
    found = content("DM", USUBJID="1", RFSTDTC="2014-01-02", RFICDTC="")
    assert "consented_at" not in found
    assert found["comment"] == NO_CONSENT_DATE
    dated = content("DM", USUBJID="1", RFICDTC="2013-12-26")
    assert dated["consented_at"] == "2013-12-26"
    assert "comment" not in dated


def test_a_subject_has_arms_sex_and_age_in_own_fields() -> None:
    found = content("DM", SEX="F", AGE="63", AGEU="YEARS", ARMCD="Pbo", ARM="Placebo", DTHFL="Y", DTHDTC="2014-11-01")
    assert (found["sex"], found["age"], found["died"]) == ("female", "63", True)
    assert found["planned_arm"] == {"code": "Pbo", "name": "Placebo"}
    assert "sex" not in content("DM", SEX="UNDIFFERENTIATED")
    assert "planned_arm" not in content("DM", ARM="Placebo")


def test_why_an_adverse_event_is_serious_is_named() -> None:
    found = content("AE", AETERM="STROKE", AESER="Y", AESDTH="N", AESHOSP="Y", AESLIFE="Y", AESCAN="")
    assert found["serious"] is True
    assert found["seriousness"] == ["life-threatening", "hospitalisation"]
    unsaid = content("AE", AETERM="STROKE", AESER="U")
    assert "serious" not in unsaid and unsaid["as_transferred"]["AESER"] == "U"


def test_the_coding_of_an_adverse_event_keeps_its_levels() -> None:
    found = content("AE", AETERM="ITCH", AELLT="ITCHING", AEDECOD="PRURITUS", AEPTCD="10037087", AEHLTCD="77")
    assert found["coding"] == [
        {"level": "LLT", "term": "ITCHING"},
        {"level": "PT", "term": "PRURITUS", "code": "10037087"},
    ]
    assert found["as_transferred"] == {"AEHLTCD": "77"}


@pytest.mark.parametrize(("grade", "known"), [("3", 3), ("5", 5), ("0", None), ("6", None), ("GRADE 3", None)])
def test_a_grade_is_one_of_five(grade: str, known: int | None) -> None:
    found = content("AE", AETERM="RASH", AETOXGR=grade)
    assert found.get("grade") == known
    assert known is not None or found["as_transferred"]["AETOXGR"] == grade


def test_a_milestone_is_a_disposition_and_its_date_the_day_it_happened() -> None:
    found = content(
        "DS", DSTERM="FINAL LAB VISIT", DSDECOD="FINAL LAB VISIT", DSSTDTC="2014-07-02", DSDTC="2014-07-02T11:45"
    )
    assert DOMAINS["DS"].event == "DispositionRecorded"
    assert found["occurred_at"] == "2014-07-02"
    assert found["timing"] == {"collected_at": "2014-07-02T11:45"}


def test_without_a_verbatim_term_the_coded_one_is_the_term() -> None:
    assert content("DS", DSDECOD="COMPLETED")["term"] == "COMPLETED"
    assert content("AE", AEDECOD="PRURITUS")["term"] == "PRURITUS"
    assert content("LB", LBTEST="Platelet")["analyte"] == "Platelet"


def test_a_dose_that_was_not_given_is_not_done() -> None:
    assert content("EX", EXTRT="X", EXOCCUR="N")["status"] == "not done"
    assert "status" not in content("EX", EXTRT="X", EXOCCUR="Y")


def test_a_dose_in_words_is_no_number() -> None:
    found = content("EX", EXTRT="X", EXDOSE="54 to 81", EXDOSU="mg")
    assert "dose" not in found
    assert found["as_transferred"]["EXDOSE"] == "54 to 81"
