"""What the record leaves open, the ways to read it, and amendments: both change the protocol by patches.

An ambiguity blocks decisions until one of its options is chosen in a signed interpretation; the option's
patches then stand. An amendment's patches make the next version of the protocol.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from ledger.protocol.model.base import Date, Entries, Entry, EventName, Items, Name, OneOrMore, Part, Text

PatchPath = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[A-Za-z][A-Za-z0-9_-]*\*?)*$", max_length=200)]
"""`cohorts.EXP.seats`; a trailing `*` in one step stands for every key that begins so."""

ParameterType = Literal[
    "text", "whole number", "decimal", "duration", "date", "true or false", "choice", "analytes", "time zone"
]


class Patch(Part):
    """Sets the value at a path; `{parameter: name}` in `value` stands for what the resolver supplied."""

    path: PatchPath
    value: Any = None
    remove: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Patch:
        if self.remove and self.value is not None:
            raise ValueError("a patch that removes has no value")
        return self


class Parameter(Entry):
    """Something that the record does not say and the resolver supplies; an optional one may stay unsaid."""

    label: Text
    type: ParameterType
    required: bool = True
    choices: Items[Name] = ()

    @model_validator(mode="after")
    def _choices_of_a_choice(self) -> Parameter:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to the type choice, and it needs them")
        return self


class Option(Entry):
    """One way to read it, as a sentence, with what must be supplied and what it sets."""

    text: Text
    parameters: Entries[Parameter] = {}
    sets: Items[Patch] = ()


class Ambiguity(Entry):
    """What the record leaves open; `touches`: the parts it concerns, `blocks`: the decisions it holds up."""

    text: Text
    touches: OneOrMore[PatchPath]
    blocks: Items[EventName] = ()
    options: Annotated[Entries[Option], Field(min_length=2)]


class Amendment(Entry):
    """A change of the protocol, making the version named; `id` is the amendment's own."""

    version: Name
    title: Name
    reason: Text
    date: Date | None = None
    changes: Annotated[Items[Patch], Field(min_length=1)]
