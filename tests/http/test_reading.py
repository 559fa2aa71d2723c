"""What is read back: entries byte for byte, proofs that an outsider checks, views as of any state."""

from __future__ import annotations

import json
import re
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from api.v1 import reading
from ledger.store.embedded import DatabaseUrls
from projections.definitions import model_of
from projections.engine.sql import on
from tests.http.conftest import Server, follow, listening
from tests.http.test_problems import problem
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import Opened, copied_trial, ledger_of
from tests.scenario.offline import (
    Roots,
    leaf_of,
    open_checkpoint,
    open_receipt,
    root_from_path,
    roots_from_consistency,
)
from tests.scenario.simulator import Simulator
from tests.scenario.waiting import wait_until

RESULTS = 300
VIEWS = (
    "/subjects",
    "/findings",
    "/cohorts",
    "/schedule",
    "/safety",
    "/outcomes",
    "/protocol",
    "/signatures",
    "/audit-trail",
)


@pytest.fixture(scope="module")
def trial(
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    tmp_path_factory: pytest.TempPathFactory,
    turned_clock: TurnedClock,
) -> Iterator[Simulator]:
    """A trial with three subjects and enough results for a full tile; only read in this file."""
    home = tmp_path_factory.mktemp("reading") / "home"
    with copied_trial(embedded_server, opened_trial, home, turned_clock) as sim:
        sim.open_cohort("LOW")
        ada = sim.admit(sim.subject("001"), "LOW")
        ben = sim.subject("002")
        consent = sim.consent(ben)
        sim.screen(ben)
        sim.correct(consent, "language", "nl", reason="read the wrong line")
        by = sim.cast.analyser
        results = [sim.sign(by, "LabResultReported", ada, analyte="ferritin", value=str(n)) for n in range(RESULTS)]
        sim.send_many(results)
        yield sim
        check_everything(ledger_of(sim), sim.acknowledged, thorough=True)


@pytest.fixture(scope="module")
def server(trial: Simulator) -> Iterator[Server]:
    """A server over it, followed."""
    ledger = ledger_of(trial)
    with listening(ledger, trial.plan.study) as server:
        follow(ledger)
        yield server


def read(server: Server, path: str, **parameters: Any) -> Any:
    """The JSON of an address below the study."""
    answer = server.http.get(server.path(path), params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def everything(server: Server) -> list[dict[str, Any]]:
    """The whole change feed, page by page."""
    entries: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = read(server, "/events", after=after, limit=100)
        entries += page["entries"]
        after = page["next"]
    return entries


def unbase64(text: str) -> bytes:
    """base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- the log ------------------------------------------------------------------------------------------------


def test_the_feed_gives_every_entry_once_and_in_order_as_it_was_sent(server: Server, trial: Simulator) -> None:
    entries = everything(server)
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    sent = {told.index: told.text for told in trial.acknowledged}
    assert {entry["index"]: entry["statement"] for entry in entries} == sent
    for entry in entries[:: len(entries) // 20]:
        assert read(server, f"/events/{entry['index']}") == entry


def test_the_feed_goes_on_where_a_reader_stands(server: Server) -> None:
    whole = everything(server)
    page = read(server, "/events", after=10, limit=5)
    assert page["entries"] == whole[10:15]
    assert page["next"] == 15
    last = read(server, "/events", after=len(whole))
    assert (last["entries"], last["next"]) == ([], None)
    beyond = read(server, "/events", after=10**9)
    assert (beyond["entries"], beyond["next"]) == ([], None)


def test_the_feed_is_narrowed_by_event_and_subject(server: Server, trial: Simulator) -> None:
    screened = read(server, "/events", event="SubjectScreened")["entries"]
    assert [entry["event"] for entry in screened] == ["SubjectScreened"] * 2
    two = read(server, "/events", event=["SubjectScreened", "ConsentGiven"], limit=1_000)["entries"]
    assert {entry["event"] for entry in two} == {"SubjectScreened", "ConsentGiven"}
    assert [entry["index"] for entry in two] == sorted(entry["index"] for entry in two)
    subject = next(t for t in trial.acknowledged if t.event == "EntryCorrected")
    label = json.loads(unbase64(subject.text.split(".")[1]))["sub"].partition("/")[2]
    of_ben = read(server, "/events", subject=label)["entries"]
    assert [entry["event"] for entry in of_ben] == ["ConsentGiven", "SubjectScreened", "EntryCorrected"]


def test_the_feed_as_lines_is_the_feed(server: Server) -> None:
    answer = server.http.get(server.path("/events?limit=50"), headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in answer.text.splitlines()] == read(server, "/events", limit=50)["entries"]
    assert answer.headers["Ledger-Index"]


def test_an_early_state_is_read_as_it_was(server: Server) -> None:
    assert [e["index"] for e in read(server, "/events", as_of=3)["entries"]] == [0, 1, 2]
    assert read(server, "/events", as_of=0)["entries"] == []


def test_checkpoint_tree_tiles_and_proofs_agree_for_an_outsider(server: Server) -> None:
    log_key = read(server, "/log-keys")["log_keys"][0]
    entries = everything(server)
    leaves = [leaf_of(f"{e['statement'].partition('~')[0]}\n{e['recorded_at']}\n".encode()) for e in entries]
    assert [entry["leaf_hash"] for entry in entries] == [leaf.hex() for leaf in leaves]
    roots = Roots(leaves)
    size = len(leaves)
    checkpoint = open_checkpoint(server.http.get(f"/study/{server.study}/checkpoint").text, log_key)
    assert (checkpoint.origin, checkpoint.size) == (f"ledger.localhost/study/{server.study}", size)
    assert checkpoint.root == roots.at(size)

    tile = server.http.get(f"/study/{server.study}/tile/0/000").content
    assert tile == b"".join(leaves[:256])
    part = server.http.get(f"/study/{server.study}/tile/0/001.p/{size - 256}").content
    assert part == b"".join(leaves[256:])
    above = server.http.get(f"/study/{server.study}/tile/1/000.p/1").content
    assert above == roots.at(256)

    for index, tree in ((0, 1), (0, size), (size - 1, size), (255, 256), (256, 257), (100, 200)):
        proof = read(server, "/proofs/inclusion", index=index, size=tree)
        path = [unbase64(part) for part in proof["hashes"]]
        assert root_from_path(leaves[index], index, tree, path) == roots.at(tree) == unbase64(proof["root"])
    for old, new in ((1, size), (256, size), (255, 257), (size, size), (7, 8)):
        path = [unbase64(part) for part in read(server, "/proofs/consistency", old=old, new=new)["hashes"]]
        assert roots_from_consistency(old, new, path, roots.at(old)) == (roots.at(old), roots.at(new))


def test_every_receipt_proves_its_entry_offline_and_no_other(server: Server, trial: Simulator) -> None:
    log_key = read(server, "/log-keys")["log_keys"][0]
    for told in trial.acknowledged[:: len(trial.acknowledged) // 15]:
        for name in (told.jti, f"{told.jti}.tlog-proof"):
            answer = server.http.get(server.path(f"/receipts/{name}"))
            _, index, entry = open_receipt(answer.text, log_key)
            assert (index, entry.decode().splitlines()[0]) == (told.index, told.text.partition("~")[0])


def test_study_catalogue_and_refusals_are_described(server: Server, trial: Simulator) -> None:
    summary = read(server, "")
    assert (summary["study"], summary["synthetic"], summary["clock"]) == (server.study, True, "real")
    assert summary["size"] == len(trial.acknowledged)
    assert summary["title"]
    events = {event["event"]: event for event in read(server, "/catalogue")["events"]}
    assert events["ConsentGiven"]["kind"] == "fact"
    assert "coordinator" in events["ConsentGiven"]["recorders"]
    assert events["ConsentGiven"]["schema"]["properties"]["document_id"]
    assert len(events) > 80
    assert read(server, "/refusals")["refusals"] == []


def test_operations_are_told(server: Server) -> None:
    assert server.http.get("/health/live").json() == {"status": "live"}
    assert server.http.get("/health/ready").json()["status"] == "ready"
    state = server.http.get("/health/ledger").json()
    assert state["studies"][server.study]["committed"] == state["studies"][server.study]["checkpointed"]
    metrics = server.http.get("/metrics").text
    for name in ("ledger_size", "ledger_signed_size", "ledger_pooled", "ledger_signer_alarm"):
        assert f'{name}{{study="{server.study}"}}' in metrics
    follow(server.ledger)
    still = server.http.get("/health/ready").json()["standing_still"]
    assert still == [] == server.http.get("/health/ledger").json()["standing_still"]
    metrics = server.http.get("/metrics").text
    for name in ("position", "signed_size", "lag_entries", "lag_seconds", "stopped_partitions", "live"):
        assert f'ledger_projection_{name}{{projection="patient",schema="rm_patient_v' in metrics


def test_what_stands_still_is_named_by_health_and_metrics_without_a_subject(server: Server, trial: Simulator) -> None:
    person = trial.subject("7")
    trial.record(trial.staff().coordinator, "SubjectScreened", person, number="7", population="patient")
    follow(server.ledger)
    model = model_of("safety")
    with server.ledger.projector_database() as projector, projector.connection() as conn:
        told = {"study": server.study, "partition": person.label.partition("/")[2], "idx": 5, "event": "VisitRecorded"}
        conn.execute(on("stop", model.schema), {**told, "because": "ValueError: secret"})
    ready = server.http.get("/health/ready")
    assert ready.status_code == 200
    (still,) = ready.json()["standing_still"]
    assert (still["projection"], still["live"], still["stopped"]) == (
        "safety", True, [{"index": 5, "event": "VisitRecorded"}],
    )  # fmt: skip
    state = server.http.get("/health/ledger")
    assert (state.status_code, state.json()["status"], state.json()["standing_still"]) == (503, "alarm", [still])
    metrics = server.http.get("/metrics").text
    assert f'ledger_projection_stopped_partitions{{projection="safety",schema="{model.schema}"' in metrics
    for text in (ready.text, state.text, metrics):
        assert person.label.partition("/")[2] not in text and "secret" not in text
    with (
        server.ledger.projector_database() as projector,
        projector.connection() as conn,
    ):  # the server serves others too
        conn.execute(on("lift", model.schema), told)
    assert server.http.get("/health/ledger").json()["standing_still"] == []


def test_the_versions_of_events_are_counted_up_to_the_signed_size(server: Server, trial: Simulator) -> None:
    answer = server.http.get(server.path("/event-versions"))
    found = answer.json()
    assert answer.headers["Ledger-Index"] == str(found["size"])
    assert sum(one["count"] for one in found["events"]) == found["size"] > 0
    (opened,) = [one for one in found["events"] if one["event"] == "StudyOpened"]
    assert (opened["version"], opened["count"], opened["read_as"]) == (1, 1, "written")
    assert server.http.get("/v1/studies/NO-STUDY/event-versions").status_code == 404


def test_the_page_at_the_top_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text
    for link in page.text.split('href="')[1:]:
        address = link.partition('"')[0]
        assert address.startswith("/")
        assert server.http.get(address).status_code == 200, address


def test_the_interface_is_described_as_openapi(server: Server) -> None:
    described = server.http.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    ways_in = [path for path, methods in described["paths"].items() if "post" in methods]
    statements = ["/v1/studies", "/v1/studies/{study}/events"]
    signing = [path for path in ways_in if re.search(r"/(credentials|sessions|ceremonies|signature)$", path)]
    assert sorted(ways_in) == sorted([*statements, *signing, "/v1/studies/{study}/redactions/search"])
    assert len(signing) == 4
    taken = described["paths"][statements[1]]["post"]["requestBody"]["content"]
    assert set(taken) == {"application/sd-jwt", "application/x-ndjson"}


# -- views --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VIEWS)
def test_every_view_says_which_state_it_stands_for(server: Server, path: str) -> None:
    size = read(server, "")["size"]
    answer = server.http.get(server.path(path))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Ledger-Index"] == str(size)
    assert answer.headers["Ledger-Root"] == read(server, "")["root"]
    assert int(answer.headers["Projection-Version"]) >= 1


@pytest.mark.parametrize("path", VIEWS)
def test_every_view_is_read_as_of_an_earlier_state(server: Server, trial: Simulator, path: str) -> None:
    early = next(told.index for told in trial.acknowledged if told.event == "SubjectScreened")
    answer = server.http.get(server.path(path), params={"as_of": early})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Ledger-Index"] == str(early)
    assert "001" not in json.dumps(answer.json().get("subjects", []))


def test_an_early_state_does_not_know_what_came_later(server: Server, trial: Simulator) -> None:
    corrected = next(told for told in trial.acknowledged if told.event == "EntryCorrected")
    before = read(server, "/subjects/002", as_of=corrected.index)
    after = read(server, "/subjects/002", as_of=corrected.index + 1)
    assert '"nl"' not in json.dumps(before)
    assert '"nl"' in json.dumps(after)


def test_a_reader_waits_for_the_size_that_it_asks_for(server: Server, trial: Simulator) -> None:
    size = read(server, "")["size"]
    assert read(server, "/events", wait_for=size)["size"] == size
    by, ada = trial.cast.analyser, trial.subject("1")
    text = trial.sign(by, "LabResultReported", ada, analyte="ferritin", value="1")
    later = threading.Timer(0.3, lambda: trial.send(text))
    later.start()
    assert read(server, "", wait_for=size + 1)["size"] == size + 1
    later.join()
    follow(ledger_of(trial))
    answer = server.http.get(server.path("/subjects"), params={"wait_for": size + 1})
    assert answer.headers["Ledger-Index"] == str(size + 1)


@pytest.mark.parametrize("path", ["", "/events"])
def test_a_size_that_does_not_come_is_not_waited_for_for_ever(
    server: Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WAIT_LIMIT_SECONDS", 0.2)
    answer = server.http.get(server.path(path), params={"wait_for": 10**6})
    problem(answer, 503, "READ-9")


def test_reading_never_shows_what_is_not_signed(server: Server, trial: Simulator) -> None:
    """While the signer is down, committed entries stay unseen by every reader."""
    ledger = ledger_of(trial)
    size = read(server, "")["size"]
    writer = ledger.writer(server.study)
    wait_until(lambda: writer.signed_size == size, "signing at the start")
    state = ledger.home.signer_state(server.study)
    backup = state.read_bytes()
    state.write_bytes(b"scribble")
    told = trial.screen(trial.subject("003"))
    follow(ledger)
    assert told.index == size
    assert read(server, "")["size"] == size
    assert len(everything(server)) == size
    problem(server.http.get(server.path(f"/events/{size}")), 404, "ENTRY-404")
    problem(server.http.get(server.path("/subjects/003")), 404, "READ-6")
    state.write_bytes(backup)
    wait_until(lambda: read(server, "")["size"] == size + 1, "a checkpoint")
