"""The protocol of a study as data: loading, versions, verdicts.

    protocol = load(text).version()
    verdict = evaluate(protocol.resolved(interpretations), "I01", facts)

Windows, escalation, response and comparison are modules of their own: `ledger.protocol.windows`, and so on.
Nothing here reads a clock, a database or a file; `packaged` alone reads the protocol files shipped.
"""

from ledger.protocol.evaluation import (
    EligibilityAssessment,
    Verdict,
    VerdictValue,
    assess_eligibility,
    evaluate,
)
from ledger.protocol.facts import Facts, Observation
from ledger.protocol.loading import load, packaged
from ledger.protocol.problems import BrokenProtocol, InvalidResolution, Problem, UnknownStudy, UnknownVersion
from ledger.protocol.versions import Protocol, ProtocolFile, Resolution, ResolvedProtocol

__all__ = [
    "BrokenProtocol",
    "EligibilityAssessment",
    "Facts",
    "InvalidResolution",
    "Observation",
    "Problem",
    "Protocol",
    "ProtocolFile",
    "Resolution",
    "ResolvedProtocol",
    "UnknownStudy",
    "UnknownVersion",
    "Verdict",
    "VerdictValue",
    "assess_eligibility",
    "evaluate",
    "load",
    "packaged",
]
