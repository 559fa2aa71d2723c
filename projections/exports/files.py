"""The file that an export becomes: complete and durable before it has its name, nobody else's to read until then."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import BinaryIO

from ledger.signing.encoding import b64url
from projections.exports.refusals import NoRoomForExport, OutputExists, OutputNotWritable

READ_BYTES = 1 << 20
"""How much of a file is hashed at once."""


def digest_of(file: BinaryIO) -> tuple[str, int]:
    """base64url SHA-256 and size of a file as it was written."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while data := file.read(READ_BYTES):
        digest.update(data)
        size += len(data)
    return b64url(digest.digest()), size


def check_output(output: Path, force: bool) -> None:
    """Refuse before anything is made or recorded."""
    if output.is_dir():
        raise OutputNotWritable(f"{output} is a folder")
    if output.exists() and not force:
        raise OutputExists(str(output))
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise OutputNotWritable(f"{output.parent} is no folder that can be written to")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the file system refuses, in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise NoRoomForExport(f"the volume of {folder} is full") from None
        raise OutputNotWritable(f"{folder}: {error.strerror or error}") from None


def publish(draft: Path, output: Path, force: bool) -> None:
    """Give a complete file its name, durably; a file that is there stays unless `force` is said."""
    with writing(output.parent):
        if force:
            draft.replace(output)
        else:
            try:
                os.link(draft, output)  # unlike a rename, it fails when the name was taken meanwhile
            except FileExistsError:
                raise OutputExists(str(output)) from None
            except PermissionError:  # a file system without links
                draft.rename(output)
    with suppress(OSError):  # Windows opens no folders; its file systems journal names themselves
        folder = os.open(output.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
