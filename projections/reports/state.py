"""What a projection shows of a study, as one digest: the root over all subjects, and the digest of each.

Two readings agree where the fingerprint, the size and the redactions taken in are the same: a digest is stated with
all three. See `engine/digest.py` for what enters it.
"""

from __future__ import annotations

from typing import Any

from ledger.signing.encoding import b64url
from ledger.store.database import Conn
from projections.definitions import NAMES, model_with
from projections.engine import digest
from projections.engine.definition import STUDY_PARTITION
from projections.engine.errors import ProjectionBehind, StudyNotKnown
from projections.engine.reading import root_at
from projections.engine.sql import SQL


def state(conn: Conn, study: str, name: str) -> dict[str, Any]:
    """The digest of what answers for a projection. For a snapshot. Raises KeyError for a projection that is none,
    StudyNotKnown, ProjectionBehind where nothing answers or this release does not have its code."""
    if name not in NAMES:
        raise KeyError(f"there is no projection {name!r}: {', '.join(NAMES)}")
    row = conn.execute(SQL["answering_state"], {"study": study, "name": name}).fetchone()
    if row is None:
        raise StudyNotKnown(f"there is no study {study!r}")
    schema, version, fingerprint, generation, size, redactions = row
    if schema is None:
        raise ProjectionBehind(f"nobody has followed {name} in {study} yet")
    model = model_with(name, version, fingerprint, generation)
    if model is None:
        raise ProjectionBehind(
            f"{name} is version {version} with the fingerprint {fingerprint[:8]} here, which is of another release"
        )
    found = digest.of_tables(conn, schema, model.definition, study)
    return {
        "study": study,
        "projection": name,
        "version": version,
        "fingerprint": fingerprint,
        "schema": schema,
        "size": size,
        "root": b64url(root_at(conn, study, size)),
        "redactions": redactions,
        "digest": found.root,
        "subjects": len(found.partitions.keys() - {STUDY_PARTITION}),
        "rows": found.rows,
        "partitions": found.partitions,
    }


def told(found: dict[str, Any]) -> str:
    """A state in words."""
    return (
        f"{found['projection']} of {found['study']}, version {found['version']} ({found['schema']})\n"
        f"state digest   {found['digest']}\n"
        f"of fingerprint {found['fingerprint']}\n"
        f"at size        {found['size']:,}, ledger root {found['root']}, {found['redactions']:,} redactions taken in\n"
        f"over           {found['rows']:,} rows of {found['subjects']:,} subjects; the digest of each: --json"
    )
