"""Files that appear at once, whoever else writes them."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from features.aside import aside, replacing, sync, write_private


def test_writers_of_one_process_never_meet_in_the_middle_and_one_whole_file_is_left(tmp_path: Path) -> None:
    path, both = tmp_path / "keys.json", threading.Barrier(2, timeout=10)

    def write(letter: bytes) -> None:
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            file.write(letter * 500)
            both.wait()  # each is half done
            file.write(letter * 500)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(10)
    assert path.read_bytes() in {b"a" * 1000, b"b" * 1000}
    assert [one.name for one in tmp_path.iterdir()] == ["keys.json"]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as unfinished:
            unfinished.write_bytes(b"new")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["keys.json"]


def test_a_name_aside_is_hidden_beside_its_place_and_no_other_one_s(tmp_path: Path) -> None:
    names = {aside(tmp_path / "parts" / "a.parquet") for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {tmp_path / "parts"}
    assert all(name.name.startswith(".a.parquet.") for name in names)


def test_what_is_written_for_its_owner_nobody_else_may_read_though_the_file_before_was_open(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_a_disk_cannot_sync_is_let_be_and_a_file_that_it_cannot_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()

    def cannot(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        sync(tmp_path / "file")
