"""Versions of one event: each has a model of its own, and from each to the next leads one upcaster.

What was recorded is never touched: reading brings the fields of a statement, step by step, to the newest version.

- The newest model has the event's name; the one before it stands in `before`, is named `<Event>V<number>`, and stays
  in the catalogue for ever, with its upcaster: there are entries of it.
- A field keeps its name only as long as it keeps its meaning and its form. What takes its place has another name and
  says in `came_from` of which fields it is made; what is given up stands in `dropped`. So of every field of every
  version it is known what became of it, and a correction or redaction that names it is understood for ever.
- An upcaster is pure and total: every disclosed field may be missing, because it was never given or is redacted. It
  works on copies, gives fields of its version alone, and asks nobody.
- A field that a version adds is missing in what was recorded before: whoever reads it has to expect that.
- A field is disclosed where one of those it is made of was: what can be redacted stays so.

 CATALOGUE-8  every event of the log is of a version that this release knows
 CATALOGUE-9  an upcaster brings every statement of its version to the next
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ledger.domain.model import EventModel
from ledger.domain.refusals import Refusal

Models = tuple[type[EventModel], ...]
"""The models of one event, version 1 first."""

Fields = Mapping[str, Any]


class EventUnreadable(Refusal):
    """The log holds an event that this release does not know."""

    rule, status = "CATALOGUE-8", 503
    remedy = (
        "Use the release that recorded it, or a later one. Until then this release shows and records nothing that "
        "depends on it; nothing is lost."
    )


class UpcastFailed(Refusal):
    """An event of an earlier version could not be brought to the form of the next."""

    rule, status = "CATALOGUE-9", 503
    remedy = (
        "Use the release before meanwhile, and report the event, its index and its version: the upcaster has a fault; "
        "what was recorded is as it was."
    )


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a record of an earlier version keeps besides its fields of today, so that a correction in terms of any
    version since can be followed. `stages` are body and content in each version from its own to the last but one, as
    corrected; `content` is what was stated, in the form of today."""

    version: int
    stages: tuple[tuple[Fields, Fields], ...]
    content: Fields


def chain(newest: type[EventModel]) -> Models:
    """The models of an event, version 1 first; ValueError where what they declare does not fit together."""
    found = [newest]
    while (before := found[-1].__dict__.get("before")) is not None:
        found.append(before)
    models = tuple(reversed(found))
    for number, model in enumerate(models, start=1):
        if model.v != number:
            raise ValueError(f"{model.__name__} is the {number}. version of {newest.__name__}, and says {model.v}")
        if model is not newest and model.__name__ != f"{newest.__name__}V{number}":
            raise ValueError(f"version {number} of {newest.__name__} is called {model.__name__}")
    for older, newer in pairwise(models):
        _check_step(older, newer)
    if not accepted(models) or not set(accepted(models)) <= set(range(1, newest.v + 1)):
        raise ValueError(f"{newest.__name__} accepts versions that it does not have")
    return models


def _check_step(older: type[EventModel], newer: type[EventModel]) -> None:
    """What one version says of the one before it."""
    before, now = set(older.model_fields), set(newer.model_fields)
    made, dropped = came_from(newer), frozenset(newer.__dict__.get("dropped", ()))
    sources = {name for names in made.values() for name in names}
    problems = {
        "has no upcaster of its own": "upcast" not in newer.__dict__,
        "does not say what became of " + _listed(before - now - sources - dropped): before - now - sources - dropped,
        "names fields that the version before does not have": (sources | dropped) - before,
        "makes fields that it does not have, or that the version before had": (made.keys() - now)
        | (made.keys() & before),
        "drops fields that it has, or that others are made of": dropped & (now | sources),
        "moves between clear and disclosed": (before & now & older.clear_fields())
        ^ (before & now & newer.clear_fields()),
        "makes a clear field of a disclosed one": [
            name
            for name, names in made.items()
            if name in newer.clear_fields() and not older.clear_fields() >= set(names)
        ],
    }
    for problem, there in problems.items():
        if there:
            raise ValueError(f"{newer.__name__} version {newer.v} {problem}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def came_from(model: type[EventModel]) -> Mapping[str, tuple[str, ...]]:
    """New fields of a version, each with the fields of the version before that it is made of."""
    found: Mapping[str, tuple[str, ...]] = model.__dict__.get("came_from", {})
    return found


def accepted(models: Models) -> tuple[int, ...]:
    """The versions in which new statements are recorded: the newest and the one before, unless the model says so."""
    newest = models[-1]
    stated: Sequence[int] | None = newest.__dict__.get("accepts")
    return tuple(sorted(stated)) if stated is not None else tuple(range(max(1, newest.v - 1), newest.v + 1))


def became(models: Models, version: int, name: str) -> tuple[str, ...]:
    """What a field of a version is called in the newest one: usually itself; several where it was split, none where
    it was dropped or is no field of that version."""
    names = {name} & set(models[version - 1].model_fields)
    for newer in models[version:]:
        names = set(_next(newer, names))
    return tuple(sorted(names))


def _next(newer: type[EventModel], names: set[str]) -> Iterator[str]:
    """The fields of a version in which these of the version before live on."""
    for name, sources in came_from(newer).items():
        if not names.isdisjoint(sources):
            yield name
    yield from names & set(newer.model_fields)


def version_of(models: Models, name: str, since: int) -> int | None:
    """The first version from `since` on that has a field of this name; None where none has."""
    return next((model.v for model in models[since - 1 :] if name in model.model_fields), None)


def known(models: Models, version: int, index: int | None = None) -> None:
    """Raises EventUnreadable for a version that is newer than the newest here."""
    newest = models[-1]
    if not 1 <= version <= newest.v:
        raise unreadable(newest.__name__, version, newest.v, index)


def unreadable(event: str, version: int, newest: int | None, index: int | None) -> EventUnreadable:
    """The refusal that names the event, its version, where it stands and what this release knows."""
    here = "does not know this event" if newest is None else f"knows it up to version {newest}"
    where = "" if index is None else f" at index {index}"
    because = f"{event} version {version}{where} was recorded by a later release; this release {here}"
    return EventUnreadable(because, () if index is None else (index,))


def upcast(
    models: Models, version: int, body: Fields, content: Fields
) -> tuple[dict[str, Any], dict[str, Any], Earlier | None]:
    """Body and content in the newest form, and what to keep of the earlier ones. Raises UpcastFailed."""
    if version == len(models):
        return dict(body), dict(content), None
    stages = [(copy.deepcopy(dict(body)), copy.deepcopy(dict(content)))]
    for model in models[version:]:
        stages.append(_step(model, *stages[-1]))
    last_body, last_content = stages.pop()
    return dict(last_body), dict(last_content), Earlier(version, tuple(stages), dict(last_content))


def _step(model: type[EventModel], body: Fields, content: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    """One upcaster, on copies; what it gives are fields of its version and stand where they belong."""
    clear, disclosed = copy.deepcopy(dict(body)), copy.deepcopy(dict(content))
    try:
        model.upcast(clear, disclosed)
    except Exception as error:  # whatever it is, it is the upcaster's
        raise UpcastFailed(f"to version {model.v}: {type(error).__name__}: {error}") from error
    strange = sorted((clear.keys() - model.clear_fields()) | (disclosed.keys() - model.disclosed_fields()))
    if strange:
        raise UpcastFailed(
            f"to version {model.v}: it gives {', '.join(strange)}, which that version does not have there"
        )
    return clear, disclosed


def corrected(models: Models, earlier: Earlier, name: str, value: Any) -> tuple[Earlier, dict[str, Any]]:
    """A correction of a record of an earlier version that names a field of any version since: what is kept after it,
    and the fields of the newest version that it sets, None where nothing is known any more. Raises UpcastFailed."""
    at = version_of(models, name, earlier.version)
    if at is None or at == len(models):
        return earlier, {name: value}
    stages = list(earlier.stages)
    place = at - earlier.version
    stages[place] = (stages[place][0], _set(stages[place][1], {name: value}))
    names = {name}
    for model in models[at:]:
        made = _step(model, *stages[place])[1]
        names = set(_next(model, names))
        changes = {one: made.get(one) for one in names}
        place += 1
        if place == len(stages):
            return replace(earlier, stages=tuple(stages)), changes
        stages[place] = (stages[place][0], _set(stages[place][1], changes))
    raise AssertionError("the newest version was reached")


def without(earlier: Earlier, models: Models, name: str) -> Earlier:
    """The same without a field of the statement's own version, which is redacted, in whatever form it is kept."""
    stages, names = [], {name}
    for place, (body, content) in enumerate(earlier.stages):
        if place:
            names = set(_next(models[earlier.version + place - 1], names))
        stages.append((body, {one: value for one, value in content.items() if one not in names}))
    gone = set(became(models, earlier.version, name))
    content = {one: value for one, value in earlier.content.items() if one not in gone}
    return replace(earlier, stages=tuple(stages), content=content)


def _set(content: Fields, changes: Fields) -> dict[str, Any]:
    """The content with these fields set; None takes one away."""
    return {name: value for name, value in {**content, **changes}.items() if name not in changes or value is not None}
