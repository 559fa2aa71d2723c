"""What the protocol leaves open holds decisions up until somebody says how it is read.

 INTERPRETATION-2  a decision waits for the ambiguities that the protocol file names as blocking it
 PROTOCOL-5        a decision waits for what the record does not give and nobody has supplied
 SUBJECT-1         a decision about a subject is about somebody who was screened
 SITE-2            and is made at the subject's own site
Sources: ICH E6(R3) 4.3 (systems fit for their purpose), Appendix B (protocol).
"""

from __future__ import annotations

from ledger.domain.context import Context
from ledger.domain.participation import screening, site_of
from ledger.domain.refusals import Refusal
from ledger.domain.study import protocol_for

SUBJECT_DECISION = ("STUDY-1", "SITE-1", "SITE-2", "PROTOCOL-4", "PROTOCOL-5", "INTERPRETATION-2", "SUBJECT-1")
"""Rules that every decision about a subject asks."""


class AmbiguityOpen(Refusal):
    """The protocol can be read in several ways here, and nobody has decided which is meant."""

    rule = "INTERPRETATION-2"
    remedy = (
        "Have the sponsor resolve each ambiguity named (InterpretationResolved) and an investigator countersign; "
        "then sign the decision again."
    )
    source = "ICH E6(R3) Appendix B"


class ProtocolIncomplete(Refusal):
    """The protocol does not yet say what this decision needs."""

    rule = "PROTOCOL-5"
    remedy = (
        "Supply it by an interpretation (InterpretationResolved, countersigned) or an amendment "
        "(ProtocolAdopted, ProtocolActivatedAtSite); then sign the decision again."
    )
    source = "ICH E6(R3) Appendix B"


class SubjectNotScreened(Refusal):
    """Nobody was screened under this subject."""

    rule = "SUBJECT-1"
    remedy = "Record the screening (SubjectScreened with number and population), then sign the decision again."


class OtherSite(Refusal):
    """The subject belongs to another site."""

    rule = "SITE-2"
    remedy = "Have it decided at the subject's site, or record the transfer first (SubjectTransferred)."
    source = "ICH E6(R3) 2.3.1"


def nothing_is_open(ctx: Context) -> None:
    """INTERPRETATION-2, PROTOCOL-5: nothing that blocks this decision is open or lacking."""
    protocol = protocol_for(ctx.study, ctx.candidate.site)
    if protocol is None:
        return
    event = ctx.candidate.event
    open_ones = protocol.blocks(event)
    if open_ones:
        raise AmbiguityOpen("; ".join(f"{a.id}: {a.text}" for a in open_ones), ambiguities=[a.id for a in open_ones])
    lacking = protocol.missing(event)
    if lacking:
        raise ProtocolIncomplete("; ".join(lacking))


def subject_is_known(ctx: Context) -> None:
    """SUBJECT-1, SITE-2: the subject was screened, and belongs to the site that decides."""
    record = None if ctx.subject is None else screening(ctx.subject)
    if ctx.subject is None or record is None:
        raise SubjectNotScreened("no screening stands for it")
    is_of_its_site(ctx)


def is_of_its_site(ctx: Context) -> None:
    """SITE-2: the subject, as far as it is known, belongs to the site that decides."""
    own = None if ctx.subject is None else site_of(ctx.subject)
    if ctx.subject is not None and own != ctx.candidate.site:
        shown = screening(ctx.subject) or next(iter(ctx.subject.records))
        raise OtherSite(f"it belongs to {own!r}, the decision names {ctx.candidate.site!r}", (shown.index,))
