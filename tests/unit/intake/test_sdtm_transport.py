"""A transport file is taken only whole: what is cut short, changed or of another kind is named and refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from api.intake.errors import UnreadableInput
from api.intake.sdtm.transport import RECORD, data_sets
from tests.unit.intake.transport_files import DM, lab, library, member, xport

ROWS = [lab(LBSEQ=number, LBORRES=f"{number}.5") for number in range(1, 8)]
REAL = Path(__file__).parents[4] / "shared" / "data" / "cdiscpilot03"


def put(folder: Path, data: bytes, name: str = "lb.xpt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UnreadableInput) as wrong:
        data_sets(path)
    assert wrong.value.name == path.name, "the message names the file"
    assert wrong.value.remedy
    return wrong.value.because


@pytest.mark.parametrize("version", [5, 8])
def test_every_row_is_found_with_exactly_its_bytes(tmp_path: Path, version: int) -> None:
    path = put(tmp_path, xport("LB", ROWS, version=version))
    (data,) = data_sets(path)
    assert (data.name, data.rows, data.identifier) == ("LB", 7, "lb.xpt")
    assert data.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    raws = data.read(0, 7)
    assert all(len(raw) == data.row_length for raw in raws)
    assert b"".join(raws) in path.read_bytes()
    (columns, _) = data.decode(raws[2:5])
    assert columns[[c.name for c in data.columns].index("LBSEQ")] == [3.0, 4.0, 5.0]


@pytest.mark.parametrize("version", [5, 8])
def test_a_file_cut_at_any_place_is_refused(tmp_path: Path, version: int) -> None:
    whole = xport("LB", ROWS, version=version)
    (data,) = data_sets(put(tmp_path, whole))
    whole_rows = {data.start + count * data.row_length for count in range(8)}
    for length in range(0, len(whole), 7):
        if version == 5 and length in whole_rows and length % RECORD == 0:
            continue  # a whole file of fewer rows: version 5 does not say how many there should be
        refused(put(tmp_path, whole[:length]))


def test_a_cut_that_keeps_whole_records_is_found_by_the_row_that_it_breaks(tmp_path: Path) -> None:
    whole = xport("LB", ROWS)
    assert "cut short" in refused(put(tmp_path, whole[: -(3 * RECORD)]))


def test_version_8_states_its_rows_and_they_must_be_there(tmp_path: Path) -> None:
    whole = xport("LB", ROWS, version=8)
    (data,) = data_sets(put(tmp_path, whole))
    fewer = whole[: data.start] + b"".join(data.read(0, 5))
    because = refused(put(tmp_path, fewer + b" " * (-len(fewer) % RECORD)))
    assert "states 7 rows and holds 5" in because


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"USUBJID,LBTESTCD\n01-701-1015,PLAT\n" * 20, "no SAS transport file"),
        (b"**COMPRESSED** **COMPRESSED** **COMPRESSED**".ljust(800), "CPORT"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n".ljust(240),
            "no SAS transport file",
        ),
        (library(), "holds no data set"),
        (library() + b" " * 800, "holds no data set"),
    ],
)
def test_what_is_no_transport_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(put(tmp_path, content))


def test_a_folder_named_like_a_file_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dm.xpt").mkdir()
    assert "cannot be read" in refused(tmp_path / "dm.xpt")
    assert "cannot be read" in refused(tmp_path / "gone.xpt")


def test_a_column_that_lies_outside_the_row_or_over_another_is_refused(tmp_path: Path) -> None:
    whole = bytearray(xport("LB", ROWS))
    names = whole.index(b"LBSEQ   ") - 8
    length, position = slice(names + 4, names + 6), slice(names + 84, names + 88)
    for place, value in (
        (length, b"\0\0"),
        (length, b"\xff\xf0"),
        (position, bytes(4)),
        (position, b"\xff\xff\xff\xf0"),
    ):
        changed = bytearray(whole)
        changed[place] = value
        assert refused(put(tmp_path, bytes(changed)))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    whole = xport("LB", ROWS)
    assert "LBTEST" in refused(put(tmp_path, whole.replace(b"LBTESTCD", b"LBTEST  ")))


def test_a_header_without_columns_is_refused(tmp_path: Path) -> None:
    assert "no columns" in refused(put(tmp_path, xport("LB", ROWS).replace(b"NAMESTR", b"NAMEXXX")))
    assert "no columns" in refused(put(tmp_path, xport("LB", [], columns=[])))


def test_something_behind_the_last_row_is_refused(tmp_path: Path) -> None:
    whole = xport("LB", ROWS)
    assert whole.endswith(b" ")
    assert "no padding" in refused(put(tmp_path, whole[:-1] + b"x"))


def test_two_data_sets_in_one_file_are_two_data_sets(tmp_path: Path) -> None:
    path = put(tmp_path, library() + member("DM", DM) + member("LB", ROWS), "all.xpt")
    first, second = data_sets(path)
    assert [(d.name, d.rows, d.identifier, d.member) for d in (first, second)] == [
        ("DM", 3, "all.xpt/DM", 0),
        ("LB", 7, "all.xpt/LB", 1),
    ]
    assert second.decode(second.read(6, 1))[0][-2] == ["10^9/L"]


def test_a_data_set_without_rows_is_a_data_set(tmp_path: Path) -> None:
    for version in (5, 8):
        (data,) = data_sets(put(tmp_path, xport("LB", [], columns=["USUBJID", "LBTESTCD"], version=version)))
        assert data.rows == 0
        assert list(data.blocks()) == []


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, xport("LB", ROWS))
    (data,) = data_sets(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnreadableInput, match="shorter"):
        data.read(0, 7)


@pytest.mark.skipif(not REAL.is_dir(), reason="the CDISC pilot data are not beside the repository")
def test_the_real_study_has_the_rows_that_its_source_states() -> None:
    rows = {path.stem: sum(data.rows for data in data_sets(path)) for path in REAL.glob("*.xpt")}
    stated = {"dm": 306, "ds": 596, "ex": 591, "ae": 961, "lbch": 32_740, "lbhe": 21_927, "lbur": 4_913, "ti": 31}
    assert {name: rows[name] for name in stated} == stated
