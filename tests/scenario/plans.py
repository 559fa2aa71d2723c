"""The studies that the tests play: what each needs before its first subject."""

from __future__ import annotations

from tests.scenario.simulator import STUDIES, Plan

COAST = Plan(
    study="COAST-07",
    protocol=(STUDIES / "COAST-07.yaml").read_text(encoding="utf-8"),
    sites={"NORTH": "Europe/Amsterdam", "SOUTH": "Europe/Lisbon"},
    languages=("en", "nl"),
    readings={"AMB-1": ("ever", {}), "AMB-2": ("grade-3", {})},
    eligible=(
        ("LabResultReported", {"analyte": "ferritin", "value": "85", "unit": "ug/L"}),
        ("HistoryRecorded", {"term": "asthma", "category": "asthma", "present": False}),
        ("AssessmentRecorded", {"instrument": "smoking", "items": {"now": False}}),
        ("EligibilityAssessed", {"attestations": {"other_reason": False}}),
    ),
    doses={"LOW": "1.5", "HIGH": "4.5"},
    dose_unit="mg/kg",
)
"""An invented study that declares every rule."""
