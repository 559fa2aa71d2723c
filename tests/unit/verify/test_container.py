"""The container of a bundle: the same bytes on any machine, and nothing that two readers could see differently."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.verify import zipform
from ledger.verify.bundle import (
    disclosures_line,
    disclosures_path,
    open_bundle,
    read_checkpoint_line,
    read_disclosures_line,
    read_withheld_line,
    sort_key,
    tiles_of,
    withheld_line,
    write_zip,
)
from ledger.verify.zipform import Refused, Unreadable

MEMBERS: list[tuple[str, bytes]] = [
    ("README.txt", b"how to verify\n"),
    ("MANIFEST.json", b"{}\n"),
    ("log/tile/0/000.p/1", b"h" * 32),
    ("log/tile/entries/000.p/1", b""),
    ("projections/patient.json", b"[]"),
]
DIGEST = "A" * 43


def written(tmp_path: Path, members: list[tuple[str, bytes]] = MEMBERS) -> Path:
    path = tmp_path / "evidence.zip"
    write_zip(path, members)
    return path


def test_the_same_members_give_the_same_bytes_and_every_zip_reader_reads_them(tmp_path: Path) -> None:
    path = written(tmp_path)
    again = io.BytesIO()
    write_zip(again, MEMBERS)
    assert path.read_bytes() == again.getvalue()
    with zipfile.ZipFile(path) as other:
        assert [(name, other.read(name)) for name in other.namelist()] == MEMBERS
        assert {info.date_time for info in other.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_member_may_come_from_a_file(tmp_path: Path) -> None:
    source = tmp_path / "rows"
    source.write_bytes(b"x" * (2 * zipform.PIECE_BYTES + 7))
    with open_bundle(written(tmp_path, [("projections/patient.json", source)])) as bundle:  # type: ignore[list-item]
        assert bundle.read("projections/patient.json") == source.read_bytes()


def test_an_opened_bundle_gives_members_lines_and_digests_also_in_another_process(tmp_path: Path) -> None:
    members = [("log/checkpoints.ndjson", b'"one"\n"two"\n"cut'), ("disclosures/000.ndjson", b"")]
    with open_bundle(written(tmp_path, members)) as bundle:
        assert bundle.plain and bundle.ordered
        elsewhere = pickle.loads(pickle.dumps(bundle))
        assert list(elsewhere.lines("log/checkpoints.ndjson")) == [b'"one"\n', b'"two"\n', b'"cut']
        assert list(bundle.lines("disclosures/000.ndjson")) == []
        assert bundle.digest("disclosures/000.ndjson")[1]
        elsewhere.close()


def test_many_members_and_far_offsets_get_zip64_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits of the old records lowered: what a bundle of more than 4 GiB would hold."""
    monkeypatch.setattr(zipform, "_MAX16", 3)
    monkeypatch.setattr(zipform, "_MAX32", 60)
    path = written(tmp_path)
    data = path.read_bytes()
    assert zipform._END64_MARK in data and zipform._LOCATOR64_MARK in data
    with open_bundle(path) as bundle:
        assert bundle.plain and [(name, bundle.read(name)) for name in bundle.members] == MEMBERS


def test_a_copy_packed_anew_is_read_and_known_as_such(tmp_path: Path) -> None:
    path = tmp_path / "again.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in MEMBERS[::-1]:
            file.writestr(name, content)
    with open_bundle(path) as bundle:
        assert not bundle.plain and not bundle.ordered
        assert bundle.read("README.txt") == b"how to verify\n"


def refusal(path: Path) -> str:
    with pytest.raises(Refused) as found:
        open_bundle(path)
    return str(found.value)


def test_a_compressed_member_is_refused_because_bytes_must_have_one_form(tmp_path: Path) -> None:
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("README.txt", b"x" * 100)
    assert "compressed" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("README.txt", b"one")
        file.writestr("README.txt", b"two")
    assert "twice" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/README.txt",
        "log/../README.txt",
        "README.txt/",
        "readme.txt",
        "log/tile/0/1000",
        "log/tile/00/000",
        "log/tile/0/000.p/256",
        "log/tile/0/x000/001",
        "disclosures/000.p/3.ndjson",
        "disclosures/x000/001.ndjson",
        "timestamps/01-0.tsr",
        "projections/../patient.json",
        "projections/Patient.json",
        "notes.txt",
    ],
)
def test_a_name_that_the_format_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "strange.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, b"x")
    refusal(path)
    with pytest.raises(ValueError):
        write_zip(io.BytesIO(), [(name, b"x")])


def test_members_out_of_order_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not belong behind"):
        write_zip(io.BytesIO(), MEMBERS[::-1])


def test_a_member_larger_than_the_format_allows_is_refused(tmp_path: Path) -> None:
    assert "the format allows 8192" in refusal(written(tmp_path, [("log/tile/0/000", b"x" * 8193)]))


def _flip(offset: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_flip(30), "the header of"),  # the name in the first local header
        (_flip(14), "the header of"),  # its CRC-32
        (_flip(18), "the header of"),  # its size
        (_flip(6), "encrypted"),  # its flags
        (_flip(28), "the header of|does not follow|between"),  # the length of its extra field
    ],
)
def test_a_local_header_that_says_something_else_than_the_directory_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = written(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Refused, match=words):
        open_bundle(path)


def test_bytes_between_two_members_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    start = struct.unpack_from("<I", data, len(data) - 6)[0]
    hidden = data[:start] + b"hidden" + data[start:-6] + struct.pack("<I", start + 6) + data[-2:]
    path.write_bytes(hidden)
    assert "between" in refusal(path)


@pytest.mark.parametrize("keep", [0, 3, 40, -1, -10])
def test_a_file_that_is_cut_short_is_not_decided(tmp_path: Path, keep: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(Unreadable):
        open_bundle(path)


def test_a_file_that_is_not_there_or_something_else_is_not_decided(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        open_bundle(tmp_path / "nothing.zip")
    (tmp_path / "letter.zip").write_bytes(b"Dear inspector, ..." * 10)
    with pytest.raises(Unreadable, match="begin like a zip"):
        open_bundle(tmp_path / "letter.zip")
    with pytest.raises(Unreadable):
        open_bundle(tmp_path)


def test_a_damaged_zip_never_ends_in_anything_but_a_refusal(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :])
        try:
            open_bundle(path).close()
        except (Refused, Unreadable):
            continue


def test_tiles_follow_from_the_size() -> None:
    assert list(tiles_of(1)) == [(0, 0, 1), ("entries", 0, 1)]
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1), ("entries", 0, 256)]
    found = list(tiles_of(70_000))
    assert len([tile for tile in found if tile[0] == 0]) == 274
    assert [tile for tile in found if tile[0] in (1, 2)] == [(1, 0, 256), (1, 1, 17), (2, 0, 1)]


def test_names_sort_in_the_order_of_the_format() -> None:
    names = ["README.txt", "log/tile/0/000", "log/tile/0/001.p/2", "log/tile/1/000.p/1", "log/tile/entries/000"]
    names += ["log/checkpoints.ndjson", disclosures_path(0), disclosures_path(1234067), "withheld.ndjson"]
    names += ["timestamps/9-0.tsr", "timestamps/10-0.tsr", "timestamps.json", "projections/a.json"]
    assert sorted(names, key=sort_key) == names
    assert disclosures_path(1234067) == "disclosures/x001/x234/067.ndjson"


def test_lines_have_one_form() -> None:
    assert read_disclosures_line(disclosures_line(7, ["ab", "c_-"])) == (7, [b"ab", b"c_-"])
    line = withheld_line(7, [DIGEST], "other subject")
    assert read_withheld_line(line) == (7, [DIGEST], "other subject")
    with pytest.raises(ValueError, match="no ground"):
        withheld_line(7, [DIGEST], "because")


@pytest.mark.parametrize(
    "line",
    [
        b'{"index":07,"disclosures":["ab"]}\n',
        b'{"index": 7,"disclosures":["ab"]}\n',
        b'{"index":7,"disclosures":[]}\n',
        b'{"index":7,"disclosures":["ab",]}\n',
        b'{"index":7,"disclosures":["ab","","c"]}\n',
        b'{"index":7,"disclosures":["ab""c"]}\n',
        b'{"index":7,"disclosures":["ab","c"]}',
        b'{"disclosures":["ab"],"index":7}\n',
        b'{"index":-7,"disclosures":["ab"]}\n',
    ],
)
def test_another_form_of_a_line_of_disclosures_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_disclosures_line(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"index":7,"digests":[],"ground":"other subject"}\n',
        b'{"index":7,"digests":["b","a"],"ground":"other subject"}\n',
        b'{"index":7,"digests":["a","a"],"ground":"other subject"}\n',
        b'{"index":true,"digests":["a"],"ground":"other subject"}\n',
        b'{"index":7,"digests":["a"],"ground":"secret"}\n',
        b'{"index":7,"digests":["a"],"ground":"other subject","ground":"other subject"}\n',
        b"[" * 5000,
        b"null\n",
    ],
)
def test_another_form_of_a_line_of_withheld_disclosures_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_withheld_line(line)


@pytest.mark.parametrize("line", [b"7\n", b'"a" \n', b'"\\u0061"\n', b'"a\n', b"\n"])
def test_another_form_of_a_line_of_checkpoints_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_checkpoint_line(line)
