"""People and systems, and what was delegated to whom (ICH E6(R3) 2.3.2; 21 CFR 11.10(d), (g), (i)).

Rights themselves are folded and checked by `ledger/authority.py`; here stand the events.
"""

from __future__ import annotations

from typing import Annotated, Literal

from ledger.authority import TWO_REGISTRARS
from ledger.domain.model import (
    DISCLOSED,
    Document,
    EventModel,
    FullDate,
    Governance,
    Label,
    PrintedName,
    Reason,
)
from ledger.domain.roles import PRINCIPAL_INVESTIGATOR, REGISTRAR

__all__ = ["EVENTS", "TWO_REGISTRARS"]


class ActorEnrolled(Governance):
    """A person or a system becomes an actor of the study; its id is never given again."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "enrolled the {actor_kind}"
    rules = ("AUTHORITY-9",)

    actor_kind: Literal["person", "system"]
    organisation: Label | None = None
    name: Annotated[PrintedName | None, DISCLOSED] = None


class PersonRenamed(Governance):
    """A person has another name from here on, and signs with it; earlier signatures keep the name printed then."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "recorded another name of the person: {reason}"
    rules = ("AUTHORITY-5", "AUTHORITY-7", "SIGNATURE-7")

    name: Annotated[PrintedName, DISCLOSED]
    reason: Annotated[Reason | None, DISCLOSED] = None
    document: Annotated[Document | None, DISCLOSED] = None


class IdentityVerified(Governance):
    """A registrar verified who a person is (21 CFR 11.100(b))."""

    about = ("actor",)
    recorders = REGISTRAR
    words = "verified the person's identity by {method}"

    method: Label
    verified_date: FullDate
    document: Annotated[Document | None, DISCLOSED] = None


class DelegationGranted(Governance):
    """A role is delegated, for sites and, to a system, for events."""

    about = ("actor",)
    recorders = REGISTRAR | PRINCIPAL_INVESTIGATOR
    words = "delegated the role {role}"
    rules = ("AUTHORITY-7", "AUTHORITY-8", "AUTHORITY-10")

    role: Label
    sites: list[Label] | None = None
    events: list[Label] | None = None
    organisation: Label | None = None
    valid_from: FullDate | None = None
    valid_until: FullDate | None = None
    reason: Annotated[Reason | None, DISCLOSED] = None


class DelegationEnded(Governance):
    """A delegation ends."""

    about = ("actor",)
    recorders = REGISTRAR | PRINCIPAL_INVESTIGATOR
    stopping = True
    words = "ended a delegation: {reason}"

    delegation: Label
    reason: Annotated[Reason, DISCLOSED]


class TrainingRecorded(Governance):
    """A person was trained for the study (21 CFR 11.10(i))."""

    about = ("actor",)
    recorders = REGISTRAR | PRINCIPAL_INVESTIGATOR
    words = "recorded training in {topic}"

    topic: Label
    trained_date: FullDate
    valid_until: FullDate | None = None
    document: Annotated[Document | None, DISCLOSED] = None


EVENTS: tuple[type[EventModel], ...] = (
    ActorEnrolled,
    PersonRenamed,
    IdentityVerified,
    DelegationGranted,
    DelegationEnded,
    TrainingRecorded,
)
