"""What the story lines share: the play, the cast, the subjects on stage with what was recorded about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from api.cli.demo.cast import SITE, ZONE, Cast
from api.cli.demo.play import Play, Sent
from api.client.signing import Actor

LOCAL = ZoneInfo(ZONE)
LABORATORY = "SYN-LAB"


def at(day: date, clock: str, days: int = 0) -> datetime:
    """A moment at the site: a day, so many days later, at a local time."""
    return datetime.combine(day + timedelta(days=days), time.fromisoformat(clock), LOCAL)


def stamp(moment: datetime) -> str:
    """A moment as a field has it: local, to the minute, with offset."""
    return moment.isoformat(timespec="minutes")


@dataclass(slots=True)
class Case:
    """One subject: `about` is the claim `sub`; `kept` what later acts come back to, by a name of the story.

    `counts` are the platelet counts as reported, by week, each with its specimen.
    """

    play: Play
    number: str
    about: str
    kept: dict[str, Sent] = field(default_factory=dict)
    counts: dict[int, tuple[str, str]] = field(default_factory=dict)
    specimens: int = 0

    def record(self, by: Actor, event: str, /, *, keep: str | None = None, **fields: Any) -> Sent:
        """Record a fact or act about the subject; `occurred_at` is now unless it is given."""
        if "occurred_at" not in fields and not fields.get("claims"):
            fields["occurred_at"] = self.play.stamp()
        sent = self.play.record(by, event, self.about, site=SITE, **fields)
        if keep is not None:
            self.kept[keep] = sent
        return sent

    def act(self, by: Actor, event: str, claim: str | None = None, on: Sent | None = None, **fields: Any) -> Sent:
        """An act on an earlier record: `claim` names it (corrects, voids, ...), `field` in `fields` for corrects."""
        claims: dict[str, Any] = {}
        if claim is not None and on is not None:
            claims[claim] = dict(on.target)
            if claim == "corrects":
                claims[claim]["field"] = fields.pop("field")
        return self.play.record(by, event, self.about, site=SITE, claims=claims, **fields)

    def decide(self, by: Actor, event: str, **fields: Any) -> Sent:
        """A decision about the subject, on the newest cut."""
        return self.play.decide(by, event, self.about, site=SITE, **fields)

    def attempt(self, rule: str, attempt: str, by: Actor, event: str, **fields: Any) -> None:
        """Try a statement about the subject that the ledger must refuse."""
        self.play.attempt(rule, attempt, by, event, self.about, site=SITE, **fields)

    def draw(self, by: Actor, planned: str | None = None, **fields: Any) -> tuple[str, str]:
        """Draw a blood specimen now; its id and the time."""
        self.specimens += 1
        specimen = f"{self.number}-{self.specimens:03d}"
        when = fields.pop("occurred_at", None) or self.play.stamp()
        self.record(
            by,
            "SpecimenDrawn",
            specimen=specimen,
            material="blood",
            planned=planned,
            occurred_at=when,
            keep=f"draw {planned}",
            **fields,
        )
        return specimen, when

    def result(self, by: Actor, analyte: str, specimen: tuple[str, str], **fields: Any) -> Sent:
        """Report a result of a specimen; `occurred_at` is when it was drawn."""
        name, drawn = specimen
        return self.record(
            by,
            "LabResultReported",
            analyte=analyte,
            specimen=name,
            laboratory=LABORATORY,
            occurred_at=drawn,
            captured_at=self.play.stamp(),
            **fields,
        )


@dataclass(slots=True)
class Stage:
    """The play with its cast; `responses`: whether platelet counts rise at all."""

    play: Play
    cast: Cast
    responses: bool = True
    protocol_version: str = "registered"
    consent_version: str = "1"
    cases: dict[str, Case] = field(default_factory=dict)
    open_reading: Sent | None = None

    def case(self, number: str) -> Case:
        """The subject of a number; brought on stage at the first call."""
        if number not in self.cases:
            self.cases[number] = Case(self.play, number, f"subject/{self.play.chance.id()}")
        return self.cases[number]
