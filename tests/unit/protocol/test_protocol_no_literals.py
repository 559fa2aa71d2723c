"""The study is data: nothing of the seed's record stands in the code, except where the demo tells its course."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "api" / "cli" / "demo"
CODE = sorted(
    path
    for room in ("ledger", "projections", "api")
    for path in (ROOT / room).rglob("*.py")
    if DEMO not in path.parents and path.name != "demo.py"
)
WORDS = (
    "NCT04014166", "SC2019002", "hUC-MSC", "umbilical", "thrombocytop", "ITP", "Tianjin", "Zhang Lei",
    "splenectomy", "rituximab", "glucocorticoid", "IVIG", "hbsag", "cytomegalovirus", "777-3", "26515-7", "1742-6",
    "89247-1", "10*9/L", "10*6.{cells}/kg", "AMB-0", "AMB-1", "AMB-2", "3+3", "three-plus-three", "iwg-2009",
    "platelet", "NYHA", "bundle branch",
)  # fmt: skip


@cache
def literals(path: Path) -> tuple[str, ...]:
    """Every text in the code of a file that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    said = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return tuple(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    )


@pytest.mark.parametrize("word", WORDS)
def test_no_literal_of_the_seed_stands_in_code(word: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in CODE if any(word in text for text in literals(path))}
    assert not found


def test_no_text_of_a_criterion_stands_in_code(seed: Any) -> None:
    texts = [criterion.text[:40] for criterion in seed.definition.criteria.values()]
    assert not [(str(path), text) for path in CODE for text in texts if text in path.read_text(encoding="utf-8")]


def test_the_code_is_looked_at() -> None:
    assert len(CODE) > 30
