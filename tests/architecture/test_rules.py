"""A rule is written once: one id, one class, one sentence, and it stands where a reader looks for it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections import defaultdict

import api
import ledger
import projections
from ledger import authority, domain
from ledger.domain import decide
from ledger.domain.catalogue import CATALOGUE
from ledger.domain.refusals import FindingRule, Refusal, all_rules
from ledger.domain.roles import ROLES
from ledger.signing.errors import RULES

ID = re.compile(r"[A-Z][A-Z0-9]*-\d+")
RANGE = re.compile(r"([A-Z][A-Z0-9]*)-(\d+) to (?:\1-)?(\d+)")
ABOUT = {"study", "site", "actor", "cohort", "product", "subject"}
TARGETS = {None, "corrects", "voids", "answers", "reverses", "countersigns"}


def everything_imported() -> None:
    """Every module of the three rooms, so that every class is known."""
    for room in (ledger, projections, api):
        for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def rule_classes() -> list[type]:
    """Every refusal and finding rule of the project."""
    everything_imported()
    return [cls for base in (Refusal, FindingRule) for cls in all_rules(base) if not cls.__module__.startswith("tests")]


def said(text: str) -> set[str]:
    """The rule ids that a text names, ranges written out."""
    found = set(ID.findall(text))
    for name, first, last in RANGE.findall(text):
        found |= {f"{name}-{n}" for n in range(int(first), int(last) + 1)}
    return found


def test_every_rule_id_belongs_to_one_class() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for cls in rule_classes():
        owners[cls.rule].add(f"{cls.__module__}.{cls.__qualname__}")  # type: ignore[attr-defined]
    twice = {rule: names for rule, names in owners.items() if len(names) > 1}
    assert not twice
    assert not owners.keys() & RULES.keys(), "the rules of strict parsing have ids of their own"


def test_every_rule_is_a_sentence_and_every_refusal_has_a_remedy() -> None:
    for cls in rule_classes():
        title = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        assert title.endswith("."), f"{cls.__name__}: {title!r}"
        assert ID.fullmatch(cls.rule) or cls.rule.endswith("-404"), cls.rule  # type: ignore[attr-defined]
        if issubclass(cls, Refusal) and cls.rule not in ("AUTHORITY-0", "STATEMENT-0"):
            assert cls.remedy.endswith("."), f"{cls.__name__} does not say what to do"
            assert 400 <= cls.status <= 599


def test_every_clinical_rule_stands_in_the_docstring_of_its_file() -> None:
    missing = [
        f"{cls.rule} in {cls.__module__}"  # type: ignore[attr-defined]
        for cls in rule_classes()
        if cls.__module__.startswith("ledger.domain.")
        and cls.rule not in said(sys.modules[cls.__module__].__doc__ or "")  # type: ignore[attr-defined]
    ]
    assert not missing


def test_the_rules_that_an_event_names_are_there() -> None:
    known = {cls.rule for cls in rule_classes()} | RULES.keys() | said(authority.__doc__ or "")  # type: ignore[attr-defined]
    for model in CATALOGUE:
        assert set(model.rules) <= known, model.__name__


def test_every_denial_of_authority_is_one_that_its_file_lists() -> None:
    source = inspect.getsource(authority)
    used = set(re.findall(r'"(AUTHORITY-\d+)"', source))
    assert used
    assert used <= said(authority.__doc__ or "")


def test_what_decides_an_event_is_written_once() -> None:
    """A second table for the same event would silently replace the first."""
    found: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for module in pkgutil.iter_modules(domain.__path__, "ledger.domain."):
        for event, rules in getattr(importlib.import_module(module.name), "PRECONDITIONS", {}).items():
            found[event].add(tuple(rules))
    assert found
    for event, tables in found.items():
        assert event in CATALOGUE, event
        assert tables == {tuple(decide.PRECONDITIONS[event])}, f"{event} is decided differently in several rooms"


def test_every_event_says_who_records_it_about_what_and_in_which_words() -> None:
    for model in CATALOGUE:
        name = model.__name__
        assert (model.__doc__ or "").strip().endswith("."), name
        assert model.words.strip(), f"nobody words {name}"
        assert model.recorders, name
        for group in (model.recorders, model.transcribers, model.countersigners):
            assert group <= ROLES, name
        assert model.about, name
        assert set(model.about) <= ABOUT, name
        assert model.target in TARGETS, name
        fields = set(re.findall(r"\{(\w+)\}", model.words))
        assert fields <= set(model.model_fields), f"{name} words a field that it does not have"


def test_no_field_of_an_event_has_the_name_of_a_claim() -> None:
    """A disclosed field of that name could not be parsed."""
    from ledger.signing.claims import CLAIMS

    for model in CATALOGUE:
        assert not set(model.disclosed_fields()) & CLAIMS.keys(), model.__name__


def test_every_event_is_read_by_a_projection() -> None:
    from projections.definitions import DEFINITIONS

    for model in CATALOGUE:
        readers = [d.name for d in DEFINITIONS if d.events is None or model.__name__ in d.events]
        assert readers, f"nobody reads {model.__name__}"
