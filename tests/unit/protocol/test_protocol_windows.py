"""When things are due for a subject, and whether what was done lies in its window."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ledger.protocol import Resolution
from ledger.protocol.windows import Planned, Standing, SubjectFacts, check, plan, toxicity_watch

WOMAN = SubjectFacts("patient", "female", True, enrolled_order=1, cohort="A")
MAN = SubjectFacts("patient", "male", None, enrolled_order=2, cohort="A")
CONTROL = SubjectFacts("healthy-control", "male")
LATER = datetime(2021, 1, 1, tzinfo=UTC)


@pytest.fixture
def treated(record: Any) -> Any:
    """Four infusions, weekly from 10 March 2020 at nine in Tianjin."""
    record.add("SubjectScreened", "2020-03-02T10:00+08:00")
    for number, day in enumerate(("10", "17", "24", "31"), start=1):
        record.add(
            "InfusionGiven",
            number=number,
            started_at=f"2020-03-{day}T09:00+08:00",
            ended_at=f"2020-03-{day}T10:00+08:00",
        )
    return record


def planned(resolved: Any, subject: SubjectFacts, facts: Any, zone: Any) -> dict[str, Planned]:
    return {entry.key: entry for entry in plan(resolved, subject, facts, zone)}


def test_weeks_count_from_the_day_of_the_first_infusion(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    points = planned(resolve(), WOMAN, treated, tianjin)
    assert [points[f"INF{n}"].at.date().isoformat() for n in (1, 2, 3, 4)] == [
        "2020-03-10", "2020-03-17", "2020-03-24", "2020-03-31",
    ]  # fmt: skip
    days = [(points[f"IM{n}"].at.date() - points["INF1"].at.date()).days + 1 for n in range(2, 8)]
    assert days == [15, 29, 57, 85, 113, 197], "Day 1 is the day of the first infusion"
    assert points["VI1"].at.date().isoformat() == "2020-04-07"
    assert [key for key in points if key.startswith("PLT")] == [f"PLT.{week}" for week in range(1, 29)]
    assert points["PLT.28"].at.date() == points["IM7"].at.date()
    assert points["PLT.3"].offset == "P3W"


def test_points_by_the_clock_are_moments(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    points = planned(resolve(), WOMAN, treated, tianjin)
    assert points["PK01"].at == datetime(2020, 3, 10, 0, 30, tzinfo=UTC)
    assert points["PK10"].at == datetime(2020, 3, 14, 1, 0, tzinfo=UTC)
    assert points["AB2"].at == datetime(2020, 4, 2, 1, 0, tzinfo=UTC), "48 h after the last infusion, Day 24"


def test_concentration_is_measured_in_women_and_immunity_in_controls(
    resolve: Any, treated: Any, tianjin: ZoneInfo
) -> None:
    women, men = (planned(resolve(), who, treated, tianjin) for who in (WOMAN, MAN))
    controls = planned(resolve(), CONTROL, treated, tianjin)
    assert women["PK01"].applies is True
    assert men["PK01"].applies is False
    assert check(men["PK01"], None, LATER, tianjin).standing is Standing.NOT_APPLICABLE
    assert [key for key, point in controls.items() if point.applies] == ["IMC"]
    assert women["IMC"].applies is False
    assert men["PRG"].applies is False and women["PRG"].applies is True


def test_where_sex_or_potential_is_not_known_it_is_undecided(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    points = planned(resolve(), SubjectFacts("patient", "unknown"), treated, tianjin)
    assert points["PK01"].applies is None
    assert check(points["PK01"], None, LATER, tianjin).standing is Standing.UNDECIDED
    woman = planned(resolve(), SubjectFacts("patient", "female"), treated, tianjin)
    assert woman["PRG"].applies is None
    assert planned(resolve(), SubjectFacts(None), treated, tianjin)["PLT.1"].applies is None


@pytest.mark.parametrize(
    ("order", "cohort", "by_order", "by_group"),
    [(9, "C", True, True), (10, "C", False, True), (12, "C", False, True), (13, "EXP", False, False)],
)
def test_who_the_first_nine_are_depends_on_the_reading(
    resolve: Any,
    treated: Any,
    tianjin: ZoneInfo,
    order: int,
    cohort: str,
    by_order: bool,
    by_group: bool,
) -> None:
    subject = SubjectFacts("patient", "male", None, order, cohort)
    assert planned(resolve(), subject, treated, tianjin)["AB1"].applies is by_order
    other = resolve(AMB_16=Resolution("escalation-groups"))
    assert planned(other, subject, treated, tianjin)["AB1"].applies is by_group
    unread = planned(resolve(leave_open=("AMB-16",)), subject, treated, tianjin)["AB1"]
    assert unread.applies is None and "AMB-16" in unread.because
    assert (
        planned(resolve(), SubjectFacts("patient", "male"), treated, tianjin)["AB1"].because
        == "the subject is not enrolled"
    )


# PK05 is due at 13:00 in Tianjin, five minutes either way; VI1 on 7 April, two days either way
DONE = [
    ("PK05", "2020-03-10T13:00+08:00", Standing.IN_WINDOW),
    ("PK05", "2020-03-10T13:05+08:00", Standing.IN_WINDOW),
    ("PK05", "2020-03-10T05:05Z", Standing.IN_WINDOW),
    ("PK05", "2020-03-10T13:05", Standing.IN_WINDOW),
    ("PK05", "2020-03-10T13:05:01+08:00", Standing.LATE),
    ("PK05", "2020-03-10T12:55+08:00", Standing.IN_WINDOW),
    ("PK05", "2020-03-10T12:54:59+08:00", Standing.EARLY),
    ("PK05", "2020-03-10", Standing.UNDECIDED),
    ("PK05", "2020-03-09", Standing.EARLY),
    ("PK05", "2020-03", Standing.UNDECIDED),
    ("PK05", "2020-04", Standing.LATE),
    ("VI1", "2020-04-07", Standing.IN_WINDOW),
    ("VI1", "2020-04-09T23:59+08:00", Standing.IN_WINDOW),
    ("VI1", "2020-04-10T00:01+08:00", Standing.LATE),
    ("VI1", "2020-04-09T23:59Z", Standing.LATE),
    ("VI1", "2020-04-05", Standing.IN_WINDOW),
    ("VI1", "2020-04-04", Standing.EARLY),
    ("VI1", "2020-04", Standing.UNDECIDED),
    ("INF2", "2020-03-16", Standing.IN_WINDOW),
    ("INF2", "2020-03-15", Standing.EARLY),
    ("INF2", "2020-03-19", Standing.IN_WINDOW),
    ("INF2", "2020-03-20", Standing.LATE),
]


@pytest.mark.parametrize(("key", "actual", "standing"), DONE)
def test_what_was_done_lies_in_its_window_or_does_not(
    resolve: Any, treated: Any, tianjin: ZoneInfo, key: str, actual: str, standing: Standing
) -> None:
    found = check(planned(resolve(), WOMAN, treated, tianjin)[key], actual, LATER, tianjin)
    assert found.standing is standing, found.because
    assert bool(found) is (standing not in (Standing.EARLY, Standing.LATE))


@pytest.mark.parametrize(
    ("key", "as_of", "standing"),
    [
        ("VI1", "2020-04-04T15:00+00:00", Standing.UPCOMING),
        ("VI1", "2020-04-04T16:30+00:00", Standing.DUE),  # half past midnight of the 5th in Tianjin
        ("VI1", "2020-04-09T15:59+00:00", Standing.DUE),
        ("VI1", "2020-04-09T16:01+00:00", Standing.MISSED),
        ("PK05", "2020-03-10T04:54+00:00", Standing.UPCOMING),
        ("PK05", "2020-03-10T04:56+00:00", Standing.DUE),
        ("PK05", "2020-03-10T05:06+00:00", Standing.MISSED),
        ("AE", "2020-03-09T00:00+00:00", Standing.UPCOMING),
        ("AE", "2020-03-20T00:00+00:00", Standing.DUE),
        ("AE", "2020-04-09T00:00+00:00", Standing.ENDED),
    ],
)
def test_what_is_not_done_is_upcoming_then_due_then_missed(
    resolve: Any, treated: Any, tianjin: ZoneInfo, key: str, as_of: str, standing: Standing
) -> None:
    point = planned(resolve(), WOMAN, treated, tianjin)[key]
    assert check(point, None, datetime.fromisoformat(as_of), tianjin).standing is standing


def test_without_an_interpretation_there_is_no_window_and_nothing_is_missed(
    seed: Any, treated: Any, tianjin: ZoneInfo
) -> None:
    point = planned(seed.resolved(), WOMAN, treated, tianjin)["IM7"]
    late = check(point, "2020-09-29", LATER, tianjin)
    assert late.standing is Standing.NO_WINDOW
    assert late.because == "7 days after the planned day"
    assert check(point, "2020-09-22", LATER, tianjin).because == "on the planned day"
    assert check(point, None, LATER, tianjin).standing is Standing.DUE
    assert (point.earliest, point.latest) == (None, None)


def test_an_anchor_that_is_not_decided_plans_nothing(seed: Any, treated: Any, tianjin: ZoneInfo) -> None:
    point = planned(seed.resolved(), WOMAN, treated, tianjin)["VI1"]
    assert point.at is None
    assert check(point, None, LATER, tianjin).standing is Standing.NOT_PLANNED_YET
    assert check(point, "2020-04-07", LATER, tianjin).standing is Standing.NO_WINDOW


def test_before_the_first_infusion_nothing_after_it_is_planned(resolve: Any, record: Any, tianjin: ZoneInfo) -> None:
    points = planned(resolve(), WOMAN, record, tianjin)
    found = check(points["PLT.1"], None, LATER, tianjin)
    assert found.standing is Standing.NOT_PLANNED_YET
    assert found.because == "first infusion: has not happened"


def test_the_last_infusion_is_the_last_only_once_no_other_can_follow(
    resolve: Any, treated: Any, tianjin: ZoneInfo
) -> None:
    treated.facts = [fact for fact in treated.facts if fact.content.get("number") != 4]
    early = planned(resolve(), WOMAN, treated, tianjin)["AB2"]
    assert not early.settled
    assert check(early, None, LATER, tianjin).standing is Standing.NOT_PLANNED_YET
    treated.add("TreatmentDiscontinued", "2020-03-30")
    stopped = planned(resolve(), WOMAN, treated, tianjin)["AB2"]
    assert stopped.settled and stopped.at == datetime(2020, 3, 26, 1, 0, tzinfo=UTC)
    assert check(stopped, None, LATER, tianjin).standing is Standing.MISSED


def test_a_sample_on_the_day_of_an_infusion_is_on_the_right_side_of_it(
    resolve: Any, treated: Any, tianjin: ZoneInfo
) -> None:
    before = planned(resolve(), WOMAN, treated, tianjin)["IM2"]
    assert check(before, "2020-03-24T08:30+08:00", LATER, tianjin).standing is Standing.IN_WINDOW
    assert check(before, "2020-03-24T09:30+08:00", LATER, tianjin).standing is Standing.LATE
    assert check(before, "2020-03-24", LATER, tianjin).standing is Standing.UNDECIDED
    after = planned(resolve(AMB_13=Resolution("after-infusion")), WOMAN, treated, tianjin)["IM2"]
    assert check(after, "2020-03-24T08:30+08:00", LATER, tianjin).standing is Standing.EARLY
    assert check(after, "2020-03-24T09:30+08:00", LATER, tianjin).standing is Standing.IN_WINDOW


def test_readings_move_the_schedule(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    from_last = resolve(AMB_12=Resolution("last-infusion"), AMB_17=Resolution("from-end"))
    points = planned(from_last, WOMAN, treated, tianjin)
    assert points["VI1"].at.date().isoformat() == "2020-04-28", "Day 50"
    assert points["PK02"].at == datetime(2020, 3, 10, 2, 30, tzinfo=UTC), "half an hour after its end"
    assert points["PK01"].at == datetime(2020, 3, 10, 0, 30, tzinfo=UTC), "half an hour before its start"
    day_24 = planned(resolve(AMB_15=Resolution("day-24")), WOMAN, treated, tianjin)["AB2"]
    assert day_24.at.date().isoformat() == "2020-04-02"
    every_two_weeks = resolve(AMB_12=Resolution("first-infusion", {"platelets_every": "P2W"}))
    assert len([k for k in planned(every_two_weeks, WOMAN, treated, tianjin) if k.startswith("PLT")]) == 14
    seven = planned(resolve(AMB_18=Resolution("seven-samples")), CONTROL, treated, tianjin)
    assert len([key for key in seven if key.startswith("IMC")]) == 7


def test_a_corrected_infusion_moves_everything_with_it(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    treated.change("InfusionGiven", {"number": 1}, started_at="2020-03-11T09:00+08:00")
    points = planned(resolve(), WOMAN, treated, tianjin)
    assert points["VI1"].at.date().isoformat() == "2020-04-08"


def test_an_infusion_on_a_day_known_only_roughly_leaves_the_plan_open(
    resolve: Any, record: Any, tianjin: ZoneInfo
) -> None:
    record.add("InfusionGiven", number=1, started_at="2020-03")
    point = planned(resolve(), WOMAN, record, tianjin)["VI1"]
    assert point.at is None
    assert check(point, "2020-04-15", LATER, tianjin).standing is Standing.UNDECIDED
    assert check(point, "2020-06-01", LATER, tianjin).standing is Standing.LATE
    record.change("InfusionGiven", started_at=None)
    unknown = planned(resolve(), WOMAN, record, tianjin)["VI1"]
    assert check(unknown, None, LATER, tianjin).because == "first infusion: its time is not known"


def test_a_time_of_day_without_zone_decides_nothing_where_no_zone_is_known(resolve: Any, treated: Any) -> None:
    point = planned(resolve(), WOMAN, treated, None)["PK05"]
    assert check(point, "2020-03-10T13:00", LATER, None).standing is Standing.UNDECIDED
    assert check(point, "2020-03-10T13:00+08:00", LATER, None).standing is Standing.IN_WINDOW


def test_what_is_no_time_is_refused(resolve: Any, treated: Any, tianjin: ZoneInfo) -> None:
    with pytest.raises(ValueError, match="is not YYYY"):
        check(planned(resolve(), WOMAN, treated, tianjin)["VI1"], "soon", LATER, tianjin)


def test_toxicity_is_watched_for_as_long_as_defined(
    seed: Any, resolve: Any, treated: Any, record: Any, tianjin: ZoneInfo
) -> None:
    watch = toxicity_watch(resolve(), treated, tianjin)
    assert watch is not None and watch.settled
    assert watch.starts == datetime(2020, 3, 10, 1, 0, tzinfo=UTC)
    assert (watch.ends - watch.starts).days == 28
    assert toxicity_watch(seed.resolved(), treated, tianjin) is None, "not defined in the record"


def test_toxicity_is_not_watched_for_before_treatment(resolve: Any, record: Any, tianjin: ZoneInfo) -> None:
    assert toxicity_watch(resolve(), record, tianjin) is None
