"""The published vectors of inclusion and consistency proofs hold where they should and are refused where they should.

Read by the ledger's verifier and by the independent reader alike: 98 of inclusion, 98 of consistency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.merkle.tree import NotProven, verify_consistency, verify_inclusion
from tests.conformance.proof_vectors import Consistency, Inclusion, consistency_cases, inclusion_cases
from tests.scenario.offline import Wrong, check_consistency, check_inclusion

Verdict = Callable[..., Any]
IN_TREE = [pytest.param(verify_inclusion, id="ledger"), pytest.param(check_inclusion, id="reader")]
GROWN = [pytest.param(verify_consistency, id="ledger"), pytest.param(check_consistency, id="reader")]


def _holds(verify: Verdict, *given: Any) -> bool:
    try:
        verify(*given)
    except (NotProven, Wrong):
        return False
    return True


def test_there_are_as_many_vectors_as_upstream_has_files() -> None:
    assert len(inclusion_cases()) == len(consistency_cases()) == 98
    assert sum(case.holds for case in inclusion_cases().values()) == 6
    assert sum(case.holds for case in consistency_cases().values()) == 6


@pytest.mark.parametrize("verify", IN_TREE)
@pytest.mark.parametrize("case", inclusion_cases().values(), ids=inclusion_cases())
def test_an_inclusion_proof_is_judged_as_upstream_judges_it(verify: Verdict, case: Inclusion) -> None:
    assert _holds(verify, case.leaf, case.index, case.size, case.proof, case.root) is case.holds


@pytest.mark.parametrize("verify", GROWN)
@pytest.mark.parametrize("case", consistency_cases().values(), ids=consistency_cases())
def test_a_consistency_proof_is_judged_as_upstream_judges_it(verify: Verdict, case: Consistency) -> None:
    assert _holds(verify, case.size1, case.size2, case.proof, case.root1, case.root2) is case.holds
