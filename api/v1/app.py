"""The HTTP application over one Ledger: routes, one error shape, request ids, health, metrics.

Until reads are authenticated it is served on loopback only (`api/cli/serve.py` refuses anything else).
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.v1 import problems
from api.v1.appending import Appending
from api.v1.described import describe
from api.v1.exports import export_router
from api.v1.following import FollowingGauges, standing_still
from api.v1.home import home_page
from api.v1.reading import answered, first_alarm, log_router
from api.v1.redaction import redaction_router
from api.v1.signing import SigningWorkers, signing_router
from api.v1.tiles import tile_router
from api.v1.views import view_router
from api.v1.witnesses import WitnessGauges, witness_router, witness_state
from ledger.accounts.service import Accounts
from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.merkle.tiles import MissingTile
from ledger.store import evidence, statements
from ledger.store.errors import StoreError
from projections.engine import operations
from projections.engine.answering import not_of_this_release

VERSION = "0.1.0"

_EVENTS = re.compile(r"/v1/studies/([^/]+)/events")


class RequestIds:
    """Gives every request an id, or takes the caller's, and sends it back as X-Request-Id.

    A request that the ending server no longer waits for is told so: cancelled here, it would be logged as a fault.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        name = given if 0 < len(given) <= 100 and given.isalnum() else uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = name.decode()

        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", name)]
            await send(message)

        if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # no text of ours, or PostgreSQL's, holds it
            problem = problems.problem_of(problems.BadRequest("the address contains NUL"), name.decode())
            return await problems.response(problem)(scope, receive, stamped)
        try:
            return await self.app(scope, receive, stamped)
        except asyncio.CancelledError:
            if not started:
                problem = problems.problem_of(problems.ServerEnding("the request was not complete"), name.decode())
                await problems.response(problem)(scope, receive, stamped)


class AppendsFirst:
    """Takes appends before the framework does, whose layers cost more than the decision; all else goes on."""

    def __init__(self, app: ASGIApp, appending: Appending) -> None:
        self.app, self.appending = app, appending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        study = _EVENTS.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if study is None:
            return await self.app(scope, receive, send)
        scope["path_params"] = {"study": study[1]}
        request = Request(scope, receive)
        try:
            response = await self.appending.events(request)
        except ClientDisconnect:  # nobody is left to be answered
            return None
        except Refusal as refusal:
            response = await problems.on_refusal(request, refusal)
        except StoreError as error:
            response = await problems.on_store_error(request, error)
        except Exception as error:
            response = await problems.on_fault(request, error)
        return await response(scope, receive, send)


def create_app(ledger: Ledger) -> ASGIApp:
    """The application; `ledger` is open and stays the caller's to close."""
    appending, signing = Appending(ledger), SigningWorkers()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        appending.close()
        signing.close()

    app = FastAPI(title="Trial ledger", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refusal, problems.on_refusal)
    app.add_exception_handler(StoreError, problems.on_store_error)
    app.add_exception_handler(MissingTile, problems.on_missing_tile)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(Exception, problems.on_fault)
    # Plain routes: the way in does without FastAPI's parameters, which cost more than the decision.
    app.router.routes.append(Route("/v1/studies", appending.open_study, methods=["POST"]))
    app.router.routes.append(Route("/v1/studies/{study}/events", appending.events, methods=["POST"]))
    app.include_router(log_router(ledger))
    app.include_router(witness_router(ledger))
    app.include_router(view_router(ledger))
    app.include_router(signing_router(Accounts(ledger, idle=ledger.settings.session_idle), signing))
    app.include_router(redaction_router(ledger))
    app.include_router(export_router(ledger))
    app.include_router(tile_router(ledger))
    _operations(app, ledger)
    describe(app)
    return RequestIds(AppendsFirst(app, appending))


def _operations(app: FastAPI, ledger: Ledger) -> None:
    registry = CollectorRegistry()
    size = Gauge("ledger_size", "Entries committed", ["study"], registry=registry)
    signed = Gauge("ledger_signed_size", "Entries under a checkpoint", ["study"], registry=registry)
    queued = Gauge("ledger_pooled", "Statements pooled in this process", ["study"], registry=registry)
    alarmed = Gauge("ledger_signer_alarm", "1 while an alarm about the log stands", ["study"], registry=registry)
    witnesses, following = WitnessGauges(registry), FollowingGauges(registry)

    @app.get("/", include_in_schema=False)
    def home() -> HTMLResponse:
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'self'"}
        return HTMLResponse(home_page(ledger), headers=policy)

    @app.get("/health/live", tags=["operation"])
    def live() -> Response:
        """The process answers."""
        return answered({"status": "live"}, None)

    @app.get("/health/ready", tags=["operation"])
    def ready() -> Response:
        """The database answers, so appends are possible; and this release has every version of a projection that
        answers, so that whoever balances the load lets the hosts of the other release answer (503 where it has not)."""
        with ledger.database.connection() as connection:
            missing = not_of_this_release(connection)
        if missing:
            return answered({"status": "another release answers", "needed": missing}, None, 503)
        still = standing_still(operations.standing(ledger.database))
        return answered({"status": "ready", "studies": len(ledger.studies()), "standing_still": still}, None)

    @app.get("/health/ledger", tags=["operation"])
    def state() -> Response:
        """Per study: committed and signed size, what waits, whether an alarm stands; and what of its projections stands
        still, which is an alarm too."""
        found = {study: _state(ledger, study) for study in ledger.studies()}
        still = standing_still(operations.standing(ledger.database))
        healthy = not still and not any(one["alarm"] for one in found.values())
        told = {"status": "good" if healthy else "alarm", "studies": found, "standing_still": still}
        return answered(told, None, 200 if healthy else 503)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        for study in ledger.studies():
            now = _state(ledger, study)
            size.labels(study).set(now["committed"])
            signed.labels(study).set(now["checkpointed"])
            queued.labels(study).set(now["pooled"])
            alarmed.labels(study).set(1 if now["alarm"] else 0)
            if now["checkpointed"]:
                witnesses.set(study, witness_state(ledger, study))
        following.set(operations.standing(ledger.database))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _state(ledger: Ledger, study: str) -> dict[str, Any]:
    writer = ledger.writer(study)
    with ledger.database.connection() as connection:
        committed = statements.read_head(connection, study).size
        newest = evidence.latest_checkpoint(connection, study)
    state: dict[str, Any] = {
        "pooled": writer.queued,
        "committed": committed,
        "checkpointed": newest.size if newest else 0,
        "witnessed": None,
        "alarm": first_alarm(writer),
    }
    if newest is not None:
        seen = witness_state(ledger, study)
        state["witnessed"] = seen["quorum"] and {"by": seen["quorum"]["name"], **_lag(seen["quorum"])}
        state["witnesses"] = {one["name"]: {**_lag(one), "error": one["error"]} for one in seen["witnesses"]}
        state["alarm"] = state["alarm"] or next(iter(seen["alarms"]), None)
    return state


def _lag(standing: dict[str, Any]) -> dict[str, Any]:
    return {name: standing[name] for name in ("size", "lag_entries", "lag_seconds")}
