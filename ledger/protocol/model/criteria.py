"""What is measured, how a fact is found, and the criteria that decide about a subject.

`expression` and `applicable_if` are typed trees (`ledger.protocol.expression`), kept here as plain data.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints, model_validator

from ledger.protocol.model.base import (
    Entry,
    EventName,
    FieldPath,
    Id,
    Items,
    Keyed,
    Name,
    OneOrMore,
    Part,
    PositiveDecimal,
    Text,
    Unit,
)

Pick = Literal["first", "last", "lowest", "highest", "any", "all"]
InputType = Literal["boolean", "text", "number", "date"]


class Code(Part):
    """A coded concept; matched on system and code together, never on the code alone."""

    system: Name
    code: Name
    version: Name | None = None
    display: Name | None = None


class Conversion(Part):
    """One unit of `start` is `factor` units of `end`."""

    start: Unit
    end: Unit
    factor: PositiveDecimal


class Units(Part):
    """Conversions for every quantity, and what laboratories call a unit; `any` is all laboratories."""

    conversions: Items[Conversion] = ()
    aliases: Keyed[dict[str, Unit]] = {}


class ResultWords(Part):
    """Which reported words mean positive and which negative; every other word decides nothing."""

    positive: Items[Name] = ()
    negative: Items[Name] = ()


class Analyte(Entry):
    """What a laboratory measures; `unit` is the unit of the study, null for results in words.

    `domain` is where SDTM places its results (SDTMIG 3.4: LB, IS, MB, PC, CP).
    """

    label: Name
    code: Code | None = None
    other_codes: Items[Code] = ()
    unit: Unit | None = None
    words: ResultWords | None = None
    domain: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    aliases: Keyed[Items[Name]] = {}
    conversions: Items[Conversion] = ()
    note: Text | None = None


class Condition(Part):
    """What a field of a fact must be: one value, one of several, or the value of another input."""

    equals: Any = None
    one_of: Items[Name] = ()
    same_as: Id | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Condition:
        if (self.equals is not None) + bool(self.one_of) + (self.same_as is not None) != 1:
            raise ValueError("needs exactly one of equals, one_of, same_as")
        if self.equals is not None and not isinstance(self.equals, (str, int)):
            raise ValueError("equals needs text, a whole number, true or false")
        return self


class Anchor(Entry):
    """A moment in a subject's course: the time of the first or last fact of a kind.

    `field` names the fields that hold it, the first that is filled counts; `settled_after`: how many such
    facts must be there, or which other event, before the last one is known to be the last.
    """

    label: Name
    events: OneOrMore[EventName]
    where: dict[FieldPath, Condition] = {}
    field: OneOrMore[FieldPath] = ("occurred_at",)
    pick: Literal["first", "last"] = "first"
    settled_after: int | None = None
    settled_by: Items[EventName] = ()


class Input(Entry):
    """A named selection of facts: of these events, those where ..., this field, which of them.

    `analyte` selects laboratory results by the analyte's key, codes or aliases. `unit` is what a quantity is
    converted to; `unit_field` and `comparator_field` say where the fact states them. `not_known` lists words
    that say nothing. `before` and `after` limit the facts to those that happened before or after an anchor;
    `order_by` names the fields whose time orders them.
    """

    label: Name
    events: OneOrMore[EventName]
    where: dict[FieldPath, Condition] = {}
    analyte: Id | None = None
    field: FieldPath
    type: InputType
    code: Code | None = None
    not_known: Items[Name] = ()
    pick: Pick = "last"
    unit: Unit | None = None
    unit_field: FieldPath | None = None
    comparator_field: FieldPath | None = None
    order_by: OneOrMore[FieldPath] = ("occurred_at",)
    before: Id | None = None
    after: Id | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Input:
        if self.type != "number" and (self.unit or self.unit_field or self.comparator_field):
            raise ValueError("only a number has a unit, a unit_field or a comparator_field")
        if self.unit_field and not self.unit:
            raise ValueError("a unit_field needs the unit to convert to")
        if self.pick in ("lowest", "highest") and self.type not in ("number", "date"):
            raise ValueError(f"pick {self.pick} needs a number or a date")
        if self.pick == "any" and self.type != "boolean":
            raise ValueError("pick any needs a boolean: true where any of the facts says true")
        return self


class Criterion(Entry):
    """One criterion of eligibility: the record's words, and how a verdict on it is reached.

    auto: facts decide; auto_if: facts decide where it applies; semi: facts and attested judgement; manual:
    a person's attestation or verdict; continuing: holds through the whole study, so is evaluated again.
    """

    category: Literal["inclusion", "exclusion"]
    text: Text
    evaluation: Literal["auto", "auto_if", "semi", "manual", "continuing"]
    code: Name | None = None
    expression: Any = None
    applicable_if: Any = None
    attestation: FieldPath | None = None
    note: Text | None = None
    ambiguities: Items[Id] = ()

    @model_validator(mode="after")
    def _can_be_judged(self) -> Criterion:
        if self.evaluation == "manual" and self.expression is not None:
            raise ValueError("a manual criterion is judged by a person; it has no expression")
        if self.evaluation != "manual" and self.expression is None:
            raise ValueError(f"evaluation {self.evaluation} needs an expression")
        if self.attestation is not None and self.evaluation != "manual":
            raise ValueError("attestation belongs to a manual criterion; elsewhere read it as an input")
        if (self.evaluation == "auto_if") != (self.applicable_if is not None):
            raise ValueError("applicable_if and evaluation auto_if belong together")
        return self
