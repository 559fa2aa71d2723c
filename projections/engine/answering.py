"""Which version of a projection answers, and what of it this release can read.

Rules:
- the pointer says which version and generation is live in a study; whoever has its code reads its rows;
- two releases may run side by side while one hands over: who does not have the code of the live version answers from
  the one that it took over from, as long as that is kept current and has reached the position of the live one. So no
  reader goes without an answer, none sees time go back, and none gets rows that never answered;
- otherwise the reading is refused, and says which version is needed. A host of which this is true is not ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from projections.definitions import known_models, model_with
from projections.engine.definition import ReadModel
from projections.engine.errors import ProjectionBehind, ReleaseNeeded, StillDraining, StudyNotKnown
from projections.engine.sql import SQL

Conn = Connection[TupleRow]

PATIENCE_S = 600
"""How long a page may think, and a client pause, between two statements of a reading: its snapshot holds up nobody,
it only keeps old row versions from being cleared away."""


@dataclass(frozen=True, slots=True)
class Answering:
    """The read model that a reading is answered from: where it stands, the signed size, whether it may hold something
    that is redacted."""

    model: ReadModel
    position: int
    signed: int
    holds: bool


def reading_values(study: str, name: str) -> dict[str, str]:
    """The parameters with which a reading begins."""
    return {"study": study, "name": name, "patience": f"{PATIENCE_S}s"}


def answering(conn: Conn, study: str, name: str) -> Answering:
    """What answers for a projection of a study, in one snapshot. Raises StudyNotKnown, ProjectionBehind, ReleaseNeeded,
    StillDraining."""
    row = conn.execute(SQL["reading_of"], reading_values(study, name)).fetchone()
    if row is None or not row[0]:
        raise StudyNotKnown(f"there is no study {study!r}")
    _, schema, version, position, signed, _, holds, fingerprint, generation = row
    if schema is None:
        raise ProjectionBehind("nobody has followed this study yet", position=0, wanted=signed)
    model = model_with(name, version, fingerprint or "", generation or 0)
    if model is not None:
        return Answering(model, position, signed, holds)
    return _drained(conn, study, name, position, signed, f"version {version} ({str(fingerprint)[:8]})")


def _drained(conn: Conn, study: str, name: str, live: int, signed: int, needed: str) -> Answering:
    """The version that the live one took over from."""
    lagging = None
    for version, fingerprint, generation, position, holds in conn.execute(
        SQL["drained"], {"study": study, "name": name}
    ):
        model = model_with(name, version, fingerprint, generation)
        if model is not None and position >= live:
            return Answering(model, position, signed, holds)
        if model is not None:
            lagging = position
    if lagging is not None:
        because = f"{needed} of {name} answers; the one before it, which this release has, stands at size {lagging}"
        raise StillDraining(f"{because}, and size {live} was shown already", position=lagging, wanted=live)
    own = ", ".join(f"version {one.definition.version}" for one in known_models() if one.definition.name == name)
    raise ReleaseNeeded(f"{needed} of {name} answers, and this release has {own}", position=live, wanted=signed)


def not_of_this_release(conn: Conn) -> list[dict[str, Any]]:
    """The live versions that this release does not have the code of, by study and projection."""
    found = conn.execute(SQL["live_versions"]).fetchall()
    return [
        {"study": study, "projection": name, "version": version, "fingerprint": fingerprint}
        for study, name, version, fingerprint in found
        if model_with(name, version, fingerprint) is None
    ]
