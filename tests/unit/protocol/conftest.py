"""A patient of the seed trial who meets every criterion, and the interpretations of the published course.

Tests change one fact or one interpretation and ask what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ledger.protocol import Observation, Protocol, ProtocolFile, Resolution, ResolvedProtocol, load, packaged

SEED = "NCT04014166"

PUBLISHED_COURSE: dict[str, Resolution] = {
    "AMB-01": Resolution("letter-c"),
    "AMB-02": Resolution("by-six"),
    "AMB-03": Resolution("phase-1-escalation"),
    "AMB-04": Resolution(
        "from-first-infusion",
        {
            "definition": "any related event of grade 3 or more",
            "window": "P4W",
            "stopping_rule": "two subjects of a group with a dose-limiting toxicity",
            "stop_after": 2,
            "review_body": "safety review committee",
            "weight": "screening",
            "missed_dose": "skip",
            "interval_before": "P1D",
            "interval_after": "P2D",
        },
    ),
    "AMB-05": Resolution("wash-out-at-least"),
    "AMB-06": Resolution("every-named-drug"),
    "AMB-07": Resolution("last-count-and-judgement", {"response_criteria": "iwg-2009", "bleeding_counts_for": "P7D"}),
    "AMB-08": Resolution("before-each-infusion", {"valid_for": "P7D"}),
    "AMB-09": Resolution("surface-antigen-full-panel"),
    "AMB-10": Resolution("as-punctuated", {"further_analytes": [], "qtc_formula": "Fridericia"}),
    "AMB-11": Resolution("first-infusion", {"window_before": "P1D", "window_after": "P3D"}),
    "AMB-12": Resolution("first-infusion", {"window_before": "P2D", "window_after": "P2D"}),
    "AMB-13": Resolution("before-infusion"),
    "AMB-14": Resolution("from-first-infusion"),
    "AMB-15": Resolution("last-given", {"window_before": "PT2H", "window_after": "PT6H"}),
    "AMB-16": Resolution("enrolment-order"),
    "AMB-17": Resolution("from-start", {"window_before": "PT5M", "window_after": "PT5M"}),
    "AMB-18": Resolution("one-sample"),
    "AMB-19": Resolution("ctcae-5"),
    "AMB-20": Resolution("twelve-to-thirty-six"),
    "AMB-21": Resolution("as-registered"),
    "AMB-22": Resolution("institute"),
    "AMB-23": Resolution("site-time", {"time_zone": "Asia/Shanghai"}),
}


class Record:
    """The facts about one subject, as a test writes them down."""

    def __init__(self) -> None:
        self.facts: list[Observation] = []

    def add(self, event: str, occurred_at: str | None = None, **content: Any) -> Observation:
        """Record one more fact."""
        index = len(self.facts)
        fact = Observation(f"00000000-0000-4000-8000-{index:012d}", index, event, occurred_at, content)
        self.facts.append(fact)
        return fact

    def without(self, event: str, **content: Any) -> Record:
        """Leave out the facts of this event whose content has these values."""
        self.facts = [
            fact
            for fact in self.facts
            if fact.event != event or any(fact.content.get(name) != value for name, value in content.items())
        ]
        return self

    def change(self, event: str, match: Mapping[str, Any] | None = None, /, **fields: Any) -> Record:
        """Correct fields of the facts of this event; a test that matches none is wrong."""
        found = False
        for place, fact in enumerate(self.facts):
            wanted = match or {}
            if fact.event == event and all(fact.content.get(k) == v for k, v in wanted.items()):
                found = True
                occurred_at = fields.get("occurred_at", fact.occurred_at)
                own = {name: value for name, value in fields.items() if name != "occurred_at"}
                self.facts[place] = fact._replace(occurred_at=occurred_at, content={**fact.content, **own})
        assert found, f"no {event} with {match}"
        return self

    def observations(self, event: str) -> list[Observation]:
        """As the protocol reads facts."""
        return [fact for fact in self.facts if fact.event == event]


CONSENTED = "2020-03-02T09:00+08:00"
SAMPLED = "2020-03-03T08:00+08:00"
ABSENT = (
    "splenectomy",
    "thrombosis",
    "transplant",
    "heart failure",
    "arrhythmia requiring treatment",
    "arrhythmia with thrombotic risk",
    "myocardial infarction",
    "lactation",
)
CHEMISTRY = {
    "alt": ("20", "U/L", "40"),
    "ast": ("22", "U/L", "40"),
    "bilirubin": ("12", "umol/L", "21"),
    "bun": ("5", "mmol/L", "7.5"),
    "creatinine": ("60", "umol/L", "80"),
}
VIRUSES = ("hiv", "hbsag", "anti_hbc", "hcv", "hdv", "syphilis", "ebv_dna", "cmv_dna")


def result(record: Record, analyte: str, value: str, unit: str, when: str = SAMPLED, **more: Any) -> Observation:
    """Record a result in numbers."""
    return record.add("LabResultReported", when, analyte=analyte, value=value, unit=unit, **more)


def fitting_patient() -> Record:
    """A woman of 40 whom every criterion lets in."""
    r = Record()
    r.add("ConsentDocumentApproved", document_id="ICF", version="2.0", language="zh-CN")
    r.add("ConsentGiven", CONSENTED, document_id="ICF", version="2.0", language="zh-CN", purpose="initial")
    r.add(
        "SubjectScreened",
        "2020-03-02T10:00+08:00",
        number="01-001",
        population="patient",
        sex="female",
        birth_date="1980-01-15",
        childbearing_potential=True,
    )
    r.add("HistoryRecorded", category="ITP diagnosis", term="ITP", present=True, onset_date="2015-06-01")
    for category in ABSENT:
        r.add("HistoryRecorded", category=category, term=category, present=False)
    for drug in ("IVIG", "glucocorticoid", "TPO agent", "rituximab"):
        r.add(
            "MedicationRecorded",
            name=drug,
            drug_class=drug,
            category="prior",
            start_date="2018-01",
            end_date="2018-06-30",
            response="no response",
        )
    r.add("AssessmentRecorded", SAMPLED, instrument="ECOG", items={"ecog": 1})
    ecg = {"qt": "400", "qtc": "420", "bundle_branch_block": False}
    r.add("AssessmentRecorded", SAMPLED, instrument="ECG", items=ecg)
    r.add("AssessmentRecorded", SAMPLED, instrument="bleeding", items={"bleeding": True, "score": "2"})
    result(r, "platelets", "12", "10*9/L")
    for analyte, (value, unit, high) in CHEMISTRY.items():
        result(r, analyte, value, unit, reference_range={"high": high, "unit": unit})
    for virus in VIRUSES:
        r.add("LabResultReported", SAMPLED, analyte=virus, text="negative")
    r.add("LabResultReported", SAMPLED, analyte="hcg", text="negative")
    attested = {"ITP_diagnosis": True, "bleeding_tendency": True, "contraception": True}
    attested |= {"secondary_thrombocytopenia": False, "poor_compliance": False, "other_reason": False}
    r.add("EligibilityAssessed", "2020-03-04T15:00+08:00", attestations=attested)
    return r


@pytest.fixture
def patient() -> Record:
    """A patient who meets every criterion."""
    return fitting_patient()


@pytest.fixture
def record() -> Record:
    """Nothing recorded yet."""
    return Record()


@pytest.fixture(scope="session")
def seed_file() -> ProtocolFile:
    """The protocol file of the seed trial."""
    return load(packaged(SEED))


@pytest.fixture(scope="session")
def seed(seed_file: ProtocolFile) -> Protocol:
    """The seed trial as registered."""
    return seed_file.version()


Resolve = Callable[..., ResolvedProtocol]


@pytest.fixture(scope="session")
def resolve(seed_file: ProtocolFile) -> Resolve:
    """The seed trial with the published course's interpretations; some left open or read differently."""

    def resolved(
        *, leave_open: tuple[str, ...] = (), version: str | None = None, **other: Resolution
    ) -> ResolvedProtocol:
        chosen = PUBLISHED_COURSE | {key.replace("_", "-"): value for key, value in other.items()}
        return seed_file.version(version).resolved({k: v for k, v in chosen.items() if k not in leave_open})

    return resolved


@pytest.fixture(scope="session")
def tianjin() -> ZoneInfo:
    """The zone of the seed trial's site."""
    return ZoneInfo("Asia/Shanghai")
