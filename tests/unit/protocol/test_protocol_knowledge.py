"""What is only partly known decides only where every way it may turn out agrees."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.protocol.dates import (
    PartialTime,
    add_months,
    completed_years,
    is_before,
    local_dates,
    months_between,
    parse_duration,
    parse_time,
)
from ledger.protocol.quantities import (
    Interval,
    Units,
    decimal,
    is_at_most,
    is_equal,
    is_less,
    measured,
    shown,
)

DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))


def partial(day: date, precision: int) -> str:
    return day.isoformat()[: (4, 7, 10)[precision]]


@given(DAYS, DAYS, st.integers(0, 2), st.integers(0, 2))
def test_an_answer_about_partial_dates_holds_for_the_dates_they_stand_for(
    one: date, other: date, precision: int, other_precision: int
) -> None:
    answer = is_before(parse_time(partial(one, precision)), parse_time(partial(other, other_precision)))
    if answer is not None:
        assert answer == (one < other)


@given(DAYS, st.integers(0, 2))
def test_a_partial_date_covers_the_date_it_was_cut_from(day: date, precision: int) -> None:
    first, last = parse_time(partial(day, precision)).dates
    assert first <= day <= last


@given(DAYS, st.integers(0, 2400))
def test_exactly_so_many_months_later_is_that_many_months(day: date, months: int) -> None:
    later = add_months(day, months)
    assert months_between(day, later) == months
    assert months_between(day, later + timedelta(days=1)) > months
    assert later.day == day.day or (later + timedelta(days=1)).day == 1


@given(DAYS, DAYS)
def test_months_back_are_months_forth(one: date, other: date) -> None:
    assert months_between(one, other) == -months_between(other, one)


@given(DAYS, DAYS, DAYS)
def test_a_later_end_is_never_fewer_months_away(start: date, one: date, other: date) -> None:
    assert months_between(start, min(one, other)) <= months_between(start, max(one, other))
    assert completed_years(start, min(one, other)) <= completed_years(start, max(one, other))


def test_birthdays_pass_on_the_day() -> None:
    assert completed_years(date(2000, 3, 2), date(2018, 3, 1)) == 17
    assert completed_years(date(2000, 3, 2), date(2018, 3, 2)) == 18
    assert completed_years(date(2000, 2, 29), date(2018, 2, 28)) == 17
    assert completed_years(date(2000, 2, 29), date(2018, 3, 1)) == 18


def test_half_a_year_from_the_end_of_august() -> None:
    assert months_between(date(2019, 8, 31), date(2020, 2, 29)) == 6
    assert months_between(date(2019, 8, 31), date(2020, 3, 1)) > 6
    assert months_between(date(2019, 8, 31), date(2020, 2, 28)) < 6


@pytest.mark.parametrize(
    "text",
    ["", "20", "2019-1", "2019-13", "2019-02-30", "2019-02-03T", "2019-02-03T10", "2019-02-03 10:00",
     "2019-02-03T24:00", "2019-02-03T10:00+25:00", "2019-02-03T10:00+0800", "0000", "٢٠١٩", "2019-02-03Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "P", "PT", "P1", "1D", "P1.5D", "P1DT", "--P1D", "P1H", "PT1D", "P1D2W"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_moments_are_ordered_across_zones() -> None:
    tianjin, london = parse_time("2020-03-02T09:00+08:00"), parse_time("2020-03-02T02:00Z")
    assert is_before(tianjin, london) is True
    assert is_before(london, tianjin) is False


def test_a_stamp_without_zone_is_read_in_the_sites_zone_and_decides_nothing_without_one() -> None:
    local, absolute = parse_time("2020-03-02T09:00"), parse_time("2020-03-02T02:00Z")
    assert is_before(local, absolute) is None
    assert is_before(local, absolute, ZoneInfo("Asia/Shanghai")) is True
    assert is_before(local, absolute, UTC) is False
    assert is_before(local, parse_time("2020-03-02T09:01")) is True, "one site, one clock"


def test_the_hour_that_comes_twice_may_be_either() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    twice = parse_time("2020-10-25T02:30")
    assert is_before(twice, parse_time("2020-10-25T01:00Z"), berlin) is None
    assert is_before(twice, parse_time("2020-10-25T02:00Z"), berlin) is True


def test_the_date_of_a_moment_is_that_of_the_place() -> None:
    late = parse_time("2020-03-01T20:00Z")
    assert local_dates(late, ZoneInfo("Asia/Shanghai"))[0] == date(2020, 3, 2)
    assert local_dates(late, None)[0] == date(2020, 3, 1)
    assert local_dates(parse_time("2020-03"), UTC) == (date(2020, 3, 1), date(2020, 3, 31))


def test_the_first_and_last_years_there_are_do_not_break_arithmetic() -> None:
    for text in ("0001", "9999", "9999-12", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"):
        time = parse_time(text)
        assert time.instants(None)[0] <= time.instants(None)[1]
        assert is_before(time, parse_time("2020")) is (text < "2020")
        assert months_between(time.dates[0], time.dates[1]) >= 0
    assert parse_duration("P9999D").after(datetime.max).year == 9999


def test_days_follow_the_calendar_and_hours_the_clock() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before_the_change = datetime(2020, 3, 28, 12, 0, tzinfo=berlin)
    assert parse_duration("P1D").after(before_the_change).hour == 12
    assert parse_duration("PT24H").after(before_the_change).hour == 13
    assert parse_duration("P1M").after(datetime(2020, 1, 31)).day == 29
    assert parse_duration("-PT30M").after(datetime(2020, 1, 1, tzinfo=UTC)).minute == 30


NUMBERS = [Fraction(value) for value in ("0", "0.2", "1", "29.9", "30", "100")]


@given(
    st.sampled_from(NUMBERS), st.sampled_from(["<", "<=", ">", ">=", None, "~"]), st.sampled_from(NUMBERS),
    st.sampled_from(["<", "<=", ">", ">=", None]),
)  # fmt: skip
def test_an_answer_about_bounds_holds_for_every_number_within_them(
    number: Fraction, comparator: str | None, other: Fraction, other_comparator: str | None
) -> None:
    def around(value: Fraction) -> list[Fraction]:
        return [value - 50, value - Fraction(1, 1000), value, value + Fraction(1, 1000), value + 50]

    def allowed(value: Fraction, bound: Fraction, how: str | None) -> bool:
        tests = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}
        return tests.get(how or "", value == bound or how == "~")

    one, two = measured(shown(number), comparator), measured(shown(other), other_comparator)
    pairs = [
        (a, b)
        for a, b in product(around(number), around(other))
        if allowed(a, number, comparator) and allowed(b, other, other_comparator)
    ]
    for test, truth in (
        (is_less, lambda a, b: a < b), (is_at_most, lambda a, b: a <= b), (is_equal, lambda a, b: a == b)
    ):  # fmt: skip
        answer = test(one, two)
        if answer is not None:
            assert all(truth(a, b) is answer for a, b in pairs)


@pytest.mark.parametrize("text", ["", "1e3", "NaN", "Infinity", "1_0", "01", "1.", ".5", "+1", "1,5", " 1", "٣"])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decimal(text)


def test_a_unit_converts_as_declared_and_back_exactly_and_never_otherwise() -> None:
    units = Units({None: [("/uL", "10*9/L", "0.001")], "creatinine": [("mg/dL", "umol/L", "88.42")]})
    assert units.factor("/uL", "10*9/L") == Fraction(1, 1000)
    assert units.factor("10*9/L", "/uL") == 1000
    assert units.factor("mg/dL", "umol/L") is None
    assert units.factor("mg/dL", "umol/L", "creatinine") == Fraction("88.42")
    assert units.factor("umol/L", "mg/dL", "creatinine") == 1 / Fraction("88.42")
    assert units.factor(None, "mg/dL") is None
    assert units.factor(None, None) == 1


def test_a_range_over_two_values_holds_both() -> None:
    both = measured("25").hull(measured("90"))
    assert is_less(both, measured("100")) is True
    assert is_less(both, measured("30")) is None
    assert measured("5", "<").hull(measured("9")) == Interval(None, Fraction(9))


def test_stamps_keep_their_text() -> None:
    assert isinstance(parse_time("2019-05"), PartialTime)
    assert parse_time("2019-05").text == "2019-05"
    assert parse_time("2019-05").last == datetime(2019, 5, 31, 23, 59, 59, 999999)
