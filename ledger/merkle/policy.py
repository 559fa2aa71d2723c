"""Trust policies (C2SP tlog-policy): which logs are believed, and which witnesses must have seen a checkpoint.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <k>|any|all <member>...
    quorum <name>|none

Whoever checks keeps this file and trusts nothing else, so it is read strictly: a name is defined before it is
used, is a member at most once, and stands for one thing; a public key stands once, under whatever name; there is
exactly one quorum. Items are separated by spaces and tabs. A line, or the rest of one, that begins with `#` is a
comment; the specification knows whole lines only, so no name here may begin with `#`, and what `str` writes has no
comments: every implementation reads it alike. The text is UTF-8, without other control characters. Pure, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ledger.merkle.cosignature import verifier_of
from ledger.merkle.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    Signature,
    Verifier,
    VerifierKey,
)

POLICY_LIMIT = 1_000_000
"""Bytes: several hundred post-quantum keys. The specification asks for 32 logs, witnesses and groups at least."""

NO_QUORUM = "none"
"""The quorum that asks for no witness; no witness and no group may be called so."""

LOG_KINDS = (ED25519, COSIGNATURE_MLDSA44)
WITNESS_KINDS = (COSIGNATURE_ED25519, COSIGNATURE_MLDSA44)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANK = re.compile(r"[ \t]+")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is believed, by its key; the key's name is the log's origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its name in the policy, its key, and where it is asked (its submission prefix)."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group, which has witnessed what at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuorumResult:
    """Whether a policy's quorum is met, which witnesses count for it, which could and do not, and why."""

    met: bool
    satisfied: tuple[str, ...]
    missing: tuple[str, ...]
    because: str

    def __bool__(self) -> bool:
        return self.met

    def __str__(self) -> str:
        return self.because


@dataclass(frozen=True)
class Policy:
    """A policy as parsed; equal to another when its canonical text is."""

    logs: tuple[VerifierKey, ...]
    witnesses: dict[str, Witness]
    quorum: str
    groups: dict[str, Group] = field(default_factory=dict)
    log_urls: tuple[str | None, ...] = ()

    @classmethod
    def parse(cls, text: str | bytes) -> Policy:
        """The policy of a text; ValueError names the line and what is wrong with it."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(data) > POLICY_LIMIT:
            raise ValueError(f"the policy has {len(data)} bytes; at most {POLICY_LIMIT} are read")
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise ValueError(f"line {number} of the policy is not UTF-8") from None
        reading = _Reading()
        for number, line in enumerate(lines, 1):
            try:
                reading.take(line)
            except ValueError as error:
                raise ValueError(f"line {number} of the policy: {error}") from None
        if reading.quorum is None:
            raise ValueError("the policy has no quorum line: write `quorum <name>`, or `quorum none`")
        logs = tuple(reading.logs)
        return cls(
            tuple(log.key for log in logs),
            reading.witnesses,
            reading.quorum,
            reading.groups,
            tuple(log.url for log in logs),
        )

    @classmethod
    def without_witnesses(cls, logs: Iterable[VerifierKey]) -> Policy:
        """The policy that believes these log keys and asks for no witness."""
        return cls.parse("".join(f"log {key}\n" for key in logs) + f"quorum {NO_QUORUM}\n")

    def __str__(self) -> str:
        """The canonical text: logs, witnesses, groups in order of definition, quorum; single spaces; a last LF."""
        return "".join(f"{' '.join(items)}\n" for items in self._lines())

    def _lines(self) -> Iterator[list[str]]:
        urls = self.log_urls or (None,) * len(self.logs)
        for key, url in zip(self.logs, urls, strict=True):
            yield ["log", str(key), *([url] if url else [])]
        for witness in self.witnesses.values():
            yield ["witness", witness.name, str(witness.key), *([witness.url] if witness.url else [])]
        for group in self.groups.values():
            yield ["group", group.name, str(group.threshold), *group.members]
        yield ["quorum", self.quorum]

    def log_verifiers(self, origin: str) -> list[Verifier]:
        """The verifiers of the keys of one log; empty where the policy does not know it."""
        return [verifier_of(key) for key in self.logs if key.name == origin]

    def witness_verifiers(self) -> list[Verifier]:
        """The verifiers of all witnesses."""
        return [verifier_of(witness.key) for witness in self.witnesses.values()]

    def evaluate(self, good: Iterable[Signature]) -> QuorumResult:
        """Whether these signatures, which the caller has verified, meet the quorum.

        Whoever is no witness of the policy does not count, nor does a witness that signed twice count twice.
        """
        signed = {(signature.name, signature.key_id) for signature in good}
        has = {name: (w.key.name, w.key.key_id) in signed for name, w in self.witnesses.items()}
        for group in self.groups.values():  # members are defined before: no recursion
            has[group.name] = sum(has[member] for member in group.members) >= group.threshold
        counting = self._counting()
        present = tuple(name for name in self.witnesses if name in counting and has[name])
        missing = tuple(name for name in self.witnesses if name in counting and not has[name])
        if self.quorum == NO_QUORUM:
            return QuorumResult(True, present, missing, "the policy asks for no witness")
        if has[self.quorum]:
            return QuorumResult(True, present, missing, f"the quorum {self.quorum} is met by {', '.join(present)}")
        return QuorumResult(False, present, missing, f"the quorum is not met: {self._lacking(has)}")

    def _counting(self) -> set[str]:
        """Every name that the quorum depends on."""
        found, waiting = set(), [self.quorum]
        while waiting:
            name = waiting.pop()
            found.add(name)
            if name in self.groups:
                waiting += self.groups[name].members
        return found

    def _lacking(self, has: dict[str, bool]) -> str:
        """What keeps the quorum from being met, from the quorum down to the witnesses."""
        said, waiting = [], [self.quorum]
        while waiting:
            name = waiting.pop(0)
            group = self.groups.get(name)
            if group is None:
                said.append(f"{name} has not cosigned")
                continue
            there = [member for member in group.members if has[member]]
            needs = f"{name} needs {group.threshold} of {', '.join(group.members)}"
            said.append(f"{needs} and has {', '.join(there) or 'none'}")
            waiting += [member for member in group.members if member in self.groups and not has[member]]
        return "; ".join(said)


class _Reading:
    """What was defined by the lines so far."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()
        self._keys: dict[bytes, str] = {}

    def take(self, line: str) -> None:
        """Add what a line defines; ValueError says what is wrong with it."""
        control = _CONTROL.search(line)
        if control:
            hint = ": end lines with a line feed alone" if control[0] == "\r" else ""
            raise ValueError(f"the control character {control[0]!r} is not allowed{hint}")
        items = _items(line)
        if not items:
            return
        word, *rest = items
        taker = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum}.get(word)
        if taker is None:
            raise ValueError(f"{word[:40]!r} begins no line of a policy; log, witness, group and quorum do")
        taker(rest)

    def _log(self, items: list[str]) -> None:
        if not 1 <= len(items) <= 2:
            raise ValueError("a log is `log <vkey> [<url>]`")
        key = self._key(items[0], "log", LOG_KINDS)
        self.logs.append(Log(key, *items[1:]))

    def _witness(self, items: list[str]) -> None:
        if not 2 <= len(items) <= 3:
            raise ValueError("a witness is `witness <name> <vkey> [<url>]`")
        name = self._fresh(items[0])
        self.witnesses[name] = Witness(name, self._key(items[1], "witness", WITNESS_KINDS), *items[2:])

    def _group(self, items: list[str]) -> None:
        if len(items) < 3:
            raise ValueError("a group is `group <name> <k>|any|all <member>...`, with at least one member")
        name, k, *members = items
        self._fresh(name)
        for member in members:
            self._known(member, "a member")
            if member in self._members:
                raise ValueError(f"{member!r} is a member already: it would count twice")
            self._members.add(member)
        self.groups[name] = Group(name, _threshold(k, len(members)), tuple(members))

    def _quorum(self, items: list[str]) -> None:
        if len(items) != 1:
            raise ValueError("a quorum is `quorum <name>` or `quorum none`")
        if self.quorum is not None:
            raise ValueError("there is a quorum already, and a policy has one")
        if items[0] != NO_QUORUM:
            self._known(items[0], "the quorum")
        self.quorum = items[0]

    def _key(self, text: str, what: str, kinds: tuple[int, ...]) -> VerifierKey:
        key = VerifierKey.parse(text)
        if key.kind not in kinds:
            wanted = " or ".join(f"{kind:#04x}" for kind in kinds)
            raise ValueError(f"the key of a {what} has the type {wanted}, not {key.kind:#04x}")
        if key.public in self._keys:
            raise ValueError(f"{key.name} has the same public key as {self._keys[key.public]}: one key, one name, once")
        self._keys[key.public] = key.name
        return key

    def _fresh(self, name: str) -> str:
        if name == NO_QUORUM:
            raise ValueError(f"nobody may be called {NO_QUORUM!r}")
        if name in self.witnesses or name in self.groups:
            raise ValueError(f"{name!r} is defined already")
        return name

    def _known(self, name: str, what: str) -> None:
        if name == NO_QUORUM:
            raise ValueError(f"{NO_QUORUM!r} is nobody and cannot be {what}")
        if name not in self.witnesses and name not in self.groups:
            raise ValueError(f"{name[:80]!r} is not defined above, so it cannot be {what}")


def _items(line: str) -> list[str]:
    """The items of a line, its comment left out."""
    items = _BLANK.split(line.strip(" \t"))
    comment = next((at for at, item in enumerate(items) if item.startswith("#")), len(items))
    return [item for item in items[:comment] if item]


def _threshold(text: str, members: int) -> int:
    if text in ("any", "all"):
        return 1 if text == "any" else members
    if not _THRESHOLD.fullmatch(text) or int(text) > members:
        raise ValueError(f"{text[:20]!r} of {members} members is no group: any, all, or a number from 1 to {members}")
    return int(text)
