"""One study over HTTP: append one or many statements, read views; remembers the newest cut it was shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from api.client.signing import Cut

TIMEOUT_SECONDS = 60.0


class Refused(Exception):
    """The ledger refused a statement; `problem` is the RFC 9457 object it answered with."""

    def __init__(self, problem: dict[str, Any]) -> None:
        because = problem.get("because") or problem.get("detail") or ""
        super().__init__(f"{problem.get('rule', problem.get('status'))}: {because}")
        self.problem = problem

    @property
    def rule(self) -> str:
        """The id of the rule that refused it."""
        return str(self.problem.get("rule", ""))


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer to an append; `receipt` is None while the log's signer is down."""

    jti: str
    index: int
    receipt: str | None
    repeat: bool

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Recorded:
        """From the answer's JSON."""
        return cls(answer["jti"], answer["index"], answer.get("receipt"), bool(answer.get("repeat")))


class StudyClient:
    """Not for several threads at once."""

    def __init__(self, base_url: str, study: str, http: httpx.Client | None = None) -> None:
        self.study = study
        self._http = http or httpx.Client(base_url=base_url, timeout=TIMEOUT_SECONDS)
        self.cut = Cut(0, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def open_study(self, genesis: str) -> Recorded:
        """POST /v1/studies."""
        answer = self._http.post("/v1/studies", content=genesis, headers={"Content-Type": "application/sd-jwt"})
        return Recorded.of(self._checked(answer))

    def log_keys(self) -> dict[str, Any]:
        """What genesis must state."""
        return self._checked(self._http.get(f"/v1/studies/{self.study}/log-keys"))  # type: ignore[no-any-return]

    def append(self, statement: str, *, validate_only: bool = False) -> Recorded:
        """Append one statement; raises Refused."""
        headers = {"Content-Type": "application/sd-jwt"}
        if validate_only:
            headers["Prefer"] = "validate-only"
        answer = self._http.post(f"/v1/studies/{self.study}/events", content=statement, headers=headers)
        return Recorded.of(self._checked(answer))

    def append_many(self, statements: Iterable[str]) -> Iterator[Recorded | Refused]:
        """Append statements in order in one request; an answer each."""
        lines = "".join(json.dumps(statement) + "\n" for statement in statements)
        url = f"/v1/studies/{self.study}/events"
        with self._http.stream("POST", url, content=lines, headers={"Content-Type": "application/x-ndjson"}) as answer:
            if answer.status_code >= 400:
                answer.read()
                self._checked(answer)
            for line in answer.iter_lines():
                read = json.loads(line)
                if read.get("size", 0) > self.cut.size:
                    self.cut = Cut(read["size"], read["root"])
                yield Refused(read) if "rule" in read else Recorded.of(read)

    def get(self, path: str, **parameters: Any) -> Any:
        """A view of the study: GET /v1/studies/{study}/{path}; remembers the cut that it stands for."""
        url = f"/v1/studies/{self.study}/{path}".rstrip("/")
        return self._checked(self._http.get(url, params={k: v for k, v in parameters.items() if v is not None}))

    def look(self) -> Cut:
        """The newest signed state: what a decision signed now is made on."""
        self.get("")
        return self.cut

    def _checked(self, answer: httpx.Response) -> Any:
        size, root = answer.headers.get("Ledger-Index"), answer.headers.get("Ledger-Root")
        if size is not None and root is not None:
            self.cut = Cut(int(size), root)
        if answer.status_code >= 400:
            raise Refused(_problem(answer))
        kind = answer.headers.get("Content-Type", "")
        return answer.json() if "json" in kind and "ndjson" not in kind else answer.text


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.text[:500]}
    return problem if isinstance(problem, dict) else {"detail": str(problem)}


def all_recorded(answers: Iterable[Recorded | Refused]) -> Sequence[Recorded]:
    """The answers when every one was recorded; raises the first refusal."""
    recorded = []
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
        recorded.append(answer)
    return recorded
