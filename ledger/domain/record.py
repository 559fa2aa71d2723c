"""Records: what an aggregate remembers of its statements, and how acts change what is current.

The rules kept here, for subjects and the study alike (ICH E6(R3) 4.2.2; 21 CFR 11.10(e)):
- nothing is edited: a correction adds a value to one field, every earlier value stays, in order;
- a void marks a fact, a void of a void lifts it again; decisions are reversed, never corrected or voided;
- what needs a second signature changes nothing until that signature stands, and then from that index on;
- a redaction removes values (the current ones and the copies it names) and leaves that, when and by whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.domain import versions

CLAIM_FIELDS = frozenset({"site"})
"""Claims that a correction may name as if they were fields of the content."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A fact as the protocol's criteria see it: current values; voided facts are not given."""

    jti: str
    index: int
    event: str
    occurred_at: str | None
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a field has had: who put it there, in which role, when, why; `index` is that of the act,
    `redacted` the index from which on the value is gone."""

    value: Any
    index: int
    recorded_at: str
    iss: str
    role: str
    reason: str | None = None
    redacted: int | None = None


@dataclass(slots=True)
class Record:
    """One recorded statement and what later acts made of it.

    `content` holds the current disclosed values, `values` every value in order for each field that was ever
    corrected, `body` the clear fields, `claims` the signed claims as received. `redacted` names the fields of the
    statement itself that are gone, each with the index from which on they are; `gone` tells it of a current value.
    All fields go by their names in the newest version of the event; `now_named` tells them of another name.
    """

    index: int
    recorded_at: str
    digest: str
    kid: str
    claims: Mapping[str, Any]
    kind: str
    body: dict[str, Any]
    content: dict[str, Any]
    values: dict[str, list[Value]] = field(default_factory=dict)
    pending: bool = False
    void: bool = False
    voids: list[str] = field(default_factory=list)
    reversed_at: int | None = None
    countersigned_at: int | None = None
    withdrawn_at: int | None = None
    disputed: list[int] = field(default_factory=list)
    redacted: dict[str, int] = field(default_factory=dict)
    acts: list[int] = field(default_factory=list)
    effective_at: int = -1
    earlier: versions.Earlier | None = None
    """Of a statement in an earlier version of its event alone."""

    jti = property(lambda self: self.claims["jti"])
    event = property(lambda self: self.claims["event"])
    sub = property(lambda self: self.claims["sub"])
    iss = property(lambda self: self.claims["iss"])
    role = property(lambda self: self.claims["role"])
    iat = property(lambda self: self.claims["iat"])
    meaning = property(lambda self: self.claims.get("meaning"))
    cut = property(lambda self: self.claims.get("cut"))
    mode = property(lambda self: self.claims.get("mode", "direct"))

    @property
    def site(self) -> str | None:
        """The site as corrected."""
        for value in reversed(self.values.get("site", ())):
            if value.redacted is None:
                return value.value  # type: ignore[no-any-return]
        return self.claims.get("site")

    @property
    def occurred_at(self) -> str | None:
        """When it happened, as declared and corrected; None where unknown."""
        return self.content.get("occurred_at")

    @property
    def stands(self) -> bool:
        """In effect: countersigned where it had to be, not voided, not reversed."""
        return not (self.pending or self.void or self.reversed_at is not None)

    @property
    def done(self) -> bool:
        """Stands, and records something that happened rather than that it did not."""
        return self.stands and self.content.get("status") not in ("not done", "unknown")

    def gone(self, name: str) -> int | None:
        """The index from which on a field's current value is redacted; None where it is not."""
        history = self.values.get(name)
        return history[-1].redacted if history else self.redacted.get(name)

    def get(self, name: str, default: Any = None) -> Any:
        """A field, disclosed or clear."""
        return self.content[name] if name in self.content else self.body.get(name, default)

    def now_named(self, name: str) -> tuple[str, ...]:
        """What a field that an act names is called in the newest version: several names where it was split, its own
        where it lives on in none. An act names a field of the version of its original, or of a later one."""
        models = self._models()
        since = None if len(models) == 1 else versions.version_of(models, name, self.claims["v"])
        return (name,) if since is None else versions.became(models, since, name) or (name,)

    def corrected(self, name: str, value: Any) -> dict[str, Any]:
        """The fields of today that a correction sets; remembers it for the next one in terms of an earlier version."""
        if self.earlier is None or name in CLAIM_FIELDS:
            return {name: value}
        self.earlier, fields = versions.corrected(self._models(), self.earlier, name, value)
        return fields

    def forget(self, name: str) -> None:
        """A field of the statement is redacted: no earlier form of it is kept."""
        if self.earlier is not None:
            self.earlier = versions.without(self.earlier, self._models(), name)

    def _models(self) -> versions.Models:
        from ledger.domain.catalogue import CATALOGUE  # the catalogue lists files that import this one

        return CATALOGUE.versions(self.event)


class Records:
    """The statements of one aggregate by event id, in index order, with the effect of the acts among them."""

    __slots__ = ("by_event", "by_jti", "last_index", "memo")

    def __init__(self) -> None:
        self.by_jti: dict[str, Record] = {}
        self.by_event: dict[str, list[Record]] = {}
        self.last_index = -1
        self.memo: dict[Any, Any] = {}
        """What was derived from these records and is dear; forgotten at the next one."""

    def __len__(self) -> int:
        return len(self.by_jti)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.by_jti.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self.by_jti == other.by_jti

    def get(self, jti: str) -> Record | None:
        """The record with this event id."""
        return self.by_jti.get(jti)

    def of(self, *events: str) -> list[Record]:
        """Records of these events that stand, in index order."""
        found = [record for event in events for record in self.by_event.get(event, ()) if record.stands]
        return sorted(found, key=lambda record: record.index) if len(events) > 1 else found

    def last(self, *events: str) -> Record | None:
        """The newest record of these events that stands."""
        found = self.of(*events)
        return found[-1] if found else None

    def observations(self, event: str) -> list[Observation]:
        """Facts that happened, for the protocol's criteria, in index order."""
        return [
            Observation(r.jti, r.index, event, r.occurred_at, r.body | r.content if r.body else r.content)
            for r in self.by_event.get(event, ())
            if r.done
        ]

    def apply(self, record: Record) -> list[Record]:
        """Take in one record; returns it and every earlier record whose state it changed."""
        self.memo.clear()
        self.by_jti[record.jti] = record
        self.by_event.setdefault(record.event, []).append(record)
        self.last_index = record.effective_at = record.index
        changed = [record]
        target = self.target_of(record)
        if target is not None:
            target.acts.append(record.index)
            changed.append(target)
        if record.event == "Countersigned":
            if target is not None and target.pending:
                target.pending = False
                target.countersigned_at = target.effective_at = record.index
                self._effect(target, changed)
        elif not record.pending:
            self._effect(record, changed)
        return changed

    def target_of(self, record: Record) -> Record | None:
        """The earlier record that an act names, if it is one of this aggregate's."""
        for claim in ("corrects", "voids", "answers", "reverses", "countersigns"):
            named = record.claims.get(claim)
            if named is not None:
                return self.by_jti.get(named["jti"])
        return None

    def original_of(self, act: Record) -> Record:
        """The record that an act is about in the end; of the void of a void, what was voided first."""
        while (target := self.target_of(act)) is not None:
            act = target
        return act

    def _effect(self, record: Record, changed: list[Record]) -> None:
        effect = _EFFECTS.get(record.event)
        if effect is not None:
            effect(self, record, changed)

    def _correct(self, record: Record, changed: list[Record]) -> None:
        target = self.target_of(record)
        if target is not None:
            given = target.corrected(record.claims["corrects"]["field"], record.content.get("value"))
            for name, value in given.items():
                self._set(target, name, value, record)
            changed.append(target)

    def _set(self, target: Record, name: str, value: Any, record: Record) -> None:
        history = target.values.get(name)
        if history is None:
            first = target.claims.get(name) if name in CLAIM_FIELDS else target.content.get(name)
            gone = None if name in CLAIM_FIELDS else target.redacted.get(name)
            author = Value(first, target.index, target.recorded_at, target.iss, target.role, None, gone)
            history = target.values[name] = [author]
        reason = record.content.get("reason")
        gone = record.redacted.get("value")
        history.append(Value(value, record.index, record.recorded_at, record.iss, record.role, reason, gone))
        if name not in CLAIM_FIELDS:
            if value is None:
                target.content.pop(name, None)
            else:
                target.content[name] = value

    def _void(self, record: Record, changed: list[Record]) -> None:
        target = self.target_of(record)
        if target is not None:
            target.voids.append(record.jti)
            self._settle(target, changed)

    def _settle(self, record: Record, changed: list[Record]) -> None:
        """A record is void while a void of it stands; a void that is void itself lifts what it voided."""
        settled: Record | None = record
        while settled is not None:  # a chain of voids may be longer than a stack is deep
            settled.void = any(not self.by_jti[jti].void for jti in settled.voids)
            changed.append(settled)
            goes_on = settled.event == "EntryVoided" and not settled.pending
            settled = self.target_of(settled) if goes_on else None

    def _reverse(self, record: Record, changed: list[Record]) -> None:
        target = self.target_of(record)
        if target is not None and target.reversed_at is None:
            target.reversed_at = record.effective_at
            changed.append(target)

    def _withdraw_signature(self, record: Record, changed: list[Record]) -> None:
        target = self.by_jti.get(record.body["record"]["jti"])
        if target is not None:
            target.acts.append(record.index)
            target.withdrawn_at = record.effective_at
            changed.append(target)

    def _dispute(self, record: Record, changed: list[Record]) -> None:
        target = self.by_jti.get(record.body["record"]["jti"])
        if target is not None:
            target.acts.append(record.index)
            target.disputed.append(record.index)
            changed.append(target)

    def _redact(self, record: Record, changed: list[Record]) -> None:
        """The fields that an order names are gone, with what corrections made of them, stored still or not."""
        for named in record.body["records"]:
            target = self.by_jti.get(named["jti"])
            if target is None:
                continue
            target.acts.append(record.index)
            changed.append(target)
            for stated in named.get("fields", ()):
                target.forget(stated)
                for name in target.now_named(stated):
                    target.redacted.setdefault(name, record.effective_at)
                    self._blank(target, name, target.index, target.redacted[name])
                    if target.gone(name) is not None:
                        target.content.pop(name, None)
                    if target.event == "EntryCorrected" and name in ("value", "reason"):
                        self._blank_correction(target, name, changed)

    def _blank_correction(self, act: Record, name: str, changed: list[Record]) -> None:
        """The value, or the reason, that a correction gave is gone from the record that it corrected."""
        corrected, field_name = self.target_of(act), act.claims["corrects"]["field"]
        if corrected is None:
            return
        changed.append(corrected)
        if name == "reason":
            for one_name in corrected.now_named(field_name):
                history = corrected.values.get(one_name, [])
                history[:] = [replace(one, reason=None) if one.index == act.index else one for one in history]
            return
        for one in corrected.now_named(field_name):
            self._blank(corrected, one, act.index, act.redacted["value"])
            if one not in CLAIM_FIELDS and corrected.gone(one) is not None:
                corrected.content.pop(one, None)

    @staticmethod
    def _blank(record: Record, name: str, index: int, at: int) -> None:
        """Of the values that a field has had, the one that was given at an index is gone."""
        history = record.values.get(name, [])
        history[:] = [replace(one, value=None, redacted=at) if one.index == index else one for one in history]


_EFFECTS = {
    "EntryCorrected": Records._correct,
    "EntryVoided": Records._void,
    "DecisionReversed": Records._reverse,
    "SignatureWithdrawn": Records._withdraw_signature,
    "AttributionDisputed": Records._dispute,
    "FieldsRedacted": Records._redact,
}
