"""GET of what leaves the ledger: the evidence bundle, a cut of the projections, the same bytes as the command line
writes.

An export is made whole in a temporary file below the home, recorded, and only then sent: what is sent is on record,
whether or not the caller receives it. The file has no name any more while it is sent, so that it goes with the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import BinaryIO

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from api.v1.reading import State, known_parameters, study_id
from ledger.application import Ledger
from ledger.receipts import base64url
from projections.exports.cut import ExportedCut, WantedCut, made_cut
from projections.exports.evidence import Exported, Wanted, made_evidence
from projections.exports.refusals import ExportsBusy

EXPORTS_AT_ONCE = 2
"""Each takes twice a bundle's size on the disk, and most of a processor, while it is made."""

SEND_BYTES = 1 << 18
"""How much of a bundle is sent at once."""

MEDIA_TYPE = "application/zip"


def export_router(ledger: Ledger) -> APIRouter:
    """The routes below /v1/studies/{study}/exports."""
    router = APIRouter(prefix="/v1/studies/{study}/exports", tags=["exports"], dependencies=[Depends(known_parameters)])
    turns = threading.BoundedSemaphore(EXPORTS_AT_ONCE)

    @router.get("/evidence")
    def evidence(
        study: str,
        subject: str | None = Query(None, description="Disclose this subject's content alone: number or UUID."),
        as_of: str | None = Query(None, description="The projections as they were known then: a size or a time."),
        checkpoint: int | None = Query(None, ge=1, description="An earlier bundle again: the size of its checkpoint."),
    ) -> StreamingResponse:
        """The evidence bundle, for verifying the study without this server; recorded as DataExported.
        `Ledger-Quorum` says whether its checkpoint carries the witnesses that the policy asks for."""
        wanted = Wanted(study_id(study), subject, as_of, checkpoint)
        if not turns.acquire(blocking=False):
            raise ExportsBusy(f"{EXPORTS_AT_ONCE} are being made")
        try:
            with made_evidence(ledger, wanted, ledger.home.path) as (exported, draft):
                file = draft.open("rb")
        finally:
            turns.release()
        return StreamingResponse(_sent(file), headers=_headers(exported), media_type=MEDIA_TYPE)

    @router.get("/cut")
    def cut(study: str, state: State) -> StreamingResponse:
        """Every projection's rows at a cut, as NDJSON in a zip: the same bytes whenever the same cut is asked for;
        recorded as DataExported."""
        wanted = WantedCut(study_id(study), state.as_of, state.occurred_by)
        if not turns.acquire(blocking=False):
            raise ExportsBusy(f"{EXPORTS_AT_ONCE} are being made")
        try:
            with made_cut(ledger, wanted, ledger.home.path) as (exported, draft):
                file = draft.open("rb")
        finally:
            turns.release()
        return StreamingResponse(_sent(file), headers=_cut_headers(exported), media_type=MEDIA_TYPE)

    return router


def _cut_headers(exported: ExportedCut) -> dict[str, str]:
    manifest = exported.manifest
    return {
        "Content-Disposition": f'attachment; filename="{manifest["study"]}-cut-{manifest["size"]}.zip"',
        "Content-Length": str(exported.bytes),
        "Content-Digest": f"sha-256=:{exported.content_digest}:",
        "Ledger-Index": str(manifest["size"]),
        "Ledger-Root": manifest["root"],
        "Ledger-Export": str(exported.index),
        "Cache-Control": "no-store",
    }


def _sent(file: BinaryIO) -> Iterator[bytes]:
    """The file piece by piece."""
    with file:
        while data := file.read(SEND_BYTES):
            yield data


def _headers(exported: Exported) -> dict[str, str]:
    facts = exported.facts
    name = f"{facts.study}-{facts.checkpoint.size}.zip"
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(exported.bytes),
        "Content-Digest": f"sha-256=:{exported.content_digest}:",
        "Ledger-Index": str(facts.checkpoint.size),
        "Ledger-Root": base64url(facts.checkpoint.root),
        "Ledger-Export": str(exported.index),
        "Ledger-Quorum": "met" if exported.quorum else "not met",
        "Cache-Control": "no-store",
    }
