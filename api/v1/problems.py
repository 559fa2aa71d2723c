"""Every error of every route has one shape: RFC 9457 with `rule`, `because`, `remedy` and the request's id."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ledger.domain.refusals import Refusal
from ledger.store.errors import DatabaseFull, DatabaseMisconfigured, DatabaseUnavailable, StoreError, StudyUnknown

PROBLEM = "application/problem+json"
RETRY_SECONDS = 2
"""What Retry-After says: a restarted database and a drained queue are back within it."""

log = structlog.get_logger("api")


class BadRequest(Refusal):
    """The request itself is wrong."""

    rule, status = "REQUEST-1", 400
    remedy = "Mend the request as it says and send it again."


class TooLarge(Refusal):
    """The request is larger than this ledger accepts."""

    rule, status = "REQUEST-2", 413
    remedy = "Send one statement of at most 256 KiB, or many as NDJSON."


class WrongMediaType(Refusal):
    """The media type of the request is not one that this route takes."""

    rule, status = "REQUEST-3", 415
    remedy = "Send one statement as application/sd-jwt, or many as application/x-ndjson."


class WrongId(Refusal):
    """An id in the address does not have the form that it must have."""

    rule, status = "REQUEST-4", 404
    remedy = "A study's id is 3 to 32 of A-Z, 0-9 and -; an index is a whole number."


class TreeIncomplete(Refusal):
    """The database lacks hashes or entries that the signed log has."""

    rule, status = "TREE-1", 503
    remedy = "Tell the administrator: somebody took them out of the database. Restore it; the signer's alarm says how."


class ServerEnding(Refusal):
    """The server ends and did not wait for this request any longer."""

    rule, status = "REQUEST-5", 503
    remedy = "Send it again when the server is back; repeating an append is harmless."


def problem_of(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """The RFC 9457 object of a refusal."""
    facts = refusal.as_dict()
    return {
        "type": f"urn:trial-ledger:rule:{refusal.rule}",
        "status": refusal.status,
        "detail": facts["because"],
        **facts,
        "request_id": request_id,
    }


def of_store(error: StoreError) -> dict[str, Any]:
    """What a store's error means to whoever asked: rule, status, title, remedy."""
    status = 404 if isinstance(error, StudyUnknown) else 507 if isinstance(error, DatabaseFull) else 503
    rule = {
        DatabaseUnavailable: "DATABASE-1",
        DatabaseFull: "DATABASE-2",
        DatabaseMisconfigured: "DATABASE-3",
        StudyUnknown: "STUDY-404",
    }.get(type(error), "DATABASE-1")
    return {
        "type": f"urn:trial-ledger:rule:{rule}",
        "status": status,
        "title": error.advice,
        "rule": rule,
        "because": error.cause or error.advice,
        "detail": error.cause or error.advice,
        "remedy": error.advice,
        "indexes": [],
    }


def response(problem: dict[str, Any]) -> Response:
    """The HTTP answer of a problem object: never to be cached, for what is not there may be a moment later."""
    headers = {"Cache-Control": "no-store"}
    if problem["status"] in (503, 507):
        headers["Retry-After"] = str(RETRY_SECONDS)
    return Response(msgspec.json.encode(problem), problem["status"], headers, PROBLEM)


def request_id(request: Request) -> str:
    """The id that answers, logs and receipts of one request share."""
    return str(request.scope.get("state", {}).get("request_id", ""))


async def on_refusal(request: Request, error: Exception) -> Response:
    """A refusal that a route raised."""
    assert isinstance(error, Refusal)
    return response(problem_of(error, request_id(request)))


async def on_store_error(request: Request, error: Exception) -> Response:
    """The database failed a route."""
    assert isinstance(error, StoreError)
    log.warning("store-error", because=str(error), request_id=request_id(request))
    return response(of_store(error) | {"request_id": request_id(request)})


async def on_missing_tile(request: Request, error: Exception) -> Response:
    """What a proof needs was taken out of the database."""
    log.error("tree-incomplete", because=str(error), request_id=request_id(request))
    return response(problem_of(TreeIncomplete(str(error)), request_id(request)))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown routes and methods."""
    assert isinstance(error, HTTPException)
    problem = {
        "type": f"urn:trial-ledger:http:{error.status_code}",
        "status": error.status_code,
        "title": str(error.detail),
        "rule": f"HTTP-{error.status_code}",
        "because": f"{request.method} {request.url.path}",
        "detail": str(error.detail),
        "remedy": "Look the address and the method up in /openapi.json.",
        "indexes": [],
        "request_id": request_id(request),
    }
    answer = response(problem)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def on_invalid(request: Request, error: Exception) -> Response:
    """A parameter of the wrong form."""
    errors: list[Any] = getattr(error, "errors", list)()
    because = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors[:5]) or str(error)
    return response(problem_of(BadRequest(because), request_id(request)))


async def on_fault(request: Request, error: Exception) -> Response:
    """What nobody foresaw: logged with its trace, answered without it."""
    log.exception("fault", request_id=request_id(request), path=request.url.path, exc_info=error)
    problem = {
        "type": "urn:trial-ledger:fault",
        "status": 500,
        "title": "The ledger itself failed.",
        "rule": "FAULT",
        "because": type(error).__name__,
        "detail": "The ledger itself failed.",
        "remedy": "Report it with the request id; repeating an append is harmless.",
        "indexes": [],
        "request_id": request_id(request),
    }
    return response(problem)
