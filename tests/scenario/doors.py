"""The ways into a ledger: in this process, or over HTTP. A simulated trial does not know which one it uses.

Both answer alike: `Recorded` for what was recorded, `Refused` raised with the problem object otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from api.client.http import Refused, StudyClient
from api.client.signing import Cut
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.receipts import base64url
from ledger.writer import Answer

EMPTY = Cut(0, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
"""The state before genesis."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An acknowledged statement: `receipt` is None while the log's signer is down."""

    jti: str
    index: int
    receipt: str | None
    repeat: bool


class Door(Protocol):
    """One study's ledger as a trial reaches it."""

    def log_keys(self) -> dict[str, Any]:
        """What genesis must state."""

    def open_study(self, genesis: str) -> Recorded:
        """Open the study; raises Refused."""

    def append(self, statement: str) -> Recorded:
        """Record one statement; raises Refused."""

    def append_many(self, statements: Sequence[str]) -> list[Recorded]:
        """Record statements in order; raises the first Refused when all are answered."""

    def cut(self) -> Cut:
        """The newest signed state that this door was shown."""

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every entry under the newest checkpoint: index, event, jti, recorded_at, statement."""


class InProcess:
    """Straight through an open `Ledger`."""

    def __init__(self, ledger: Ledger, study: str) -> None:
        self.ledger, self.study = ledger, study
        self._cut = EMPTY

    def log_keys(self) -> dict[str, Any]:
        return self.ledger.log_keys(self.study)

    def open_study(self, genesis: str) -> Recorded:
        try:
            return self._seen(self.ledger.open_study(genesis))
        except Refusal as refusal:
            raise problem_of(refusal) from None

    def append(self, statement: str) -> Recorded:
        return self.append_many([statement])[0]

    def append_many(self, statements: Sequence[str]) -> list[Recorded]:
        outcomes = list(self.ledger.append_many(self.study, statements))
        for outcome in outcomes:
            if isinstance(outcome, Refusal):
                raise problem_of(outcome)
        return [self._seen(outcome) for outcome in outcomes if isinstance(outcome, Answer)]

    def _seen(self, answer: Answer) -> Recorded:
        if answer.size > self._cut.size:
            self._cut = Cut(answer.size, answer.root)
        return Recorded(answer.jti, answer.index, answer.receipt, answer.repeat)

    def cut(self) -> Cut:
        with self.ledger.database.connection() as connection:
            newest = self.ledger.checkpoint(connection, self.study)
        return Cut(newest.size, base64url(newest.root))

    def entries(self) -> Iterator[dict[str, Any]]:
        after = 0
        while True:
            rows, newest = self.ledger.entries(self.study, after, 1_000)
            for row in rows:
                yield {
                    "index": row.idx,
                    "event": row.topic.partition("/")[0],
                    "recorded_at": row.recorded_at,
                    "statement": "~".join((row.jwt, *row.disclosures, "")),
                }
            if not rows or rows[-1].idx + 1 == newest.size:
                return
            after = rows[-1].idx + 1


class OverHttp:
    """Through the typed client, as an integrator would."""

    def __init__(self, client: StudyClient) -> None:
        self.client = client

    def log_keys(self) -> dict[str, Any]:
        return self.client.log_keys()

    def open_study(self, genesis: str) -> Recorded:
        return _recorded(self.client.open_study(genesis))

    def append(self, statement: str) -> Recorded:
        return _recorded(self.client.append(statement))

    def append_many(self, statements: Sequence[str]) -> list[Recorded]:
        answers = list(self.client.append_many(statements))
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return [_recorded(answer) for answer in answers]

    def cut(self) -> Cut:
        return self.client.look()

    def entries(self) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = self.client.get("events", after=after, limit=1_000)
            yield from page["entries"]
            after = page["next"]


def _recorded(answer: Any) -> Recorded:
    return Recorded(answer.jti, answer.index, answer.receipt, answer.repeat)


def problem_of(refusal: Refusal) -> Refused:
    """A refusal as the client would have raised it."""
    return Refused({**refusal.as_dict(), "status": refusal.status})


def uuid_of(subject: str) -> UUID:
    """The id of the aggregate of `subject/<uuid>`."""
    return UUID(subject.partition("/")[2])
