"""How a log asks one witness for its cosignature (C2SP tlog-witness, the client's side).

The witness may be down, slow, broken or hostile: whatever it answers is bounded in time and bytes, and believed only
as far as the policy's key verifies it. Answers, and what they mean here:
 200  lines; the witness's own must be among them, good for this checkpoint, with a time that is now
 409  the size it saw last: asked again with a proof from there. More than this log has: `LargerTree`
 422  it saw another tree at the size that it states: `OtherHistory`
 403, 404, 400 and anything else: `WitnessFailed`, in words, with what to do
Nothing is kept here; what to do about an alarm is for the caller, who knows whether the log has grown meanwhile.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import httpx

from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.cosignature import time_of
from ledger.merkle.note import Signature, Verifier, VerifierKey, parse_note, parse_signature_line
from ledger.merkle.tree import NotProven
from ledger.witness import Submission

ASK_SECONDS = 1.0
"""How long one exchange with a witness may take (evidence.md section 3)."""
ATTEMPTS = 3
"""Exchanges for one cosignature: the size is told, perhaps outdated by another server, told again."""
ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer: a few lines of 3,300 characters at most."""
CLOCK_SECONDS = 300
"""How far a witness's clock may be off ours: more makes its word about time worthless."""

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n")


class WitnessFailed(Exception):
    """The witness gave no cosignature; the message says why, in words for the operator."""


class LargerTree(WitnessFailed):
    """The witness has cosigned a larger tree, of `size` entries, than the one it was asked about."""

    def __init__(self, because: str, size: int) -> None:
        super().__init__(because)
        self.size = size


class OtherHistory(WitnessFailed):
    """The witness has seen a tree that is not the beginning of this one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer as far as it was read: at most ANSWER_LIMIT bytes."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be cosigned: the signed checkpoint, and where its proofs come from (from an older size)."""

    checkpoint: Checkpoint
    note: bytes
    proof: Callable[[int], Sequence[bytes]]

    def submission(self, old: int) -> bytes:
        """The request's body for a witness that has seen `old`."""
        proof = tuple(self.proof(old)) if 0 < old < self.checkpoint.size else ()
        return Submission(old, proof, parse_note(self.note)).to_bytes()


Exchange = Callable[[str, bytes], Reply]
"""POST a body to an address; raises WitnessFailed when nobody answers in time."""


def ask(
    url: str,
    key: VerifierKey,
    known: Sequence[Verifier],
    question: Question,
    seen: int,
    now: Callable[[], float],
    exchange: Exchange,
    forgot: Callable[[int], None] = lambda told: None,
) -> tuple[Signature, ...]:
    """The good signature lines that the witness at `url` gives, its own (of `key`) first.

    `known` are the verifiers of all witnesses of the policy, `seen` the size it is believed to have seen last, `now`
    gives POSIX seconds. `forgot` is told the size of a witness that states a smaller one than it cosigned; it is asked
    all the same. Raises WitnessFailed, LargerTree, OtherHistory.
    """
    cosigned = size = min(seen, question.checkpoint.size)
    for _ in range(ATTEMPTS):
        reply = exchange(f"{url}/add-checkpoint", question.submission(size))
        if reply.status == 200:
            return _lines(reply.body, key, known, question.checkpoint, now())
        if reply.status != 409:
            raise _failure(reply, size)
        told = _told_size(reply)
        if told > question.checkpoint.size:
            because = f"it says that it has cosigned {told} entries, and this log has {question.checkpoint.size}"
            raise LargerTree(because, told)
        if told == size:
            raise WitnessFailed(f"it refuses the size {size} and states the same as its own")
        if told < cosigned:
            forgot(told)
        size = told
    raise WitnessFailed(f"it stated another size {ATTEMPTS} times")


def _lines(
    body: bytes, key: VerifierKey, known: Sequence[Verifier], checkpoint: Checkpoint, now_seconds: float
) -> tuple[Signature, ...]:
    """The good lines of a 200 answer; lines of unknown keys are ignored, a bad one of a known key is not."""
    try:
        text = body.decode("utf-8")
        if not text.endswith("\n"):
            raise ValueError("it does not end with a line feed")
        lines = [parse_signature_line(line) for line in text[:-1].split("\n")]
    except (ValueError, NotProven) as error:
        raise WitnessFailed(f"its answer is not a cosignature: {error}") from None
    verifiers = {(verifier.name, verifier.key_id): verifier for verifier in known}
    good: dict[tuple[str, bytes], Signature] = {}
    for line in lines:
        name = (line.name, line.key_id)
        if name not in verifiers or name in good:
            continue
        if not verifiers[name].verify(checkpoint.body(), line.signature):
            raise WitnessFailed(f"its signature ({line.name}) is not good for this checkpoint")
        good[name] = line
    own = good.pop((key.name, key.key_id), None)
    if own is None:
        raise WitnessFailed(f"its answer has no signature of the key that the policy names, {key.name}")
    off = time_of(own.signature) - now_seconds
    if abs(off) > CLOCK_SECONDS:
        raise WitnessFailed(f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours")
    return (own, *good.values())


def _told_size(reply: Reply) -> int:
    found = _SIZE.fullmatch(reply.body.decode("ascii", "replace"))
    if found is None:
        raise WitnessFailed("it answers 409 without the size that it has seen")
    return int(found[1])


def _failure(reply: Reply, size: int) -> WitnessFailed:
    said = _said(reply.body)
    if reply.status == 422 and size:
        return OtherHistory(f"the tree of {size} entries that it has seen is not this log's: {said}")
    if reply.status == 404:
        return WitnessFailed("it does not know this log: give its operator the log's verifier keys")
    if reply.status == 403:
        return WitnessFailed("it does not accept the log's signature: its operator has other keys of this log")
    return WitnessFailed(f"it answers {reply.status}: {said}")


def _said(body: bytes) -> str:
    """What somebody else wrote, fit for a log line."""
    text = body[:200].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip() or "nothing"


def monitored(url: str, origin: str, keys: Sequence[Verifier], fetch: Callable[[str], Reply]) -> bytes | None:
    """The checkpoint that a witness shows of this log, where the log's own key has signed it; None otherwise."""
    try:
        reply = fetch(f"{url}/{sha256(origin.encode()).hexdigest()}/checkpoint")
        if reply.status == 200:
            open_checkpoint(reply.body, keys, origin)
            return reply.body
    except (WitnessFailed, NotProven):
        pass
    return None


class HttpExchange:
    """HTTP to one server, within so many seconds and ANSWER_LIMIT whatever it does; no redirects, no proxies."""

    def __init__(self, content_type: str = "text/plain; charset=utf-8", seconds: float = ASK_SECONDS) -> None:
        self._seconds = seconds
        self._client = httpx.Client(
            timeout=seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "trial-ledger", "Accept-Encoding": "identity", "Content-Type": content_type},
        )

    def post(self, url: str, body: bytes) -> Reply:
        """POST; raises WitnessFailed."""
        return self._bounded("POST", url, body)

    def get(self, url: str) -> Reply:
        """GET; raises WitnessFailed."""
        return self._bounded("GET", url, None)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _bounded(self, method: str, url: str, body: bytes | None) -> Reply:
        deadline = time.monotonic() + self._seconds
        try:
            with self._client.stream(method, url, content=body) as answer:
                read = bytearray()
                for chunk in answer.iter_raw():
                    read += chunk
                    if len(read) > ANSWER_LIMIT:
                        raise WitnessFailed(f"its answer has more than {ANSWER_LIMIT} bytes")
                    if time.monotonic() > deadline:
                        raise WitnessFailed(f"it did not finish its answer in {self._seconds:g} s")
                return Reply(answer.status_code, answer.headers.get("content-type", ""), bytes(read))
        except httpx.TimeoutException:
            raise WitnessFailed(f"it did not answer in {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise WitnessFailed(
                f"it cannot be reached ({_said(str(error).encode()) or type(error).__name__})"
            ) from None
