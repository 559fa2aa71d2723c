"""Sites and sponsors witness the study's log: what they cosign, what they catch, and that nobody waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ledger.application import Ledger
from ledger.asking import ASK_SECONDS
from ledger.merkle.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner, time_of, verifier_of
from ledger.merkle.note import VerifierKey, parse_note, parse_signature_line
from ledger.merkle.policy import Policy
from ledger.merkle.tlog_proof import TlogProof, verify_receipt
from ledger.settings import SettingsError
from ledger.store import evidence, statements
from ledger.witness import SIZE_TYPE, Submission
from ledger.witnessing import HEARTBEAT_SECONDS, StudyWitnessing
from tests.http.conftest import Server, listening
from tests.scenario.fixtures import *  # noqa: F403
from tests.scenario.fixtures import ledger_of
from tests.scenario.histories import History
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until
from tests.scenario.witnesses import Behaviour, SiteWitness, at_hand, impostor, running

STUDY = "COAST-07"
IMPOSTOR = Ed25519Cosigner("impostor.example/w", bytes([5]) * 32)


class Desk:
    """A ledger whose witnesses are asked when the test says so."""

    def __init__(self, trial: Simulator, folder: Path) -> None:
        self.trial, self.ledger = trial, ledger_of(trial)
        self.keys = self.ledger.log_signers(STUDY).public()
        self.origin = self.ledger.origin(STUDY)
        self.file = self.ledger.witnessing.policy_file(STUDY)
        self.file.parent.mkdir(exist_ok=True)
        self.shift, self.folder = 0.0, folder
        self.asking = self.start()

    def start(self) -> StudyWitnessing:
        home = self.ledger.home.path / "witness"
        home.mkdir(exist_ok=True)
        clock = lambda: time.time() + self.shift  # noqa: E731
        return StudyWitnessing(STUDY, self.origin, self.file, lambda: self.keys, self.ledger.database, home, clock)

    def policy(self, *lines: str, quorum: str) -> None:
        logs = [f"log {key}" for key in self.keys]
        self.file.write_text("\n".join([*logs, *lines, f"quorum {quorum}", ""]), encoding="utf-8")

    def record(self, number: str) -> int:
        """Any statement under a checkpoint; the size of the log with it."""
        return self.trial.screen(self.trial.subject(number)).index + 1

    def newest(self) -> int:
        with self.ledger.database.connection() as connection:
            return self.ledger.checkpoint(connection, STUDY).size

    def lines(self, size: int) -> dict[str, str]:
        with self.ledger.database.connection() as connection:
            return evidence.select_cosignatures(connection, STUDY, size)

    def theirs(self) -> dict[str, str]:
        """The witnesses' lines under the newest checkpoint; the log's own second one comes when it comes."""
        return {name: text for name, text in self.lines(self.newest()).items() if "example/w" in name}

    def witnessed(self) -> int | None:
        policy = self.ledger.witnessing.policy(STUDY)
        assert policy is not None
        with self.ledger.database.connection() as connection:
            found = self.ledger.witnessed(connection, STUDY, policy)
        return found.size if found else None

    def error(self, name: str) -> str:
        return str(self.ledger.witnessing.notes(STUDY)[name].error)

    def alarms(self) -> list[str]:
        return [alarm.because for alarm in self.ledger.witnessing.alarms(STUDY)]


@pytest.fixture
def desk(trial: Simulator, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(trial, tmp_path)
    yield desk
    desk.asking.close()


NAMES = ("sponsor", "cro", "irb")


@pytest.fixture
def processes(desk: Desk, tmp_path: Path) -> Iterator[list[SiteWitness]]:
    """Three witnesses that run, each a process of its own: sponsor, cro, irb."""
    with ExitStack() as stack:
        made = [SiteWitness(tmp_path / name, f"{name}.example/w") for name in NAMES]
        yield [stack.enter_context(running(site, desk.keys)) for site in made]


@pytest.fixture
def sites(desk: Desk, tmp_path: Path) -> Iterator[list[SiteWitness]]:
    """The same three, served by this process."""
    with ExitStack() as stack:
        made = [SiteWitness(tmp_path / name, f"{name}.example/w") for name in NAMES]
        yield [stack.enter_context(at_hand(site, desk.keys)) for site in made]


def line(name: str, site: SiteWitness, url: str | None = None) -> str:
    return f"witness {name} {site.key} {url or site.url}"


def two_of_three(desk: Desk, sites: list[SiteWitness]) -> None:
    lines = [line(name, site) for name, site in zip(NAMES, sites, strict=True)]
    desk.policy(*lines, "group q 2 sponsor cro irb", quorum="q")


def test_witnesses_cosign_the_newest_checkpoint_and_two_of_three_are_the_quorum(
    desk: Desk, processes: list[SiteWitness]
) -> None:
    two_of_three(desk, processes)
    size = desk.record("1")
    desk.asking.round()
    assert desk.witnessed() == size
    with desk.ledger.database.connection() as connection:
        row = desk.ledger.checkpoint(connection, STUDY)
        note = evidence.full_note(connection, STUDY, row).encode()
    opened = open_checkpoint(note, [verifier_of(desk.keys[0])], desk.origin, [verifier_of(s.key) for s in processes])
    assert {signature.name for signature in opened.good} >= {s.key.name for s in processes}

    processes[2].kill()
    later = desk.record("2")
    desk.asking.round()
    assert desk.witnessed() == later, "two of three suffice"
    assert "cannot be reached" in desk.error("irb")
    processes[1].kill()
    last = desk.record("3")
    desk.asking.round()
    assert desk.newest() == last and desk.witnessed() == later, "one of three does not"


def test_a_witness_that_was_down_catches_up_with_a_proof(desk: Desk, processes: list[SiteWitness]) -> None:
    two_of_three(desk, processes)
    desk.record("1")
    desk.asking.round()
    port = processes[0].port()
    processes[0].kill()
    for number in ("2", "3"):
        desk.record(number)
        desk.asking.round()
    processes[0].start(desk.keys, port=port)
    desk.shift -= 60  # however long its start took here
    desk.asking.round()
    assert "cannot be reached" in desk.error("sponsor"), "it is left alone for a while"
    desk.shift += 70
    desk.asking.round()
    assert any(name.startswith("sponsor") for name in desk.lines(desk.newest()))
    assert desk.ledger.witnessing.notes(STUDY) == {}


def test_a_restarted_ledger_goes_on_from_its_rows(desk: Desk, sites: list[SiteWitness]) -> None:
    two_of_three(desk, sites)
    desk.record("1")
    desk.asking.round()
    desk.asking.close()
    size = desk.record("2")
    desk.asking = desk.start()
    desk.asking.round()
    assert desk.witnessed() == size and desk.ledger.witnessing.notes(STUDY) == {}


def test_an_idle_log_is_cosigned_again_for_a_fresh_time(desk: Desk, sites: list[SiteWitness]) -> None:
    two_of_three(desk, sites)
    desk.record("1")
    desk.asking.round()
    before = desk.theirs()
    desk.asking.round()
    assert desk.theirs() == before, "not before it is due"
    for standing in desk.asking._standings.values():
        standing.at -= HEARTBEAT_SECONDS
    wait_until(lambda: int(time.time()) > _newest_time(before), "the next second")
    desk.asking.round()
    after = desk.theirs()
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in after)


def _newest_time(lines: dict[str, str]) -> int:
    return max(time_of(parse_signature_line(line).signature) for line in lines.values())


def test_a_site_that_signs_with_two_keys_is_two_witnesses_at_one_address(desk: Desk, tmp_path: Path) -> None:
    site = SiteWitness(tmp_path / "irb", "irb.example/w", post_quantum=True)
    with at_hand(site, desk.keys):
        both = [f"witness irb{key.kind} {key} {site.url}" for key in site.keys]
        desk.policy(*both, "group q all irb4 irb6", quorum="q")
        for number in ("1", "2"):
            size = desk.record(number)
            desk.asking.round()
            assert desk.witnessed() == size and desk.ledger.witnessing.notes(STUDY) == {}


def test_only_one_process_of_a_host_asks(desk: Desk, sites: list[SiteWitness]) -> None:
    two_of_three(desk, sites)
    desk.record("1")
    other = desk.start()
    desk.asking.round()
    size = desk.record("2")
    other.round()
    assert desk.witnessed() != size
    desk.asking.close()
    other.round()
    assert desk.witnessed() == size
    other.close()


# --- a second history ------------------------------------------------------------------------------------


def fork_of(desk: Desk, size: int, more: int) -> History:
    """What somebody with the log's key could write: the same beginning, then other entries."""
    with desk.ledger.database.connection() as connection:
        leaves = list(statements.leaf_hashes(connection, STUDY, 0, size))
    return History(desk.ledger.log_signers(STUDY), desk.origin, leaves).grow(more, "another")


def test_a_witness_catches_two_ledgers_with_one_key(desk: Desk, sites: list[SiteWitness]) -> None:
    two_of_three(desk, sites)
    size = desk.newest()
    fork = fork_of(desk, size - 2, 2)
    assert httpx.post(f"{sites[2].url}/add-checkpoint", content=fork.submission(0)).status_code == 200
    later = desk.record("1")
    desk.asking.round()
    assert desk.witnessed() == later, "the other two have seen this history"
    [alarm] = desk.alarms()
    assert "irb has seen another history" in alarm and "proves two histories" in alarm
    [kept] = (desk.ledger.home.path / "witness" / f"{STUDY}.seen-by-witnesses").iterdir()
    assert parse_note(kept.read_bytes()).text == fork.checkpoint().body()


def test_a_database_restored_from_a_backup_is_behind_its_witness(desk: Desk, sites: list[SiteWitness]) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    larger = fork_of(desk, desk.newest(), 3)
    httpx.post(f"{sites[2].url}/add-checkpoint", content=larger.submission(0))
    desk.asking.round()
    [alarm] = desk.alarms()
    assert "has seen a larger tree" in alarm and f"cosigned {desk.newest() + 3} entries" in alarm


def test_an_alarm_goes_when_the_witness_cosigns_again(desk: Desk, sites: list[SiteWitness]) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    desk.record("1")
    desk.asking.round()
    desk.record("2")
    with impostor(lambda body: (422, "text/plain", b"no\n")) as url:
        desk.policy(line("irb", sites[2], url), quorum="irb")
        desk.asking.round()
    [alarm] = desk.alarms()
    assert "it may be the witness that errs" in alarm
    desk.policy(line("irb", sites[2]), quorum="irb")
    desk.asking.round()
    assert desk.alarms() == [] and desk.witnessed() == desk.newest()


def test_a_witness_whose_older_state_was_put_back_is_an_alarm_until_it_has_another_key(
    desk: Desk, processes: list[SiteWitness]
) -> None:
    """It cosigns again, so nothing else would show that it could have cosigned a second history meanwhile."""
    irb, cro = processes[2], processes[1]
    desk.policy(line("irb", irb), quorum="irb")
    first = desk.record("1")
    desk.asking.round()
    older, port = irb.state_file.read_bytes(), irb.port()
    last = desk.record("2")
    desk.asking.round()
    irb.stop()
    irb.state_file.write_bytes(older)
    irb.start(desk.keys, port=port)
    desk.record("3")
    desk.asking.round()
    [alarm] = desk.alarms()
    assert alarm == f"the witness irb says that it has seen {first} entries, though it cosigned {last} before"
    assert desk.witnessed() == desk.newest(), "its signature is good all the same"
    desk.asking.close()
    desk.asking = desk.start()
    desk.record("4")
    desk.asking.round()
    assert desk.alarms() == [alarm], "neither an answer nor a restart takes it away"
    desk.policy(line("cro", cro).replace("witness cro", "witness irb"), quorum="irb")
    desk.asking.round()
    assert desk.alarms() == [] and desk.witnessed() == desk.newest()


# --- witnesses that misbehave ----------------------------------------------------------------------------


def cosigned(key: Ed25519Cosigner, body: bytes, at: float = 0.0) -> bytes:
    checkpoint = Checkpoint.parse(Submission.parse(body).note.text)
    return key.cosign(checkpoint, int(time.time() + at)).line()


def spoiled(body: bytes) -> bytes:
    """A cosignature of another tree."""
    tree = Checkpoint.parse(Submission.parse(body).note.text)
    return IMPOSTOR.cosign(Checkpoint(tree.origin, tree.size, bytes(32)), int(time.time())).line()


OTHER_KEY = Ed25519Cosigner(IMPOSTOR.key.name, bytes([6]) * 32)
OTHER_NAME = Ed25519Cosigner("other.example/w", bytes([5]) * 32)


def slow(body: bytes) -> tuple[int, str, bytes]:
    time.sleep(ASK_SECONDS + 0.5)
    return 200, "text/plain", cosigned(IMPOSTOR, body)


MISBEHAVIOUR: dict[str, tuple[Behaviour, str]] = {
    "a signature of another tree": (lambda b: (200, "text/plain", spoiled(b)), "not good for this checkpoint"),
    "another key": (lambda b: (200, "text/plain", cosigned(OTHER_KEY, b)), "no signature of the key"),
    "another name": (lambda b: (200, "text/plain", cosigned(OTHER_NAME, b)), "no signature of the key"),
    "nothing": (lambda b: (200, "text/plain", b""), "not a cosignature"),
    "garbage": (lambda b: (200, "text/plain", bytes(range(256))), "not a cosignature"),
    "a page": (lambda b: (200, "text/html", b"<html>\n</html>\n"), "not a cosignature"),
    "a line without an end": (lambda b: (200, "text/plain", cosigned(IMPOSTOR, b)[:-1]), "not a cosignature"),
    "too much": (lambda b: (200, "text/plain", b"a" * 10_000_000), "more than"),
    "too late": (slow, "did not answer"),
    "a clock ahead": (lambda b: (200, "text/plain", cosigned(IMPOSTOR, b, 4_000)), "ahead of ours"),
    "an old answer again": (lambda b: (200, "text/plain", cosigned(IMPOSTOR, b, -4_000)), "behind ours"),
    "a size that is none": (lambda b: (409, SIZE_TYPE, b"many\n"), "without the size"),
    "a size without end": (lambda b: (409, SIZE_TYPE, b"9" * 60_000 + b"\n"), "without the size"),
    "the size it refused": (lambda b: (409, SIZE_TYPE, b"0\n"), "states the same"),
    "a redirect": (lambda b: (302, "text/plain", b"elsewhere"), "answers 302"),
    "an error": (lambda b: (500, "text/plain", b"\x1b[31mboom\n"), "answers 500: [31mboom"),
    "an unknown log": (lambda b: (404, "text/plain", b""), "give its operator the log's verifier keys"),
    "a refusal of the key": (lambda b: (403, "text/plain", b""), "other keys of this log"),
    "a first tree that is none": (lambda b: (422, "text/plain", b"no"), "answers 422"),
}


@pytest.mark.parametrize(("behave", "because"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
def test_a_witness_that_misbehaves_is_named_and_harms_nothing(desk: Desk, behave: Behaviour, because: str) -> None:
    with impostor(behave) as url:
        desk.policy(f"witness bad {IMPOSTOR.key} {url}", quorum="bad")
        desk.asking.round()
        assert because in desk.error("bad")
        assert desk.witnessed() is None and desk.alarms() == []
        assert not any("example" in name and "impostor" in name for name in desk.lines(desk.newest()))
        before = desk.newest()
        assert desk.record("1") == before + 1


def test_a_witness_that_claims_a_larger_tree_without_showing_one_is_an_alarm_that_says_so(desk: Desk) -> None:
    with impostor(lambda body: (409, SIZE_TYPE, b"999999999999\n")) as url:
        desk.policy(f"witness bad {IMPOSTOR.key} {url}", quorum="bad")
        desk.asking.round()
    [alarm] = desk.alarms()
    assert "it may be the witness that errs" in alarm


def test_a_lazy_witness_does_not_keep_the_others_from_the_quorum(desk: Desk, sites: list[SiteWitness]) -> None:
    with impostor(slow) as url:
        bad = f"witness bad {IMPOSTOR.key} {url}"
        desk.policy(line("irb", sites[2]), line("cro", sites[1]), bad, "group q 2 irb cro bad", quorum="q")
        size = desk.record("1")
        desk.asking.round()
        assert desk.witnessed() == size


# --- the policy's file -----------------------------------------------------------------------------------


def test_a_policy_that_is_broken_later_is_an_alarm_and_the_one_before_goes_on(
    desk: Desk, sites: list[SiteWitness]
) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    desk.asking.round()
    good = desk.file.read_text(encoding="utf-8")
    desk.file.write_text(good + "quorum irb\n", encoding="utf-8")
    size = desk.record("1")
    desk.asking.round()
    assert any("a quorum already" in alarm for alarm in desk.alarms())
    assert any(name.startswith("irb") for name in desk.lines(size))
    desk.file.write_text(good, encoding="utf-8")
    desk.asking.round()
    assert desk.alarms() == []


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (lambda text: text.replace("log ", "# log "), "no log line has a key of"),
        (lambda text: text.replace("http://", "file:///etc/"), "is not http"),
        (lambda text: text.replace("quorum irb", "quorum board"), "not defined"),
        (lambda text: text + "\0", "control character"),
    ],
)
def test_a_server_with_a_policy_that_cannot_be_used_does_not_start(
    desk: Desk, sites: list[SiteWitness], spoil: Callable[[str], str], because: str
) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    desk.file.write_text(spoil(desk.file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SettingsError, match=because):
        desk.ledger.witnessing.start()


def test_without_a_policy_nobody_is_asked_and_the_bundle_says_so(desk: Desk) -> None:
    desk.asking.round()
    assert desk.ledger.witnessing.policy(STUDY) is None
    policy = Policy.parse(desk.ledger.witnessing.policy_in_words(STUDY))
    assert policy.logs == desk.keys and policy.quorum == "none"


def test_a_changed_policy_counts_for_what_was_cosigned_before(desk: Desk, sites: list[SiteWitness]) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    size = desk.record("1")
    desk.asking.round()
    assert desk.witnessed() == size
    desk.policy(line("irb", sites[2]), line("cro", sites[1]), "group q all irb cro", quorum="q")
    assert desk.witnessed() is None
    impostor_key: VerifierKey = IMPOSTOR.key
    desk.policy(f"witness irb {impostor_key} {sites[2].url}", quorum="irb")
    assert desk.witnessed() is None


# --- over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture
def served(desk: Desk) -> Iterator[Server]:
    with listening(desk.ledger, STUDY) as server:
        yield server


def test_receipts_and_standings_over_http(desk: Desk, sites: list[SiteWitness], served: Server) -> None:
    told = desk.trial.screen(desk.trial.subject("1"))
    path = served.path(f"/receipts/{told.jti}")
    refused = served.http.get(path, params={"witnessed": True})
    assert (refused.status_code, refused.json()["rule"]) == (404, "WITNESS-2")
    assert served.http.get(served.path("/witnesses")).json()["policy"] is None

    two_of_three(desk, sites)
    refused = served.http.get(path, params={"witnessed": True})
    assert (refused.status_code, refused.json()["rule"]) == (404, "WITNESS-1")
    assert "witnesses" in refused.json()["remedy"]
    waiting = served.http.get(served.path("/witnesses")).json()
    assert waiting["quorum"]["size"] == 0 and waiting["quorum"]["lag_entries"] == desk.newest()

    desk.asking.round()
    covered = desk.newest()
    later = desk.trial.screen(desk.trial.subject("2"))
    receipt = TlogProof.parse(served.http.get(path, params={"witnessed": True}).content)
    keys = [verifier_of(desk.keys[0])]
    opened = verify_receipt(receipt, keys, desk.origin, [verifier_of(site.key) for site in sites])
    policy = desk.ledger.witnessing.policy(STUDY)
    assert policy is not None and policy.evaluate(opened.good) and opened.checkpoint.size == covered
    young = served.http.get(served.path(f"/receipts/{later.jti}"), params={"witnessed": True})
    assert (young.status_code, young.json()["rule"]) == (404, "WITNESS-1")
    at = served.http.get(path, params={"witnessed": True, "as_of": covered})
    assert at.status_code == 200 and TlogProof.parse(at.content).checkpoint == receipt.checkpoint

    found = served.http.get(served.path("/witnesses")).json()
    assert Policy.parse(found["policy"]) == policy
    assert [(one["size"], one["lag_entries"], one["error"]) for one in found["witnesses"]] == [(covered, 1, None)] * 3
    assert found["quorum"]["size"] == covered and found["quorum"]["because"].startswith("the quorum q is met by")
    health = served.http.get("/health/ledger").json()["studies"][STUDY]
    assert health["witnessed"]["size"] == covered and health["witnesses"]["irb"]["lag_entries"] == 1
    metrics = served.http.get("/metrics").text
    assert f'ledger_witness_lag_entries{{study="{STUDY}",witness="irb"}} 1.0' in metrics
    shown = served.http.get(f"/study/{STUDY}/checkpoint").content
    assert open_checkpoint(shown, keys, desk.origin).checkpoint.size == desk.newest()


def test_what_a_witness_caught_is_an_alarm_of_the_ledgers_health(
    desk: Desk, sites: list[SiteWitness], served: Server
) -> None:
    desk.policy(line("irb", sites[2]), quorum="irb")
    httpx.post(f"{sites[2].url}/add-checkpoint", content=fork_of(desk, desk.newest() - 1, 1).submission(0))
    desk.asking.round()
    health = served.http.get("/health/ledger")
    assert health.status_code == 503 and "another history" in health.json()["studies"][STUDY]["alarm"]["because"]
    assert 'ledger_witness_alarm{study="COAST-07"} 1.0' in served.http.get("/metrics").text


def test_the_servers_own_thread_asks_and_takes_in_a_policy_that_comes_later(
    desk: Desk, sites: list[SiteWitness]
) -> None:
    ledger: Ledger = desk.ledger
    ledger.witnessing.start()
    size = desk.record("1")
    two_of_three(desk, sites)
    wait_until(lambda: desk.witnessed() == size, "the quorum")
