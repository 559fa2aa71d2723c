"""The interface description (OpenAPI 3.1): what FastAPI does not see of it, the ways in and the one form of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_STATEMENT = {"schema": {"type": "string"}, "description": "One statement: header.payload.signature~disclosure~"}
_ANSWER = {
    "type": "object",
    "required": ["jti", "index", "leaf_hash", "recorded_at", "repeat", "receipt", "size", "root"],
    "properties": {
        "jti": {"type": "string", "format": "uuid"},
        "index": {"type": "integer", "description": "Its place in the log."},
        "leaf_hash": {"type": "string", "description": "Hex of 32 bytes."},
        "recorded_at": {"type": "string", "format": "date-time"},
        "repeat": {"type": "boolean", "description": "The same bytes were recorded before."},
        "receipt": {"type": ["string", "null"], "description": "A .tlog-proof; null while the signer is down."},
        "size": {"type": "integer", "description": "The size that the checkpoint covers."},
        "root": {"type": "string", "description": "base64url of the tree's root."},
    },
}
_TEXT = {"type": "string"}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Why a request was refused or failed (RFC 9457). A rule may add facts of its own.",
    "required": ["type", "title", "status", "detail", "rule", "because", "remedy", "indexes", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "urn:trial-ledger:rule:<rule>, for most."},
        "title": {**_TEXT, "description": "The rule in one sentence."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {**_TEXT, "description": "The cause, as in `because`."},
        "rule": {**_TEXT, "description": "The rule's id: CONSENT-3."},
        "because": {**_TEXT, "description": "What in this request, or in the records, breaks the rule."},
        "remedy": {**_TEXT, "description": "What to do."},
        "source": {**_TEXT, "description": "Where the rule comes from; empty where it is the ledger's own."},
        "indexes": {"type": "array", "items": {"type": "integer"}, "description": "Entries that show the cause."},
        "request_id": {**_TEXT, "description": "As in X-Request-Id."},
    },
    "additionalProperties": True,
}
_PROBLEM = {
    "description": "Refused, or failed: rule, cause and remedy",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_NEVER_ANSWERED = ("HTTPValidationError", "ValidationError")
"""What FastAPI describes of itself: a parameter of the wrong form is a problem like every other (REQUEST-1)."""
_LINES = {
    "schema": {"type": "string"},
    "description": "One JSON string a line; one answer a line, in the same order: an answer or a problem.",
}


def _answers(*codes: str) -> dict[str, Any]:
    said = {
        "200": "Recorded before, or only tried (`Prefer: validate-only`)",
        "201": "Recorded",
        "202": "Recorded; the receipt follows",
    }
    found: dict[str, Any] = {
        code: {"description": said[code], "content": {"application/json": {"schema": _ANSWER}}} for code in codes
    }
    return {**found, "default": _PROBLEM}


WAYS_IN: dict[str, dict[str, Any]] = {
    "/v1/studies": {
        "tags": ["appending"],
        "summary": "Open a study by its genesis statement.",
        "requestBody": {"required": True, "content": {"application/sd-jwt": _STATEMENT}},
        "responses": _answers("200", "201", "202"),
    },
    "/v1/studies/{study}/events": {
        "tags": ["appending"],
        "summary": "Record one statement, or many as lines; the same bytes again are harmless.",
        "parameters": [
            {"name": "study", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "Prefer",
                "in": "header",
                "schema": {"type": "string", "enum": ["validate-only"]},
                "description": "Only try: nothing is recorded.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/sd-jwt": _STATEMENT, "application/x-ndjson": _LINES},
        },
        "responses": _answers("200", "201", "202"),
    },
}


_STUDY = "/v1/studies/{study}"
_JSON, _NDJSON, _CSV, _ZIP, _PLAIN = (
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/zip",
    "text/plain",
)
READ_AS: dict[str, tuple[str, ...]] = {
    f"{_STUDY}/events": (_JSON, _NDJSON),
    f"{_STUDY}/audit-trail": (_JSON, _NDJSON, _CSV),
    f"{_STUDY}/changes": (_JSON, _CSV),
    f"{_STUDY}/receipts/{{jti}}": (_PLAIN,),
    f"{_STUDY}/exports/evidence": (_ZIP,),
    f"{_STUDY}/exports/cut": (_ZIP,),
    "/study/{study}/checkpoint": (_PLAIN,),
    "/study/{study}/tile/{path}": ("application/octet-stream",),
}
"""The media types of answers that are not JSON alone."""

_CUT = {
    "Ledger-Index": "The size that the answer stands for: the indexes below it.",
    "Ledger-Root": "The root of the ledger's tree at this size, base64url.",
}
_VIEW = {**_CUT, "Projection-Version": "The version of the projection that answers."}
_EXPORT = {
    **_CUT,
    "Ledger-Export": "The index of the entry that records the export (DataExported).",
    "Content-Digest": "SHA-256 of the file (RFC 9530), as in that entry.",
}
HEADERS: dict[str, dict[str, str]] = {
    _STUDY: _CUT,
    **{f"{_STUDY}/{rest}": _CUT for rest in ("events", "events/{index}", "receipts/{jti}", "event-versions")},
    **{f"{_STUDY}/{rest}": _CUT for rest in ("proofs/inclusion", "proofs/consistency", "refusals", "redactions")},
    **{f"{_STUDY}/{rest}": _VIEW for rest in ("subjects", "subjects/{subject}", "subjects/{subject}/history/{jti}")},
    **{f"{_STUDY}/{rest}": _VIEW for rest in ("cohorts", "cohorts/{name}", "schedule", "safety", "outcomes")},
    **{f"{_STUDY}/{rest}": _VIEW for rest in ("findings", "signatures", "signatures/to-sign-again", "protocol")},
    **{f"{_STUDY}/{rest}": _VIEW for rest in ("changes", "audit-trail")},
    f"{_STUDY}/exports/evidence": {**_EXPORT, "Ledger-Quorum": "Whether the policy's witnesses are met."},
    f"{_STUDY}/exports/cut": _EXPORT,
}
"""What the answers of these addresses say of themselves."""


def _as_read(path: str, answer: dict[str, Any]) -> None:
    """Have what a GET answers described as it is: media types, headers."""
    if path in READ_AS:
        kinds = ((kind, {} if kind == _JSON else _TEXT) for kind in READ_AS[path])
        answer["content"] = {kind: {"schema": schema} for kind, schema in kinds}
    if path in HEADERS:
        answer["headers"] = {name: {"description": said, "schema": _TEXT} for name, said in HEADERS[path].items()}


def describe(app: FastAPI) -> None:
    """Have the application's description include the ways in, answers as they are, and a problem as every other."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        described = generated()
        for path, way_in in WAYS_IN.items():
            described["paths"].setdefault(path, {})["post"] = way_in
        for path, operations in described["paths"].items():
            if "get" in operations:
                _as_read(path, operations["get"]["responses"]["200"])
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _PROBLEM
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        for name in _NEVER_ANSWERED:
            schemas.pop(name, None)
        schemas["Problem"] = PROBLEM
        return described

    app.openapi = openapi  # type: ignore[method-assign]
