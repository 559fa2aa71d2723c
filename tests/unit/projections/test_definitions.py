"""Definitions and fingerprints: what rows depend on is known, and nothing else is read."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import projections
from ledger.domain.model import EventModel
from projections.definitions import DEFINITIONS, NAMES, known_models, model_of, model_with, read_models
from projections.engine import fingerprint, sources
from projections.engine.definition import MAX_SCHEMA_NAME, Column, Definition
from projections.engine.fingerprint import ALWAYS, causes_first, changed_parts, import_closure, read_model

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
        for node in ast.walk(sources.tree(module)):
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                named.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        assert {name for name in named if sources._file(name)} == sources.imports(module), module


def test_a_fingerprint_follows_tables_events_and_version() -> None:
    original = DEFINITIONS[0]
    known = {read_model(original).fingerprint}
    table = original.tables[0]
    for other in (
        replace(original, version=original.version + 1),
        replace(original, events=frozenset({"ConsentGiven"})),
        replace(original, tables=(replace(table, columns=(*table.columns, Column("more"))), *original.tables[1:])),
        replace(original, changed=DEFINITIONS[1].changed),
        replace(original, normaliser=_same),
    ):
        known.add(read_model(other).fingerprint)
    assert len(known) == 6


def _same(table: str, row: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield table, row


@pytest.fixture
def sources_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Puts texts in the place of modules, and tells a digest of each."""
    written: dict[str, str] = {}
    monkeypatch.setattr(sources, "_source", lambda module: written[module])
    monkeypatch.setattr(sources, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(sources, "_found", {})

    def digest(module: str, text: str) -> str:
        written[module] = text
        sources._of.cache_clear()
        return sources.code(module)

    yield digest
    sources._of.cache_clear()


CODE = """
from projections.subjects import line

LIMIT = 3

def rows(state):
    return [line(state, LIMIT), "a"]
"""


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("    return", "    # why\n    return"),
        CODE.replace("def rows(state):", 'def rows(state):\n    """Says what it does."""'),
        '"""What it is for."""\n' + CODE + '\n"""And what that was."""',
        CODE.replace(
            '[line(state, LIMIT), "a"]', "[\n        line(\n            state, LIMIT,\n        ),\n        'a',\n    ]"
        ),
        CODE.replace("projections.subjects", "projections.subjects_1"),
    ],
)
def test_layout_comments_docstrings_and_names_of_modules_do_not_matter(
    sources_in: Callable[[str, str], str], same: str
) -> None:
    assert sources_in("one", same) == sources_in("other", CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("3", "4"),
        CODE.replace("3", "3.0"),
        CODE.replace("3", "True"),
        CODE.replace('"a"', 'b"a"'),
        CODE.replace("import line", "import name as line"),
        CODE.replace("state, LIMIT", "LIMIT, state"),
        CODE.replace("return", "yield from"),
        CODE + "\nLIMIT = 3\n",
        CODE.replace("from projections.subjects", "from json"),
    ],
)
def test_whatever_the_code_does_differently_matters(sources_in: Callable[[str, str], str], other: str) -> None:
    assert sources_in("one", other) != sources_in("other", CODE)


def test_what_is_kept_of_another_source_is_not_believed(
    sources_in: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = sources_in("one", CODE)
    sources.keep()
    assert before in sources.KEPT.read_text()
    monkeypatch.setattr(sources, "_found", {})
    assert sources_in("one", CODE) == before
    assert sources_in("one", CODE.replace("3", "4")) != before
    for broken in ("", "[]", '{"a": 1}', "{"):
        sources.KEPT.write_text(broken)
        monkeypatch.setattr(sources, "_found", {})
        assert sources_in("one", CODE) == before


def test_another_text_of_a_rule_or_refusal_changes_no_fingerprint_and_another_field_does() -> None:
    closure = import_closure("projections.cohort.definition", *ALWAYS)
    assert "ledger.domain.catalogue" in closure and "ledger.domain.oversight" not in closure
    parts = read_model(next(one for one in DEFINITIONS if one.name == "cohort")).parts
    assert "event SubjectEnrolled" in parts and "event EntryCorrected" in parts
    assert "event QueryOpened" not in parts, "what it does not read is none of its business"


class LabResultReported(EventModel):
    """Invented: a second version, with an upcaster that uses what stands beside it."""

    kind: ClassVar[Any] = "fact"
    v: ClassVar[int] = 2

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any], v: int) -> None:
        """Of version 1."""
        content["unit"] = _unit(content)


def _unit(content: dict[str, Any]) -> str:
    return UNITS.get(content["analyte"], "")


UNITS = {"ferritin": "ug/L"}


def test_an_upcaster_counts_with_what_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    written = ast.unparse(sources.tree(__name__))
    before = fingerprint._upcaster.__wrapped__(LabResultReported)
    for text, same in (
        (written, True),
        (written.replace("Of version 1", "From version 1"), True),
        (written.replace("'layout", "'no layout"), True),
        (written.replace("UNITS = {'ferritin': 'ug/L'}", "UNITS = {'ferritin': 'ng/mL'}"), False),
        (written.replace("content['analyte'], ''", "content['analyte'], 'x'"), False),
    ):
        monkeypatch.setattr(sources, "_source", lambda module, text=text: text)
        assert (fingerprint._upcaster.__wrapped__(LabResultReported) == before) is same


def test_a_version_that_moved_into_a_module_of_its_own_keeps_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = next(one for one in DEFINITIONS if one.name == "cohort")
    moved = tmp_path / "earlier_cohort.py"
    moved.write_text("# kept for those who have it\n" + Path(inspect.getfile(original.changed)).read_text())
    monkeypatch.syspath_prepend(tmp_path)
    earlier = importlib.import_module("earlier_cohort").DEFINITION
    assert earlier.changed is not original.changed
    assert read_model(earlier).fingerprint == read_model(original).fingerprint
    moved.write_text(moved.read_text().replace('if "SubjectEnrolled" not in', 'if "SubjectScreened" not in'))
    sources._source.cache_clear(), sources._of.cache_clear(), sources.imports.cache_clear()
    fingerprint._module.cache_clear(), read_model.cache_clear()
    assert read_model(earlier).fingerprint != read_model(original).fingerprint
    assert changed_parts(read_model(earlier).parts, read_model(original).parts) == ("handler",)


def test_every_version_that_is_known_is_found_by_its_identity_alone() -> None:
    for model in known_models():
        assert model_with(*model.identity) == model
        assert model_with(*model.identity, generation=3) == replace(model, generation=3)
        name, version, other = model.identity
        assert model_with(name, version + 1, other) is None
        assert model_with(name, version, "0" * 64) is None
    assert replace(model, generation=3).schema == f"{model.schema}_g3"


def test_an_unknown_projection_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="there is no projection 'patients'"):
        model_of("patients")


def test_an_unknown_table_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="has no table 'nothing'"):
        DEFINITIONS[0].table("nothing")


def test_what_was_edited_is_named_before_what_imports_it() -> None:
    changed = (
        "handler",
        "module ledger.domain.aggregate",
        "module ledger.domain.record",
        "module projections.subjects",
    )
    first, *others = causes_first(changed, next(one for one in DEFINITIONS if one.name == "cohort"))
    assert first == "module ledger.domain.record"
    assert sorted([first, *others]) == sorted(changed)
    assert causes_first(("table records", "handler"), DEFINITIONS[0]) == ("table records", "handler")
