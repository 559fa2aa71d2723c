"""The secrets of one installation at rest: sealed under a key that only a passphrase opens.

 <name>.sealed   a secret, AES-256-GCM under the data key, bound to its name so that files cannot be swapped
 wrapped.json    the data key, AES-256-GCM under scrypt (RFC 7914) of the passphrase
 passphrase      a generated passphrase, only where none was given: it lies beside what it opens and protects nothing

The passphrase comes from a file outside the home. Changing it wraps the same data key anew, in one rename, so a
process that is running goes on and one that is killed meanwhile leaves the old or the new one, never neither. Files
are 0600 and the folder is 0700: wider ones are made so, and that is said; somebody else's are refused. scrypt runs
once a process, whatever is read.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

WRAPPED, GENERATED = "wrapped.json", "passphrase"
WRAP_FORMAT, SEAL_FORMAT = "trial-ledger-keys/1", "trial-ledger-sealed/1"

GIVEN_COST = (2**14, 8, 5)
"""scrypt's n, r, p for a passphrase that a person chose: as costly as OWASP asks (2023), 16 MiB, about 0.2 s."""
GENERATED_COST = (2**10, 8, 1)
"""For one of 256 random bits, which needs no cost: a few milliseconds."""
HIGHEST_COST = 2**20
"""n * r * p above which a file is damaged rather than careful."""
SHORTEST_PASSPHRASE = 12
"""Characters: shorter ones are guessed, whatever scrypt costs."""
LONGEST_FILE = 65_536
"""Bytes of any file read here."""

_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 16, 12
_OPENED: dict[bytes, bytes] = {}
"""Data keys by digest of the wrapped one and the passphrase: scrypt runs once a process."""


class HomeError(Exception):
    """The installation's home cannot be used."""


def read_secret_file(file: Path) -> bytes:
    """The one line of a file that only its owner can read. Raises HomeError."""
    named = f"the passphrase file {file}"
    try:
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise HomeError(f"{named} can be read by others: run `chmod 600 {file}`")
        data = file.read_bytes()[:LONGEST_FILE]
    except OSError as error:
        raise HomeError(f"{named} cannot be read ({error.strerror}): name another") from None
    line = data.rstrip(b"\r\n")
    if b"\n" in line or b"\0" in line:
        raise HomeError(f"{named} has more than one line")
    return line


def check_passphrase(passphrase: bytes) -> bytes:
    """The passphrase, if it is long enough. Raises HomeError."""
    if len(passphrase.decode("utf-8", "replace")) < SHORTEST_PASSPHRASE:
        raise HomeError(f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters: choose a longer one")
    return passphrase


def read_passphrase(file: Path, home: Path) -> bytes:
    """The passphrase in a file: one line, readable by its owner only, outside the home. Raises HomeError."""
    if file.absolute().resolve().is_relative_to(home.resolve()):
        because = f"the passphrase file {file} lies in the home that it protects"
        raise HomeError(f"{because}: keep it elsewhere, such as in a secret's mount")
    return check_passphrase(read_secret_file(file))


class KeyStore:
    """The sealed secrets in one folder, which is made when it does not exist."""

    def __init__(self, folder: Path, passphrase_file: Path | None = None) -> None:
        self.folder, self._file = folder, passphrase_file

    @property
    def protects(self) -> bool:
        """Whether the passphrase lies elsewhere than what it opens."""
        return not (self.folder / GENERATED).exists()

    def read(self, name: str) -> bytes | None:
        """A secret, or None where there is none; raises HomeError."""
        path = self.folder / f"{name}.sealed"
        if not path.exists():
            return None
        sealed = _read(path)
        try:
            parts = _parts(sealed, SEAL_FORMAT)
            nonce, text = b64decode(parts["nonce"], validate=True), b64decode(parts["sealed"], validate=True)
            return AESGCM(self._data_key()).decrypt(nonce, text, f"{SEAL_FORMAT} {name}".encode())
        except (ValueError, KeyError, TypeError, RecursionError, InvalidTag):
            raise HomeError(f"{path} is damaged; restore the file from the home's backup") from None

    def once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A secret, made by whoever asks first."""
        found = self.read(name)
        if found is not None:
            return found
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._data_key()).encrypt(nonce, make(), f"{SEAL_FORMAT} {name}".encode())
        text = _text({"format": SEAL_FORMAT, "nonce": b64encode(nonce).decode(), "sealed": b64encode(sealed).decode()})
        write_first(self.folder / f"{name}.sealed", text)
        made = self.read(name)
        assert made is not None
        return made

    def change_passphrase(self, new: bytes) -> None:
        """Wrap the data key under another passphrase; a generated one is forgotten. Killed anywhere, one of the two
        opens it."""
        check_passphrase(new)
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            data_key = self._data_key()
            path = self.folder / WRAPPED
            fresh = _draft(path, _wrap(data_key, new, GIVEN_COST))
            os.replace(fresh, path)
            sync_folder(self.folder)
            (self.folder / GENERATED).unlink(missing_ok=True)
            sync_folder(self.folder)
        finally:
            os.close(lock)

    def _data_key(self) -> bytes:
        path = self.folder / WRAPPED
        passphrase = self._passphrase(path)
        if not path.exists():
            cost = GENERATED_COST if self._file is None else GIVEN_COST
            write_first(path, _wrap(secrets.token_bytes(_KEY_BYTES), passphrase, cost))
        wrapped = _read(path)
        known = sha256(sha256(wrapped).digest() + passphrase).digest()
        if known not in _OPENED:
            _OPENED[known] = self._unwrap(path, wrapped, passphrase)
        return _OPENED[known]

    def _passphrase(self, wrapped: Path) -> bytes:
        if self._file is not None:
            return read_passphrase(self._file, self.folder.parent)
        generated = self.folder / GENERATED
        if not generated.exists():
            if wrapped.exists():
                raise HomeError(
                    f"the keys in {self.folder} are encrypted under a passphrase: let TRIAL_LEDGER_PASSPHRASE_FILE "
                    "name the file that holds it"
                )
            write_first(generated, secrets.token_urlsafe(_KEY_BYTES).encode())
        return _read(generated)

    def _unwrap(self, path: Path, wrapped: bytes, passphrase: bytes) -> bytes:
        try:
            parts = _parts(wrapped, WRAP_FORMAT)
            n, r, p = (int(parts[name]) for name in ("n", "r", "p"))
            salt, nonce, text = (b64decode(parts[name], validate=True) for name in ("salt", "nonce", "wrapped"))
            if not 0 < n * r * p <= HIGHEST_COST or len(salt) != _SALT_BYTES:
                raise ValueError("no parameters of ours")
            key = _derive(passphrase, salt, (n, r, p))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise HomeError(f"{path} is damaged; restore the file from the home's backup") from None
        try:
            return AESGCM(key).decrypt(nonce, text, _bound(n, r, p, salt))
        except InvalidTag:
            raise HomeError(self._wrong(path)) from None

    def _wrong(self, path: Path) -> str:
        if self._file is None:
            return (
                f"the keys in {self.folder} do not open under the passphrase in the home: let "
                f"TRIAL_LEDGER_PASSPHRASE_FILE name the right one, or restore {path.name} from the home's backup"
            )
        if not self.protects:
            return (
                f"the keys in {self.folder} are still under the passphrase that was generated in the home: run "
                "`trial-ledger keys change-passphrase` without TRIAL_LEDGER_PASSPHRASE_FILE first"
            )
        return (
            f"the passphrase in {self._file} is not that of the keys in {self.folder}: name the right file, or restore "
            f"{path.name} from the home's backup"
        )


def guard_folder(folder: Path) -> None:
    """Make a folder, private to its owner; one that is wider is narrowed, and that is said. Raises HomeError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _narrow(folder, 0o700)
    except OSError as error:
        why = f"the home {folder} cannot be made ({error.strerror})"
        raise HomeError(f"{why}: let TRIAL_LEDGER_HOME name a folder of your own") from None


def write_first(path: Path, data: bytes) -> None:
    """Give a file its content unless somebody was first: complete or not at all, durable on return."""
    fresh = _draft(path, data)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def say(text: str) -> None:
    """Something that whoever runs this should know and that no data stream should hold."""
    sys.stderr.write(f"{text}\n")


def _draft(path: Path, data: bytes) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _read(path: Path) -> bytes:
    try:
        _narrow(path, 0o600)
        with open(path, "rb") as file:
            return file.read(LONGEST_FILE)
    except OSError as error:
        raise HomeError(f"{path} cannot be read ({error.strerror})") from None


def _narrow(path: Path, mode: int) -> None:
    """Take others' rights away; refuse what belongs to somebody else."""
    if os.name != "posix":
        return
    found = path.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise HomeError(f"{path} belongs to another user of this machine: run as that user, or use another home")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(mode)
        say(
            f"{path} was open to other users of this machine (mode {stat.S_IMODE(found.st_mode):o}) and is now "
            f"{mode:o}: whoever read it meanwhile may have the keys."
        )


def _wrap(data_key: bytes, passphrase: bytes, cost: tuple[int, int, int]) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    n, r, p = cost
    wrapped = AESGCM(_derive(passphrase, salt, cost)).encrypt(nonce, data_key, _bound(n, r, p, salt))
    parts = {"salt": salt, "nonce": nonce, "wrapped": wrapped}
    coded = {name: b64encode(value).decode() for name, value in parts.items()}
    return _text({"format": WRAP_FORMAT, "kdf": "scrypt", "n": n, "r": r, "p": p, **coded})


def _derive(passphrase: bytes, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return Scrypt(salt=salt, length=_KEY_BYTES, n=n, r=r, p=p).derive(passphrase)


def _bound(n: int, r: int, p: int, salt: bytes) -> bytes:
    return f"{WRAP_FORMAT} scrypt {n} {r} {p} ".encode() + salt


def _text(parts: dict[str, str | int]) -> bytes:
    return json.dumps(parts).encode() + b"\n"


def _parts(data: bytes, form: str) -> dict[str, str]:
    parts = json.loads(data)
    if not isinstance(parts, dict) or parts.get("format") != form:
        raise ValueError(f"not {form}")
    return parts
