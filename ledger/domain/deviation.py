"""Deviations: what a person records about a departure from the protocol, and how it is judged.

A finding is derived from facts and names its rule; a deviation is a person's account of one, or of something
that no rule can see. A deviation never lifts a finding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import (
    EventId,
    EventModel,
    Fact,
    Label,
    PartialTime,
    Reason,
    Text,
)
from ledger.domain.roles import (
    DATA_MANAGER,
    INVESTIGATOR,
    MONITOR,
    SITE_STAFF,
    SPONSOR,
    SPONSOR_SAFETY,
    SYSTEM,
)

PLACES = ("subject", "study", "site", "cohort", "product")
MAX_RELATED = 100  # records that one deviation names


class DeviationRecorded(Fact):
    """A departure from the protocol, described by a person."""

    about = PLACES
    recorders = SITE_STAFF | SPONSOR | MONITOR | DATA_MANAGER | SYSTEM
    needed = ("description",)
    words = "recorded the deviation {description}"
    rules = ("REFERENCE-1",)

    description: Text | None = None
    rule: Label | None = None
    category: Label | None = None
    related: Annotated[list[EventId], Field(max_length=MAX_RELATED)] | None = None
    started_at: PartialTime | None = None
    ended_at: PartialTime | None = None
    planned: bool | None = None
    reason: Reason | None = None


class DeviationAssessed(Fact):
    """How grave a deviation is, and what is done about it."""

    about = PLACES
    recorders = INVESTIGATOR | SPONSOR | SPONSOR_SAFETY | MONITOR | SYSTEM
    transcribers = DATA_MANAGER
    needed = ("deviation",)
    words = "assessed a deviation as {classification}: {corrective_action}"
    rules = ("REFERENCE-1",)

    deviation: EventId | None = None
    classification: Literal["minor", "major", "important", "serious breach", "none"] | None = None
    effect: Text | None = None
    corrective_action: Text | None = None
    preventive_action: Text | None = None
    reason: Reason | None = None


EVENTS: tuple[type[EventModel], ...] = (DeviationRecorded, DeviationAssessed)

PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {}
"""Both are facts: anybody entitled may record a deviation at any time."""
