"""The interface description (OpenAPI 3.1) of the routes that FastAPI does not see: the ways in."""

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
_PROBLEM = {
    "description": "RFC 9457: rule, because, remedy, indexes, request_id",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}
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


def describe(app: FastAPI) -> None:
    """Have the application's description include the ways in."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        described = generated()
        for path, way_in in WAYS_IN.items():
            described["paths"].setdefault(path, {})["post"] = way_in
        return described

    app.openapi = openapi  # type: ignore[method-assign]
