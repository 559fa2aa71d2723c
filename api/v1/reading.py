"""GET of the log: entries, receipts, proofs; catalogue, study summaries. Checkpoint and tiles: `tiles.py`.

Nothing beyond the newest signed size is shown. `as_of` (a size or a time) chooses an earlier state, `wait_for` (a
size) waits for one; every answer says in `Ledger-Index` and `Ledger-Root` which state it stands for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NoReturn
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from api.v1.problems import BadRequest, WrongId
from ledger.application import MAX_PAGE, Entry, EntryNotFound, Ledger
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.refusals import Refusal
from ledger.domain.versions import came_from
from ledger.receipts import base64url
from ledger.seals import NoSeal
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.rows import CheckpointRow
from ledger.witness_standing import newest_witnessed
from ledger.writer import StudyWriter
from projections.engine.reading import cut_size, moment_of

STUDY_ID = re.compile(r"[A-Z0-9-]{3,32}")
TIMES = frozenset({"as_of", "occurred_by", "from", "to"})
"""Parameters that may be a time, in the addresses that have them."""
_UNESCAPED_PLUS = re.compile(r"\d:\d\d(\.\d+)? \d\d(:?\d\d)?$")
WAIT_LIMIT_SECONDS = 10.0
"""How long a read waits for the size it asks for (DESIGN section 7)."""
POLL_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Between two looks while waiting: soon at first, for most waits are short."""


class NotSignedYet(Refusal):
    """The size that was asked for is not under a checkpoint yet."""

    rule, status = "READ-9", 503
    remedy = "Ask again in a moment, or without `wait_for`."


class NotSignedAt(Refusal):
    """There is no checkpoint of exactly this size."""

    rule, status = "READ-10", 404
    remedy = "Leave `as_of` out for a receipt under the newest checkpoint, or name the size of one that was signed."


class NotWitnessedYet(Refusal):
    """No checkpoint that covers the entry has the quorum of witnesses."""

    rule, status = "WITNESS-1", 404
    remedy = (
        "GET /v1/studies/{study}/witnesses says what is missing; ask again when the quorum has caught up, or leave "
        "`witnessed` out for a receipt with the signatures that there are."
    )


class NoPolicy(Refusal):
    """The study has no trust policy, so no witness is asked."""

    rule, status = "WITNESS-2", 404
    remedy = "Put a policy file `<STUDY>.policy` into the folder TRIAL_LEDGER_POLICY, or leave `witnessed` out."


@dataclass(frozen=True, slots=True)
class Cut:
    """The state that an answer stands for: size and root (base64url), and the newest size signed."""

    size: int
    root: str
    signed: int

    @property
    def headers(self) -> dict[str, str]:
        """Ledger-Index and Ledger-Root."""
        return {"Ledger-Index": str(self.size), "Ledger-Root": self.root}


@dataclass(frozen=True)
class StateAsked:
    """Which state is asked for, in both senses of time."""

    as_of: Annotated[
        str | None,
        Query(
            description="As it was known then: a size (the indexes below it), a time with its offset (what was "
            "recorded up to it; where that has not come yet, up to now), or a date, which means its end in UTC. Left "
            "out: as it is known now."
        ),
    ] = None
    occurred_by: Annotated[
        str | None,
        Query(
            description="As it happened: only what had occurred by this time, or by the end of this date where it "
            "happened, according to what is known at `as_of`, corrections applied. What may have occurred by then is "
            "left out and counted in the cut (`uncertain`)."
        ),
    ] = None


State = Annotated[StateAsked, Depends()]


def known_parameters(request: Request) -> None:
    """A parameter that a route does not have is refused: ignored, it would seem to have been heeded. So is
    a time whose `+` was not escaped."""
    route = request.scope["route"]
    known = {field.alias for field in _fields(route.dependant)}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise BadRequest(f"{unknown[0][:40]!r} is not a parameter of this address; {takes}")
    for name in TIMES:
        given = request.query_params.get(name, "")
        if _UNESCAPED_PLUS.search(given):
            because = f"{name}={given[:60]!r} has a space before its offset: in an address `+` is written %2B"
            raise BadRequest(because)


def stated_times(**given: str | None) -> None:
    """Refuse times that cannot be read, by the names that they have in the address; digits are indexes."""
    for name, value in given.items():
        if value and not value.isdecimal():
            moment_of(value, name)


def _fields(dependant: Any) -> Iterator[Any]:
    """The query parameters of a route and of what it depends on."""
    yield from dependant.query_params
    for one in dependant.dependencies:
        yield from _fields(one)


def study_id(value: str) -> str:
    """A study's id from an address; raises WrongId."""
    if not STUDY_ID.fullmatch(value):
        raise WrongId(f"{value[:40]!r} is not a study's id")
    return value


def state_of(ledger: Ledger, study: str, as_of: str | None, wait_for: int | None) -> Cut:
    """The state to read; waits for a signed size, holding no connection meanwhile: others read and write."""
    deadline, pauses = time.monotonic() + WAIT_LIMIT_SECONDS, iter(POLL_SECONDS)
    while True:
        with ledger.database.connection() as connection:
            newest = ledger.checkpoint(connection, study_id(study))
            if wait_for is None or newest.size >= wait_for:
                size = newest.size if as_of is None else cut_size(connection, study, as_of, newest.size)
                return Cut(size, ledger.receipts(study).root_at(connection, size), newest.size)
        if time.monotonic() >= deadline:
            raise NotSignedYet(f"the newest checkpoint covers {newest.size}, not {wait_for}", size=newest.size)
        time.sleep(next(pauses, POLL_SECONDS[-1]))


def answered(value: Any, cut: Cut | None, status: int = 200) -> Response:
    """A JSON answer with the state that it stands for."""
    headers = {} if cut is None else cut.headers
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def first_alarm(writer: StudyWriter) -> dict[str, str] | None:
    """The gravest thing that a person has to look at in a study: why, and what to do; None while all is well."""
    return next(({"because": alarm.because, "remedy": alarm.remedy} for alarm in writer.alarms), None)


def log_router(ledger: Ledger) -> APIRouter:
    """The routes below /v1/studies that read the log itself."""
    router = APIRouter(prefix="/v1/studies", tags=["log"], dependencies=[Depends(known_parameters)])

    def cut(study: str, as_of: str | None, wait_for: int | None) -> Cut:
        return state_of(ledger, study, as_of, wait_for)

    @router.get("")
    def studies() -> Response:
        """The studies of this installation."""
        return answered({"studies": ledger.studies()}, None)

    @router.get("/{study}")
    def summary(study: str, as_of: str | None = None, wait_for: int | None = Query(None, ge=0)) -> Response:
        """What the study is, where its log stands, how many statements have been refused by now."""
        state = cut(study, as_of, wait_for)
        genesis = ledger.entry(study, 0, state.size).row
        with ledger.database.connection() as connection:
            refused = evidence.count_refusals(connection, study)
        body = Entry(genesis).statement.body
        return answered(
            {
                "study": study,
                "origin": ledger.origin(study),
                "size": state.size,
                "root": state.root,
                "opened_at": genesis.recorded_at,
                "title": Entry(genesis).statement.content.get("title"),
                "clock": body["clock"],
                "synthetic": body["synthetic"],
                "retention": body["retention"],
                "refusals": refused,
                "alarm": first_alarm(ledger.writer(study)),
            },
            state,
        )

    @router.get("/{study}/log-keys")
    def log_keys(study: str) -> Response:
        """What genesis must state: origin and keys of the log, key of the actor `ledger`. Once the study is open, the
        keys in force and their `history`: `since` which index each pair of them signs; `ledger` is null where the
        key of that actor is revoked and no other is enrolled."""
        stated, history = ledger.log_keys(study_id(study)), ledger.log_key_history(study)
        if history:
            stated |= {"log_keys": history[-1]["log_keys"], "history": history, "ledger": None}
            with suppress(NoSeal):
                key = ledger.seal(study)
                stated["ledger"] = {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk}
        return answered(stated, None)

    @router.get("/{study}/events")
    def feed(
        request: Request,
        study: str,
        after: int = Query(0, ge=0),
        limit: int = Query(100, ge=1, le=MAX_PAGE),
        event: list[str] = Query(default=[]),
        subject: str | None = None,
        as_of: str | None = None,
        wait_for: int | None = Query(None, ge=0),
    ) -> Response:
        """The change feed: entries with index >= `after` (how many the caller holds), in order of the log."""
        unknown = [name for name in event if name not in CATALOGUE]
        if unknown:
            raise BadRequest(f"there is no event {unknown[0]!r}")
        about = _subject_id(subject)
        state = cut(study, as_of, wait_for)
        rows, _ = ledger.entries(study, after, limit, event, about, state.size)
        entries = [Entry(row).as_dict() for row in rows]
        if "application/x-ndjson" in request.headers.get("accept", ""):
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
            return Response(lines, headers=state.headers, media_type="application/x-ndjson")
        following = entries[-1]["index"] + 1 if len(entries) == limit else None
        return answered({"entries": entries, "next": following, "size": state.size}, state)

    @router.get("/{study}/events/{index}")
    def entry(study: str, index: int, as_of: str | None = None, wait_for: int | None = Query(None, ge=0)) -> Response:
        """One entry, byte for byte as it was received."""
        state = cut(study, as_of, wait_for)
        return answered(ledger.entry(study, index, state.size).as_dict(), state)

    @router.get("/{study}/receipts/{jti}")
    def receipt(
        study: str,
        jti: str,
        as_of: int | None = Query(None, ge=0),
        wait_for: int | None = Query(None, ge=0),
        witnessed: bool = False,
    ) -> Response:
        """The receipt of an event, a .tlog-proof: under the newest checkpoint, under the one of size `as_of`, or with
        `witnessed` under the newest that has the quorum of the study's policy."""
        name = _uuid(jti.removesuffix(".tlog-proof"))
        cut(study, None, wait_for)
        with ledger.database.snapshot() as connection:
            under = ledger.checkpoint(connection, study)
            if witnessed:
                under = under_quorum(ledger, connection, study, str(name), as_of)
            elif as_of is not None:
                under = evidence.checkpoint_at(connection, study, as_of) or _not_signed_at(as_of)
            text = ledger.receipt(connection, study, str(name), under)
        headers = Cut(under.size, base64url(under.root), under.size).headers
        return Response(text, headers=headers, media_type="text/plain; charset=utf-8")

    @router.get("/{study}/proofs/inclusion")
    def inclusion(
        study: str,
        index: int = Query(ge=0),
        size: int | None = Query(None, ge=1),
        wait_for: int | None = Query(None, ge=0),
    ) -> Response:
        """The path from an entry to the root at a size (RFC 6962 section 2.1.1)."""
        newest = cut(study, None, wait_for)
        tree = size or newest.size
        if not index < tree <= newest.size:
            raise EntryNotFound(f"index {index} at size {tree}: the newest checkpoint covers {newest.size}")
        with ledger.database.connection() as connection:
            path = ledger.receipts(study).inclusion_proof(connection, index, tree)
            root = ledger.receipts(study).root_at(connection, tree)
        proof = {"index": index, "size": tree, "root": root, "hashes": [base64url(h) for h in path]}
        return answered(proof, Cut(tree, root, newest.size))

    @router.get("/{study}/proofs/consistency")
    def consistency(
        study: str,
        old: int = Query(ge=1),
        new: int | None = Query(None, ge=1),
        wait_for: int | None = Query(None, ge=0),
    ) -> Response:
        """The proof that one size is the beginning of another (RFC 6962 section 2.1.2)."""
        newest = cut(study, None, wait_for)
        tree = new or newest.size
        if not old <= tree <= newest.size:
            raise EntryNotFound(f"sizes {old} and {tree}: the newest checkpoint covers {newest.size}")
        with ledger.database.connection() as connection:
            path = ledger.receipts(study).consistency_proof(connection, old, tree)
            root = ledger.receipts(study).root_at(connection, tree)
        proof = {"old": old, "new": tree, "hashes": [base64url(h) for h in path]}
        return answered(proof, Cut(tree, root, newest.size))

    @router.get("/{study}/catalogue")
    def catalogue(study: str) -> Response:
        """Every event: kind, version, who may record it, what it is about, its rules and JSON Schema."""
        study_id(study)
        return answered({"events": [catalogue_entry(model.__name__) for model in CATALOGUE]}, None)

    return router


def under_quorum(ledger: Ledger, connection: Conn, study: str, jti: str, as_of: int | None) -> CheckpointRow:
    """The newest checkpoint with the policy's quorum that covers an event, or the one of size `as_of`."""
    policy = ledger.witnessing.policy(study)
    if policy is None:
        raise NoPolicy(f"there is no {study}.policy")
    row = statements.find_event(connection, study, jti)
    if row is None:
        raise EntryNotFound(f"no event {jti}")
    if as_of is not None:
        found = newest_witnessed(connection, study, policy, as_of + 1, max(as_of, row.idx + 1))
        under = found.checkpoint if found else None
    else:
        under = ledger.witnessed(connection, study, policy, row.idx + 1)
    if under is None or (as_of is not None and under.size != as_of):
        at = f"the checkpoint of size {as_of}" if as_of is not None else "any checkpoint above it"
        raise NotWitnessedYet(f"the entry {row.idx}: {policy.quorum} has not cosigned {at}")
    return under


def _not_signed_at(size: int) -> NoReturn:
    raise NotSignedAt(f"size {size}")


@cache  # half a second for the whole catalogue
def catalogue_entry(event: str) -> dict[str, Any]:
    """One event of the catalogue as the interface tells it."""
    model, accepted = CATALOGUE[event], CATALOGUE.accepted(event)
    return {
        "event": event,
        "version": model.v,
        "accepted": list(accepted),
        "kind": model.kind,
        "meaning": " ".join((model.__doc__ or "").split()),
        "about": list(model.about),
        "recorders": sorted(model.recorders),
        "transcribers": sorted(model.transcribers),
        "countersigners": sorted(model.countersigners),
        "target": model.target,
        "rules": list(model.rules),
        "clear": sorted(model.clear_fields()),
        "disclosed": sorted(model.disclosed_fields()),
        "schema": CATALOGUE.schema(event),
        "versions": [
            {
                "version": one.v,
                "accepted": one.v in accepted,
                "clear": sorted(one.clear_fields()),
                "disclosed": sorted(one.disclosed_fields()),
                "came_from": {name: list(names) for name, names in came_from(one).items()},
                "dropped": sorted(one.__dict__.get("dropped", ())),
                "schema": CATALOGUE.schema(event, one.v),
            }
            for one in CATALOGUE.versions(event)
        ],
    }


def _subject_id(text: str | None) -> UUID | None:
    """The log knows subjects by UUID alone: numbers are disclosed content, which may be corrected or redacted."""
    try:
        return _uuid(text)
    except BadRequest as wrong:
        raise BadRequest(
            f"{wrong.because}; `subject` is the subject's UUID here, not the number: "
            "GET /v1/studies/{study}/subjects lists the UUID of each number as `id`"
        ) from None


def _uuid(text: str | None) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest(f"{text[:60]!r} is not a UUID") from None


def streamed(parts: Iterator[bytes], media_type: str, headers: dict[str, str]) -> StreamingResponse:
    """A long answer, sent as it is made."""
    return StreamingResponse(parts, headers=headers, media_type=media_type)
