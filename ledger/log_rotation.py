"""Changes of the log's own keys, as its signer learns of them: from the entries, and believing none of them.

A checkpoint of size N is signed by the keys in force after the entries below N (`Authority.log_keys_at`). A
LogKeyRotated takes effect at its own index, or where two registrars are required at the index of its countersignature.
Which indexes hold one is looked up by topic, so that the signer parses no other entry. It then takes nothing from the
database but the order to switch to *its own* next keys: the rotation must name exactly those, in a note that its own
old and new keys have signed. Whoever has the database alone cannot make it sign with another key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.merkle.log_keys import LogKeys, LogKeySource, is_rotation
from ledger.signer_state import SignerAlarm
from ledger.signing.statement import read_stored
from ledger.store import statements
from ledger.store.database import Conn

ROTATED, COUNTERSIGNED = "LogKeyRotated", "Countersigned"
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Rotation:
    """The log's keys changed: `index` is where that took effect, `log_keys` are the vkeys from there on."""

    index: int
    log_keys: tuple[str, ...]
    note: str


class Rotations:
    """The rotations of one log, read once. Not for several threads at once."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._forget()

    def _forget(self) -> None:
        self._seen: tuple[int, ...] = ()
        self._waiting: dict[str, dict[str, Any]] = {}
        self._position = 0
        self._found: list[Rotation] = []

    def below(self, connection: Conn, rotated: Sequence[int], size: int) -> list[Rotation]:
        """Those in effect below `size`, in order; `rotated` are the indexes of all LogKeyRotated below it."""
        if self._seen != tuple(rotated[: len(self._seen)]):  # a database that fell back
            self._forget()
        if not rotated:
            return []
        for index in rotated[len(self._seen) :]:
            self._read(connection, index)
        self._seen = tuple(rotated)
        if self._waiting:
            self._look_for_seconds(connection, size)
        return [one for one in self._found if one.index < size]

    def _read(self, connection: Conn, index: int) -> None:
        [row] = statements.select_events(connection, self._study, index, index + 1, 1)
        body = read_stored(row.jwt, row.disclosures).body
        if self._two_registrars(connection):
            self._position = self._position if self._waiting else index
            self._waiting[row.jti] = dict(body)
        else:
            self._effect(body, index)

    def _effect(self, body: Any, index: int) -> None:
        self._found.append(Rotation(index, tuple(body["log_keys"]), body["note"]))
        self._found.sort(key=lambda one: one.index)

    def _look_for_seconds(self, connection: Conn, size: int) -> None:
        while True:
            rows = statements.select_events(connection, self._study, self._position, size, PAGE, [COUNTERSIGNED])
            for row in rows:
                named = read_stored(row.jwt, row.disclosures).claims["countersigns"]["jti"]
                body = self._waiting.pop(named, None)
                if body is not None:
                    self._effect(body, row.idx)
            if len(rows) < PAGE:
                self._position = size
                return
            self._position = rows[-1].idx + 1

    def _two_registrars(self, connection: Conn) -> bool:
        [genesis] = statements.select_events(connection, self._study, 0, 1, 1)
        return bool(read_stored(genesis.jwt, genesis.disclosures).body.get("registrars_required", 1) > 1)


def rotations(connection: Conn, study: str, size: int) -> list[Rotation]:
    """The rotations in effect below `size`, looked up afresh."""
    rows = statements.select_events(connection, study, 0, size, PAGE, [ROTATED])
    return Rotations(study).below(connection, [row.idx for row in rows], size) if rows else []


def keys_below(source: LogKeySource, connection: Conn, study: str, size: int) -> LogKeys:
    """The log's keys for the checkpoint of `size` entries."""
    return source.of(1 + len(rotations(connection, study, size)))


def check_rotation(origin: str, number: int, rotation: Rotation, source: LogKeySource) -> None:
    """Whether the `number`-th rotation (from 1) is to this signer's own next keys; raises SignerAlarm."""
    old, new = source.of(number), source.of(number + 1)
    because = f"the rotation at index {rotation.index} of {origin} "
    if list(rotation.log_keys) != [str(key) for key in new.public()]:
        raise SignerAlarm(
            because + "names keys that this installation does not have",
            "The master seed was replaced, or another installation recorded the rotation. Restore the home's keys from "
            "its backup; nothing is signed until they are those of the log.",
            stops=False,
        )
    if not is_rotation(origin, rotation.note, old, new):
        raise SignerAlarm(
            because + "is not one that the log's own keys signed",
            "Somebody wrote to the database. Compare with a standby; sign nothing.",
        )
