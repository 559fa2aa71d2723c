"""Before the first subject: protocol, approvals, site, consent documents, and how the record's gaps are read.

The interpretations here are invented for the demonstration; nobody of the real trial made them.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from api.cli.demo.cast import SITE, STUDY, ZONE, accept_and_train, enrol_cast
from api.cli.demo.play import Line, Sent
from api.cli.demo.stage import Stage, at
from ledger.domain.study import b64_sha256
from ledger.protocol import packaged

OPENING = date(2019, 11, 4)
REGISTERED = "registered"
AMENDED = "3+3"
CONSENT, CONTROL_CONSENT = "ICF", "ICF-HC"
LANGUAGE = "zh"

Reading = tuple[str, str, dict[str, Any]]

READINGS: tuple[Reading, ...] = (
    ("AMB-01", "letter-c", {}),
    ("AMB-03", "phase-1-escalation", {}),
    ("AMB-05", "wash-out-at-least", {}),
    ("AMB-06", "one-of-each-line", {}),
    ("AMB-07", "last-count-and-judgement", {"response_criteria": "iwg-2009", "bleeding_counts_for": "P29D"}),
    ("AMB-08", "before-each-infusion", {"valid_for": "P7D", "interval": "P8W"}),
    ("AMB-09", "surface-antigen-full-panel", {}),
    ("AMB-10", "as-punctuated", {"further_analytes": [], "qtc_formula": "Fridericia"}),
    ("AMB-11", "first-infusion", {"window_before": "P3D", "window_after": "P3D"}),
    ("AMB-12", "first-infusion", {"window_before": "P3D", "window_after": "P3D"}),
    ("AMB-13", "before-infusion", {}),
    ("AMB-14", "from-first-infusion", {}),
    ("AMB-15", "last-given", {"window_before": "PT6H", "window_after": "PT6H"}),
    ("AMB-16", "enrolment-order", {}),
    ("AMB-17", "from-start", {"window_before": "PT10M", "window_after": "PT15M"}),
    ("AMB-18", "one-sample", {}),
    ("AMB-19", "ctcae-5", {}),
    ("AMB-20", "twelve-to-thirty-six", {}),
    ("AMB-22", "institute", {}),
    ("AMB-23", "site-time", {"time_zone": ZONE}),
    (
        "AMB-04",
        "from-first-infusion",
        {
            "definition": "Any grade 3 or higher non-haematological adverse event, and any serious one, that is at "
            "least possibly related to the cells; bleeding explained by the platelet count is not counted",
            "window": "P28D",
            "stopping_rule": "Two subjects of one dose group with a dose-limiting toxicity stop that group",
            "stop_after": 2,
            "review_body": "Synthetic safety review board",
            "weight": "screening",
            "missed_dose": "skip",
            "interval_before": "P1D",
            "interval_after": "P2D",
            "dose_tolerance_percent": "10",
        },
    ),
    ("AMB-02", "by-six", {}),
)
"""How each gap is read; the last one here is countersigned late, so that it still holds the first enrolment up."""
LATE_READING: Reading = (
    "AMB-21",
    "as-supplied",
    {"primary_completion": "2023-03-15", "completion": "2023-06-30"},
)
"""What could only be said at the end: it blocks nothing."""

REASON = "Synthetic reading for the demonstration: needed before the first subject"


def set_up(stage: Stage) -> Line:
    """Everything up to the first screening; leaves AMB-02 to be countersigned."""
    play, cast = stage.play, stage.cast
    play.tell("Opening the study: actors, keys, roles")
    enrol_cast(play, cast)
    yield at(OPENING, "10:00", days=1)
    accept_and_train(play, cast)
    play.tell("Protocol as registered for 15, approvals, consent documents")
    yield at(OPENING, "11:00", days=2)
    adopt_protocol(stage, REGISTERED, "The protocol as registered")
    approve(stage, "EC-2019-11", "protocol version registered and consent documents", play.now.date())
    play.record(
        cast.sponsor,
        "SiteActivated",
        f"site/{SITE}",
        time_zone=ZONE,
        country="CN",
        languages=[LANGUAGE],
        name="Synthetic hospital, Tianjin",
        principal_investigator=cast.pi.id,
    )
    activate_protocol(stage, REGISTERED, "EC-2019-11")
    approve_consent(stage, CONSENT, "1", "EC-2019-11")
    approve_consent(stage, CONTROL_CONSENT, "1", "EC-2019-11")
    yield at(OPENING, "14:00", days=4)
    yield from interpret(stage)


def interpret(stage: Stage) -> Line:
    """The sponsor's readings, countersigned by the investigator three days later, all but the last."""
    stage.play.tell("Interpretations of the record's gaps, signed by sponsor and investigator")
    signed: list[Sent] = [resolve(stage, *reading) for reading in READINGS]
    yield at(OPENING, "09:00", days=7)
    for sent in signed[:-1]:
        countersign(stage, sent)
    stage.open_reading = signed[-1]


def resolve(stage: Stage, ambiguity: str, option: str, parameters: dict[str, Any]) -> Sent:
    """One reading, signed by the sponsor."""
    return stage.play.record(
        stage.cast.sponsor,
        "InterpretationResolved",
        "study",
        ambiguity=ambiguity,
        option=option,
        parameters=parameters or None,
        reason=REASON,
    )


def countersign(stage: Stage, sent: Sent) -> None:
    """The principal investigator agrees with a reading, and signs for it."""
    named = {"countersigns": sent.target}
    stage.play.record(stage.cast.pi, "Countersigned", "study", claims=named, meaning="approval")


def adopt_protocol(stage: Stage, version: str, reason: str) -> None:
    """The packaged protocol file, in one of its versions."""
    text = packaged(STUDY)
    digest = b64_sha256(text.encode())
    stage.play.record(
        stage.cast.sponsor, "ProtocolAdopted", "study", version=version, digest=digest, file=text, reason=reason
    )


def activate_protocol(stage: Stage, version: str, approval: str) -> None:
    """A version comes into force at the site."""
    stage.play.record(stage.cast.sponsor, "ProtocolActivatedAtSite", f"site/{SITE}", version=version, approval=approval)


def approve(stage: Stage, approval: str, concerns: str, day: date) -> None:
    """The ethics committee approves."""
    stage.play.record(
        stage.cast.sponsor,
        "ApprovalRecorded",
        f"site/{SITE}",
        approval=approval,
        body_name="Synthetic ethics committee",
        kind_of_body="ethics committee",
        approved_date=day.isoformat(),
        concerns=concerns,
    )


def approve_consent(stage: Stage, document: str, version: str, approval: str) -> None:
    """A consent document in one version."""
    digest = b64_sha256(f"synthetic consent document {document} version {version}".encode())
    stage.play.record(
        stage.cast.sponsor,
        "ConsentDocumentApproved",
        f"site/{SITE}",
        document_id=document,
        version=version,
        language=LANGUAGE,
        digest=digest,
        approval=approval,
    )
