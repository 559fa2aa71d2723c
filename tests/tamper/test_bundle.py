"""A bundle that was tampered with after it was made: members edited, the manifest's digests fixed, the manifest signed
again by whoever has the ledger's key. Every row is caught by the check that it names.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.merkle.checkpoint import Checkpoint, NoteSigner
from ledger.merkle.log_keys import derive
from ledger.merkle.policy import Policy
from ledger.merkle.tiles import bundle_bytes, parse_bundle
from ledger.merkle.tree import entry_leaf_hash
from ledger.signing.keys import SigningKey
from ledger.store.embedded import DatabaseUrls
from ledger.verify import bundle as form
from ledger.verify.bundle import open_bundle
from ledger.verify.procedure import verify
from ledger.verify.report import VerificationReport
from ledger.verify.zipform import Refused
from projections.exports.evidence import Wanted, export_evidence
from projections.exports.recomputing import recompute_views
from tests.scenario.clock import TurnedClock
from tests.scenario.fixtures import copied, opened
from tests.tamper.attacks import STOLEN_SEED
from tests.tamper.conftest import Played

Members = dict[str, bytes]


@dataclass(frozen=True)
class Pristine:
    """An honest bundle of the played trial, and what an inspector and an attacker hold beside it."""

    path: Path
    members: Members
    policy: str
    key: SigningKey
    log_key: NoteSigner
    indexes: dict[str, int]
    notes: dict[int, str]
    now: int

    @property
    def size(self) -> int:
        """Of its log."""
        return int(json.loads(self.members["MANIFEST.json"])["size"])


@pytest.fixture(scope="session")
def pristine(
    embedded_server: DatabaseUrls,
    played: Played,
    tmp_path_factory: pytest.TempPathFactory,
    turned_clock: TurnedClock,
) -> Iterator[Pristine]:
    """Exported once."""
    folder = tmp_path_factory.mktemp("pristine")
    shutil.copytree(played.home, folder / "home")
    with copied(embedded_server, played.database) as urls, opened(folder / "home", urls, turned_clock) as ledger:
        export_evidence(ledger, Wanted(played.sim.plan.study), folder / "a.zip")
        key, log_key = ledger.home.key("ledger"), ledger.log_signers(played.sim.plan.study).ed25519
    with zipfile.ZipFile(folder / "a.zip") as found:
        members = {name: found.read(name) for name in found.namelist()}
    indexes = {name: told.index for name, told in played.told.items()}
    now = int(turned_clock().timestamp())
    yield Pristine(folder / "a.zip", members, played.watcher.policy, key, log_key, indexes, played.notes, now)


# -- edits -----------------------------------------------------------------------------------------------------


def _lines(members: Members, name: str) -> list[bytes]:
    return members[name].splitlines(keepends=True)


def _disclosures(members: Members) -> str:
    return next(name for name in members if name.startswith("disclosures/"))


def _entries(members: Members) -> str:
    return next(name for name in members if name.startswith("log/tile/entries/"))


def drop_a_line_of_disclosures(honest: Pristine, members: Members) -> None:
    """All content of an entry is left out, as if it had never been disclosed."""
    name, gone = _disclosures(members), b'{"index":%d,' % honest.indexes["adverse event"]
    members[name] = b"".join(line for line in _lines(members, name) if not line.startswith(gone))


def disclose_something_else(honest: Pristine, members: Members) -> None:
    """The content of one result is given for another."""
    name = _disclosures(members)
    by_index = {json.loads(line)["index"]: line for line in _lines(members, name)}
    first, second = honest.indexes["first result"], honest.indexes["second result"]
    given = by_index[second].split(b",", 1)[1]
    by_index[first] = b'{"index":%d,' % first + given
    members[name] = b"".join(by_index.values())


def withhold_what_is_there(honest: Pristine, members: Members) -> None:
    """A field is listed as withheld that was never part of the statement."""
    members["withheld.ndjson"] = form.withheld_line(honest.indexes["first result"], ["A" * 43], "other subject")


def edit_an_entry(honest: Pristine, members: Members) -> None:
    """An entry's time is another one."""
    name, index = _entries(members), honest.indexes["first result"]
    entries = parse_bundle(members[name])
    entries[index] = entries[index][:-5] + b"9Z\n" if entries[index][-5:] != b"9Z\n" else entries[index][:-5] + b"8Z\n"
    members[name] = bundle_bytes(entries)


def edit_an_entry_and_its_hash(honest: Pristine, members: Members) -> None:
    """The same, and its leaf hash in the tile is made to fit."""
    index, name = honest.indexes["first result"], _entries(members)
    entries = parse_bundle(members[name])
    jwt, _, _ = entries[index].decode().split("\n")
    at = "2026-03-02T08:00:00.000000Z"
    entries[index] = f"{jwt}\n{at}\n".encode()
    members[name] = bundle_bytes(entries)
    tile = next(one for one in members if one.startswith("log/tile/0/"))
    hashes = members[tile]
    members[tile] = hashes[: index * 32] + entry_leaf_hash(jwt, at) + hashes[(index + 1) * 32 :]


def leave_a_tile_out(honest: Pristine, members: Members) -> None:
    """The hash tile is not in the bundle."""
    del members[next(name for name in members if name.startswith("log/tile/0/"))]


def show_an_older_state(honest: Pristine, members: Members) -> None:
    """The newest entry is hidden: the bundle ends with the checkpoint before."""
    size = max(one for one in honest.notes if one < honest.size)
    note = honest.notes[size].encode()
    members["log/checkpoint"] = note
    kept = [line for line in _lines(members, "log/checkpoints.ndjson") if int(json.loads(line).split("\n")[1]) <= size]
    members["log/checkpoints.ndjson"] = b"".join([*kept[:-1], form.checkpoint_line(note.decode())])
    name = _entries(members)
    entries = parse_bundle(members.pop(name))[:size]
    members[form.log_path("entries", 0, size)] = bundle_bytes(entries)
    tile = next(one for one in members if one.startswith("log/tile/0/"))
    members[form.log_path(0, 0, size)] = members.pop(tile)[: size * 32]
    manifest = json.loads(members["MANIFEST.json"])
    root = note.decode().split("\n")[2]
    members["MANIFEST.json"] = json.dumps({**manifest, "size": size, "as_of": size, "root": root}).encode()
    shown = [line for line in _lines(members, _disclosures(members)) if json.loads(line)["index"] < size]
    members[_disclosures(members)] = b"".join(shown)
    for one in [one for one in members if one.startswith("projections/")]:
        del members[one]


def rewrite_history(honest: Pristine, members: Members) -> None:
    """An earlier checkpoint in the list of those published is over another tree, signed with the log's key."""
    lines = _lines(members, "log/checkpoints.ndjson")
    place = len(lines) // 2
    origin, size, _ = json.loads(lines[place]).split("\n")[:3]
    forged = Checkpoint(origin, int(size), bytes(32)).sign([honest.log_key])
    lines[place] = form.checkpoint_line(forged.decode())
    members["log/checkpoints.ndjson"] = b"".join(lines)


def hide_a_signature_of_the_witness(honest: Pristine, members: Members) -> None:
    """The newest checkpoint carries the log's signatures alone."""
    note = members["log/checkpoint"].decode()
    alone = "".join(line for line in note.splitlines(keepends=True) if "witness.example" not in line)
    members["log/checkpoint"] = alone.encode()
    lines = _lines(members, "log/checkpoints.ndjson")
    members["log/checkpoints.ndjson"] = b"".join([*lines[:-1], form.checkpoint_line(alone)])


def exchange_the_keys(honest: Pristine, members: Members) -> None:
    """Policy and checkpoint are of keys that the attacker made."""
    origin, size, root = members["log/checkpoint"].decode().split("\n")[:3]
    keys = derive(STOLEN_SEED, origin)
    note = Checkpoint(origin, int(size), b64decode(root)).sign([keys.ed25519])
    members["log/checkpoint"] = note
    members["policy.txt"] = str(Policy.without_witnesses(keys.public())).encode()


def embellish_a_view(honest: Pristine, members: Members) -> None:
    """A subject's result on the patient's page is another one."""
    name = "projections/patient.json"
    members[name] = members[name].replace(b'\\"40\\"', b'\\"400\\"')


def state_another_position(honest: Pristine, members: Members) -> None:
    """The manifest says that the views stand for fewer entries."""
    manifest = json.loads(members["MANIFEST.json"])
    members["MANIFEST.json"] = json.dumps({**manifest, "as_of": manifest["as_of"] - 1}).encode()


def state_another_study(honest: Pristine, members: Members) -> None:
    """The manifest names another study."""
    manifest = json.loads(members["MANIFEST.json"])
    members["MANIFEST.json"] = json.dumps({**manifest, "study": "ANOTHER-1"}).encode()


@dataclass(frozen=True)
class Row:
    """An edit, and the check that catches it when the manifest's digests are fixed and it is signed again by the
    ledger's key: the first bad index by name, and the words."""

    edit: Callable[[Pristine, Members], None]
    check: str
    words: str
    index: str | None = None


TABLE = (
    Row(drop_a_line_of_disclosures, "V7", "unauthorised loss", "adverse event"),
    Row(disclose_something_else, "V7", "DISCLOSURE-5", "first result"),
    Row(withhold_what_is_there, "V7", "withheld", "first result"),
    Row(edit_an_entry, "V2", "the hash of the entry is not the one in", "first result"),
    Row(edit_an_entry_and_its_hash, "V2", "the root over these entries is not the one in the checkpoint"),
    Row(leave_a_tile_out, "V2", "is missing"),
    Row(show_an_older_state, "V1", "site has not cosigned"),
    Row(rewrite_history, "V3", "has another root than these entries"),
    Row(hide_a_signature_of_the_witness, "V1", "site has not cosigned"),
    Row(exchange_the_keys, "V1", "no signature of a known key"),
    Row(embellish_a_view, "V8", "patient"),
    Row(state_another_position, "V8", "the manifest says"),
    Row(state_another_study, "V7", "study"),
)


def written(honest: Pristine, members: Members, path: Path, key: SigningKey | None) -> Path:
    """The bundle of these members, its manifest fixed and, with a key, signed again."""
    facts = {
        name: value for name, value in json.loads(members["MANIFEST.json"]).items() if name not in ("files", "format")
    }
    names = sorted((name for name in members if not name.startswith("MANIFEST")), key=form.sort_key)
    manifest = form.manifest_bytes(facts, [(name, *form.digest_of(members[name])) for name in names])
    signature = members["MANIFEST.jws"] if key is None else form.sign_manifest(manifest, key)
    whole = {**members, "MANIFEST.json": manifest, "MANIFEST.jws": signature}
    form.write_zip(path, [(name, whole[name]) for name in sorted(whole, key=form.sort_key)])
    return path


def inspected(honest: Pristine, path: Path) -> VerificationReport:
    """The report of an inspector with a policy of his own."""
    with open_bundle(path) as opened:
        return verify(opened, Policy.parse(honest.policy), now=honest.now, views=recompute_views, workers=1)


def said(report: VerificationReport, number: str) -> str:
    """What a check says is wrong."""
    return "\n".join(str(failure) for failure in report[number].failures)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.edit.__name__)
def test_what_whoever_has_the_ledgers_key_edits_is_caught(pristine: Pristine, tmp_path: Path, row: Row) -> None:
    members = dict(pristine.members)
    row.edit(pristine, members)
    assert members != pristine.members, "nothing was edited"
    report = inspected(pristine, written(pristine, members, tmp_path / "b.zip", pristine.key))
    assert report.exit_status(()) == 1, report.text()
    assert row.check in report.failed, report.text()
    assert row.words in said(report, row.check), said(report, row.check)
    if row.index is not None:
        assert report[row.check].first_bad_index == pristine.indexes[row.index], said(report, row.check)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.edit.__name__)
def test_what_anybody_else_edits_is_caught_by_the_manifests_signature_too(
    pristine: Pristine, tmp_path: Path, row: Row
) -> None:
    members = dict(pristine.members)
    row.edit(pristine, members)
    report = inspected(pristine, written(pristine, members, tmp_path / "b.zip", None))
    assert "the manifest is not signed by the ledger" in said(report, "V7")


def test_the_honest_bundle_written_again_is_the_same_and_passes(pristine: Pristine, tmp_path: Path) -> None:
    again = written(pristine, dict(pristine.members), tmp_path / "b.zip", pristine.key)
    assert again.read_bytes() == pristine.path.read_bytes()
    report = inspected(pristine, again)
    assert report.exit_status(()) == 0, report.text()


def test_one_byte_anywhere_is_caught_without_anything_fixed(pristine: Pristine, tmp_path: Path) -> None:
    """In the middle of each member, one bit."""
    data = pristine.path.read_bytes()
    with zipfile.ZipFile(pristine.path) as opened:
        places = {
            one.filename: one.header_offset + 30 + len(one.filename) + one.file_size // 2
            for one in opened.infolist()
            if one.file_size
        }
    for name, at in places.items():
        path = tmp_path / "b.zip"
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            report = inspected(pristine, path)
        except Refused:
            continue
        assert report.exit_status(()) == 1, name


def test_a_bundle_cut_short_or_with_something_behind_it_is_not_read(pristine: Pristine, tmp_path: Path) -> None:
    data = pristine.path.read_bytes()
    for changed in (data[:-1], data[: len(data) // 2], data + b"\0", b"\0" + data):
        path = tmp_path / "b.zip"
        path.write_bytes(changed)
        with pytest.raises(Exception, match=r"\w") as caught:
            inspected(pristine, path)
        assert type(caught.value).__name__ in ("Refused", "Unreadable")
