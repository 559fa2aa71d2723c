"""From the text of a protocol file to its versions; everything that is wrong is listed with its line.

Order: the YAML itself, the form of every field, what the parts say about each other, each amendment, each
option of each ambiguity in each version. A later step runs only on what the earlier ones accepted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import Any

from ledger.protocol.model import Definition
from ledger.protocol.parameters import sample
from ledger.protocol.patches import FIXED, SETTLED, BadPatch, apply, stands_at
from ledger.protocol.problems import BrokenProtocol, Path, Problem, UnknownStudy, dotted
from ledger.protocol.versions import Protocol, ProtocolFile, validated
from ledger.protocol.yaml_text import Tree, read

_KEPT = 16  # files kept at hand: a server has a few studies with a few adopted files each
MAX_ALONE = 100  # options tried alone to name the one at fault; each costs a validation of the whole file
MAX_TURNS = 24  # sets of options tried at load; what lies beyond is validated when it is chosen
MAX_TRIED = 120  # of all versions together, some 50 ms each: a file made to be slow must not keep a server busy
MAX_AMENDMENTS = 50  # long trials have about 20; each is a version to validate


def packaged(study_id: str) -> str:
    """The YAML text of a study that is shipped with the application; UnknownStudy where it is none."""
    for entry in resources.files("ledger.protocol.studies").iterdir():
        if entry.name == f"{study_id}.yaml":
            return entry.read_text(encoding="utf-8")
    raise UnknownStudy(f"no protocol file of {study_id!r} is shipped")


@lru_cache(maxsize=_KEPT)
def load(text: str) -> ProtocolFile:
    """The protocol file that the text is; BrokenProtocol lists every problem with its path and line."""
    tree = read(text)
    definition, found = validated(tree.data)
    _refuse(tree, [(path, path, message) for path, message in found])
    assert definition is not None
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    protocols = _versions(tree, definition, digest)
    wrong = [problem for protocol in protocols.values() for problem in _touched(protocol)]
    left = iter(range(MAX_TRIED))
    wrong += [problem for protocol in protocols.values() for problem in _options(protocol, left)]
    _refuse(tree, wrong)
    return ProtocolFile(definition.study, digest, protocols)


Wrong = tuple[Path, Path, str]
"""Where to look for the line, what to call the place, what is wrong."""


def _refuse(tree: Tree, wrong: list[Wrong]) -> None:
    if wrong:
        problems = dict.fromkeys(Problem(dotted(place), tree.line(at), message) for at, place, message in wrong)
        raise BrokenProtocol(sorted(problems, key=lambda problem: (problem.line or 0, problem.path)))


def _versions(tree: Tree, base: Definition, digest: str) -> dict[str, Protocol]:
    data: Any = {key: part for key, part in tree.data.items() if key != "amendments"}
    protocols = {base.version: Protocol(base.version, base.study, base, data, digest)}
    if len(base.amendments) > MAX_AMENDMENTS:
        _refuse(tree, [(("amendments",), ("amendments",), f"there are more than {MAX_AMENDMENTS}")])
    for key, amendment in base.amendments.items():
        at: Path = ("amendments", key, "changes")
        try:
            data = apply(data, amendment.changes, FIXED, {}) | {"version": amendment.version}
        except BadPatch as error:
            _refuse(tree, [(at, at, str(error))])
        definition, found = validated(data)
        _refuse(tree, [(at, at, f"makes {dotted(path)} wrong: {message}") for path, message in found])
        assert definition is not None
        protocols[amendment.version] = Protocol(amendment.version, base.study, definition, data, digest)
    return protocols


def _touched(protocol: Protocol) -> list[Wrong]:
    return [
        (path, path, f"{touched} names nothing in the file")
        for key, ambiguity in protocol.definition.ambiguities.items()
        for path in [("ambiguities", key, "touches")]
        for touched in ambiguity.touches
        if not stands_at(protocol.data, touched)
    ]


def _options(protocol: Protocol, left: Iterator[int]) -> list[Wrong]:
    """Tries every option with sample values: all first ones together, all second ones, and so on.

    Only where a set of them fails is each tried alone, to name the one at fault. `left`: how many more are tried.
    """
    ambiguities = protocol.definition.ambiguities
    turns = max((max(len(a.options), *_choices(protocol, key)) for key, a in ambiguities.items()), default=0)
    turns = min(turns, MAX_TURNS)
    wrong: list[Wrong] = []
    for turn in range(turns):
        chosen = {key: list(a.options)[turn % len(a.options)] for key, a in ambiguities.items()}
        if next(left, None) is None:
            break
        together = _tried(protocol, chosen, turn)
        if together:
            few = [one for one, _ in zip(list(chosen.items())[:MAX_ALONE], left, strict=False)]
            alone = [problem for key, name in few for problem in _tried(protocol, {key: name}, turn)]
            wrong += alone or together
    return wrong


def _choices(protocol: Protocol, ambiguity: str) -> list[int]:
    """How many turns it takes until every choice of every option has been tried with its option."""
    options = protocol.definition.ambiguities[ambiguity].options.values()
    return [
        len(options) * len(parameter.choices) for option in options for parameter in option.parameters.values()
    ] or [0]


def _tried(protocol: Protocol, chosen: dict[str, str], turn: int) -> list[Wrong]:
    data: Any = protocol.data
    at: Path = ("ambiguities",)
    try:
        for key, name in chosen.items():
            at = ("ambiguities", key, "options", name)
            option = protocol.definition.ambiguities[key].options[name]
            count = len(protocol.definition.ambiguities[key].options)
            values = {n: sample(protocol.definition, p, turn // count) for n, p in option.parameters.items()}
            data = apply(data, option.sets, SETTLED, values)
    except BadPatch as error:
        return [(at, at, str(error))]
    if len(chosen) > 1:
        at = ("ambiguities",)
    return [(at, at, f"makes {dotted(path)} wrong: {message}") for path, message in validated(data)[1]]
