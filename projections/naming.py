"""Which subject a number names: one, or the reading is refused; whoever has a number twice is named by UUID."""

from __future__ import annotations

from collections.abc import Iterable

from projections.engine.errors import SubjectAmbiguous, SubjectNotFound


def the_only(number: str, having: Iterable[str], size: int) -> str:
    """The one subject of those that have a number, by their UUIDs. Raises SubjectNotFound, SubjectAmbiguous."""
    found = sorted(set(having))
    if not found:
        raise SubjectNotFound(f"no subject has the number {number!r} at size {size}")
    if len(found) > 1:
        because = f"{len(found)} subjects have the number {number!r} at size {size}: {', '.join(found)}"
        raise SubjectAmbiguous(because, subjects=found)
    return found[0]
