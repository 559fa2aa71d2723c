"""What a witness has seen outlives its process, is used by one process, and is never quietly forgotten."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.merkle.note import parse_note
from ledger.signing.keys import KeyFileError, SigningKey, save_key
from ledger.witness import StateUnusable, Witness
from ledger.witness_files import CONFLICTS_LIMIT, FileStore, load_cosigners, make_witness
from tests.scenario.histories import KEYS, ORIGIN, History

NAME, PASSPHRASE, NOW = "witness.example.org/site-1", b"correct horse", 1_760_000_000


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    key, state = tmp_path / "witness.key", tmp_path / "witness.state"
    make_witness(key, state, NAME, PASSPHRASE, False)
    return key, state


def opened(files: tuple[Path, Path]) -> tuple[Witness, FileStore]:
    store = FileStore(files[1])
    return Witness([KEYS.ed25519.key], load_cosigners(files[0], store.keys, PASSPHRASE), store), store


def test_what_was_seen_outlives_the_process(files: tuple[Path, Path]) -> None:
    history = History().grow(9)
    witness, store = opened(files)
    with store:
        assert witness.add_checkpoint(history.submission(0, 5), NOW).status == 200
    again, store = opened(files)
    with store:
        assert again.add_checkpoint(history.submission(0, 9), NOW).body == b"5\n"
        assert again.add_checkpoint(history.submission(5, 9), NOW).status == 200
        fork = history.fork(7).grow(2, "another")
        assert again.add_checkpoint(fork.submission(9), NOW).status == 422


def test_key_and_state_are_the_owners_alone_and_the_key_is_encrypted(files: tuple[Path, Path]) -> None:
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files[0].read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_two_processes_on_one_state_are_refused(files: tuple[Path, Path]) -> None:
    with FileStore(files[1]), pytest.raises(StateUnusable, match="another process"):
        FileStore(files[1])
    other_name = files[1].with_name("link")
    other_name.symlink_to(files[1])
    with FileStore(files[1]), pytest.raises(StateUnusable, match="another process"):
        FileStore(other_name)
    with FileStore(other_name):
        pass


def test_a_lost_state_is_not_made_anew(files: tuple[Path, Path]) -> None:
    files[1].unlink()
    with pytest.raises(StateUnusable, match="cosign another history"):
        FileStore(files[1])
    assert not files[1].exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "zeros", "json", "forged"])
def test_a_damaged_state_is_refused(files: tuple[Path, Path], damage: str) -> None:
    witness, store = opened(files)
    with store:
        witness.add_checkpoint(History().grow(4).submission(0), NOW)
    data = files[1].read_bytes()
    other = data.replace(b"\\n4\\n", b"\\n3\\n")
    forged = sha256(other.partition(b"\n")[2].removesuffix(b"\n")).hexdigest().encode() + other[64:]
    made = {
        "empty": b"",
        "cut": data[:-20],
        "flipped": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "zeros": bytes(len(data)),
        "json": b"[]\n",
        "forged": forged,
    }
    assert other != data
    files[1].write_bytes(made[damage])
    with pytest.raises(StateUnusable, match="damaged"):
        FileStore(files[1])


def test_another_key_or_passphrase_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    save_key(tmp_path / "other.key", SigningKey.generate(), PASSPHRASE)
    with FileStore(files[1]) as store:
        with pytest.raises(StateUnusable, match="not the key of this state"):
            load_cosigners(tmp_path / "other.key", store.keys, PASSPHRASE)
        with pytest.raises(KeyFileError, match="passphrase"):
            load_cosigners(files[0], store.keys, b"wrong horse")


def test_neither_key_nor_state_is_ever_replaced(files: tuple[Path, Path], tmp_path: Path) -> None:
    before = [path.read_bytes() for path in files]
    with pytest.raises(StateUnusable, match="exists already"):
        make_witness(tmp_path / "new.key", files[1], NAME, PASSPHRASE, False)
    with pytest.raises(KeyFileError, match="exists already"):
        make_witness(files[0], tmp_path / "new.state", NAME, PASSPHRASE, False)
    assert [path.read_bytes() for path in files] == before
    assert not (tmp_path / "new.key").exists() and not (tmp_path / "new.state").exists()


@pytest.mark.parametrize(("name", "passphrase"), [("", PASSPHRASE), ("a b", PASSPHRASE), ("a+b", PASSPHRASE)])
def test_a_name_that_no_note_could_carry_is_refused(tmp_path: Path, name: str, passphrase: bytes) -> None:
    with pytest.raises(ValueError, match="key name"):
        make_witness(tmp_path / "k", tmp_path / "s", name, passphrase, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", ["no/such/folder/state", "witness.key", "a folder"])
def test_a_witness_whose_state_cannot_be_kept_leaves_no_key_behind(tmp_path: Path, state: str) -> None:
    (tmp_path / "a folder").mkdir()
    key = tmp_path / "witness.key"
    with pytest.raises(StateUnusable):
        make_witness(key, tmp_path / state, "witness.test/w", b"an invented passphrase", True)
    assert not key.exists()
    make_witness(key, tmp_path / "state", "witness.test/w", b"an invented passphrase", True)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 8"):
        make_witness(tmp_path / "k", tmp_path / "s", NAME, b"short", False)


def test_a_post_quantum_witness_has_the_same_second_key_after_a_restart(tmp_path: Path) -> None:
    keys = make_witness(tmp_path / "k", tmp_path / "s", NAME, PASSPHRASE, True)
    with FileStore(tmp_path / "s") as store:
        assert [cosigner.key for cosigner in load_cosigners(tmp_path / "k", store.keys, PASSPHRASE)] == list(keys)
    assert [key.kind for key in keys] == [0x04, 0x06]


def test_a_full_disk_stops_the_witness_and_room_lets_it_go_on(files: tuple[Path, Path], tmp_path: Path) -> None:
    history = History().grow(6)
    witness, store = opened(files)
    with store:
        assert witness.add_checkpoint(history.submission(0, 2), NOW).status == 200
        moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-away"))
        with pytest.raises(StateUnusable, match=r"cannot be written|no state"):
            witness.add_checkpoint(history.submission(2, 4), NOW)
        moved.rename(tmp_path)
        assert witness.add_checkpoint(history.submission(2, 4), NOW).status == 200
        assert list(tmp_path.glob(".*")) == []


def test_contradictions_are_kept_once_and_do_not_fill_the_disk(files: tuple[Path, Path]) -> None:
    history = History().grow(4)
    witness, store = opened(files)
    with store:
        witness.add_checkpoint(history.submission(0), NOW)
        fork = history.fork(3).grow(1, "another")
        for _ in range(3):
            witness.add_checkpoint(fork.submission(4), NOW)
        assert store.conflicts() == (1, 0)
        [shown] = store.conflicts_folder.glob("*.proven.shown")
        assert shown.read_bytes() == fork.signed()
        assert parse_note(shown.with_suffix(".seen").read_bytes()).text == history.checkpoint().body()
        seen = store.latest(ORIGIN)
        assert seen is not None
        for number in range(CONFLICTS_LIMIT + 5):
            store.keep_conflict(seen, history.fork(3).grow(1, str(number)).signed(), True)
        assert store.conflicts() == (CONFLICTS_LIMIT, 0)
