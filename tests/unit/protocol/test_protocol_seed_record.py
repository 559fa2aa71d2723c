"""The shipped protocol file says what the registry record says, word for word, and adds nothing to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.protocol import packaged
from ledger.protocol.yaml_text import MAX_BYTES

RECORD = Path(__file__).parents[4] / "shared" / "seed"
RECORD_FACTS = RECORD / "NCT04014166.facts.json"
RECORD_TEXT = RECORD / "000_e63fb5b9244ec617.txt"
needs_record = pytest.mark.skipif(not RECORD_FACTS.exists(), reason="the registry record is not at hand")


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """The record as data, made by someone else."""
    found: dict[str, Any] = json.loads(RECORD_FACTS.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def text() -> str:
    """The record as published, with ordinary blanks."""
    return RECORD_TEXT.read_text(encoding="utf-8").replace("\xa0", " ")


@needs_record
def test_every_criterion_stands_in_the_file_word_for_word(seed: Any, facts: Any) -> None:
    own = dict(seed.definition.criteria.items())
    assert list(own) == [criterion["id"] for criterion in facts["criteria"]]
    for criterion in facts["criteria"]:
        mine = own[criterion["id"]]
        assert mine.text == criterion["text"]
        assert mine.code == criterion["ietestcd"]
        assert mine.category == criterion["category"].lower()
        assert mine.evaluation == criterion["evaluation"]


@needs_record
def test_long_texts_are_those_of_the_record(seed: Any, text: str) -> None:
    identification = seed.definition.identification
    said = [identification.brief_summary, identification.detailed_description, identification.official_title]
    said += [part.description for part in seed.definition.interventions.values()]
    said += [part.description for part in seed.definition.arms.values()]
    said += [outcome.description for outcome in seed.definition.outcomes.values()]
    said += [outcome.measure for outcome in seed.definition.outcomes.values()]
    said += [criterion.text for criterion in seed.definition.criteria.values()]
    said += [seed.definition.ipd.description, seed.definition.ipd.time_frame]
    for passage in said:
        for paragraph in passage.split("\n"):
            assert paragraph in text


@needs_record
def test_the_study_is_identified_as_in_the_record(seed: Any, facts: Any) -> None:
    study, own = facts["study"], seed.definition.identification
    assert (own.nct, own.org_id, own.official_title) == (study["nct"], study["org_id"], study["title"])
    assert seed.definition.planned_enrolment.count == study["enrollment"]["count"]
    assert own.dates.first_posted == study["first_posted"]
    assert own.dates.last_update_posted == study["last_update_posted"]
    assert own.dates.last_verified == study["verified"]
    for name in ("start", "primary_completion", "completion"):
        milestone = getattr(own.dates, name)
        assert (milestone.date, milestone.kind) == (study[name]["date"], study[name]["type"].lower())
    assert (own.admission.minimum_age, own.admission.maximum_age) == (study["min_age"], study["max_age"])
    assert own.admission.healthy_volunteers is study["healthy_volunteers"]
    assert own.fda_regulated_drug is study["fda_drug"]
    assert own.record.sha256 == facts["source"]["sha256"]
    assert own.record.bytes == facts["source"]["bytes"]


@needs_record
def test_every_time_point_has_the_offset_and_anchor_of_the_record(seed: Any, facts: Any) -> None:
    own = seed.definition.timepoints
    for point in facts["timepoints"]:
        mine = own[point["id"]]
        start, _, end = point["offset"].partition("..")
        assert mine.offset == start
        if end:
            assert end in (mine.until, mine.repeat and mine.repeat.until)
        expected = None if "not stated" in point["anchor"] else point["anchor"]
        assert mine.anchor == expected
        assert (mine.sex == "female") == (point["population"] == "female")
        assert (mine.first is not None) == (point["population"] == "first 9 patients")
        assert mine.window_before is None and mine.window_after is None
    assert set(own) - {point["id"] for point in facts["timepoints"]} == {"SCR", "IMC", "PRG"}


@needs_record
def test_dose_groups_are_those_of_the_record(seed: Any, facts: Any) -> None:
    treatment = seed.definition.treatment
    for group in facts["dose_groups"]:
        mine = seed.definition.cohorts[group["id"]]
        assert (treatment.number, treatment.interval) == (group["infusions"], group["interval"])
        if isinstance(group["dose"], float):
            assert float(mine.dose) == group["dose"]
            assert mine.seats == group["n"]
            assert treatment.dose_unit == group["unit"]
        else:
            assert mine.dose == "selected"


@needs_record
def test_outcomes_and_the_sharing_plan_are_those_of_the_record(seed: Any, facts: Any) -> None:
    own = [(o.type, o.order, o.measure, o.time_frame) for o in seed.definition.outcomes.values()]
    assert own == [(o["type"].lower(), o["n"], o["measure"], o["time_frame"]) for o in facts["outcomes"]]
    plan = seed.definition.ipd
    assert plan.plan == facts["ipd"]["plan"].lower()
    assert plan.access.rstrip(".") == facts["ipd"]["access"]
    assert plan.requester == facts["ipd"]["requester"]
    assert plan.dataset == facts["ipd"]["dataset"]
    assert len(plan.documents) == len(facts["ipd"]["documents"])


def test_what_the_record_does_not_say_stays_empty(seed: Any) -> None:
    made = seed.definition
    assert made.dlt.definition is None and made.dlt.window is None and made.dlt.review_body is None
    assert not made.stopping_rules
    assert made.identification.sponsor is None
    assert made.time_zone is None
    assert made.treatment.weight is None and made.treatment.interval_window_after is None
    assert made.cohorts["EXP"].seats is None
    assert made.outcomes["P1"].definition.criteria is None
    assert made.outcomes["P1"].definition.baseline is None
    assert made.safety.grading is None
    assert all(p.window_before is None and p.window_after is None for p in made.timepoints.values())


def test_the_schedule_is_complete(seed: Any) -> None:
    points = seed.definition.timepoints
    assert len([key for key in points if key.startswith("PK")]) == 10
    assert all(points[f"PK{n:02d}"].sex == "female" for n in range(1, 11))
    assert len([key for key in points if key.startswith("IM") and key != "IMC"]) == 7
    assert points["IMC"].populations == ("healthy-control",)
    assert points["PLT"].repeat.until == "P28W"
    assert points["VI1"].anchor is None, "whether weeks count from the first infusion or the last is open"


def test_no_way_to_reach_a_person_is_carried(seed: Any) -> None:
    text = packaged("NCT04014166")
    assert "@" not in text and "+86" not in text and "2390" not in text


def test_the_file_is_small_enough_to_be_adopted(seed: Any) -> None:
    size = len(packaged("NCT04014166").encode())
    assert size < 150_000 < MAX_BYTES
