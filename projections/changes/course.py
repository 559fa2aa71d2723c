"""What happened to the records of one aggregate between two sizes: folded once, from its first event to the later size.

Rules:
- a change counts from the entry that made it effective: a correction that waits for a second signature changes nothing
  until that is recorded, and is told then;
- every change names the entries that are responsible for it;
- what is redacted is not shown, neither before nor after; of what is masked after a withdrawn consent only the field
  is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from ledger.domain.aggregate import Study, Subject
from ledger.domain.participation import site_of
from ledger.domain.record import Record, Value
from projections.audit_trail.wording import event_label
from projections.engine.definition import Definition
from projections.engine.difference import PartRow
from projections.engine.folding import NOTHING, FoldFailed, StoredEvent, fold_one
from projections.entries import standing
from projections.subjects import Line, line

TOLD_ELSEWHERE = frozenset({"EntryCorrected", "EntryVoided", "DecisionReversed", "FieldsRedacted"})
"""Acts that are told by what they did, where they did anything: one that waits for a second signature has not."""

VOIDED, REVERSED, OTHER = "voided", "reversed", "standing"
_LIST_OF = {"void": VOIDED, "reversed": REVERSED}

LINE = tuple(name for name in Line.__slots__ if name not in ("name", "enrolled"))
"""Of a subject's line, what people call its state."""


@dataclass
class Course:
    """An aggregate at the later size, with what was noted on the way. `steps`: each change of the subject's line."""

    aggregate: Study | Subject
    start: int
    before: dict[int, str] = field(default_factory=dict)
    acts: dict[int, list[int]] = field(default_factory=dict)
    line_before: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    rows_before: dict[str, list[PartRow]] = field(default_factory=dict)
    at_start: Any = None

    @property
    def span(self) -> list[Record]:
        """The statements of the span, in order."""
        return [one for one in self.aggregate.records if one.index >= self.start]


def course_of(
    aggregate: Study | Subject,
    events: Iterable[StoredEvent],
    start: int,
    definitions: Sequence[Definition] = (),
    skipped: frozenset[int] = NOTHING,
    note: Any = lambda aggregate: None,
) -> Course:
    """Fold an empty aggregate over all its events; `note` is asked of it at the earlier size, and so are the rows of
    these definitions. Raises FoldFailed."""
    course = Course(aggregate, start)
    passed = False
    for event in events:
        if not passed and event.idx >= start:
            _remember(course, definitions, note)
            passed = True
        changed = fold_one(aggregate, event, skipped=skipped)
        if passed and changed:
            _step(course, event.idx, changed)
    if not passed:
        _remember(course, definitions, note)
    return course


def _remember(course: Course, definitions: Sequence[Definition], note: Any) -> None:
    aggregate = course.aggregate
    course.before = {one.index: standing(one) for one in aggregate.records}
    course.line_before = _line(aggregate)
    course.at_start = note(aggregate)
    for definition in definitions:
        course.rows_before[definition.name] = rows_of(definition, aggregate)


def rows_of(definition: Definition, aggregate: Study | Subject) -> list[PartRow]:
    """The rows of an aggregate as they are now. Raises FoldFailed."""
    records = list(aggregate.records)
    try:
        return list(definition.rows(aggregate, records)) if records else []
    except Exception as error:  # whatever a handler raises
        last = aggregate.records.last_index
        raise FoldFailed(last, "or an earlier one", f"{type(error).__name__}: {error}") from error


def _step(course: Course, index: int, changed: Sequence[Record]) -> None:
    course.indexes.append(index)
    for one in changed:
        if one.index == index:
            course.before.setdefault(index, "waits for a second signature" if one.pending else "stands")
        else:
            course.acts.setdefault(one.index, []).append(index)
    if isinstance(course.aggregate, Subject):
        found = _line(course.aggregate)
        last = course.steps[-1][1] if course.steps else course.line_before
        if found != last:
            course.steps.append((index, found))


def _line(aggregate: Study | Subject) -> dict[str, Any]:
    if not isinstance(aggregate, Subject) or not len(aggregate.records):
        return dict.fromkeys(LINE)
    found = replace(line(aggregate), site=site_of(aggregate))
    return {name: getattr(found, name) for name in LINE}


# -- what is told of it ----------------------------------------------------------------------------------------


def told(course: Course, masked: frozenset[int]) -> dict[str, list[dict[str, Any]]]:
    """The changes of the records: recorded, corrected, voided, reversed, standing (every other change of how a record
    stands), redacted; in order of what made them."""
    by_index = {one.index: one for one in course.aggregate.records}
    found: dict[str, list[dict[str, Any]]] = {
        "recorded": [],
        "corrected": sorted(_corrected(course, by_index, masked), key=lambda one: one["effective_at"]),
        VOIDED: [],
        REVERSED: [],
        OTHER: [],
        "redacted": sorted(_redacted(course), key=lambda one: one["index"]),
    }
    for one in course.aggregate.records:
        if course.before[one.index] != standing(one):
            found[_LIST_OF.get(standing(one), OTHER)].append(_stood(course, one, by_index))
    elsewhere = set(_responsible(found))
    found["recorded"] = [
        _recorded(one) for one in course.span if one.event not in TOLD_ELSEWHERE or one.index not in elsewhere
    ]
    return found


def _responsible(found: dict[str, list[dict[str, Any]]]) -> Iterable[int]:
    """The entries that are told by what they did, or by how they stand."""
    for one in (*found["corrected"], *found["redacted"]):
        yield one["index"]
    for one in (*found[VOIDED], *found[REVERSED], *found[OTHER]):
        yield one["record"]["index"]
        yield from one["indexes"]


def _recorded(record: Record) -> dict[str, Any]:
    return {
        **_named(record),
        "event_id": record.jti,
        "recorded_at": record.recorded_at,
        "occurred_at": record.occurred_at,
        "actor": record.iss,
        "role": record.role,
        "standing": standing(record),
    }


def _named(record: Record) -> dict[str, Any]:
    return {"index": record.index, "event": record.event, "event_label": event_label(record.event)}


def _corrected(course: Course, by_index: dict[int, Record], masked: frozenset[int]) -> Iterable[dict[str, Any]]:
    """Every value that a correction of the span put in the place of another."""
    for record in course.aggregate.records:
        for name, history in record.values.items():
            for earlier, later in pairwise(history):
                act = by_index.get(later.index)
                if act is None or act.effective_at < course.start:
                    continue
                hidden = record.index in masked
                yield {
                    "record": _named(record),
                    "field": name,
                    "before": None if hidden else earlier.value,
                    "after": None if hidden else later.value,
                    "masked": hidden,
                    "redacted": _gone(earlier, later),
                    "reason": None if hidden else later.reason,
                    "actor": later.iss,
                    "role": later.role,
                    "index": later.index,
                    "effective_at": act.effective_at,
                    "recorded_at": later.recorded_at,
                }


def _gone(*values: Value) -> bool:
    return any(value.redacted is not None for value in values)


def _stood(course: Course, record: Record, by_index: dict[int, Record]) -> dict[str, Any]:
    """How a record stood, how it stands, and the act that is responsible, with its reason."""
    indexes = [index for index in course.acts.get(record.index, ()) if by_index[index].event != "EntryCorrected"]
    act = by_index[indexes[-1]] if indexes else None
    source = act
    if act is not None and act.event == "Countersigned":  # who acted, and why, is in what was countersigned
        named = course.aggregate.records.target_of(act)
        source = named if named is not None and named.index != record.index else act
    return {
        "record": _named(record),
        "before": course.before[record.index],
        "after": standing(record),
        "reason": None if source is None else source.get("reason"),
        "actor": None if source is None else source.iss,
        "role": None if source is None else source.role,
        "indexes": list(dict.fromkeys(indexes)),
    }


def _redacted(course: Course) -> Iterable[dict[str, Any]]:
    for record in course.aggregate.records:
        gone: dict[int, list[str]] = {}
        for name, index in record.redacted.items():
            if index >= course.start:
                gone.setdefault(index, []).append(name)
        for index, names in gone.items():
            yield {"record": _named(record), "fields": sorted(names), "index": index}


def line_changes(course: Course) -> list[dict[str, Any]]:
    """What of the subject's line changed: before, after, and every entry on the way that changed it."""
    after = course.steps[-1][1] if course.steps else course.line_before
    changes = []
    for name in LINE:
        if course.line_before[name] == after[name]:
            continue
        responsible, last = [], course.line_before[name]
        for index, found in course.steps:
            if found[name] != last:
                responsible.append(index)
                last = found[name]
        changes.append({"what": name, "before": course.line_before[name], "after": after[name], "indexes": responsible})
    return changes
