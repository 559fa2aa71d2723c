"""Redaction: fields are destroyed for a legal reason, by an order that a second person signs.

An order names records and the digests of their disclosures; the signatures over them stay good, for the digests
stay. It changes nothing until its second signature; from that index on the fields are gone from every reading, of
earlier states too, and once a checkpoint covers it the ledger destroys them (`ledger/redaction`).

 REDACTION-1  each digest is that of a disclosure of the record, and `fields` names it
 REDACTION-2  a field that is gone is not redacted again
 REDACTION-3  copies go with the value: corrections of the same field, and queries on the record that quote it
Copies elsewhere in free text nobody can know; `trial-ledger redact` searches for them.
Sources: ICH E6(R3) 4.2.2(b); GDPR Art. 5(1)(d), 16, 17.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field as ModelField
from pydantic import model_validator

from ledger.domain.context import Context
from ledger.domain.correction import find_record, target_unknown
from ledger.domain.model import CLEAR, Act, Digest, EventModel, Label, Part, Reason
from ledger.domain.record import Record, Records
from ledger.domain.refusals import Refusal
from ledger.domain.roles import DATA_MANAGER, INVESTIGATOR, PRIVACY

SHORTEST_QUOTE = 3
"""Characters of a value that is looked for in other texts: shorter ones stand everywhere by chance."""
QUERY_STEPS = ("QueryAnswered", "QueryClosed", "QueryReopened")


class RedactedRecord(Part):
    """A record, the digests of its disclosures to destroy, and the names of their fields in the same order."""

    jti: Label
    digest: Digest
    disclosures: Annotated[list[Digest], ModelField(min_length=1)]
    fields: Annotated[list[Label], ModelField(min_length=1)]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.fields) != len(self.disclosures):
            raise ValueError("`fields` names the field of each of `disclosures`, in the same order")
        if len(set(self.disclosures)) < len(self.disclosures) or len(set(self.fields)) < len(self.fields):
            raise ValueError("a disclosure or a field stands twice")
        return self


class FieldsRedacted(Act):
    """Fields are destroyed for a legal reason, once a second role has countersigned."""

    recorders = PRIVACY
    countersigners = DATA_MANAGER | INVESTIGATOR
    words = "ordered the redaction of fields: {reason}"
    rules = ("CORRECTION-1", "REDACTION-1", "REDACTION-2", "REDACTION-3")

    records: Annotated[list[RedactedRecord], ModelField(min_length=1), CLEAR]
    legal_basis: Annotated[Label, CLEAR]
    reason: Reason

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({named.jti for named in self.records}) < len(self.records):
            raise ValueError("a record stands twice in `records`")
        return self


EVENTS: tuple[type[EventModel], ...] = (FieldsRedacted,)


class FieldMisnamed(Refusal):
    """An order of redaction names a field by another name than its disclosure has."""

    rule = "REDACTION-1"
    remedy = "Give in `fields` the name that stands in each disclosure; `trial-ledger redact` prepares an order."


class RedactedAlready(Refusal):
    """The field is gone already."""

    rule = "REDACTION-2"
    remedy = "Leave it out of the order; GET /v1/studies/{study}/redactions lists what was redacted, and why."


class CopyMissing(Refusal):
    """A redaction takes the copies of a value with it: corrections of the field, queries that quote it."""

    rule = "REDACTION-3"
    remedy = "Add the records listed in `missing` to the order, and sign it again."
    source = "ICH E6(R3) 4.2.2(b)"


@dataclass(frozen=True, slots=True)
class Copy:
    """A field that holds a copy of a value: its record, its name, and why it is one."""

    record: Record
    field: str
    why: str


def names_what_is_there(ctx: Context) -> None:
    """CORRECTION-1, REDACTION-1, REDACTION-2: records that stand here, disclosures that they have, by their names."""
    for named in ctx.candidate.body["records"]:
        target = find_record(ctx, named)
        present = ctx.disclosed(target)
        for digest, name in zip(named["disclosures"], named["fields"], strict=True):
            if digest not in target.claims.get("_sd", ()):
                raise target_unknown(f"the record {target.jti} has no disclosure {digest}", target.index)
            if digest not in present:
                gone = next((target.redacted[one] for one in target.now_named(name) if one in target.redacted), None)
                since = f"since index {gone}" if gone is not None else "and no redaction says so: it was lost"
                raise RedactedAlready(f"the disclosure {digest} of {target.jti} is gone {since}", (target.index,))
            if present[digest] != name:
                raise FieldMisnamed(f"{digest} discloses {present[digest]!r}, not {name!r}", (target.index,))


def copies_go_with_it(ctx: Context) -> None:
    """REDACTION-3: what is known to repeat a value is in the order as well."""
    ordered = {named["jti"]: set(named["disclosures"]) for named in ctx.candidate.body["records"]}
    missing: dict[str, dict[str, Any]] = {}
    shown: list[int] = []
    because: list[str] = []
    for named in ctx.candidate.body["records"]:
        target = find_record(ctx, named)
        for copy in copies(ctx.records, target, named["fields"]):
            digest = _digest(ctx.disclosed(copy.record), copy.field)
            if digest is None or digest in ordered.get(copy.record.jti, ()):
                continue
            base = {"jti": copy.record.jti, "digest": copy.record.digest, "disclosures": [], "fields": []}
            entry = missing.setdefault(copy.record.jti, base)
            if digest not in entry["disclosures"]:
                entry["disclosures"].append(digest)
                entry["fields"].append(copy.field)
                shown.append(copy.record.index)
                because.append(f"{copy.record.event} at index {copy.record.index} {copy.why}")
    if missing:
        raise CopyMissing("; ".join(because[:5]), shown, missing=list(missing.values()))


def copies(records: Records, target: Record, names: Iterable[str]) -> Iterator[Copy]:
    """What surely repeats these fields of a record: corrections of them, by whatever name they had in a version of the
    event, and queries that quote them."""
    for name in names:
        today = set(target.now_named(name))
        values = [target.content.get(one) for one in today]
        for act in records.by_event.get("EntryCorrected", ()):
            named = act.claims["corrects"]
            if named["jti"] != target.jti or today.isdisjoint(target.now_named(named["field"])):
                continue
            if act.content.get("value") is not None:
                values.append(act.content["value"])
                yield Copy(act, "value", f"corrects {named['field']}")
        values += [value.value for one in today for value in target.values.get(one, ())]
        quotes = {text for value in values for text in texts_of(value) if len(text) >= SHORTEST_QUOTE}
        yield from _queries(records, target, quotes)


def _queries(records: Records, target: Record, quotes: set[str]) -> Iterator[Copy]:
    """The steps of queries on a record whose texts quote one of these."""
    asked = {q.jti: q for q in records.by_event.get("QueryOpened", ()) if q.body["record"]["jti"] == target.jti}
    steps = [step for event in QUERY_STEPS for step in records.by_event.get(event, ())]
    for step in (*asked.values(), *(one for one in steps if one.claims["answers"]["jti"] in asked)):
        for name, value in step.content.items():
            if quoted(value, quotes):
                yield Copy(step, name, f"quotes it in {name}")


def taken_effect(records: Records, jti: str) -> list[tuple[str, str, str, int, int]]:
    """What the second signature with this event id redacted: event id, digest of the disclosure, field, the order's
    index and the signature's own; nothing for any other statement."""
    signature = records.get(jti)
    order = None if signature is None else records.target_of(signature)
    if signature is None or order is None or signature.event != "Countersigned" or order.event != "FieldsRedacted":
        return []
    if order.countersigned_at != signature.index:
        return []
    return [
        (named["jti"], digest, name, order.index, signature.index)
        for named in order.body["records"]
        for digest, name in zip(named["disclosures"], named.get("fields", ()), strict=False)
    ]


def texts_of(value: Any) -> Iterator[str]:
    """Every text inside a value, names of parts left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_of(part)


def quoted(value: Any, quotes: Iterable[str]) -> bool:
    """Whether a text, a number or a part's name inside a value contains one of these; letters count as the same in
    whatever case, composition and width they are written, and so do spaces and line ends of every kind."""
    folded = [quote for quote in map(_folded, quotes) if quote]
    return bool(folded) and any(quote in text for text in map(_folded, _written(value)) for quote in folded)


def _written(value: Any) -> Iterator[str]:
    """Everything inside a value that can be read, with numbers and the names of parts."""
    if isinstance(value, Mapping):
        yield from value
        for part in value.values():
            yield from _written(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _written(part)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _folded(text: str) -> str:
    """A text as it is compared: a name typed on another machine is the same name (Unicode NFKC)."""
    printed = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", printed).casefold()).split())


def _digest(disclosed: Mapping[str, str], name: str) -> str | None:
    return next((digest for digest, field in disclosed.items() if field == name), None)


PRECONDITIONS = {"FieldsRedacted": (names_what_is_there, copies_go_with_it)}
