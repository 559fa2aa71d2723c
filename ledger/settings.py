"""Configuration: environment variables, each documented here, validated at start.

TRIAL_LEDGER_HOME           folder of this installation (default: the user's data directory)
TRIAL_LEDGER_DATABASE_URL   PostgreSQL 15 or later, as the application's role (default: embedded, in the home)
TRIAL_LEDGER_ADMIN_URL      the same database as an administrator; only for `init` and migrations
TRIAL_LEDGER_PROJECTOR_URL  the same database as the projector's role (default: embedded)
TRIAL_LEDGER_ORIGIN         host part of every log's origin; fixed when the home is made
TRIAL_LEDGER_GENESIS_KEYS   thumbprints of registrar keys that may open a study, separated by spaces or commas
TRIAL_LEDGER_PASSPHRASE_FILE  file outside the home, mode 0600: the passphrase that the home's keys are encrypted
                            under (default: one generated in the home, which protects nothing)
TRIAL_LEDGER_SIGNER_URL     a PostgreSQL cluster other than the ledger's, where the signers of several hosts share their
                            state (default: files in the home, for one host)
TRIAL_LEDGER_SIGNER_COMMAND  command that signs for the logs, with keys that a KMS or a PKCS#11 module keeps to itself
                            (`external_signer`; default: keys derived from the home's own seed)
TRIAL_LEDGER_POLICY         folder of the studies' trust policies, `<STUDY>.policy` (default: `policies` in the home)
TRIAL_LEDGER_TIMESTAMP_URLS addresses of time stamping authorities (RFC 3161), separated by spaces or commas
TRIAL_LEDGER_TIMESTAMP_ROOTS  PEM file with the roots that those authorities' certificates must lead to
TRIAL_LEDGER_SESSION_IDLE_MINUTES  how long a signing session may rest, 1 to 30 (default 15)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_data_path

VARIABLES = (
    "TRIAL_LEDGER_HOME",
    "TRIAL_LEDGER_DATABASE_URL",
    "TRIAL_LEDGER_ADMIN_URL",
    "TRIAL_LEDGER_PROJECTOR_URL",
    "TRIAL_LEDGER_ORIGIN",
    "TRIAL_LEDGER_GENESIS_KEYS",
    "TRIAL_LEDGER_PASSPHRASE_FILE",
    "TRIAL_LEDGER_SIGNER_URL",
    "TRIAL_LEDGER_SIGNER_COMMAND",
    "TRIAL_LEDGER_SESSION_IDLE_MINUTES",
    "TRIAL_LEDGER_POLICY",
    "TRIAL_LEDGER_TIMESTAMP_URLS",
    "TRIAL_LEDGER_TIMESTAMP_ROOTS",
)
LONGEST_IDLE_MINUTES = 30
"""A session left open longer is no continuous one (21 CFR 11.200(a)(1))."""
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


class SettingsError(Exception):
    """The configuration cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, checked."""

    home: Path
    database_url: str | None = None
    admin_url: str | None = None
    projector_url: str | None = None
    origin: str | None = None
    genesis_keys: frozenset[str] = frozenset()
    passphrase_file: Path | None = None
    session_idle: timedelta = timedelta(minutes=15)
    policy_folder: Path | None = None
    timestamp_urls: tuple[str, ...] = ()
    timestamp_roots: Path | None = None
    signer_url: str | None = None
    signer_command: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from environment variables; raises SettingsError naming the variable."""
        given = {k: v.strip() for k, v in (environment or os.environ).items() if k in VARIABLES and v.strip()}
        unknown = [
            name
            for name in (environment or os.environ)
            if name.startswith("TRIAL_LEDGER_") and name not in VARIABLES and not name.startswith("TRIAL_LEDGER_TEST_")
        ]
        if unknown:
            raise SettingsError(f"{', '.join(sorted(unknown))}: no such setting; known are {', '.join(VARIABLES)}")
        url, projector = given.get("TRIAL_LEDGER_DATABASE_URL"), given.get("TRIAL_LEDGER_PROJECTOR_URL")
        if (url is None) != (projector is None):
            raise SettingsError(
                "TRIAL_LEDGER_DATABASE_URL and TRIAL_LEDGER_PROJECTOR_URL go together: "
                "set both for your own PostgreSQL, or neither for the embedded one"
            )
        keys = frozenset(re.split(r"[\s,]+", given.get("TRIAL_LEDGER_GENESIS_KEYS", ""))) - {""}
        wrong = sorted(key for key in keys if not _THUMBPRINT.fullmatch(key))
        if wrong:
            raise SettingsError(f"TRIAL_LEDGER_GENESIS_KEYS: {wrong[0]!r} is not a SHA-256 thumbprint (43 characters)")
        home, passphrase = given.get("TRIAL_LEDGER_HOME"), given.get("TRIAL_LEDGER_PASSPHRASE_FILE")
        return cls(
            Path(home).expanduser() if home else user_data_path("trial-ledger", appauthor=False),
            url,
            given.get("TRIAL_LEDGER_ADMIN_URL"),
            projector,
            given.get("TRIAL_LEDGER_ORIGIN"),
            keys,
            Path(passphrase).expanduser() if passphrase else None,
            _idle(given.get("TRIAL_LEDGER_SESSION_IDLE_MINUTES", "15")),
            _folder(given.get("TRIAL_LEDGER_POLICY")),
            _addresses(given.get("TRIAL_LEDGER_TIMESTAMP_URLS", "")),
            _file(given.get("TRIAL_LEDGER_TIMESTAMP_ROOTS")),
            given.get("TRIAL_LEDGER_SIGNER_URL"),
            given.get("TRIAL_LEDGER_SIGNER_COMMAND"),
        )


def _idle(given: str) -> timedelta:
    if not given.isascii() or not given.isdecimal() or not 1 <= int(given) <= LONGEST_IDLE_MINUTES:
        raise SettingsError(
            f"TRIAL_LEDGER_SESSION_IDLE_MINUTES is {given[:20]!r}, not a whole number from 1 to {LONGEST_IDLE_MINUTES}"
        )
    return timedelta(minutes=int(given))


def _folder(given: str | None) -> Path | None:
    path = Path(given).expanduser() if given else None
    if path is not None and not path.is_dir():
        raise SettingsError(f"TRIAL_LEDGER_POLICY: there is no folder {path}")
    return path


def _file(given: str | None) -> Path | None:
    path = Path(given).expanduser() if given else None
    if path is not None and not path.is_file():
        raise SettingsError(f"TRIAL_LEDGER_TIMESTAMP_ROOTS: there is no file {path}")
    return path


def _addresses(given: str) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(url for url in re.split(r"[\s,]+", given) if url))
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"TRIAL_LEDGER_TIMESTAMP_URLS: {url!r} is not the address of an authority: http(s)://..."
            )
    return urls
