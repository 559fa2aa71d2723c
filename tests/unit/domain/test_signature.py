"""A signature holds for what its signer saw: whatever changed since, seen or not, is told, until it is signed again."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.oversight import NotSeen
from ledger.domain.record import Record
from ledger.domain.signature import AGAIN, CHANGED, DISPUTED, REVERSED, STANDS, SUSPECT, WITHDRAWN, Signatures, State
from tests.unit.domain.conftest import Trial


def ref(record: Record) -> dict[str, str]:
    """How an act names a record."""
    return {"jti": record.jti, "digest": record.digest}


class Casebook:
    """One subject with two results, and somebody who signs them."""

    def __init__(self) -> None:
        self.trial = Trial().open()
        self.ada = self.trial.screened()
        self.first = self.result("5")
        self.second = self.result("6")

    def result(self, value: str) -> Record:
        """A laboratory result."""
        return self.trial.fact("LabResultReported", self.ada, analyte="ferritin", value=value, unit="ug/L")

    def sign(self, *records: Record, **fields: Any) -> Record:
        """An investigator signs these records, all without any."""
        listed = [ref(record) for record in records or (self.first, self.second)]
        usual = {"role": "investigator", "iss": "chen", "meaning": "approval"}
        return self.trial.say("RecordsSigned", self.ada, records=listed, **usual | fields)

    def act(self, event: str, **fields: Any) -> Record:
        """An act about the subject."""
        return self.trial.say(event, self.ada, **{"reason": "told so", **fields})

    def correct(self, record: Record, value: str = "7", **fields: Any) -> Record:
        """The value was typed wrongly."""
        return self.act("EntryCorrected", corrects={**ref(record), "field": "value"}, value=value, **fields)

    def void(self, record: Record) -> Record:
        """The record was a mistake."""
        return self.act("EntryVoided", voids=ref(record))

    def countersign(self, record: Record) -> Record:
        """The site agrees."""
        return self.trial.say("Countersigned", self.ada, countersigns=ref(record))

    def state(self, signature: Record, jti: str | None = None, **suspect: Any) -> State:
        """How a signature stands now."""
        return Signatures(self.trial.subjects[self.ada].records, **suspect).state(signature, jti)

    def told(self, signature: Record) -> tuple[str, list[tuple[str, int]]]:
        """Its standing, and what changed, by which act."""
        state = self.state(signature)
        return state.standing, [(change.what, change.index) for change in state.changes]


@pytest.fixture
def book() -> Casebook:
    """A casebook with two results, unsigned."""
    return Casebook()


def test_a_signature_over_unchanged_records_stands(book: Casebook) -> None:
    signed = book.sign()
    book.result("9")
    book.trial.say("QueryOpened", book.ada, record=ref(book.first), question="Sure?", role="monitor")
    assert book.told(signed) == (STANDS, [])


def test_a_correction_after_the_signature_changes_what_was_signed(book: Casebook) -> None:
    signed = book.sign()
    act = book.correct(book.second)
    assert book.told(signed) == (CHANGED, [("corrected", act.index)])
    (change,) = book.state(signed).changes
    assert (change.jti, change.fields, change.actor) == (book.second.jti, ("value",), "coordinator")
    assert book.state(signed, book.first.jti).standing == STANDS, "the other record is as it was signed"


def test_a_correction_before_the_cut_was_seen_and_signed(book: Casebook) -> None:
    book.correct(book.second)
    assert book.told(book.sign()) == (STANDS, [])


def test_a_correction_between_the_cut_and_the_signature_was_not_seen(book: Casebook) -> None:
    looked = book.trial.size
    act = book.correct(book.second)
    signed = book.sign(cut=looked)
    assert act.index < signed.index
    assert book.told(signed) == (CHANGED, [("corrected", act.index)])


@pytest.mark.parametrize("late", [0, 1])
def test_the_cut_is_the_border_to_the_entry(book: Casebook, late: int) -> None:
    act = book.correct(book.second)
    signed = book.sign(cut=act.index + late)
    assert book.told(signed)[0] == (STANDS if late else CHANGED)


def test_a_void_and_its_lifting_are_both_told(book: Casebook) -> None:
    signed = book.sign()
    void = book.void(book.first)
    assert book.told(signed) == (CHANGED, [("voided", void.index)])
    lifted = book.void(void)
    assert book.told(signed) == (CHANGED, [("voided", void.index), ("restored", lifted.index)])


def test_signing_the_changed_record_again_settles_it(book: Casebook) -> None:
    signed = book.sign()
    book.correct(book.second)
    again = book.sign(book.second)
    assert book.told(signed)[0] == AGAIN
    assert book.state(signed).changes[0].again == (again.index,)
    assert book.told(again) == (STANDS, [])
    book.correct(book.first)
    assert book.told(signed)[0] == CHANGED, "the other record was not signed again"
    assert book.told(again) == (STANDS, [])


def test_a_voided_record_is_signed_off_as_void(book: Casebook) -> None:
    signed = book.sign()
    book.void(book.second)
    book.sign()
    assert book.told(signed)[0] == AGAIN


@pytest.mark.parametrize(
    "differing",
    [{"meaning": "review"}, {"role": "principal-investigator", "iss": "lee"}],
)
def test_another_meaning_or_role_settles_nothing(book: Casebook, differing: dict[str, Any]) -> None:
    signed = book.sign()
    book.correct(book.second)
    book.sign(**differing)
    assert book.told(signed)[0] == CHANGED


def test_signing_again_without_having_seen_the_change_settles_nothing(book: Casebook) -> None:
    signed = book.sign()
    looked = book.trial.size
    act = book.correct(book.second)
    again = book.sign(cut=looked)
    assert book.told(signed)[0] == CHANGED
    assert book.told(again) == (CHANGED, [("corrected", act.index)])


def test_a_signature_again_that_was_withdrawn_settles_nothing(book: Casebook) -> None:
    signed = book.sign()
    book.correct(book.second)
    again = book.sign()
    book.act("SignatureWithdrawn", record=ref(again), role="investigator", iss="chen")
    assert book.told(again)[0] == WITHDRAWN
    assert book.told(signed)[0] == CHANGED


def test_a_correction_that_waits_changes_nothing_and_is_told(book: Casebook) -> None:
    waiting = book.correct(book.second, role="data-manager")
    signed = book.sign()
    state = book.state(signed)
    assert (state.standing, state.changes) == (STANDS, ())
    assert [change.index for change in state.waiting] == [waiting.index]
    second = book.countersign(waiting)
    state = book.state(signed)
    assert (state.standing, state.waiting) == (CHANGED, ())
    assert [(change.index, change.effective_at) for change in state.changes] == [(waiting.index, second.index)]


def test_a_correction_from_before_the_cut_that_took_effect_later_was_not_seen(book: Casebook) -> None:
    waiting = book.correct(book.second, role="data-manager")
    looked = book.trial.size
    book.countersign(waiting)
    assert book.told(book.sign(cut=looked)) == (CHANGED, [("corrected", waiting.index)])
    assert book.told(book.sign()) == (STANDS, [])


def test_a_redaction_changes_what_was_signed_once_it_is_countersigned(book: Casebook) -> None:
    signed = book.sign()
    named = {**ref(book.first), "disclosures": ["A" * 43]}
    record = Record(99, "later", "d", "k", claims_of(book, "FieldsRedacted"), "act", {"records": [named]}, {})
    record.pending = True
    records = book.trial.subjects[book.ada].records
    records.apply(record)
    assert book.told(signed) == (STANDS, [])
    second = Record(100, "later", "e", "k", claims_of(book, "Countersigned", countersigns=ref(record)), "act", {}, {})
    records.apply(second)
    assert book.told(signed) == (CHANGED, [("redacted", 99)])


def claims_of(book: Casebook, event: str, **more: Any) -> dict[str, Any]:
    """Claims of a statement that nobody decided."""
    return {"iss": "privacy", "role": "privacy", "event": event, "sub": book.ada, "jti": event, "iat": 0, **more}


def test_a_disputed_record_changes_what_was_signed(book: Casebook) -> None:
    signed = book.sign()
    act = book.act("AttributionDisputed", record=ref(book.first))
    assert book.told(signed) == (CHANGED, [("attribution disputed", act.index)])


def test_a_signature_is_withdrawn_or_disputed_by_its_signer(book: Casebook) -> None:
    one, other = book.sign(), book.sign()
    book.act("SignatureWithdrawn", record=ref(one), role="investigator", iss="chen")
    book.act("AttributionDisputed", record=ref(other), role="investigator", iss="chen")
    assert [book.told(signed)[0] for signed in (one, other)] == [WITHDRAWN, DISPUTED]


def test_a_signature_by_a_key_under_suspicion_is_disputed_and_settles_nothing(book: Casebook) -> None:
    signed = book.sign()
    book.correct(book.second)
    again = book.sign()

    def suspect(kid: str, index: int, jti: str, digest: str) -> bool:
        return index == again.index

    assert book.state(again, suspect=suspect).standing == SUSPECT
    assert book.state(signed, suspect=suspect).standing == CHANGED
    assert book.state(signed).standing == AGAIN


def test_a_decision_covers_its_own_statement(book: Casebook) -> None:
    book.trial.facts_for_eligibility(book.ada)
    book.trial.consent(book.ada)
    decided = book.trial.eligible(book.ada)
    assert book.told(decided) == (STANDS, [])
    reversal = book.act("DecisionReversed", reverses=ref(decided), role="investigator", meaning="approval")
    assert book.told(decided)[0] == REVERSED
    assert book.told(reversal) == (STANDS, [])


def test_an_own_entry_that_was_signed_and_corrected_says_so(book: Casebook) -> None:
    fields = {"term": "rash", "role": "investigator", "meaning": "authorship"}
    told = book.trial.fact("AdverseEventReported", book.ada, **fields)
    assert book.told(told) == (STANDS, [])
    act = book.act("EntryCorrected", corrects={**ref(told), "field": "term"}, value="itch")
    assert book.told(told) == (CHANGED, [("corrected", act.index)])


def test_the_second_signature_covers_what_it_countersigns(book: Casebook) -> None:
    waiting = book.correct(book.second, role="data-manager")
    second = book.trial.say("Countersigned", book.ada, countersigns=ref(waiting), meaning="approval")
    records = book.trial.subjects[book.ada].records
    assert [one.index for one in Signatures(records).over(waiting)] == [second.index]
    assert book.told(second) == (STANDS, [])


def test_a_record_shows_its_own_signature_and_those_over_it_in_order(book: Casebook) -> None:
    own = book.trial.fact("AdverseEventReported", book.ada, term="rash", role="investigator", meaning="authorship")
    first, second = book.sign(own), book.sign(own, meaning="review")
    signatures = Signatures(book.trial.subjects[book.ada].records)
    assert [one.index for one in signatures.over(own)] == [own.index, first.index, second.index]
    assert signatures.over(book.first) == []


def test_what_was_not_there_to_be_seen_is_not_signed(book: Casebook) -> None:
    looked = book.trial.size
    later = book.result("9")
    with pytest.raises(NotSeen):
        book.sign(later, cut=looked)
    with pytest.raises(NotSeen):
        book.sign(later, later)
    book.sign(later)


def test_a_long_chain_of_voids_says_of_its_end_what_each_of_them_did_to_it() -> None:
    book = Casebook()
    signed = book.sign(book.first)
    last, expected = book.first, []
    for number in range(12):
        last = book.void(last)
        expected.append("restored" if number % 2 else "voided")
        assert [change.what for change in book.state(signed).changes] == expected
