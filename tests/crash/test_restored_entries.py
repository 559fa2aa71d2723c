"""What an older database lacks is put back from what others hold: exactly the signed entries, all of them, or nothing.

The older database is a real one: a copy of the trial's from before its first subject. The home with the signer's state
is the newer one's, as it is backed up apart from the database.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.domain.refusals import Refusal
from ledger.merkle.policy import Policy
from ledger.restoring.entries import Restored, restore_entries
from ledger.signing.statement import parse
from ledger.store import statements
from ledger.store.embedded import DatabaseUrls
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from tests.integration.exports.bundles import exported, follow
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.doors import InProcess
from tests.scenario.fixtures import Opened, copied, ledger_of, opened
from tests.scenario.simulator import Simulator, refused

STUDY = "COAST-07"
WHY = "the disk was lost"
GOLDEN = Path(__file__).parents[1] / "golden" / "evidence-1" / "evidence.zip"
"""A bundle of another study."""

Older = Callable[[], AbstractContextManager[Ledger]]


@pytest.fixture
def lost(doomed_trial: Simulator, tmp_path: Path) -> Simulator:
    """A trial that went on, was exported and went on: `evidence.zip`, `feed.ndjson` and `all.ndjson` are what others
    have of it."""
    sim = doomed_trial
    for number in ("1", "2"):
        sim.screen(sim.subject(number))
    exported(sim, tmp_path / "evidence.zip")
    sim.result(sim.subject("3"), "platelets", "12", "10*9/L")
    everything = list(sim.door.entries())
    with open_bundle(tmp_path / "evidence.zip") as bundle:
        size = json.loads(bundle.read("MANIFEST.json"))["size"]
    kept(tmp_path / "feed.ndjson", everything[size:])
    kept(tmp_path / "all.ndjson", everything)
    return sim


def kept(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


@pytest.fixture
def older(
    lost: Simulator, embedded_server: DatabaseUrls, opened_trial: Opened, turned_clock: TurnedClock
) -> Iterator[Older]:
    """Opens the home of the lost trial on a database of before; the same one every time."""
    lost_ledger = ledger_of(lost)
    lost_ledger.close()
    with copied(embedded_server, opened_trial.database) as urls:

        @contextmanager
        def again() -> Iterator[Ledger]:
            with opened(lost_ledger.home.path, urls, turned_clock) as ledger:
                yield ledger

        yield again


def sizes(ledger: Ledger) -> tuple[int, int]:
    """Of the database and of what was signed."""
    with ledger.database.connection() as connection:
        return statements.read_head(connection, STUDY).size, ledger.signed_state(STUDY).size


def restored(ledger: Ledger, *paths: Path) -> Restored:
    return restore_entries(ledger, STUDY, paths, WHY)


def refusal(ledger: Ledger, rule: str, *paths: Path) -> Refusal:
    """The refusal of a restore that writes nothing."""
    before = sizes(ledger)
    with pytest.raises(Refusal) as told:
        restored(ledger, *paths)
    assert told.value.rule == rule, told.value
    assert sizes(ledger) == before
    return told.value


def test_a_bundle_and_the_feed_after_it_bring_an_older_database_to_what_was_signed(
    lost: Simulator, older: Older, tmp_path: Path
) -> None:
    wanted = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    with older() as ledger:
        before, signed = sizes(ledger)
        assert before < signed == len(wanted)
        assert ledger.check_log(STUDY) is not None
        done = restored(ledger, tmp_path / "evidence.zip", tmp_path / "feed.ndjson")
        assert (done.before, done.size, done.recorded) == (before, signed, signed)
        assert ledger.check_log(STUDY) is None
        sim = copy.copy(lost)
        sim.door = InProcess(ledger, STUDY)
        entries = list(sim.door.entries())
        assert entries[:signed] == wanted, "byte for byte, in their places, with the ledger's times"
        own = parse(entries[signed]["statement"])
        assert (own.event, own.body["backup_size"], own.content["reason"]) == ("RestorePerformed", before, WHY)
        sim.screen(sim.subject("4"))
        check_everything(ledger, sim.acknowledged)
        follow(sim)
        exported(sim, tmp_path / "after.zip")
    with open_bundle(tmp_path / "after.zip") as bundle:
        report = verify(bundle, Policy.parse(bundle.read("policy.txt")), now=2**33, workers=1)
    assert report, report.text()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_killed_halfway_it_goes_on_and_is_on_record_once(
    older: Older, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr("ledger.restoring.entries.AT_ONCE", 1)
    with older() as ledger:
        before, signed = sizes(ledger)
        finish, calls = statements.finish_append, []

        def dies(*given: Any, **more: Any) -> None:
            finish(*given, **more)
            calls.append(1)
            if len(calls) == times:
                raise KeyboardInterrupt

        monkeypatch.setattr(statements, "finish_append", dies)
        with pytest.raises(KeyboardInterrupt):
            restored(ledger, tmp_path / "all.ndjson")
        assert sizes(ledger)[0] == before + times
        monkeypatch.setattr(statements, "finish_append", finish)
    with older() as ledger:
        assert ledger.check_log(STUDY) is not None, "what is half restored is still an alarm"
        done = restored(ledger, tmp_path / "all.ndjson")
        assert (done.before, done.size) == (before, signed), "as the first run found it"
        assert refusal(ledger, "RESTORE-1", tmp_path / "all.ndjson")
        entries = list(InProcess(ledger, STUDY).entries())
        assert [entry["event"] for entry in entries].count("RestorePerformed") == 1


def test_killed_before_it_was_on_record_it_is_recorded_by_the_next_run(
    older: Older, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*given: Any) -> None:
        raise KeyboardInterrupt

    with older() as ledger:
        before, signed = sizes(ledger)
        with monkeypatch.context() as patched:
            patched.setattr("ledger.restoring.entries._record", dies)
            with pytest.raises(KeyboardInterrupt):
                restored(ledger, tmp_path / "all.ndjson")
    with older() as ledger:
        done = restored(ledger, tmp_path / "all.ndjson")
        assert (done.before, done.size, done.recorded) == (before, signed, signed)
        assert not list((ledger.home.path / "signer").glob("*.restoring"))


def test_what_is_not_everything_that_was_signed_is_not_put_back(older: Older, lost: Simulator, tmp_path: Path) -> None:
    everything = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    last = everything[-1]
    with older() as ledger:
        start, signed = sizes(ledger)
        assert f"the last at {signed - 1}" in str(refusal(ledger, "RESTORE-2", tmp_path / "evidence.zip").because)
        refusal(ledger, "RESTORE-2", kept(tmp_path / "hole", [*everything[: start + 1], *everything[start + 2 :]]))
        refusal(ledger, "RESTORE-2", kept(tmp_path / "none", []))
        later = {**last, "recorded_at": last["recorded_at"][:-2] + ("1Z" if last["recorded_at"][-2] != "1" else "2Z")}
        other = {**last, "statement": everything[-2]["statement"]}
        for lie in (later, other):
            refusal(ledger, "RESTORE-3", kept(tmp_path / "lie", [*everything[:-1], lie]))
        swapped = [{**everything[-1], "index": last["index"] - 1}, {**everything[-2], "index": last["index"]}]
        refusal(ledger, "RESTORE-3", kept(tmp_path / "swapped", [*everything[:-2], *swapped]))
        bare = {**last, "statement": last["statement"].partition("~")[0] + "~"}
        assert last["statement"].count("~") > 1
        told = refusal(ledger, "RESTORE-4", kept(tmp_path / "bare", [*everything[:-1], bare]))
        assert told.indexes == (signed - 1,)
        for wrong in ("[]", "{}", "nothing", '{"index":' + str(start) + ',"recorded_at":"","statement":"x"}'):
            (tmp_path / "wrong").write_text(wrong)
            refusal(ledger, "RESTORE-5", tmp_path / "wrong")
        refusal(ledger, "RESTORE-5", tmp_path / "not there")
        told = refusal(ledger, "RESTORE-5", GOLDEN, tmp_path / "all.ndjson")
        assert str(GOLDEN) in str(told.because) and "ledger.example.org/study/STUDY-1" in str(told.because)
        (tmp_path / "cut.zip").write_bytes((tmp_path / "evidence.zip").read_bytes()[:2_000])
        refusal(ledger, "RESTORE-5", tmp_path / "cut.zip")
        with refused("WRITER-6"):
            sim = copy.copy(lost)
            sim.door = InProcess(ledger, STUDY)
            sim.screen(sim.subject("4"))


def test_an_entry_whose_fields_one_source_lacks_is_taken_from_the_other(older: Older, tmp_path: Path) -> None:
    everything = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    bare = [{**one, "statement": one["statement"].partition("~")[0] + "~"} for one in everything]
    with older() as ledger:
        _, signed = sizes(ledger)
        done = restored(ledger, kept(tmp_path / "bare", bare), tmp_path / "all.ndjson", kept(tmp_path / "b", bare))
        assert done.size == signed
        assert [one["statement"] for one in InProcess(ledger, STUDY).entries()][:signed] == [
            one["statement"] for one in everything
        ]


@pytest.mark.parametrize("first", [True, False], ids=["named first", "named last"])
def test_a_source_that_lies_does_not_keep_an_honest_one_from_being_used(
    older: Older, tmp_path: Path, first: bool
) -> None:
    everything = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    with older() as ledger:
        start, signed = sizes(ledger)
        lies = [{**one, "statement": everything[one["index"] - 1]["statement"]} for one in everything[start::2]]
        lying, honest = kept(tmp_path / "lies.ndjson", lies), tmp_path / "all.ndjson"
        half = kept(tmp_path / "half.ndjson", everything[: start + 2])
        tail = kept(tmp_path / "tail", [{**everything[-1], "statement": everything[-2]["statement"]}])
        told = refusal(ledger, "RESTORE-3", lying, tmp_path / "evidence.zip", tail)
        assert told.indexes[0] == start and "lies.ndjson" in str(told.because) and "evidence.zip" in str(told.because)
        done = restored(ledger, *((lying, half, honest) if first else (half, honest, lying)))
        assert done.size == signed
        assert list(InProcess(ledger, STUDY).entries())[:signed] == everything


def test_fields_of_an_entry_are_put_together_from_sources_that_each_lack_some(older: Older, tmp_path: Path) -> None:
    everything = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]

    def half(of: dict[str, Any], rest: int) -> dict[str, Any]:
        jwt, *shown = of["statement"].removesuffix("~").split("~")
        return {**of, "statement": "~".join((jwt, *shown[rest::2], ""))}

    halves = [kept(tmp_path / f"{rest}.ndjson", [half(one, rest) for one in everything]) for rest in (0, 1)]
    with older() as ledger:
        refusal(ledger, "RESTORE-4", halves[0])
        _, signed = sizes(ledger)
        assert restored(ledger, *halves).size == signed
        again = [parse(one["statement"]) for one in InProcess(ledger, STUDY).entries()][:signed]
        assert [one.content for one in again] == [parse(one["statement"]).content for one in everything]


@pytest.mark.parametrize("known_before", [True, False], ids=["from before the redaction", "from after it"])
def test_what_was_redacted_among_the_missing_entries_is_redacted_when_they_are_back(
    doomed_trial: Simulator,
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    turned_clock: TurnedClock,
    tmp_path: Path,
    known_before: bool,
) -> None:
    """Whether or not the source still has the value: a mirror of before the redaction has it."""
    sim = doomed_trial
    named = sim.screen(sim.subject("1"), comment="her name is Ada")
    told = list(sim.door.entries())
    second = sim.redact({named: ["comment"]})
    feed = list(sim.door.entries())
    assert "comment" not in parse(feed[named.index]["statement"], partial=True).content
    if known_before:
        feed[: len(told)] = told
    ledger = ledger_of(sim)
    ledger.close()
    with (
        copied(embedded_server, opened_trial.database) as urls,
        opened(ledger.home.path, urls, turned_clock) as again,
    ):
        restored(again, kept(tmp_path / "feed", feed))
        assert again.check_log(STUDY) is None
        statement = again.entry(STUDY, named.index).statement
        assert dict(statement.redacted) == {"comment": second.index}
        assert "Ada" not in json.dumps(list(InProcess(again, STUDY).entries()))


def test_a_database_that_lacks_nothing_is_left_alone(trial: Simulator, tmp_path: Path) -> None:
    trial.screen(trial.subject("1"))
    feed = kept(tmp_path / "feed.ndjson", list(trial.door.entries()))
    with pytest.raises(Refusal) as told:
        restore_entries(ledger_of(trial), STUDY, [feed], WHY)
    assert told.value.rule == "RESTORE-1"
    with pytest.raises(Refusal) as told:
        restore_entries(ledger_of(trial), "OTHER-1", [feed], WHY)
    assert told.value.rule == "STUDY-404"
