"""The home of one installation: where its keys, the signer's state and the embedded database live.

 keys/<name>.jwk        signing keys of this installation's own actors (registrar, imports), mode 0600
 keys/log-master.seed   32 bytes, mode 0600: every log's own keys are derived from it
 signer/<study>.state   what each log's signer signed last; outside the database on purpose
 quarantine/<study>.ndjson  rows that an import could not place, with the reason
 database/              the embedded PostgreSQL, where no database is configured
 origin                 the host part of every log's origin, fixed when the home is made

The folder is private (0700). Whoever reads it can sign as this installation; whoever loses it cannot continue
its logs: back it up apart from the database.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from ledger.merkle.log_keys import SEED_BYTES
from ledger.signing.keys import KeyFileError, SigningKey, load_key, save_key

HOST = re.compile(r"[a-z0-9.-]{1,200}(:\d{1,5})?")
"""The host part of an origin: lower case, with a port where there is one."""


class HomeError(Exception):
    """The installation's home cannot be used."""


class Home:
    """One installation's folder; made when it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        for folder in (self.path, self.path / "keys", self.path / "signer"):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                why = f"the home {folder} cannot be made ({error.strerror})"
                raise HomeError(f"{why}: let TRIAL_LEDGER_HOME name a folder of your own") from None

    @property
    def database(self) -> Path:
        """Where the embedded PostgreSQL keeps its data."""
        return self.path / "database"

    def signer_state(self, study: str) -> Path:
        """The signer's own state for one log."""
        return self.path / "signer" / f"{study}.state"

    def key(self, name: str) -> SigningKey:
        """A signing key of this installation, made at the first use."""
        path = self.path / "keys" / f"{name}.jwk"
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            save_key(fresh, SigningKey.generate("Ed25519"), None)
            _first(fresh, path)
        try:
            return load_key(path, None)
        except KeyFileError as error:
            raise HomeError(f"{error}; restore the file from the home's backup") from None

    def master_seed(self) -> bytes:
        """The seed that every log's keys are derived from, made at the first use."""
        seed = self._once("keys/log-master.seed", lambda: secrets.token_bytes(SEED_BYTES))
        if len(seed) != SEED_BYTES:
            raise HomeError(
                f"{self.path}/keys/log-master.seed has {len(seed)} bytes, not {SEED_BYTES}; restore it from the home's "
                "backup: without it no log of this installation can be continued"
            )
        return seed

    def origin_host(self, configured: str | None = None) -> str:
        """The host part of every log's origin: fixed at the first use; raises HomeError on another one."""
        wanted = configured or "ledger.localhost"
        if not HOST.fullmatch(wanted):
            raise HomeError(f"TRIAL_LEDGER_ORIGIN {wanted!r} is not a host name in lower case, like ledger.example.org")
        fixed = self._once("origin", lambda: wanted.encode()).decode()
        if configured is not None and fixed != configured:
            raise HomeError(
                f"TRIAL_LEDGER_ORIGIN is {configured!r}, but this home's logs are {fixed!r}: an origin never changes. "
                "Set it back, or use another TRIAL_LEDGER_HOME."
            )
        return fixed

    def _once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Read a small file, made atomically by whoever comes first."""
        path = self.path / name
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            _first(fresh, path)
        return path.read_bytes()


def _first(fresh: Path, path: Path) -> None:
    """Give `fresh` the name `path` unless somebody was first; either way `fresh` is gone."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
