"""Electronic signatures as they stand now: what each one covers, and what happened to that since it was given.

A signature covers the records that it lists, the record that it countersigns, or its own statement. It was given on a
state, its cut: whatever takes effect from that size on the signer had not seen, also where it stands below the
signature's own index (FDA Q&A 2024 III.E; EMA 6.3: a later change invalidates a sign-off).

- a correction, a void, its lifting, a reversal, a redaction, a dispute and a withdrawn signature change what was
  signed; one that waits for its second signature waits here as well, and changes nothing yet;
- signing the same record again, with the same meaning and in the same role, on a state that has the change, settles it;
- a signature is withdrawn or disputed by an act of its signer, and disputed while its key is under suspicion.
A decision rests on more than its own statement: what of its basis changed is BASIS-1 (`basis.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ledger.domain.manifestation import FIELDS as MANIFESTATION
from ledger.domain.record import Record, Records

STANDS = "stands"
CHANGED = "changed since signed"
AGAIN = "signed again"
WITHDRAWN = "withdrawn"
DISPUTED = "disputed"
SUSPECT = "disputed: key under suspicion until reaffirmed"
REVERSED = "reversed"
WAITS = "waits for a second signature"
STANDINGS = (STANDS, CHANGED, AGAIN, WITHDRAWN, DISPUTED, SUSPECT, REVERSED, WAITS)
"""Every standing that an electronic signature can have."""

LISTING = frozenset({"RecordsSigned", "SourceVerified"})
"""Events that list the records that they are about in `body.records`."""

TOUCHING = frozenset(
    {
        "EntryCorrected",
        "EntryVoided",
        "DecisionReversed",
        "FieldsRedacted",
        "AttributionDisputed",
        "SignatureWithdrawn",
        "Countersigned",
    }
)
"""Events on which the standing of a signature depends, besides signatures themselves."""

_CHANGES = {"EntryCorrected": "corrected", "DecisionReversed": "reversed", "FieldsRedacted": "redacted"}
_ABOUT = {"AttributionDisputed": "attribution disputed", "SignatureWithdrawn": "signature withdrawn"}

VOIDS_TOLD = 4
"""How many steps of a void of a void (of a void ...) are told besides the last: more than people ever need."""

Suspect = Callable[[str, int, str, str], bool]
"""Says of a statement, by key, index, event id and digest, whether it is disputed because its key is under suspicion:
`Authority.disputed`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an act did to a record: `index` is the act's, `effective_at` the index from which on it counts (None while
    it waits for a second signature), `at` the ledger's time of that, `again` the signatures that took it in."""

    jti: str
    what: str
    index: int
    effective_at: int | None
    at: str
    actor: str
    fields: tuple[str, ...] = ()
    again: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A signature as it stands: the changes that it has not seen, and those that wait for a second signature."""

    standing: str
    changes: tuple[Change, ...] = ()
    waiting: tuple[Change, ...] = ()
    because: tuple[int, ...] = ()


def covers(record: Record) -> tuple[str, ...]:
    """The event ids of what a signature is about."""
    if record.event in LISTING:
        return tuple(dict.fromkeys(named["jti"] for named in record.body.get("records") or ()))
    if record.event == "Countersigned":
        return (record.claims["countersigns"]["jti"],)
    return (record.jti,)


def seen_size(record: Record) -> int:
    """The size of the state that a signature was given on; without a cut, all below its own index."""
    return int(record.cut["size"]) if record.cut is not None else record.index


def nobody(kid: str, index: int, jti: str, digest: str) -> bool:
    """No key is under suspicion."""
    return False


class Signatures:
    """The electronic signatures of one aggregate, and what became of what they cover."""

    def __init__(self, records: Records, suspect: Suspect = nobody) -> None:
        self._records, self._suspect = records, suspect
        self.all = [record for record in records if record.meaning is not None]
        self._over: dict[str, list[Record]] = {}
        for record in self.all:
            for jti in covers(record):
                self._over.setdefault(jti, []).append(record)
        by_index = {record.index: record for event in TOUCHING for record in records.by_event.get(event, ())}
        self._touched: dict[str, list[Change]] = {}
        for act in sorted(by_index.values(), key=lambda act: act.index):
            for change in changes_by(records, act, by_index):
                if records.get(change.jti) is None:
                    continue  # it stands elsewhere, and what is not here is not signed here
                self._touched.setdefault(change.jti, []).append(change)

    def over(self, record: Record) -> list[Record]:
        """The signatures that a record has: its own, where it is one, and those that cover it, in index order."""
        own = [record] if record.meaning is not None else []
        found = {one.index: one for one in (*own, *self._over.get(record.jti, ()))}
        return [found[index] for index in sorted(found)]

    def covering(self, jti: str) -> list[Record]:
        """The signatures that cover the record of this event id."""
        return self._over.get(jti, [])

    def state(self, signature: Record, jti: str | None = None) -> State:
        """How a signature stands; with `jti`, as far as that record goes that it covers."""
        own = self._own(signature)
        if own is not None:
            return own
        about = covers(signature) if jti is None or jti == signature.jti else (jti,)
        size = seen_size(signature)
        touched = [change for one in about for change in self._touched.get(one, ())]
        unseen = [change for change in touched if self._counts(signature, change, size)]
        found = tuple(replace(change, again=self._again(signature, change)) for change in unseen)
        waiting = tuple(change for change in touched if change.effective_at is None and change.index != signature.index)
        if not found:
            return State(STANDS, (), waiting)
        standing = AGAIN if all(change.again for change in found) else CHANGED
        return State(standing, found, waiting)

    def _own(self, signature: Record) -> State | None:
        """What ends or suspends a signature, whatever became of what it covers."""
        acts = self._touched.get(signature.jti, ())

        def by(what: str) -> tuple[int, ...]:
            return tuple(change.index for change in acts if change.what == what)

        if signature.withdrawn_at is not None:
            return State(WITHDRAWN, because=by("signature withdrawn"))
        if signature.disputed:
            return State(DISPUTED, because=tuple(signature.disputed))
        if self._suspect(signature.kid, signature.index, signature.jti, signature.digest):
            return State(SUSPECT)
        if signature.reversed_at is not None:
            return State(REVERSED, because=(signature.reversed_at,))
        if signature.pending:
            return State(WAITS)
        return None

    @staticmethod
    def _counts(signature: Record, change: Change, size: int) -> bool:
        """Whether a change came after what the signer saw; the effect of a signature is not a change to itself."""
        if change.effective_at is None or change.effective_at < size:
            return False
        if change.jti == signature.jti and change.what == "redacted":
            return not set(change.fields) <= set(MANIFESTATION) or not change.fields
        return signature.index not in (change.index, change.effective_at)

    def _again(self, signature: Record, change: Change) -> tuple[int, ...]:
        """The signatures that settle a change: over the same record, by the same meaning and role, after it."""
        return tuple(
            one.index
            for one in self._over.get(change.jti, ())
            if one.event == "RecordsSigned"
            and one.index > signature.index
            and (one.meaning, one.role) == (signature.meaning, signature.role)
            and change.effective_at is not None
            and seen_size(one) > change.effective_at
            and self._own(one) is None
        )


def changes_by(records: Records, act: Record, by_index: dict[int, Record]) -> Iterator[Change]:
    """What an act changed, record by record; `by_index` holds the acts of the aggregate. A second signature makes
    the act that it signs effective, and changes nothing itself."""
    if act.event == "Countersigned":
        return
    counts = by_index.get(act.effective_at, act)
    effective = None if act.pending else act.effective_at
    seen = Change("", "", act.index, effective, act.recorded_at if act.pending else counts.recorded_at, act.iss)
    if act.event == "FieldsRedacted":
        yield from _redacted(records, act, seen)
    elif act.event in _ABOUT:
        yield replace(seen, jti=act.body["record"]["jti"], what=_ABOUT[act.event])
    elif act.event == "EntryVoided":
        yield from _voided(records, act, seen)
    else:
        target = records.target_of(act)
        if target is not None:
            named = (act.claims.get("corrects") or {}).get("field")
            fields = () if named is None else target.now_named(named)
            yield replace(seen, jti=target.jti, what=_CHANGES[act.event], fields=fields)


def _voided(records: Records, act: Record, seen: Change) -> Iterator[Change]:
    """A void voids what it names, lifts what that had voided, and so on to the record in the end.

    Of a long chain of voids those between are left out: each step would be told anew for each void above it.
    """
    words = ("voided", "restored")
    target = act
    for step in range(VOIDS_TOLD):
        found = records.target_of(target) if target.event == "EntryVoided" else None
        if found is None:
            return
        target = found
        yield replace(seen, jti=target.jti, what=words[step % 2])
    if target.event == "EntryVoided":
        original, steps = _end_of_chain(records, target)
        if original is not None:
            yield replace(seen, jti=original.jti, what=words[(VOIDS_TOLD + steps - 1) % 2])


def _end_of_chain(records: Records, void: Record) -> tuple[Record | None, int]:
    """What a void is about in the end, and how many steps lead there; remembered, for the next void asks again."""
    path: list[Record] = []
    found: tuple[Record | None, int] = (void, 0)
    step: Record | None = void
    while step is not None and step.event == "EntryVoided":
        known = records.memo.get(("end of chain", step.jti))
        if known is not None:
            found = known
            break
        path.append(step)
        step = records.target_of(step)
        found = (step, 0)
    for one in reversed(path):
        found = records.memo["end of chain", one.jti] = (found[0], found[1] + 1)
    return found


def _redacted(records: Records, act: Record, seen: Change) -> Iterator[Change]:
    """A redaction takes fields from the records that it names, and from the record that a correction corrected."""
    told: set[str] = set()
    listed = act.body.get("records") or ()
    for named in listed:
        yield replace(seen, jti=named["jti"], what="redacted", fields=tuple(named.get("fields") or ()))
        told.add(named["jti"])
    for named in listed:
        record = records.get(named["jti"])
        original = None if record is None else records.original_of(record)
        if original is not None and original.jti not in told:
            told.add(original.jti)
            yield replace(seen, jti=original.jti, what="redacted")
