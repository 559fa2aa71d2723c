"""POST of statements: one as application/sd-jwt, many as NDJSON, an answer each.

The way in is short because it is walked a thousand times a second: body, `prepare`, the study's writer, the
answer that its signer's thread hands back to the loop. An answer means durable and under a signed checkpoint;
202 says that it is durable and the signer is down.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
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

IN_FLIGHT, IN_FLIGHT_BYTES = 1_000, 16_000_000
"""Lines of one NDJSON request that are on their way at once, and their bytes."""
MAX_HELD_BYTES = 16_000_000
"""Answers kept while the sender is still sending, some 40,000: many clients read only when they have sent all."""
MAX_LINE = STATEMENT_LIMIT + 1_024
"""Bytes of one NDJSON line: a statement as a JSON string."""
CHUNK = 64
"""Lines that one worker prepares in a row."""
PATIENCE_SECONDS, PAUSE_SECONDS = 30.0, 0.02
"""How long the lines of a bulk request wait for room in the writer's queue, and how often they look."""
AT_ONCE_BYTES = 8_192
"""A statement up to this size is prepared where it arrives: some 0.2 ms, while handing it to a worker and back costs
as much again."""
WORKERS = 2
"""Threads that parse what is large or comes in bulk."""


class Appending:
    """The POST routes; one per application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._mailbox = ledger, Mailbox()
        self._ready: dict[StudyWriter, list[Submission]] = {}
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="prepare")
        self._keepers = ThreadPoolExecutor(1, thread_name_prefix="refusals")

    def close(self) -> None:
        """End the worker threads."""
        self._workers.shutdown()
        self._keepers.shutdown()

    async def open_study(self, request: Request) -> Response:
        """POST /v1/studies: genesis."""
        text, dry = await self._body(request), _dry(request)
        opening = partial(self._ledger.open_study, text, validate_only=dry)
        return answer_of(await asyncio.get_running_loop().run_in_executor(None, opening), dry)

    async def events(self, request: Request) -> Response:
        """POST /v1/studies/{study}/events."""
        study = request.path_params["study"]
        kind = _header(request, b"content-type").partition(";")[0].strip().lower()
        dry = _dry(request)
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
                await self._keep(study, text, outcome)
            raise outcome
        return answer_of(outcome, dry)

    async def _one(self, study: str, text: bytes, dry: bool) -> Outcome:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Outcome] = loop.create_future()
        chunk = [(text, answered)]
        if len(text) <= AT_ONCE_BYTES and self._ledger.is_writing(study):
            writer, ready = self._prepare(study, chunk, dry, True)
        else:
            writer, ready = await loop.run_in_executor(self._workers, self._prepare, study, chunk, dry, True)
        if writer is not None:
            if not self._ready:
                loop.call_soon(self._submit_ready)
            self._ready.setdefault(writer, []).extend(ready)
        return await answered

    def _submit_ready(self) -> None:
        """Queue what the requests that came in together have prepared: one batch for the writer, not its first
        statement alone. Those that find the queue full come back later."""
        ready, self._ready = self._ready, {}
        for writer, submissions in ready.items():
            try:
                writer.submit(submissions)
            except Refusal as busy:
                for submission in submissions:
                    submission.done(busy)

    def _prepare(
        self, study: str, chunk: Sequence[tuple[bytes | str, asyncio.Future[Outcome]]], dry: bool, receipt: bool
    ) -> tuple[StudyWriter | None, list[Submission]]:
        """What of these statements can be queued, in order; the others' futures get their outcome. In a worker."""
        ready: list[Submission] = []
        writer: StudyWriter | None = None
        for text, future in chunk:
            deliver = partial(self._mailbox.deliver, future)
            try:
                writer, statement = self._ledger.prepare(study, text)
                ready.append(Submission(statement, deliver, dry, receipt))
            except Refusal as refusal:
                deliver(refusal)
            except StoreError as error:
                deliver(_unavailable(error))
            except Exception as error:
                log.exception("prepare-fault", study=study)
                deliver(_fault(error))
        return (writer if ready else None), ready

    @staticmethod
    async def _submit(writer: StudyWriter, ready: list[Submission]) -> None:
        """Queue the lines of a bulk request; they wait for room in the queue, and no worker waits with them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return writer.submit(ready)
            except Refusal as busy:
                if time.monotonic() >= deadline:
                    for submission in ready:
                        submission.done(busy)
                    return None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _keep(self, study: str, text: bytes | str, refusal: Refusal) -> None:
        """Put it on the refusal list before it is answered: nothing is lost, and nothing piles up here."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._keepers, self._ledger.keep_refusal, study, text, refusal)

    async def _lines(self, request: Request, study: str, dry: bool) -> AsyncIterator[bytes]:
        """Answers in the order of the lines; held back while the sender still sends, up to a limit."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[bytes | str, asyncio.Future[Outcome], int]] = deque()
        in_flight = held_bytes = 0
        held: list[bytes] = []
        async for lines in _split(request):
            chunk = []
            for line in lines:
                future: asyncio.Future[Outcome] = loop.create_future()
                in_flight += len(line)
                try:
                    chunk.append((_statement_of(line), future))
                    waiting.append((*chunk[-1], len(line)))
                except Refusal as refusal:
                    waiting.append((line, future, len(line)))
                    future.set_result(refusal)
            # One worker at a time prepares this request's lines, so that they are queued in their order.
            writer, ready = await loop.run_in_executor(self._workers, self._prepare, study, chunk, dry, False)
            if writer is not None:
                await self._submit(writer, ready)
            crowded = len(waiting) >= IN_FLIGHT or in_flight >= IN_FLIGHT_BYTES
            while waiting and (waiting[0][1].done() or crowded):
                text, future, weight = waiting.popleft()
                in_flight -= weight
                held.append(await self._line(request, study, text, await future, dry))
                held_bytes += len(held[-1])
                crowded = len(waiting) >= IN_FLIGHT or in_flight >= IN_FLIGHT_BYTES
            if held_bytes >= MAX_HELD_BYTES:
                yield b"".join(held)
                held.clear()
                held_bytes = 0
        while waiting:
            text, future, _ = waiting.popleft()
            held.append(await self._line(request, study, text, await future, dry))
        yield b"".join(held)

    async def _line(self, request: Request, study: str, text: bytes | str, outcome: Outcome, dry: bool) -> bytes:
        """The answer to one line; a refused one is on the refusal list by then."""
        if not isinstance(outcome, Refusal):
            return msgspec.json.encode(_facts(outcome, dry)) + b"\n"
        if not dry:
            await self._keep(study, text, outcome)
        return msgspec.json.encode(problem_of(outcome, request_id(request))) + b"\n"

    @staticmethod
    async def _body(request: Request) -> bytes:
        declared = _header(request, b"content-length")
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
            if len(rest) > MAX_LINE:
                lines.append(rest)
            lines = [line for line in lines if line.strip()]
            last = next((n for n, line in enumerate(lines) if len(line) > MAX_LINE), None)
            if last is not None:
                lines[last:] = [lines[last][: MAX_LINE + 1]]
            for start in range(0, len(lines), CHUNK):
                yield lines[start : start + CHUNK]
            if last is not None:
                return
    except ClientDisconnect:
        return
    if rest.strip():
        yield [rest]


def _dry(request: Request) -> bool:
    """Whether the statement is only to be tried (`Prefer: validate-only`)."""
    return "validate-only" in _header(request, b"prefer").lower()


def _header(request: Request, name: bytes) -> str:
    """A header's value; empty when there is none."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), "")


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


def answer_of(answer: Answer, dry: bool | None = None) -> Response:
    """The answer to an append: 201, 200 where it was recorded before, 202 while the signer is down."""
    status = 200 if dry else 202 if answer.receipt is None else 200 if answer.repeat else 201
    headers = {} if answer.size == 0 else {"Ledger-Index": str(answer.size), "Ledger-Root": answer.root}
    return Response(msgspec.json.encode(_facts(answer, dry)), status, headers, "application/json")
