"""What the process that asks the witnesses noted about them: one small file a study, read by every process.

Only what went wrong is here; what went right are the cosignature rows. Losing the file loses words, no evidence.
A failure is forgotten when the witness cosigns again. That a witness forgot what it cosigned is not: it stands for as
long as its key does.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Container
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a person has to look at: why, and what to do."""

    because: str
    remedy: str


@dataclass(frozen=True, slots=True)
class WitnessNote:
    """A witness that failed: its last error in words, when it began to fail, when it is asked again (POSIX seconds)."""

    error: str | None = None
    failing_since: float | None = None
    next_try: float | None = None
    alarm: Alarm | None = None


class Notes:
    """The file of one study. `failed`, `answered` and `set_problem` are for the one process that asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem, self._notes = self.read()
        self._forgetful = self.forgetful()

    def read(self) -> tuple[str | None, dict[str, WitnessNote]]:
        """The policy's problem, and the notes by the witness's name; nothing when the file is missing or unreadable."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            notes = {
                name: WitnessNote(**{**note, "alarm": Alarm(**note["alarm"]) if note["alarm"] else None})
                for name, note in found["witnesses"].items()
            }
            return found["problem"], notes
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None, {}

    def forgetful(self) -> dict[str, Alarm]:
        """The keys of witnesses that stated less than they had cosigned, as `<name>+<key id>`, and what to do."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8")).get("forgetful", {})
            return {key: Alarm(**alarm) for key, alarm in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def forgot(self, key: str, alarm: Alarm) -> None:
        """Note that the witness with this key forgot what it had cosigned; the first time counts."""
        if key not in self._forgetful:
            self._forgetful[key] = alarm
            self._write()

    def of(self, name: str) -> WitnessNote:
        """The note of one witness; an empty one where all is well."""
        return self._notes.get(name, WitnessNote())

    def failed(self, name: str, error: str, alarm: Alarm | None, now: float, next_try: float) -> None:
        """Note a failure. An alarm stands until the witness cosigns again, whatever it fails at in between."""
        before = self.of(name)
        since = before.failing_since if before.failing_since is not None else now
        self._set(name, WitnessNote(error, since, next_try, alarm or before.alarm))

    def answered(self, name: str) -> None:
        """Note that a witness cosigned."""
        if name in self._notes:
            del self._notes[name]
            self._write()

    def set_problem(self, problem: str | None, witnesses: Container[str] | None = None) -> None:
        """Note what is wrong with the policy, and forget whoever it no longer names."""
        self._problem = problem
        if witnesses is not None:
            self._notes = {
                name: replace(note, next_try=None) for name, note in self._notes.items() if name in witnesses
            }
        self._write()

    def _set(self, name: str, note: WitnessNote) -> None:
        self._notes[name] = note
        self._write()

    def _write(self) -> None:
        """Replace the file; a disk that is full keeps nobody from asking."""
        noted = {name: asdict(note) for name, note in self._notes.items()}
        forgetful = {key: asdict(alarm) for key, alarm in self._forgetful.items()}
        text = json.dumps({"problem": self._problem, "witnesses": noted, "forgetful": forgetful})
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        with suppress(OSError):
            try:
                draft.write_text(text, encoding="utf-8")
                os.replace(draft, self._path)
            finally:
                draft.unlink(missing_ok=True)
