"""How the simulation acts: story lines that take turns by simulated time, and one line to the ledger.

- Story lines are generators: what stands between two yields happens at the moment last yielded. All lines
  advance together in the order of their moments, so that what is recorded is recorded in order of time.
- Facts and governance gather and go in one request. A decision goes alone, on the cut that everything before
  it made; so does a statement that the ledger is expected to refuse.
- An unexpected answer ends the play: a course that is not told as written is not told at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.cli.demo.chance import Chance
from api.client.http import Recorded, Refused, StudyClient
from api.client.signing import Actor, Cut, target

MAX_GATHERED = 400
"""Statements that wait for one request; more would only make progress lumpy."""

Line = Iterator[datetime]
"""A story line: acts between the moments that it yields."""
Progress = Callable[[str, int], None]
"""Told of the chapter that is playing and how many events are recorded."""


class CourseBroken(Exception):
    """The ledger answered otherwise than the story says."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement as it was signed."""

    event: str
    jti: str
    text: str

    @property
    def target(self) -> dict[str, str]:
        """What acts on it name: `{jti, digest}`."""
        return target(self.text)


@dataclass(frozen=True, slots=True)
class RefusedAct:
    """A statement that the ledger refused, as the story meant it to: what was tried, the rule, the cause."""

    attempt: str
    rule: str
    because: str
    remedy: str


@dataclass(slots=True)
class Play:
    """The simulated clock, chance, and the line to the ledger."""

    client: StudyClient
    chance: Chance
    now: datetime
    progress: Progress
    recorded: int = 0
    chapter: str = ""
    refusals: list[RefusedAct] = field(default_factory=list)
    _gathered: list[Sent] = field(default_factory=list)
    _agenda: list[tuple[datetime, int, Line]] = field(default_factory=list)
    _lines: int = 0

    # -- time -----------------------------------------------------------------------------------------------

    def clock(self) -> int:
        """The simulated time as `iat` has it."""
        return int(self.now.timestamp())

    def stamp(self) -> str:
        """The simulated time as a field has it: local, to the minute, with offset."""
        return self.now.isoformat(timespec="minutes")

    def follow(self, line: Line) -> None:
        """Begin a story line now; it takes its turn from the first moment that it yields."""
        self._next(line)

    def run(self) -> None:
        """Play all lines to their ends."""
        while self._agenda:
            moment, _, line = heapq.heappop(self._agenda)
            if moment > self.now:
                self.now = moment
            self._next(line)
        self.flush()

    def _next(self, line: Line) -> None:
        moment = next(line, None)
        if moment is not None:
            self._lines += 1
            heapq.heappush(self._agenda, (moment, self._lines, line))

    # -- acts -----------------------------------------------------------------------------------------------

    def tell(self, chapter: str) -> None:
        """Say which part of the story begins."""
        self.chapter = chapter
        self.progress(chapter, self.recorded)

    def sign(self, by: Actor, event: str, about: str, cut: Cut | None, /, **fields: Any) -> Sent:
        """Sign a statement now. `claims`, `site` and `meaning` among the fields go where they belong."""
        claims = dict(fields.pop("claims", {}))
        jti = claims.pop("jti", None) or self.chance.id()
        where, meaning = fields.pop("site", None), fields.pop("meaning", None)
        text = by.sign(event, about, fields, site=where, meaning=meaning, cut=cut, jti=jti, **claims)
        return Sent(event, jti, text)

    def record(self, by: Actor, event: str, about: str, /, **fields: Any) -> Sent:
        """Record governance, a fact or an act; it is sent with what gathers around it."""
        return self.gather(self.sign(by, event, about, None, **fields))

    def gather(self, sent: Sent) -> Sent:
        """Send a statement that was signed elsewhere, with what gathers around it."""
        self._gathered.append(sent)
        if len(self._gathered) >= MAX_GATHERED:
            self.flush()
        return sent

    def decide(self, by: Actor, event: str, about: str, *, cut: Cut | None = None, **fields: Any) -> Sent:
        """Sign a decision on the state that everything before it made (or on an earlier `cut`), and send it."""
        self.flush()
        sent = self.sign(by, event, about, cut or self.client.cut, **fields)
        try:
            self.client.append(sent.text)
        except Refused as refused:
            raise CourseBroken(self._words(sent, refused)) from None
        self.recorded += 1
        return sent

    def decide_together(self, by: Actor, event: str, subjects: list[str], **fields: Any) -> list[Sent]:
        """The same decision on several subjects that do not depend on each other: one cut, one request."""
        self.flush()
        cut = self.client.cut
        return [self.gather(self.sign(by, event, about, cut, **fields)) for about in subjects]

    def attempt(self, rule: str, attempt: str, by: Actor, event: str, about: str, **fields: Any) -> None:
        """Try what the ledger must refuse by this rule; `attempt` says in words what was tried."""
        self.flush()
        decision = fields.pop("decision", True)
        cut = fields.pop("cut", None) or self.client.cut if decision else None
        self.attempt_text(rule, attempt, self.sign(by, event, about, cut, **fields))

    def attempt_text(self, rule: str, attempt: str, sent: Sent) -> None:
        """Send a signed statement that the ledger must refuse by this rule."""
        self.flush()
        try:
            self.client.append(sent.text)
        except Refused as refused:
            if refused.rule != rule:
                raise CourseBroken(f"{attempt}: {self._words(sent, refused)}; expected was {rule}") from None
            problem = refused.problem
            self.refusals.append(
                RefusedAct(attempt, rule, str(problem.get("because", "")), str(problem.get("remedy", "")))
            )
            return
        raise CourseBroken(f"{self.now:%Y-%m-%d} {attempt}: it was recorded, and {rule} should have refused it")

    def flush(self) -> None:
        """Send what has gathered; the client's cut is then the newest signed state."""
        if not self._gathered:
            return
        sent, self._gathered = self._gathered, []
        for statement, answer in zip(sent, self.client.append_many(s.text for s in sent), strict=True):
            if not isinstance(answer, Recorded):
                raise CourseBroken(self._words(statement, answer))
        self.recorded += len(sent)
        self.progress(self.chapter, self.recorded)

    def _words(self, sent: Sent, refused: Refused) -> str:
        return f"{self.now:%Y-%m-%d} {sent.event} {sent.jti} was refused: {refused}"
