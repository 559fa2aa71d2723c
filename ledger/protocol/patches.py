"""Patches: how amendments and interpretations change the plain data of a protocol.

A patch sets or removes the value at a path of keys. The tree it is applied to is never changed: what lies
off the path is shared, what lies on it is made anew. Whether the result is a valid protocol is for the
caller to find out by validating it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.protocol.model.interpretation import Patch

FIXED = frozenset({"format", "study", "version", "amendments"})
"""What no patch may change: it says which file this is."""

SETTLED = FIXED | {"ambiguities"}
"""What no option of an ambiguity may change."""


class BadPatch(ValueError):
    """A patch does not fit the tree: its path names nothing, or something that stays as it is."""


def apply(data: Any, patches: Iterable[Patch], fixed: frozenset[str], supplied: Mapping[str, Any]) -> Any:
    """The tree with all patches applied in order; BadPatch says which does not fit.

    A patch that needs an optional parameter which was not supplied is left out.
    """
    for patch in patches:
        keys = patch.path.split(".")
        if keys[0] in fixed:
            raise BadPatch(f"{patch.path}: {keys[0]} stays as it is")
        value = filled(patch.value, supplied)
        if value is not _UNSAID:
            data = _set(data, keys, value, patch)
    return data


class _Unsaid:
    """Stands for a value that depends on a parameter which was not supplied."""


_UNSAID = _Unsaid()


def placeholder(value: Any) -> str | None:
    """The parameter that `{parameter: name}` stands for; a dotted name belongs to expressions."""
    if isinstance(value, Mapping) and len(value) == 1:
        name = value.get("parameter")
        if isinstance(name, str) and "." not in name:
            return name
    return None


def placeholders(value: Any) -> set[str]:
    """Every parameter named in a patch's value."""
    name = placeholder(value)
    if name is not None:
        return {name}
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {found for part in parts for found in placeholders(part)}


def filled(value: Any, supplied: Mapping[str, Any]) -> Any:
    """The value with its parameters put in; _UNSAID where one of them was not supplied."""
    name = placeholder(value)
    if name is not None:
        return supplied.get(name, _UNSAID)
    if isinstance(value, Mapping):
        made = {key: filled(part, supplied) for key, part in value.items()}
        return _UNSAID if any(part is _UNSAID for part in made.values()) else made
    if isinstance(value, list):
        listed = [filled(part, supplied) for part in value]
        return _UNSAID if any(part is _UNSAID for part in listed) else listed
    return value


def _set(tree: Any, keys: list[str], value: Any, patch: Patch) -> Any:
    if not isinstance(tree, Mapping):
        raise BadPatch(f"{patch.path}: there is nothing before {keys[0]} that could hold it")
    changed = dict(tree)
    for key in _keys(tree, keys[0], patch):
        if len(keys) > 1:
            inner = tree.get(key)
            top_level = tree.get("format") is not None and inner is None
            if inner is None and not top_level:
                raise BadPatch(f"{patch.path}: there is no {key}")
            changed[key] = _set({} if inner is None else inner, keys[1:], value, patch)
        elif patch.remove:
            if key not in tree:
                raise BadPatch(f"{patch.path}: there is no {key} to remove")
            del changed[key]
        else:
            changed[key] = value
    return changed


def _keys(tree: Mapping[str, Any], key: str, patch: Patch) -> list[str]:
    if not key.endswith("*"):
        return [key]
    found = [name for name in tree if name.startswith(key[:-1])]
    if not found:
        raise BadPatch(f"{patch.path}: nothing begins with {key[:-1]}")
    return found


def stands_at(data: Any, path: str) -> bool:
    """Whether the path names something in the tree; a `*` must match at least one key at its place."""
    trees = [data]
    for key in path.split("."):
        found = []
        for tree in trees:
            if isinstance(tree, Mapping):
                names = [name for name in tree if name.startswith(key[:-1])] if key.endswith("*") else [key]
                found += [tree[name] for name in names if name in tree]
        if not found:
            return False
        trees = found
    return True
