"""The log where its origin says: /study/{study}/checkpoint and /study/{study}/tile/... (C2SP tlog-tiles).

Finite, static resources as the specification lays them out, so that any tiled-log client reads the log without
knowing this ledger. A checkpoint is what changes, and is not to be cached; a tile of a width never changes. Every
partial tile that a signed size ever had is served, also after the tile is full. Nothing beyond the newest signed
size, and never an empty tile: 404. Checkpoints and hash tiles may be public; entry bundles hold pseudonymous data,
so only the reader's own cache may keep them.
"""

from __future__ import annotations

import gzip
import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.v1.problems import WrongId
from api.v1.reading import study_id
from ledger.application import EntryNotFound, Ledger
from ledger.merkle.tiles import WIDTH, MissingTile, bundle_bytes, parse_tile_path, tile_width
from ledger.merkle.tree import HASH_BYTES, entry_bytes
from ledger.store import evidence, statements
from ledger.store.database import Conn

A_YEAR_SECONDS = 31_536_000
"""As long as HTTP caches keep anything (RFC 9111 section 5.3 asks for no more)."""
IMMUTABLE = f"max-age={A_YEAR_SECONDS}, immutable"
ZIP_LEVEL = 1
"""Statements are base64 of JSON: the first level of compression takes most of what any level takes."""
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+\s*)?(?:,|$)", re.IGNORECASE)


class NoTilePath(WrongId):
    """The address is not the path of a tile."""

    rule = "TILE-1"
    remedy = "Write it as tlog-tiles says: tile/<level>/<number>[.p/<width>], the number in groups as x001/x234/067."


def tile_router(ledger: Ledger) -> APIRouter:
    """Checkpoint, hash tiles and entry bundles of each study."""
    router = APIRouter(prefix="/study/{study}", tags=["tiles"])

    @router.head("/checkpoint", include_in_schema=False)
    @router.get("/checkpoint")
    def checkpoint(study: str) -> Response:
        """The newest signed checkpoint, with every signature known of it."""
        with ledger.database.snapshot() as connection:
            newest = ledger.checkpoint(connection, study_id(study))
            note = evidence.full_note(connection, study, newest)
        return Response(note, headers={"Cache-Control": "no-cache"}, media_type="text/plain; charset=utf-8")

    @router.head("/tile/{path:path}", include_in_schema=False)
    @router.get("/tile/{path:path}")
    def tile(request: Request, study: str, path: str) -> Response:
        """A hash tile, or with `entries/` an entry bundle, full or partial."""
        try:
            level, n, width = parse_tile_path(f"tile/{path}")
        except ValueError as wrong:
            raise NoTilePath(str(wrong)) from None
        with ledger.database.snapshot() as connection:
            size = ledger.checkpoint(connection, study_id(study)).size
            there = tile_width(0 if isinstance(level, str) else level, n, size)
            if width > there:
                raise EntryNotFound(f"the tile has {there} hashes at size {size}, not {width}")
            if isinstance(level, str):
                return _bundle(connection, study, n, width, request.headers.get("accept-encoding", ""))
            hashes = ledger.receipts(study).tile(connection, level, n, size)
        return _unchanging(hashes[: width * HASH_BYTES], "public")

    return router


def _bundle(connection: Conn, study: str, n: int, width: int, accepted: str) -> Response:
    """The entries n * 256 and on, compressed for whoever takes it."""
    rows = statements.select_events(connection, study, n * WIDTH, n * WIDTH + width, width)
    if len(rows) != width:
        raise MissingTile(f"{len(rows)} entries of {width} are there from {n * WIDTH} on")
    data = bundle_bytes(entry_bytes(row.jwt, row.recorded_at) for row in rows)
    if not _GZIP.search(accepted):
        return _unchanging(data, "private", Vary="Accept-Encoding")
    zipped = gzip.compress(data, ZIP_LEVEL, mtime=0)
    return _unchanging(zipped, "private", Vary="Accept-Encoding", **{"Content-Encoding": "gzip"})


def _unchanging(data: bytes, whose: str, **headers: str) -> Response:
    caching = {"Cache-Control": f"{whose}, {IMMUTABLE}", **headers}
    return Response(data, headers=caching, media_type="application/octet-stream")
