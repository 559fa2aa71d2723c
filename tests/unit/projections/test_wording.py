"""Every event and field can be read by somebody who does not know the code."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import EventModel
from projections.audit_trail.wording import as_cell, as_text, event_label, field_label, sentence
from projections.definitions import DEFINITIONS
from projections.patient.page import SECTIONS

MODELS = list(CATALOGUE)
ABOUT: dict[str, Any] = {
    "actor": "chen",
    "role": "investigator",
    "organisation": "Clinic",
    "subject_number": "P-1",
    "sub": "subject/00000000-0000-4000-8000-000000000000",
    "target_event": "LabResultReported",
    "target_index": 7,
    "pending": False,
}


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_every_event_has_words_that_name_only_its_own_fields(model: type[EventModel]) -> None:
    assert model.words.strip()
    named = set(re.findall(r"\{(\w+)\}", model.words))
    assert named <= model.clear_fields() | model.disclosed_fields()


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_every_event_is_a_sentence_even_with_nothing_filled_in(model: type[EventModel]) -> None:
    said = sentence(model.__name__, {}, ABOUT)
    assert said.startswith("chen (investigator, Clinic)")
    assert said.endswith(".")
    assert "P-1" in said
    assert not re.search(r"[{}]|None|\bTrue\b|\bFalse\b|  ", said)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_every_event_is_read_by_a_projection_and_has_its_place(model: type[EventModel]) -> None:
    assert any(definition.reads(model.__name__) for definition in DEFINITIONS)
    placed = {event for events in SECTIONS.values() for event in events}
    if "subject" in model.about:
        assert model.__name__ in placed, "give it a section of the patient's page"


def test_no_section_names_an_event_that_does_not_exist() -> None:
    for events in SECTIONS.values():
        for event in events:
            assert event in CATALOGUE


def test_an_event_stands_in_one_section() -> None:
    placed = [event for events in SECTIONS.values() for event in events]
    assert len(placed) == len(set(placed))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.name)
def test_no_projection_reads_an_event_that_does_not_exist(definition: Any) -> None:
    for event in definition.events or ():
        assert event in CATALOGUE


def test_every_field_has_a_label_without_technical_signs() -> None:
    for model in MODELS:
        for field in model.clear_fields() | model.disclosed_fields():
            assert re.fullmatch(r"[a-z][a-z ()]*", field_label(field)), field


def test_a_part_of_a_field_has_both_names() -> None:
    assert field_label("items.weight") == "items: weight"


def test_event_labels_are_words() -> None:
    assert event_label("DoseLimitingToxicityAdjudicated") == "Dose limiting toxicity adjudicated"


def test_a_result_reads_like_a_result() -> None:
    said = sentence("LabResultReported", {"analyte": "ALT", "comparator": "<", "value": "5", "unit": "U/L"}, ABOUT)
    assert said == "chen (investigator, Clinic) recorded for subject P-1: Laboratory result ALT: < 5 U/L."


def test_a_correction_says_what_it_changed_and_why() -> None:
    about = {**ABOUT, "field": "value", "previous": "58"}
    said = sentence("EntryCorrected", {"value": "18", "reason": "wrong tube"}, about)
    assert said == (
        "chen (investigator, Clinic), for subject P-1, corrected value of Lab result reported (index 7) "
        "from 58 to 18; reason: wrong tube."
    )


def test_a_correction_that_waits_does_not_claim_a_previous_value() -> None:
    said = sentence("EntryCorrected", {"value": "18", "reason": "x"}, {**ABOUT, "field": "value", "pending": True})
    assert "from the value that stands to 18" in said
    assert "waits for a second signature" in said


def test_what_was_not_done_says_so_and_why() -> None:
    said = sentence("MedicationRecorded", {"name": "A", "status": "not done", "status_reason": "refused"}, ABOUT)
    assert said.endswith("recorded for subject P-1: Medication recorded: not done, because: refused.")


def test_something_about_no_subject_names_its_place() -> None:
    assert "for site S1" in sentence("SiteActivated", {}, {**ABOUT, "subject_number": None, "sub": "site/S1"})
    assert " for " not in sentence("StudyOpened", {}, {**ABOUT, "subject_number": None, "sub": "study"})


@pytest.mark.parametrize(
    ("value", "text", "cell"),
    [
        (None, "not stated", None),
        (True, "yes", "true"),
        (False, "no", "false"),
        (0, "0", "0"),
        ("", "", ""),
        (["a", 1], "a, 1", '["a",1]'),
        ({"low_limit": "1", "high": None}, "low limit 1, high not stated", '{"low_limit":"1","high":null}'),
    ],
)
def test_values_are_readable(value: Any, text: str, cell: str | None) -> None:
    assert as_text(value) == text
    assert as_cell(value) == cell
