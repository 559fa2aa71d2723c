"""The command: exit statuses, reports for people and machines, and the single file on a machine without the project."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ledger.verify import command, standalone
from ledger.verify.attached import Logged, ViewFinding
from ledger.verify.bundle import Bundle
from ledger.verify.report import Check, VerificationReport
from tests.unit.verify.study import MemoryStudy, course, repack

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return course(MemoryStudy()).write(tmp_path_factory.mktemp("evidence") / "evidence.zip")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.txt"
    path.write_text(MemoryStudy().policy())
    return path


def status(*arguments: object) -> int:
    try:
        return command.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_a_good_bundle_ends_with_0(bundle: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(bundle, "--policy", policy) == 0
    out = capsys.readouterr().out
    assert out.startswith("VERIFIED: 21 entries, V1 to V7 passed. Not decided: V8, V9.")
    for number in range(1, 10):
        assert f"V{number} " in out


def test_what_is_required_and_undecided_ends_with_2(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(bundle, "--require", "V8,V9") == 2
    assert "Required and not decided: V8, V9" in capsys.readouterr().err
    assert status(bundle, "--require", "v1") == 0


def test_a_bad_bundle_ends_with_1_and_the_first_bad_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = course(MemoryStudy())
    del study.entries[9].disclosures[0]
    path = study.write(tmp_path / "evidence.zip")
    assert status(path, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verified"] is False and found["first_bad_index"] == 9
    check = next(check for check in found["checks"] if check["check"] == "V7")
    assert check["outcome"] == "failed" and "unauthorised loss" in check["failures"][0]["because"]
    assert status(path, "--require", "V9") == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"Dear inspector", b"PK\x03\x04" + bytes(100)],
    ids=["empty", "two bytes", "a letter", "cut"],
)
def test_a_file_that_is_no_zip_ends_with_2_and_says_so(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evidence.zip"
    path.write_bytes(content)
    assert status(path) == 2
    assert capsys.readouterr().out.startswith("COULD NOT DECIDE")
    assert status(path, "--json") == 2
    assert json.loads(capsys.readouterr().out)["outcome"] == "undecided"


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(tmp_path / "nothing.zip") == 2
    assert "No such file" in capsys.readouterr().out


def test_a_zip_of_something_else_is_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.writestr("holiday.jpg", b"x")
    assert status(tmp_path / "photos.zip") == 1
    assert "holiday.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff", b""])
def test_a_policy_that_cannot_be_read_decides_nothing(
    bundle: Path, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.txt").write_bytes(content)
    assert status(bundle, "--policy", tmp_path / "policy.txt") == 2
    assert "what to trust cannot be read" in capsys.readouterr().out


def test_a_policy_that_is_not_there_decides_nothing(bundle: Path, tmp_path: Path) -> None:
    assert status(bundle, "--policy", tmp_path / "none.txt") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a", "b"),
        ("a", "--nonsense"),
        ("a", "--require", "V10"),
        ("a", "--workers", "0"),
        ("a", "--workers", "many"),
        ("a", "--fresh-within", "soon"),
        ("a", "--fresh-within", "-1h"),
        ("a", "--pol", "x"),
    ],
)
def test_wrong_usage_ends_with_64(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(*arguments) == 64
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800)])
def test_spans_are_read(text: str, seconds: int) -> None:
    assert command.seconds(text) == seconds


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "onload", "onclick")]


def test_the_page_is_self_contained_and_escapes_what_a_bundle_says(bundle: Path, tmp_path: Path) -> None:
    from ledger.verify.html import page

    assert status(bundle, "--html", tmp_path / "report.html") == 0
    written = (tmp_path / "report.html").read_text()
    assert "VERIFIED" in written and "V9" in written
    report = VerificationReport(facts={"study": "<script>alert(1)</script>"}, warnings=["<img src=x>"])
    report["V5"].fail('"><script>', 7)
    parser = _Page()
    parser.feed(page(report))
    assert not {"script", "img", "link", "iframe"} & set(parser.tags) and parser.addresses == []
    assert "&lt;script&gt;" in page(report)


def test_a_page_that_cannot_be_written_is_no_silent_success(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(bundle, "--html", tmp_path / "no" / "such" / "folder.html") == 2
    assert "could not be written" in capsys.readouterr().err


def test_control_characters_of_a_bundle_do_not_reach_the_terminal() -> None:
    report = VerificationReport(facts={"study": "\x1b[2J\r\nVERIFIED"})
    report["V5"].fail("\x1b]0;owned\x07", 1)
    assert "\x1b" not in report.text() and "\r" not in report.text()


def test_text_json_and_page_come_from_one_object_and_say_the_same() -> None:
    report = VerificationReport(facts={"size": 9})
    for number in range(30):
        report["V5"].fail(f"failure {number}", 40 - number)
    assert report["V5"].first_bad_index == 11 and report.first_bad_index == 11
    assert "and 10 more" in report.text()
    assert json.loads(report.json())["checks"][4]["failure_count"] == 30
    assert report.exit_status() == 1 and not report


def test_a_check_is_undecided_only_until_something_fails() -> None:
    check = Check("V8")
    check.undecided("no code")
    assert check.outcome == "undecided"
    check.fail("a row differs", 3)
    assert check.outcome == "failed"
    report = VerificationReport()
    report["V3"].undecided("cut off")
    assert report.exit_status() == 2 and report.outcome == "undecided"


# -- on a machine without the project ---------------------------------------------------------------------------


def bare(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the single file in an interpreter that sees `cryptography` and its binding, and nothing else."""
    import _cffi_backend
    import cryptography

    site = folder / "only-cryptography"
    site.mkdir(exist_ok=True)
    for source in (Path(cryptography.__file__).parent, Path(_cffi_backend.__file__)):
        link = site / source.name
        if not link.exists():
            link.symlink_to(source)
    code = (
        "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(site), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "verify.pyz"
    standalone.write(path)
    return path


def test_the_single_file_verifies_where_nothing_else_is_installed(single: Path, bundle: Path, policy: Path) -> None:
    done = bare(single, bundle, "--policy", policy, "--json", folder=single.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] is True


def test_the_single_file_finds_a_lie_and_says_at_which_index(single: Path, tmp_path: Path) -> None:
    study = course(MemoryStudy())
    path = study.write(tmp_path / "evidence.zip")
    del study.entries[9].disclosures[0]
    repack(path, {name: data for name, data in study.files().items() if name.startswith("disclosures")})
    done = bare(single, path, folder=single.parent)
    assert done.returncode == 1 and "index 9" in done.stdout, done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_single_file_uses_several_processes(single: Path, tmp_path: Path, method: str) -> None:
    """Started as a user would, so that workers are started from inside the zip."""
    if method == "fork" and sys.platform != "linux":
        pytest.skip("forked on Linux only")
    path = course(MemoryStudy(), 2_100).write(tmp_path / "evidence.zip")
    run = [sys.executable, str(single), str(path), "--workers", "2", "--json"]
    if method == "spawn":
        # A second thread keeps the verifier from forking.
        code = "import runpy, sys, threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); "
        code += "sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0]); from ledger.verify.command import main; "
        run = [sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))", *run[1:]]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["size"] == 2_109


def test_the_single_file_says_what_is_missing_when_cryptography_is(single: Path, bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(single), str(bundle)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2 and "cryptography" in done.stderr and "Traceback" not in done.stderr


def test_the_single_file_has_the_same_bytes_each_time_and_makes_itself(single: Path, tmp_path: Path) -> None:
    assert standalone.contents() == single.read_bytes()
    done = bare(single, "--make-standalone", tmp_path / "again.pyz", folder=single.parent)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.pyz").read_bytes() == single.read_bytes()
    assert done.stdout.split()[0] in done.stdout


def test_the_single_file_carries_evidence_code_alone() -> None:
    rooms = {name.split(".")[1] for name in standalone.modules() if "." in name}
    assert {"merkle", "signing", "verify", "authority"} <= rooms
    assert not rooms & {"store", "domain", "protocol", "writer", "application", "signer", "home", "settings"}


BLOCKED = ("psycopg", "fastapi", "pydantic", "eventsourcing", "uvicorn", "httpx", "starlette", "typer", "rich")


def test_the_verifier_works_where_drivers_and_servers_cannot_be_imported(bundle: Path, policy: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r})); "
        "from ledger.verify.command import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle), "--policy", str(policy)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_fault_of_the_verifier_itself_is_undecided_and_never_a_result(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object, **options: object) -> VerificationReport:
        raise RuntimeError("synthetic")

    monkeypatch.setattr(command, "verify", broken)
    assert status(bundle) == 2
    assert "the verifier itself failed" in capsys.readouterr().out


def test_recomputing_the_views_tells_how_far_it_is(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a long log it takes as long as everything before: whoever waits must not read `0 s left` all that time."""

    def recompute(bundle: Bundle, entries: Callable[[int], Iterator[Logged]]) -> Iterator[ViewFinding]:
        for _ in range(2):
            assert sum(1 for _ in entries(21)) == 21
        yield ViewFinding("patient", "passed", "the same")

    study = course(MemoryStudy())
    path = study.write(tmp_path / "evidence.zip", study.files() | {"projections/patient.json": b"{}\n"})
    monkeypatch.setattr(command, "PLAIN_SECONDS", 0.0)
    assert command.run(command.Options(path, policy), recompute) == 0
    told = capsys.readouterr()
    assert "recomputing the views (V8), reading 2: 20 of 21 entries" in told.err
    assert "V8 Projections: PASSED" in told.out
