"""Proofs as they are handed over: receipts (C2SP tlog-proof), and the answers of the two proof routes."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tests.scenario.offline.notes import Checked, decimal, open_checkpoint, standard, stated_by
from tests.scenario.offline.tree import Wrong, check_consistency, check_inclusion, leaf_of

FIRST_LINE = "c2sp.org/tlog-proof@v1"


def open_receipt(receipt: str | bytes, log_key: str, *also: str) -> tuple[Checked, int, bytes]:
    """A .tlog-proof: the checkpoint it stands under, the index, and the entry that it proves.

    The checkpoint must be signed by the log's key and by each of the keys `also`.
    """
    try:
        text = receipt if isinstance(receipt, str) else receipt.decode()
    except UnicodeDecodeError as error:
        raise Wrong("the receipt is not UTF-8") from error
    head, _, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != FIRST_LINE or len(lines) < 2 or not lines[0].startswith("extra ") or not lines[1].startswith("index "):
        raise Wrong("not a receipt with its entry")
    entry, index = standard(lines[0].removeprefix("extra ")), decimal(lines[1].removeprefix("index "))
    path = [standard(line) for line in lines[2:]]
    stated = stated_by(checkpoint)  # before any signature: a wrong path is found at less cost
    check_inclusion(leaf_of(entry), index, stated.size, path, stated.root)
    return open_checkpoint(checkpoint, log_key, *also), index, entry


def open_inclusion(answer: bytes, leaf: bytes, index: int, checked: Checked) -> None:
    """Raises Wrong unless the answer of /proofs/inclusion shows this leaf at this index under this checkpoint."""
    proof = _object(answer, "index", "size", "root", "hashes")
    if (proof["index"], proof["size"], _base64url(proof["root"])) != (index, checked.size, checked.root):
        raise Wrong("the proof is of another leaf or another tree")
    check_inclusion(leaf, index, checked.size, _path(proof["hashes"]), checked.root)


def open_consistency(answer: bytes, old: Checked, new: Checked) -> None:
    """Raises Wrong unless the answer of /proofs/consistency shows that one checkpoint's tree begins the other's."""
    proof = _object(answer, "old", "new", "hashes")
    if (proof["old"], proof["new"]) != (old.size, new.size):
        raise Wrong("the proof is between other trees")
    check_consistency(old.size, new.size, _path(proof["hashes"]), old.root, new.root)


def _object(answer: bytes, *names: str) -> dict[str, Any]:
    try:
        read = json.loads(answer)
    except ValueError as error:
        raise Wrong("the proof is not JSON") from error
    if not isinstance(read, dict) or tuple(read) != names:
        raise Wrong(f"the proof does not state exactly {', '.join(names)}")
    return read


def _path(hashes: Any) -> list[bytes]:
    if not isinstance(hashes, list):
        raise Wrong("the hashes of a proof are a list")
    return [_base64url(value) for value in hashes]


def _base64url(text: Any) -> bytes:
    """The bytes of base64url without padding, written as the encoder writes it."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
            raise ValueError(text)
    except (TypeError, ValueError) as error:
        raise Wrong("a hash is not base64url") from error
    return data
