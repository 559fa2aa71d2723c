"""POST of statements: one as application/sd-jwt, many as NDJSON, an answer each.

The way in is short because it is walked a thousand times a second: body, `prepare` in a worker thread, the
study's writer, the answer that its signer's thread hands back to the loop. An answer means durable and under
a signed checkpoint; 202 says that it is durable and the signer is down.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.v1.problems import BadRequest, TooLarge, WrongMediaType, of_store, problem_of, request_id
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.signing.wire import STATEMENT_LIMIT
from ledger.store.errors import StoreError
from ledger.writer import Answer, NotRecorded, Outcome, StudyWriter, Submission

log = structlog.get_logger("api.appending")

IN_FLIGHT = 1_000
"""Lines of one NDJSON request that are on their way at once."""
MAX_ANSWERS_HELD = 20_000
"""Answers kept while the sender is still sending: many clients read only when they have sent all."""
MAX_LINE = STATEMENT_LIMIT + 1_024
"""Bytes of one NDJSON line: a statement as a JSON string."""
CHUNK = 64
"""Lines that one worker prepares in a row."""
PATIENCE_SECONDS, PAUSE_SECONDS = 30.0, 0.02
"""How long the lines of a bulk request wait for room in the writer's queue, and how often they look."""
WORKERS = 2
"""Threads that parse and verify: verification releases the interpreter's lock, parsing does not."""


class Appending:
    """The POST routes; one per application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._mailbox = ledger, Mailbox()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="prepare")
        self._keepers = ThreadPoolExecutor(1, thread_name_prefix="refusals")

    def close(self) -> None:
        """End the worker threads."""
        self._workers.shutdown()
        self._keepers.shutdown()

    async def open_study(self, request: Request) -> Response:
        """POST /v1/studies: genesis."""
        text = await self._body(request)
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(None, self._ledger.open_study, text)
        except Refusal as refusal:
            await loop.run_in_executor(self._keepers, self._ledger.keep_refusal, None, text, refusal)
            raise
        return _answered(answer, None)

    async def events(self, request: Request) -> Response:
        """POST /v1/studies/{study}/events."""
        study = request.path_params["study"]
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        dry = "validate-only" in request.headers.get("prefer", "").lower()
        if kind == "application/x-ndjson":
            await asyncio.get_running_loop().run_in_executor(None, self._ledger.writer, study)
            lines = self._lines(request, study, dry)
            return _LineByLine(lines, media_type="application/x-ndjson")
        if kind not in ("application/sd-jwt", ""):
            raise WrongMediaType(f"{kind!r}")
        text = await self._body(request)
        outcome = await self._one(study, text, dry)
        if isinstance(outcome, Refusal):
            if not dry:
                self._keep(study, text, outcome)
            raise outcome
        return _answered(outcome, dry)

    async def _one(self, study: str, text: bytes, dry: bool) -> Outcome:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Outcome] = loop.create_future()
        self._workers.submit(self._queue, study, [(text, answered)], dry, True)
        return await asyncio.shield(answered)

    def _queue(
        self, study: str, chunk: Sequence[tuple[bytes | str, asyncio.Future[Outcome]]], dry: bool, receipt: bool
    ) -> None:
        """Prepare statements and queue them in order; runs in a worker. Each future gets its outcome."""
        ready: list[Submission] = []
        writer: StudyWriter | None = None
        for text, future in chunk:
            deliver = partial(self._mailbox.deliver, future)
            try:
                writer, statement, verified = self._ledger.prepare(study, text)
                ready.append(Submission(statement, deliver, verified, dry, receipt))
            except Refusal as refusal:
                deliver(refusal)
            except StoreError as error:
                deliver(_unavailable(error))
            except Exception as error:
                log.exception("prepare-fault", study=study)
                deliver(_fault(error))
        if writer is not None:
            self._submit(writer, ready, patient=not receipt)

    @staticmethod
    def _submit(writer: StudyWriter, ready: list[Submission], patient: bool) -> None:
        """Queue them; lines of a bulk request wait for room in the queue, a single statement is told to come back."""
        deadline = time.monotonic() + (PATIENCE_SECONDS if patient else 0.0)
        while True:
            try:
                return writer.submit(ready)
            except Refusal as busy:
                if time.monotonic() >= deadline:
                    for submission in ready:
                        submission.done(busy)
                    return None
                time.sleep(PAUSE_SECONDS)

    def _keep(self, study: str, text: bytes | str, refusal: Refusal) -> None:
        self._keepers.submit(self._ledger.keep_refusal, study, text, refusal)

    async def _lines(self, request: Request, study: str, dry: bool) -> AsyncIterator[bytes]:
        """Answers in the order of the lines; held back while the sender still sends, up to a limit."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[bytes | str, asyncio.Future[Outcome]]] = deque()
        held: list[bytes] = []
        answer = self._answer_line(request, study, dry)
        async for lines in _split(request):
            chunk = []
            for line in lines:
                future: asyncio.Future[Outcome] = loop.create_future()
                try:
                    chunk.append((_statement_of(line), future))
                    waiting.append(chunk[-1])
                except Refusal as refusal:
                    waiting.append((line, future))
                    future.set_result(refusal)
            # One worker at a time prepares this request's lines, so that they are queued in their order.
            await loop.run_in_executor(self._workers, self._queue, study, chunk, dry, False)
            while waiting and (waiting[0][1].done() or len(waiting) >= IN_FLIGHT):
                text, future = waiting.popleft()
                held.append(answer(await future, text))
            if len(held) >= MAX_ANSWERS_HELD:
                yield b"".join(held)
                held.clear()
        while waiting:
            text, future = waiting.popleft()
            held.append(answer(await future, text))
        yield b"".join(held)

    def _answer_line(self, request: Request, study: str, dry: bool) -> Callable[[Outcome, bytes | str], bytes]:
        identity = request_id(request)

        def line(outcome: Outcome, text: bytes | str) -> bytes:
            if isinstance(outcome, Refusal):
                if not dry:
                    self._keep(study, text, outcome)
                return msgspec.json.encode(problem_of(outcome, identity)) + b"\n"
            return msgspec.json.encode(_facts(outcome, dry)) + b"\n"

        return line

    @staticmethod
    async def _body(request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > STATEMENT_LIMIT:
            raise TooLarge(f"{declared} bytes; one statement has at most {STATEMENT_LIMIT}")
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > STATEMENT_LIMIT:
                raise TooLarge(f"more than {STATEMENT_LIMIT} bytes")
            parts.append(part)
        return b"".join(parts)


async def _split(request: Request) -> AsyncIterator[list[bytes]]:
    """The lines of the body in chunks, blank ones left out; a line beyond the limit ends the request's reading."""
    rest = b""
    try:
        async for part in request.stream():
            *lines, rest = (rest + part).split(b"\n")
            lines = [line for line in lines if line.strip()]
            for start in range(0, len(lines), CHUNK):
                yield lines[start : start + CHUNK]
            if len(rest) > MAX_LINE:
                yield [rest[: MAX_LINE + 1]]
                return
    except ClientDisconnect:
        return
    if rest.strip():
        yield [rest]


def _statement_of(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise TooLarge(f"a line of more than {MAX_LINE} bytes; nothing after it was read")
    try:
        text = msgspec.json.decode(line, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("the line is not a JSON string with a statement in it") from None
    return text


class _LineByLine(StreamingResponse):
    """Streams answers while the request is still being read.

    Starlette's own looks for a disconnect by receiving, and so takes parts of the body away from who reads it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(OSError):  # the sender is gone; what was recorded stands
            await self.stream_response(send)


class Mailbox:
    """Hands outcomes from the writer's threads to the loop: one wake-up for as many as came meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: list[tuple[asyncio.Future[Outcome], Outcome]] = []

    def deliver(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        """Settle a future of some loop; from any thread."""
        with self._lock:
            self._letters.append((future, outcome))
            first = len(self._letters) == 1
        if first:
            future.get_loop().call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        with self._lock:
            letters, self._letters = self._letters, []
        for future, outcome in letters:
            if not future.done():
                future.set_result(outcome)


def _unavailable(error: StoreError) -> Refusal:
    facts = of_store(error)
    refusal = NotRecorded(facts["because"])
    refusal.rule, refusal.status, refusal.remedy = facts["rule"], facts["status"], facts["remedy"]  # type: ignore[misc]
    return refusal


def _fault(error: Exception) -> Refusal:
    refusal = NotRecorded(f"an unexpected fault: {type(error).__name__}")
    refusal.status = 500  # type: ignore[misc]
    return refusal


def _facts(answer: Answer, dry: bool | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "jti": answer.jti,
        "index": answer.index,
        "leaf_hash": answer.leaf_hash.hex(),
        "recorded_at": answer.recorded_at,
        "repeat": answer.repeat,
        "receipt": answer.receipt,
        "size": answer.size,
        "root": answer.root,
    }
    return {**facts, "validated_only": True} if dry else facts


def _answered(answer: Answer, dry: bool | None) -> Response:
    status = 200 if dry else 202 if answer.receipt is None else 200 if answer.repeat else 201
    headers = {} if answer.size == 0 else {"Ledger-Index": str(answer.size), "Ledger-Root": answer.root}
    return Response(msgspec.json.encode(_facts(answer, dry)), status, headers, "application/json")
