"""Rows of signatures are those of the final state, however the statements about a subject were batched."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.signing.statement import Statement
from projections.signatures.definition import DEFINITION
from tests.unit.projections.test_handlers import NAMESPACE, PEOPLE, follow

WHO = PEOPLE[0]


@st.composite
def signings(draw: st.DrawFn) -> list[Statement]:
    """A casebook: results, and everything that signs them or that may happen to what was signed."""
    told = [_statement(index, "LabResultReported", content={"analyte": "ALT", "value": "5"}) for index in range(3)]
    for index in range(3, 3 + draw(st.integers(1, 20))):
        what = draw(
            st.sampled_from(("sign", "sign", "correct", "void", "countersign", "withdraw", "dispute", "redact"))
        )
        target = draw(st.sampled_from(told))
        told.append(_act(index, what, target, told, draw))
    return told


def _act(index: int, what: str, target: Statement, told: list[Statement], draw: st.DrawFn) -> Statement:
    named = {"jti": target.jti, "digest": target.digest}
    content = {"reason": "x"}
    if what == "sign":
        chosen = draw(st.lists(st.sampled_from(told), min_size=1, unique_by=lambda one: one.jti))
        listed = [{"jti": one.jti, "digest": one.digest} for one in chosen]
        size = draw(st.integers(max(told.index(one) for one in chosen) + 1, index))
        claims = {"meaning": draw(st.sampled_from(("approval", "review"))), "cut": {"size": size, "root": "x"}}
        return _statement(index, "RecordsSigned", {"records": listed}, claims)
    if what == "correct":
        claims = {
            "corrects": {**named, "field": "value"},
            "role": draw(st.sampled_from(("coordinator", "data-manager"))),
        }
        return _statement(index, "EntryCorrected", None, claims, {"value": str(index), **content})
    if what == "void":
        return _statement(index, "EntryVoided", None, {"voids": named}, content)
    if what == "countersign":
        return _statement(index, "Countersigned", None, {"countersigns": named, "meaning": "approval"})
    if what == "redact":
        return _statement(index, "FieldsRedacted", {"records": [{**named, "disclosures": ["x"]}]}, None, content)
    event = "SignatureWithdrawn" if what == "withdraw" else "AttributionDisputed"
    return _statement(index, event, {"record": named}, None, content)


def _statement(
    index: int,
    event: str,
    body: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    content: dict[str, Any] | None = None,
) -> Statement:
    made = {
        "iss": "chen", "role": "investigator", "aud": "log", "sub": f"subject/{WHO}", "iat": 1_900_000_000 + index,
        "jti": str(uuid5(NAMESPACE, f"signing {index}")), "event": event, "v": 1, "site": "S1", "body": body or {},
        **(claims or {}),
    }  # fmt: skip
    return Statement("jwt", (), "Ed25519", "kid", made, dict(content or {}), f"digest-{index}")


@settings(max_examples=200, deadline=None)
@given(signings(), st.lists(st.integers(1, 5), max_size=10))
def test_rows_do_not_depend_on_how_a_casebook_was_batched(told: list[Statement], batches: list[int]) -> None:
    at_once = follow(DEFINITION, told, [])
    assert follow(DEFINITION, told, batches) == at_once
    assert follow(DEFINITION, told, [1] * len(told)) == at_once
    signatures = [one for one in told if one.meaning is not None]
    assert len(at_once) == len(signatures)
