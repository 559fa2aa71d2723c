"""The fingerprint of a definition: what its rows depend on besides the events.

SHA-256 over parts, each with a digest of its own, so that a change can be named:
- every module of this project that the handler's module imports, directly or not, as code without comments and
  docstrings: neither layout nor the names of modules matter, so a version that is kept in a module of its own keeps
  its fingerprint;
- the tables, the normaliser, what the definition declares;
- each event that it reads: its version, fields and kind, and the code of its upcasters. The catalogue's other code
  (rules, refusals, wording) takes no part in a fold;
- the releases of the libraries that fold and encode.
Two processes with the same fingerprint make the same rows of the same events.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.delegation import TWO_REGISTRARS
from ledger.domain.model import EventModel
from projections.engine import sources
from projections.engine.definition import Definition, ReadModel
from projections.engine.folding import ACTS

ALWAYS = ("ledger.domain.aggregate", "ledger.signing.statement", "projections.engine.stored")
"""What takes part in every fold, whatever the handler imports."""

BOUNDARY = frozenset({"ledger.domain.catalogue"})
"""Modules whose imports are not followed: of the catalogue the events that are read enter by themselves."""

LIBRARIES = ("eventsourcing", "msgspec")

HANDLER = "handler"
"""The part of the handler's own module, wherever that is kept."""


@cache
def read_model(definition: Definition) -> ReadModel:
    """The definition with its fingerprint (64 lowercase hex digits) and the digests of its parts."""
    parts = dict(_parts(definition))
    sources.keep()
    # Modules count by what they say, not by what they are called: their names are for people.
    named = sorted(f"{name.partition(' ')[0]} {digest}" for name, digest in parts.items())
    return ReadModel(definition, _sha(definition.name, str(definition.version), *named), 0, parts)


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the parts that differ, in order; one that is there on one side alone differs."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def causes_first(changed: Iterable[str], definition: Definition) -> tuple[str, ...]:
    """Changed parts, those first that import no other changed one. A module's digest is over what it imports too, so
    one that was edited takes along those that import it, and is what a person looks for."""
    given = tuple(changed)
    handler = definition.changed.__module__
    modules = {handler if part == HANDLER else part.removeprefix("module "): part for part in given if _is_code(part)}
    followed = {
        part for module, part in modules.items() if any(one in modules for one in sources.imports(module) - {module})
    }
    return tuple(sorted(given, key=lambda part: part in followed))


def _is_code(part: str) -> bool:
    return part == HANDLER or part.startswith("module ")


def import_closure(*modules: str) -> frozenset[str]:
    """These modules and every module of this project that they import, directly or not, up to the boundary."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(() if module in BOUNDARY else sources.imports(module))
    return frozenset(found)


# -- parts -----------------------------------------------------------------------------------------------------


def _parts(definition: Definition) -> Iterator[tuple[str, str]]:
    handles = definition.changed.__qualname__
    read = "all" if definition.events is None else sorted(definition.events)
    declared = (definition.temporal, definition.study, handles, read)
    yield "declaration", _sha(repr(declared))
    for table in definition.tables:
        yield f"table {table.name}", _sha(repr(table))
    for name in LIBRARIES:
        yield f"library {name}", _sha(f"{name}=={version(name)}")
    handler = definition.changed.__module__
    for module in sorted(import_closure(handler, *ALWAYS)):
        yield (HANDLER if module == handler else f"module {module}"), _module(module)
    if definition.normaliser is not None:
        own = definition.normaliser
        code = sorted(_module(module) for module in import_closure(own.__module__))
        yield "normaliser", _sha(own.__qualname__, *code)
    for model in CATALOGUE:
        if definition.reads(model.__name__) or model.__name__ in ACTS:
            yield f"event {model.__name__}", _event(model)
            for newer in CATALOGUE.versions(model.__name__)[1:]:
                yield f"upcaster {model.__name__}/{newer.v}", _upcaster(newer)


@cache
def _module(module: str) -> str:
    """The digest of a module's code, and of the code of those that it imports directly (each with its own part)."""
    linked = () if module in BOUNDARY else sorted({sources.code(name) for name in sources.imports(module)})
    return _sha(sources.code(module), *linked)


@cache
def _event(model: type[EventModel]) -> str:
    fields = [(name, name in model.clear_fields()) for name in model.model_fields]
    name = model.__name__
    waits = (sorted(model.countersigners), name in TWO_REGISTRARS)
    return _sha(repr((name, model.v, model.kind, model.target, fields, waits)))


@cache
def _upcaster(model: type[EventModel]) -> str:
    """The digest of an event's upcasters, with everything of their module that they name, directly or not."""
    holder = next(one for one in model.__mro__ if "upcast" in vars(one))
    home = inspect.getmodule(holder)
    assert isinstance(home, ModuleType)
    tree = sources.tree(home.__name__)
    top = {name: node for node in tree.body for name in _defined(node)}
    body = next(
        node
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef) and owner.name == holder.__name__
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name == "upcast"
    )
    found: dict[str, str] = {}
    waiting: list[ast.AST] = [body]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Name) and node.id in top and node.id not in found:
                found[node.id] = sources.digest_of(top[node.id])
                waiting.append(top[node.id])
    return _sha(sources.digest_of(body), *(f"{name} {found[name]}" for name in sorted(found)))


def _defined(node: ast.stmt) -> Iterable[str]:
    """The names that a statement at the top of a module defines or imports."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return tuple(alias.asname or alias.name for alias in node.names)
    targets: list[Any] = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return tuple(target.id for target in targets if isinstance(target, ast.Name))


def _sha(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8) + encoded)
    return digest.hexdigest()
