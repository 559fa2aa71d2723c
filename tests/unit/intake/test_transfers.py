"""What was imported before is known by file and content."""

from __future__ import annotations

from pathlib import Path

from api.intake.transfers import Transfer, Transfers

CHEMISTRY, HAEMATOLOGY = Transfer("LB", "lbch.xpt", "c1"), Transfer("LB", "lbhe.xpt", "h1")
EVENTS = Transfer("AE", "ae.xpt", "a1")


def test_the_same_files_again_are_no_other_transfer(tmp_path: Path) -> None:
    transfers = Transfers(tmp_path, "S-1")
    assert transfers.earlier([CHEMISTRY, EVENTS]) == {}
    transfers.note([CHEMISTRY, EVENTS])
    assert transfers.earlier([CHEMISTRY, EVENTS]) == {}
    assert transfers.earlier([EVENTS]) == {}
    assert Transfers(tmp_path, "S-2").earlier([CHEMISTRY._replace(digest="c2")]) == {}


def test_a_file_with_another_content_is_told_with_what_came_before(tmp_path: Path) -> None:
    transfers = Transfers(tmp_path, "S-1")
    transfers.note([CHEMISTRY, HAEMATOLOGY, EVENTS])
    assert transfers.earlier([CHEMISTRY, HAEMATOLOGY._replace(digest="h2"), EVENTS]) == {"LB": ["lbhe.xpt"]}
    assert transfers.earlier([EVENTS._replace(file="other.xpt", digest="a2")]) == {"AE": ["ae.xpt"]}


def test_a_file_that_comes_beside_the_earlier_ones_or_was_renamed_is_no_change_of_them(tmp_path: Path) -> None:
    transfers = Transfers(tmp_path, "S-1")
    transfers.note([CHEMISTRY])
    assert transfers.earlier([CHEMISTRY, HAEMATOLOGY]) == {}
    assert transfers.earlier([CHEMISTRY._replace(file="renamed.xpt")]) == {}


def test_the_list_only_grows_and_a_broken_line_spoils_no_other(tmp_path: Path) -> None:
    transfers = Transfers(tmp_path, "S-1")
    transfers.note([CHEMISTRY])
    (path,) = (tmp_path / "imports").iterdir()
    before = path.read_bytes()
    transfers.note([CHEMISTRY])
    assert path.read_bytes() == before
    path.write_bytes(before + b'{"domain": "AE", "fi')
    transfers.note([HAEMATOLOGY])
    assert transfers.earlier([CHEMISTRY._replace(digest="c2")]) == {"LB": ["lbch.xpt", "lbhe.xpt"]}
    assert path.stat().st_mode & 0o077 == 0
