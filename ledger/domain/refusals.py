"""Refusals and findings: a rule said once, from which every answer derives.

A *refusal* says why a statement was not recorded; a *finding* is derived from recorded facts and says which
rule they break. Each is a class whose docstring is its message; rule, remedy and source stand beside it, the
cause (with the indexes that show it) is given where it is raised. The HTTP problem, the command line's text
and the pages all derive from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

MAX_SHOWN = 100
"""Indexes that one refusal shows: enough to look at, and an answer stays small whatever was asked."""


class Refusal(Exception):
    """A statement was refused."""

    rule: ClassVar[str] = "REFUSED"
    status: ClassVar[int] = 409  # HTTP: 400 malformed, 401 signature, 403 authority, 404, 409 decision, 412, 413
    remedy: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def __init__(self, because: str, indexes: Sequence[int] = (), **details: Any) -> None:
        super().__init__(because)
        self.because = because
        self.indexes = tuple(indexes)
        self.details = details

    @property
    def title(self) -> str:
        """The rule in one sentence: the first paragraph of the class's docstring."""
        return " ".join((type(self).__doc__ or "").split("\n\n")[0].split())

    def as_dict(self) -> dict[str, Any]:
        """RFC 9457 members beside type and status: title, rule, because, remedy, indexes."""
        return {
            "title": self.title,
            "rule": self.rule,
            "because": self.because,
            "remedy": self.remedy,
            "source": self.source,
            "indexes": list(self.indexes[:MAX_SHOWN]),
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that recorded facts break: derived, never stored as fact.

    `indexes` are the records that show it, the first being the one it is about.
    """

    rule: str
    title: str
    because: str
    indexes: tuple[int, ...]
    subject: str | None = None
    site: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class FindingRule:
    """A rule about facts. Subclasses say it in their docstring and are called to make a Finding."""

    rule: ClassVar[str]
    source: ClassVar[str] = ""

    @classmethod
    def found(
        cls,
        because: str,
        indexes: Sequence[int],
        subject: str | None = None,
        site: str | None = None,
        **details: Any,
    ) -> Finding:
        title = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        return Finding(cls.rule, title, because, tuple(indexes), subject, site, details)


def all_rules(base: type) -> Iterator[type]:
    """Every rule class below `base`, in order of definition."""
    cls: type
    for cls in base.__subclasses__():
        yield cls
        yield from all_rules(cls)
