"""An event gets a new version: what was recorded is read in the form of today, and acts on it are still understood."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.domain.aggregate import record_of
from ledger.domain.catalogue import CATALOGUE, NewerVersion, VersionNotRecorded, WrongForm
from ledger.domain.context import NAMING
from ledger.domain.correction import NotYours
from ledger.domain.model import DISCLOSED, EventModel, Fact, Label
from ledger.domain.query import FieldNotThere
from ledger.domain.record import Record, Records
from ledger.domain.versions import EventUnreadable, UpcastFailed, accepted, became, chain
from ledger.signing.statement import Statement
from projections.audit_trail.definition import as_recorded
from projections.engine.studies import _copied_record
from tests.unit.domain.conftest import KEY, Trial
from tests.unit.domain.invented_events import Sampled, SampledV1, SampledV2, a_release_with

V1 = {"volume": "5 ml", "tube": "EDTA", "nurse": "Kim"}


@pytest.fixture(autouse=True)
def release() -> Iterator[None]:
    with a_release_with(Sampled):
        yield


def statement(
    v: int, content: dict[str, Any], body: dict[str, Any] | None = None, event: str = "Sampled", **more: Any
) -> Statement:
    claims = {
        "iss": "chen",
        "role": "investigator",
        "aud": "x",
        "sub": "subject/1",
        "jti": f"{event}-{v}-{len(more)}",
        "iat": 1,
    }
    claims |= {"event": event, "v": v, "site": "NORTH", "_sd": ["x"] * len(content), **more}
    if body is not None:
        claims["body"] = body
    return Statement("jwt", (), "Ed25519", KEY, claims, content, f"digest of {claims['jti']}")


class Course:
    """The records of one subject, as they are told."""

    def __init__(self) -> None:
        self.records = Records()

    def tell(self, told: Statement, **redacted: int) -> Record:
        told = Statement(told.jwt, (), told.alg, told.kid, told.claims, told.content, told.digest, redacted)
        record = record_of(told, len(self.records), f"2030-01-01T00:00:{len(self.records):02d}.000000Z")
        self.records.apply(record)
        return record

    def correct(self, target: Record, name: str, value: Any, **redacted: int) -> Record:
        named = {"jti": target.jti, "digest": target.digest, "field": name}
        content = {"reason": "misread"} | ({} if value is None else {"value": value})
        jti = f"correction-{len(self.records)}"
        return self.tell(statement(1, content, event="EntryCorrected", jti=jti, corrects=named), **redacted)

    def redact(self, target: Record, *names: str) -> Record:
        named = {"jti": target.jti, "digest": target.digest, "disclosures": ["d"] * len(names), "fields": list(names)}
        body = {"records": [named], "legal_basis": "erasure"}
        ordered = self.tell(
            statement(1, {}, body, event="FieldsRedacted", jti=f"order-{len(self.records)}", role="privacy")
        )
        signed = {"countersigns": {"jti": ordered.jti, "digest": ordered.digest}}
        return self.tell(statement(1, {}, event="Countersigned", jti=f"second-{len(self.records)}", **signed))


@pytest.fixture
def course() -> Course:
    return Course()


# -- reading ------------------------------------------------------------------------------------------------


def test_a_statement_of_version_1_is_read_step_by_step_in_the_form_of_version_3(course: Course) -> None:
    record = course.tell(statement(1, V1, {"rack": "R7"}))
    assert record.content == {"millilitres": "5", "volume_unit": "ml", "label": "R7/EDTA"}
    assert record.body == {}
    assert record.claims["body"] == {"rack": "R7"}, "what was signed stands as it was"


def test_every_version_of_the_same_sample_is_read_the_same(course: Course) -> None:
    told = [
        statement(1, {"volume": "5 ml", "tube": "EDTA"}, {"rack": "R7"}),
        statement(2, {"volume_value": "5", "volume_unit": "ml", "tube": "EDTA"}, {"rack": "R7"}),
        statement(3, {"millilitres": "5", "volume_unit": "ml", "label": "R7/EDTA"}),
    ]
    assert len({str(sorted(record_of(one, 0, "").content.items())) for one in told}) == 1


def test_reading_does_not_touch_what_was_read() -> None:
    told = statement(1, {**V1, "source": {"kind": "paper"}}, {"rack": "R7"})
    before = copy.deepcopy((dict(told.claims), dict(told.content)))
    record = record_of(told, 0, "")
    record.content["source"]["kind"] = "changed"
    assert (dict(told.claims), dict(told.content)) == before


@pytest.mark.parametrize("missing", [(), ("volume",), ("tube",), ("volume", "tube", "nurse")])
def test_an_upcaster_takes_a_statement_whose_fields_were_redacted(missing: tuple[str, ...]) -> None:
    content = {name: value for name, value in V1.items() if name not in missing}
    told = statement(1, content)
    told = Statement(told.jwt, (), told.alg, told.kid, told.claims, content, told.digest, dict.fromkeys(missing, 4))
    record = record_of(told, 0, "")
    assert ("millilitres" in record.redacted) == ("volume" in missing)
    assert ("label" in record.redacted) == ("tube" in missing)
    assert "volume" not in record.redacted


def test_a_redacted_field_that_lives_on_in_none_keeps_the_name_that_was_signed() -> None:
    told = statement(1, {"volume": "5 ml"})
    told = Statement(told.jwt, (), told.alg, told.kid, told.claims, told.content, told.digest, {"nurse": 9})
    assert record_of(told, 0, "").redacted == {"nurse": 9}


def test_a_version_of_tomorrow_is_never_guessed() -> None:
    with pytest.raises(EventUnreadable, match=r"Sampled version 4 at index 7 was .* knows it up to version 3") as found:
        record_of(statement(4, {"millilitres": "5"}), 7, "")
    assert found.value.indexes == (7,)
    assert found.value.remedy


def test_an_event_of_tomorrow_is_never_guessed() -> None:
    with pytest.raises(EventUnreadable, match=r"SubjectBlessed version 1 at index 7 .* does not know this event"):
        record_of(statement(1, {}, event="SubjectBlessed"), 7, "")


class BrokenV1(Fact):
    """Version 1."""

    recorders = frozenset({"investigator"})
    words = "was"
    volume: Label | None = None


class Broken(Fact):
    """An upcaster that expects too much."""

    v = 2
    before = BrokenV1
    came_from = {"number": ("volume",)}
    recorders = frozenset({"investigator"})
    words = "was"
    number: Label | None = None

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        content["number"] = content.pop("volume").split()[1]


class StrayV1(BrokenV1):
    """Version 1."""


class Stray(Fact):
    """An upcaster that leaves what its version does not have."""

    v = 2
    before = StrayV1
    came_from = {"number": ("volume",)}
    recorders = frozenset({"investigator"})
    words = "was"
    number: Label | None = None

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        body["number"] = "1"


@pytest.mark.parametrize(
    ("model", "content", "because"),
    [
        (Broken, {}, "Broken version 1 at index 3 to version 2: KeyError: 'volume'"),
        (Broken, {"volume": "5"}, "Broken version 1 at index 3 to version 2: IndexError"),
        (Stray, {"volume": "5"}, "Stray version 1 at index 3 to version 2: it gives number, volume"),
    ],
)
def test_an_upcaster_that_fails_is_told_with_event_version_and_index(
    model: type[EventModel], content: dict[str, Any], because: str
) -> None:
    with a_release_with(model), pytest.raises(UpcastFailed) as found:
        record_of(statement(1, content, event=model.__name__), 3, "")
    assert found.value.because.startswith(because)
    assert found.value.indexes == (3,)


# -- recording ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("v", "content"),
    [
        (1, {"volume_value": "5"}),
        (2, {"volume": "5 ml"}),
        (3, {"volume_value": "5"}),
        (1, {"tube": "EDTA"}),
        (2, {"volume_value": "about five"}),
        (1, {"volume": "5 ml", "rack": "R7"}),
    ],
)
def test_a_statement_has_the_form_of_its_own_version(v: int, content: dict[str, Any]) -> None:
    with pytest.raises(WrongForm, match=f"Sampled version {v}"):
        CATALOGUE.check_form(statement(v, content))


def test_a_statement_of_an_earlier_version_in_good_form_is_well_formed() -> None:
    assert CATALOGUE.check_form(statement(1, V1)) is SampledV1
    assert CATALOGUE.check_form(statement(2, {"volume_value": "5"})) is SampledV2


@pytest.mark.parametrize("v", [0, 4])
def test_a_version_that_nobody_knows_is_not_recorded(v: int) -> None:
    with pytest.raises(NewerVersion, match="known up to version 3"):
        CATALOGUE.check_form(statement(v, {}))


def test_the_newest_version_and_the_one_before_are_recorded() -> None:
    assert CATALOGUE.accepted("Sampled") == (2, 3)
    assert CATALOGUE.signed_as("Sampled") is Sampled
    with pytest.raises(VersionNotRecorded, match="recorded in version 2 and 3, not 1"):
        CATALOGUE.check_accepted("Sampled", 1)
    assert {CATALOGUE.accepted(model.__name__) for model in CATALOGUE if model.v == 1} == {(1,)}


def test_a_release_that_only_reads_the_new_version_goes_on_signing_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First every server learns to read it; the release after that records it."""
    monkeypatch.setattr(Sampled, "accepts", (2,), raising=False)
    assert accepted(chain(Sampled)) == (2,)
    assert CATALOGUE.signed_as("Sampled") is SampledV2
    with pytest.raises(VersionNotRecorded):
        CATALOGUE.check_accepted("Sampled", 3)


def test_the_schema_of_every_version_is_there() -> None:
    fields = [set(CATALOGUE.schema("Sampled", v)["properties"]) - set(Fact.model_fields) for v in (1, 2, 3)]
    assert fields == [
        {"volume", "tube", "rack", "nurse"},
        {"volume_value", "volume_unit", "tube", "rack"},
        {"millilitres", "volume_unit", "label"},
    ]
    assert CATALOGUE.schema("Sampled") == CATALOGUE.schema("Sampled", 3)


# -- declarations -------------------------------------------------------------------------------------------


def declared(**changed: Any) -> type[EventModel]:
    """Version 2 of an event with one field, `volume`; with these declarations."""
    fields = {"number": Label | None}
    own = {"v": 2, "before": type("MadeV1", (BrokenV1,), {"__doc__": "One."}), "came_from": {"number": ("volume",)}}
    own |= {"number": None, "upcast": classmethod(lambda cls, body, content: None), "__annotations__": fields}
    own = {name: value for name, value in {**own, **changed}.items() if value is not ...}
    return type("Made", (Fact,), {"__module__": __name__, "__doc__": "Two.", **own})


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"upcast": ...}, "has no upcaster of its own"),
        ({"came_from": {}}, "does not say what became of volume"),
        ({"came_from": {"number": ("volume", "weight")}}, "that the version before does not have"),
        ({"came_from": {"number": ("volume",), "size": ("volume",)}}, "makes fields that it does not have"),
        ({"dropped": frozenset({"volume"})}, "that others are made of"),
        ({"v": 3}, "and says 3"),
        ({"before": BrokenV1}, "is called BrokenV1"),
        ({"accepts": ()}, "accepts versions that it does not have"),
        ({"accepts": (2, 3)}, "accepts versions that it does not have"),
    ],
)
def test_what_a_version_declares_has_to_fit_the_one_before(changed: dict[str, Any], because: str) -> None:
    chain(declared())
    with pytest.raises(ValueError, match=because):
        chain(declared(**changed))


def test_what_can_be_redacted_never_moves_into_the_clear() -> None:
    from typing import Annotated

    from ledger.domain.model import CLEAR

    clear = Annotated[Label | None, CLEAR]
    with pytest.raises(ValueError, match="makes a clear field of a disclosed one"):
        chain(declared(__annotations__={"number": clear}))
    with pytest.raises(ValueError, match="moves between clear and disclosed"):
        chain(declared(__annotations__={"number": Label | None, "comment": clear}, comment=None))
    assert DISCLOSED is not CLEAR


def test_of_every_field_it_is_known_what_became_of_it() -> None:
    models = chain(Sampled)
    assert became(models, 1, "volume") == ("millilitres", "volume_unit")
    assert became(models, 2, "volume_value") == ("millilitres",)
    assert became(models, 1, "tube") == became(models, 1, "rack") == ("label",)
    assert became(models, 1, "comment") == ("comment",)
    assert became(models, 1, "nurse") == became(models, 3, "volume") == ()


# -- acts on what was recorded in an earlier version ----------------------------------------------------------


def test_a_correction_in_the_words_of_the_original_changes_what_became_of_them(course: Course) -> None:
    record = course.tell(statement(1, V1))
    course.correct(record, "volume", "7 dl")
    assert record.content == {"millilitres": "7", "volume_unit": "dl", "label": "?/EDTA"}
    assert [value.value for value in record.values["millilitres"]] == ["5", "7"]
    assert "volume" not in record.values


def test_a_correction_in_the_words_of_any_later_version_is_understood(course: Course) -> None:
    record = course.tell(statement(1, V1))
    course.correct(record, "volume_value", "6")
    assert record.content["millilitres"] == "6"
    course.correct(record, "millilitres", "8")
    assert record.content == {"millilitres": "8", "volume_unit": "ml", "label": "?/EDTA"}
    assert [value.value for value in record.values["millilitres"]] == ["5", "6", "8"]


def test_a_correction_back_to_the_first_value_counts_although_nothing_seems_to_change(course: Course) -> None:
    record = course.tell(statement(1, V1))
    course.correct(record, "millilitres", "8")
    course.correct(record, "volume", "5 ml")
    assert record.content["millilitres"] == "5"


def test_a_correction_of_one_source_keeps_the_other_as_corrected(course: Course) -> None:
    record = course.tell(statement(1, {"volume": "5 ml", "tube": "EDTA"}, {"rack": "R7"}))
    course.correct(record, "volume", "6 ml")
    course.correct(record, "tube", "heparin")
    assert record.content == {"millilitres": "6", "volume_unit": "ml", "label": "R7/heparin"}


def test_a_correction_to_not_known_takes_away_what_was_made_of_it(course: Course) -> None:
    record = course.tell(statement(1, V1))
    course.correct(record, "volume", None)
    assert record.content == {"label": "?/EDTA"}


def test_what_was_stated_is_still_told_after_corrections(course: Course) -> None:
    record = course.tell(statement(1, V1))
    stated = dict(record.content)
    course.correct(record, "volume", "7 dl")
    course.correct(record, "label", "blue")
    assert as_recorded(record) == stated


def test_a_copy_that_is_folded_further_leaves_the_original_alone(course: Course) -> None:
    record = course.tell(statement(1, V1))
    twin = _copied_record(record)
    twin.corrected("volume", "9 ml")
    assert record.corrected("tube", "heparin") == {"label": "?/heparin"}
    assert record.earlier is not None and record.earlier.stages[0][1]["volume"] == "5 ml"


def test_a_redaction_in_the_words_of_the_original_takes_away_what_became_of_them(course: Course) -> None:
    record = course.tell(statement(1, V1))
    course.redact(record, "volume")
    assert record.content == {"label": "?/EDTA"}
    assert set(record.redacted) == {"millilitres", "volume_unit"}
    assert record.gone("millilitres") == 2
    assert record.earlier is not None and "5" not in str(record.earlier)


def test_a_redacted_correction_in_the_words_of_the_original_is_gone_from_what_it_corrected(course: Course) -> None:
    record = course.tell(statement(1, V1))
    act = course.correct(record, "volume", "7 dl")
    course.redact(act, "value")
    assert "millilitres" not in record.content
    assert [(value.value, value.redacted) for value in record.values["millilitres"]] == [("5", None), (None, 3)]


# -- deciding on such acts ------------------------------------------------------------------------------------


@pytest.fixture
def trial() -> Trial:
    return Trial().open()


def sampled(trial: Trial, v: int, **fields: Any) -> tuple[str, dict[str, str]]:
    ada = trial.screened()
    record = trial.say("Sampled", ada, v=v, role="investigator", **fields)
    return ada, {"jti": record.jti, "digest": record.digest}


@pytest.mark.parametrize(("name", "value"), [("volume_value", "6"), ("millilitres", "6"), ("tube", "heparin")])
def test_a_correction_may_name_a_field_of_the_originals_version_or_of_a_later_one(
    trial: Trial, name: str, value: str
) -> None:
    ada, named = sampled(trial, 2, volume_value="5", tube="EDTA")
    trial.say(
        "EntryCorrected", ada, corrects={**named, "field": name}, value=value, reason="misread", role="investigator"
    )


@pytest.mark.parametrize(
    ("name", "value"), [("volume", "6 ml"), ("nurse", "Kim"), ("volume_value", "six"), ("rack", "R8"), ("shoes", "42")]
)
def test_a_correction_in_words_that_the_original_never_had_is_refused(trial: Trial, name: str, value: str) -> None:
    ada, named = sampled(trial, 2, volume_value="5", tube="EDTA")
    with pytest.raises(NotYours):
        trial.say(
            "EntryCorrected", ada, corrects={**named, "field": name}, value=value, reason="x", role="investigator"
        )


def test_a_query_may_name_a_field_of_the_originals_version_or_of_a_later_one(trial: Trial) -> None:
    ada, named = sampled(trial, 2, volume_value="5")
    for name in ("volume_value", "millilitres"):
        trial.say("QueryOpened", ada, record=named, field=name, question="Is that so?", role="monitor")
    with pytest.raises(FieldNotThere):
        trial.say("QueryOpened", ada, record=named, field="volume", question="Is that so?", role="monitor")


def test_what_the_roster_follows_by_name_keeps_its_name_in_every_version() -> None:
    """It folds corrections without their originals, so it cannot ask what a field was called then."""
    for event, name in NAMING.items():
        assert all(name in model.model_fields for model in CATALOGUE.versions(event)), event
