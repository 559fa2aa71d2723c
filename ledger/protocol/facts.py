"""Facts as the protocol sees them, and how a selector of the protocol file picks among them.

Rules: facts are ordered by when they happened, facts of the same stamp by their index. Where the stamps do
not decide which came last (or whether one came before an anchor), every fact that may be meant is a
candidate, and a value counts as known only as far as all candidates agree: numbers and dates become the
range over them. Nothing recorded is not the same as recorded absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple, Protocol

from ledger.protocol.dates import PartialTime, is_before, parse_time
from ledger.protocol.model import Definition
from ledger.protocol.model.criteria import Anchor, Condition, Input


class Observation(NamedTuple):
    """A recorded fact with its current values; what is voided is never given."""

    jti: str
    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nobody calls
    event: str
    occurred_at: str | None
    content: Mapping[str, Any]


class Seen(Protocol):
    """What is read of a fact; Observation has it, and so has the domain's own."""

    @property
    def jti(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def event(self) -> str: ...
    @property
    def occurred_at(self) -> str | None: ...
    @property
    def content(self) -> Mapping[str, Any]: ...


class Facts(Protocol):
    """The facts about one subject, and of the study what concerns every subject (approved documents)."""

    def observations(self, event: str) -> Sequence[Seen]:
        """Facts of this event in index order; empty where there is none."""
        ...


def plain(text: str) -> str:
    """Text for comparing: without case, surrounding and repeated blanks."""
    return " ".join(text.casefold().split())


def value_at(fact: Seen, path: str) -> Any:
    """The value at a dotted path of the content; None where nothing stands."""
    if path == "occurred_at":
        return fact.occurred_at if fact.occurred_at is not None else fact.content.get("occurred_at")
    value: Any = fact.content
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def time_of(fact: Seen, fields: Sequence[str]) -> PartialTime | None:
    """The time in the first of these fields that is filled; None where it is blank or no time."""
    for path in fields:
        text = value_at(fact, path)
        if isinstance(text, str) and text.strip():
            try:
                return parse_time(text.strip())
            except ValueError:
                return None
    return None


class AnalyteIndex:
    """Which analyte of the study a laboratory means: by key, by code in its system, by the lab's own name."""

    def __init__(self, definition: Definition):
        self._names: dict[tuple[str, str], str] = {}
        self._codes: dict[tuple[str, str], str] = {}
        for key, analyte in definition.analytes.items():
            self._names["any", plain(key)] = key
            for lab, names in analyte.aliases.items():
                for name in names:
                    self._names.setdefault((lab, plain(name)), key)
            for code in (*((analyte.code,) if analyte.code else ()), *analyte.other_codes):
                self._codes[code.system, code.code] = key

    def key(self, content: Mapping[str, Any]) -> str | None:
        """The analyte's key for the content of a laboratory result; None for one the study does not know."""
        named, lab = content.get("analyte"), content.get("laboratory")
        if isinstance(named, str):
            found = self._names.get((lab, plain(named))) if isinstance(lab, str) else None
            found = found or self._names.get(("any", plain(named)))
            system, bar, code = named.rpartition("|")
            found = found or (self._codes.get((system, code)) if bar else None)
            if found:
                return found
        return self._by_code(named) or self._by_code(content.get("code"))

    def _by_code(self, code: Any) -> str | None:
        if isinstance(code, Mapping) and isinstance(code.get("system"), str) and isinstance(code.get("code"), str):
            return self._codes.get((code["system"], code["code"]))
        return None


class Chosen(NamedTuple):
    """`sure`: facts that match; `possible`: those that match if what is not known turns out so;
    `candidates`: among both, those that may be the one picked."""

    sure: tuple[Seen, ...]
    possible: tuple[Seen, ...]
    candidates: tuple[Seen, ...]


class Selection:
    """Picks facts of one subject by the selectors of a protocol; each selector is followed once."""

    def __init__(self, definition: Definition, analytes: AnalyteIndex, facts: Facts, zone: tzinfo | None):
        self.definition = definition
        self.analytes = analytes
        self.facts = facts
        self.zone = zone
        self._anchors: dict[str, Chosen] = {}
        self._inputs: dict[str, Chosen] = {}
        self._events: dict[str, Sequence[Seen]] = {}
        self._results: dict[str, dict[str | None, list[Seen]]] = {}

    def anchor(self, name: str) -> Chosen:
        """The facts that may be the anchor."""
        if name not in self._anchors:
            anchor = self.definition.anchors[name]
            sure, possible = self._matching(anchor, None)
            self._anchors[name] = _picked(sure, possible, anchor.pick, anchor.field, self.zone)
        return self._anchors[name]

    def anchor_times(self, name: str) -> tuple[PartialTime | None, ...]:
        """The times that the anchor may have: none where it has not happened, None for a time not known."""
        fields = self.definition.anchors[name].field
        return tuple(dict.fromkeys(time_of(fact, fields) for fact in self.anchor(name).candidates))

    def input(self, name: str) -> Chosen:
        """The facts that an input picks."""
        if name not in self._inputs:
            self._inputs[name] = self.chosen(self.definition.inputs[name])
        return self._inputs[name]

    def chosen(self, selector: Input) -> Chosen:
        """The facts that a selector picks, named in the protocol or not."""
        sure, possible = self._matching(selector, selector.analyte)
        for anchor, wanted in ((selector.before, True), (selector.after, False)):
            if anchor is not None:
                sure, possible = self._limited(sure, possible, selector, anchor, before=wanted)
        return _picked(sure, possible, selector.pick, selector.order_by, self.zone)

    def _matching(self, selector: Input | Anchor, analyte: str | None) -> tuple[list[Seen], list[Seen]]:
        sure: list[Seen] = []
        possible: list[Seen] = []
        for fact in self._all(selector.events, analyte):
            holds = [self._meets(value_at(fact, path), wanted) for path, wanted in selector.where.items()]
            if False not in holds:
                (possible if None in holds else sure).append(fact)
        return sure, possible

    def _all(self, events: Iterable[str], analyte: str | None) -> list[Seen]:
        """Facts of these events in index order, of one analyte where one is named; each event is read once."""
        found: list[Seen] = []
        for event in events:
            if event not in self._events:
                self._events[event] = self.facts.observations(event)
            if analyte is None:
                found += self._events[event]
                continue
            if event not in self._results:
                self._results[event] = {}
                for fact in self._events[event]:
                    self._results[event].setdefault(self.analytes.key(fact.content), []).append(fact)
            found += self._results[event].get(analyte, ())
        return sorted(found, key=lambda seen: seen.index)

    def _meets(self, value: Any, wanted: Condition) -> bool | None:
        if wanted.same_as is not None:
            field = self.definition.inputs[wanted.same_as].field
            others = [value_at(fact, field) for fact in self.input(wanted.same_as).candidates]
            agreed = {plain(other) for other in others if isinstance(other, str)}
            if len(agreed) != 1:
                return None
            return isinstance(value, str) and plain(value) in agreed
        if isinstance(value, str):
            texts = wanted.one_of or ((wanted.equals,) if isinstance(wanted.equals, str) else ())
            return plain(value) in {plain(text) for text in texts}
        return type(value) is type(wanted.equals) and value == wanted.equals

    def _limited(
        self, sure: list[Seen], possible: list[Seen], selector: Input, anchor: str, before: bool
    ) -> tuple[list[Seen], list[Seen]]:
        times = self.anchor_times(anchor)
        if not times:
            return (sure, possible) if before else ([], [])
        kept: list[Seen] = []
        maybe: list[Seen] = []
        for place, fact in enumerate(sure + possible):
            own = time_of(fact, selector.order_by)
            answers = {_lies(own, time, before, self.zone) for time in times}
            if answers == {True} and place < len(sure):
                kept.append(fact)
            elif answers != {False}:
                maybe.append(fact)
        return kept, maybe


def _lies(own: PartialTime | None, anchor: PartialTime | None, before: bool, zone: tzinfo | None) -> bool | None:
    if own is None or anchor is None:
        return None
    return is_before(own, anchor, zone) if before else is_before(anchor, own, zone)


def _picked(sure: list[Seen], possible: list[Seen], pick: str, fields: Sequence[str], zone: tzinfo | None) -> Chosen:
    if pick not in ("first", "last"):
        return Chosen(tuple(sure), tuple(possible), (*sure, *possible))
    newest = pick == "last"
    stamped = [(fact, time_of(fact, fields)) for fact in sure + possible]
    bounds = _spans([time for _, time in stamped], zone)
    firm = bounds[: len(sure)]
    edge = (max if newest else min)((low if newest else high for low, high in firm), default=None)
    rivals: dict[str | None, list[tuple[int, bool, Seen]]] = {}
    for place, ((fact, time), (low, high)) in enumerate(zip(stamped, bounds, strict=True)):
        if edge is None or (high >= edge if newest else low <= edge):
            rank = fact.index if newest else -fact.index
            rivals.setdefault(time.text if time else None, []).append((rank, place < len(sure), fact))
    candidates = [fact for group in rivals.values() for fact in _of_one_stamp(group)]
    return Chosen(tuple(sure), tuple(possible), tuple(sorted(candidates, key=lambda seen: seen.index)))


def _of_one_stamp(group: list[tuple[int, bool, Seen]]) -> list[Seen]:
    """Among facts of one stamp the index decides: the best sure one, and those possible beyond it."""
    best = max((rank for rank, is_sure, _ in group if is_sure), default=None)
    return [fact for rank, is_sure, fact in group if best is None or rank > best or (is_sure and rank == best)]


def _spans(times: list[PartialTime | None], zone: tzinfo | None) -> list[tuple[datetime, datetime]]:
    """Earliest and latest moment of each time, comparable with each other; a time not known is any time."""
    local = zone is None and all(time is None or time.offset is None for time in times)
    always = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    spans = []
    for time in times:
        if time is None:
            spans.append(always)
        elif local:
            spans.append((time.first.replace(tzinfo=UTC), time.last.replace(tzinfo=UTC)))
        else:
            spans.append(time.instants(zone))
    return spans
