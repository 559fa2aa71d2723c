"""The rooms keep to themselves: imports run one way, SQL stands in .sql files, settings are documented."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import settings

ROOT = Path(__file__).parents[2]
ROOMS = ("ledger", "projections", "api")
SQL_ROOMS = ("ledger/store/", "projections/engine/")
TEMPLATES = "projections/engine/"
DRIVER = frozenset({"psycopg", "psycopg_pool"})
HEAVY = frozenset({"psycopg", "fastapi", "pydantic", "eventsourcing"})
STATEMENT = re.compile(
    r"^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP|TRUNCATE)\s+"
    r"(TABLE|SCHEMA|INDEX|DATABASE|ROLE|FUNCTION)\s|GRANT\s+\S+\s+ON\s|COPY\s+\S+\s+(FROM|TO)\s)",
    re.IGNORECASE | re.DOTALL,
)
EVIDENCE = ("ledger.merkle.tree", "ledger.merkle.tlog_proof", "ledger.signing.statement", "ledger.authority")


def sources() -> Iterator[Path]:
    """Every Python file of the three rooms."""
    for room in ROOMS:
        yield from (ROOT / room).rglob("*.py")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Text literals of a file, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_imports_run_one_way() -> None:
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3_000:]


def test_sql_stands_in_sql_files() -> None:
    """The engine's templates are the exception: tables that definitions describe, names filled in as identifiers."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for path in sources()
        for line, text in texts(path)
        if STATEMENT.match(text) and not (str(path.relative_to(ROOT)).startswith(TEMPLATES) and "{" in text)
    ]
    assert found == []


def imported(path: Path) -> set[str]:
    """The packages that a file imports, by their first name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    return {name.split(".")[0] for name in names}


def test_only_the_rooms_of_the_database_import_its_driver() -> None:
    users = [str(path.relative_to(ROOT)) for path in sources() if imported(path) & DRIVER]
    assert users
    assert [user for user in users if not user.startswith(SQL_ROOMS)] == []


def test_the_ledgers_own_package_is_empty() -> None:
    """Importing what a verifier needs must not import a driver."""
    assert (ROOT / "ledger" / "__init__.py").read_text(encoding="utf-8").strip() == ""


@pytest.mark.parametrize("module", EVIDENCE)
def test_what_an_offline_verifier_needs_loads_neither_driver_nor_server(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ended.stdout.split()}
    assert "ledger" in loaded
    assert not loaded & HEAVY


def test_authority_is_folded_with_the_standard_library_alone() -> None:
    assert imported(ROOT / "ledger" / "authority.py") <= set(sys.stdlib_module_names)


def test_every_setting_is_known_and_documented() -> None:
    documented = settings.__doc__ or ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in settings.VARIABLES:
        assert name in documented, f"{name} is not documented"
        assert name in readme, f"{name} is not in the README"
    used = {
        name for path in sources() for _, text in texts(path) for name in re.findall(r"TRIAL_LEDGER_[A-Z_]*[A-Z]", text)
    }
    assert used - {"TRIAL_LEDGER_TEST"} <= set(settings.VARIABLES)


def test_no_path_of_somebodys_machine_stands_in_the_code() -> None:
    for path in sources():
        for line, text in texts(path):
            assert not re.match(r"/(work|home|root|Users|tmp/w)\b", text), f"{path}:{line}"


def test_decisions_and_findings_read_no_clock_no_chance_and_no_environment() -> None:
    """The core is pure: the same records give the same answer on any machine and day."""
    forbidden = {"time", "random", "secrets", "os", "socket", "subprocess", "threading"}
    for path in (*(ROOT / "ledger" / "domain").rglob("*.py"), *(ROOT / "ledger" / "protocol").rglob("*.py")):
        assert not imported(path) & forbidden, path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"datetime.now", "datetime.utcnow", "date.today", "uuid4", "uuid.uuid4"}, path


def test_the_tests_environment_does_not_leak_settings() -> None:
    """A developer's own TRIAL_LEDGER_* would change what is tested."""
    own = {name for name in os.environ if name.startswith("TRIAL_LEDGER_")}
    assert {name for name in own if not name.startswith("TRIAL_LEDGER_TEST_")} == set()


def test_the_independent_reader_shares_no_code_with_the_ledger() -> None:
    """Its agreement with the ledger is worth something only because nothing of the ledger is in it."""
    for path in (ROOT / "tests/scenario/offline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in filter(None, names):
                own = name.startswith("tests.scenario.offline")
                assert own or name.partition(".")[0] in {*sys.stdlib_module_names, "cryptography"}, (path.name, name)
    loaded = "import sys, tests.scenario.offline; print({name.partition('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not ast.literal_eval(ended.stdout) & {*ROOMS, "psycopg"}
