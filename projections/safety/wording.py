"""Parts of a protocol as plain data for a page: tables, lists and texts, null for what the record does not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def as_data(part: Any) -> Any:
    """Mappings, lists and plain values; JSON-ready."""
    if isinstance(part, BaseModel):
        return {name: as_data(getattr(part, name)) for name in type(part).model_fields}
    if isinstance(part, Mapping):
        return {name: as_data(value) for name, value in part.items()}
    if isinstance(part, tuple | list):
        return [as_data(value) for value in part]
    return part
