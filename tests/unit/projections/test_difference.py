"""What differs between two versions' rows, and whether it was meant."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.definition import ANYTHING, Column, Definition, Normaliser, Table
from projections.engine.difference import Difference, differences, flipped
from projections.engine.errors import NormaliserUnsound
from projections.engine.expectation import lineage

PEOPLE = Table(
    "people",
    (
        Column("idx", "bigint"),
        Column("name", optional=True),
        Column("tags", "text[]", optional=True),
        Column("alive", "boolean", optional=True),
    ),
    ("idx",),
)
NOTES = Table("notes", (Column("part"), Column("number", "bigint"), Column("record")), ("part", "number"))
ONE = Definition("sample", 1, (PEOPLE, NOTES), lambda state, touched: ())
TWO = replace(ONE, version=2)

PartRow = tuple[str, Sequence[Any]]
ZOE: PartRow = ("people", (1, "Zoë", ["a"], True))
NOTE: PartRow = ("notes", ("x", 1, '{"content":{"value":"5"}}'))


def compared(
    before: Iterable[PartRow],
    after: Iterable[PartRow],
    second: Definition = TWO,
    first: Definition = ONE,
    known: Iterable[Definition] = (),
    held: int = 20_000,
) -> list[Difference]:
    old, new = list(before), list(after)
    rows = max(len(old), len(new))
    return list(differences(lineage(first, second, known), "p", lambda: old, lambda: new, rows, held))


def short(found: Iterable[Difference]) -> list[tuple[Any, ...]]:
    return [(one.kind, one.column, one.before, one.after, one.intended) for one in found]


def normalised(normaliser: Normaliser, **others: Any) -> Definition:
    return replace(TWO, normaliser=normaliser, **others)


def passing(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield table, row


# -- nothing declared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [ONE, TWO, normalised(passing)])
def test_the_same_rows_differ_in_nothing(second: Definition) -> None:
    assert compared([ZOE, NOTE], [NOTE, ZOE], second) == []


def test_no_rows_differ_in_nothing() -> None:
    assert compared([], []) == []


@pytest.mark.parametrize(
    ("column", "before", "after", "shown"),
    [
        ("name", None, "", ("null", '""')),
        ("name", "", None, ('""', "null")),
        ("name", "Zoë", "Zoe\u0308", ('"Zoë"', '"Zoe\u0308"')),
        ("name", "a", "a ", ('"a"', '"a "')),
        ("name", "null", None, ('"null"', "null")),
        ("name", "1", "01", ('"1"', '"01"')),
        ("tags", [], None, ("[]", "null")),
        ("tags", [], [""], ("[]", '[""]')),
        ("tags", ["a", "b"], ["b", "a"], ('["a","b"]', '["b","a"]')),
        ("tags", ["a,b"], ["a", "b"], ('["a,b"]', '["a","b"]')),
        ("alive", False, None, ("false", "null")),
    ],
)
def test_a_value_that_changed_is_told_with_its_kind(column: str, before: Any, after: Any, shown: Any) -> None:
    place = PEOPLE.names.index(column)
    rows = [("people", tuple(value if i == place else ZOE[1][i] for i in range(4))) for value in (before, after)]
    assert short(compared(rows[:1], rows[1:])) == [("changed", column, *shown, False)]


def test_true_and_one_are_two_values_and_so_are_a_number_and_its_text() -> None:
    wider = replace(
        TWO, tables=(replace(PEOPLE, columns=(*PEOPLE.columns[:1], Column("name", "bigint"), *PEOPLE.columns[2:])),)
    )
    rows = [("people", (1, "1", None, None))], [("people", (1, 1, None, None))]
    assert short(compared(*rows, wider)) == [("changed", "name", '"1"', "1", False)]
    counted = replace(TWO, tables=(replace(PEOPLE, columns=(*PEOPLE.columns[:3], Column("alive", "bigint"))), NOTES))
    rows = [("people", (1, None, None, True))], [("people", (1, None, None, 1))]
    assert short(compared(*rows, counted)) == [("changed", "alive", "true", "1", False)]


def test_rows_that_come_and_go_are_told_whole_and_are_unexplained() -> None:
    gone = ("people", (2, None, None, None))
    found = compared([ZOE, gone], [ZOE, NOTE])
    assert [(one.table, one.key, one.kind, one.intended, one.why) for one in found] == [
        ("notes", '["x",1]', "added", False, "nothing declares it"),
        ("people", "[2]", "removed", False, "nothing declares it"),
    ]
    assert found[1].before == '{"alive":null,"idx":2,"name":null,"tags":null}'
    assert (found[1].after, found[0].before) == (None, None)


def test_keys_do_not_run_into_each_other() -> None:
    first, second = ("notes", ('x",1', 1, "-")), ("notes", ("x", 11, "-"))
    found = compared([first], [second])
    assert [one.kind for one in found] == ["added", "removed"]
    assert len({one.key for one in found}) == 2


# -- inside JSON -----------------------------------------------------------------------------------------------


WITH_DOT = ("record.*", 'record["a.b"]', "1", None)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("record.a.b", "record.a.b", "1", "2")]),
        ({"a": {"b": {"c": {"d": 1}}}}, {"a": {"b": {"c": {}}}}, [("record.a.b", "record.a.b.c.d", "1", None)]),
        ({"a": None}, {}, [("record.a", "record.a", "null", None)]),
        ({}, {"a": None}, [("record.a", "record.a", None, "null")]),
        ({"a": 1}, {"a": "1"}, [("record.a", "record.a", "1", '"1"')]),
        ({"a": True}, {"a": 1}, [("record.a", "record.a", "true", "1")]),
        ({"a": [1, 2]}, {"a": [1]}, [("record.a[]", "record.a[1]", "2", None)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [("record.a[]", "record.a[0].b", "1", "2")]),
        ({"a": []}, {"a": {}}, [("record.a", "record.a", "[]", "{}")]),
        ({"a.b": 1}, {}, [("record.*", 'record["a.b"]', "1", None)]),
        ({"a.b": 1}, {"a": {"b": 1}}, [("record.a", "record.a", None, '{"b":1}'), WITH_DOT]),
        ({"Ann Lee": 1}, {}, [("record.*", 'record["Ann Lee"]', "1", None)]),
        ([1], [2], [("record[]", "record[0]", "1", "2")]),
        ([1], {"a": 1}, [("record", "record", "[1]", '{"a":1}')]),
    ],
)  # fmt: skip
def test_a_json_text_is_compared_inside_by_path(before: Any, after: Any, told: list[tuple[Any, ...]]) -> None:
    rows = [[("notes", ("x", 1, json.dumps(value)))] for value in (before, after)]
    found = compared(*rows)
    assert [(one.column, one.path, one.before, one.after) for one in found] == told
    assert not any(one.intended for one in found)


def test_numbers_are_compared_as_they_are_written() -> None:
    rows = [
        [("notes", ("x", 1, text))] for text in ('{"a":1.0,"b":90071992547409931}', '{"a":1.00,"b":90071992547409932}')
    ]
    assert [(one.path, one.before, one.after) for one in compared(*rows)] == [
        ("record.a", "1.0", "1.00"),
        ("record.b", "90071992547409931", "90071992547409932"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
        ('{"a":1}', '{"a": 1}'),
        ('{"a":1}', '{"a":1,"a":1}'),
        ('{"a":NaN}', '{"a":1}'),
        ('{"a":1}', '{"a":1'),
        ('{"a":"\\u00eb"}', '{"a":"ë"}'),
        ("[" * 70 + "]" * 70, "[" * 71 + "]" * 71),
        ("[" * 5_000, "[" * 5_001),
    ],
)
def test_a_text_that_is_written_otherwise_differs_as_a_whole(before: str, after: str) -> None:
    found = compared([("notes", ("x", 1, before))], [("notes", ("x", 1, after))])
    assert [(one.column, one.path, one.intended) for one in found] == [("record", "record", False)]
    assert (found[0].before, found[0].after) == (
        json.dumps(before, ensure_ascii=False),
        json.dumps(after, ensure_ascii=False),
    )


def test_half_a_character_is_written_as_json_can() -> None:
    found = compared([("notes", ("x", 1, '{"a":"\\ud800"}'))], [("notes", ("x", 1, '{"a":"\\u0000"}'))])
    assert [(one.before, one.after) for one in found] == [('"\\ud800"', '"\\u0000"')]


# -- declared by the tables ------------------------------------------------------------------------------------

WIDER = replace(PEOPLE, columns=(*PEOPLE.columns, Column("site", optional=True)))
NARROWER = replace(PEOPLE, columns=PEOPLE.columns[:3])


def test_a_new_column_is_intended_even_where_it_is_null() -> None:
    found = compared([ZOE], [("people", (*ZOE[1], None))], replace(TWO, tables=(WIDER, NOTES)))
    assert [(one.column, one.before, one.after, one.why) for one in found] == [("site", None, "null", "new column")]


def test_a_dropped_column_is_intended() -> None:
    found = compared([ZOE], [("people", ZOE[1][:3])], replace(TWO, tables=(NARROWER, NOTES)))
    assert [(one.column, one.before, one.after, one.why) for one in found] == [
        ("alive", "true", None, "dropped column")
    ]


def test_new_and_dropped_tables_are_intended() -> None:
    found = compared([ZOE], [NOTE], replace(TWO, tables=(NOTES,)), replace(ONE, tables=(PEOPLE,)))
    assert [(one.table, one.kind, one.why) for one in found] == [
        ("notes", "added", "new table"),
        ("people", "removed", "dropped table"),
    ]
    assert all(one.intended for one in found)


def test_a_new_column_excuses_no_other() -> None:
    changed = ("people", (1, "Zoe", ["a"], True, "S1"))
    found = compared([ZOE], [changed], replace(TWO, tables=(WIDER, NOTES)))
    assert [(one.column, one.intended) for one in found] == [("name", False), ("site", True)]


def test_a_new_key_column_needs_a_normaliser() -> None:
    keyed = replace(WIDER, key=("idx", "site"))
    with pytest.raises(NormaliserUnsound, match="keys people by the new column site"):
        compared([ZOE], [("people", (*ZOE[1], "S1"))], replace(TWO, tables=(keyed, NOTES)))


def test_rows_that_fall_together_under_a_smaller_key_are_told() -> None:
    smaller = replace(TWO, tables=(PEOPLE, replace(NOTES, key=("number",))))
    same = [("notes", ("x", 1, "-")), ("notes", ("y", 1, "-"))]
    found = compared(same, [("notes", ("x", 1, "-"))], smaller)
    assert [(one.kind, one.key, one.why, one.intended) for one in found] == [
        ("removed", "[1]", "another row of the version before has this key", False)
    ]


# -- declared by a normaliser ----------------------------------------------------------------------------------


def upper(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield table, {**row, "name": row["name"] and row["name"].upper()} if table == "people" else row


def test_what_the_normaliser_says_is_intended() -> None:
    found = compared([ZOE, NOTE], [("people", (1, "ZOË", ["a"], True)), NOTE], normalised(upper))
    assert short(found) == [("changed", "name", '"Zoë"', '"ZOË"', True)]
    assert found[0].why == "as the normaliser says"


def test_what_was_declared_and_did_not_come_is_unexplained() -> None:
    found = compared([ZOE], [ZOE], normalised(upper))
    assert short(found) == [("changed", "name", '"Zoë"', '"Zoë"', False)]
    assert (found[0].expected, found[0].why) == ('"ZOË"', "not as the normaliser says")


def test_something_else_than_was_declared_is_unexplained_and_shows_all_three() -> None:
    found = compared([ZOE], [("people", (1, "Ann", ["a"], True))], normalised(upper))
    assert [(one.before, one.after, one.expected, one.intended) for one in found] == [
        ('"Zoë"', '"Ann"', '"ZOË"', False)
    ]


def test_anything_is_any_value_of_its_column_alone() -> None:
    def free(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield table, {**row, "name": ANYTHING} if table == "people" else row

    found = compared([ZOE], [("people", (1, None, ["b"], True))], normalised(free))
    assert [(one.column, one.intended, one.why) for one in found] == [
        ("name", True, "declared to change"),
        ("tags", False, "not as the normaliser says"),
    ]
    assert compared([ZOE], [ZOE], normalised(free)) == []


def test_a_row_that_the_normaliser_drops_is_intended_and_one_that_stays_is_not() -> None:
    def drop(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return () if table == "people" else ((table, row),)

    assert short(compared([ZOE, NOTE], [NOTE], normalised(drop)))[0][::4] == ("removed", True)
    stays = compared([ZOE, NOTE], [ZOE, NOTE], normalised(drop))
    assert [(one.kind, one.intended, one.why) for one in stays] == [("added", False, "not as the normaliser says")]


def test_a_row_that_moves_to_another_table_is_a_removal_and_an_addition_both_intended() -> None:
    folk = replace(PEOPLE, name="folk")

    def move(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield "folk" if table == "people" else table, row

    second = normalised(move, tables=(folk, NOTES))
    found = compared([ZOE, NOTE], [("folk", ZOE[1]), NOTE], second)
    assert [(one.table, one.kind, one.intended) for one in found] == [
        ("folk", "added", True),
        ("people", "removed", True),
    ]
    lost = compared([ZOE, NOTE], [NOTE], second)
    assert [(one.table, one.kind, one.intended) for one in lost] == [
        ("folk", "removed", False),
        ("people", "removed", True),
    ]
    other = compared([ZOE, NOTE], [("folk", (1, "Ann", ["a"], True)), NOTE], second)
    assert [(one.table, one.kind, one.column, one.intended) for one in other] == [
        ("folk", "added", "", True),
        ("folk", "changed", "name", False),
        ("people", "removed", "", True),
    ]


def test_a_row_that_is_split_is_looked_for_in_both_places() -> None:
    def split(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield table, row
        if table == "people":
            yield table, {**row, "idx": row["idx"] + 100}

    found = compared([ZOE], [ZOE, ("people", (101, *ZOE[1][1:]))], normalised(split))
    assert [(one.key, one.kind, one.intended) for one in found] == [("[101]", "added", True)]
    assert [(one.key, one.kind, one.intended) for one in compared([ZOE], [ZOE], normalised(split))] == [
        ("[101]", "removed", False)
    ]


def test_inside_json_only_the_path_that_was_declared_is_intended() -> None:
    def doubled(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        if table != "notes":
            yield table, row
            return
        record = json.loads(row["record"])
        record["dose"] *= 2
        yield table, {**row, "record": json.dumps(record)}

    before = ("notes", ("x", 1, '{"dose":5,"unit":"mg"}'))
    assert [(one.path, one.before, one.after, one.intended) for one in compared(
        [before], [("notes", ("x", 1, '{"dose":10,"unit":"g"}'))], normalised(doubled)
    )] == [("record.unit", '"mg"', '"g"', False), ("record.dose", "5", "10", True)]  # fmt: skip
    missed = compared([before], [before], normalised(doubled))
    assert [(one.path, one.after, one.expected, one.intended) for one in missed] == [("record.dose", "5", "10", False)]


def test_a_json_column_may_be_given_as_a_structure_with_anything_inside() -> None:
    def free(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        if table == "notes":
            row = {**row, "record": {**json.loads(row["record"]), "at": ANYTHING}}
        yield table, row

    before = [("notes", ("x", 1, '{"a":1}'))]
    fine = compared(before, [("notes", ("x", 1, '{"at":"now","a":1}'))], normalised(free))
    assert [(one.path, one.intended) for one in fine] == [("record.at", True)]
    assert compared(before, before, normalised(free)) == []
    worse = compared(before, [("notes", ("x", 1, '{"a":2}'))], normalised(free))
    assert [(one.path, one.intended) for one in worse] == [("record.a", False)]


def test_two_rows_that_are_said_to_become_one_and_contradict_each_other_are_unexplained() -> None:
    def merge(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield table, {**row, "idx": 1} if table == "people" else row

    second = ("people", (2, "Ann", ["a"], True))
    found = compared([ZOE, second], [ZOE], normalised(merge))
    assert {(one.key, one.kind, one.intended) for one in found} >= {("[2]", "removed", True)}
    assert sum(not one.intended for one in found) >= 1
    twin = ("people", (2, *ZOE[1][1:]))
    assert [(one.key, one.kind, one.intended) for one in compared([ZOE, twin], [ZOE], normalised(merge))] == [
        ("[2]", "removed", True)
    ]


def test_the_way_leads_over_every_version_between() -> None:
    def third(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
        yield table, {**row, "name": f"{row['name']}!"} if table == "people" else row

    two, three = normalised(upper), replace(TWO, version=3, normaliser=third)
    after = [("people", (1, "ZOË!", ["a"], True))]
    assert [one.intended for one in compared([ZOE], after, three, known=[ONE, two, three])] == [True]
    assert [one.intended for one in compared([ZOE], after, three, known=[])] == [False]


def test_a_column_dropped_between_and_come_again_is_new() -> None:
    two = replace(TWO, tables=(NARROWER, NOTES))
    three = replace(TWO, version=3)
    found = compared([ZOE], [("people", (1, "Zoë", ["a"], False))], three, known=[two])
    assert [(one.column, one.intended, one.why) for one in found] == [("alive", True, "new column")]


def test_a_comparison_with_an_older_version_is_the_same_seen_from_the_other_side() -> None:
    wide = replace(TWO, tables=(WIDER, NOTES))
    found = [flipped(one) for one in compared([ZOE], [("people", (*ZOE[1], "S1")), NOTE], wide)]
    assert [(one.kind, one.column, one.before, one.after, one.why) for one in found] == [
        ("removed", "", found[0].before, None, "nothing declares it"),
        ("changed", "site", '"S1"', None, "dropped column"),
    ]


# -- normalisers that are amiss --------------------------------------------------------------------------------

SECRET = "Mary Jones"


def _raises(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    raise ValueError(f"cannot read {SECRET}")


def _raises_late(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield table, row
    raise KeyError(SECRET)


def _alters(table: str, row: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    row["name"] = SECRET
    yield table, row


def _endless(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    while True:
        yield table, row


def _giving(**changes: Any) -> Normaliser:
    return lambda table, row: [(table, {**row, **changes} if table == "people" else row)]


@pytest.mark.parametrize(
    ("normaliser", "because"),
    [
        (_raises, r"raises ValueError in _raises, line \d+"),
        (_raises_late, r"raises KeyError in _raises_late"),
        (_alters, r"raises TypeError"),
        (_endless, "more than 1,000 rows"),
        (lambda table, row: None, "raises TypeError"),
        (lambda table, row: [row], "something else than a table's name"),
        (lambda table, row: [(table, list(row))], "something else than a table's name"),
        (lambda table, row: ["ab"], "something else than a table's name"),
        (lambda table, row: [("persons", row)], "a row of 'persons', a table that there is not"),
        (lambda table, row: [(SECRET, row)], "a table that there is not"),
        (lambda table, row: [(table, {"idx": 1})], "gives people no column name"),
        (lambda table, row: [(table, {})], "gives people no column idx"),
        (_giving(nickname="x"), "gives people a column 'nickname' that there is not"),
        (_giving(**{SECRET: "x"}), "that there is not"),
        (_giving(idx="1"), "gives people.idx a str, not bigint"),
        (_giving(idx=True), "gives people.idx a bool, not bigint"),
        (_giving(idx=1.0), "gives people.idx a float, not bigint"),
        (_giving(idx=None), "gives people.idx a NoneType, not bigint"),
        (_giving(idx=ANYTHING), "declares people.idx as ANYTHING, which is part of the key"),
        (_giving(name=7), "gives people.name a int, not text"),
        (_giving(name={"a": {1, 2}}), "a structure that is not JSON"),
        (_giving(name={1: 2}), "a structure that is not JSON"),
        (_giving(tags="abc"), r"gives people.tags a str, not text\[\]"),
        (_giving(tags=["a", None]), r"gives people.tags a list, not text\[\]"),
        (_giving(alive=1), "gives people.alive a int, not boolean"),
    ],
)
def test_a_normaliser_that_is_amiss_is_refused_in_words_without_a_value(normaliser: Any, because: str) -> None:
    with pytest.raises(NormaliserUnsound, match=because) as refused:
        compared([ZOE], [ZOE], normalised(normaliser))
    assert "given a row of people" in refused.value.because
    assert SECRET not in str(refused.value)
    assert SECRET not in refused.value.because
    assert refused.value.__cause__ is None
    assert refused.value.remedy


# -- against a naive model, whatever the order -----------------------------------------------------------------

TEXTS = st.sampled_from(["", "a", "ë", "null", "{}", '{"a":1}', '{"a":2}', '{"a":[1,{"b":null}]}', '{"b":[]}'])
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["x", "y", '"', ","]), st.integers(0, 3)), TEXTS, max_size=8
).map(lambda found: [("notes", (*key, text)) for key, text in found.items()])  # fmt: skip


@given(ROWS, ROWS)
def test_added_removed_and_changed_keys_are_those_of_a_naive_comparison(before: Any, after: Any) -> None:
    old, new = ({row[1][:2]: row[1][2] for row in rows} for rows in (before, after))
    found = compared(before, after)
    told = {
        kind: {tuple(json.loads(one.key)) for one in found if one.kind == kind}
        for kind in ("added", "removed", "changed")
    }
    assert told["added"] == new.keys() - old.keys()
    assert told["removed"] == old.keys() - new.keys()
    assert told["changed"] == {key for key in old.keys() & new.keys() if old[key] != new[key]}


NAMES = st.sampled_from(["a", "b", "c.d", "0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "1", "ë"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c.d", "0"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def leaves(value: Any, path: str = "record") -> dict[str, str]:
    """Every path of a structure with what stands there."""
    if isinstance(value, dict) and value:
        steps = [(f".{name}" if name.isalpha() else f"[{json.dumps(name)}]", held) for name, held in value.items()]
    elif isinstance(value, list) and value:
        steps = [(f"[{place}]", held) for place, held in enumerate(value)]
    else:
        return {path: json.dumps(value)}
    return {one: text for step, held in steps for one, text in leaves(held, path + step).items()}


def meet(one: str, other: str) -> bool:
    """Whether one path leads to the other: an empty list or object is a leaf that has no parts."""
    return one.startswith(other) or other.startswith(one)


@given(st.dictionaries(st.just("v"), VALUES), st.dictionaries(st.just("v"), VALUES))
def test_inside_json_what_differs_leads_to_every_leaf_that_differs(before: Any, after: Any) -> None:
    found = compared([("notes", ("x", 1, json.dumps(before)))], [("notes", ("x", 1, json.dumps(after)))])
    old, new = leaves(before), leaves(after)
    differing = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    for path in differing:
        assert any(meet(path, one.path) for one in found), path
    for one in found:
        assert any(meet(path, one.path) for path in differing), one.path
        assert one.before != one.after
    if not differing:
        assert found == []


def shifted(table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Drops part x, renumbers part y, says "ë" louder, and lets go of what part `"` says."""
    if row["part"] != "x":
        number = row["number"] + 10 if row["part"] == "y" else row["number"]
        record = ANYTHING if row["part"] == '"' else row["record"].replace("ë", "Ë")
        yield table, {**row, "number": number, "record": record}


@given(ROWS, ROWS, st.booleans())
def test_what_is_unexplained_is_where_a_row_is_not_what_the_normaliser_expects(
    before: Any, after: Any, follows: bool
) -> None:
    expected = {}
    for table, values in before:
        for _, row in shifted(table, dict(zip(NOTES.names, values, strict=True))):
            expected[row["part"], row["number"]] = row["record"]
    if follows:  # some of what was declared came
        came = {key: "free" if text is ANYTHING else text for key, text in expected.items() if key[1] % 2}
        after = [row for row in after if row[1][:2] not in came] + [("notes", (*key, came[key])) for key in came]
    actual = {row[1][:2]: row[1][2] for row in after}
    wrong = {
        key
        for key in expected.keys() | actual.keys()
        if key not in expected or key not in actual or (expected[key] is not ANYTHING and expected[key] != actual[key])
    }
    found = compared(before, after, normalised(shifted))
    assert {tuple(json.loads(one.key)) for one in found if not one.intended} == wrong
    raw = {row[1][:2]: row[1][2] for row in before}
    changed = {key for key in raw.keys() | actual.keys() if raw.get(key) != actual.get(key)}
    assert {tuple(json.loads(one.key)) for one in found} == wrong | changed


@given(ROWS, ROWS, st.randoms(), st.integers(1, 5))
def test_neither_order_nor_how_many_rows_are_held_matters(
    before: Any, after: Any, shuffled: random.Random, held: int
) -> None:
    expected = compared(before, after)
    for rows in (before, after):
        shuffled.shuffle(rows)
    assert sorted(map(repr, compared(before, after, held=held))) == sorted(map(repr, expected))
    assert compared(before, after) == expected


@given(ROWS, ROWS)
def test_the_version_before_can_be_told_from_the_version_after_and_the_differences(before: Any, after: Any) -> None:
    known = {json.dumps(row[1][:2], separators=(",", ":")): row[1][2] for row in after}
    for one in compared(before, after):
        if one.kind == "added":
            del known[one.key]
        elif one.kind == "removed":
            known[one.key] = json.loads(one.before or "")["record"]
        elif one.path == "record" and one.before is not None:
            known[one.key] = json.loads(one.before) if one.before.startswith('"') else one.before
        else:
            known[one.key] = "inside"
    for row in before:
        key = json.dumps(row[1][:2], separators=(",", ":"))
        assert known.pop(key) in (row[1][2], "inside")
    assert known == {}


def test_the_hash_seed_of_the_process_does_not_matter() -> None:
    code = (
        "from tests.unit.projections.test_difference import *\n"
        "rows = [('people', (n, str(n % 7), [str(n)], None)) for n in range(50)]\n"
        "others = [('people', (n, str(n % 5), [str(n)], None)) for n in range(10, 60)]\n"
        "print(compared(rows, others, normalised(upper), held=7))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1_000
