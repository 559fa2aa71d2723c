"""The fingerprint of a definition: what its rows depend on besides the events.

SHA-256 over the source of the handler's module and of everything of this project that it imports, directly or
not; the tables; the version of every event, up to which its upcasters bring the fields; and the releases of
the libraries that fold and encode. Two processes with the same fingerprint make the same rows of the same events.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ledger.domain.catalogue import CATALOGUE
from projections.engine.definition import Definition, ReadModel

OWN_PACKAGES = ("ledger", "projections")
ALWAYS = ("ledger.domain.aggregate", "ledger.signing.statement", "projections.engine.stored")
"""What takes part in every fold, whatever the handler imports."""

LIBRARIES = ("eventsourcing", "msgspec")

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)|import[ \t]+([^\n]+))", re.M)
_WORD = re.compile(r"[\w.]+")


@cache
def read_model(definition: Definition) -> ReadModel:
    """The definition with its fingerprint (64 lowercase hex digits)."""
    digest = hashlib.sha256()
    for part in _parts(definition):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8) + encoded)
    return ReadModel(definition, digest.hexdigest())


def _parts(definition: Definition) -> Iterator[str]:
    yield f"{definition.name} {definition.version} {definition.temporal} {definition.study}"
    yield repr(definition.tables)
    yield "all" if definition.events is None else " ".join(sorted(definition.events))
    yield " ".join(sorted(f"{model.__name__}/{model.v}" for model in CATALOGUE))
    yield " ".join(f"{name}=={version(name)}" for name in LIBRARIES)
    for module in sorted(import_closure(definition.changed.__module__, *ALWAYS)):
        yield f"{module} {_source(module)}"


def import_closure(*modules: str) -> frozenset[str]:
    """These modules and every module of this project that they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_imports(module))
    return frozenset(found)


@cache
def _file(module: str) -> Path | None:
    """The source of a module of this project; None where the name is none."""
    package, *rest = module.split(".")
    spec = find_spec(package) if package in OWN_PACKAGES else None
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    for file in (place / "__init__.py", place.with_name(place.name + ".py")):
        if file.is_file():
            return file
    return None


@cache
def _source(module: str) -> str:
    file = _file(module)
    return file.read_text(encoding="utf-8") if file is not None else ""


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this project that a module imports. What only looks like an import, in a text, adds at most a module
    that is none or one more: a fingerprint that changes too often is harmless."""
    named: set[str] = set()
    for origin, names, plain in _IMPORT.findall(_source(module)):
        words = _WORD.findall(names or plain)
        named.update(words if plain else [origin, *(f"{origin}.{word}" for word in words)])
    return frozenset(name for name in named if name.partition(".")[0] in OWN_PACKAGES and _file(name) is not None)
