"""The log of a real server, read as the specifications say, by a reader that knows nothing of this ledger.

Checkpoint, every tile and entry bundle, partial ones of older sizes too; proofs at any size; receipts issued again
under every later checkpoint. And the details of HTTP that tiled-log clients rely on (C2SP tlog-tiles).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from ledger.merkle.checkpoint import Checkpoint
from ledger.merkle.cosignature import Ed25519Cosigner
from ledger.receipts import Receipts
from ledger.store import evidence, statements
from ledger.store.database import Conn
from ledger.store.embedded import DatabaseUrls
from tests.http.conftest import Server, listening
from tests.http.test_problems import problem
from tests.scenario import offline
from tests.scenario.checker import check_everything
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import Opened, copied_trial, ledger_of
from tests.scenario.offline import Checked, Wrong
from tests.scenario.simulator import Simulator

BATCHES = (3, 60, 100, 1, 200, 256, 512, 900)
"""Results sent at once: more than two thousand entries, under checkpoints of odd sizes."""
COSIGNED_AT = 1_760_000_000
WITNESS = Ed25519Cosigner("witness.example/synthetic", bytes(range(32)))


@pytest.fixture(scope="module")
def trial(
    embedded_server: DatabaseUrls,
    opened_trial: Opened,
    tmp_path_factory: pytest.TempPathFactory,
    turned_clock: TurnedClock,
) -> Iterator[Simulator]:
    """A trial with enough results for a tile of level 1 that has several hashes; only read in this file."""
    home = tmp_path_factory.mktemp("log") / "home"
    with copied_trial(embedded_server, opened_trial, home, turned_clock) as sim:
        sim.open_cohort("LOW")
        ada = sim.admit(sim.subject("001"), "LOW")
        by = sim.cast.analyser
        for batch in BATCHES:
            results = [sim.sign(by, "LabResultReported", ada, analyte="ferritin", value=str(n)) for n in range(batch)]
            sim.send_many(results)
        yield sim
        check_everything(ledger_of(sim), sim.acknowledged)


@pytest.fixture(scope="module")
def server(trial: Simulator) -> Iterator[Server]:
    with listening(ledger_of(trial), trial.plan.study) as server:
        yield server


@pytest.fixture(scope="module")
def log_key(server: Server) -> str:
    """The log's key, as an inspector has it from the policy."""
    return str(server.http.get(server.path("/log-keys")).json()["log_keys"][0])


@pytest.fixture(scope="module")
def published(server: Server, log_key: str) -> list[Checked]:
    """Every checkpoint that was ever published, in order of size, read by the reader."""
    with server.ledger.database.snapshot() as connection:
        newest = server.ledger.checkpoint(connection, server.study)
        sizes = range(1, newest.size + 1)
        rows = [row for size in sizes if (row := evidence.checkpoint_at(connection, server.study, size))]
    assert len(rows) > len(BATCHES)
    return [offline.open_checkpoint(row.note, log_key) for row in rows]


def newest_of(server: Server, log_key: str) -> Checked:
    return offline.open_checkpoint(server.http.get(f"/study/{server.study}/checkpoint").content, log_key)


def file(server: Server, path: str) -> bytes:
    """A tile or bundle of the log."""
    answer = server.http.get(f"/study/{server.study}/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer.content


def some(published: list[Checked]) -> list[Checked]:
    """The first, the newest, and a few between."""
    return sorted({*published[:: max(1, len(published) // 5)], published[-1]}, key=lambda checked: checked.size)


# -- the reader ---------------------------------------------------------------------------------------------


def test_the_whole_log_is_read_from_its_tiles_at_published_sizes(server: Server, published: list[Checked]) -> None:
    fetched: dict[str, bytes] = {}
    for checked in some(published):
        for path in offline.paths_of(checked.size):
            fetched.setdefault(path, file(server, path))
        entries = offline.check_log(checked.size, checked.root, fetched.__getitem__)
        assert len(entries) == checked.size
    assert published[-1].size > 2_000
    assert "tile/1/000.p/8" in fetched


def test_a_byte_changed_on_the_way_is_noticed_in_every_file(server: Server, published: list[Checked]) -> None:
    checked = published[len(published) // 2]
    files = {path: file(server, path) for path in offline.paths_of(checked.size)}
    for number, (path, data) in enumerate(files.items()):
        for at in {0, 1, len(data) // 2, len(data) - 1, number * 997 % len(data)}:
            changed = data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :]
            with pytest.raises(Wrong):
                offline.check_log(checked.size, checked.root, {**files, path: changed}.__getitem__)


def test_inclusion_is_proven_in_every_published_tree(server: Server, published: list[Checked]) -> None:
    newest = published[-1].size
    bundles = [offline.read_bundle(file(server, p), offline.parse_path(p)[2]) for p in _bundles(newest)]
    leaves = [offline.leaf_of(entry) for bundle in bundles for entry in bundle]
    for checked in published:
        for index in {0, checked.size // 3, checked.size - 1}:
            answer = server.http.get(server.path("/proofs/inclusion"), params={"index": index, "size": checked.size})
            offline.open_inclusion(answer.content, leaves[index], index, checked)
            assert answer.headers["Ledger-Index"] == str(checked.size)
    for at in range(len(answer.content)):
        changed = answer.content[:at] + bytes([answer.content[at] ^ 1]) + answer.content[at + 1 :]
        with pytest.raises(Wrong):
            offline.open_inclusion(changed, leaves[index], index, checked)


def _bundles(size: int) -> list[str]:
    return [path for path in offline.paths_of(size) if offline.parse_path(path)[0] == "entries"]


def test_every_published_tree_begins_the_next_and_the_newest(server: Server, published: list[Checked]) -> None:
    for old, new in [*pairwise(published), *((old, published[-1]) for old in published)]:
        answer = server.http.get(server.path("/proofs/consistency"), params={"old": old.size, "new": new.size})
        offline.open_consistency(answer.content, old, new)
    old = published[1]
    answer = server.http.get(server.path("/proofs/consistency"), params={"old": old.size, "new": new.size})
    for at in range(len(answer.content)):
        changed = answer.content[:at] + bytes([answer.content[at] ^ 1]) + answer.content[at + 1 :]
        with pytest.raises(Wrong):
            offline.open_consistency(changed, old, new)


def test_a_receipt_is_issued_again_under_every_later_checkpoint(
    server: Server, trial: Simulator, published: list[Checked], log_key: str
) -> None:
    told = trial.acknowledged[40]
    for checked in published:
        answer = server.http.get(server.path(f"/receipts/{told.jti}"), params={"as_of": checked.size})
        if checked.size <= told.index:
            problem(answer, 404, "ENTRY-404")
            continue
        stood, index, entry = offline.open_receipt(answer.content, log_key)
        assert (stood, index) == (checked, told.index)
        assert entry.decode().split("\n")[0] == told.text.partition("~")[0]
        assert answer.headers["Ledger-Index"] == str(checked.size)
    unsigned = next(n for n in range(1, published[-1].size) if n not in {checked.size for checked in published})
    problem(server.http.get(server.path(f"/receipts/{told.jti}"), params={"as_of": unsigned}), 404, "READ-10")


def test_an_exported_checkpoint_carries_both_keys_of_the_log_in_every_receipt_from_then_on(
    server: Server, trial: Simulator, published: list[Checked], log_key: str
) -> None:
    post_quantum = server.http.get(server.path("/log-keys")).json()["log_keys"][1]
    told = trial.acknowledged[0]
    for checked in some(published):
        server.ledger.cosign_for_export(server.study, checked.size)
        answer = server.http.get(server.path(f"/receipts/{told.jti}"), params={"as_of": checked.size})
        stood, index, _ = offline.open_receipt(answer.content, log_key, post_quantum)
        assert (stood.size, stood.root, index) == (checked.size, checked.root, told.index)
        line = answer.text.rindex("\N{EM DASH} ")
        changed = answer.text[: line + 1_000] + "AA" + answer.text[line + 1_002 :]
        assert changed != answer.text
        with pytest.raises(Wrong):
            offline.open_receipt(changed, log_key, post_quantum)


def test_a_witness_line_that_came_later_is_in_checkpoint_and_receipt(
    server: Server, trial: Simulator, published: list[Checked], log_key: str, turned_clock: TurnedClock
) -> None:
    newest = published[-1]
    key = str(WITNESS.key)
    with pytest.raises(Wrong):
        offline.open_checkpoint(file(server, "checkpoint"), log_key, key)
    signed = WITNESS.cosign(Checkpoint(newest.origin, newest.size, newest.root), COSIGNED_AT)
    name = f"{WITNESS.key.name}+{WITNESS.key.key_id.hex()}"
    with server.ledger.database.connection() as connection:
        line = signed.line().decode().rstrip("\n")
        evidence.insert_cosignature(connection, server.study, newest.size, name, line, turned_clock.now)
    assert (key, COSIGNED_AT) in offline.open_checkpoint(file(server, "checkpoint"), log_key, key).times
    receipt = server.http.get(server.path(f"/receipts/{trial.acknowledged[7].jti}")).content
    assert offline.open_receipt(receipt, log_key, key)[0].size == newest.size


def test_a_proof_fetches_few_rows_of_the_database_however_many_there_are(
    server: Server, published: list[Checked]
) -> None:
    """Counted by the database itself, scans and fetches together: two tiles a level, and one partial tile's rows."""
    newest = published[-1].size
    entries = f"SELECT sum(length(state)) FROM ledger.events WHERE study_id = '{server.study}'"  # rows, no index alone
    with server.ledger.database.snapshot() as connection:
        before = _fetched(connection)
        connection.execute(entries)
        assert _fetched(connection) - before >= newest, "the count counts"
        for size in (300, 1_000, newest):
            for index in (0, size // 2, size - 1):
                before = _fetched(connection)
                Receipts(server.study).inclusion_proof(connection, index, size)
                Receipts(server.study).consistency_proof(connection, index + 1, size)
                Receipts(server.study).root_at(connection, size)
                fetched = _fetched(connection) - before
                assert fetched <= 3 * (255 + size // 256 + 4), (size, index, fetched)


def _fetched(connection: Conn) -> int:
    """Rows of the ledger's tables fetched by this transaction so far."""
    counted = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    [(rows,)] = connection.execute(counted).fetchall()
    return int(rows or 0)


# -- HTTP ---------------------------------------------------------------------------------------------------


def test_tiles_and_checkpoint_have_the_types_and_the_caching_of_the_specification(server: Server) -> None:
    checkpoint = server.http.get(f"/study/{server.study}/checkpoint")
    assert checkpoint.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["Cache-Control"] == "no-cache"
    for path, whose in (("tile/0/000", "public"), ("tile/1/000.p/1", "public"), ("tile/entries/000.p/3", "private")):
        answer = server.http.get(f"/study/{server.study}/{path}")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == f"{whose}, max-age=31536000, immutable"
    assert len(file(server, "tile/0/000")) == 8_192


def test_head_answers_as_get_does_without_the_body(server: Server) -> None:
    for path in ("checkpoint", "tile/0/000", "tile/0/000.p/7", "tile/1/000.p/2", "tile/entries/000"):
        address = f"/study/{server.study}/{path}"
        plain = {"Accept-Encoding": "identity"}
        got, asked = server.http.get(address, headers=plain), server.http.head(address, headers=plain)
        assert (asked.status_code, asked.content) == (200, b"")
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert asked.headers[name] == got.headers[name], (path, name)
    assert server.http.head(f"/study/{server.study}/tile/0/999").status_code == 404
    assert server.http.post(f"/study/{server.study}/checkpoint").status_code == 405


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("identity, gzip;q=0.5", True),
        ("br, GZIP", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, identity", False),
        ("xgzip", False),
        ("", False),
    ],
)
def test_an_entry_bundle_is_compressed_for_whoever_takes_it(server: Server, accepted: str, zipped: bool) -> None:
    address = f"/study/{server.study}/tile/entries/000"
    answer = server.http.get(address, headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(offline.read_bundle(answer.content, 256)) == 256
    assert (int(answer.headers["Content-Length"]) < len(answer.content)) is zipped


def test_partial_tiles_of_older_sizes_stay_and_no_other_width_is_served(server: Server, log_key: str) -> None:
    size = newest_of(server, log_key).size
    whole = file(server, "tile/0/000")
    for width in (1, 2, 100, 255):
        assert file(server, f"tile/0/000.p/{width}") == whole[: width * 32]
        assert len(offline.read_bundle(file(server, f"tile/entries/000.p/{width}"), width)) == width
    last, width = divmod(size, 256)
    assert len(file(server, f"tile/0/{last:03d}.p/{width}")) == width * 32
    for path in (
        f"tile/0/{last:03d}.p/{width + 1}",
        f"tile/0/{last:03d}",
        f"tile/0/{last + 1:03d}.p/1",
        f"tile/entries/{last:03d}.p/{width + 1}",
        f"tile/entries/{last:03d}",
        f"tile/1/000.p/{last + 1}",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/63/000",
        "tile/0/x001/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ):
        answer = server.http.get(f"/study/{server.study}/{path}")
        problem(answer, 404, "ENTRY-404")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/1234",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/-1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/-01",
        "tile/0/000/",
        "tile/8/0/000",
        "tile/data/000",
        "tile/entries/0",
        "tile/0/%D9%A0%D9%A0%D9%A0",
        "tile/0/00%0A",
        "tile/",
        f"tile/0/{'x001/' * 2000}001",
    ],
)
def test_what_is_no_path_of_a_tile_is_not_found(server: Server, path: str) -> None:
    problem(server.http.get(f"/study/{server.study}/{path}"), 404, "TILE-1")


def test_a_study_that_is_not_there_has_no_log(server: Server) -> None:
    for path in ("checkpoint", "tile/0/000", "tile/entries/000.p/1"):
        problem(server.http.get(f"/study/NOBODY-1/{path}"), 404, "STUDY-404")
        problem(server.http.get(f"/study/nobody/{path}"), 404, "REQUEST-4")


def test_a_log_without_entries_has_neither_checkpoint_nor_tiles(
    bare_server: Server,
) -> None:
    """An id that somebody reserved: a study begins with its genesis, so nothing of size 0 is ever signed."""
    with bare_server.ledger.database.connection() as connection:
        statements.create_study(connection, bare_server.study, bare_server.ledger.origin(bare_server.study))
    for path in ("checkpoint", "tile/0/000.p/1", "tile/0/000", "tile/entries/000.p/1"):
        problem(bare_server.http.get(f"/study/{bare_server.study}/{path}"), 404, "ENTRY-404")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"index": 0, "size": 0}, 400),
        ({"index": -1}, 400),
        ({"index": 10**6}, 404),
        ({"index": 5, "size": 5}, 404),
        ({"index": 0, "size": 10**6}, 404),
        ({"index": 0, "size": 2**70}, 404),
        ({"index": "0x1"}, 400),
        ({}, 400),
    ],
)
def test_an_inclusion_proof_that_cannot_be_is_refused(
    server: Server, parameters: dict[str, object], status: int
) -> None:
    assert server.http.get(server.path("/proofs/inclusion"), params=parameters).status_code == status


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"old": 0, "new": 5}, 400),
        ({"old": 6, "new": 5}, 404),
        ({"old": 1, "new": 10**6}, 404),
        ({"old": 2**70}, 404),
        ({}, 400),
    ],
)
def test_a_consistency_proof_that_cannot_be_is_refused(
    server: Server, parameters: dict[str, object], status: int
) -> None:
    assert server.http.get(server.path("/proofs/consistency"), params=parameters).status_code == status
