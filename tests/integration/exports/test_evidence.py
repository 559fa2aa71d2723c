"""The evidence bundle as it is written: whole, reproducible, put on record, and never more than was asked for."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger.application import StudyNotFound
from ledger.domain.refusals import Refusal
from ledger.merkle.cosignature import Ed25519Cosigner, verifier_of
from ledger.merkle.note import VerifierKey, parse_note, verify_note
from ledger.merkle.policy import Policy
from ledger.signing.encoding import b64url
from ledger.signing.statement import parse
from ledger.store import evidence, statements
from ledger.store.rows import TimestampRow
from projections.definitions import DEFINITIONS, NAMES
from projections.engine import operations
from projections.engine.errors import CutBeyond, ReadingMalformed, SubjectAmbiguous, SubjectNotFound
from projections.exports.refusals import CheckpointNotThere, OutputExists, OutputNotWritable
from tests.integration.exports.bundles import (
    digest_in,
    digest_of,
    disclosed,
    exported,
    follow,
    lines,
    member,
    names,
    rows,
)
from tests.scenario.fixtures import ledger_of
from tests.scenario.offline import leaf_of, tree_root
from tests.scenario.simulator import Simulator, Subject


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for bundles."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def two(trial: Simulator) -> tuple[Subject, Subject]:
    """Two subjects were screened and have a result each."""
    subjects = trial.subject("001"), trial.subject("002")
    for subject in subjects:
        trial.screen(subject)
        trial.result(subject, "platelets", "12", "10*9/L")
    return subjects


def entries_of(bundle: Path) -> list[bytes]:
    """The entries of a bundle, read from its tiles as tlog-tiles says."""
    found = []
    for name in names(bundle):
        if name.startswith("log/tile/entries/"):
            data, at = member(bundle, name), 0
            while at < len(data):
                length = int.from_bytes(data[at : at + 2], "big")
                found.append(data[at + 2 : at + 2 + length])
                at += 2 + length
    return found


def recorded(sim: Simulator) -> list[dict[str, Any]]:
    """Every DataExported of the log: index, issuer, fields."""
    found = []
    for entry in sim.door.entries():
        if entry["event"] == "DataExported":
            statement = parse(entry["statement"])
            found.append(
                {"index": entry["index"], "iss": statement.iss, **statement.body, "policy": statement.content["policy"]}
            )
    return found


def test_the_manifest_lists_every_other_member_with_its_digest_in_order(trial: Simulator, out: Path) -> None:
    made = exported(trial, out / "a.zip")
    listed = json.loads(member(out / "a.zip", "MANIFEST.json"))
    found = [name for name in names(out / "a.zip") if not name.startswith("MANIFEST")]
    assert [one["path"] for one in listed["files"]] == found
    for one in listed["files"]:
        data = member(out / "a.zip", one["path"])
        assert (one["size"], one["sha256"]) == (len(data), sha256(data).hexdigest())
    assert names(out / "a.zip")[:5] == ["README.txt", "MANIFEST.json", "MANIFEST.jws", "policy.txt", "log/checkpoint"]
    assert made.members == len(names(out / "a.zip"))
    assert (listed["study"], listed["as_of"], listed["subject"]) == (trial.plan.study, listed["size"], None)


def test_the_entries_of_a_bundle_have_the_root_that_its_checkpoint_and_its_manifest_state(
    trial: Simulator, two: tuple[Subject, Subject], out: Path
) -> None:
    exported(trial, out / "a.zip")
    entries, listed = entries_of(out / "a.zip"), json.loads(member(out / "a.zip", "MANIFEST.json"))
    origin, size, root = member(out / "a.zip", "log/checkpoint").decode().split("\n")[:3]
    assert (origin, int(size), root) == (listed["origin"], listed["size"], listed["root"])
    assert len(entries) == int(size)
    assert tree_root([leaf_of(entry) for entry in entries]) == b64decode(root)


def test_the_manifest_is_signed_by_the_actor_ledger_of_genesis(trial: Simulator, out: Path) -> None:
    exported(trial, out / "a.zip")
    genesis = parse(next(iter(trial.door.entries()))["statement"])
    header, empty, signature = member(out / "a.zip", "MANIFEST.jws").decode().rstrip("\n").split(".")
    said = json.loads(b64decode(header + "=" * (-len(header) % 4), altchars=b"-_"))
    assert (said["kid"], empty) == (genesis.body["ledger"]["kid"], "")
    key = ledger_of(trial).home.key("ledger").public
    signed = f"{header}.{b64url(member(out / 'a.zip', 'MANIFEST.json'))}".encode()
    assert key.verify(signed, b64decode(signature + "==", altchars=b"-_"), said["alg"])


def test_the_checkpoint_of_a_bundle_carries_both_signatures_of_the_log(trial: Simulator, out: Path) -> None:
    exported(trial, out / "a.zip")
    policy = Policy.parse(member(out / "a.zip", "policy.txt").decode())
    keys = [VerifierKey.parse(str(key)) for key in policy.logs]
    good = verify_note(parse_note(member(out / "a.zip", "log/checkpoint")), [verifier_of(key) for key in keys])
    assert {signature.key_id for signature in good} == {key.key_id for key in keys}
    assert len(good) == 2


def test_every_checkpoint_published_is_there_in_order(trial: Simulator, two: Any, out: Path) -> None:
    made = exported(trial, out / "a.zip")
    notes = lines(out / "a.zip", "log/checkpoints.ndjson")
    sizes = [int(note.split("\n")[1]) for note in notes]
    with ledger_of(trial).database.connection() as connection:
        found = connection.execute(b"SELECT size FROM ledger.checkpoints ORDER BY size").fetchall()
    assert sizes == [size for (size,) in found if size <= made.facts.checkpoint.size]
    assert notes[-1].encode() == member(out / "a.zip", "log/checkpoint")


def test_an_export_without_the_witnesses_that_the_policy_asks_for_says_so(
    trial: Simulator, out: Path, tmp_path: Path
) -> None:
    assert exported(trial, out / "none.zip").as_dict()["quorum"]["met"], "a policy that asks for no witness has all"
    ledger, witness = ledger_of(trial), Ed25519Cosigner("witness.test/ethics", bytes(31) + b"w")
    folder = ledger.home.path / "policies"
    folder.mkdir(exist_ok=True)
    own = ledger.log_signers(trial.plan.study).ed25519.key
    (folder / f"{trial.plan.study}.policy").write_text(f"log {own}\nwitness ethics {witness.key}\nquorum ethics\n")
    told = exported(trial, out / "a.zip")
    assert not told.quorum
    assert told.as_dict()["quorum"]["missing"] == ["ethics"]
    assert "ethics has not cosigned" in told.as_dict()["quorum"]["because"]


def test_what_others_say_about_a_checkpoint_is_there_as_far_as_it_had_come(trial: Simulator, out: Path) -> None:
    """The newest line of a witness, timestamps in order; what comes later is not in an earlier bundle."""
    ledger, study = ledger_of(trial), trial.plan.study
    size, line = trial.door.cut().size, "\N{EM DASH} invented.example/w AAAAAGxpbmU="
    with ledger.database.connection() as connection:
        evidence.insert_cosignature(connection, study, size, "invented.example/w+00000000", line, trial.clock())
        trial.later(minutes=1)
        newer = line.replace("xp", "zp")
        evidence.renew_cosignature(connection, study, size, "invented.example/w+00000000", newer, trial.clock())
        for token in (b"first", b"second"):
            trial.later(minutes=1)
            stamp = TimestampRow(size, "tsa.example", token, trial.clock(), trial.clock())
            evidence.insert_timestamp(connection, study, stamp)
        first = exported(trial, out / "first.zip")
        late = TimestampRow(size, "tsa.example", b"late", trial.clock(), trial.clock())
        evidence.insert_timestamp(connection, study, late)
        latest = line.replace("xp", "yp")
        evidence.renew_cosignature(connection, study, size, "invented.example/w+00000000", latest, trial.clock())
    exported(trial, out / "again.zip", checkpoint=first.facts.checkpoint.size)
    assert (out / "again.zip").read_bytes() == (out / "first.zip").read_bytes()
    note = member(out / "first.zip", "log/checkpoint").decode()
    assert (newer in note, line in note, latest in note) == (True, False, False)
    listed = json.loads(member(out / "first.zip", "timestamps.json"))
    assert [(one["size"], one["authority"]) for one in listed] == [(size, "tsa.example")] * 2
    assert [member(out / "first.zip", one["file"]) for one in listed] == [b"first", b"second"]


def test_the_policy_is_the_one_configured_for_the_study_and_that_of_the_day_when_made_again(
    trial: Simulator, out: Path
) -> None:
    ledger = ledger_of(trial)
    keys = "".join(f"log {key}\n" for key in ledger.every_log_key(trial.plan.study))
    witness = Ed25519Cosigner("witness.example/site", bytes(32)).key
    file = ledger.witnessing.policy_file(trial.plan.study)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{keys}witness site {witness}\nquorum site\n")
    first = exported(trial, out / "first.zip")
    assert member(out / "first.zip", "policy.txt").decode().endswith(f"witness site {witness}\nquorum site\n")
    file.unlink()
    exported(trial, out / "again.zip", checkpoint=first.facts.checkpoint.size)
    assert (out / "again.zip").read_bytes() == (out / "first.zip").read_bytes()
    exported(trial, out / "now.zip")
    assert member(out / "now.zip", "policy.txt").decode().endswith("quorum none\n")


def test_every_export_is_on_record_with_the_digest_of_its_bytes(trial: Simulator, out: Path) -> None:
    made = exported(trial, out / "a.zip", taken_by="synthetic inspector 1")
    (one,) = recorded(trial)
    assert digest_in(one["digest"]) == digest_of(out / "a.zip") == digest_in(made.digest)
    assert (one["iss"], one["what"], one["taken_by"]) == ("ledger", "evidence bundle", "synthetic inspector 1")
    assert one["size"] == one["as_of"] == made.facts.checkpoint.size == made.index
    assert one["index"] == made.index
    assert one["policy"] == member(out / "a.zip", "policy.txt").decode()


def test_an_earlier_bundle_is_made_again_byte_for_byte_from_its_size(
    trial: Simulator, two: tuple[Subject, Subject], out: Path
) -> None:
    follow(trial)
    first = exported(trial, out / "first.zip")  # rows as they are shown
    trial.later(days=1)
    trial.screen(trial.subject("003"))
    ledger_of(trial).cosign_for_export(trial.plan.study, first.facts.checkpoint.size + 1)  # received later: not in it
    again = exported(trial, out / "again.zip", checkpoint=first.facts.checkpoint.size)  # rows folded from the log
    assert (out / "again.zip").read_bytes() == (out / "first.zip").read_bytes()
    assert [digest_in(one["digest"]) for one in recorded(trial)] == [digest_of(out / "first.zip")] * 2
    assert (again.repeats, again.differs) == (first.index, False)


def test_a_bundle_about_one_subject_is_made_again_too(
    trial: Simulator, two: tuple[Subject, Subject], out: Path
) -> None:
    first = exported(trial, out / "first.zip", subject="001", as_of="40")
    trial.screen(trial.subject("003"))
    asked = {"subject": two[0].label.removeprefix("subject/"), "as_of": "40"}
    exported(trial, out / "again.zip", checkpoint=first.facts.checkpoint.size, **asked)
    assert (out / "again.zip").read_bytes() == (out / "first.zip").read_bytes()


def test_an_export_with_another_position_is_not_taken_for_a_repetition(trial: Simulator, out: Path) -> None:
    first = exported(trial, out / "first.zip")
    other = exported(trial, out / "other.zip", checkpoint=first.facts.checkpoint.size, as_of="40")
    assert (other.repeats, other.differs) == (None, False)
    assert digest_of(out / "other.zip") != digest_of(out / "first.zip")


def test_what_is_gone_from_the_store_is_absent_and_the_repetition_says_that_its_bytes_differ(
    doomed_trial: Simulator, out: Path
) -> None:
    """Whether a redaction stands behind it is for the verifier to tell (V7)."""
    index = doomed_trial.screen(doomed_trial.subject("001")).index
    first = exported(doomed_trial, out / "first.zip")
    before = disclosed(out / "first.zip")[index]
    with ledger_of(doomed_trial).database.connection() as connection:
        statements.redact(connection, doomed_trial.plan.study, index, before[1:])
    again = exported(doomed_trial, out / "again.zip", checkpoint=first.facts.checkpoint.size)
    assert disclosed(out / "again.zip")[index] == before[1:]
    assert lines(out / "again.zip", "withheld.ndjson") == []
    assert (again.repeats, again.differs) == (first.index, True)


def test_a_bundle_about_one_subject_withholds_the_content_of_the_others_and_nothing_of_the_log(
    trial: Simulator, two: tuple[Subject, Subject], out: Path
) -> None:
    exported(trial, out / "all.zip")
    trial.later(hours=1)
    exported(trial, out / "one.zip", subject="002")
    told = {one.index: one for one in trial.acknowledged}
    others = {i for i, one in told.items() if parse(one.text).sub == two[0].label}
    assert others
    assert not others & disclosed(out / "one.zip").keys()
    everything = disclosed(out / "all.zip")
    kept = {i: found for i, found in everything.items() if i not in others}
    assert {i: found for i, found in disclosed(out / "one.zip").items() if i in everything} == kept
    withheld = {line["index"]: line for line in lines(out / "one.zip", "withheld.ndjson")}
    assert withheld.keys() == others
    for index in others:
        statement = parse(told[index].text)
        assert sorted(withheld[index]["digests"]) == sorted(statement.claims["_sd"])
        assert withheld[index]["ground"] == "other subject"
    assert entries_of(out / "one.zip")[: len(told)] == entries_of(out / "all.zip")[: len(told)]


def test_nothing_of_another_subject_stands_anywhere_in_a_bundle_about_one(trial: Simulator, out: Path) -> None:
    ann, bob = trial.subject("001"), trial.subject("SECRET-NUMBER-9")
    for subject in (ann, bob):
        trial.screen(subject)
    trial.adverse_event(bob, term="a very rare thing")
    follow(trial)
    exported(trial, out / "one.zip", subject="001")
    for name in names(out / "one.zip"):
        data = member(out / "one.zip", name)
        assert b"SECRET-NUMBER-9" not in data, name
        assert b"a very rare thing" not in data, name
    for projection in NAMES:
        held = json.loads(member(out / "one.zip", f"projections/{projection}.json"))
        assert set(held["partitions"]) <= {ann.label.removeprefix("subject/"), "study"}


@pytest.mark.parametrize("followed", [True, False])
def test_projections_stand_in_the_bundle_with_the_digests_that_the_ledger_shows(
    trial: Simulator, two: tuple[Subject, Subject], out: Path, followed: bool
) -> None:
    if followed:
        follow(trial)
    exported(trial, out / "a.zip")
    size = json.loads(member(out / "a.zip", "MANIFEST.json"))["size"]
    if not followed:
        with ledger_of(trial).projector_database() as database:
            made = operations.rebuild(database, trial.plan.study)
            follow(trial)
        assert {one["size"] for one in made} == {size + 1}  # with what was recorded of the export
    for definition in DEFINITIONS:
        held = json.loads(member(out / "a.zip", f"projections/{definition.name}.json"))
        assert (held["projection"], held["version"], held["size"]) == (definition.name, definition.version, size)
        assert list(held["tables"]) == sorted(table.name for table in definition.tables)
        assert held["rows"] == sum(len(found) for found in held["tables"].values())
        if followed:
            shown = operations.digest(ledger_of(trial).database, trial.plan.study, definition.name)
            assert (shown["size"], shown["digest"]) == (size, held["digest"])


def test_as_of_limits_the_projections_and_not_the_log(
    trial: Simulator, two: tuple[Subject, Subject], out: Path
) -> None:
    first = next(told.index for told in trial.acknowledged if told.event == "LabResultReported")
    made = exported(trial, out / "a.zip", as_of=str(first))
    assert made.facts.checkpoint.size > first == made.facts.as_of
    assert len(entries_of(out / "a.zip")) == made.facts.checkpoint.size
    assert max(row[1] for row in rows(out / "a.zip", "audit_trail", "entries")) == first - 1
    at = next(entry["recorded_at"] for entry in trial.door.entries() if entry["index"] == first - 1)
    timed = exported(trial, out / "timed.zip", as_of=at)
    assert timed.facts.as_of == first


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"study": "NOWHERE"}, StudyNotFound),
        ({"subject": "no-such-number"}, SubjectNotFound),
        ({"subject": "6d1f3b0e-5d35-4bd0-9a39-4f8b7a0f1f11"}, SubjectNotFound),
        ({"subject": "DOUBLE"}, SubjectAmbiguous),
        ({"as_of": "1000000"}, CutBeyond),
        ({"as_of": "yesterday"}, ReadingMalformed),
        ({"checkpoint": 1_000_000}, CheckpointNotThere),
        ({"checkpoint": 2}, CheckpointNotThere),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_left_or_recorded(
    trial: Simulator, out: Path, asked: dict[str, Any], refusal: type[Refusal]
) -> None:
    for _ in range(2):
        trial.screen(trial.subject("DOUBLE"))
    with pytest.raises(refusal) as refused:
        from projections.exports.evidence import Wanted, export_evidence

        export_evidence(ledger_of(trial), Wanted(**{"study": trial.plan.study, **asked}), out / "a.zip")
    assert refused.value.remedy
    assert list(out.iterdir()) == []
    assert recorded(trial) == []


def test_a_file_that_is_there_is_replaced_only_when_told_so(trial: Simulator, out: Path) -> None:
    (out / "a.zip").write_text("the only copy of something")
    with pytest.raises(OutputExists):
        exported(trial, out / "a.zip")
    assert (out / "a.zip").read_text() == "the only copy of something"
    assert recorded(trial) == []
    exported(trial, out / "a.zip", force=True)
    assert names(out / "a.zip")
    assert [path.name for path in out.iterdir()] == ["a.zip"]


def test_a_folder_that_is_none_is_refused(trial: Simulator, out: Path) -> None:
    with pytest.raises(OutputNotWritable):
        exported(trial, out / "nowhere" / "a.zip")
    with pytest.raises(OutputNotWritable):
        exported(trial, out)
    assert recorded(trial) == []
