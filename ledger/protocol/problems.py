"""What is wrong with a protocol file or with an interpretation, all of it, in plain words.

One place says what, where (the path into the file) and on which line; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Where in the file: keys of mappings and places in lists, from the top."""

MAX_PROBLEMS = 200  # a file with more is broken as a whole; a longer list helps nobody


class Problem(NamedTuple):
    """One defect: `path` such as `criteria.I03.expression.all[1]`, `line` from 1, or None where unknown."""

    path: str
    line: int | None
    message: str

    def __str__(self) -> str:
        where = self.path or "the file"
        line = "" if self.line is None else f"line {self.line}, "
        return f"{line}{where}: {self.message}"


def dotted(path: Path) -> str:
    """`("cohorts", "A", "seats")` as `cohorts.A.seats`; places in lists as `[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


class ProtocolError(ValueError):
    """What the protocol or what is asked of it is not valid; `problems` lists everything that is wrong."""

    opening = "The protocol has problems"

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)[:MAX_PROBLEMS]
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{self.opening} ({len(self.problems)}):\n{listed}")


class BrokenProtocol(ProtocolError):
    """The protocol file cannot be used; correct every line named and load it again."""

    opening = "The protocol file cannot be used"


class InvalidResolution(ProtocolError):
    """An interpretation does not fit the ambiguity that it resolves."""

    opening = "The interpretation does not fit the protocol"


class UnknownVersion(LookupError):
    """The protocol file has no version of this label."""


class UnknownStudy(LookupError):
    """No protocol file of this study is shipped."""
