"""Quarantine keeps each row once, survives a stop in the middle of a line, and forgets nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from api.intake.quarantine import Quarantine


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_row_stands_there_once_however_often_it_comes(tmp_path: Path) -> None:
    for _ in range(3):
        with Quarantine(tmp_path, "S-1") as quarantine:
            quarantine.add("a", {"reason": "no subject", "values": {"LBORRES": "é\u2028"}})
            quarantine.add("b", {"reason": "blank"})
    found = lines(quarantine.path)
    assert [(entry["jti"], entry["reason"]) for entry in found] == [("a", "no subject"), ("b", "blank")]
    assert found[0]["values"] == {"LBORRES": "é\u2028"}


def test_studies_do_not_share_it_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    for study in ("S-1", "S-2"):
        with Quarantine(tmp_path, study) as quarantine:
            quarantine.add("a", {"reason": study})
        assert [entry["reason"] for entry in lines(quarantine.path)] == [study]
        assert stat.S_IMODE(quarantine.path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_by_a_stop_comes_again_whole(tmp_path: Path) -> None:
    with Quarantine(tmp_path, "S-1") as quarantine:
        quarantine.add("a", {"reason": "first"})
        quarantine.add("b", {"reason": "second"})
    quarantine.path.write_bytes(quarantine.path.read_bytes()[:-5])
    with Quarantine(tmp_path, "S-1") as quarantine:
        quarantine.add("a", {"reason": "first"})
        quarantine.add("b", {"reason": "second"})
    assert [entry["jti"] for entry in lines(quarantine.path)] == ["a", "b"]


def test_a_line_that_somebody_spoiled_stops_nothing(tmp_path: Path) -> None:
    with Quarantine(tmp_path, "S-1") as quarantine:
        quarantine.add("a", {"reason": "first"})
    with quarantine.path.open("ab") as file:
        file.write(b"spoiled\n[]\n")
    with Quarantine(tmp_path, "S-1") as quarantine:
        quarantine.add("b", {"reason": "second"})
    assert json.loads(quarantine.path.read_bytes().splitlines()[-1])["jti"] == "b"


def test_what_was_kept_before_a_failure_is_kept(tmp_path: Path) -> None:
    try:
        with Quarantine(tmp_path, "S-1") as quarantine:
            quarantine.add("a", {"reason": "first"})
            raise RuntimeError
    except RuntimeError:
        pass
    assert [entry["jti"] for entry in lines(quarantine.path)] == ["a"]
