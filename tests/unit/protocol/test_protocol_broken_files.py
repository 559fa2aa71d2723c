"""A protocol file with a defect is refused with its path, its line and what is wrong, in plain words."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from ledger.protocol import BrokenProtocol, UnknownStudy, UnknownVersion, load, packaged
from ledger.protocol.yaml_text import MAX_BYTES, read

GOOD = """\
format: trial-protocol/1
study: BROKEN-01
version: "1"
identification:
  brief_title: A small study
populations:
  patient: {label: patient, enrols: true, treated: true}
units:
  conversions:
    - {start: mg/dL, end: g/L, factor: "0.01"}
analytes:
  glucose: {label: glucose, unit: mmol/L, aliases: {any: [GLU]}}
  hcg: {label: pregnancy test, words: {positive: [positive], negative: [negative]}}
anchors:
  first_dose: {label: first dose, events: TreatmentAdministered}
inputs:
  glucose: {label: glucose, events: LabResultReported, analyte: glucose, field: value, type: number,
    unit: mmol/L, unit_field: unit}
  arm: {label: arm, events: SubjectScreened, field: arm, type: text}
  born: {label: born, events: SubjectScreened, field: birth_date, type: date, before: first_dose}
criteria:
  I01:
    category: inclusion
    text: Glucose above 7 mmol/L
    evaluation: auto
    expression: {more_than: [{input: glucose}, {number: "7 mmol/L"}]}
  I02:
    category: inclusion
    text: The investigator agrees
    evaluation: manual
treatment:
  product: tablet
  route: oral
  event: TreatmentAdministered
  number: 2
  interval: P1D
  dose_unit: mg
cohorts:
  L1: {label: level 1, purpose: escalation, dose: "10", seats: 3, order: 1}
  L2: {label: level 2, purpose: escalation, dose: "20", seats: 3, order: 2, after: L1}
escalation:
  policy: simple
  policies:
    simple:
      label: simple
      text: three by three
      rules: [{evaluated: {min: 3}, dlts: {}, action: escalate}]
timepoints:
  T1: {label: visit, activity: visit, kind: procedure, anchor: first_dose, offset: P1W,
    populations: patient, ambiguities: [AMB-1]}
outcomes:
  P1:
    type: primary
    order: 1
    measure: glucose
    definition: {kind: change, analytes: [glucose], timepoints: [T1]}
response_criteria:
  better: {label: better, source: here, unit: mmol/L, classes: {GOOD: {label: better, at_least: "5"}},
    otherwise: NONE, responders: GOOD}
ambiguities:
  AMB-1:
    text: When is the visit?
    touches: [timepoints.T1]
    blocks: [SubjectEnrolled]
    options:
      week: {text: after a week, sets: [{path: timepoints.T1.offset, value: P1W}]}
      other:
        text: at another time
        parameters: {offset: {type: duration, label: when}}
        sets: [{path: timepoints.T1.offset, value: {parameter: offset}}]
amendments:
  AM-1:
    version: "2"
    title: more seats
    reason: more people
    changes: [{path: cohorts.L1.seats, value: 6}]
"""

DEFECTS = [
    # what is done to the file: replace this by that; then the path, the text of the line, and what is said
    ("a key twice", "study: BROKEN-01", "study: BROKEN-01\nstudy: OTHER-02", "study", "study: OTHER-02", "twice"),
    ("an unknown section", "treatment:\n", "treatments:\n", "treatments", "treatments:", "no field here"),
    ("an unknown field", "  route: oral", "  rout: oral", "treatment.rout", "  rout: oral", "no field here"),
    ("a missing field", "  route: oral\n", "", "treatment.route", "treatment:", "is missing"),
    ("a fraction", 'dose: "10"', "dose: 10.5", "cohorts.L1.dose", "  L1:", "quoted decimals"),
    ("an exponent", 'dose: "10"', "dose: 1e3", "cohorts.L1.dose", "  L1:", "quoted decimals"),
    ("a number for text", 'version: "1"', "version: 1", "version", "version: 1", "needs text"),
    ("text for a number", "  number: 2", '  number: "2"', "treatment.number", '  number: "2"', "whole number"),
    ("a negative count", "seats: 3, order: 1", "seats: -3, order: 1", "cohorts.L1.seats", "  L1:", "out of range"),
    ("no decimal", 'dose: "10"', 'dose: "10mg"', "cohorts.L1.dose", "  L1:", "decimal"),
    ("a dose of zero", 'dose: "10"', 'dose: "0"', "cohorts.L1.dose", "  L1:", "not more than 0"),
    ("a bare no", "product: tablet", "product: no", "treatment.product", "  product: no", "readers disagree"),
    ("an octal number", "  number: 2", "  number: 010", "treatment.number", "  number: 010", "readers disagree"),
    ("sixty to the hour", "product: tablet", "product: 12:30", "treatment.product", "  product: 12:30", "disagree"),
    ("an anchor", "  product: tablet", "  product: &x tablet", "treatment.product", "  product: &x", "anchor &x"),
    ("an alias", "  product: tablet", "  product: *x", "treatment.product", "  product: *x", "alias *x"),
    ("a tag", "  product: tablet", "  product: !!str tablet", "treatment.product", "  product: !!str", "tag"),
    ("a python object", "  product: tablet", "  product: !!python/object:os.system x", "treatment.product",
     "  product: !!python", "tag"),
    ("a merge key", "  product: tablet", "  <<: {route: x}\n  product: tablet", "treatment", "  <<:", "disagree"),
    ("a second document", "treatment:\n", "---\ntreatment:\n", "", "---", "one document"),
    ("no YAML", "treatment:\n", "treatment: [\n", "", "  route", "not YAML"),
    ("a control character", "product: tablet", "product: tab\x07let", "", "  product: tab", "U+0007"),
    ("text that runs backwards", "product: tablet", "product: tab\u202elet", "", "  product: tab", "U+202E"),
    ("a blank text", "product: tablet", 'product: " "', "treatment.product", "  product:", "blank"),
    ("an id with a blank", "  L1: {", "  L 1: {", "cohorts.L 1", "  L 1: {", "letters, digits"),
    ("an id of its own", "  L1: {label", "  L1: {id: L1, label", "cohorts", "cohorts:", "its key is its id"),
    ("a list for a table", "populations:\n  patient: {label: patient, enrols: true, treated: true}",
     "populations:\n  - {label: patient}", "populations", "populations:", "mapping"),
    ("an unknown purpose", "L1: {label: level 1, purpose: escalation", "L1: {label: level 1, purpose: up",
     "cohorts.L1.purpose", "  L1:", "not one of"),
    ("a duration in words", "interval: P1D", "interval: daily", "treatment.interval", "  interval: daily", "ISO 8601"),
    ("an interval that runs backwards", "interval: P1D", "interval: -P1D", "treatment.interval",
     "  interval: -P1D", "backwards"),
    ("no interval between two doses", "  interval: P1D\n", "", "treatment.interval", "treatment:", "interval"),
    ("an unknown analyte of an input", "analyte: glucose, field", "analyte: gluc, field", "inputs.glucose.analyte",
     "  glucose: {label: glucose, events", "no analyte gluc"),
    ("an unknown input", "{input: glucose}", "{input: sugar}", "criteria.I01.expression.more_than[0].input",
     "    expression:", "no input sugar"),
    ("an unknown word", "{more_than: [", "{greater: [", "criteria.I01.expression", "    expression:", "no word"),
    ("evaluated text", "expression: {more_than: [{input: glucose}, {number: \"7 mmol/L\"}]}",
     'expression: "glucose > 7"', "criteria.I01.expression", "    expression:", "mapping of exactly one word"),
    ("one operand", '[{input: glucose}, {number: "7 mmol/L"}]', "[{input: glucose}]",
     "criteria.I01.expression.more_than", "    expression:", "exactly two"),
    ("a number compared with text", '{number: "7 mmol/L"}', "{text: seven}",
     "criteria.I01.expression.more_than[1].text", "    expression:", "needs a number"),
    ("units that do not convert", '{number: "7 mmol/L"}', '{number: "7 mg/dL"}',
     "criteria.I01.expression.more_than", "    expression:", "no conversion"),
    ("an expression that is no verdict", "expression: {more_than: [{input: glucose}, {number: \"7 mmol/L\"}]}",
     "expression: {input: glucose}", "criteria.I01.expression", "    expression:", "true or false"),
    ("a date for a number", "{input: glucose}, {number", "{input: born}, {number",
     "criteria.I01.expression.more_than[0].input", "    expression:", "needs a number"),
    ("a literal that is no decimal", '{number: "7 mmol/L"}', '{number: "seven mmol/L"}',
     "criteria.I01.expression.more_than[1].number", "    expression:", "decimal"),
    ("an expression with a manual criterion", "    evaluation: manual", "    evaluation: manual\n    expression: true",
     "criteria.I02", "  I02:", "judged by a person"),
    ("an automatic criterion without expression", "    evaluation: manual", "    evaluation: auto",
     "criteria.I02", "  I02:", "needs an expression"),
    ("an unknown cohort before", "after: L1", "after: L0", "cohorts.L2.after", "  L2:", "no cohort L0"),
    ("levels in a circle", "seats: 3, order: 1}", "seats: 3, order: 1, after: L2}", "cohorts.L1", "  L1:", "circle"),
    ("the same level twice", "order: 2", "order: 1", "cohorts.L2.order", "  L2:", "that of L1"),
    ("a level below the one before", 'dose: "20"', 'dose: "5"', "cohorts.L2.dose", "  L2:", "not above"),
    ("an unknown policy", "  policy: simple", "  policy: complex", "escalation.policy", "  policy:", "no policy"),
    ("an unknown anchor", "anchor: first_dose, offset", "anchor: dose, offset", "timepoints.T1.anchor",
     "  T1:", "no anchor dose"),
    ("an unknown population", "populations: patient, amb", "populations: people, amb", "timepoints.T1.populations",
     "    populations", "no population people"),
    ("an unknown ambiguity", "ambiguities: [AMB-1]}", "ambiguities: [AMB-7]}", "timepoints.T1.ambiguities",
     "    populations", "no ambiguity AMB-7"),
    ("an unknown time point", "timepoints: [T1]}", "timepoints: [T9]}", "outcomes.P1.definition.timepoints",
     "    definition:", "no time point T9"),
    ("an unknown class of response", "responders: GOOD}", "responders: Z}", "response_criteria.better.responders",
     "    otherwise", "no class Z"),
    ("a conversion twice", '    - {start: mg/dL, end: g/L, factor: "0.01"}',
     '    - {start: mg/dL, end: g/L, factor: "0.01"}\n    - {start: g/L, end: mg/dL, factor: "90"}',
     "units.conversions[1]", "    - {start: g/L", "declared twice"),
    ("a factor of zero", 'factor: "0.01"', 'factor: "0"', "units.conversions[0].factor", "    - {start", "more than 0"),
    ("one name for two analytes", "  hcg: {label: pregnancy test,", "  hcg: {label: t, aliases: {any: [glu]},",
     "analytes.hcg.aliases.any", "  hcg:", "name of glucose"),
    ("an ambiguity with one reading", "      week: {text: after a week, sets: [{path: timepoints.T1.offset, "
     "value: P1W}]}\n", "", "ambiguities.AMB-1.options", "    options:", "1 entries where 2"),
    ("an ambiguity that touches nothing", "touches: [timepoints.T1]", "touches: [timepoints.T9]",
     "ambiguities.AMB-1.touches", "    touches:", "names nothing"),
    ("an option that sets nothing there is", "sets: [{path: timepoints.T1.offset, value: P1W}]",
     "sets: [{path: timepoints.T8.offset, value: P1W}]", "ambiguities.AMB-1.options.week", "      week:", "no T8"),
    ("an option that sets something impossible", "sets: [{path: timepoints.T1.offset, value: P1W}]",
     "sets: [{path: timepoints.T1.offset, value: soon}]", "ambiguities.AMB-1.options.week", "      week:", "ISO 8601"),
    ("an option that rewrites what the file is", "sets: [{path: timepoints.T1.offset, value: P1W}]",
     "sets: [{path: study, value: OTHER-1}]", "ambiguities.AMB-1.options.week", "      week:", "stays as it is"),
    ("a parameter that is not declared", "value: {parameter: offset}", "value: {parameter: when}",
     "ambiguities.AMB-1.options.other.sets[0]", "        sets:", "no parameter when"),
    ("a choice without choices", "{type: duration, label: when}", "{type: choice, label: when}",
     "ambiguities.AMB-1.options.other.parameters.offset", "        parameters:", "choices"),
    ("an amendment of something that is not there", "path: cohorts.L1.seats", "path: cohorts.L9.seats",
     "amendments.AM-1.changes", "    changes:", "no L9"),
    ("an amendment that makes nonsense", "path: cohorts.L1.seats, value: 6", "path: cohorts.L1.seats, value: six",
     "amendments.AM-1.changes", "    changes:", "whole number"),
    ("an amendment of its own label", '    version: "2"', '    version: "1"', "amendments.AM-1.version",
     '    version: "1"', "there already"),
    ("another format", "trial-protocol/1", "trial-protocol/2", "format", "format:", "not one of"),
    ("a study id in small letters", "study: BROKEN-01", "study: broken", "study", "study:", "form"),
    ("an unknown input in a selection", "field: arm, type: text}",
     "field: arm, type: text, where: {x: {same_as: leg}}}", "inputs.arm.where.x", "  arm:", "no input leg"),
    ("selections in a circle", "field: arm, type: text}", "field: arm, type: text, where: {x: {same_as: arm}}}",
     "inputs.arm", "  arm:", "circle"),
    ("a condition that says nothing", "field: arm, type: text}", "field: arm, type: text, where: {x: {}}}",
     "inputs.arm.where.x", "  arm:", "exactly one"),
    ("a unit for a date", "type: date, before", "type: date, unit: mg, before", "inputs.born", "  born:", "number"),
    ("a response without its analyte", "{kind: change, analytes: [glucose], timepoints", "{kind: response, timepoints",
     "outcomes.P1.definition.analytes", "    definition:", "exactly one analyte"),
]  # fmt: skip


def problems_of(text: str) -> list[tuple[str, int | None, str]]:
    with pytest.raises(BrokenProtocol) as refused:
        load(text)
    return [tuple(problem) for problem in refused.value.problems]  # type: ignore[misc]


def test_the_file_that_is_broken_below_is_whole() -> None:
    assert load(GOOD).versions == ("1", "2")


@pytest.mark.parametrize(("defect", "old", "new", "path", "line", "said"), DEFECTS, ids=[case[0] for case in DEFECTS])
def test_a_defect_is_named_with_path_and_line(defect: str, old: str, new: str, path: str, line: str, said: str) -> None:
    assert GOOD.count(old) == 1, "the defect is put in exactly one place"
    broken = GOOD.replace(old, new)
    lines = broken.splitlines()
    found = problems_of(broken)
    fitting = [
        problem
        for problem in found
        if problem[0] == path
        and said in problem[2]
        and problem[1] is not None
        and lines[problem[1] - 1].startswith(line)
    ]
    assert fitting, found


def test_every_defect_is_listed_and_not_only_the_first() -> None:
    broken = GOOD.replace("route: oral", "rout: oral").replace('dose: "10"', 'dose: "ten"')
    paths = {path for path, _, _ in problems_of(broken)}
    assert {"treatment.route", "treatment.rout", "cohorts.L1.dose"} <= paths


def test_the_message_lists_the_problems_one_a_line() -> None:
    with pytest.raises(BrokenProtocol, match=r"line 31, treatment\.route: is missing") as refused:
        load(GOOD.replace("  route: oral\n", ""))
    assert str(refused.value).count("\n  - ") == len(refused.value.problems)


def test_a_file_too_large_for_a_statement_is_refused_unread() -> None:
    found = problems_of(GOOD + "#" * MAX_BYTES)
    assert "one statement takes" in found[0][2]


def test_values_that_expand_are_refused_before_they_do() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    found = problems_of(bomb)
    assert found == [("a", 1, "the anchor &a is refused: write values out")]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_without_end_is_refused_and_does_not_exhaust_the_reader(opening: str) -> None:
    text = "criteria: " + opening * 5_000 if opening != "- " else "criteria:\n  " + opening * 5_000 + "x"
    assert any("nested deeper" in message or "not YAML" in message for _, _, message in problems_of(text))


@pytest.mark.parametrize("text", ["", "   ", "just text", "- a list", "null", "\ud800"])
def test_what_is_no_protocol_file_at_all_is_refused(text: str) -> None:
    assert problems_of(text)


def test_an_expression_deeper_than_any_criterion_is_refused() -> None:
    deep = "{not: " * 60 + "true" + "}" * 60
    text = GOOD.replace('{more_than: [{input: glucose}, {number: "7 mmol/L"}]}', deep)
    assert any("nested deeper" in message for _, _, message in problems_of(text))


def test_a_version_or_study_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownVersion, match="no version '3'; it has 1, 2"):
        load(GOOD).version("3")
    with pytest.raises(UnknownStudy, match="NCT00000000"):
        packaged("NCT00000000")
    with pytest.raises(UnknownStudy):
        packaged("../../../etc/passwd")


JUNK: tuple[Any, ...] = (None, True, -1, 10**20, "", "x", "P1D", [], {}, ["x"], {"x": 1}, {"input": "glucose"})


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for key, part in parts for found in _paths(part, (*path, key)))]


@pytest.mark.parametrize("seed_of_chance", range(60))
def test_whatever_stands_in_a_place_the_file_loads_or_says_what_is_wrong(seed_of_chance: int) -> None:
    chance = random.Random(seed_of_chance)
    tree = copy.deepcopy(read(GOOD).data)
    path = chance.choice(_paths(tree)[1:])
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = chance.choice(JUNK)
    try:
        loaded = load(json.dumps(tree))
    except BrokenProtocol as error:
        assert all(problem.message for problem in error.problems)
    else:
        for label in loaded.versions:
            assert loaded.version(label).resolved().definition.version == label
