"""The home of one installation: where its keys, the signer's state and the embedded database live.

 keys/<name>.sealed     signing keys of this installation's own actors (registrar, ledger, imports), encrypted;
                        `ledger-2` and so on are those that `ledger` seals with after a rotation
 keys/log-master.sealed the seed that every log's own keys are derived from, encrypted
 keys/accounts.sealed   without it no person's custodial key opens, and no session or ceremony counts, encrypted
 keys/wrapped.json      what opens them, under the passphrase (`keystore`)
 signer/<study>.state   what each log's signer signed last; outside the database on purpose
 redactions/<study>.ndjson  what was redacted (digests), so that a restored database never serves it
 quarantine/<study>.ndjson  rows that an import could not place, with the reason
 database/              the embedded PostgreSQL, where no database is configured
 origin                 the host part of every log's origin, fixed when the home is made

keys/ and signer/ are private (0700). Whoever has them and the passphrase can sign as this installation; whoever loses
them cannot continue its logs: back them up apart from the database, and the passphrase apart from both.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from ledger.keystore import HomeError, KeyStore, guard_folder, say, write_first
from ledger.merkle.log_keys import SEED_BYTES
from ledger.signing.keys import KeyFileError, SigningKey, load_key

__all__ = ["Home", "HomeError"]

HOST = re.compile(r"[a-z0-9.-]{1,200}(:\d{1,5})?")
"""The host part of an origin: lower case, with a port where there is one."""
MASTER = "log-master"
"""The name of the master seed among the secrets."""
SEAL = "ledger"
"""The name of the first key of the actor `ledger`; the later ones have their number behind it."""


class Home:
    """One installation's folder; made when it does not exist. `passphrase_file` holds what its keys are under; without
    one a passphrase is generated in the home, which protects nothing."""

    def __init__(self, path: Path, passphrase_file: Path | None = None) -> None:
        self.path = path.absolute()
        for folder in (self.path / "keys", self.path / "signer"):
            guard_folder(folder)
        self.secrets = KeyStore(self.path / "keys", passphrase_file)

    @property
    def database(self) -> Path:
        """Where the embedded PostgreSQL keeps its data."""
        return self.path / "database"

    def signer_state(self, study: str) -> Path:
        """The signer's own state for one log."""
        return self.path / "signer" / f"{study}.state"

    def redactions(self, study: str) -> Path:
        """The register of redactions of one study; its folder is made with the first."""
        return self.path / "redactions" / f"{study}.ndjson"

    def key(self, name: str) -> SigningKey:
        """A signing key of this installation, made at the first use; raises HomeError."""
        pem = self.secrets.read(name)
        try:
            if pem is None:
                pem = self._adopted(name, f"{name}.jwk", lambda file: load_key(file, None).to_pem())
            if pem is None:
                pem = self.secrets.once(name, lambda: SigningKey.generate("Ed25519").to_pem())
            return SigningKey.from_pem(pem)
        except KeyFileError as error:
            raise HomeError(f"{error}; restore the file from the home's backup") from None

    def seals(self) -> list[SigningKey]:
        """The keys of the actor `ledger` that this installation has, in the order of their making; at least one."""
        found = [self.key(SEAL)]
        while self.secrets.read(f"{SEAL}-{len(found) + 1}") is not None:
            found.append(self.key(f"{SEAL}-{len(found) + 1}"))
        return found

    def new_seal(self, generation: int) -> SigningKey:
        """The key of the actor `ledger` of a generation, counted from 1; made by whoever asks first."""
        return self.key(SEAL if generation == 1 else f"{SEAL}-{generation}")

    def master_seed(self) -> bytes:
        """The seed that every log's keys are derived from, made at the first use; raises HomeError."""
        seed = self.secrets.read(MASTER) or self._adopted(MASTER, f"{MASTER}.seed", _seed)
        return seed or self.secrets.once(MASTER, lambda: secrets.token_bytes(SEED_BYTES))

    def secret(self, name: str) -> bytes:
        """A secret of this installation, 32 bytes, made at the first use; raises HomeError."""
        return self.secrets.read(name) or self.secrets.once(name, lambda: secrets.token_bytes(SEED_BYTES))

    def _adopted(self, name: str, open_file: str, read: Callable[[Path], bytes]) -> bytes | None:
        """Seal a secret that an earlier release left open, and take the open file away."""
        path = self.path / "keys" / open_file
        if not path.exists():
            return None
        content = read(path)
        kept = self.secrets.once(name, lambda: content)
        if kept == content:
            path.unlink()
            say(f"{path} was not encrypted; it is now {name}.sealed. Copies in backups are as open as they were.")
        return kept

    def origin_host(self, configured: str | None = None) -> str:
        """The host part of every log's origin: fixed at the first use; raises HomeError on another one."""
        wanted = configured or "ledger.localhost"
        if not HOST.fullmatch(wanted):
            raise HomeError(f"TRIAL_LEDGER_ORIGIN {wanted!r} is not a host name in lower case, like ledger.example.org")
        path = self.path / "origin"
        if not path.exists():
            write_first(path, wanted.encode())
        fixed = path.read_bytes().decode()
        if configured is not None and fixed != configured:
            raise HomeError(
                f"TRIAL_LEDGER_ORIGIN is {configured!r}, but this home's logs are {fixed!r}: an origin never changes. "
                "Set it back, or use another TRIAL_LEDGER_HOME."
            )
        return fixed


def _seed(path: Path) -> bytes:
    seed = path.read_bytes()
    if len(seed) != SEED_BYTES:
        raise HomeError(
            f"{path} has {len(seed)} bytes, not {SEED_BYTES}; restore it from the home's backup: without it no log of "
            "this installation can be continued"
        )
    return seed
