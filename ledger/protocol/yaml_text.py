"""YAML text to plain data, strictly, remembering the line of every value.

Rules: one document of mappings, lists, text, whole numbers, `true`, `false` and `null`. Refused: a key twice
(YAML readers silently keep the last), anchors, aliases and merge keys (they expand), tags, fractions and
exponents (quantities are quoted decimal strings, never floats), words and numbers that YAML 1.1 and 1.2 read
differently (`no`, `0x1f`, `010`, `1_000`, `12:30`), text that is not what it looks like (control characters,
bidirectional overrides), more than MAX_BYTES and more than MAX_DEPTH. Dates are text.

The parser of PyYAML reports events; the data is built from these here, so that nothing is ever constructed
that this module does not name.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from ledger.protocol.problems import MAX_PROBLEMS, BrokenProtocol, Path, Problem, dotted

MAX_BYTES = 180_000  # 256 KiB of statement, less base64 (4/3) and JSON escapes: what can still be adopted
MAX_DEPTH = 40  # deeper than any criterion needs; recursion stays far from the interpreter's limit

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_FRACTION = re.compile(r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=e))(e[-+]?\d+)?|[-+]?\.(inf|nan)", re.I | re.A)
_UNSURE_NUMBER = re.compile(r"[-+]?(0[xob]?[0-9a-f_]+|[0-9][0-9_]*|[0-9_]+(:[0-5]?[0-9])+(\.[0-9_]*)?)", re.I)
_UNSURE_WORD = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_DECEPTIVE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


class Tree(NamedTuple):
    """The data of a file, and the line (from 1) of every path in it."""

    data: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int | None:
        """The line of the path, or of the nearest thing around it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read(text: str) -> Tree:
    """Data and lines of one YAML document; BrokenProtocol lists everything refused."""
    problem = _unreadable(text)
    if problem is not None:
        raise BrokenProtocol([problem])
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
            if builder.stopped:
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        builder.problems.append(Problem("", mark.line + 1 if mark else None, f"this is not YAML: {said}"))
    except yaml.YAMLError as error:
        builder.problems.append(Problem("", None, f"this is not YAML: {error}"))
    if not builder.problems and not isinstance(builder.root, dict):
        builder.problems.append(Problem("", 1, "a protocol file is a mapping of named sections"))
    if builder.problems:
        raise BrokenProtocol(builder.problems)
    return Tree(builder.root, builder.lines)


def _unreadable(text: str) -> Problem | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Problem("", None, "the text holds half of a surrogate pair, which is no character")
    if size > MAX_BYTES:
        return Problem("", None, f"the file has {size:,} bytes; one statement takes {MAX_BYTES:,}")
    found = _DECEPTIVE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        return Problem("", line, f"the character U+{ord(found.group()):04X} is not seen as it is: remove it")
    return None


class _Open(NamedTuple):
    """A mapping or list being filled; `key` holds the key whose value comes next."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: list[str]


class _Builder:
    """Builds data from the parser's events; `stopped` once going on would say nothing more."""

    def __init__(self) -> None:
        self.root: Any = None
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.stopped = False
        self._stack: list[_Open] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(line, "a second document begins here; a file is one document", stop=True)
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(line, f"the alias *{event.anchor} is refused: write the value out", stop=True)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._refuse_marks(event, line)
            self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._stack.pop()
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_marks(event, line)
            self._scalar(event, line)
        self.stopped = self.stopped or len(self.problems) >= MAX_PROBLEMS

    def _refuse(self, line: int, message: str, stop: bool = False) -> None:
        path = self._here()
        self.problems.append(Problem(dotted(path), line, message))
        self.stopped = self.stopped or stop

    def _refuse_marks(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.anchor is not None:
            self._refuse(line, f"the anchor &{event.anchor} is refused: write values out", stop=True)
        if event.tag is not None:
            self._refuse(line, f"the tag {event.tag} is refused: values are plain")

    def _here(self) -> Path:
        """The path of the value that comes next."""
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key[0]) if top.key else top.path

    def _begin(self, value: dict[str, Any] | list[Any], line: int) -> None:
        if self._key_expected():
            self._refuse(line, "a mapping or list cannot be a key", stop=True)
            return
        path = self._here()
        self._put(value, line)
        self._stack.append(_Open(value, path, []))
        if len(self._stack) > MAX_DEPTH:
            self._refuse(line, f"nested deeper than {MAX_DEPTH} levels", stop=True)

    def _key_expected(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].key

    def _put(self, value: Any, line: int) -> None:
        path = self._here()
        self.lines.setdefault(path, line)
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key.pop()] = value

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        value: Any = event.value
        if event.implicit[0] and event.tag is None:
            value = self._plain(event.value, line)
        if not self._key_expected():
            self._put(value, line)
            return
        top = self._stack[-1]
        assert isinstance(top.value, dict)
        if not isinstance(value, str):
            self._refuse(line, f"the key {event.value!r} is not text: quote it")
            value = event.value
        if value in top.value:
            first = self.lines.get((*top.path, value))
            path = dotted((*top.path, value))
            self.problems.append(Problem(path, line, f"{value!r} stands here twice, first on line {first}"))
        top.key.append(value)
        self.lines.setdefault((*top.path, value), line)

    def _plain(self, text: str, line: int) -> Any:
        """What an unquoted word means; only meanings that every YAML version shares."""
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _WHOLE.fullmatch(text):
            return int(text)
        if _FRACTION.fullmatch(text):
            self._refuse(line, f"{text} is a fraction: write quantities as quoted decimals, '{text}'")
        elif text.lower() in _UNSURE_WORD or _UNSURE_NUMBER.fullmatch(text) or text in ("<<", "="):
            self._refuse(line, f"YAML readers disagree about {text}: write true, false, null, or quote it")
        return text
