"""The report of a comparison counts, and holds no value."""

from __future__ import annotations

import json

import pytest

from projections.engine.definition import STUDY_PARTITION
from projections.engine.difference import Difference
from projections.engine.tally import Tally, canonical, report_digest

A, B = "0000000a-0000-4000-8000-000000000000", "0000000b-0000-4000-8000-000000000000"


def one(partition: str, key: str = "[1]", column: str = "name", intended: bool = False, **others: str) -> Difference:
    kind = others.pop("kind", "changed" if column else "added")
    values = {"before": '"Mary"', "after": '"Ann"', "why": "nothing declares it", **others}
    return Difference(
        partition, "people", key, kind, column, column, values["before"], values["after"], None, intended, values["why"]
    )


def tallied(*found: tuple[str, list[Difference]]) -> Tally:
    tally = Tally()
    for partition, differences in found:
        assert list(tally.passing(partition, differences)) == differences
    return tally


def test_rows_are_counted_once_however_many_of_their_columns_changed() -> None:
    tally = tallied((A, [one(A), one(A, column="sex"), one(A, key="[2]", column="")]))
    assert tally.counts() == {"added": 1, "removed": 0, "changed": 1, "intended": 0, "unexplained": 3, "partitions": 1}


def test_a_row_that_came_and_is_not_as_expected_is_counted_as_added_alone() -> None:
    assert tallied((A, [one(A, column=""), one(A)])).by_table() == {"people": {"added": 1, "removed": 0, "changed": 0}}


def test_subjects_and_sites_are_counted_and_the_study_has_none() -> None:
    tally = tallied(
        (A, [one(A)]), (B, [one(B), one(B, key="[2]"), one(B, intended=True)]), (STUDY_PARTITION, [one("study")])
    )
    assert [(found["subject"], found["unexplained"]) for found in tally.by_subject()] == [(B, 2), (A, 1), ("study", 1)]
    assert tally.by_site({A: "S1", B: "S1"}) == {
        "": {"subjects": 0, "intended": 0, "unexplained": 1},
        "S1": {"subjects": 2, "intended": 1, "unexplained": 3},
    }


def test_no_value_and_no_key_is_in_any_count() -> None:
    tally = tallied((A, [one(A, key='["Secret"]'), one(A, key='["Secret"]', column="")]))
    told = json.dumps(
        [tally.counts(), tally.by_table(), tally.by_column(), tally.by_subject(), tally.by_site({A: "S1"})]
    )
    for value in ("Mary", "Ann", "Secret"):
        assert value not in told


def test_the_unexplained_classes_are_what_an_approval_covers() -> None:
    tally = tallied((A, [one(A), one(A, column="sex", intended=True), one(A, column="")]))
    assert tally.unexplained_classes == {("people", "name", "changed"), ("people", "", "added")}


@pytest.mark.parametrize(
    "others", [{"before": "null"}, {"after": "null"}, {"key": "[3]"}, {"column": "sex"}, {"why": "x"}]
)
def test_any_other_difference_has_another_digest(others: dict[str, str]) -> None:
    assert tallied((A, [one(A, **others)])).digest != tallied((A, [one(A)])).digest  # type: ignore[arg-type]


def test_the_digest_pins_the_differences_in_any_order_of_their_coming() -> None:
    first, second = one(A), one(A, key="[2]")
    assert tallied((A, [first, second])).digest == tallied((A, [second, first])).digest
    assert tallied((A, [first]), (B, [])).digest == tallied((A, [first])).digest
    assert tallied((A, [first])).digest != tallied((A, [first, first])).digest


def test_partitions_that_come_out_of_order_are_a_fault() -> None:
    with pytest.raises(AssertionError, match="in order"):
        tallied((B, [one(B)]), (A, [one(A)]))


def test_a_report_has_one_digest_however_it_was_made() -> None:
    assert report_digest({"a": 1, "b": ["ë"]}) == report_digest({"b": ["ë"], "a": 1})
    assert canonical({"b": 1, "a": "ë"}) == '{"a":"ë","b":1}'.encode()
    assert len(report_digest({})) == 43
