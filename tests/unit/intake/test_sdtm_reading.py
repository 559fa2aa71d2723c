"""What stands in a cell is what the source means: nothing rounded, guessed, shifted or filled in."""

from __future__ import annotations

import hashlib
import math
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.intake.sdtm import reading
from api.intake.sdtm.reading import Row
from api.intake.sdtm.transport import data_sets
from tests.unit.intake.transport_files import Cell, ibm, xport

REAL = Path(__file__).parents[4] / "shared" / "data" / "cdiscpilot03"


def read(folder: Path, rows: list[dict[str, Cell]], **more: object) -> list[Row]:
    path = folder / "x.xpt"
    path.write_bytes(xport("XX", rows, **more))
    (data,) = data_sets(path)
    return reading.rows(data, 0, data.read(0, data.rows))


def cells(folder: Path, *values: Cell, **more: object) -> list[str | None]:
    rows: list[dict[str, Cell]] = [{"KEY": "k", "X": value} for value in values]
    return [row.cells.get("X") for row in read(folder, rows, **more)]


def test_a_row_knows_its_number_and_the_digest_of_its_bytes(tmp_path: Path) -> None:
    first, second = read(tmp_path, [{"A": "one", "B": 1}, {"A": "two", "B": 2}])
    assert (first.line, second.line) == (1, 2)
    raw = b"two" + ibm(2)
    assert second.digest == urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


def test_numbers_are_written_as_the_source_can_mean_them(tmp_path: Path) -> None:
    given_ = [0.4, 3.7, 9.81, 0.05, 1.013, 38.0, -7.0, 0.0, 1e15, 2.0**53 - 1, 1e-9, 123456789.125]
    assert cells(tmp_path, *given_) == [
        "0.4", "3.7", "9.81", "0.05", "1.013", "38", "-7", "0", "1000000000000000", "9007199254740991",
        "0.000000001", "123456789.125",
    ]  # fmt: skip


def test_what_is_missing_stays_absent_and_a_special_missing_value_stays_what_it_says(tmp_path: Path) -> None:
    letters = [b"A" + bytes(7), b"_" + bytes(7), b"Z" + bytes(7)]
    assert cells(tmp_path, 1.0, None, *letters) == ["1", None, ".A", "._", ".Z"]


def test_bytes_that_are_no_number_are_kept_as_they_are(tmp_path: Path) -> None:
    assert cells(tmp_path, 1.0, b"\xff" * 8) == ["1", "0xffffffffffffffff"]


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        ("DATE9", 19725, "2014-01-02"),
        ("E8601DA", 19725, "2014-01-02"),
        ("YYMMDD10", -1, "1959-12-31"),
        ("DDMMYYS8", 0, "1960-01-01"),
        ("DATETIME", 1704270600, "2014-01-02T08:30:00"),
        ("E8601DT", 1704270600.25, "2014-01-02T08:30:00.250000"),
        ("TIME5", 30600, "08:30:00"),
        ("DATE9", 19725.5, "19725.5"),
        ("DATE9", 1e12, "1000000000000"),
        ("DATETIME", 1e18, "1000000000000000000"),
        ("TIME5", -1, "-1"),
        ("TIME5", 90000, "90000"),
        ("BEST12", 19725, "19725"),
        ("", 19725, "19725"),
    ],
)
def test_numeric_dates_are_converted_exactly_or_not_at_all(tmp_path: Path, shown: str, value: float, text: str) -> None:
    assert cells(tmp_path, value, formats={"X": shown[:8]}) == [text]


def test_text_is_read_as_utf_8_else_as_windows_1252_else_byte_by_byte(tmp_path: Path) -> None:
    assert cells(tmp_path, b"10\xc2\xb0C", b"it\x92s", b"\xe9", b"\x81x") == ["10°C", "it’s", "é", "\x81x"]


def test_blanks_before_text_stay_and_blanks_behind_it_are_padding(tmp_path: Path) -> None:
    assert cells(tmp_path, "  3.8", "   ", "a  b  ") == ["  3.8", None, "a  b"]


def test_a_nul_inside_text_is_a_problem_of_the_row_and_one_behind_it_is_padding(tmp_path: Path) -> None:
    broken, padded = read(tmp_path, [{"A": b"ab\0cd", "B": "x"}, {"A": b"ab\0\0\0", "B": "x"}])
    assert broken.problem is not None and "NUL" in broken.problem and "A" in broken.problem
    assert padded.problem is None
    assert padded.cells == {"A": "ab", "B": "x"}


def test_a_blank_row_is_a_problem_wherever_it_stands(tmp_path: Path) -> None:
    wide: list[dict[str, Cell]] = [{"A": "x" * 100, "N": 1}, {"A": "", "N": b" " * 8}, {"A": "y", "N": 2}]
    blank = [row.problem for row in read(tmp_path, wide)]
    assert blank == [None, "the row is blank", None]
    last = read(tmp_path, [*wide[:1], wide[1]])
    assert [row.problem for row in last] == [None, "the row is blank"]
    assert last[1].cells == {}


def test_column_names_are_read_in_capitals(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [{"usubjid": "1", "averylongcolumnname": "2"}], version=8)
    assert row.cells == {"USUBJID": "1", "AVERYLONGCOLUMNNAME": "2"}


def test_rows_that_say_the_same_are_alike_in_whatever_file_they_stand(tmp_path: Path) -> None:
    def told(name: str, row: dict[str, Cell], *more: dict[str, Cell]) -> bytes:
        path = tmp_path / name
        path.write_bytes(xport("XX", [row, *more]))
        (data,) = data_sets(path)
        return reading.likeness(data)(data.read(0, 1)[0])

    row: dict[str, Cell] = {"A": "x", "B": "", "N": 1.5, "M": None}
    wider: dict[str, Cell] = {"A": "xxxxxxxx", "B": "bbb", "N": 1, "M": 2}
    assert told("a.xpt", row) == told("b.xpt", dict(reversed(row.items())), wider)
    assert told("a.xpt", row) != told("b.xpt", row | {"N": 1.25})
    assert told("a.xpt", row) != told("b.xpt", row | {"A": "", "B": "x"})


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=5, allow_nan=False))
def test_every_decimal_of_fifteen_digits_comes_back(value: object) -> None:
    double = float(str(value))
    raw = ibm(double)
    mantissa = int.from_bytes(raw[1:], "big")
    cut = math.ldexp(mantissa, 4 * ((raw[0] & 0x7F) - 64) - 56) * (-1 if raw[0] & 0x80 else 1)
    assert float(reading.number(cut)) == double


@pytest.mark.skipif(not REAL.is_dir(), reason="the CDISC pilot data are not beside the repository")
def test_the_apostrophe_of_the_real_summary_is_one() -> None:
    (data,) = data_sets(REAL / "ts.xpt")
    texts = [row.cells.get("TSVAL", "") for row in reading.rows(data, 0, data.read(0, data.rows))]
    assert any("Alzheimer’s" in text for text in texts)
