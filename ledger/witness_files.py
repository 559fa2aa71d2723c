"""What a witness keeps on its own machine: one key file, one state file, and what the logs were caught at.

 <key file>                 an Ed25519 key in encrypted PKCS #8, mode 0600; the ML-DSA-44 key is derived from it
 <state file>               name and keys of the witness, the last checkpoint cosigned of each log; with its digest
 <state file>.lock          held by the one process that uses the state
 <state file>.conflicts/    checkpoints that contradict, or do not extend, what was seen: `seen` and `shown` of each

The state is replaced as a whole: written beside, made durable, renamed, and the rename made durable, before
anything is answered. Killed before the rename: nothing happened. Killed after it: the log asks again, is told the
size that was kept, and gets its cosignature. A state that is missing, damaged or of another key is refused: a
witness that forgot what it saw would cosign another history. For the same reason an older copy must not be put back:
make a new witness instead, with a new key.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.merkle.checkpoint import open_checkpoint
from ledger.merkle.cosignature import Cosigner, Ed25519Cosigner, Mldsa44Cosigner, time_of, verifier_of
from ledger.merkle.note import VerifierKey, parse_note
from ledger.merkle.tree import NotProven
from ledger.signing.encoding import unb64url
from ledger.signing.keys import SigningKey, load_key, save_key
from ledger.store.locks import FileLock
from ledger.witness import Seen, StateUnusable

FORMAT = "trial-ledger-witness/1"

CONFLICTS_LIMIT = 200
"""Contradictions kept: each is 10 KB at most, and whoever repeats them shall not fill the disk."""

PASSPHRASE_LIMIT = 8
"""Characters that a passphrase has at least (NIST SP 800-63B)."""

_SEED_BYTES = 32


def make_witness(
    key_file: Path, state_file: Path, name: str, passphrase: bytes, post_quantum: bool
) -> Sequence[VerifierKey]:
    """Make a new witness, which has seen nothing: its key file and its state file, neither of which may exist.

    Returns the keys to hand over. Raises `KeyFileError`, `StateUnusable` and ValueError, each with what to do.
    """
    if len(passphrase.decode("utf-8", "replace")) < PASSPHRASE_LIMIT:
        raise ValueError(f"a passphrase has at least {PASSPHRASE_LIMIT} characters")
    if state_file.exists():
        raise StateUnusable(f"{state_file} exists already and is not replaced: choose another name")
    key = SigningKey.generate("Ed25519")
    keys = [cosigner.key for cosigner in _cosigners(key, name, post_quantum)]
    if state_file.resolve() == key_file.resolve():
        raise StateUnusable(f"{state_file} is to be the key file as well: name two files")
    save_key(key_file, key, passphrase)
    try:
        _replace(state_file, _encode({"format": FORMAT, "keys": [str(key) for key in keys], "logs": {}}))
    except BaseException as error:
        key_file.unlink(missing_ok=True)  # it has signed nothing, and a second try is to find its place free
        if isinstance(error, OSError):
            raise StateUnusable(f"{state_file} cannot be written ({error.strerror}); nothing was made") from None
        raise
    return keys


def load_cosigners(key_file: Path, keys: Sequence[VerifierKey], passphrase: bytes) -> list[Cosigner]:
    """The signers of a key file, which must be those that the state names; `KeyFileError`, `StateUnusable`."""
    key = load_key(key_file, passphrase)
    cosigners = _cosigners(key, keys[0].name, len(keys) > 1)
    if [cosigner.key for cosigner in cosigners] != list(keys):
        raise StateUnusable(f"{key_file} is not the key of this state: a witness keeps one state for one key")
    return cosigners


class FileStore:
    """The state file, locked while it is open. Implements `WitnessStore`."""

    def __init__(self, path: Path) -> None:
        path = path.resolve()  # one lock, by whatever name the file is reached
        self._path = path
        self._turn = threading.Lock()
        self._logs: dict[str, Seen] = {}
        self._doubted = False
        """A write failed, and the file may hold either state: it is read again before anything else."""
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        if not self._lock.try_exclusive():
            self._lock.close()
            raise StateUnusable(f"another process uses {path}: a witness is one process")
        try:
            self.keys = self._load()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let another process have the state."""
        self._lock.close()

    def __enter__(self) -> FileStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def conflicts_folder(self) -> Path:
        """Where contradictions are kept."""
        return self._path.with_name(self._path.name + ".conflicts")

    def conflicts(self) -> tuple[int, int]:
        """How many checkpoints were kept that prove a second history, and how many that merely do not extend."""
        names = [path.name for path in self.conflicts_folder.glob("*.shown")]
        proven = sum(name.endswith(".proven.shown") for name in names)
        return proven, len(names) - proven

    def latest(self, origin: str) -> Seen | None:
        """The last checkpoint cosigned of a log."""
        with self._turn:
            if self._doubted:
                self._load()
            return self._logs.get(origin)

    def keep(self, seen: Seen) -> None:
        """Replace a log's last checkpoint; durable on return."""
        with self._turn, self._writing():
            logs = {**self._logs, seen.checkpoint.origin: seen}
            self._doubted = True
            _replace(self._path, self._encoded(logs))
            self._logs, self._doubted = logs, False

    def keep_conflict(self, known: Seen, note: bytes, proven: bool) -> None:
        """Keep a pair of checkpoints; the same pair once."""
        digest = hashlib.sha256(parse_note(note).text).hexdigest()[:16]
        stem = f"{known.checkpoint.size}-{digest}.{'proven' if proven else 'unproven'}"
        with self._turn, self._writing():
            folder = self.conflicts_folder
            folder.mkdir(mode=0o700, exist_ok=True)
            if (folder / f"{stem}.shown").exists() or sum(self.conflicts()) >= CONFLICTS_LIMIT:
                return
            _replace(folder / f"{stem}.seen", known.note)
            _replace(folder / f"{stem}.shown", note)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            if self._doubted:
                self._load()
            yield
        except OSError as error:
            raise StateUnusable(f"{self._path} cannot be written ({error.strerror}): nothing is cosigned") from None

    def _encoded(self, logs: Mapping[str, Seen]) -> bytes:
        seen = {origin: one.note.decode() for origin, one in sorted(logs.items())}
        return _encode({"format": FORMAT, "keys": [str(key) for key in self.keys], "logs": seen})

    def _load(self) -> tuple[VerifierKey, ...]:
        try:
            read = _decode(self._path.read_bytes())
            keys = tuple(VerifierKey.parse(text) for text in read["keys"])
            self._logs = {origin: _seen(origin, note.encode(), keys) for origin, note in read["logs"].items()}
        except FileNotFoundError:
            raise StateUnusable(
                f"there is no state {self._path}: `trial-ledger witness --init` makes a new witness; an existing one "
                "without its state must not go on, for it would cosign another history"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NotProven) as error:
            raise StateUnusable(f"{self._path} is not the state of a witness, or was damaged: {error}") from None
        self._doubted = False
        return keys


def _seen(origin: str, note: bytes, keys: Sequence[VerifierKey]) -> Seen:
    """What the state says was cosigned, when this witness did cosign it."""
    opened = open_checkpoint(note, [verifier_of(key) for key in keys], origin)
    return Seen(opened.checkpoint, note, max(time_of(line.signature) for line in opened.good))


def _cosigners(key: SigningKey, name: str, post_quantum: bool) -> list[Cosigner]:
    seed = unb64url(key.private_jwk()["d"])
    cosigners: list[Cosigner] = [Ed25519Cosigner(name, seed)]
    if post_quantum:
        hkdf = HKDF(algorithm=SHA256(), length=_SEED_BYTES, salt=b"trial-ledger witness key ML-DSA-44", info=b"")
        cosigners.append(Mldsa44Cosigner(name, hkdf.derive(seed)))
    return cosigners


def _encode(state: Mapping[str, Any]) -> bytes:
    text = json.dumps(state, ensure_ascii=False, indent=1).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"


def _decode(data: bytes) -> dict[str, Any]:
    digest, _, rest = data.partition(b"\n")
    text = rest.removesuffix(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise ValueError("its digest does not fit its contents")
    read = json.loads(text)
    if not isinstance(read, dict) or read.get("format") != FORMAT or not read.get("keys"):
        raise ValueError(f"it is not in the format {FORMAT}")
    return read


def _replace(path: Path, data: bytes) -> None:
    """Give a file new contents: either all of them or the old ones, durable on return."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
