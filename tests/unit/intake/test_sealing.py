"""The importer's own sealer makes what the statement maker makes, and what the ledger reads strictly."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.intake.sealing import Sealer, event_id, subject_id
from ledger.signing.keys import SigningKey
from ledger.signing.statement import make, parse, verify

KEY = SigningKey.from_seed(bytes(range(32)))
SHARED = {"iss": "sdtm-import", "role": "system", "aud": "ledger.example/study/S-1", "mode": "transcribed", "v": 1}
CLAIMS = {
    "sub": "subject/00000000-0000-4000-8000-000000000000",
    "jti": "00000000-0000-5000-8000-000000000000",
    "iat": 1_790_000_000,
    "event": "LabResultReported",
    "site": "701",
}
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "ü"]), inner)),
    max_leaves=8,
)
CONTENT = st.dictionaries(st.sampled_from([f"field_{number}" for number in range(40)]), VALUES, max_size=40)


@given(CONTENT)
@settings(deadline=None)
def test_what_is_sealed_is_read_strictly_and_verified_and_says_the_same(content: dict[str, Any]) -> None:
    text = Sealer(KEY, SHARED).seal(CLAIMS, content)
    assert text is not None
    statement = parse(text)
    verify(statement, KEY.public)
    assert statement.content == content
    signed = {name: value for name, value in statement.claims.items() if name not in ("_sd", "_sd_alg")}
    assert signed == SHARED | CLAIMS


def test_with_the_same_salts_both_makers_make_the_same_bytes() -> None:
    content = {"analyte": "PLAT", "value": "210", "as_transferred": {"STUDYID": 'é\u2028"\\/\x1f'}, "sequence": 7}
    random = os.urandom(18 * len(content))
    groups = [random[place : place + 16] for place in range(0, len(random), 18)]
    salts: Iterator[str] = (base64.urlsafe_b64encode(group).rstrip(b"=").decode() for group in groups)
    sealed = Sealer(KEY, SHARED, lambda count: random[:count]).seal(CLAIMS, content)
    assert sealed == make(KEY, SHARED | CLAIMS, content, lambda: next(salts))


def test_salts_are_never_used_twice() -> None:
    sealer = Sealer(KEY, SHARED)
    texts = [sealer.seal(CLAIMS, {"analyte": "PLAT", "value": "1"}) for _ in range(50)]
    disclosures = [part for text in texts if text for part in text.split("~")[1:-1]]
    assert len(set(disclosures)) == 100


def test_what_is_longer_than_a_statement_can_be_is_not_sealed() -> None:
    assert Sealer(KEY, SHARED).seal(CLAIMS, {"narrative": "x" * 200_000}) is None


@pytest.mark.parametrize("name", ["", "S-1/ab/LB/1", "ü"])
def test_event_ids_are_uuids_of_version_5(name: str) -> None:
    assert event_id(uuid.NAMESPACE_OID, name) == str(uuid.uuid5(uuid.NAMESPACE_OID, name))


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(st.characters(exclude_categories=("Cs",))))
def test_a_subject_has_one_id_in_a_study_and_another_in_another(one: str, other: str) -> None:
    made = uuid.UUID(subject_id("S-1", one))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert str(made) == subject_id("S-1", one)
    assert subject_id("S-2", one) != str(made)
    assert (subject_id("S-1", other) == str(made)) == (other == one)
