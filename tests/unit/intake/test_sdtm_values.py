"""A quantity, a time, a yes or a no is read where it is one; nothing is guessed where it is not."""

from __future__ import annotations

import pytest

from api.intake.sdtm import values


@pytest.mark.parametrize(
    ("text", "comparator", "value", "verbatim"),
    [
        ("5.0", None, "5.0", True),
        ("<0.2", "<", "0.2", True),
        (">=100", ">=", "100", True),
        ("< 0.2", "<", "0.2", False),
        ("≤5", "<=", "5", False),
        ("=<5", "<=", "5", False),
        (".5", None, "0.5", False),
        ("+3", None, "3", False),
        ("007", None, "7", False),
        ("1.5E3", None, "1500", False),
        (" 3.8", None, "3.8", False),
        ("-7", None, "-7", True),
    ],
)
def test_a_number_is_read_exactly(text: str, comparator: str | None, value: str, verbatim: bool) -> None:
    assert values.quantity(text) == (comparator, value, verbatim)


@pytest.mark.parametrize(
    "text", ["N", "", "NEGATIVE", "1,013", "3-5", "1:40", "5 mg", "++", "<", "1e99", "١٢", "0x1f", "nan", "12/7"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert values.quantity(text) is None


@pytest.mark.parametrize(
    "text", ["2014", "2014-01", "2014-01-02", "2014-01-02T08:30", "2014-01-02T08:30:15", "2014-01-02T08:30+02:00"]
)
def test_a_time_is_kept_as_far_as_it_is_known(text: str) -> None:
    assert values.time(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "2014-02-30",
        "2014-13",
        "02JAN2014",
        "UNK",
        "2014-01-02T25:00",
        "2001-05-31-T10:08:40",
        "T9:06:45",
        "20140102",
        "",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert values.time(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2003---15", "2003"),
        ("2003-12--T10:00", "2003-12"),
        ("2003-12-15T13", "2003-12-15"),
        ("2003-12-15T-:30", "2003-12-15"),
        ("2003-12-", "2003-12"),
        ("--12-15", None),
        ("2014-02-30", None),
        ("2003-12-15/2003-12-20", None),
        ("UN-UNK-2014", None),
    ],
)
def test_of_a_time_with_holes_only_what_stands_before_the_first_is_taken(text: str, part: str | None) -> None:
    assert values.known_part(text) == part


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (None, "unknown"),
        ("2014", "known"),
        ("2014-01-02", "known"),
        ("2014-01-02T08:30", "zone unknown"),
        ("2014-01-02T08:30Z", "known"),
        ("2014-01-02T08:30-05:00", "known"),
    ],
)
def test_a_clock_time_without_offset_has_an_unknown_zone(text: str | None, status: str) -> None:
    assert values.time_status(text) == status


@pytest.mark.parametrize(
    ("text", "said"), [("Y", True), ("n", False), ("1", True), ("0", False), ("U", None), ("", None)]
)
def test_yes_and_no_are_read_and_everything_else_is_neither(text: str, said: bool | None) -> None:
    assert values.yes_or_no(text) is said
