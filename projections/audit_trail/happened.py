"""Which lines of the audit trail are about what had happened by a moment (see `projections.engine.occurrence`).

Asked of each statement by its own row: when it occurred, as corrected; an act is in where what it is about is. Which
corrections of times there are is looked up once, for they are few; what acts are about, for each batch of entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ledger.domain.moments import OWN_TIME
from projections.engine.earlier import zones_of
from projections.engine.occurrence import KNOWLEDGE, OccurredBy, Told, has_occurred, timeless
from projections.engine.reading import Reader
from projections.engine.rows import Asked, Where, every

TIMES = frozenset({"occurred_at", "site", *OWN_TIME.values()})
"""Fields that say when, and in which zone; corrected ones count as corrected."""

TRAIL = "the trail"


class Occurring:
    """Tells of entries whether they are in, for one reader; those that may be are counted in its cut."""

    def __init__(self, reader: Reader, by: OccurredBy) -> None:
        self._reader, self._by = reader, by
        self._zones = zones_of(reader.study)
        self._verdicts: dict[int, bool | None] = {}
        self._corrected = self._corrections()
        reader.uncertain.by_partition.setdefault(TRAIL, 0)

    def of(self, entries: Sequence[Any]) -> list[Any]:
        """Those of these entries that are in."""
        self._learn(entries)
        unsure = [one for one in entries if one.kind != "act" and self._verdicts[one.idx] is None]
        self._reader.uncertain.by_partition[TRAIL] += len(unsure)
        return [one for one in entries if self._verdicts[one.idx]]

    def _learn(self, entries: Iterable[Any]) -> None:
        """Decide of these entries, after what they are about."""
        known = {one.idx: one for one in entries}
        missing = self._missing(known)
        while missing:
            found = self._reader.rows.select("entries", Asked((Where("idx", "in", sorted(missing)),), ("idx",)))
            known.update((one.idx, one) for one in found)
            missing = self._missing(known) - missing
        for index in sorted(known):  # what an act is about stands before it
            if index not in self._verdicts:
                self._verdicts[index] = self._verdict(known[index], known)

    def _missing(self, known: dict[int, Any]) -> set[int]:
        about = {one.target for one in known.values() if one.kind == "act" and one.target is not None}
        return {index for index in about if index not in known}

    def _verdict(self, entry: Any, known: dict[int, Any]) -> bool | None:
        if entry.kind != "act" or entry.event == "FieldsRedacted":
            return self._occurred(entry)
        if entry.target is None:
            return False if entry.event in KNOWLEDGE else self._occurred(entry)
        if not self._verdicts.get(entry.target):
            return False
        about = known[entry.target]
        if entry.event == "Countersigned" and timeless(about.event, about.kind):
            return True
        return self._occurred(entry)

    def _occurred(self, entry: Any) -> bool | None:
        corrected = self._corrected.get(entry.idx, {})
        name = OWN_TIME.get(entry.event)
        own = None
        if name is not None:
            own = corrected[name] if name in corrected else _stated(entry, name)
        told = Told(
            entry.event,
            entry.kind,
            entry.mode,
            entry.recorded_at,
            corrected.get("occurred_at", entry.occurred_at),
            own,
        )
        return has_occurred(told, self._by, self._zones(corrected.get("site") or entry.site or None))

    def _corrections(self) -> dict[int, dict[str, Any]]:
        """The times that were corrected, by the index of the entry and the field, as they stand."""
        reader = self._reader
        shapes = [
            one.shape
            for one in reader.rows.one_of_each("entries", "shape")
            if one.event == "EntryCorrected" and not TIMES.isdisjoint(one.fields)
        ]
        asked = (Where("shape", "in", shapes), Where("idx", "<", reader.size))
        made = [one for one in every(reader.rows, "entries", asked, ("idx",)) if one.target is not None]
        found: dict[int, dict[str, Any]] = {}
        for one in sorted(made, key=lambda one: one.effective_at or 0):
            if one.effective_at is not None and one.effective_at < reader.size:
                name, _, value, *_ = msgspec.json.decode(one.points)[0]
                found.setdefault(one.target, {})[name] = value
        return found


def _stated(entry: Any, name: str) -> Any:
    """A field as an entry stated it."""
    if name not in entry.fields:
        return None
    return next((after for field, _, after, *_ in msgspec.json.decode(entry.points) if field == name), None)
