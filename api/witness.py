"""The HTTP side of a witness (C2SP tlog-witness): one POST, one GET, health. No database, no home, no secrets read.

 POST /add-checkpoint                       a submission; 200, 400, 403, 404, 409, 422 as in `ledger.witness`
 GET  /<hex SHA-256 of origin>/checkpoint   the last checkpoint cosigned, for whoever asks the witness, not the log
 GET  /healthz                              the witness answers; what it caught a log at

Anybody may ask, so nobody is waited for: a request has a number of seconds and of bytes, all connections together
have a number. What cannot be kept is answered 503 and never cosigned.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ledger.witness import SUBMISSION_LIMIT, Answer, StateUnusable, Witness
from ledger.witness_files import FileStore

REQUEST_SECONDS = 5.0
"""How long a request may take to arrive, from its connection or its first byte: a log on a bad line needs one."""
IDLE_SECONDS = 30
"""How long a connection is kept for the next request: longer than a busy log pauses."""
CONNECTIONS_LIMIT = 200
"""At once; beyond it 503. A witness has a handful of logs, and each asks once a second at most."""
REQUEST_BYTES = SUBMISSION_LIMIT + 32 * 1024
"""A submission and its headers: whoever sends more is cut off."""

log = structlog.get_logger("witness")


def create_app(witness: Witness, store: FileStore, clock: Callable[[], float] = time.time) -> Starlette:
    """The application of a witness; `clock` gives POSIX seconds."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            text = f"a submission has at most {SUBMISSION_LIMIT} bytes\n"
            return PlainTextResponse(text, 413, {"Connection": "close"})
        return await answered(lambda: witness.add_checkpoint(body, int(clock())))

    async def checkpoint(request: Request) -> Response:
        name = request.path_params["origin"]
        return await answered(lambda: witness.latest(name))

    async def health(request: Request) -> Response:
        proven, unproven = await run_in_threadpool(store.conflicts)
        state = {
            "status": "alarm" if proven else "good",
            "logs": list(witness.origins),
            "keys": [str(key) for key in store.keys],
            "second_histories_proven": proven,
            "checkpoints_that_did_not_extend": unproven,
            "kept_in": str(store.conflicts_folder) if proven + unproven else None,
        }
        return JSONResponse(state)

    async def answered(decide: Callable[[], Answer]) -> Response:
        try:
            answer = await run_in_threadpool(decide)
        except StateUnusable as error:
            log.error("witness-state", because=str(error))
            return PlainTextResponse(f"{error}\n", 503)
        if answer.contradiction:
            log.error("second-history", because=answer.contradiction, kept_in=str(store.conflicts_folder))
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
        return Response(answer.body, answer.status, headers)

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/{origin}/checkpoint", checkpoint, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """The body of a request; None as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > SUBMISSION_LIMIT:
            return None
    return bytes(body)


def server_config(app: Starlette) -> Config:
    """How the witness is served: impatient, without names of software, without trust in proxies' headers."""
    return Config(
        app,
        http=Impatient,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        limit_concurrency=CONNECTIONS_LIMIT,
        timeout_graceful_shutdown=int(REQUEST_SECONDS),
    )


class Impatient(HttpToolsProtocol):
    """uvicorn's HTTP, which of itself waits for ever for the rest of a request, and takes headers of any length."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > REQUEST_BYTES:
            self.transport.abort()
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received = 0
        self._wait_no_longer()

    def _wait(self) -> None:
        self._wait_no_longer()
        self._deadline = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self._cut)

    def _wait_no_longer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None

    def _cut(self) -> Any:
        self.transport.abort()
