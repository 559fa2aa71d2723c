"""A stand-in for a hardware module: a process that keeps keys and signs what it is asked to, over its pipes.

Started as `python module.py [fault]`; the fault is how its third answer and every later one goes wrong.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64decode, b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.merkle.note import COSIGNATURE_MLDSA44, ED25519, VerifierKey

PATIENCE_SECONDS = 3_600


def seed(*parts: Any) -> bytes:
    """A key's seed; a real module has made it itself and shows it to nobody."""
    from hashlib import sha256

    return sha256(repr(("an invented module", *parts)).encode()).digest()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the module says."""
    if request["op"] == "actor":
        key = Ed25519PrivateKey.from_private_bytes(seed("actor"))
        if "message" not in request:
            return {"public": b64encode(key.public_key().public_bytes_raw()).decode()}
        return {"signature": b64encode(key.sign(b64decode(request["message"]))).decode()}
    which = (request["origin"], request["generation"])
    ed25519 = Ed25519PrivateKey.from_private_bytes(seed("ed25519", *which))
    mldsa44 = MLDSA44PrivateKey.from_seed_bytes(seed("mldsa44", *which))
    if request["op"] == "public":
        public = ((ED25519, ed25519), (COSIGNATURE_MLDSA44, mldsa44))
        return {"keys": [str(VerifierKey(which[0], kind, key.public_key().public_bytes_raw())) for kind, key in public]}
    message = b64decode(request["message"])
    signature = ed25519.sign(message) if request["type"] == ED25519 else mldsa44.sign(message)
    return {"signature": b64encode(signature).decode()}


def main(fault: str) -> None:
    """Answer until the input ends."""
    for count, line in enumerate(sys.stdin):
        text = json.dumps(answer(json.loads(line)))
        if count >= 2 and fault:
            if fault == "dies":
                return
            if fault == "hangs":
                time.sleep(PATIENCE_SECONDS)
            text = {
                "lies": json.dumps({"signature": b64encode(bytes(64)).decode()}),
                "babbles": "]" * 100,
                "refuses": json.dumps({"error": "the slot is locked"}),
                "mumbles": json.dumps(["signature"]),
            }[fault]
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
