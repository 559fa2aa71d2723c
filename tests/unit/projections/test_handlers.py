"""Whatever order statements came in, and however they were batched, the rows are those of the final state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.aggregate import Study, Subject, aggregate_id
from ledger.domain.record import Record
from ledger.signing.statement import Statement
from projections.definitions import DEFINITIONS
from projections.engine.definition import Definition, partition_of
from projections.engine.digest import of_rows
from projections.engine.folding import ACTS
from projections.engine.stored import decode, empty, encode, of_records

NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
OWN = uuid5(NAMESPACE, "study")
PEOPLE = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")

FACTS: list[tuple[str, dict[str, Any]]] = [
    ("SubjectScreened", {"number": "P-1", "population": "patient", "sex": "female"}),
    ("SubjectRescreened", {"number": "P-9", "reason": "again"}),
    ("ConsentGiven", {"occurred_at": "2030-01-01", "document_id": "ICF", "version": "1", "language": "en"}),
    ("ConsentWithdrawn", {"scope": ["data"], "occurred_at": "2030-01-02"}),
    ("LabResultReported", {"analyte": "ALT", "value": "5", "unit": "U/L", "planned": "V1", "comment": None}),
    ("AssessmentRecorded", {"instrument": "ECOG", "items": {"score": 1}}),
    ("AdverseEventReported", {"term": "fever", "grade": 2, "serious": True, "coding": [{"level": "PT", "term": "F"}]}),
    ("InfusionGiven", {"number": 1, "started_at": "2030-01-03T08:00:00Z", "product": "U1"}),
    ("SubjectWithdrawn", {"reason": "moved"}),
    ("DispositionRecorded", {"term": "SCREEN FAILURE", "category": "DISPOSITION EVENT"}),
]
CHANGES: dict[str, Any] = {
    "number": "P-2", "sex": None, "planned": None, "value": "6", "grade": 4, "occurred_at": "2030-02", "site": "S2",
    "items": {"score": 2}, "term": "COMPLETED",
}  # fmt: skip


@st.composite
def courses(draw: st.DrawFn) -> list[Statement]:
    """Statements about two subjects and the study: facts, decisions, and acts on whatever came before."""
    told: list[Statement] = []
    for index in range(draw(st.integers(1, 25))):
        what = draw(st.sampled_from(("fact", "fact", "enrol", "correct", "void", "reverse", "countersign", "study")))
        who = draw(st.sampled_from(PEOPLE))
        targets = [one for one in told if one.sub.startswith("subject/")]
        if what == "study":
            told.append(_statement(index, "SiteActivated", "site/S1", body={"time_zone": "UTC"}))
        elif what == "enrol":
            told.append(_statement(index, "SubjectEnrolled", f"subject/{who}", content={"cohort": "A"}))
        elif what == "fact" or not targets:
            event, content = draw(st.sampled_from(FACTS))
            told.append(_statement(index, event, f"subject/{who}", content=content))
        else:
            told.append(_act(index, what, draw(st.sampled_from(targets)), draw))
    return told


def _act(index: int, what: str, target: Statement, draw: st.DrawFn) -> Statement:
    named = {"jti": target.jti, "digest": target.digest}
    if what == "correct":
        fields = [name for name in CHANGES if name in target.content or name == "site"] or ["occurred_at"]
        field = draw(st.sampled_from(fields))
        role = draw(st.sampled_from(("investigator", "data-manager")))
        claims = {"corrects": {**named, "field": field}, "role": role}
        content = {"value": CHANGES[field], "reason": "x"}
        return _statement(index, "EntryCorrected", target.sub, claims, content)
    event, claim = {
        "void": ("EntryVoided", "voids"),
        "reverse": ("DecisionReversed", "reverses"),
        "countersign": ("Countersigned", "countersigns"),
    }[what]
    return _statement(index, event, target.sub, {claim: named}, {"reason": "x"} if what != "countersign" else {})


def _statement(
    index: int,
    event: str,
    sub: str,
    claims: dict[str, Any] | None = None,
    content: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
) -> Statement:
    made = {
        "iss": "chen", "role": "investigator", "aud": "log", "sub": sub, "jti": str(uuid5(NAMESPACE, str(index))),
        "iat": 1_900_000_000 + index, "event": event, "v": 1, "site": "S1", "_sd": ["x"] * len(content or {}),
        **({"body": body} if body else {}), **(claims or {}),
    }  # fmt: skip
    return Statement("jwt", (), "Ed25519", "kid", made, dict(content or {}), f"digest-{index}")


def follow(
    definition: Definition, told: Sequence[Statement], batches: Sequence[int], leave_out: bool = False
) -> dict[Any, tuple[Any, ...]]:
    """The rows after taking statements in, batch by batch; `leave_out`: what the projection does not read."""
    aggregates: dict[UUID, Study | Subject] = {}
    rows: dict[Any, tuple[Any, ...]] = {}
    waiting = [
        (index, one)
        for index, one in enumerate(told)
        if not leave_out or definition.reads(one.event) or one.event in ACTS
    ]
    for size in [*batches, len(told)]:
        batch, waiting = waiting[:size], waiting[size:]
        touched: dict[UUID, dict[int, Record]] = {}
        for index, statement in batch:
            name = aggregate_id(statement.claims, OWN)
            aggregate = aggregates.setdefault(name, empty(Study if name == OWN else Subject, name))
            for record in aggregate.fold(statement, index, f"2030-01-01T00:00:00.{index:06d}Z"):
                touched.setdefault(name, {})[record.index] = record
        for name, records in touched.items():
            aggregate = aggregates[name]
            for table, values in definition.rows(aggregate, [records[i] for i in sorted(records)]):
                key = [values[place] for place in definition.table(table).key_places()]
                rows[table, partition_of(aggregate), *key] = values
    return rows


@settings(max_examples=150, deadline=None)
@given(courses(), st.lists(st.integers(1, 6), max_size=12))
def test_rows_do_not_depend_on_how_statements_were_batched(told: list[Statement], batches: list[int]) -> None:
    for definition in DEFINITIONS:
        at_once = follow(definition, told, [])
        assert follow(definition, told, batches) == at_once, definition.name
        assert follow(definition, told, [1] * len(told)) == at_once, definition.name


@settings(max_examples=100, deadline=None)
@given(courses())
def test_rows_do_not_depend_on_what_a_projection_does_not_read(told: list[Statement]) -> None:
    """So that a reading as of an earlier size may fold the events that are read alone."""
    for definition in DEFINITIONS:
        if definition.events is not None:
            assert follow(definition, told, [], leave_out=True) == follow(definition, told, []), definition.name


@settings(max_examples=100, deadline=None)
@given(courses(), st.integers(0, 24))
def test_the_trail_of_an_earlier_size_is_the_beginning_of_the_later_one(told: list[Statement], size: int) -> None:
    """Statements are what they were: only what waited for a second signature gains its effect."""
    definition = next(one for one in DEFINITIONS if one.temporal)
    table = definition.table("entries")
    effects = [table.names.index(name) for name in ("effective_at", "points")]
    early, late = follow(definition, told[:size], []), follow(definition, told, [])
    for key, values in early.items():
        if key[0] == "entries":
            then = [value for place, value in enumerate(values) if place not in effects]
            now = [value for place, value in enumerate(late[key]) if place not in effects]
            assert then == now
            if values[effects[0]] is not None:
                assert values == late[key]


@settings(max_examples=50, deadline=None)
@given(courses())
def test_a_record_kept_in_a_row_is_the_record(told: list[Statement]) -> None:
    subjects: dict[UUID, Subject] = {}
    for index, statement in enumerate(told):
        name = aggregate_id(statement.claims, OWN)
        if name != OWN:
            subjects.setdefault(name, empty(Subject, name)).fold(statement, index, "2030-01-01T00:00:00.000000Z")
    for name, subject in subjects.items():
        again = of_records(Subject, name, (decode(encode(record)) for record in subject.records))
        for record in subject.records:
            record.claims = {key: value for key, value in record.claims.items() if key not in ("_sd", "aud")}
        assert again.records == subject.records
        assert again.records.last_index == subject.records.last_index
        assert again.label == subject.label


@settings(max_examples=25, deadline=None)
@given(courses())
def test_the_digest_tells_states_apart(told: list[Statement]) -> None:
    definition = DEFINITIONS[0]

    def digest(statements: Sequence[Statement]) -> str:
        rows = follow(definition, statements, [])
        return of_rows(definition, [(key[0], key[1], values) for key, values in rows.items()]).root

    about_subjects = [one for one in told if one.sub.startswith("subject/")]
    if about_subjects:
        last = max(place for place, one in enumerate(told) if one.sub.startswith("subject/"))
        assert digest(told) != digest(told[:last])
