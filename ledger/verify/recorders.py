"""Which roles may record which event, and what has to be signed, as the verifier asks it (V4, V5): a table of names.

The catalogue (`ledger/domain/catalogue.py`) is what the writer asks; the verifier imports no rules, so the table is
stated here again, and `tests/unit/verify` compares the two: a change there has to be made here as well. An event that
is not in the table was written by a newer release, and whether its role might record it stays undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

ANYBODY = "anybody"

_TABLE = """\
registrar:
    StudyOpened ActorEnrolled IdentityVerified KeyEnrolled LogKeyRotated CeremonyRequired
    CredentialOffered AccountabilityStated PersonRenamed
    AccountUnlocked
investigator principal-investigator sponsor:
    StudyHeld
sponsor:
    StudyResumed StudyClosed ApprovalRecorded ConsentDocumentApproved SiteClosed InterpretationResolved
sponsor system:
    ProtocolAdopted ProtocolActivatedAtSite SiteActivated
data-manager investigator principal-investigator:
    RecordsFrozen RecordsUnfrozen StudyLocked StudyUnlocked DataCutTaken
principal-investigator registrar:
    DelegationGranted DelegationEnded TrainingRecorded
anybody:
    KeyRevoked SignatureReaffirmed AccountabilityAccepted DecisionReversed AttributionDisputed SignatureWithdrawn
    Countersigned
system:
    AccountLocked ReleaseActivated ReplayConcluded DataExported AccessLogSealed RefusalsSealed RestorePerformed
investigator principal-investigator:
    CohortOpened CohortHeld CohortResumed DoseSelected SubjectEnrolled EligibilityDecided InfusionAuthorised
    RecordsSigned
safety-review:
    SafetyReviewConcluded DoseLimitingToxicityAdjudicated
coordinator investigator principal-investigator system + data-manager:
    SubjectScreened SubjectRescreened SubjectTransferred HistoryRecorded MedicationRecorded ProcedureRecorded
    VisitRecorded AssessmentRecorded TreatmentDiscontinued SubjectWithdrawn SubjectCompleted SubjectDied
    DispositionRecorded ConsentGiven ConsentDeclined ConsentWithdrawn InfusionGiven TreatmentAdministered
investigator principal-investigator system + data-manager:
    EligibilityAssessed ResultReviewed
coordinator investigator pharmacy principal-investigator system + data-manager:
    IdentityChecked InfusionWithheld
manufacturer pharmacy system + data-manager:
    ProductUnitRegistered ProductMoved ProductPrepared ProductDisposed
manufacturer-quality:
    ProductReleased ProductReleaseRevoked
coordinator investigator laboratory principal-investigator system + data-manager:
    SpecimenDrawn SpecimenReceived SpecimenProcessed SpecimenDiscarded LabResultReported
coordinator investigator principal-investigator sponsor-safety system + data-manager:
    AdverseEventReported AdverseEventFollowedUp PregnancyReported
investigator principal-investigator sponsor-safety system + data-manager:
    AdverseEventAssessed
coordinator investigator principal-investigator sponsor sponsor-safety system + data-manager:
    SafetyReportSubmitted
coordinator data-manager investigator monitor principal-investigator sponsor system:
    DeviationRecorded
investigator monitor principal-investigator sponsor sponsor-safety system + data-manager:
    DeviationAssessed
coordinator data-manager investigator laboratory manufacturer pharmacy principal-investigator sponsor sponsor-safety \
system:
    EntryCorrected EntryVoided
data-manager sponsor system:
    TranscriptionPeriodDeclared
data-manager:
    RefusalAdopted ReplayApproved EventSkipped SkippingEnded
privacy:
    FieldsRedacted
data-manager monitor sponsor sponsor-safety:
    QueryOpened QueryClosed QueryReopened
coordinator investigator laboratory pharmacy principal-investigator:
    QueryAnswered
monitor:
    SourceVerified
auditor data-manager inspector monitor sponsor:
    AuditTrailReviewed
administrator registrar sponsor:
    AccessReviewed
"""
"""Roles (behind `+` those that may besides, in mode transcribed), and below them their events."""


def _read(part: int) -> Iterator[tuple[str, frozenset[str]]]:
    roles: tuple[str, str] = ("", "")
    for line in _TABLE.splitlines():
        if line.startswith(" "):
            yield from ((event, frozenset(roles[part].split())) for event in line.split())
        else:
            always, _, besides = line.rstrip(":").partition("+")
            roles = (always, besides)


RECORDERS: Mapping[str, frozenset[str]] = dict(_read(0))
"""Event to the roles that record it; `ANYBODY` for every one."""

TRANSCRIBERS: Mapping[str, frozenset[str]] = dict(_read(1))
"""Event to the roles that may record it besides, in mode transcribed."""

DECISIONS = frozenset(
    (
        "CohortOpened CohortResumed DataCutTaken DoseLimitingToxicityAdjudicated DoseSelected "
        "EligibilityDecided InfusionAuthorised ProductReleased RecordsFrozen RecordsUnfrozen "
        "SafetyReviewConcluded StudyLocked StudyUnlocked SubjectEnrolled "
    ).split()
)
"""Decisions that are electronic signatures unless they are transcribed; what stops something is not among them."""

ALWAYS_SIGNED = frozenset({"DecisionReversed", "RecordsSigned"})
"""Acts that are electronic signatures in every mode."""

SIGNATURE_CLAIMS = frozenset({"meaning", "cut", "exp"})
"""What such a signature carries."""


def may_not(event: str, role: str, transcribed: bool) -> bool:
    """Whether the role may not record the event; False where the event is not known."""
    roles = RECORDERS.get(event)
    if roles is None or ANYBODY in roles or role in roles:
        return False
    return not (transcribed and role in TRANSCRIBERS[event])


def unsigned(claims: Mapping[str, object]) -> list[str]:
    """The claims that this statement lacks as the electronic signature that it has to be (SIGNATURE-2)."""
    event = claims["event"]
    signs = event in ALWAYS_SIGNED or (event in DECISIONS and claims.get("mode") != "transcribed")
    return sorted(SIGNATURE_CLAIMS - claims.keys()) if signs else []
