"""The sources of this project as code: without comments, docstrings and layout, and what they import.

Reading some hundred modules as syntax trees takes half a second, so what was found is kept beside the interpreter's own
compiled files, by the SHA-256 of each source: like those it is never trusted for another source, made anew where it is
missing, and left out where the interpreter is told to write none.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OWN_PACKAGES = ("ledger", "projections")

KEPT = Path(__file__).parent / "__pycache__" / f"sources.{sys.implementation.cache_tag}.json"


MOST_KEPT = 1_000
"""Ten times the sources there are: beyond this most are of earlier states, and all are found anew."""


class _Found(NamedTuple):
    """Of one source: the digest of its code, and every name that it imports anything by."""

    code: str
    names: tuple[str, ...]


_found: dict[str, _Found] = {}
_new: set[str] = set()


def code(module: str) -> str:
    """The digest (hex) of a module's code; imports from this project count by the names they bring in."""
    return _of(module).code


@cache
def imports(module: str) -> frozenset[str]:
    """Modules of this project that a module imports."""
    return frozenset(name for name in _of(module).names if _file(name) is not None)


def tree(module: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(_source(module))


def digest_of(node: ast.AST) -> str:
    """The digest (hex) of a syntax tree, the same for every release of Python that reads the source the same way."""
    said: list[str] = []
    _say(node, said)
    return hashlib.sha256("\0".join(said).encode("utf-8", "surrogatepass")).hexdigest()


def keep() -> None:
    """Keep what was found beside the compiled files, where that is possible."""
    if not _new or sys.dont_write_bytecode:
        return
    temporary = KEPT.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        KEPT.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(_found if len(_found) <= MOST_KEPT else {}), encoding="utf-8")
        os.replace(temporary, KEPT)
    _new.clear()


@cache
def _of(module: str) -> _Found:
    if not _found:
        _found.update(_kept())
    source = _source(module)
    name = hashlib.sha256(source.encode()).hexdigest()
    if name not in _found:
        parsed = ast.parse(source)
        _found[name] = _Found(digest_of(parsed), tuple(sorted(_imported(parsed))))
        _new.add(name)
    return _found[name]


def _kept() -> dict[str, _Found]:
    try:
        read = json.loads(KEPT.read_text(encoding="utf-8"))
        return {name: _Found(code, tuple(names)) for name, (code, names) in read.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


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
    """The text of a module; of one that is not of this project (a test's, an interactive one) that of its file."""
    file = _file(module)
    if file is None:
        loaded = getattr(sys.modules.get(module), "__file__", None)
        file = Path(loaded) if loaded else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def _imported(parsed: ast.Module) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _own(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _own(node.module):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own(name: str) -> bool:
    return name.partition(".")[0] in OWN_PACKAGES


def _say(node: object, said: list[str]) -> None:
    """What a tree says: kinds of nodes, names and values; nothing of where they stand."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        said.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or _left_out(node, name, value):
                continue
            said.append(name)
            _say(value, said)
        said.append(")")
    elif isinstance(node, list):
        for one in node:
            _say(one, said)
        said.append("]")
    else:
        said.append(f"{type(node).__name__}:{node!r}")


def _left_out(node: ast.AST, name: str, value: object) -> bool:
    """Where a module of this project is imported from, and how a text is written."""
    if isinstance(node, ast.ImportFrom):
        return name == "module" and isinstance(value, str) and _own(value)
    return name == "kind" and isinstance(node, ast.Constant)
