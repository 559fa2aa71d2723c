"""Accounts over HTTP: a key for a one-time code, a session, a ceremony, its signature.

Passphrases come in JSON bodies alone, never in addresses; nothing of them is logged, and a refusal repeats none.
What takes a passphrase runs on threads of its own, so that a flood of sign-ins stops neither appends nor reads.
A session's token is a bearer token (RFC 6750): it signs nothing by itself (21 CFR 11.200(a)(1)).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.v1.appending import answer_of
from api.v1.problems import BadRequest, TooLarge
from api.v1.reading import answered, known_parameters, study_id
from ledger.accounts.drafts import ACTS, Asked
from ledger.accounts.refusals import TooManyAtOnce
from ledger.accounts.service import Accounts
from ledger.signing.encoding import read_json
from ledger.signing.errors import Malformed
from ledger.signing.wire import STATEMENT_LIMIT

BODY_LIMIT = 2 * STATEMENT_LIMIT
"""Bytes of a request: a draft of the largest statement, written as JSON."""
WORKERS, MAX_PENDING = 4, 64
"""Threads for requests that try passphrases, and requests that may wait for them."""

Short = Annotated[str, Field(max_length=200)]
Secret = Annotated[str, Field(max_length=4_096)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Asking = TypeVar("Asking", bound=_Body)


class Redemption(_Body):
    """A person's choice of a passphrase, with the code that a registrar gave."""

    user_id: Short
    code: Short
    passphrase: Secret


class SignIn(_Body):
    """Both components."""

    user_id: Short
    passphrase: Secret


class Draft(_Body):
    """What a person asks to sign; who signs is whose session it is, and nobody else."""

    event: Short
    sub: Short
    role: Short
    fields: dict[str, Any] = {}
    site: Short | None = None
    meaning: Short | None = None
    cut: dict[str, Any] | None = None
    corrects: dict[str, Any] | None = None
    voids: dict[str, Any] | None = None
    answers: dict[str, Any] | None = None
    reverses: dict[str, Any] | None = None
    countersigns: dict[str, Any] | None = None
    expected_version: int | None = None
    jti: Short | None = None
    time_zone: Short = "UTC"


class Signature(_Body):
    """The draft as it was shown, and the components that the ceremony names."""

    draft: dict[str, Any]
    passphrase: Secret
    user_id: Short | None = None


class SigningWorkers:
    """Threads of their own for what tries passphrases, and a bound on what waits for them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="accounts")
        self._pending = 0

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run it there; raises TooManyAtOnce."""
        if self._pending >= MAX_PENDING:
            raise TooManyAtOnce(f"{self._pending} requests wait already")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._pending -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def signing_router(accounts: Accounts, workers: SigningWorkers) -> APIRouter:
    """The routes below /v1/studies/{study} by which people sign."""
    router = APIRouter(prefix="/v1/studies/{study}", tags=["signing"], dependencies=[Depends(known_parameters)])

    @router.get("/credentials")
    def credentials(study: str) -> Response:
        """Custodial keys: whose, since when, in force or not, by when to renew; for one that waits, what a registrar
        has to sign (KeyEnrolled)."""
        return _private({"credentials": accounts.credentials(study_id(study))})

    @router.post("/credentials", openapi_extra=_takes(Redemption))
    async def redeem(study: str, request: Request) -> Response:
        """Make a person's key for a one-time code (CredentialOffered) and seal it under the passphrase chosen."""
        asked = await _read(request, Redemption)
        redeeming = partial(accounts.redeem, study_id(study), asked.user_id, asked.code, asked.passphrase)
        return _private(await workers.run(redeeming), 201)

    @router.post("/sessions", openapi_extra=_takes(SignIn))
    async def sign_in(study: str, request: Request) -> Response:
        """Begin a session with user id and passphrase."""
        asked = await _read(request, SignIn)
        signing_in = partial(accounts.sign_in, study_id(study), asked.user_id, asked.passphrase)
        return _private(await workers.run(signing_in), 201)

    @router.get("/sessions")
    def session(study: str, request: Request) -> Response:
        """Whose session this is, and what the next signing takes."""
        found = accounts.session(study_id(study), _token(request))
        return _private({"user_id": found.actor, "components": list(found.components)})

    @router.delete("/sessions")
    def sign_out(study: str, request: Request) -> Response:
        """End the session."""
        accounts.sign_out(study_id(study), _token(request))
        return Response(status_code=204)

    @router.post("/ceremonies", openapi_extra=_takes(Draft))
    async def begin(study: str, request: Request) -> Response:
        """Begin a ceremony: exactly what will be signed, in words and as a draft. What the ledger would refuse is
        refused here."""
        asked, token = await _read(request, Draft), _token(request)
        acts = {act: getattr(asked, act) for act in ACTS if getattr(asked, act) is not None}
        given = asked.model_dump(exclude=set(ACTS))
        return _private(
            await workers.run(partial(accounts.begin, study_id(study), token, Asked(acts=acts, **given))), 201
        )

    @router.post("/ceremonies/{ceremony}/signature", openapi_extra=_takes(Signature))
    async def sign(study: str, ceremony: str, request: Request) -> Response:
        """Sign what the ceremony showed, and record it. The same request again returns what was recorded."""
        asked, token = await _read(request, Signature), _token(request)
        signing = partial(accounts.sign, study_id(study), token, ceremony, asked.draft, asked.passphrase, asked.user_id)
        return answer_of(await workers.run(signing))

    return router


async def _read(request: Request, model: type[Asking]) -> Asking:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_LIMIT:
            raise TooLarge(f"more than {BODY_LIMIT} bytes")
        parts.append(part)
    try:
        value = read_json(b"".join(parts), "the request")
        return model.model_validate(value)
    except Malformed as wrong:
        raise BadRequest(f"{wrong.rule}: {wrong.because}") from None
    except ValidationError as wrong:
        told = wrong.errors(include_url=False, include_input=False, include_context=False)[:5]
        because = "; ".join(f"{'.'.join(map(str, one['loc']))[:60]}: {one['msg']}" for one in told)
        raise BadRequest(because) from None


def _token(request: Request) -> str:
    """The session's token; empty, which no session has, where the request names none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _private(value: Any, status: int = 200) -> Response:
    """An answer that no cache keeps."""
    response = answered(value, None, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
