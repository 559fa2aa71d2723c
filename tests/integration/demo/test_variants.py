"""The figures are computed and not told: without rising counts nobody responds, and counts alone change that."""

from __future__ import annotations

import pytest

from api.cli.demo.summary import read_summary, tell
from tests.integration.demo.conftest import Variant
from tests.integration.demo.test_published_course import responders

pytestmark = pytest.mark.xdist_group("demo-variant")  # one worker plays it for all of these


def test_without_responses_nobody_responds_and_the_rest_is_the_same(unresponsive: Variant) -> None:
    course, client = unresponsive.course, unresponsive.client
    printed = read_summary(client, course.events).as_dict()
    assert {name: cohort["responders"] for name, cohort in printed["cohorts"].items()} == {
        "A": 0,
        "B": 0,
        "C": 0,
        "EXP": 0,
    }
    assert (printed["enrolled"], printed["teae_subjects"], printed["sae_subjects"]) == (18, 13, 4)


def test_the_text_says_what_the_object_says(unresponsive: Variant) -> None:
    course, client = unresponsive.course, unresponsive.client
    summary = read_summary(client, course.events)
    printed, text = summary.as_dict(), tell(summary, course, (), "http://127.0.0.1:1", 1.0)
    lines = text.splitlines()
    for name, cohort in printed["cohorts"].items():
        row = next(line for line in lines if line.split()[:1] == [name])
        assert row.split() == [
            name,
            cohort["dose"],
            str(cohort["enrolled"]),
            f"{cohort['responders']}/{cohort['enrolled']}",
        ]
    said = " ".join(text.split())
    assert f"Enrolled {printed['enrolled']}; screen failures {printed['screen_failures']}" in said
    assert f"in {printed['teae_subjects']} subjects, serious ones in {printed['sae_subjects']}" in said
    assert f"Corrections: {printed['corrections']}." in said
    assert f"Refused ({printed['refusals']} statements)" in said
    assert f"Findings ({printed['findings']})" in said
    assert printed["checkpoint"]["root"] in said
    assert "SYNTHETIC" in said


def test_each_refused_attempt_is_told_with_rule_cause_and_remedy(unresponsive: Variant) -> None:
    course, client = unresponsive.course, unresponsive.client
    refused = client.get("refusals", limit=1_000)["refusals"]
    assert [entry["rule"] for entry in refused] == [attempt.rule for attempt in course.refusals]
    for attempt in course.refusals:
        assert attempt.because and attempt.remedy, attempt.attempt


def test_one_high_count_is_no_response_and_a_second_a_week_later_is(unresponsive: Variant) -> None:
    course, client = unresponsive.course, unresponsive.client
    course.correct_count("SYN-005", 9, "64", "Counted again for this test")
    once = client.get("outcomes", wait_for=client.cut.size)
    assert responders(once)["B"] == 0
    course.correct_count("SYN-005", 10, "66", "Counted again for this test")
    twice = client.get("outcomes", wait_for=client.cut.size)
    assert responders(twice)["B"] == 1
    still = client.get("outcomes", as_of=course.events)
    assert responders(still)["B"] == 0
