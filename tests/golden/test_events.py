"""Entries once recorded are read for ever: real stored bytes of every version of every event, as they were then."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ledger.domain.catalogue import CATALOGUE
from ledger.signing.errors import BadSignature
from ledger.signing.keys import PublicKey
from ledger.signing.statement import parse, read_stored, unmatched_disclosures, verify
from projections.engine.decoding import read_statement
from tests.golden.making_events import DIGESTS, FOLDED, digest, folded, lines, topics, written

LINES = lines()
EXPECTED = {one.pop("topic"): one for one in map(json.loads, FOLDED.open(encoding="utf-8"))}
STATED = dict(reversed(line.split()) for line in DIGESTS.read_text(encoding="utf-8").splitlines())


def test_every_version_of_every_event_has_a_golden_entry() -> None:
    missing = [topic for topic, _ in topics() if topic not in LINES]
    assert not missing, "run: python -m tests.golden.making_events"


def test_a_golden_entry_is_never_changed_and_never_taken_away() -> None:
    """The list of digests grows, and nothing else: what is in it was recorded somewhere."""
    assert {topic: digest(line) for topic, line in LINES.items()} == STATED
    texts = {line for file in DIGESTS.parent.glob("[A-Z]*.ndjson") for line in file.read_text("utf-8").splitlines()}
    assert texts == {written(line) for line in LINES.values()}


@pytest.mark.parametrize("topic", sorted(LINES))
def test_its_bytes_verify_and_it_is_read_upcast_and_folded_to_what_is_expected(topic: str) -> None:
    line = LINES[topic]
    statement = parse(line["statement"], partial=True)
    verify(statement, PublicKey.from_jwk(line["jwk"]))
    assert f"{statement.event}/{statement.version}" == topic
    assert not unmatched_disclosures(statement)
    CATALOGUE.check_form(statement)
    stored = (statement.jwt, statement.disclosures)
    assert read_stored(*stored) == statement
    assert read_statement(stored[0].encode(), stored[1]) == statement
    assert folded(line) == EXPECTED[topic]


@pytest.mark.parametrize("topic", ["SubjectScreened/1", "EventSkipped/1"])
def test_a_golden_entry_with_another_character_does_not_verify(topic: str) -> None:
    line: dict[str, Any] = copy.deepcopy(LINES[topic])
    head, payload, _ = line["statement"].split(".", 2)
    other = parse(next(one["statement"] for name, one in LINES.items() if name != topic and one["jwk"] == line["jwk"]))
    statement = read_stored(f"{head}.{payload}.{other.jwt.rpartition('.')[2]}", ())
    with pytest.raises(BadSignature):
        verify(statement, PublicKey.from_jwk(line["jwk"]))
    assert digest({**line, "recorded_at": "2026-03-02T09:00:00.000001Z"}) != STATED[topic]
