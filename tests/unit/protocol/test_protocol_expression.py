"""Expressions have three values: an answer is given when it holds whatever the unknown turns out to be."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.protocol import VerdictValue, evaluate, load

STUDY = """\
format: trial-protocol/1
study: LOGIC-01
version: "1"
identification: {{brief_title: logic}}
populations: {{patient: {{label: patient, enrols: true, treated: true}}}}
anchors:
  dose: {{label: first dose, events: InfusionGiven, field: [started_at, occurred_at]}}
inputs:
{inputs}
criteria:
  X: {{category: inclusion, text: x, evaluation: auto, expression: {expression}}}
"""
NAMES = ("a", "b", "c")
INPUTS = "\n".join(
    f"  {name}: {{label: {name}, events: AssessmentRecorded, field: {name}, type: boolean}}" for name in NAMES
)
DATES = """\
  last: {label: day, events: VisitRecorded, field: occurred_at, type: date}
  first: {label: first visit, events: VisitRecorded, field: occurred_at, type: date, pick: first}
  before: {label: visit before, events: VisitRecorded, field: kind, type: text, before: dose}
  after: {label: visit after, events: VisitRecorded, field: kind, type: text, after: dose}
  visits: {label: visits, events: VisitRecorded, field: kind, type: text, pick: all}
"""


def verdict(expression: str, record: Any, inputs: str = INPUTS) -> bool | None:
    """True, False or None for an expression on a record."""
    protocol = load(STUDY.format(inputs=inputs, expression=expression)).version().resolved()
    value = evaluate(protocol, "X", record).value
    return {VerdictValue.MET: True, VerdictValue.NOT_MET: False}.get(value)


LEAVES = st.sampled_from([*(f"{{input: {name}}}" for name in NAMES), "true", "false"])


def grown(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    listed = st.lists(children, min_size=1, max_size=3).map(", ".join)
    return st.one_of(
        listed.map(lambda parts: f"{{all: [{parts}]}}"),
        listed.map(lambda parts: f"{{any: [{parts}]}}"),
        children.map(lambda part: f"{{not: {part}}}"),
        st.tuples(children, children, children).map(
            lambda parts: f"{{if: {{when: {parts[0]}, then: {parts[1]}, else: {parts[2]}}}}}"
        ),
    )


class Answers:
    """A record of what a, b and c are; what is not given is not recorded."""

    def __init__(self, said: dict[str, bool]):
        from ledger.protocol import Observation

        self.fact = Observation("00000000-0000-4000-8000-000000000000", 0, "AssessmentRecorded", None, said)

    def observations(self, event: str) -> list[Any]:
        return [self.fact] if event == "AssessmentRecorded" else []


@given(
    st.recursive(LEAVES, grown, max_leaves=6),
    st.dictionaries(st.sampled_from(NAMES), st.booleans(), max_size=2),
)
def test_an_answer_given_early_is_the_answer_given_in_the_end(expression: str, said: dict[str, bool]) -> None:
    early = verdict(expression, Answers(said))
    missing = [name for name in NAMES if name not in said]
    completions = {
        verdict(expression, Answers(said | dict(zip(missing, values, strict=True))))
        for values in product([True, False], repeat=len(missing))
    }
    assert None not in completions
    if early is not None:
        assert completions == {early}


@pytest.mark.parametrize(
    ("expression", "said", "expected"),
    [
        ("{all: [{input: a}, {input: b}]}", {"a": False}, False),
        ("{all: [{input: a}, {input: b}]}", {"a": True}, None),
        ("{any: [{input: a}, {input: b}]}", {"a": True}, True),
        ("{any: [{input: a}, {input: b}]}", {"a": False}, None),
        ("{not: {input: a}}", {}, None),
        ("{if: {when: {input: a}, then: {input: b}, else: {input: b}}}", {"b": True}, True),
        ("{if: {when: {input: a}, then: true, else: false}}", {}, None),
        ("{known: {input: a}}", {}, False),
        ("{known: {input: a}}", {"a": False}, True),
        ("{first_known: [{input: a}, {input: b}]}", {"b": True}, True),
        ("{first_known: [{input: a}, {input: b}]}", {}, None),
        ("{equals: [{input: a}, {input: b}]}", {"a": True, "b": True}, True),
        ("{equals: [{input: a}, true]}", {}, None),
    ],
)
def test_what_is_not_recorded_is_unknown_and_not_false(
    expression: str, said: dict[str, bool], expected: bool | None
) -> None:
    assert verdict(expression, Answers(said)) is expected


@pytest.mark.parametrize(
    ("expression", "dates", "expected"),
    [
        ("{before: [{input: last}, {date: 2020-05-01}]}", ["2020-04-30"], True),
        ("{before: [{input: last}, {date: 2020-05-01}]}", ["2020-05"], None),
        ('{before: [{input: last}, {date: "2020"}]}', ["2019"], True),
        ("{after: [{input: last}, {date: 2020-05-01}]}", ["2020-05-01"], None),
        ("{not_before: [{input: last}, {date: 2020-05-01T00:00:00.0}]}", ["2020-05-01"], True),
        ("{not_after: [{input: first}, {input: last}]}", ["2020-05-01", "2020-05-03"], True),
        ("{before: [{input: first}, {input: last}]}", ["2020-05-03", "2020-05-01"], True),
        ("{before: [{input: first}, {input: last}]}", ["2020-05", "2020-05-01"], None),
        ("{at_least: [{hours_between: {from: {input: first}, to: {input: last}}}, {number: \"24\"}]}",
         ["2020-05-01T08:00Z", "2020-05-02T08:01Z"], True),
        ("{at_least: [{hours_between: {from: {input: first}, to: {input: last}}}, {number: \"24\"}]}",
         ["2020-05-01T08:00Z", "2020-05-02T07:58Z"], False),
        ("{at_most: [{days_between: {from: {input: first}, to: {input: last}}}, {number: \"2\"}]}",
         ["2020-05-01", "2020-05-03"], True),
        ("{equals: [{count: visits}, {number: \"2\"}]}", ["2020-05-01", "2020-05-03"], True),
        ("{equals: [{count: visits}, {number: \"2\"}]}", [], False),
        ("{recorded: visits}", [], False),
    ],
)  # fmt: skip
def test_dates_decide_as_far_as_they_are_known(
    record: Any, expression: str, dates: list[str], expected: bool | None
) -> None:
    for day in dates:
        record.add("VisitRecorded", day, kind="v")
    assert verdict(expression, record, DATES) is expected


def test_before_an_anchor_that_has_not_happened_is_everything_and_after_it_nothing(record: Any) -> None:
    record.add("VisitRecorded", "2020-05-01", kind="x")
    assert verdict("{equals: [{input: before}, {text: X}]}", record, DATES) is True
    assert verdict("{known: {input: after}}", record, DATES) is False


def test_a_fact_that_may_lie_on_either_side_of_an_anchor_decides_only_where_it_does_not_matter(
    record: Any,
) -> None:
    record.add("InfusionGiven", started_at="2020-05-02T09:00")
    record.add("VisitRecorded", "2020-05-01", kind="x")
    record.add("VisitRecorded", "2020-05-02", kind="x")
    assert verdict("{equals: [{input: before}, {text: x}]}", record, DATES) is True
    record.change("VisitRecorded", {}, kind="x")
    record.add("VisitRecorded", "2020-05-02", kind="y")
    assert verdict("{equals: [{input: before}, {text: x}]}", record, DATES) is None


def test_an_anchor_whose_time_is_not_known_leaves_sides_open(record: Any) -> None:
    record.add("InfusionGiven", started_at=None)
    record.add("VisitRecorded", "2020-05-01", kind="x")
    assert verdict("{equals: [{input: before}, {text: x}]}", record, DATES) is None


def test_ten_thousand_facts_of_one_kind_are_no_trouble(record: Any) -> None:
    for number in range(10_000):
        record.add("VisitRecorded", f"2020-05-01T{number % 24:02d}:{number % 60:02d}", kind=str(number))
    assert verdict("{known: {input: last}}", record, DATES) is not None
