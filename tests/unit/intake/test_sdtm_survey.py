"""A folder is looked at wholly before anything is recorded: what is in it, who the subjects are, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.intake.errors import UnreadableInput
from api.intake.sdtm.survey import SITE, SUBJECT_NUMBER, Survey, identifiers, survey
from api.intake.sealing import subject_id
from tests.unit.intake.transport_files import DM, Cell, event, lab, library, member, small_study, write, xport


def look(folder: Path, files: dict[str, bytes]) -> Survey:
    return survey(write(folder / "study", files), "S-1")


def refused(folder: Path, files: dict[str, bytes]) -> UnreadableInput:
    with pytest.raises(UnreadableInput) as wrong:
        look(folder, files)
    return wrong.value


def without(rows: list[dict[str, Cell]], column: str) -> list[dict[str, Cell]]:
    return [{name: cell for name, cell in row.items() if name != column} for row in rows]


def test_domains_are_known_by_what_the_rows_say_and_subjects_come_first(tmp_path: Path) -> None:
    found = look(tmp_path, small_study())
    assert [(source.domain, source.data.identifier) for source in found.sources] == [
        ("DM", "dm.xpt"),
        ("DS", "ds.xpt"),
        ("EX", "ex.xpt"),
        ("LB", "lbhe.xpt"),
        ("LB", "lbur.xpt"),
        ("AE", "ae.xpt"),
    ]
    assert [data.identifier for data in found.others] == ["cm.xpt"]
    assert {row.domain for row in found.design} == {"TA", "TS"}
    assert found.rows == 9


def test_the_name_of_a_file_decides_nothing(tmp_path: Path) -> None:
    found = look(tmp_path, {"A1.XPT": xport("DM", DM), "results of 2014.xpt": xport("X", [lab()])})
    assert [source.domain for source in found.sources] == ["DM", "LB"]


def test_without_a_domain_column_the_data_set_s_name_decides(tmp_path: Path) -> None:
    files = {
        "a.xpt": xport("DM", without(DM, "DOMAIN")),
        "b.xpt": xport("LBCH", without([lab()], "DOMAIN")),
        "c.xpt": xport("ADLB", without([lab()], "DOMAIN")),
        "d.xpt": xport("SUPPDM", [{"RDOMAIN": "DM", "USUBJID": "1"}]),
        "e.xpt": xport("LB", [], columns=["USUBJID", "LBTESTCD"]),
    }
    found = look(tmp_path, files)
    assert [(source.domain, source.data.name) for source in found.sources] == [
        ("DM", "DM"),
        ("LB", "LBCH"),
        ("LB", "LB"),
    ]
    assert [data.name for data in found.others] == ["ADLB", "SUPPDM"]


def test_data_sets_of_one_file_are_told_apart(tmp_path: Path) -> None:
    found = look(
        tmp_path, {"all.xpt": library() + member("DM", DM) + member("LB", [lab()]) + member("LBX", [lab(LBSEQ=2)])}
    )
    assert [source.data.identifier for source in found.sources] == ["all.xpt/DM", "all.xpt/LB", "all.xpt/LBX"]


def test_a_folder_that_is_none_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    for folder in (
        tmp_path / "none",
        write(tmp_path / "empty", {"readme.txt": b"x"}),
        write(tmp_path, {"f": b""}) / "f",
    ):
        with pytest.raises(UnreadableInput) as wrong:
            survey(folder, "S-1")
        assert str(folder) in str(wrong.value)


def test_one_file_that_cannot_be_read_refuses_all(tmp_path: Path) -> None:
    files = small_study()
    for name, data in files.items():
        wrong = refused(tmp_path, files | {name: data[:-70]})
        assert wrong.name == name


def test_without_dm_nobody_can_be_placed(tmp_path: Path) -> None:
    files = small_study()
    del files["dm.xpt"]
    assert "no DM" in refused(tmp_path, files).because


@pytest.mark.parametrize(
    ("name", "data", "column"),
    [
        ("dm.xpt", xport("DM", without(DM, "USUBJID")), "USUBJID"),
        ("dm.xpt", xport("DM", without(DM, "SITEID")), "SITEID"),
        ("ae.xpt", xport("AE", [event("AE", AESEV="MILD")]), "AETERM or AEDECOD"),
        ("ex.xpt", xport("EX", without([event("EX", EXTRT="X")], "USUBJID")), "USUBJID"),
        ("lbhe.xpt", xport("LB", without(without([lab()], "LBTEST"), "LBTESTCD")), "LBTESTCD or LBTEST"),
        ("lbhe.xpt", xport("LB", without([lab()], "LBORRES")), "LBORRES or LBSTRESC"),
        ("ds.xpt", xport("DS", [event("DS", DSTERM="COMPLETED", DSXDECOD="COMPLETED")]), "DSDECOD"),
    ],
)
def test_a_column_without_which_rows_say_nothing_is_named(tmp_path: Path, name: str, data: bytes, column: str) -> None:
    wrong = refused(tmp_path, small_study() | {name: data})
    assert wrong.name == name
    assert column in wrong.because


def test_dm_is_not_to_be_taken_out_of_the_folder(tmp_path: Path) -> None:
    wrong = refused(tmp_path, small_study() | {"dm.xpt": xport("DM", without(DM, "SITEID"))})
    assert "take it out" not in wrong.remedy
    wrong = refused(tmp_path, small_study() | {"ae.xpt": xport("AE", [event("AE", AESEV="MILD")])})
    assert "take it out" in wrong.remedy


def test_a_file_that_cannot_be_placed_names_what_it_has_instead(tmp_path: Path) -> None:
    row = event("DS", DSTERM="COMPLETED", DSXDECOD="COMPLETED")
    assert "DSXDECOD" in refused(tmp_path, small_study() | {"ds.xpt": xport("DS", [row])}).because


WHOLE_AE: dict[str, Cell] = {
    "AETERM": "RASH",
    "AEDECOD": "Rash",
    "AEBODSYS": "SKIN",
    "AESER": "N",
    "AEACN": "NONE",
    "AEREL": "POSSIBLE",
    "AESTDTC": "2014",
    "AEENDTC": "",
}


def warned(folder: Path, **cells: Cell) -> list[str]:
    found = look(folder, {"dm.xpt": xport("DM", DM), "ae.xpt": xport("AE", [event("AE", **cells)])})
    return [said for said in found.warnings if said.startswith("ae.xpt")]


def test_columns_under_wrong_names_are_said_with_the_names_that_they_have(tmp_path: Path) -> None:
    assert warned(tmp_path, **WHOLE_AE) == []
    renamed = {"AEDECOD": "AEXDEC", "AESTDTC": "AESTART", "AESER": "SERIOUS"}
    (said,) = warned(tmp_path, **{renamed.get(name, name): cell for name, cell in WHOLE_AE.items()})
    for old, new in renamed.items():
        assert f" {old}" in said and new in said
    assert "AETERM" not in said and "AEENDTC" not in said


def test_columns_of_the_standard_that_are_not_read_are_no_strangers_and_others_are(tmp_path: Path) -> None:
    standard = {"AESPID": "E1", "AELLT": "Rash", "AEDY": 1, "EPOCH": "X", "AESMIE": "N", "AETOXGR": "1", "AELNKID": "L"}
    assert warned(tmp_path, **WHOLE_AE, **standard) == []
    (said,) = warned(tmp_path, **WHOLE_AE, **standard, SPONSOR="X", DSTERM="Y")
    assert "SPONSOR, DSTERM" in said and "AESPID" not in said


def test_a_file_without_rows_lacks_nothing(tmp_path: Path) -> None:
    found = look(tmp_path, {"dm.xpt": xport("DM", DM), "ae.xpt": xport("AE", [], columns=["DOMAIN", "USUBJID"])})
    assert not [said for said in found.warnings if said.startswith("ae.xpt")]


def test_a_row_that_repeats_another_wholly_is_the_same_record_in_whatever_file(tmp_path: Path) -> None:
    twice = [lab(), lab(LBSEQ=2), lab(), lab(LBSEQ=2, LBORRES="211")]
    found = look(
        tmp_path, {"dm.xpt": xport("DM", [*DM, DM[0]]), "a.xpt": xport("LB", twice), "b.xpt": xport("LB", twice[:1])}
    )
    assert [sorted(source.repeats) for source in found.sources] == [[4], [3], [1]]


def test_without_a_sequence_number_equal_rows_may_be_two_events(tmp_path: Path) -> None:
    blank, unnumbered = lab(LBSEQ=None), without([lab()], "LBSEQ")
    files = {
        "dm.xpt": xport("DM", DM),
        "a.xpt": xport("LB", [lab(), blank, blank]),
        "b.xpt": xport("LB", unnumbered * 2),
    }
    assert [sorted(source.repeats) for source in look(tmp_path, files).sources] == [[], [], []]


def test_subjects_are_named_the_same_in_every_run(tmp_path: Path) -> None:
    found = look(tmp_path, {"dm.xpt": xport("DM", DM)})
    person = found.people["01-701-1015"]
    assert person == (f"subject/{subject_id('S-1', '01-701-1015')}", "01-701-1015", "701")
    assert look(tmp_path, {"dm.xpt": xport("DM", DM[::-1])}).people == found.people
    assert found.sites == {"701": "USA", "702": "USA"}
    assert (found.study_id, found.earliest) == ("S-1", "2013-12-26")


def test_dm_rows_that_make_no_subject_say_why(tmp_path: Path) -> None:
    rows = [DM[0], DM[1] | {"USUBJID": ""}, DM[1] | {"SITEID": ""}, DM[0] | {"SEX": "M"}, DM[2] | {"STUDYID": "OTHER"}]
    found = look(tmp_path, {"dm.xpt": xport("DM", rows)})
    assert list(found.people) == ["01-701-1015"]
    reasons = [found.misplaced["dm.xpt", line] for line in (2, 3, 4, 5)]
    assert [word in why for word, why in zip(("USUBJID", "SITEID", "row 1", "OTHER"), reasons, strict=True)] == [
        True
    ] * 4


def test_a_site_in_two_countries_has_none(tmp_path: Path) -> None:
    found = look(tmp_path, {"dm.xpt": xport("DM", [DM[0], DM[1] | {"COUNTRY": "CAN"}, DM[2] | {"COUNTRY": ""}])})
    assert found.sites == {"701": None, "702": None}


def test_subject_numbers_and_sites_of_another_scheme_get_ids_that_are_told(tmp_path: Path) -> None:
    rows = [DM[0] | {"USUBJID": "CDISC01.100008", "SITEID": "Site 1/A"}, DM[1] | {"USUBJID": "CDISC01-100008"}]
    found = look(tmp_path, {"dm.xpt": xport("DM", rows)})
    first, second = found.people["CDISC01.100008"], found.people["CDISC01-100008"]
    assert second.number == "CDISC01-100008"
    assert first.number.startswith("CDISC01-100008-") and first.number != second.number
    assert first.site == "Site-1-A"
    assert any("Site 1/A is Site-1-A" in told for told in found.renamed)


@pytest.mark.parametrize(
    "names", [["", "x"], ["Ä", "Ö", "Ü"], ["a b", "a/b", "a-b"], ["-1", "1"], ["x" * 90, "x" * 91]]
)
def test_ids_have_their_form_and_stay_apart(names: list[str]) -> None:
    for form, most in ((SUBJECT_NUMBER, 40), (SITE, 64)):
        made = identifiers(names, form, most)
        assert list(made) != [] and len(set(made.values())) == len(names)
        assert all(form.fullmatch(new) for new in made.values())
        assert made == identifiers(names[::-1], form, most)
