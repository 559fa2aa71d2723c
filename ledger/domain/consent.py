"""Informed consent: given for a version and language of a document, declined, withdrawn by scope.

 CONSENT-1  nobody is enrolled, declared eligible or treated without consent
 CONSENT-2  consent is to the version and language that is approved at the site, and current
 CONSENT-3  a withdrawn consent permits nothing of its scope, until a consent without a problem was given after it
 CONSENT-4  a consent that was taken over unverified is verified before it counts
 CONSENT-5 to CONSENT-9  findings: a procedure before or without consent, a consent to another version, a
            renewal that is due, something done after the withdrawal, a consent not verified
`occurred_at` of ConsentGiven is when it was signed. Optional consents (purpose `optional`) never stand for the
consent to take part. Sources: ICH E6(R3) 2.8; 21 CFR 50.20, 50.27; Declaration of Helsinki 26.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ledger.domain.context import Context
from ledger.domain.model import EventModel, Fact, Label, Text
from ledger.domain.moments import at, happened, is_before, later, surely_before
from ledger.domain.participation import end_of, protocol_of, screened, site_of, zone_of
from ledger.domain.record import Record
from ledger.domain.refusals import Finding, FindingRule, Refusal
from ledger.domain.roles import DATA_MANAGER, SITE_STAFF, SYSTEM
from ledger.domain.study import (
    approved_document,
    consent_documents,
    current_consent_document,
)

if TYPE_CHECKING:
    from ledger.domain.aggregate import Study, Subject
    from ledger.protocol import ResolvedProtocol

RECORDERS = SITE_STAFF | SYSTEM
CONSENT_RULES = ("CONSENT-1", "CONSENT-2", "CONSENT-3", "CONSENT-4")
"""What a decision asks that needs consent."""
Scope = Literal["treatment", "procedures", "data", "specimens", "contact"]


class ConsentGiven(Fact):
    """The subject, or a representative, signed a consent document."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "recorded the consent to {document_id} version {version} in {language} ({purpose})"
    rules = ("CONSENT-5", "CONSENT-6", "CONSENT-7", "CONSENT-9")

    document_id: Label | None = None
    version: Label | None = None
    language: Label | None = None
    purpose: Literal["initial", "reconsent", "optional"] | None = None
    given_by: Literal["subject", "representative", "subject and representative"] | None = None
    representative: Label | None = None
    witness: Label | None = None
    informed_by: Label | None = None
    options: dict[Label, bool] | None = None
    verification: Literal["verified", "not verified"] | None = None


class ConsentDeclined(Fact):
    """Consent was asked for and declined."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    words = "recorded that consent to {document_id} version {version} was declined"
    rules = ("TIME-3", "TIME-4", "SITE-3", "SITE-4")

    document_id: Label | None = None
    version: Label | None = None
    language: Label | None = None
    purpose: Literal["initial", "reconsent", "optional"] | None = None
    reason: Text | None = None


class ConsentWithdrawn(Fact):
    """The subject withdrew consent, wholly or for some scopes; a reason may be given and is never asked for."""

    recorders = RECORDERS
    transcribers = DATA_MANAGER
    stopping = True
    needed = ("scope",)
    words = "recorded that consent was withdrawn for {scope}"
    rules = ("CONSENT-8",)

    scope: Annotated[list[Scope], Field(min_length=1, max_length=5)] | None = None
    document_id: Label | None = None
    reason: Text | None = None


EVENTS: tuple[type[EventModel], ...] = (ConsentGiven, ConsentDeclined, ConsentWithdrawn)


class ConsentMissing(Refusal):
    """The subject has not given consent to take part."""

    rule = "CONSENT-1"
    remedy = "Record the consent that the subject signed (ConsentGiven), then sign the decision again."
    source = "ICH E6(R3) 2.8.1; 21 CFR 50.20"


class ConsentNotCurrent(Refusal):
    """The consent is not to the version and language that is approved at the site and current."""

    rule = "CONSENT-2"
    remedy = (
        "Have the document approved for the site if it is not (ConsentDocumentApproved); then have the subject "
        "consent to the current version in an approved language, and record it (ConsentGiven)."
    )
    source = "ICH E6(R3) 2.8.2"


class ConsentIsWithdrawn(Refusal):
    """The subject has withdrawn consent."""

    rule = "CONSENT-3"
    remedy = (
        "Nothing more is done, unless the subject consents anew, to the version and language approved at the site, "
        "and that is recorded (ConsentGiven)."
    )
    source = "ICH E6(R3) 2.8.10; Declaration of Helsinki 26"


class ConsentNotVerified(Refusal):
    """The consent was taken over from elsewhere and has not been verified."""

    rule = "CONSENT-4"
    remedy = "Look at the signed document and correct `verification` to `verified`, or record the consent anew."
    source = "ICH E6(R3) 2.8.5"


class ProcedureWithoutConsent(FindingRule):
    """A procedure was done before the subject consented, or without any consent."""

    rule = "CONSENT-5"
    source = "ICH E6(R3) 2.8.1"


class ConsentToOtherVersion(FindingRule):
    """The consent is to a version or language that was not approved and current at the site."""

    rule = "CONSENT-6"
    source = "ICH E6(R3) 2.8.2"


class ReconsentDue(FindingRule):
    """A newer version of the consent document is approved, and the subject has not consented to it."""

    rule = "CONSENT-7"
    source = "ICH E6(R3) 2.8.2"


class DoneAfterWithdrawal(FindingRule):
    """Something was done that the subject had withdrawn consent to."""

    rule = "CONSENT-8"
    source = "ICH E6(R3) 2.8.10, 3.16.1(u)"


class ConsentUnverified(FindingRule):
    """The consent was taken over unverified, or its date is not known."""

    rule = "CONSENT-9"
    source = "ICH E6(R3) 2.8.5"


PROCEDURES = ("SpecimenDrawn", "InfusionGiven", "TreatmentAdministered", "AssessmentRecorded", "LabResultReported")
"""Facts that say that something was done to the subject for the study."""

SCOPES: dict[str, frozenset[str]] = {
    "InfusionGiven": frozenset({"treatment", "procedures"}),
    "TreatmentAdministered": frozenset({"treatment"}),
    "SpecimenDrawn": frozenset({"procedures", "specimens", "data"}),
    "SpecimenProcessed": frozenset({"specimens"}),
    "LabResultReported": frozenset({"data", "specimens"}),
    "AssessmentRecorded": frozenset({"procedures", "data"}),
    "ProcedureRecorded": frozenset({"procedures", "data"}),
    "VisitRecorded": frozenset({"procedures", "contact"}),
    "HistoryRecorded": frozenset({"data"}),
    "MedicationRecorded": frozenset({"data"}),
}
"""The scopes of consent that a fact needs; what is not listed (safety, the withdrawal itself) needs none."""

NEEDED = frozenset({"treatment", "procedures", "data"})
"""Scopes without which nobody can be enrolled or treated."""


@dataclass(frozen=True, slots=True)
class ConsentStatus:
    """Whether a consent to take part stands; truthy if so, else `refusal` and `because` say what is missing.

    `record` is the consent that stands or comes closest, `withdrawn` the scopes withdrawn since.
    """

    record: Record | None
    withdrawn: frozenset[str]
    refusal: type[Refusal] | None
    because: str
    indexes: tuple[int, ...]

    def __bool__(self) -> bool:
        return self.refusal is None

    @property
    def standing(self) -> str:
        """One of: none, stands, not current, not verified, withdrawn, partly withdrawn."""
        if self.refusal is None:
            return "partly withdrawn" if self.withdrawn else "stands"
        words = {ConsentMissing: "none", ConsentNotCurrent: "not current", ConsentNotVerified: "not verified"}
        return words.get(self.refusal, "withdrawn")


def declared(protocol: ResolvedProtocol | None, population: str | None) -> bool:
    """Whether the protocol asks for consent of this population; of an unknown one, if of any."""
    if protocol is None or not protocol.definition.requires.consent:
        return False
    consent = protocol.definition.consent
    return consent is None or population is None or population in consent.populations


def consents(subject: Subject, zone: tzinfo | None) -> list[Record]:
    """Consents to take part that stand, in the order in which they were signed; optional ones left out."""
    found: list[Record] = []
    for record in subject.records.of("ConsentGiven"):
        if record.done and record.content.get("purpose") != "optional":
            place = len(found)
            while place and not later(record, found[place - 1], zone):
                place -= 1
            found.insert(place, record)
    return found


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal that stands, with its scopes; `lifted` is the consent without a problem that came after it."""

    record: Record
    scopes: frozenset[str]
    lifted: Record | None


def withdrawals(study: Study, subject: Subject, given: list[Record]) -> list[Withdrawal]:
    """The withdrawals that stand, each with the consent, among those `given`, that lifted it."""
    found = []
    zone = zone_of(study, site_of(subject))
    for record in subject.records.of("ConsentWithdrawn"):
        if record.done:
            scopes = frozenset(record.content.get("scope") or NEEDED)
            since = (consent for consent in given if later(consent, record, zone))
            lifted = next((consent for consent in since if _was_good(study, subject, consent, zone)), None)
            found.append(Withdrawal(record, scopes, lifted))
    return found


def _was_good(study: Study, subject: Subject, record: Record, zone: tzinfo | None) -> bool:
    """Whether nothing was wrong with a consent when it was given; that a renewal is due by now does not matter."""
    protocol, site = protocol_of(study, subject), site_of(subject)
    if not declared(protocol, screened(subject, "population")):
        return True  # the protocol does not say what a consent has to be
    if _flaw(study, protocol, site, record) is not None:
        return False
    return _renewal(study, protocol, site, record, zone) is None or _was_current(study, site, record, zone)


def status(study: Study, subject: Subject, now: str | None = None) -> ConsentStatus:
    """Whether the subject's consent to take part stands; consents dated after `now` do not count yet."""
    site = site_of(subject)
    zone = zone_of(study, site)
    given = [r for r in consents(subject, zone) if now is None or not surely_before(now, r.occurred_at, zone)]
    withdrawn = withdrawals(study, subject, given)
    in_force = [withdrawal for withdrawal in withdrawn if withdrawal.lifted is None]
    scopes = frozenset[str]().union(*(withdrawal.scopes for withdrawal in in_force))
    if not given:
        return ConsentStatus(None, scopes, ConsentMissing, "no consent to take part is recorded", ())
    record = given[-1]
    if scopes & NEEDED:
        what = " and ".join(sorted(scopes & NEEDED))
        shown = (record.index, *(w.record.index for w in in_force if w.scopes & NEEDED))
        since = _consented_since(study, subject, given, in_force, zone)
        return ConsentStatus(record, scopes, ConsentIsWithdrawn, f"consent to {what} was withdrawn{since}", shown)
    wrong = None
    ended = [withdrawal.record for withdrawal in withdrawn if withdrawal.scopes & NEEDED]
    for candidate in reversed(given):
        if any(not later(candidate, withdrawal, zone) for withdrawal in ended):
            continue  # what was given before a withdrawal does not come back
        problem = _problem(study, protocol_of(study, subject), site, candidate, zone)
        if problem is None:
            return ConsentStatus(candidate, scopes, None, "consent stands", (candidate.index,))
        wrong = wrong or problem
    if wrong is None:  # times known in part: no one consent is later than every withdrawal
        shown = (record.index, *(withdrawal.index for withdrawal in ended))
        wrong = (ConsentIsWithdrawn, "no consent came after every withdrawal", shown)
    return ConsentStatus(record, scopes, *wrong)


def _consented_since(
    study: Study, subject: Subject, given: list[Record], in_force: list[Withdrawal], zone: tzinfo | None
) -> str:
    """Why the newest consent, given after a withdrawal, does not lift it; empty where none was given."""
    if not any(later(given[-1], withdrawal.record, zone) for withdrawal in in_force):
        return ""
    problem = _problem(study, protocol_of(study, subject), site_of(subject), given[-1], zone)
    return "" if problem is None else f"; of the consent since: {problem[1]}"


Problem = tuple[type[Refusal], str, tuple[int, ...]]


def _problem(
    study: Study, protocol: ResolvedProtocol | None, site: str | None, record: Record, zone: tzinfo | None
) -> Problem | None:
    """What is wrong with a consent, by what is approved now."""
    return _flaw(study, protocol, site, record) or _renewal(study, protocol, site, record, zone)


def _flaw(study: Study, protocol: ResolvedProtocol | None, site: str | None, record: Record) -> Problem | None:
    """What is wrong with a consent whatever is approved later."""
    if record.content.get("verification") == "not verified":
        return ConsentNotVerified, "it was taken over from elsewhere, not verified", (record.index,)
    document, version, language = (record.content.get(n) for n in ("document_id", "version", "language"))
    if not (document and version and language):
        return ConsentNotCurrent, "it does not say document, version and language", (record.index,)
    terms = protocol.definition.consent if protocol is not None else None
    if terms is not None and terms.languages and language not in terms.languages:
        return ConsentNotCurrent, f"the protocol does not provide for consent in {language!r}", (record.index,)
    if approved_document(study, site, document, version, language) is None:
        said = f"{document} version {version} in {language!r} is not approved at the site"
        return ConsentNotCurrent, said, (record.index,)
    return None


def _renewal(
    study: Study, protocol: ResolvedProtocol | None, site: str | None, record: Record, zone: tzinfo | None
) -> Problem | None:
    """That a newer version is approved, and this consent does not do any more."""
    document, version, language = (record.content.get(n) for n in ("document_id", "version", "language"))
    assert document and language
    terms = protocol.definition.consent if protocol is not None else None
    current = current_consent_document(study, site, document, language)
    if current is None or current.body["version"] == version:
        return None
    renew = terms is None or terms.reconsent_on_new_version is not False
    if renew or not _was_current(study, site, record, zone):
        said = f"version {current.body['version']} of {document} is approved, the consent is to version {version}"
        return ConsentNotCurrent, said, (record.index, current.index)
    return None


def _was_current(study: Study, site: str | None, record: Record, zone: tzinfo | None) -> bool:
    """Whether its version was the newest approved when it was signed, or when it was recorded."""
    same = [
        approval
        for approval in consent_documents(study, site)
        if approval.body["document_id"] == record.content.get("document_id")
        and approval.body["language"] == record.content.get("language")
    ]
    by_index = [a for a in same if a.index < record.index]
    by_time = [a for a in same if is_before(a.recorded_at, record.occurred_at, zone)]
    return any(a and a[-1].body["version"] == record.content.get("version") for a in (by_index, by_time))


def must_stand(ctx: Context) -> None:
    """CONSENT-1 to CONSENT-4: a consent to take part stands, where the protocol asks for it."""
    assert ctx.subject is not None
    protocol = protocol_of(ctx.study, ctx.subject)
    if not declared(protocol, screened(ctx.subject, "population")):
        return
    found = status(ctx.study, ctx.subject, ctx.recorded_at)
    if found.refusal is not None:
        raise found.refusal(found.because, found.indexes)


def findings(study: Study, subject: Subject) -> Iterator[Finding]:
    """CONSENT-5 to CONSENT-9 for one subject."""
    site = site_of(subject)
    zone = zone_of(study, site)
    yield from _after_withdrawal(study, subject, zone)
    protocol = protocol_of(study, subject)
    if not declared(protocol, screened(subject, "population")):
        return
    given = consents(subject, zone)
    yield from _before_consent(subject, given, zone)
    for number, record in enumerate(given):
        place = {"subject": subject.label, "site": record.site}
        if record.content.get("verification") == "not verified" or at(record.occurred_at) is None:
            yield ConsentUnverified.found("not verified, or its date is not known", (record.index,), **place)
        problem = _problem(study, protocol, site, record, zone)
        if problem is None or problem[0] is ConsentNotVerified:
            continue
        if _was_current(study, site, record, zone):
            if number == len(given) - 1 and end_of(subject) is None and not _turned_away(subject):
                yield ReconsentDue.found(problem[1], problem[2], **place)
        else:
            yield ConsentToOtherVersion.found(problem[1], problem[2], **place)


def _turned_away(subject: Subject) -> bool:
    """Declared not eligible and never enrolled: nobody asks such a person to renew a consent."""
    decision = subject.records.last("EligibilityDecided")
    turned = decision is not None and decision.get("eligible") is False
    return turned and subject.records.last("SubjectEnrolled") is None


def _before_consent(subject: Subject, given: list[Record], zone: tzinfo | None) -> Iterator[Finding]:
    done = [r for r in subject.records.of(*PROCEDURES) if r.done and not _of_a_specimen(r)]
    if not given:
        if done:
            because = f"{len(done)} procedures are recorded and no consent"
            yield ProcedureWithoutConsent.found(
                because, [r.index for r in done], subject=subject.label, site=done[0].site
            )
        return
    for record in done:
        if surely_before(happened(record), given[0].occurred_at, zone):
            because = f"{record.event} on {happened(record)}, consent on {given[0].occurred_at}"
            shown = (record.index, given[0].index)
            yield ProcedureWithoutConsent.found(because, shown, subject=subject.label, site=record.site)


def _of_a_specimen(record: Record) -> bool:
    """A result of a named specimen: the draw is the procedure, and is looked at itself."""
    return record.event == "LabResultReported" and record.content.get("specimen") is not None


def _after_withdrawal(study: Study, subject: Subject, zone: tzinfo | None) -> Iterator[Finding]:
    for withdrawal in withdrawals(study, subject, consents(subject, zone)):
        ended, lifted = withdrawal.record, withdrawal.lifted
        for record in subject.records.of(*SCOPES):
            lost = withdrawal.scopes & SCOPES[record.event]
            if not (record.done and lost and surely_before(happened(ended), happened(record), zone)):
                continue
            if lifted is not None and is_before(happened(record), happened(lifted), zone) is not True:
                continue
            because = f"{record.event} on {happened(record)} needs consent to {' and '.join(sorted(lost))}"
            shown = (record.index, ended.index)
            yield DoneAfterWithdrawal.found(because, shown, subject=subject.label, site=record.site)


PRECONDITIONS: dict[str, tuple[Callable[[Context], None], ...]] = {}
"""Consent itself is a fact; the decisions that need it ask `must_stand`."""
