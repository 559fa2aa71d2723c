"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from api.cli.serve import server_process
from ledger.settings import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_its_lines_append_one_event_and_read_it_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {**os.environ, "TRIAL_LEDGER_HOME": str(home)}
    init = re.search(r"trial-ledger (init .*)", README)
    assert init is not None
    subprocess.run([sys.executable, "-m", "api.cli", *init[1].split()], env=env, cwd=ROOT, check=True)
    with server_process(home) as served:
        script = tmp_path / "first.py"
        script.write_text(block("python").replace("http://127.0.0.1:8014", served.url))
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**env, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "c2sp.org/tlog-proof@v1" in done.stdout
    assert "'number': '001'" in done.stdout


def test_it_explains_every_setting() -> None:
    for name in VARIABLES:
        assert f"`{name}`" in README, name


def test_it_names_every_room() -> None:
    for room in ("ledger", "projections", "api", "tests", "deploy"):
        assert f"`{room}/`" in README
        assert (ROOT / room).is_dir()
