"""What pydantic cannot see: references to nothing, circles, wrong types in expressions, unsound tables.

Each check is a generator of (path, message) over a whole definition; `problems` runs them all. To add a rule
about protocol files, add a generator and its name to CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from ledger.protocol.dates import parse_duration
from ledger.protocol.expression import parse
from ledger.protocol.expression.base import Node, Scope
from ledger.protocol.facts import plain
from ledger.protocol.model import Definition
from ledger.protocol.model.course import SELECTED
from ledger.protocol.model.criteria import Condition, Conversion
from ledger.protocol.patches import placeholders
from ledger.protocol.problems import Path
from ledger.protocol.quantities import Units, decimal

Found = Iterator[tuple[Path, str]]

MAX_REPEATS = 400  # occasions of one time point: daily for a year, and a typo such as PT1S is noticed


def units_of(definition: Definition) -> Units:
    """The conversions that the definition declares."""
    declared: dict[str | None, tuple[Conversion, ...]] = {None: definition.units.conversions}
    declared.update((key, analyte.conversions) for key, analyte in definition.analytes.items())
    return Units({key: [(row.start, row.end, row.factor) for row in rows] for key, rows in declared.items()})


def compiled(definition: Definition, scope: Scope) -> dict[str, tuple[Node | None, Node | None]]:
    """`applicable_if` and `expression` of every criterion, read and checked; problems go to the scope."""
    trees = {}
    for key, criterion in definition.criteria.items():
        pair: list[Node | None] = []
        for name, raw in (("applicable_if", criterion.applicable_if), ("expression", criterion.expression)):
            if raw is None:
                pair.append(None)
                continue
            path: Path = ("criteria", key, name)
            before = len(scope.problems)
            tree = parse(raw, path, scope)
            if len(scope.problems) == before:
                found = tree.check(scope)
                if found is not None and found.kind != "boolean":
                    scope.problem(path, f"a criterion is true or false, and this is a {found.kind}")
            pair.append(tree)
        trees[key] = (pair[0], pair[1])
    return trees


def _named(path: Path, names: Iterable[str | None], table: Mapping[str, object], what: str) -> Found:
    for name in names:
        if name is not None and name not in table:
            yield path, f"there is no {what} {name}"


def _unsound(conversions: Iterable[tuple[Path, str, str, str]]) -> Found:
    seen: dict[tuple[str, str], str] = {}
    for path, start, end, factor in conversions:
        if start == end:
            yield path, f"{start} needs no conversion to itself"
        elif (start, end) in seen or (end, start) in seen:
            yield path, f"{start} to {end} is declared twice"
        seen[start, end] = factor


def analytes(d: Definition) -> Found:
    """Names and codes mean one analyte; conversions are declared once."""
    top = ((("units", "conversions", i), c.start, c.end, c.factor) for i, c in enumerate(d.units.conversions))
    yield from _unsound(top)
    names: dict[tuple[str, str], str] = {("any", plain(key)): key for key in d.analytes}
    codes: dict[tuple[str, str], str] = {}
    for key, analyte in d.analytes.items():
        at: Path = ("analytes", key)
        yield from _unsound(
            ((*at, "conversions", i), c.start, c.end, c.factor) for i, c in enumerate(analyte.conversions)
        )
        for lab, aliases in analyte.aliases.items():
            for alias in aliases:
                other = names.setdefault((lab, plain(alias)), key)
                if other != key:
                    yield (*at, "aliases", lab), f"{alias!r} is a name of {other} already"
        for code in (*((analyte.code,) if analyte.code else ()), *analyte.other_codes):
            other = codes.setdefault((code.system, code.code), key)
            if other != key:
                yield at, f"the code {code.code} of {code.system} is that of {other} already"


def selectors(d: Definition) -> Found:
    """Inputs and anchors name what is there, and not each other in circles."""
    units = units_of(d)
    needs: dict[str, set[str]] = {}
    for key, anchor in d.anchors.items():
        path: Path = ("anchors", key)
        yield from _conditions(d, path, anchor.where)
        needs[f"anchors.{key}"] = {f"inputs.{c.same_as}" for c in anchor.where.values() if c.same_as}
    for key, item in d.inputs.items():
        path = ("inputs", key)
        yield from _conditions(d, path, item.where)
        yield from _named((*path, "analyte"), [item.analyte], d.analytes, "analyte")
        yield from _named((*path, "before"), [item.before], d.anchors, "anchor")
        yield from _named((*path, "after"), [item.after], d.anchors, "anchor")
        analyte = d.analytes.get(item.analyte or "")
        if analyte is not None and item.unit and analyte.unit and item.unit != analyte.unit:
            if units.factor(analyte.unit, item.unit, analyte.id) is None:
                yield (*path, "unit"), f"{analyte.unit} of {analyte.id} does not convert to {item.unit}"
        own = {f"inputs.{c.same_as}" for c in item.where.values() if c.same_as}
        needs[f"inputs.{key}"] = own | {f"anchors.{name}" for name in (item.before, item.after) if name}
    yield from _circle(needs, "selects by")


def _conditions(d: Definition, path: Path, where: Mapping[str, Condition]) -> Found:
    for name, condition in where.items():
        at = (*path, "where", name)
        yield from _named(at, [condition.same_as], d.inputs, "input")
        other = d.inputs.get(condition.same_as or "")
        if other is not None and other.type != "text":
            yield at, f"{other.id} is a {other.type}; same_as needs a text"


def _circle(needs: Mapping[str, set[str]], verb: str) -> Found:
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = error.args[1]
        section, _, key = circle[0].partition(".")
        yield (section, key), f"goes round in a circle: {f' {verb} '.join(reversed(circle))}"


def criteria(d: Definition) -> Found:
    """Expressions have the right types; ambiguities named are there."""
    scope = Scope(d, units_of(d))
    compiled(d, scope)
    yield from scope.problems
    for key, criterion in d.criteria.items():
        yield from _named(("criteria", key, "ambiguities"), criterion.ambiguities, d.ambiguities, "ambiguity")


def dose_levels(d: Definition) -> Found:
    """Levels follow each other upwards without circle; a selected dose has levels to be selected from."""
    orders: dict[int, str] = {}
    levels = [cohort for cohort in d.cohorts.values() if cohort.purpose == "escalation"]
    for cohort in d.cohorts.values():
        path: Path = ("cohorts", cohort.id)
        yield from _named((*path, "after"), [cohort.after], d.cohorts, "cohort")
        if cohort.dose == SELECTED and (cohort.purpose == "escalation" or not levels):
            yield (*path, "dose"), "a dose can be selected only from levels of escalation before it"
    for cohort in levels:
        path = ("cohorts", cohort.id)
        if cohort.order is None or cohort.dose is None:
            yield path, "a level of escalation needs an order and a dose"
        elif cohort.order in orders:
            yield (*path, "order"), f"the order {cohort.order} is that of {orders[cohort.order]} already"
        else:
            orders[cohort.order] = cohort.id
    ladder = [d.cohorts[orders[order]] for order in sorted(orders)]
    for below, above in pairwise(ladder):
        doses = (below.dose, above.dose)
        if SELECTED not in doses and decimal(doses[0] or "0") >= decimal(doses[1] or "0"):
            yield ("cohorts", above.id, "dose"), f"is not above the dose of {below.id}, the level before it"
    yield from _circle({f"cohorts.{c.id}": {f"cohorts.{c.after}"} for c in d.cohorts.values() if c.after}, "after")
    if d.escalation is not None:
        yield from _named(("escalation", "policy"), [d.escalation.policy], d.escalation.policies, "policy")
        if not levels:
            yield ("escalation",), "there is no cohort whose purpose is escalation"
    if d.treatment is None and any(cohort.dose for cohort in d.cohorts.values()):
        yield ("cohorts",), "cohorts have doses, and there is no treatment that says of what"


def course(d: Definition) -> Found:
    """Treatment, consent, pregnancy rule, toxicity and safety name what is there."""
    yield from _named(("dlt", "window_from"), [d.dlt.window_from], d.anchors, "anchor")
    for name in ("starts", "primary_window_from", "captured_from"):
        yield from _named(("safety", name), [getattr(d.safety, name)], d.anchors, "anchor")
    if d.consent is not None:
        yield from _named(("consent", "populations"), d.consent.populations, d.populations, "population")
    if d.pregnancy is not None:
        yield from _named(("pregnancy", "analyte"), [d.pregnancy.analyte], d.analytes, "analyte")
        analyte = d.analytes.get(d.pregnancy.analyte)
        if analyte is not None and analyte.words is None:
            yield ("pregnancy", "analyte"), f"{analyte.id} declares no words for positive and negative"
    if d.treatment is not None:
        path: Path = ("treatment", "timepoints")
        yield from _named(path, d.treatment.timepoints, d.timepoints, "time point")
        if d.treatment.timepoints and len(d.treatment.timepoints) != d.treatment.number:
            yield (
                path,
                f"names {len(d.treatment.timepoints)} time points for {d.treatment.number} administrations",
            )
        if d.treatment.number > 1 and d.treatment.interval is None:
            yield ("treatment", "interval"), "more than one administration needs an interval"
    for key, arm in d.arms.items():
        yield from _named(("arms", key, "interventions"), arm.interventions, d.interventions, "intervention")
        yield from _named(("arms", key, "course"), [step.element for step in arm.course], d.elements, "element")
    for key, visit in d.visits.items():
        yield from _named(("visits", key, "arm"), [visit.arm], d.arms, "arm")


def timepoints(d: Definition) -> Found:
    """Time points name what is there; ranges and repeats run forwards and end."""
    for key, point in d.timepoints.items():
        path: Path = ("timepoints", key)
        yield from _named((*path, "anchor"), [point.anchor], d.anchors, "anchor")
        yield from _named((*path, "populations"), point.populations, d.populations, "population")
        yield from _named((*path, "analytes"), point.analytes, d.analytes, "analyte")
        yield from _named((*path, "ambiguities"), point.ambiguities, d.ambiguities, "ambiguity")
        if point.first is not None:
            yield from _named((*path, "first", "cohorts"), point.first.cohorts, d.cohorts, "cohort")
        if point.sequence is not None:
            yield from _named((*path, "sequence"), [point.sequence.timepoint], d.timepoints, "time point")
        start = parse_duration(point.offset).rough_seconds
        if point.until is not None and parse_duration(point.until).rough_seconds < start:
            yield (*path, "until"), f"{point.until} lies before {point.offset}"
        if point.repeat is not None and point.repeat.every is not None and point.repeat.until is not None:
            length = parse_duration(point.repeat.until).rough_seconds - start
            every = parse_duration(point.repeat.every).rough_seconds
            if every <= 0 or length < 0 or length // every > MAX_REPEATS:
                yield (*path, "repeat"), f"comes more than {MAX_REPEATS} times, or never"


def outcomes(d: Definition) -> Found:
    """Outcomes name what is there; response criteria have classes that respond."""
    for key, outcome in d.outcomes.items():
        yield from _named(("outcomes", key, "ambiguities"), outcome.ambiguities, d.ambiguities, "ambiguity")
        made = outcome.definition
        if made is None:
            continue
        path: Path = ("outcomes", key, "definition")
        yield from _named((*path, "analytes"), made.analytes, d.analytes, "analyte")
        yield from _named((*path, "timepoints"), made.timepoints, d.timepoints, "time point")
        yield from _named((*path, "criteria"), [made.criteria], d.response_criteria, "response criteria")
        yield from _named((*path, "starts"), [made.starts], d.anchors, "anchor")
        yield from _named((*path, "compared_with"), [made.compared_with], d.populations, "population")
        if made.baseline is not None:
            yield from _named((*path, "baseline", "before"), [made.baseline.before], d.anchors, "anchor")
        if made.bleeding is not None:
            yield from _named((*path, "bleeding", "input"), [made.bleeding.input], d.inputs, "input")
            found = d.inputs.get(made.bleeding.input)
            if found is not None and (found.type, found.pick) != ("boolean", "all"):
                yield (*path, "bleeding", "input"), f"{found.id} is not all records of a boolean"
        if made.kind == "response" and len(made.analytes) != 1:
            yield (*path, "analytes"), "a response is read from exactly one analyte"
    for key, response in d.response_criteria.items():
        path = ("response_criteria", key, "responders")
        yield from _named(path, response.responders, response.classes, "class")


def open_questions(d: Definition) -> Found:
    """Parameters that patches name are declared, versions have labels of their own."""
    for key, ambiguity in d.ambiguities.items():
        for name, option in ambiguity.options.items():
            for place, patch in enumerate(option.sets):
                path: Path = ("ambiguities", key, "options", name, "sets", place)
                yield from _named(path, sorted(placeholders(patch.value)), option.parameters, "parameter")
    labels = {d.version}
    for key, amendment in d.amendments.items():
        if amendment.version in labels:
            yield ("amendments", key, "version"), f"the version {amendment.version} is there already"
        labels.add(amendment.version)
        for place, patch in enumerate(amendment.changes):
            if placeholders(patch.value):
                yield ("amendments", key, "changes", place), "an amendment has no parameters"


CHECKS: tuple[Callable[[Definition], Found], ...] = (
    analytes,
    selectors,
    criteria,
    dose_levels,
    course,
    timepoints,
    outcomes,
    open_questions,
)


def problems(definition: Definition) -> list[tuple[Path, str]]:
    """Everything that is wrong with a definition whose form is valid."""
    return [found for check in CHECKS for found in check(definition)]
