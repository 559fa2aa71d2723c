"""The embedded server belongs to its home, is shared by those who use it, and ends with the last of them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.store import statements
from ledger.store.database import Database
from ledger.store.datafolder import LOGINS
from ledger.store.embedded import DatabaseUrls, EmbeddedPostgres
from ledger.store.errors import DatabaseMisconfigured, DatabaseUnavailable
from ledger.store.hosting import ACCOUNTS, Account, account_for, reachable, wheel_programs
from ledger.store.migrations import migrate
from tests.integration.store.events import ORIGIN, STUDY, append, event

REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 30.0

Process = subprocess.Popen[str]


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has been made and stopped: copying it is quicker than making one."""
    home = tmp_path_factory.mktemp("made") / "home"
    with EmbeddedPostgres(home):
        pass
    return home


@pytest.fixture
def new_server(embedded_home: Path) -> Iterator[EmbeddedPostgres]:
    """A server that does not exist yet; stopped afterwards, and then its process is gone."""
    one = EmbeddedPostgres(embedded_home)
    yield one
    one.stop()
    assert one.pid == 0
    shutil.rmtree(embedded_home, ignore_errors=True)


@pytest.fixture
def server(made_home: Path, new_server: EmbeddedPostgres, embedded_home: Path) -> EmbeddedPostgres:
    """The same, with its data made already; it was moved here from elsewhere."""
    subprocess.run(["cp", "-a", str(made_home), str(embedded_home)], check=True)
    return new_server


@pytest.fixture
def user(embedded_home: Path) -> Iterator[Callable[..., Process]]:
    """Starts other processes that use the same home."""
    started: list[Process] = []

    def start(*arguments: str, home: Path = embedded_home, **settings: Any) -> Process:
        command = [sys.executable, "-m", "tests.integration.store.user", str(home), *arguments]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream
            stream.close()


def told(process: Process) -> dict[str, Any]:
    assert process.stdout
    return dict(json.loads(process.stdout.readline()))


def tell_to_stop(process: Process) -> int:
    assert process.stdin
    process.stdin.write("stop\n")
    process.stdin.flush()
    return int(told(process)["pid"])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"  # dead, not yet buried
    except (ProcessLookupError, FileNotFoundError):  # buried, perhaps while we looked
        return True


def socket_folder(urls: DatabaseUrls) -> Path:
    return Path(str(conninfo_to_dict(urls.app)["host"]))


def answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- one process -----------------------------------------------------------------------------------------


def test_it_starts_stops_and_starts_again_with_what_it_held(server: EmbeddedPostgres) -> None:
    urls = server.start()
    migrate(urls.admin)
    with Database(urls.app) as database, database.dedicated() as connection:
        statements.create_study(connection, STUDY, ORIGIN)
        append(connection, [event(0)])
    pid = server.pid
    assert pid and server.start() == urls and server.pid == pid
    server.stop()
    assert server.pid == 0 and gone(pid)
    assert not answers(urls.app)
    server.stop()
    urls = server.start()
    with psycopg.connect(urls.app) as connection:
        assert statements.select_events(connection, STUDY, 0, 9, 9) == [event(0)]


def test_it_keeps_to_itself(new_server: EmbeddedPostgres, embedded_home: Path) -> None:
    before = embedded_home.parent.stat().st_mode
    urls = new_server.start()
    assert embedded_home.parent.stat().st_mode == before
    folder = embedded_home / "postgres"
    ours = [folder / name for name in ("", "data", "passwords.json", "postgres.log")]
    for path in (*ours, socket_folder(urls)):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    words = {str(conninfo_to_dict(url)["password"]) for url in (urls.app, urls.projector, urls.admin)}
    assert len(words) == 3
    told_to_others = [(folder / "postgres.log").read_text(), repr(urls)]
    if sys.platform == "linux":
        told_to_others += [Path(f"/proc/{new_server.pid}/{part}").read_text() for part in ("cmdline", "environ")]
    assert not [word for word in words for text in told_to_others if word in text]


def test_its_settings_lose_nothing_and_let_nobody_in(embedded_server: DatabaseUrls) -> None:
    with psycopg.connect(embedded_server.admin) as connection:
        for name, value in {
            "listen_addresses": "",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "data_checksums": "on",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
        }.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,), name
        rules = connection.execute("SELECT type, auth_method FROM pg_hba_file_rules").fetchall()
        assert rules == [("local", "scram-sha-256")]
        logins = connection.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
        words = {role: word for role, word in logins if role in LOGINS.values()}
        assert len(words) == 3 and all(word.startswith("SCRAM-SHA-256$") for word in words.values())
        locale = "SELECT datcollate, datlocprovider FROM pg_database WHERE datname = 'ledger'"
        assert connection.execute(locale).fetchone() == ("C", "b")


@pytest.mark.parametrize("change", [{"password": "x"}, {"password": ""}, {"user": "ledger_owner"}])
def test_nobody_gets_in_without_the_password(embedded_server: DatabaseUrls, change: dict[str, str]) -> None:
    for url in (embedded_server.app, embedded_server.admin):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(make_conninfo(url, **change))


@pytest.mark.parametrize(
    "name", ["a home with spaces", "Müller, \"Ada\" 'x' $HOME", "x" * 200], ids=["spaces", "signs", "long"]
)
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    home = tmp_path / name / name[:100]
    with EmbeddedPostgres(home) as urls:
        assert answers(urls.app)
        assert (home / "postgres" / "data" / "PG_VERSION").exists()
        assert len(os.fsencode(socket_folder(urls))) < 93
        folder = socket_folder(urls)
    assert not folder.exists() or folder.is_relative_to(home), "a temporary folder goes with the server"


def test_an_interrupted_creation_is_begun_again(new_server: EmbeddedPostgres, embedded_home: Path) -> None:
    half_done = embedded_home / "postgres" / "new-0123"
    half_done.mkdir(parents=True, mode=0o700)
    embedded_home.joinpath("postgres").chmod(0o700)
    (half_done / "PG_VERSION").write_text("18\n")
    assert answers(new_server.start().app)
    assert not half_done.exists()


def test_an_interrupted_preparation_is_completed(server: EmbeddedPostgres) -> None:
    urls = server.start()
    with psycopg.connect(make_conninfo(urls.admin, dbname="postgres"), autocommit=True) as admin:
        admin.execute("DROP DATABASE ledger")
        admin.execute("ALTER ROLE ledger_app NOLOGIN PASSWORD NULL")
        admin.execute("DROP ROLE ledger_projector")
    server.stop()
    urls = server.start()
    assert answers(urls.app) and answers(urls.projector)


def test_data_of_another_version_is_refused(server: EmbeddedPostgres, embedded_home: Path) -> None:
    server.start()
    server.stop()
    version = embedded_home / "postgres" / "data" / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(DatabaseMisconfigured, match="made by PostgreSQL 16"):
        server.start()
    version.write_text("18\n")
    server.start()


def test_lost_passwords_are_not_replaced_in_silence(server: EmbeddedPostgres, embedded_home: Path) -> None:
    server.start()
    server.stop()
    passwords = embedded_home / "postgres" / "passwords.json"
    kept = passwords.read_text()
    passwords.unlink()
    with pytest.raises(DatabaseMisconfigured, match=r"passwords\.json is missing"):
        server.start()
    for damaged in ("", "{}", "[]", '{"admin": "x"}'):
        passwords.write_text(damaged)
        with pytest.raises(DatabaseMisconfigured, match=r"passwords\.json is damaged"):
            server.start()
    passwords.write_text(kept)
    server.start()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(server: EmbeddedPostgres, embedded_home: Path) -> None:
    server.start()
    server.stop()
    control = embedded_home / "postgres" / "data" / "global" / "pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"damaged" + kept[7:])
    with pytest.raises(DatabaseUnavailable, match="FATAL"):
        server.start()
    assert server.pid == 0
    control.write_bytes(kept)
    server.start()


def test_a_home_that_is_removed_under_it_does_not_keep_it_running(
    new_server: EmbeddedPostgres, embedded_home: Path
) -> None:
    new_server.start()
    pid = new_server.pid
    shutil.rmtree(embedded_home)
    new_server.stop()
    wait_until(lambda: gone(pid))


def test_a_home_that_cannot_be_made_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match="Not a directory"):
        EmbeddedPostgres(tmp_path / "file").start()


# --- crashes ---------------------------------------------------------------------------------------------


def test_after_kill_9_of_the_server_it_is_started_again_at_the_same_address(server: EmbeddedPostgres) -> None:
    urls = server.start()
    server.ensure_running()
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    server.ensure_running()
    assert server.pid not in (0, pid)
    assert answers(urls.app)


def test_who_asks_while_the_server_is_down_is_told_at_once_and_served_when_it_is_back(
    server: EmbeddedPostgres,
) -> None:
    urls = server.start()
    migrate(urls.admin)
    with Database(urls.app) as database:
        with database.connection() as connection:
            backend = connection.info.backend_pid
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: server.pid == 0 and gone(backend))  # it outlives its parent for a moment
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable), database.connection() as connection:
                connection.execute("SELECT 1")
        server.ensure_running()
        with database.connection() as connection:  # the first attempt: no time is lost on waiting
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_dead_server_s_pid_file_does_not_mislead(server: EmbeddedPostgres, embedded_home: Path) -> None:
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.pid == 0)
    server.stop()
    stale = embedded_home / "postgres" / "data" / "postmaster.pid"
    lines = stale.read_text().splitlines()
    stale.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))  # the number now belongs to somebody else
    assert server.pid == 0
    stale.write_text("\n".join([str(2**22 - 1), *lines[1:], ""]))
    assert answers(server.start().app)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_while_writing(
    server: EmbeddedPostgres, user: Callable[..., Process]
) -> None:
    urls = server.start()
    migrate(urls.admin)
    with psycopg.connect(urls.app, autocommit=True) as connection:
        statements.create_study(connection, STUDY, ORIGIN)
    for _ in range(3):
        writer = user("write", stderr=subprocess.DEVNULL)
        told(writer)
        assert writer.stdout
        acknowledged = [int(writer.stdout.readline()) for _ in range(30)][-1]
        os.kill(server.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        server.ensure_running()
        with psycopg.connect(urls.app) as connection:
            size = statements.read_head(connection, STUDY).size
            assert size in (acknowledged, acknowledged + 2)
            stored = statements.select_events(connection, STUDY, 0, size + 9, size + 9)
            assert [row.idx for row in stored] == list(range(size))


def test_a_backend_that_is_killed_takes_nobody_else_down_for_long(server: EmbeddedPostgres) -> None:
    urls = server.start()
    with psycopg.connect(urls.app) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    wait_until(lambda: answers(urls.app))
    server.ensure_running()


# --- several processes -----------------------------------------------------------------------------------


def test_two_processes_share_one_server_and_the_last_one_stops_it(
    new_server: EmbeddedPostgres, user: Callable[..., Process]
) -> None:
    first, second = user(), user()  # at the same moment, on a home that does not exist yet
    one, other = told(first), told(second)
    assert one == other
    urls = new_server.start()
    assert new_server.pid == one["pid"] and urls.app == one["app"]
    assert tell_to_stop(first) == one["pid"], "the one who may have started it leaves, and it goes on"
    assert tell_to_stop(second) == one["pid"]
    assert answers(urls.app)
    new_server.stop()
    assert gone(one["pid"])


def test_when_its_only_user_is_killed_nothing_is_left_behind(
    user: Callable[..., Process], server: EmbeddedPostgres
) -> None:
    process = user()
    found = told(process)
    folder = Path(str(conninfo_to_dict(found["app"])["host"]))
    process.kill()
    wait_until(lambda: gone(found["pid"]))
    assert answers(server.start().app), "and the next start works at once"
    server.stop()
    assert not list(folder.parent.glob("socket/.s*"))


def test_when_server_and_user_are_killed_nothing_is_left_behind_either(user: Callable[..., Process]) -> None:
    process = user()
    found = told(process)
    folder = Path(str(conninfo_to_dict(found["app"])["host"]))
    os.kill(found["pid"], signal.SIGKILL)
    wait_until(lambda: gone(found["pid"]))
    assert folder.exists()
    process.kill()
    wait_until(lambda: not folder.parent.name.startswith("trial-ledger-") or not folder.parent.exists())


def test_when_the_user_who_started_it_is_killed_the_others_keep_it(
    server: EmbeddedPostgres, user: Callable[..., Process]
) -> None:
    starter = user()
    found = told(starter)
    urls = server.start()
    starter.kill()
    starter.wait()
    with psycopg.connect(urls.app) as connection:
        connection.execute("SELECT pg_sleep(0.3)")
    assert server.pid == found["pid"]


def test_a_terminal_s_interrupt_does_not_reach_the_server(
    server: EmbeddedPostgres, user: Callable[..., Process]
) -> None:
    process = user(start_new_session=True, stderr=subprocess.DEVNULL)
    found = told(process)
    urls = server.start()
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does to a whole foreground group
    process.wait()
    assert answers(urls.app) and server.pid == found["pid"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process's end to its parent's")
def test_when_the_watchdog_is_killed_the_server_ends_too_and_comes_back(server: EmbeddedPostgres) -> None:
    urls = server.start()
    pid = server.pid
    [watchdog] = [child for child in children(os.getpid()) if pid in children(child)]
    os.kill(watchdog, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    server.ensure_running()
    assert answers(urls.app)


def test_a_forked_child_does_not_keep_the_server(server: EmbeddedPostgres) -> None:
    server.start()
    pid = server.pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    server.stop()
    assert gone(pid)
    os.close(writing)
    os.close(reading)
    os.waitpid(child, 0)


def test_one_process_may_use_a_home_twice(server: EmbeddedPostgres, embedded_home: Path) -> None:
    urls = server.start()
    other = EmbeddedPostgres(embedded_home)
    assert other.start() == urls
    server.stop()
    assert answers(urls.app)
    other.stop()
    assert other.pid == 0


# --- other users of the machine --------------------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root to become somebody else")


@as_root
def test_as_root_it_runs_unprivileged_in_a_home_that_account_cannot_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "home") as urls:
        pid = EmbeddedPostgres(private / "home").pid
        account = account_for(private / "home" / "postgres" / "data")
        assert account is not None and account.uid != 0
        assert f"Uid:\t{account.uid}\t{account.uid}\t{account.uid}" in Path(f"/proc/{pid}/status").read_text()
        assert not reachable(private / "home", account)
        assert answers(urls.app)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@as_root
def test_as_root_from_a_private_installation_the_programs_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An environment below /root: the account that runs the server may not enter it.
    site = tmp_path / "site-packages"
    site.mkdir(mode=0o700)
    package = wheel_programs().parents[1]
    copied = site / package.name
    unneeded = shutil.ignore_patterns("*.a", "include")
    shutil.copytree(package / "pginstall18", copied / "pginstall18", ignore=unneeded)
    (copied / "__init__.py").touch()
    shutil.copytree(package.parent / f"{package.name}.libs", site / f"{package.name}.libs")
    monkeypatch.syspath_prepend(site)
    server = EmbeddedPostgres(tmp_path / "home")
    urls = server.start()
    temporary = socket_folder(urls).parent
    assert (temporary / package.name / "pginstall18" / "bin" / "postgres").exists()
    assert answers(urls.app)
    server.stop()
    assert not temporary.exists()


@as_root
def test_a_temporary_folder_that_somebody_else_made_is_not_believed(
    server: EmbeddedPostgres, embedded_home: Path, tmp_path: Path
) -> None:
    server.start()
    server.stop()
    trap = tmp_path / "trap"
    (trap / "socket").mkdir(parents=True)
    os.chown(trap, 12345, 12345)
    (embedded_home / "postgres" / "temporary.json").write_text(json.dumps({"folder": str(trap)}))
    assert socket_folder(server.start()).parent != trap


@as_root
def test_a_folder_that_belongs_to_somebody_else_is_refused(new_server: EmbeddedPostgres, embedded_home: Path) -> None:
    (embedded_home / "postgres").mkdir(parents=True)
    os.chown(embedded_home / "postgres", 12345, 12345)
    with pytest.raises(DatabaseMisconfigured, match="another user"):
        new_server.start()


@as_root
def test_two_users_of_the_machine_do_not_meet(server: EmbeddedPostgres) -> None:
    account = next((one for name in ACCOUNTS[1:] if (one := account_named(name))), None)
    python = next((one for one in (sys.executable, "/usr/bin/python3") if account and can_run(one, account)), None)
    if account is None or python is None or not reachable(REPOSITORY, account):
        pytest.skip("another user cannot run this installation")
    site = Path(psycopg.__file__).parents[1]
    as_other: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": [], "text": True}
    home = Path(subprocess.check_output(["mktemp", "-d"], **as_other).strip())
    try:
        with subprocess.Popen(
            [python, "-m", "tests.integration.store.user", str(home)],
            cwd="/",
            env={"PYTHONPATH": f"{REPOSITORY}:{site}", "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **as_other,
        ) as other:
            found = told(other)
            urls = server.start()
            assert found["pid"] != server.pid and found["app"] != urls.app
            assert answers(urls.app)
            assert tell_to_stop(other) == 0
        assert answers(urls.app)
    finally:
        shutil.rmtree(home)


def account_named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def can_run(python: str, account: Account) -> bool:
    """Whether the account can run this Python, and it is of our version, so that our packages fit it."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    identity: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        return subprocess.run([python, "-c", check], cwd="/", capture_output=True, **identity).returncode == 0
    except OSError:
        return False
