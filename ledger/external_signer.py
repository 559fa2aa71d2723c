"""The log's keys in another process: a client of a KMS or a PKCS#11 module, which keeps the private keys to itself.

TRIAL_LEDGER_SIGNER_COMMAND names a command that is started once and asked over its standard input and output, one JSON
object a line each way:

    {"op": "public", "origin": O, "generation": G}                       -> {"keys": [Ed25519 vkey, ML-DSA-44 vkey]}
    {"op": "sign", "origin": O, "generation": G, "type": T, "message": B} -> {"signature": B}

T is the signature type (1: Ed25519 over the message; 6: ML-DSA-44, pure, with an empty context), B standard base64, G
counts the rotations of the log's keys from 1; both keys are named like the origin. {"error": "..."} says why not. What
comes back is verified before it is used. A command that ends, hangs or answers nonsense is ended and started again at
the next request; until it answers, statements are recorded and signed later.
"""

from __future__ import annotations

import json
import select
import shlex
import subprocess
import threading
import time
from base64 import b64decode, b64encode
from typing import Any

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Mldsa44CosignatureVerifier, mldsa44_message, stamped
from ledger.merkle.log_keys import LogKeys
from ledger.merkle.note import COSIGNATURE_MLDSA44, ED25519, Ed25519Verifier, Signature, VerifierKey
from ledger.store.errors import StoreError

ANSWER_SECONDS = 5.0
"""How long it may take to sign: a module across a network answers in milliseconds."""
LONGEST_ANSWER = 65_536
"""Bytes of a line: an ML-DSA-44 key in base64 has 1,800, a signature 3,300."""


class ExternalSignerFailed(StoreError):
    """The command that signs for the log does not answer as it should. Statements are recorded and signed later. Look
    after the command in TRIAL_LEDGER_SIGNER_COMMAND, and after the module that it speaks to."""


class ExternalSigner:
    """The command and its process. Any thread; one request at a time."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer; raises ExternalSignerFailed."""
        with self._turn:
            try:
                return self._ask(json.dumps(request).encode() + b"\n")
            except (OSError, ValueError, ExternalSignerFailed) as error:
                self._end()
                if isinstance(error, ExternalSignerFailed):
                    raise
                raise ExternalSignerFailed(str(error)) from None

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _ask(self, line: bytes) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(
                shlex.split(self._command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        assert process.stdin is not None
        process.stdin.write(line)
        answer = json.loads(self._line(process))
        if not isinstance(answer, dict):
            raise ValueError("its answer is no JSON object")
        if "error" in answer:
            raise ExternalSignerFailed(str(answer["error"])[:500])
        return answer

    @staticmethod
    def _line(process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        deadline, line = time.monotonic() + ANSWER_SECONDS, b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ExternalSignerFailed(f"it did not answer within {ANSWER_SECONDS:g} seconds")
            some = process.stdout.read(4_096)
            if not some:
                raise ExternalSignerFailed("it ended instead of answering")
            line += some
            if len(line) > LONGEST_ANSWER:
                raise ExternalSignerFailed("its answer does not end")
        return line

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class ExternalKeys:
    """All generations of one log's keys, kept elsewhere; a `LogKeySource`."""

    def __init__(self, signer: ExternalSigner, origin: str) -> None:
        self._signer, self._origin = signer, origin
        self._made: dict[int, LogKeys] = {}

    def of(self, generation: int) -> LogKeys:
        """The keys of a generation, counted from 1; raises ExternalSignerFailed."""
        made = self._made.get(generation)
        if made is None:
            stated = self._signer.ask(op="public", origin=self._origin, generation=generation)
            try:
                ed25519, mldsa44 = (VerifierKey.parse(text) for text in stated["keys"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ExternalSignerFailed(f"its keys cannot be read ({error})") from None
            kinds = [(key.name, key.kind) for key in (ed25519, mldsa44)]
            if kinds != [(self._origin, ED25519), (self._origin, COSIGNATURE_MLDSA44)]:
                raise ExternalSignerFailed(f"its keys are not an Ed25519 and an ML-DSA-44 key of {self._origin}")
            made = LogKeys(_Ed25519(self, ed25519, generation), _Mldsa44(self, mldsa44, generation))
            self._made[generation] = made
        return made

    def sign(self, kind: int, generation: int, message: bytes) -> bytes:
        """A raw signature."""
        coded = b64encode(message).decode()
        answer = self._signer.ask(op="sign", origin=self._origin, generation=generation, type=kind, message=coded)
        try:
            return b64decode(answer["signature"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise ExternalSignerFailed("its signature cannot be read") from None


class _Ed25519:
    def __init__(self, keys: ExternalKeys, key: VerifierKey, generation: int) -> None:
        self._keys, self.key, self._generation = keys, key, generation
        self._verifier = Ed25519Verifier(key)

    def sign(self, text: bytes) -> Signature:
        """The signature line for a note's text."""
        signature = self._keys.sign(ED25519, self._generation, text)
        if not self._verifier.verify(text, signature):
            raise ExternalSignerFailed("its Ed25519 signature is not good")
        return Signature(self.key.name, self.key.key_id, signature)


class _Mldsa44:
    def __init__(self, keys: ExternalKeys, key: VerifierKey, generation: int) -> None:
        self._keys, self.key, self._generation = keys, key, generation
        self._verifier = Mldsa44CosignatureVerifier(key)

    def cosign(self, checkpoint: Checkpoint, time_seconds: int) -> Signature:
        """The signature line for a checkpoint at a time in POSIX seconds."""
        message = mldsa44_message(self.key.name, checkpoint, time_seconds)
        signature = stamped(time_seconds) + self._keys.sign(COSIGNATURE_MLDSA44, self._generation, message)
        if not self._verifier.verify(checkpoint.body(), signature):
            raise ExternalSignerFailed("its ML-DSA-44 signature is not good")
        return Signature(self.key.name, self.key.key_id, signature)
