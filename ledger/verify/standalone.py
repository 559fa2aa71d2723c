"""The verifier as one file: a zip that `python FILE BUNDLE` runs, from Python 3.11 and `cryptography` alone.

It holds this package and whatever of `ledger` it imports, found by reading the imports, so that nothing is
forgotten and nothing else comes along. The same release gives the same bytes on any machine: compare its SHA-256
with the one that the publisher of the release states.
"""

from __future__ import annotations

import ast
import io
import pkgutil
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from ledger.verify import zipform

ENTRY = "ledger.verify.command"
FORMAT_FILE = "FORMAT.md"

_MAIN = '''\
"""Verifies an evidence bundle: python FILE BUNDLE [--policy FILE]; --help says the rest."""

import sys

if sys.version_info < (3, 11):
    sys.stderr.write("Python 3.11 or later is needed; this is %s\\n" % sys.version.split()[0])
    sys.exit(2)
try:
    from ledger.verify.command import main
except ImportError as error:
    sys.stderr.write("Needed: the package `cryptography`, version 50 or later (%s)\\n" % error)
    sys.exit(2)
if __name__ == "__main__":
    sys.exit(main())
'''


def modules() -> list[str]:
    """Every module of `ledger` that the verifier imports, packages included, sorted."""
    found: set[str] = set()
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        package = name.rpartition(".")[0]
        waiting += [package] if package else []
        waiting += [imported for imported in _imports(source(name)) if imported not in found]
    return sorted(found)


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            yield node.module
            # `from package import module` names a module, `from module import name` does not.
            yield from (f"{node.module}.{a.name}" for a in node.names if _is_module(f"{node.module}.{a.name}"))


def _ours(name: str) -> bool:
    return name == "ledger" or name.startswith("ledger.")


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def source(name: str) -> str:
    """The source of a module, from a folder or from inside a zip."""
    spec = find_spec(name)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_source"):
        raise FileNotFoundError(f"the source of {name} is not at hand")
    text: str | None = spec.loader.get_source(name)
    return text or ""


def contents() -> bytes:
    """The bytes of the single file."""
    members: list[tuple[str, bytes | Path]] = [("__main__.py", _MAIN.encode())]
    for name in modules():
        spec = find_spec(name)
        is_package = spec is not None and spec.submodule_search_locations is not None
        path = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
        members.append((path, source(name).encode()))
    described = pkgutil.get_data("ledger.verify", FORMAT_FILE)
    if described is not None:
        members.append((f"ledger/verify/{FORMAT_FILE}", described.replace(b"\r\n", b"\n")))
    file = io.BytesIO()
    zipform.write(file, members)
    return file.getvalue()


def write(path: Path) -> str:
    """Write the single file; returns its hexadecimal SHA-256."""
    data = contents()
    path.write_bytes(data)
    return sha256(data).hexdigest()
