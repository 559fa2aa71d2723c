"""Signing, verifying and reviewing records, and what the system itself does.

An electronic signature over records lists them by event id and digest; a review of the trail is by someone
who made none of the events reviewed (EU GMP Annex 11 draft 12.6).

 SIGNATURE-1  signing records, or approving a replay, is an electronic signature: it says what it means
 SIGNATURE-8  what is signed or verified was there in the state that was looked at, and is listed once
A record that changed between that state and the signature is not refused: the signature says "changed since signed"
from the beginning (`signature.py`), and the record is listed for signing again.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from ledger.domain.context import Context
from ledger.domain.correction import named_record
from ledger.domain.model import (
    CLEAR,
    DISCLOSED,
    Act,
    Digest,
    EventId,
    EventModel,
    FullDate,
    Index,
    Label,
    Reason,
    SystemEvent,
    Target,
    Text,
)
from ledger.domain.refusals import Refusal
from ledger.domain.roles import (
    ADMINISTRATOR,
    DATA_MANAGER,
    INVESTIGATOR,
    MONITOR,
    READERS,
    REGISTRAR,
    SPONSOR,
)

PolicyText = Annotated[str, StringConstraints(max_length=100_000)]
"""A trust policy: some thirty post-quantum keys."""
RecordedAt = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z$")]
"""A moment of the ledger's own, UTC, to the microsecond."""


class RecordsSigned(Act):
    """An investigator signs records: the list is what was shown."""

    recorders = INVESTIGATOR
    words = "signed records"
    rules = ("CORRECTION-1", "CORRECTION-2", "SIGNATURE-1", "SIGNATURE-8")

    records: Annotated[list[Target], Field(min_length=1), CLEAR]
    comment: Text | None = None


class SourceVerified(Act):
    """A monitor compared records with their source."""

    recorders = MONITOR
    words = "verified records against their source"
    rules = ("CORRECTION-1", "CORRECTION-2", "SIGNATURE-8")

    records: Annotated[list[Target], Field(min_length=1), CLEAR]
    comment: Text | None = None


class AuditTrailReviewed(Act):
    """A part of the audit trail was reviewed."""

    recorders = MONITOR | DATA_MANAGER | READERS | SPONSOR
    words = "reviewed the audit trail: {findings}"

    scope: Annotated[dict[str, Any], CLEAR]
    first: Annotated[Index, CLEAR]
    last: Annotated[Index, CLEAR]
    rule_version: Annotated[Label, CLEAR]
    findings: Text


class AccessReviewed(Act):
    """Who has which right was reviewed."""

    recorders = REGISTRAR | SPONSOR | ADMINISTRATOR
    words = "reviewed access: {findings}"

    as_of: Annotated[Index, CLEAR]
    findings: Text


class ReplayApproved(Act):
    """The unexplained differences of a replay are accepted: an electronic signature under the report's digest."""

    recorders = DATA_MANAGER
    words = "approved a replay: {reason}"
    rules = ("SIGNATURE-1",)

    projection: Annotated[Label, CLEAR]
    report_digest: Annotated[Digest, CLEAR]
    reason: Reason


class ReleaseActivated(SystemEvent):
    """A release of the software came into use."""

    words = "activated release {release}"

    release: Label
    commit: Label | None = None


class ReplayConcluded(SystemEvent):
    """A replay of a projection came to an end."""

    words = "concluded a replay of {projection}"

    projection: Label
    report: dict[str, Any]


class DataExported(SystemEvent):
    """Data left the system.

    `size` is that of the log handed out, `as_of` the position of the projections with it, `subject` the one that it
    is about; signatures and timestamps that were received later than `received_until` are not in it.
    """

    words = "exported data: {what}"

    what: Label
    digest: Digest
    taken_by: Label | None = None
    size: Index | None = None
    as_of: Index | None = None
    subject: EventId | None = None
    received_until: RecordedAt | None = None
    policy: Annotated[PolicyText | None, DISCLOSED] = None


class AccessLogSealed(SystemEvent):
    """The access log of a day is sealed by its digest."""

    words = "sealed the access log of {day}"

    day: FullDate
    entries: Index
    digest: Digest


class RefusalsSealed(SystemEvent):
    """The list of refused statements is sealed by its digest."""

    words = "sealed the list of refusals up to {last}"

    last: Index
    entries: Index
    digest: Digest


class RestorePerformed(SystemEvent):
    """The database was restored from a backup."""

    words = "restored the database: {reason}"

    backup_size: Index
    reason: Annotated[Reason, DISCLOSED]


EVENTS: tuple[type[EventModel], ...] = (
    RecordsSigned,
    SourceVerified,
    AuditTrailReviewed,
    AccessReviewed,
    ReplayApproved,
    ReleaseActivated,
    ReplayConcluded,
    DataExported,
    AccessLogSealed,
    RefusalsSealed,
    RestorePerformed,
)


class MeaningMissing(Refusal):
    """Signing records, or approving a replay, is an electronic signature and needs a meaning."""

    rule, status = "SIGNATURE-1", 422
    remedy = "State `meaning`, `cut` and `exp`."
    source = "21 CFR 11.50(a)(3)"


class NotSeen(Refusal):
    """A record is signed that was not there in the state that the signer looked at, or one is listed twice."""

    rule, status = "SIGNATURE-8", 422
    remedy = "Read the records again, and list each once with the `cut` of the answer that showed it."
    source = "EMA guideline on computerised systems 2023, 6.3"


def records_are_known(ctx: Context) -> None:
    """CORRECTION-1, CORRECTION-2: every record listed stands under the same subject, at this site."""
    for named in ctx.candidate.body["records"]:
        named_record(ctx, named)


def records_were_seen(ctx: Context) -> None:
    """SIGNATURE-8: each record stands below the cut and is listed once."""
    listed: set[str] = set()
    for named in ctx.candidate.body["records"]:
        record = ctx.records.by_jti[named["jti"]]
        if ctx.candidate.cut is not None and record.index >= ctx.candidate.cut["size"]:
            because = f"{record.event} stands at index {record.index}, the cut's size is {ctx.candidate.cut['size']}"
            raise NotSeen(because, (record.index,))
        if record.jti in listed:
            raise NotSeen(f"{record.event} at index {record.index} is listed twice", (record.index,))
        listed.add(record.jti)


def has_a_meaning(ctx: Context) -> None:
    """SIGNATURE-1: a signature says what it means."""
    if ctx.candidate.meaning is None:
        raise MeaningMissing("`meaning` is missing")


PRECONDITIONS = {
    "RecordsSigned": (has_a_meaning, records_are_known, records_were_seen),
    "SourceVerified": (records_are_known, records_were_seen),
    "ReplayApproved": (has_a_meaning,),
}
