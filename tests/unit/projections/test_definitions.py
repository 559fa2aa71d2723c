"""Definitions and fingerprints: what rows depend on is known, and nothing else is read."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import projections
from projections.definitions import DEFINITIONS, NAMES, model_of, read_models
from projections.engine import fingerprint
from projections.engine.definition import MAX_SCHEMA_NAME, Column, Definition
from projections.engine.fingerprint import import_closure, read_model

IMPURE = {"time", "random", "secrets", "os", "socket", "psycopg", "requests", "httpx", "locale", "uuid.uuid4"}
HANDLERS = [definition.changed.__module__ for definition in DEFINITIONS]


def test_names_and_schemas_are_unique_and_fit() -> None:
    schemas = [model.schema for model in read_models()]
    assert len(set(NAMES)) == len(NAMES)
    assert len(set(schemas)) == len(schemas)
    for schema in schemas:
        assert re.fullmatch(r"rm_[a-z_]+_v\d+_[0-9a-f]{8}", schema)
        assert len(schema) < MAX_SCHEMA_NAME - len("_r")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.name)
def test_keys_and_indexes_name_columns_that_exist(definition: Definition) -> None:
    for table in definition.tables:
        names = {"partition", *table.names}
        assert set(table.key) <= names
        for index in table.indexes:
            assert set(index.columns) <= names
            assert index.present is None or index.present in names
        assert len(names) == len(table.columns) + 1, "no column is named twice, none is called partition"


@pytest.mark.parametrize("module", HANDLERS)
def test_handlers_import_no_clock_no_chance_no_database(module: str) -> None:
    """The handler's own module, and everything of the projections that it imports."""
    for name in import_closure(module):
        if not name.startswith("projections."):
            continue
        file = Path(projections.__path__[0]).parent / (name.replace(".", "/") + ".py")
        if not file.exists():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name.partition(".")[0] for alias in node.names} & IMPURE, name
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.partition(".")[0] not in IMPURE, name
            elif isinstance(node, ast.Attribute):
                assert node.attr not in ("now", "utcnow", "today", "uuid4", "environ"), name


def test_the_import_closure_reaches_what_the_handler_calls() -> None:
    closure = import_closure("projections.patient.definition")
    assert {"projections.subjects", "projections.engine.stored", "ledger.domain.record"} <= closure
    assert "projections.cohort.definition" not in closure
    assert not any(name.startswith("api") for name in closure)


def test_imports_are_found_as_the_interpreter_finds_them() -> None:
    for module in import_closure(*HANDLERS):
        named: set[str] = set()
        for node in ast.walk(ast.parse(fingerprint._source(module))):
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                named.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        assert {name for name in named if fingerprint._file(name)} <= fingerprint._imports(module), module


def test_a_fingerprint_follows_tables_events_and_version() -> None:
    original = DEFINITIONS[0]
    known = {read_model(original).fingerprint}
    table = original.tables[0]
    for other in (
        replace(original, version=original.version + 1),
        replace(original, events=frozenset({"ConsentGiven"})),
        replace(original, tables=(replace(table, columns=(*table.columns, Column("more"))), *original.tables[1:])),
        replace(original, changed=DEFINITIONS[1].changed),
    ):
        known.add(read_model(other).fingerprint)
    assert len(known) == 5


def test_an_unknown_projection_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="there is no projection 'patients'"):
        model_of("patients")


def test_an_unknown_table_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="has no table 'nothing'"):
        DEFINITIONS[0].table("nothing")
