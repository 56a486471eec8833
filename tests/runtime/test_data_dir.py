"""The embedded instance's files: rights, and what happens when several processes want the same one."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.runtime.data_dir import DataDir, replace, write_once


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_for_their_owner_only(data: DataDir) -> None:
    secret = data.secret_file("nats-policy.password")
    assert mode(secret) == 0o600
    assert mode(data.keys) == 0o700
    assert mode(data.nats) == 0o700
    assert len(secret.read_text()) > 40


def test_all_who_start_together_get_the_same_secret(data: DataDir) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: data.secret_file("digest.key").read_bytes(), range(64)))
    assert len(secrets) == 1
    assert len(secrets.pop()) > 40
    assert [path.name for path in data.keys.iterdir()] == ["digest.key"]  # nothing half-written is left


def test_write_once_keeps_what_is_there_and_replace_does_not(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_once(file, b"first")
    write_once(file, b"second")
    assert file.read_bytes() == b"first"
    replace(file, b"third")
    assert (file.read_bytes(), mode(file)) == (b"third", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_without_a_running_instance_there_are_no_endpoints(data: DataDir) -> None:
    with pytest.raises(FileNotFoundError):
        data.read_endpoints()
