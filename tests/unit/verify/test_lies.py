"""A verifier that trusts nobody: an untouched bundle passes, and every lie is caught by the check that should."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from api.client.signing import Cut, target
from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import CosigningAt, Ed25519Cosigner, Mldsa44Cosigner
from ledger.merkle.log_keys import LogKeys, derive
from ledger.merkle.note import VerifierKey, make_note
from ledger.merkle.policy import Policy
from ledger.merkle.seal import seal_note
from ledger.signing.encoding import b64url
from ledger.signing.proofs import make_proof
from ledger.signing.statement import disclosure_digest, parse
from ledger.verify import recorders
from ledger.verify.bundle import POLICY, disclosures_line, disclosures_path, log_path, open_bundle, withheld_line
from ledger.verify.governance import Unsound, _log_keys
from ledger.verify.html import page
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport
from tests.unit.verify.study import (
    SUBJECT,
    Entry,
    MemoryStudy,
    course,
    redact,
    repack,
    seeded,
)

FIRST_RESULT = 8


def checked(study: MemoryStudy, path: Path, policy: str | None = None, **options: object) -> VerificationReport:
    trusted = Policy.parse(study.policy() if policy is None else policy)
    with open_bundle(path) as bundle:
        return verify(bundle, trusted, now=int(study.now.timestamp()) + 60, workers=1, **options)  # type: ignore[arg-type]


def judged(study: MemoryStudy, tmp_path: Path, **options: object) -> VerificationReport:
    return checked(study, study.write(tmp_path / "evidence.zip"), **options)  # type: ignore[arg-type]


def spoken(study: MemoryStudy, index: int) -> str:
    entry = study.entries[index]
    return entry.jwt + "~" + "".join(f"{one}~" for one in entry.disclosures)


def test_an_untouched_bundle_is_verified(tmp_path: Path) -> None:
    report = judged(course(MemoryStudy()), tmp_path)
    assert report.exit_status() == 0, report.text()
    assert report and report.failed == () and report.first_bad_index is None
    assert {number: check.outcome for number, check in report.checks.items()} == {
        **{f"V{number}": "passed" for number in range(1, 8)},
        "V8": "undecided",
        "V9": "undecided",
    }
    assert report.exit_status(("V8",)) == 2 and report.exit_status(("V5",)) == 0


def test_a_log_of_genesis_alone_is_verified(tmp_path: Path) -> None:
    assert judged(MemoryStudy().open(), tmp_path)


@pytest.mark.parametrize("results", [247, 248, 249, 300, 560])
def test_sizes_around_full_tiles_are_verified(tmp_path: Path, results: int) -> None:
    report = judged(course(MemoryStudy(), results), tmp_path)
    assert report, report.text()


def test_several_workers_find_the_same(tmp_path: Path) -> None:
    study = course(MemoryStudy(), 2_300)
    study.entries[1_700].recorded_at = study.entries[1_699].recorded_at
    path = study.write(tmp_path / "evidence.zip")
    report = checked(study, path, policy=study.policy())
    with open_bundle(path) as bundle:
        again = verify(bundle, Policy.parse(study.policy()), now=int(study.now.timestamp()) + 60, workers=2)
    assert again.as_json() == report.as_json()


def test_without_a_policy_the_report_says_loudly_that_nobody_vouched_for_the_keys(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    with open_bundle(study.write(tmp_path / "evidence.zip")) as bundle:
        report = verify(bundle, None, now=0, workers=1)
    assert report and "NOBODY OUTSIDE VOUCHED" in report.warnings[0]
    assert report.policy_keys == [str(study.log.ed25519.key)]


def test_a_key_that_nobody_reads_out_stands_with_its_digest(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    short, long = (str(key) for key in study.log.public())
    policy = study.policy().replace(f"log {short}\n", f"log {short}\nlog {long}\n").encode()
    with open_bundle(study.write(tmp_path / "evidence.zip", study.files() | {POLICY: policy})) as bundle:
        report = verify(bundle, None, now=0, workers=1)
    assert report, report.text()
    for text in (report.text(), page(report)):
        assert f"{short}\n" in text or f"{short}</code>" in text
        assert f"{long} (SHA-256 {sha256(long.encode()).hexdigest()})" in text
    assert report.as_json()["policy_keys"] == [short, long]


@dataclass(frozen=True)
class Lie:
    """What somebody did to a study before the bundle was written, and what has to be said about it."""

    name: str
    tell: Callable[[MemoryStudy], None]
    failed: set[str]
    index: int | None
    words: str


def flip(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _altered(study: MemoryStudy) -> None:
    study.entries[9].jwt = flip(study.entries[9].jwt, len(study.entries[9].jwt) - 40)


def _altered_payload(study: MemoryStudy) -> None:
    header, payload, signature = study.entries[9].jwt.split(".")
    from ledger.signing.encoding import unb64url

    claims = json.loads(unb64url(payload))
    claims["iat"] -= 86_400
    study.entries[9].jwt = f"{header}.{b64url(json.dumps(claims, separators=(',', ':')).encode())}.{signature}"


def _disclosure(study: MemoryStudy) -> None:
    study.entries[9].disclosures[1] = flip(study.entries[9].disclosures[1], 30)


def _lost(study: MemoryStudy) -> None:
    del study.entries[9].disclosures[1]


def _added(study: MemoryStudy) -> None:
    study.entries[9].disclosures.append(study.entries[10].disclosures[0])


def _time_back(study: MemoryStudy) -> None:
    study.entries[9].recorded_at = "2026-03-02T08:00:00.000000Z"


def _time_nonsense(study: MemoryStudy) -> None:
    study.entries[9].recorded_at = "2026-02-30T09:00:00.000000Z"


def _deleted(study: MemoryStudy) -> None:
    del study.entries[9]


def _inserted(study: MemoryStudy) -> None:
    study.entries.insert(9, Entry(study.entries[8].jwt, study.entries[8].recorded_at, []))


def _swapped(study: MemoryStudy) -> None:
    study.entries[9], study.entries[10] = study.entries[10], study.entries[9]


HISTORY = [
    Lie("a statement's signature is altered", _altered, {"V2", "V3", "V5"}, 9, "signature"),
    Lie("a statement's claim is altered", _altered_payload, {"V2", "V3", "V5"}, 9, "signature"),
    Lie("a recording is dated back", _time_back, {"V2", "V3", "V6"}, 9, "before that of the entry before it"),
    Lie("a recording has a day that never was", _time_nonsense, {"V2", "V3", "V5"}, 9, "form"),
    Lie("an entry is deleted", _deleted, {"V2", "V3"}, 6, "another root"),
    Lie("an entry is inserted", _inserted, {"V2", "V3", "V5", "V7"}, 6, "was used at index 8"),
    Lie("two entries are swapped", _swapped, {"V2", "V3", "V6"}, 8, "another root"),
]


@pytest.mark.parametrize("lie", HISTORY, ids=lambda lie: lie.name)
def test_history_rewritten_behind_published_checkpoints_is_caught(lie: Lie, tmp_path: Path) -> None:
    """All hashes recomputed, but the log's key is not at hand: checkpoints stay as they were."""
    study = course(MemoryStudy())
    while study.size not in study.published:
        study.publish()
    before, size = dict(study.published), study.size
    lie.tell(study)
    while study.size > size:
        study.entries.pop()
    while study.size < size:
        study.record(study.ledger.sign("DataExported", "study", {"purpose": "synthetic"}))
    study.published = before
    report = judged(study, tmp_path)
    assert report.exit_status() == 1
    assert set(report.failed) >= lie.failed, report.text()
    assert lie.words in report.text()
    assert report.first_bad_index is not None and report.first_bad_index <= 10


def _header(study: MemoryStudy) -> None:
    study.entries[9].jwt = "=" + study.entries[9].jwt[1:]


WITH_KEY = [
    Lie("a header that is no base64url", _header, {"V5"}, 9, "BASE64URL-1"),
    Lie("a statement's signature is altered", _altered, {"V5"}, 9, "signature"),
    Lie("a statement's claim is altered", _altered_payload, {"V5"}, 9, "signature"),
    Lie("a recording is dated back", _time_back, {"V5", "V6"}, 9, "before that of the entry before it"),
    Lie("an entry is recorded twice", _inserted, {"V5", "V7"}, 9, "was used at index 8"),
    Lie("a disclosure is altered", _disclosure, {"V7"}, 9, "disclosure 2"),
    Lie("a disclosure is lost", _lost, {"V7"}, 9, "unauthorised loss"),
    Lie("a disclosure of another entry is added", _added, {"V7"}, 9, "DISCLOSURE"),
]


@pytest.mark.parametrize("lie", WITH_KEY, ids=lambda lie: lie.name)
def test_a_log_signed_anew_with_its_own_key_still_does_not_pass(lie: Lie, tmp_path: Path) -> None:
    study = course(MemoryStudy())
    lie.tell(study)
    study.published.clear()
    report = judged(study, tmp_path)
    assert set(report.failed) == lie.failed, report.text()
    assert report.first_bad_index == lie.index
    assert lie.words in report.text()


def test_a_tail_cut_off_and_signed_anew_is_caught_by_who_kept_a_later_checkpoint(tmp_path: Path) -> None:
    """Truncation with the log's key leaves a consistent log: only witnesses, receipts or freshness show it."""
    study = course(MemoryStudy(witnesses=[Ed25519Cosigner("site", bytes([9]) * 32)]))
    study.witnesses, trusted = [], study.policy()
    del study.entries[-3:]
    study.published = {size: note for size, note in study.published.items() if size <= study.size}
    study.published.pop(study.size, None)
    report = checked(study, study.write(tmp_path / "evidence.zip"), policy=trusted)
    assert report.failed == ("V1",) and "quorum is not met" in report.text()


# -- what only somebody with rights can do ----------------------------------------------------------------------


def _stranger(study: MemoryStudy) -> None:
    thief = study.actor("coordinator-1", "coordinator", seeded(99), "S1")
    study.record(thief.sign("LabResultReported", SUBJECT, {"analyte": "PLAT", "value": "1", "unit": "10*9/L"}))


def _other_log(study: MemoryStudy) -> None:
    there = MemoryStudy(origin="ledger.example.org/study/OTHER-1")
    person = there.actor("coordinator-1", "coordinator", seeded(12), "S1")
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}))


def _wrong_role(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "sponsor", seeded(12))
    study.record(person.sign("StudyHeld", "study", {"reason": "synthetic"}))


def _decides(study: MemoryStudy) -> None:
    """A coordinator, who may record much and decide nothing, declares a subject eligible."""
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    fields = {"eligible": True, "criteria": []}
    study.record(person.sign("EligibilityDecided", SUBJECT, fields, cut=study.cut(), meaning="approval"))


def _transcribes(study: MemoryStudy) -> None:
    """A data manager may transcribe facts, and records one as if it were the own."""
    manager = study.enrol("manager-1", "data-manager", seeded(22))
    study.record(manager.sign("LabResultReported", SUBJECT, {"analyte": "PLAT"}, site="S1"))


def _unsigned_decision(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    study.record(person.sign("EligibilityDecided", SUBJECT, {"eligible": True, "criteria": []}))


def _locks_alone(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    text = person.sign("RecordsFrozen", SUBJECT, {"reason": "x"}, cut=study.cut(), meaning="approval")
    study.record(text)
    study.record(person.sign("Countersigned", SUBJECT, {}, countersigns=target(text)))


def _sealed_by_a_registrar(study: MemoryStudy) -> None:
    """A registrar enrols a key of the own for the system, which the log's keys know nothing of."""
    key = seeded(78)
    study.record(study.registrar.enrol_key("ledger", key, key.public_jwk))


def _accepts_another_text(study: MemoryStudy) -> None:
    said = {"statement": "I answer for it.", "version": "1"}
    study.record(study.registrar.sign("AccountabilityStated", "study", said))
    person = study.actor("coordinator-1", "coordinator", seeded(12))
    study.record(person.sign("AccountabilityAccepted", "actor/coordinator-1", said | {"statement": "For nothing."}))


def _renames_oneself(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12))
    study.record(person.sign("PersonRenamed", "actor/coordinator-1", {"name": "Synthetic Other"}))


def _ends_the_system(study: MemoryStudy) -> None:
    body = {"delegation": "genesis/ledger", "reason": "x"}
    study.record(study.registrar.sign("DelegationEnded", "actor/ledger", body))


def _wrong_site(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S2")
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}))


def _operator(study: MemoryStudy) -> None:
    study.record(study.ledger.sign("LabResultReported", SUBJECT, {"analyte": "PLAT"}, site="S1"))


def _system_signs(study: MemoryStudy) -> None:
    study.record(study.ledger.sign("DataExported", "study", {"purpose": "x"}, meaning="approval"))


def _own_key(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12))
    key = seeded(77)
    study.record(person.enrol_key("coordinator-1", key, key.public_jwk))


def _foreign_key(study: MemoryStudy) -> None:
    """A registrar enrols a key with the proof of another enrolment."""
    key = seeded(77)
    proof = parse(study.registrar.enrol_key("coordinator-1", key, key.public_jwk)).body["proof"]
    body = {"kid": key.kid, "alg": key.alg, "jwk": key.public_jwk, "proof": proof}
    study.record(study.registrar.sign("KeyEnrolled", "actor/coordinator-1", body))


def _second_genesis(study: MemoryStudy) -> None:
    study.open()


def _revoked(study: MemoryStudy) -> None:
    body = {"kid": seeded(12).kid, "reason": "lost"}
    study.record(study.registrar.sign("KeyRevoked", "actor/coordinator-1", body))
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}))


def _invented_cut(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    signed = [target(spoken(study, FIRST_RESULT))]
    cut = Cut(study.size, b64url(bytes(32)))
    study.record(person.sign("RecordsSigned", SUBJECT, {"records": signed}, cut=cut))


def _cut_beyond(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    signed = [target(spoken(study, FIRST_RESULT))]
    cut = Cut(study.size + 1, b64url(bytes(32)))
    study.record(person.sign("RecordsSigned", SUBJECT, {"records": signed}, cut=cut))


def _unknown_meaning(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    signed = [target(spoken(study, FIRST_RESULT))]
    study.record(person.sign("RecordsSigned", SUBJECT, {"records": signed}, cut=study.cut(), meaning="whim"))


def _dangling(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    named = {"jti": "00000000-0000-4000-8000-00000000dead", "digest": "A" * 43}
    study.record(person.sign("EntryVoided", SUBJECT, {"reason": "x"}, voids=named))


def _other_digest(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    named = {**target(spoken(study, FIRST_RESULT)), "digest": "A" * 43}
    study.record(person.sign("EntryVoided", SUBJECT, {"reason": "x"}, voids=named))


def _signed_records(study: MemoryStudy, records: list[object]) -> None:
    investigator = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    fields = {"records": records}
    study.record(investigator.sign("RecordsSigned", SUBJECT, fields, cut=study.cut(), meaning="approval"))


def _signs_nothing(study: MemoryStudy) -> None:
    named = target(spoken(study, FIRST_RESULT))
    _signed_records(study, [named, {**named, "jti": "00000009-0000-4000-8000-000000000009"}])


def _signs_another(study: MemoryStudy) -> None:
    named = target(spoken(study, FIRST_RESULT))
    _signed_records(study, [{**named, "digest": target(spoken(study, FIRST_RESULT + 1))["digest"]}])


def _signs_a_word(study: MemoryStudy) -> None:
    _signed_records(study, ["everything"])


def _from_tomorrow(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    later = int(study.now.timestamp()) + 400
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}, iat=later))


def _run_out(study: MemoryStudy) -> None:
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    signed = [target(spoken(study, FIRST_RESULT))]
    text = person.sign("RecordsSigned", SUBJECT, {"records": signed}, cut=study.cut())
    study.record(text, seconds=4_000)


def _without_site(study: MemoryStudy) -> None:
    person = study.actor("coordinator-1", "coordinator", seeded(12))
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}))


def _malformed_grant(study: MemoryStudy) -> None:
    study.record(study.registrar.sign("DelegationGranted", "actor/coordinator-1", {"role": ["sponsor"]}))


RIGHTS = [
    Lie("a stolen name signs with its own key", _stranger, {"V5"}, 21, "is not enrolled"),
    Lie("a statement of another study is replayed", _other_log, {"V5"}, 21, "addressed to"),
    Lie("a role that is not held", _wrong_role, {"V5"}, 21, "does not hold the role"),
    Lie("a coordinator decides", _decides, {"V5"}, 21, "EligibilityDecided is recorded by"),
    Lie("a data manager records a fact without transcribing it", _transcribes, {"V5"}, 24, "not by 'data-manager'"),
    Lie("a decision that nobody signed", _unsigned_decision, {"V5"}, 21, "lacks cut, exp, meaning"),
    Lie("one person signs twice", _locks_alone, {"V4"}, 22, "two signatures need two persons"),
    Lie("a registrar gives the system's voice away", _sealed_by_a_registrar, {"V4"}, 21, "KEY-9"),
    Lie("another text is accepted than the study states", _accepts_another_text, {"V4"}, 22, "AUTHORITY-13"),
    Lie("somebody takes another name alone", _renames_oneself, {"V4"}, 21, "is recorded by registrar"),
    Lie("a registrar ends the system's role", _ends_the_system, {"V4"}, 21, "AUTHORITY-12"),
    Lie("a site that is not the own", _wrong_site, {"V5"}, 21, "not for the site"),
    Lie("the operator records a result with the ledger's key", _operator, {"V5"}, 21, "what the system itself did"),
    Lie("a system signs with a meaning", _system_signs, {"V5"}, 21, "never signs"),
    Lie("a coordinator enrols an own key", _own_key, {"V4"}, 21, "is recorded by registrar"),
    Lie("a key is enrolled with the proof of another enrolment", _foreign_key, {"V4"}, 21, "proof"),
    Lie("genesis is recorded twice", _second_genesis, {"V4"}, 21, "second genesis"),
    Lie("a revoked key signs", _revoked, {"V5"}, 22, "was revoked at index 21"),
    Lie("a decision names a state that never was", _invented_cut, {"V5"}, 21, "never had"),
    Lie("a decision names a state of the future", _cut_beyond, {"V5"}, 21, "never had"),
    Lie("a meaning that genesis does not list", _unknown_meaning, {"V5"}, 21, "genesis lists"),
    Lie("an act on a statement that is not there", _dangling, {"V5"}, 21, "no earlier statement"),
    Lie("a signature over a record that is not there", _signs_nothing, {"V5"}, 21, "no earlier statement"),
    Lie("a signature over another content", _signs_another, {"V5"}, 21, "another content"),
    Lie("a signature over something without a form", _signs_a_word, {"V5"}, 21, "no event id and digest"),
    Lie("an act on another content", _other_digest, {"V5"}, 21, "another content"),
    Lie("a statement is signed after it was recorded", _from_tomorrow, {"V6"}, 21, "after it was recorded"),
    Lie("a decision is recorded after its end", _run_out, {"V6"}, 21, "had run out"),
    Lie("a subject's statement without a site", _without_site, {"V5"}, 21, "CATALOGUE-5"),
    Lie("a delegation that has not its form", _malformed_grant, {"V4"}, 21, "has not its form"),
]


@pytest.mark.parametrize("lie", RIGHTS, ids=lambda lie: lie.name)
def test_what_a_writer_should_have_refused_is_caught_in_the_bundle(lie: Lie, tmp_path: Path) -> None:
    """The operator's server colludes: it records, publishes and signs whatever it is given."""
    study = course(MemoryStudy())
    assert study.size == 21
    lie.tell(study)
    report = judged(study, tmp_path)
    assert set(report.failed) == lie.failed, report.text()
    assert report.first_bad_index == lie.index
    assert lie.words in report.text()


def test_what_the_verifier_restates_lets_everything_pass_that_a_role_may_do(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    manager = study.enrol("manager-1", "data-manager", seeded(22))
    study.record(manager.sign("LabResultReported", SUBJECT, {"analyte": "PLAT"}, site="S1", mode="transcribed"))
    investigator = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    study.record(investigator.sign("EligibilityDecided", SUBJECT, {"eligible": True}, mode="transcribed"))
    text = investigator.sign("RecordsFrozen", SUBJECT, {"reason": "x"}, cut=study.cut(), meaning="approval")
    study.record(text)
    study.record(manager.sign("Countersigned", SUBJECT, {}, site="S1", countersigns=target(text)))
    report = judged(study, tmp_path)
    assert report, report.text()


def test_an_event_of_a_newer_release_is_not_decided_and_not_waved_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(recorders.RECORDERS, "SubjectCompleted")  # type: ignore[arg-type]
    study = course(MemoryStudy())
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}))
    report = judged(study, tmp_path)
    assert report["V5"].outcome == "undecided" and report.exit_status() == 2, report.text()
    assert "SubjectCompleted (index 21 first)" in report.text()


def test_a_seal_that_the_log_vouches_for_takes_over_from_one_that_was_revoked(tmp_path: Path) -> None:
    study, key = course(MemoryStudy()), seeded(78)
    note = seal_note(study.origin, key.kid, study.log.ed25519)
    text = study.registrar.enrol_key("ledger", key, key.public_jwk)
    claims = parse(text)
    body = {**claims.body, "note": note}
    study.record(study.registrar.sign("KeyEnrolled", "actor/ledger", body, jti=claims.jti))
    study.record(study.registrar.sign("KeyRevoked", "actor/ledger", {"kid": seeded(3).kid, "reason": "lost"}))
    old = study.ledger
    study.ledger = replace(old, key=key)
    assert judged(study, tmp_path), judged(study, tmp_path).text()
    study.ledger = old
    assert "V7" in judged(study, tmp_path).failed
    study.record(old.sign("DataExported", "study", {"purpose": "x"}))
    study.ledger = replace(old, key=key)
    report = judged(study, tmp_path)
    assert report.failed == ("V5",) and "was revoked at index 22" in report.text()


GENESES = {
    "of another study": {"study": "OTHER-1"},
    "of another origin": {"origin": "ledger.example.org/study/OTHER-1"},
    "with no key of the log": {"log_keys": []},
    "with a key of another log": {"log_keys": [str(derive(bytes(32), "elsewhere/study/STUDY-1").ed25519.key)]},
    "without registrars": {"registrars": []},
    "with a registrar's wrong thumbprint": {
        "registrars": [{"actor": "registrar-1", "jwk": seeded(1).public_jwk, "kid": seeded(5).kid, "alg": "Ed25519"}]
    },
    "that names the log's key for the ledger": {"ledger": {"jwk": {}, "kid": "A" * 43, "alg": "Ed25519"}},
    "that asks for three registrars": {"registrars_required": 3},
    "with a clock of its own": {"clock": "sundial"},
}


@pytest.mark.parametrize("changes", GENESES.values(), ids=GENESES.keys())
def test_a_genesis_that_is_not_sound_fails_from_index_0_on(changes: dict[str, object], tmp_path: Path) -> None:
    report = judged(MemoryStudy().open(**changes), tmp_path)
    assert "V4" in report.failed and report.first_bad_index == 0, report.text()
    assert report.exit_status() == 1


def test_a_genesis_that_nobody_named_signed_fails(tmp_path: Path) -> None:
    study = MemoryStudy()
    study.registrar = study.actor("registrar-1", "registrar", seeded(50))
    other = study.actor("registrar-1", "registrar", seeded(1))
    study.registrar, signer = other, study.registrar
    study.open()
    body = parse(spoken(study, 0)).body
    study.entries.clear()
    study.record(signer.sign("StudyOpened", "study", body))
    report = judged(study, tmp_path)
    assert "V4" in report.failed and "not among the registrars" in report.text()


# -- two people -------------------------------------------------------------------------------------------------


def test_with_two_registrars_an_enrolment_counts_from_the_second_signature_on(tmp_path: Path) -> None:
    study = MemoryStudy(registrars_required=2).open()
    key = seeded(11)
    study.record(study.registrar.sign("ActorEnrolled", "actor/investigator-1", {"actor_kind": "person"}))
    enrolment = study.registrar.enrol_key("investigator-1", key, key.public_jwk)
    study.record(enrolment)
    study.record(study.second.sign("Countersigned", "actor/investigator-1", {}, countersigns=target(enrolment)))
    grant = study.registrar.sign("DelegationGranted", "actor/investigator-1", {"role": "sponsor"})
    study.record(grant)
    study.record(study.second.sign("Countersigned", "actor/investigator-1", {}, countersigns=target(grant)))
    sponsor = study.actor("investigator-1", "sponsor", key)
    study.record(sponsor.sign("StudyHeld", "study", {"reason": "synthetic"}))
    report = judged(study, tmp_path)
    assert report, report.text()


@pytest.mark.parametrize("who", ["same person", "nobody"])
def test_with_two_registrars_one_alone_enrols_nobody(who: str, tmp_path: Path) -> None:
    study = MemoryStudy(registrars_required=2).open()
    key = seeded(11)
    study.record(study.registrar.sign("ActorEnrolled", "actor/investigator-1", {"actor_kind": "person"}))
    enrolment = study.registrar.enrol_key("investigator-1", key, key.public_jwk)
    study.record(enrolment)
    if who == "same person":
        study.record(study.registrar.sign("Countersigned", "actor/investigator-1", {}, countersigns=target(enrolment)))
    person = study.actor("investigator-1", "sponsor", key)
    study.record(person.sign("AccountabilityAccepted", "actor/investigator-1", {"statement": "x", "version": "1"}))
    report = judged(study, tmp_path)
    assert "V5" in report.failed and "is not enrolled" in report.text()
    assert ("V4" in report.failed) == (who == "same person")


def test_a_field_redacted_by_two_people_may_be_gone(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    digest = disclosure_digest(study.entries[9].disclosures[1])
    redact(study, 9, [digest])
    del study.entries[9].disclosures[1]
    report = judged(study, tmp_path)
    assert report, report.text()
    assert "1 were redacted by two people" in report.text()


def test_a_field_whose_redaction_nobody_countersigned_is_lost(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    digest = disclosure_digest(study.entries[9].disclosures[1])
    redact(study, 9, [digest], countersigned=False)
    del study.entries[9].disclosures[1]
    report = judged(study, tmp_path)
    assert report.failed == ("V7",) and report.first_bad_index == 9
    assert "unauthorised loss" in report.text() and "nobody countersigned" in report.text()


def test_a_redaction_of_one_field_does_not_cover_another(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    redact(study, 9, [disclosure_digest(study.entries[9].disclosures[1])])
    del study.entries[9].disclosures[0:2]
    report = judged(study, tmp_path)
    assert report.failed == ("V7",) and "does not name it" in report.text()


def test_a_redaction_countersigned_by_the_same_person_has_no_effect(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    privacy = study.enrol("privacy-1", "privacy", seeded(21))
    study.record(study.registrar.sign("DelegationGranted", "actor/privacy-1", {"role": "data-manager"}))
    digest = disclosure_digest(study.entries[9].disclosures[1])
    records = [{**target(spoken(study, 9)), "disclosures": [digest]}]
    text = privacy.sign("FieldsRedacted", SUBJECT, {"records": records, "legal_basis": "x", "reason": "y"}, site="S1")
    study.record(text)
    again = study.actor("privacy-1", "data-manager", seeded(21), "S1")
    study.record(again.sign("Countersigned", SUBJECT, {}, countersigns=target(text)))
    del study.entries[9].disclosures[1]
    report = judged(study, tmp_path)
    assert set(report.failed) == {"V4", "V7"} and "two persons" in report.text()


def test_a_redaction_countersigned_by_somebody_of_another_site_has_no_effect(tmp_path: Path) -> None:
    """An investigator elsewhere has the role, and for the own site the right: not for this record."""
    study = course(MemoryStudy())
    elsewhere = study.enrol("investigator-2", "principal-investigator", seeded(24), sites=["S2"])
    digest = disclosure_digest(study.entries[9].disclosures[1])
    redact(study, 9, [digest], countersigned=False)
    ordered = spoken(study, study.size - 1)
    study.record(elsewhere.sign("Countersigned", SUBJECT, {}, site="S2", countersigns=target(ordered)))
    del study.entries[9].disclosures[1]
    report = judged(study, tmp_path)
    assert set(report.failed) == {"V4", "V5", "V7"} and "unauthorised loss" in report.text()
    assert f"about {SUBJECT} at S1 is countersigned for {SUBJECT} at S2 (CORRECTION-2)" in report.text()


def test_a_redaction_takes_nothing_of_a_subject_that_it_is_not_about(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    privacy = study.enrol("privacy-1", "privacy", seeded(21))
    manager = study.enrol("manager-1", "data-manager", seeded(22))
    other = SUBJECT[:-1] + "2"
    records = [{**target(spoken(study, 9)), "disclosures": [disclosure_digest(study.entries[9].disclosures[1])]}]
    text = privacy.sign("FieldsRedacted", other, {"records": records, "legal_basis": "x", "reason": "y"}, site="S1")
    study.record(text)
    study.record(manager.sign("Countersigned", other, {}, site="S1", countersigns=target(text)))
    del study.entries[9].disclosures[1]
    report = judged(study, tmp_path)
    assert set(report.failed) == {"V4", "V7"} and "unauthorised loss" in report.text()
    assert f"names a record about {SUBJECT} (CORRECTION-1)" in report.text()


@pytest.mark.parametrize("about, site", [(SUBJECT, "S2"), (SUBJECT[:-1] + "2", "S1")], ids=["site", "subject"])
def test_an_act_on_a_record_of_elsewhere_is_caught(tmp_path: Path, about: str, site: str) -> None:
    """Whoever works at one site corrects, voids and answers nothing of another's."""
    study = course(MemoryStudy())
    person = study.enrol("investigator-2", "principal-investigator", seeded(24), sites=[site])
    named = {**target(spoken(study, 9)), "field": "comment"}
    study.record(person.sign("EntryCorrected", about, {"value": "x", "reason": "y"}, site=site, corrects=named))
    report = judged(study, tmp_path)
    assert set(report.failed) == {"V5"} and report.first_bad_index == study.size - 1
    assert f"`corrects` names a statement about {SUBJECT} at S1" in report.text()


@pytest.mark.parametrize("event", ["AttributionDisputed", "SignatureWithdrawn", "SignatureReaffirmed"])
def test_nobody_withdraws_reaffirms_or_disputes_what_somebody_else_signed(tmp_path: Path, event: str) -> None:
    for key, name, role, failed in (
        (seeded(12), "coordinator-1", "coordinator", {"V5"}),
        (seeded(11), "investigator-1", "principal-investigator", set[str]()),
    ):
        study = course(MemoryStudy())
        named = target(spoken(study, study.size - 1))
        person = study.actor(name, role, key, "S1")
        if event != "SignatureReaffirmed":
            study.record(person.sign(event, SUBJECT, {"record": named, "reason": "x"}))
        else:
            study.record(person.sign(event, f"actor/{name}", {"records": [named]}))
        report = judged(study, tmp_path)
        assert set(report.failed) == failed, report.text()
        assert not failed or "'investigator-1' signed the statement at index" in report.text()


def test_a_redacted_field_that_is_still_there_is_reported_and_no_failure(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    redact(study, 9, [disclosure_digest(study.entries[9].disclosures[1])])
    report = judged(study, tmp_path)
    assert report and "still disclose" in report.text()


# -- withheld ---------------------------------------------------------------------------------------------------


def test_a_withheld_field_that_is_listed_is_reported_and_no_failure(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    digest = disclosure_digest(study.entries[9].disclosures.pop(1))
    study.withheld.append((9, [digest], "identity"))
    report = judged(study, tmp_path)
    assert report and "1 are withheld" in report.text() and "identity" in report.text()


def test_a_field_listed_as_withheld_and_present_is_a_contradiction(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    study.withheld.append((9, [disclosure_digest(study.entries[9].disclosures[1])], "other subject"))
    report = judged(study, tmp_path)
    assert report.failed == ("V7",) and report.first_bad_index == 9


@pytest.mark.parametrize("subject", [None, SUBJECT.partition("/")[2]])
def test_nothing_of_the_subject_asked_for_is_withheld_as_another_subjects(subject: str | None, tmp_path: Path) -> None:
    """The operator hides a result in a bundle about this very subject, or about everybody, under a harmless ground."""
    study = course(MemoryStudy())
    hidden = [disclosure_digest(study.entries[FIRST_RESULT].disclosures.pop(1))]
    study.withheld.append((FIRST_RESULT, hidden, "other subject"))
    report = checked(study, study.write(tmp_path / "evidence.zip", subject=subject))
    assert report.failed == ("V7",) and report.first_bad_index == FIRST_RESULT, report.text()
    assert "pretext" in report.text()


def test_what_is_about_another_subject_may_be_withheld(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    withheld = [disclosure_digest(study.entries[FIRST_RESULT].disclosures.pop(1))]
    study.withheld.append((FIRST_RESULT, withheld, "other subject"))
    other = "00000000-0000-4000-8000-000000000002"
    assert checked(study, study.write(tmp_path / "evidence.zip", subject=other))


def test_that_content_is_withheld_is_said_before_everything_else(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    withheld = [disclosure_digest(study.entries[FIRST_RESULT].disclosures.pop(1))]
    study.withheld.append((FIRST_RESULT, withheld, "identity"))
    report = judged(study, tmp_path)
    assert report and "WITHHOLDS 1 fields" in report.text().partition("\nV1 ")[0], report.text()


def test_a_list_of_what_is_withheld_that_repeats_itself_is_not_read_for_ever(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    files = study.files()
    files["withheld.ndjson"] = b"".join(withheld_line(8, [f"{n:043d}"], "identity") for n in range(200_000))
    report = checked(study, study.write(tmp_path / "evidence.zip", files))
    assert report.failed == ("V7",) and "two lines of one ground" in report.text()


def test_the_list_of_what_is_withheld_cannot_be_lengthened_by_somebody_else(tmp_path: Path) -> None:
    """Whoever drops a field and lists it as withheld would have to sign the manifest."""
    study = course(MemoryStudy())
    path = study.write(tmp_path / "evidence.zip")
    digest = disclosure_digest(study.entries[9].disclosures.pop(1))
    study.withheld.append((9, [digest], "other subject"))
    files = study.files()
    report = checked(study, repack(path, {name: files[name] for name in ("withheld.ndjson", disclosures_path(0))}))
    assert report.failed == ("V7",) and "its bytes were changed" in report.text()


# -- checkpoints ------------------------------------------------------------------------------------------------


def witnessed(count: int = 2) -> MemoryStudy:
    return course(MemoryStudy(witnesses=[Ed25519Cosigner(f"witness-{i}", bytes([i + 1]) * 32) for i in range(count)]))


def test_a_quorum_of_witnesses_is_met_and_told_with_its_age(tmp_path: Path) -> None:
    report = judged(witnessed(), tmp_path)
    assert report, report.text()
    assert "the witness w1 signed it 59 seconds before" in report.text()


def test_that_no_witness_stands_behind_a_state_is_said_before_everything_else(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    alone = judged(study, tmp_path)
    assert alone and "NO WITNESS STANDS BEHIND THIS STATE" in alone.text().partition("\nV1 ")[0]
    study = witnessed()
    assert "NO WITNESS" not in judged(study, tmp_path).text()


def test_a_missing_witness_fails_the_quorum(tmp_path: Path) -> None:
    study = witnessed()
    trusted = study.policy()
    study.witnesses.pop()
    study.published.clear()
    report = checked(study, study.write(tmp_path / "evidence.zip"), policy=trusted)
    assert report.failed == ("V1",) and "and has w0" in report.text()


def test_cosignatures_older_than_asked_for_are_not_fresh(tmp_path: Path) -> None:
    study = witnessed()
    path = study.write(tmp_path / "evidence.zip")
    assert checked(study, path, fresh_within=60)
    report = checked(study, path, fresh_within=30)
    assert report.failed == ("V1",)


def test_without_witnesses_nobody_vouches_for_freshness(tmp_path: Path) -> None:
    report = judged(course(MemoryStudy()), tmp_path, fresh_within=3600)
    assert report.failed == ("V1",) and "nobody states" in report.text()


def test_the_logs_own_word_makes_no_state_fresh(tmp_path: Path) -> None:
    """Whoever runs the log can sign an outdated state anew, with the second key too."""
    study = course(MemoryStudy())
    checkpoint = Checkpoint(study.origin, study.size, study.root())
    signers = [study.log.ed25519, CosigningAt(study.log.mldsa44, int(study.now.timestamp()))]
    study.published[study.size] = checkpoint.sign(signers).decode()
    path = study.write(tmp_path / "evidence.zip")
    assert "the log itself (ML-DSA-44) signed it" in checked(study, path).text()
    report = checked(study, path, fresh_within=3600)
    assert report.failed == ("V1",) and "no witness does" in report.text()


def test_a_cosignature_from_the_future_does_not_count(tmp_path: Path) -> None:
    study = witnessed()
    study.publish(at=int(study.now.timestamp()) + 10_000)
    report = judged(study, tmp_path)
    assert report.failed == ("V1",) and "one of the two clocks is wrong" in report.text()


def test_an_entry_recorded_after_a_witness_saw_it_shows_a_clock_that_was_turned(tmp_path: Path) -> None:
    study = witnessed()
    study.publish(at=int(study.now.timestamp()) - 3_600)
    report = judged(study, tmp_path)
    assert report.failed == ("V6",) and report.first_bad_index == study.size - 1


def test_a_policy_that_knows_another_log_fails(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    trusted = f"log {derive(bytes(32), 'elsewhere/study/STUDY-1').ed25519.key}\nquorum none\n"
    report = checked(study, study.write(tmp_path / "evidence.zip"), policy=trusted)
    assert report.failed == ("V1",) and "does not know the log" in report.text()


def test_a_log_rewritten_whole_under_other_keys_fails_against_a_policy(tmp_path: Path) -> None:
    """Everything from genesis on is invented, consistent and signed: only the key that the policy holds tells."""
    forged = course(MemoryStudy(log=derive(bytes([7]) * 32, MemoryStudy().origin)))
    path = forged.write(tmp_path / "evidence.zip")
    assert checked(forged, path)
    report = checked(forged, path, policy=MemoryStudy().policy())
    assert report.failed == ("V1",) and "another log under this name" in report.text()


def named_beside(*more: VerifierKey, log: LogKeys) -> MemoryStudy:
    """A log of the forger's own, from genesis on; its genesis names keys of others beside the one that signs."""
    forged = MemoryStudy(log=log)
    forged.open(log_keys=[*(str(key) for key in more), str(log.ed25519.key)])
    return forged


def test_naming_the_true_logs_key_beside_an_own_makes_no_forged_log_good(tmp_path: Path) -> None:
    """Naming a key takes no signature by it: a genesis that could name two would lead any log back to the policy."""
    honest, own = MemoryStudy(), derive(bytes([7]) * 32, MemoryStudy().origin)
    forged = named_beside(honest.log.ed25519.key, log=own)
    report = checked(forged, forged.write(tmp_path / "evidence.zip"), policy=honest.policy())
    assert {"V1", "V4"} <= set(report.failed) and report.first_bad_index == 0, report.text()
    assert report.exit_status() == 1 and "one Ed25519 key" in report.text()


def test_a_witness_key_is_no_key_of_a_log(tmp_path: Path) -> None:
    own = MemoryStudy().log
    forged = named_beside(Ed25519Cosigner(own.ed25519.key.name, bytes(32)).key, log=own)
    report = judged(forged, tmp_path)
    assert "V4" in report.failed and report.first_bad_index == 0, report.text()


def test_two_keys_of_a_log_under_one_id_are_no_keys_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes can be found by trying: an ML-DSA-44 key under the id of the true log's Ed25519 key."""
    log = MemoryStudy().log
    texts = [str(key) for key in log.public()]
    assert len(_log_keys(texts, log.ed25519.key.name)) == 2
    monkeypatch.setattr("ledger.merkle.note.key_id", lambda name, kind, public: b"same")
    with pytest.raises(Unsound, match="same id"):
        _log_keys([str(key) for key in log.public()], log.ed25519.key.name)


def rotated(signers: int = 2) -> MemoryStudy:
    study = course(MemoryStudy())
    old, new = study.log, derive(bytes(32), study.origin, 2)
    keys = [str(key) for key in new.public()]
    text = "\n".join([study.origin, "rotate", *keys, ""]).encode()
    note = make_note(text, [one.ed25519.sign(text) for one in (old, new)][:signers]).decode()
    study.record(study.registrar.sign("LogKeyRotated", "study", {"log_keys": keys, "note": note}))
    study.log = new
    return study


def test_rotated_keys_lead_back_to_the_key_that_the_policy_holds(tmp_path: Path) -> None:
    before = MemoryStudy().policy()
    study = rotated()
    report = checked(study, study.write(tmp_path / "evidence.zip"), policy=before)
    assert report, report.text()
    assert "rotated 1 times" in report.text()


def test_a_rotation_that_the_new_key_did_not_sign_hands_nothing_over(tmp_path: Path) -> None:
    study = rotated(signers=1)
    report = checked(study, study.write(tmp_path / "evidence.zip"), policy=MemoryStudy().policy())
    assert {"V1", "V4"} <= set(report.failed), report.text()


def test_a_bad_post_quantum_signature_spoils_the_checkpoint(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    study.witnesses = [Mldsa44Cosigner(study.origin, bytes(32))]
    study.publish()
    study.witnesses = []
    good = study.published[study.size].replace("VDB", "VDB")
    assert good
    impostor = study.published[study.size]
    report = judged(study, tmp_path)
    assert report, report.text()  # a key that nobody knows is ignored
    study.witnesses = [study.log.mldsa44]  # type: ignore[list-item]
    study.publish()
    study.witnesses = []
    assert judged(study, tmp_path)
    lines = study.published[study.size].splitlines(keepends=True)
    study.published[study.size] = "".join([*lines[:-1], flip(lines[-1], 200)])
    report = judged(study, tmp_path)
    assert "V1" in report.failed and "V3" in report.failed and impostor


def test_a_checkpoint_that_was_published_for_another_history_is_caught(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    other = course(MemoryStudy(salts=lambda: "A" * 22))
    study.publish()
    study.published[15] = other.published.get(15) or _at(other, 15)
    report = judged(study, tmp_path)
    assert report.failed == ("V3",) and "published at 15 entries has another root" in report.text()
    assert report.first_bad_index == 14


def _at(study: MemoryStudy, size: int) -> str:
    del study.entries[size:]
    return study.publish()


def test_what_an_actor_saw_of_another_history_is_noted(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    seen = {"size": 15, "root": b64url(bytes(32))}
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-03-02"}, seen=seen))
    report = judged(study, tmp_path)
    assert report and "two histories may be shown" in report.text()


# -- members ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "failed", "index"),
    [
        ("README.txt", {"V7"}, None),
        ("MANIFEST.json", {"V7"}, None),
        ("MANIFEST.jws", {"V7"}, None),
        ("policy.txt", {"V7"}, None),
        ("log/checkpoint", {"V1"}, None),
        ("log/checkpoints.ndjson", {"V3", "V7"}, None),
        (log_path(0, 0), {"V2", "V7"}, 0),
        (log_path(1, 0, 1), {"V2", "V7"}, 0),
        (log_path("entries", 0), {"V2", "V7"}, 0),
        (log_path("entries", 1, 53), {"V2", "V7"}, 256),
        (disclosures_path(0), {"V7"}, 7),
        ("withheld.ndjson", {"V7"}, None),
        ("timestamps.json", {"V7"}, None),
    ],
)
def test_a_member_that_is_missing_is_missed(path: str, failed: set[str], index: int | None, tmp_path: Path) -> None:
    study = course(MemoryStudy(), 300)
    assert study.size == 309
    report = checked(study, repack(study.write(tmp_path / "evidence.zip"), {path: None}))
    assert set(report.failed) == failed, report.text()
    assert report.first_bad_index == index
    assert report.exit_status() == 1


def test_every_member_with_a_byte_changed_is_caught(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    path = study.write(tmp_path / "evidence.zip")
    with open_bundle(path) as bundle:
        members = {name: bundle.read(name) for name in bundle.members}
    for name, content in members.items():
        for at in {0, len(content) // 3, len(content) - 1} if content else ():
            changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            report = checked(study, repack(path, {name: changed}))
            assert report.exit_status() == 1, (name, at, report.text())
            repack(path, {name: content})
    assert checked(study, path)


def test_an_extra_tile_is_found(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    report = checked(study, repack(study.write(tmp_path / "evidence.zip"), {log_path(0, 5): bytes(8192)}))
    assert {"V2", "V7"} == set(report.failed)


def test_a_manifest_signed_by_somebody_else_fails(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    study.ledger = study.actor("ledger", "system", seeded(12))
    path = tmp_path / "evidence.zip"
    report = checked(study, study.write(path))
    assert report.failed == ("V7",) and "none of the actor `ledger`" in report.text()


@pytest.mark.parametrize(
    "facts",
    [{"size": 3}, {"study": "OTHER-1"}, {"root": "x"}, {"as_of": -1}, {"as_of": 99}, {"subject": 5}, {"more": 1}],
    ids=lambda facts: next(iter(facts)),
)
def test_a_manifest_that_states_something_else_fails(facts: dict[str, object], tmp_path: Path) -> None:
    study = course(MemoryStudy())
    report = checked(study, study.write(tmp_path / "evidence.zip", **facts))
    assert report.failed == ("V7",)


def test_disclosures_out_of_place_fail(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    files = study.files()
    lines = [disclosures_line(i, e.disclosures) for i, e in enumerate(study.entries) if e.disclosures]
    files[disclosures_path(0)] = b"".join([*lines[1:], lines[0]])
    report = checked(study, study.write(tmp_path / "evidence.zip", files))
    assert report.failed == ("V7",)


# -- what is told, and no failure -------------------------------------------------------------------------------


def test_entries_of_a_suspect_key_are_listed_as_disputed_until_reaffirmed(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    body = {"kid": seeded(12).kid, "suspect_since": 17, "reason": "stolen"}
    study.record(study.registrar.sign("KeyRevoked", "actor/coordinator-1", body))
    key = seeded(13)
    study.record(study.registrar.enrol_key("coordinator-1", key, key.public_jwk))
    person = study.actor("coordinator-1", "coordinator", key)
    stood = [target(spoken(study, 17)), target(spoken(study, 18))]
    study.record(person.sign("SignatureReaffirmed", "actor/coordinator-1", {"records": stood}))
    report = judged(study, tmp_path)
    assert report, report.text()
    assert "1 entries are disputed" in report.text() and "19 (coordinator-1)" in report.text()


def test_a_simulated_clock_is_said_before_everything_else(tmp_path: Path) -> None:
    study = course(MemoryStudy(clock="simulated"))
    _from_tomorrow(study)
    report = judged(study, tmp_path)
    assert report, report.text()
    assert "SIMULATED" in report.text().split("V1 Checkpoint")[0]


def test_late_entries_are_listed(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    person = study.actor("coordinator-1", "coordinator", seeded(12), "S1")
    study.record(person.sign("SubjectCompleted", SUBJECT, {"occurred_at": "2026-02-20T10:00:00+01:00"}))
    report = judged(study, tmp_path)
    assert report and "21 (happened 2026-02-20" in report.text()


def test_ceremonies_are_single_use_and_needed_where_they_are_required(tmp_path: Path) -> None:
    study = course(MemoryStudy(ceremony="unavailable"))
    person = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    signed = {"records": [target(spoken(study, FIRST_RESULT))]}
    for _ in range(2):
        study.record(person.sign("RecordsSigned", SUBJECT, signed, cut=study.cut(), ceremony="c" * 20))
    report = judged(study, tmp_path)
    assert report.failed == ("V5",) and report.first_bad_index == 22
    study = course(MemoryStudy())
    study.record(study.registrar.sign("CeremonyRequired", "study"))
    study.record(person.sign("RecordsSigned", SUBJECT, signed, cut=study.cut()))
    report = judged(study, tmp_path)
    assert report.failed == ("V5",) and "SIGNATURE-4" in report.text()


def test_a_ceremony_is_signed_with_a_key_that_a_passphrase_opens_by_whoever_answers_for_it(tmp_path: Path) -> None:
    """What whoever runs the server and holds its registrar key could put into the log."""
    study = course(MemoryStudy())
    own = study.actor("investigator-1", "principal-investigator", seeded(11), "S1")
    study.record(study.registrar.sign("CeremonyRequired", "study"))
    signed = {"records": [target(spoken(study, FIRST_RESULT))]}
    study.record(own.sign("RecordsSigned", SUBJECT, signed, cut=study.cut(), ceremony="c" * 20))
    report = judged(study, tmp_path)
    assert report.failed == ("V5",) and "CEREMONY-1" in report.text()
    held = seeded(77)
    jti = "6f1f8a3c-5b0a-4a53-9a4e-0a8b2a1c7d11"
    enrolment = parse(study.registrar.enrol_key("investigator-1", held, held.public_jwk)).claims["body"]
    proof = make_proof(held, aud=study.registrar.origin, iss="investigator-1", jti=jti)
    body = {**enrolment, "proof": proof, "custody": "custodial"}
    study = course(MemoryStudy())
    study.record(study.registrar.sign("CeremonyRequired", "study"))
    study.record(study.registrar.sign("KeyEnrolled", "actor/investigator-1", body, jti=jti))
    custodial = replace(own, key=held)
    study.record(custodial.sign("RecordsSigned", SUBJECT, signed, cut=study.cut(), ceremony="c" * 20))
    report = judged(study, tmp_path)
    assert report.failed == ("V5",) and "SIGNATURE-6" in report.text()


def test_a_log_that_begins_without_a_genesis_establishes_nobody(tmp_path: Path) -> None:
    study = MemoryStudy()
    study.record(study.registrar.sign("ActorEnrolled", "actor/x-1", {"actor_kind": "person"}))
    study.record(study.ledger.sign("DataExported", "study", {"purpose": "synthetic"}))
    report = judged(study, tmp_path)
    assert "V4" in report.failed and report.first_bad_index == 0
    report = judged(_without_acts(), tmp_path)
    assert "V4" in report.failed and report.first_bad_index == 0


def _without_acts() -> MemoryStudy:
    study = MemoryStudy()
    study.record(study.ledger.sign("DataExported", "study", {"purpose": "synthetic"}))
    return study


def test_disclosures_of_entries_that_are_not_there_are_found(tmp_path: Path) -> None:
    study = course(MemoryStudy())
    files = study.files() | {disclosures_path(7): disclosures_line(7 * 256, ["ab"])}
    report = checked(study, study.write(tmp_path / "evidence.zip", files))
    assert report.failed == ("V7",) and "of no entry" in report.text()


def test_the_verifier_knows_the_same_rights_as_the_catalogue() -> None:
    """What it must restate, because it imports no rules: a change there has to be made here as well."""
    from ledger.domain.catalogue import CATALOGUE
    from ledger.domain.roles import ANYONE
    from ledger.verify import governance

    assert {model.__name__ for model in CATALOGUE if model.kind == "system"} == governance.SYSTEM_EVENTS
    assert set(recorders.RECORDERS) == {model.__name__ for model in CATALOGUE}
    for event, roles in recorders.RECORDERS.items():
        assert CATALOGUE[event].recorders == (ANYONE if roles == {recorders.ANYBODY} else roles), event
        assert CATALOGUE[event].transcribers == recorders.TRANSCRIBERS[event], event
    decisions = {model.__name__ for model in CATALOGUE if model.kind == "decision" and not model.stopping}
    assert decisions == recorders.DECISIONS
    assert not any(CATALOGUE[event].stopping for event in recorders.ALWAYS_SIGNED)
    assert CATALOGUE["FieldsRedacted"].countersigners == governance.REDACTION_COUNTERSIGNERS
    for event, fields in governance._FORMS.items():
        assert set(fields) <= CATALOGUE[event].clear_fields(), event
