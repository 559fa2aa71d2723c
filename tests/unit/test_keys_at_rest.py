"""The home's keys at rest: encrypted under a passphrase, in files that are the owner's alone, whatever is tried."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import keystore
from ledger.home import Home
from ledger.keystore import HomeError, KeyStore
from ledger.signing.keys import SigningKey, save_key

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a passphrase costs is not tested here."""
    monkeypatch.setattr(keystore, "GIVEN_COST", (2**4, 8, 1))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A passphrase file."""
    return passphrase_file(tmp_path / "passphrase.txt", PASSPHRASE)


def passphrase_file(path: Path, text: str) -> Path:
    """A file that is the owner's alone."""
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def everything_in(folder: Path) -> bytes:
    """All bytes of a folder's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_key_is_the_same_at_every_use_and_never_in_the_clear(tmp_path: Path, file: Path) -> None:
    home = Home(tmp_path / "home", file)
    registrar, seed = home.key("registrar"), home.master_seed()
    again = Home(tmp_path / "home", file)
    assert again.key("registrar").kid == registrar.kid
    assert again.master_seed() == seed
    stored = everything_in(tmp_path / "home")
    for secret in (registrar.to_pem(), registrar.private_jwk()["d"].encode(), seed, PASSPHRASE.encode()):
        assert secret not in stored
    for path in (tmp_path / "home" / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert home.secrets.protects


def test_without_a_passphrase_one_is_generated_and_the_home_says_that_it_protects_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    kid = home.key("registrar").kid
    assert Home(tmp_path / "home").key("registrar").kid == kid
    assert not home.secrets.protects


def test_the_wrong_passphrase_opens_nothing_and_makes_no_second_key(tmp_path: Path, file: Path) -> None:
    Home(tmp_path / "home", file).key("registrar")
    before = everything_in(tmp_path / "home")
    wrong = passphrase_file(tmp_path / "wrong.txt", PASSPHRASE + "!")
    with pytest.raises(HomeError, match="is not that of the keys"):
        Home(tmp_path / "home", wrong).key("registrar")
    with pytest.raises(HomeError, match="TRIAL_LEDGER_PASSPHRASE_FILE"):
        Home(tmp_path / "home").key("another")
    with pytest.raises(HomeError, match="is not that of the keys"):
        Home(tmp_path / "home", wrong).master_seed()
    assert everything_in(tmp_path / "home") == before


def test_a_home_with_a_generated_passphrase_asks_for_the_change_before_it_takes_a_given_one(
    tmp_path: Path, file: Path
) -> None:
    kid = Home(tmp_path / "home").key("registrar").kid
    with pytest.raises(HomeError, match="keys change-passphrase"):
        Home(tmp_path / "home", file).key("registrar")
    home = Home(tmp_path / "home")
    home.secrets.change_passphrase(PASSPHRASE.encode())
    assert Home(tmp_path / "home", file).key("registrar").kid == kid
    assert home.secrets.protects
    with pytest.raises(HomeError, match="encrypted under a passphrase"):
        Home(tmp_path / "home").key("registrar")


@pytest.mark.parametrize("moment", ["replace", "sync_folder", "unlink"])
def test_a_change_that_is_killed_leaves_the_old_or_the_new_passphrase(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    kid = Home(tmp_path / "home").key("registrar").kid

    def killed(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    owner = {"replace": os, "sync_folder": keystore, "unlink": Path}[moment]
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            Home(tmp_path / "home").secrets.change_passphrase(PASSPHRASE.encode())
    opened = []
    for given in (None, file):
        try:
            opened.append(Home(tmp_path / "home", given).key("registrar").kid)
        except HomeError:
            continue
    assert opened == [kid], "exactly one of the two opens it"


@pytest.mark.parametrize("short", ["", "a", "elevenchars"])
def test_a_passphrase_that_is_guessed_easily_is_refused(tmp_path: Path, short: str) -> None:
    with pytest.raises(HomeError, match="12"):
        Home(tmp_path / "home", passphrase_file(tmp_path / "p", short)).key("registrar")
    home = Home(tmp_path / "home")
    home.key("registrar")
    with pytest.raises(HomeError, match="12"):
        home.secrets.change_passphrase(short.encode())


def readable_by_others(file: Path, home: Path) -> Path:
    file.chmod(0o640)
    return file


def inside_the_home(file: Path, home: Path) -> Path:
    return passphrase_file(home / "passphrase.txt", PASSPHRASE)


def linked_into_the_home(file: Path, home: Path) -> Path:
    inside_the_home(file, home)
    link = file.with_name("link")
    link.symlink_to(home / "passphrase.txt")
    return link


def not_there(file: Path, home: Path) -> Path:
    return file.with_name("nothing")


def two_lines(file: Path, home: Path) -> Path:
    return passphrase_file(file.with_name("two"), f"{PASSPHRASE}\n{PASSPHRASE}")


@pytest.mark.parametrize(
    "spoil", [readable_by_others, inside_the_home, linked_into_the_home, not_there, two_lines], ids=lambda f: f.__name__
)
def test_a_passphrase_file_that_protects_nothing_is_refused(
    tmp_path: Path, file: Path, spoil: Callable[[Path, Path], Path]
) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(HomeError, match="passphrase file"):
        Home(tmp_path / "home", spoil(file, tmp_path / "home")).key("registrar")


@pytest.mark.parametrize("name", ["registrar.sealed", "log-master.sealed", "wrapped.json"])
@pytest.mark.parametrize("spoil", ["junk", "nested", "emptied", "a byte changed", "another's"])
def test_a_damaged_file_is_named_and_never_replaced(tmp_path: Path, file: Path, name: str, spoil: str) -> None:
    home = Home(tmp_path / "home", file)
    home.key("registrar")
    home.master_seed()
    home.key("ledger")
    path = tmp_path / "home" / "keys" / name
    if spoil == "another's":
        other = {"registrar.sealed": "ledger", "log-master.sealed": "registrar"}.get(name)
        if other is None:
            Home(tmp_path / "other", file).key("registrar")
            shutil.copy(tmp_path / "other" / "keys" / name, path)
        else:
            shutil.copy(path.with_name(f"{other}.sealed"), path)
    elif spoil == "a byte changed":
        parts = json.loads(path.read_text())
        field = "sealed" if "sealed" in parts else "wrapped"
        parts[field] = ("B" if parts[field][0] == "A" else "A") + parts[field][1:]
        path.write_text(json.dumps(parts))
    else:
        path.write_bytes({"junk": b"junk", "nested": b"[" * 60_000}.get(spoil, b""))
    spoiled = path.read_bytes()
    with pytest.raises(HomeError, match="backup"):
        again = Home(tmp_path / "home", file)
        again.key("registrar")
        again.master_seed()
    assert path.read_bytes() == spoiled


def test_files_and_folders_that_others_may_read_are_narrowed_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Home(tmp_path / "home").key("registrar")
    wide = [tmp_path / "home" / "keys", tmp_path / "home" / "signer", tmp_path / "home" / "keys" / "registrar.sealed"]
    for path in wide:
        path.chmod(0o755)
    Home(tmp_path / "home").key("registrar")
    said = capsys.readouterr().err
    for path in wide:
        assert path.stat().st_mode & 0o077 == 0
        assert str(path) in said


def test_keys_that_an_earlier_release_left_open_are_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "home" / "keys"
    folder.mkdir(parents=True)
    key, seed = SigningKey.generate(), b"s" * 32
    save_key(folder / "registrar.jwk", key, None)
    (folder / "log-master.seed").write_bytes(seed)
    home = Home(tmp_path / "home")
    assert home.key("registrar").kid == key.kid
    assert home.master_seed() == seed
    assert sorted(path.name for path in folder.iterdir()) == [
        "log-master.sealed",
        "passphrase",
        "registrar.sealed",
        "wrapped.json",
    ]
    assert key.to_pem() not in everything_in(folder)
    assert "not encrypted" in capsys.readouterr().err


def kid_of(path: Path) -> str:
    """The registrar's key, asked for by a process of its own."""
    return Home(path).key("registrar").kid


def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        kids = pool.map(kid_of, [tmp_path / "home"] * 8)
    assert len(set(kids)) == 1


def test_scrypt_parameters_that_would_exhaust_the_machine_are_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.once("x", lambda: b"secret")
    parts = json.loads((tmp_path / "wrapped.json").read_text())
    (tmp_path / "wrapped.json").write_text(json.dumps({**parts, "n": 2**40}))
    with pytest.raises(HomeError, match="damaged"):
        store.read("x")
