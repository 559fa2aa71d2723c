"""A protocol file holds the study as registered and as amended, and can say what an amendment changed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ledger.protocol import Protocol, load, packaged
from ledger.protocol.comparison import ABSENT, changes

INVENTED = (Path(__file__).parents[2] / "scenario" / "studies" / "INVENTED-01.yaml").read_text(encoding="utf-8")


def test_the_amendment_brings_three_plus_three_and_eighteen_patients(seed_file: Any) -> None:
    assert seed_file.versions == ("registered", "3+3")
    before, after = (seed_file.version(label).definition for label in seed_file.versions)
    assert (before.planned_enrolment.count, after.planned_enrolment.count) == (15, 18)
    assert (before.escalation.policy, after.escalation.policy) == ("as-registered", "three-plus-three")
    assert after.version == "3+3"


def test_what_an_amendment_changed_is_listed_and_nothing_else(seed_file: Any) -> None:
    found = changes(seed_file.version("registered"), seed_file.version("3+3"))
    assert [(change.path, change.before, change.after) for change in found] == [
        ("version", "registered", "3+3"),
        ("planned_enrolment.count", 15, 18),
        ("populations.patient.planned", 15, 18),
        ("escalation.policy", "as-registered", "three-plus-three"),
    ]
    assert not changes(seed_file.version("3+3"), seed_file.version("3+3"))


def test_what_was_added_and_taken_away_is_told_apart_from_what_became_empty() -> None:
    study = load(INVENTED)
    found = {change.path: change for change in changes(study.version("1.0"), study.version("3.0"))}
    assert found["cohorts.X2"].after is ABSENT
    assert found["cohorts.L5"].before is ABSENT
    assert (found["cohorts.X1.seats"].before, found["cohorts.X1.seats"].after) == (6, 12)
    back = {change.path: change for change in changes(study.version("3.0"), study.version("1.0"))}
    assert back["cohorts.L5"].after is ABSENT


def test_true_is_not_one_when_versions_are_compared(seed: Any) -> None:
    other = Protocol(seed.label, seed.study, seed.definition, {**seed.data, "requires": 1}, "other")
    found = {change.path for change in changes(seed, other)}
    assert found == {"requires"}


def test_the_first_version_is_the_one_without_label(seed_file: Any) -> None:
    assert seed_file.version() == seed_file.version("registered")
    assert seed_file.version() != seed_file.version("3+3")


def test_the_digest_is_of_the_text_as_adopted(seed_file: Any) -> None:
    text = packaged("NCT04014166")
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    assert seed_file.digest == digest


def test_the_same_text_gives_the_same_protocol_and_resolving_twice_the_same_result(seed_file: Any) -> None:
    again = load(packaged("NCT04014166"))
    assert again.version().resolved() is seed_file.version().resolved()


def test_interpretations_stand_in_every_version(resolve: Any) -> None:
    assert resolve().definition.cohorts["EXP"].seats == 6
    assert resolve(version="3+3").definition.cohorts["EXP"].seats == 6
    assert resolve(version="3+3").definition.planned_enrolment.count == 18


def test_importing_the_protocol_brings_in_nothing_of_what_uses_it() -> None:
    root = Path(__file__).parents[3] / "ledger" / "protocol"
    for path in root.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from ledger.", "import ledger.")):
                assert line.startswith("from ledger.protocol"), (path, line)
