"""What a verification found: nine numbered checks, each passed, failed or undecided, in plain sentences.

One object gives the text, the JSON and (`html.py`) the page. A failure names the index of the first entry it is
about; its `means` says what follows for whoever relies on the record. `evidence.md` section 3 numbers the checks.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ledger.merkle.note import told

Outcome = Literal["passed", "failed", "undecided"]

VERIFIED, NOT_VERIFIED, UNDECIDED, WRONG_USAGE = 0, 1, 2, 64
"""Exit statuses."""

SHOWN = 20
"""Failures and listed entries shown of each check: enough to see the pattern, few enough to read."""

MANDATORY = ("V1", "V2", "V3", "V4", "V5", "V6", "V7")

CHECKS: Mapping[str, tuple[str, str, str]] = {
    "V1": (
        "Checkpoint and witnesses",
        "the newest checkpoint is signed by the log, and by the witnesses that the policy asks for",
        "nobody who signs for this log stands behind this state of it: it may be another log, an outdated or an "
        "invented one",
    ),
    "V2": (
        "Entries and tree",
        "every entry was hashed anew, and tiles and root were recomputed from them",
        "entries were changed, removed, inserted or put in another order after the checkpoint was signed",
    ),
    "V3": (
        "History",
        "every checkpoint ever published is a beginning of this same log",
        "history was rewritten: somebody was shown another past than the one in this bundle",
    ),
    "V4": (
        "Keys and rights",
        "genesis, actors, keys, countersignatures, revocations and delegations were folded from the first entry on",
        "it is not established who may act in this study: a right or a key came in that nobody entitled gave",
    ),
    "V5": (
        "Statements and signatures",
        "every statement has its strict form, a good signature by a key in force, a role held, this log's address "
        "and an id of its own",
        "a statement is not what its actor signed, or whoever signed it was not entitled to",
    ),
    "V6": (
        "Times",
        "signing, recording and cosigning are in an order that is possible",
        "a clock was set back or forward, or a time was altered: the times stated cannot all be true",
    ),
    "V7": (
        "Disclosures and manifest",
        "every field is there and signed for, or redacted by two people, or withheld and listed; the manifest is "
        "signed by the ledger and fits every member",
        "content is missing, exchanged or added without anybody having ordered it, or the bundle is not as the "
        "ledger made it",
    ),
    "V8": (
        "Projections",
        "the views in the bundle were recomputed from the entries and are the same",
        "a view in the bundle does not show what the entries say",
    ),
    "V9": (
        "Timestamps",
        "RFC 3161 timestamps are over these checkpoints and by the authorities trusted",
        "a timestamp does not prove what it should",
    ),
}
"""Number to name, what is checked, and what a failure means."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that does not hold; `index` is the entry's, None where no single entry is to blame."""

    index: int | None
    because: str

    def __str__(self) -> str:
        return self.because if self.index is None else f"index {self.index}: {self.because}"


@dataclass(slots=True)
class Check:
    """One numbered check while it is made and when it is done."""

    number: str
    said: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed_count: int = 0
    first_bad_index: int | None = None
    notes: list[str] = field(default_factory=list)
    undecided_because: str | None = None

    @property
    def name(self) -> str:
        """What the check is called."""
        return CHECKS[self.number][0]

    @property
    def outcome(self) -> Outcome:
        """Failed as soon as one thing does not hold; undecided where something could not be looked at."""
        if self.failed_count:
            return "failed"
        return "undecided" if self.undecided_because is not None else "passed"

    def say(self, sentence: str) -> None:
        """What was checked and found good."""
        self.said.append(sentence)

    def note(self, sentence: str) -> None:
        """What is no failure and must be known."""
        self.notes.append(sentence)

    def fail(self, because: str, index: int | None = None, count: int = 1) -> None:
        """Something does not hold; the first `SHOWN` are kept in words, all are counted."""
        self.failed_count += count
        if index is not None and (self.first_bad_index is None or index < self.first_bad_index):
            self.first_bad_index = index
        if len(self.failures) < SHOWN:
            self.failures.append(Failure(index, because))

    def undecided(self, because: str) -> None:
        """Something could not be looked at."""
        if self.undecided_because is None:
            self.undecided_because = because

    def as_json(self) -> dict[str, Any]:
        """The check as data."""
        _, checks, means = CHECKS[self.number]
        return {
            "check": self.number,
            "name": self.name,
            "outcome": self.outcome,
            "checks": checks,
            "said": self.said,
            "failures": [{"index": failure.index, "because": failure.because} for failure in self.failures],
            "failure_count": self.failed_count,
            "first_bad_index": self.first_bad_index,
            "means": means if self.failed_count else None,
            "undecided_because": self.undecided_because,
            "notes": self.notes,
        }


@dataclass(slots=True)
class VerificationReport:
    """The whole finding. Truthy when verified: V1 to V7 passed, V8 and V9 have not failed.

    `facts` say what was looked at (bundle, study, origin, size, root, ...), in the order to be shown;
    `warnings` come before everything else; `refused` is set when the file was not even opened as a bundle.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=lambda: {number: Check(number) for number in CHECKS})
    warnings: list[str] = field(default_factory=list)
    policy_keys: list[str] = field(default_factory=list)
    refused: str | None = None
    unreadable: bool = False

    def __getitem__(self, number: str) -> Check:
        return self.checks[number]

    def __bool__(self) -> bool:
        return self.exit_status() == VERIFIED

    @property
    def outcome(self) -> Outcome:
        """The whole in one word; V8 and V9 matter only where they failed."""
        if self.unreadable:
            return "undecided"
        if self.refused is not None or any(check.outcome == "failed" for check in self.checks.values()):
            return "failed"
        if any(self.checks[number].outcome == "undecided" for number in MANDATORY):
            return "undecided"
        return "passed"

    @property
    def first_bad_index(self) -> int | None:
        """The smallest index that any check complains about."""
        found = [check.first_bad_index for check in self.checks.values() if check.first_bad_index is not None]
        return min(found, default=None)

    @property
    def failed(self) -> tuple[str, ...]:
        """The numbers of the checks that failed."""
        return tuple(number for number, check in self.checks.items() if check.outcome == "failed")

    def exit_status(self, require: Collection[str] = ()) -> int:
        """0 verified, 1 not verified, 2 could not decide: also when a check of `require` is undecided."""
        if self.outcome == "failed":
            return NOT_VERIFIED
        if self.outcome == "undecided" or any(self.checks[number].outcome != "passed" for number in require):
            return UNDECIDED
        return VERIFIED

    def headline(self) -> str:
        """The result in a sentence."""
        if self.unreadable:
            return f"COULD NOT DECIDE: {self.refused}."
        if self.refused is not None:
            return f"NOT VERIFIED: this is not a bundle of the format, so nothing in it was believed. {self.refused}."
        if self.failed:
            where = "" if self.first_bad_index is None else f"; the first bad entry has index {self.first_bad_index}"
            return f"NOT VERIFIED: {', '.join(self.failed)} failed{where}."
        if self.outcome == "undecided":
            return "COULD NOT DECIDE: a check that is needed could not be made."
        open_ = [number for number, check in self.checks.items() if check.outcome == "undecided"]
        rest = f" Not decided: {', '.join(open_)}." if open_ else ""
        return f"VERIFIED: {self.facts.get('size', 0)} entries, V1 to V7 passed.{rest}"

    def as_json(self) -> dict[str, Any]:
        """Everything as data; `json` writes it."""
        return {
            "verified": bool(self),
            "outcome": self.outcome,
            "headline": self.headline(),
            "first_bad_index": self.first_bad_index,
            "facts": self.facts,
            "warnings": self.warnings,
            "policy_keys": self.policy_keys,
            "refused": self.refused,
            "checks": [check.as_json() for check in self.checks.values()],
        }

    def json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(self.as_json(), ensure_ascii=False)

    def text(self) -> str:
        """The report for a terminal or a printer."""
        lines = [self.headline(), ""]
        lines += [f"{_label(name)}: {plain(value)}" for name, value in self.facts.items()]
        for warning in self.warnings:
            lines += ["", f"! {plain(warning)}"]
        if self.policy_keys:
            lines += ["", "Keys to compare:", *(f"    {plain(told(key))}" for key in self.policy_keys)]
        if self.refused is None:
            for check in self.checks.values():
                lines += ["", *_check_lines(check)]
        return "\n".join(lines) + "\n"


def _check_lines(check: Check) -> list[str]:
    lines = [f"{check.number} {check.name}: {check.outcome.upper()}"]
    lines += [f"   {plain(sentence)}" for sentence in check.said]
    if check.failed_count:
        lines.append(f"   This means: {CHECKS[check.number][2]}.")
        lines += [f"   - {plain(failure)}" for failure in check.failures]
        if check.failed_count > len(check.failures):
            lines.append(f"   - and {check.failed_count - len(check.failures)} more")
    if check.undecided_because is not None:
        lines.append(f"   Not decided: {plain(check.undecided_because)}.")
    lines += [f"   Note: {plain(note)}" for note in check.notes]
    return lines


def plain(value: object) -> str:
    """Text of a bundle as it may stand on a terminal: control characters and line breaks made visible."""
    text = str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def listed(items: Sequence[object], count: int | None = None, unit: str = "") -> str:
    """`a, b, c and 7 more`: the first items of a list in words."""
    total = len(items) if count is None else count
    shown = ", ".join(str(item) for item in items[:SHOWN])
    rest = total - min(len(items), SHOWN)
    return f"{unit}{shown}{f' and {rest} more' if rest > 0 else ''}"
