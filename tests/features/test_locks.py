"""Who waits for whom in a folder that one process at a time may write to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from features.locks import alone_in, held


def test_the_second_waits_says_so_and_comes_in_when_the_first_has_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with alone_in(tmp_path / "new", doing="paints"):
            order.append("second")

    with alone_in(tmp_path / "new", doing="paints"):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(10)
        other.join(0.3)
        assert other.is_alive()
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
    said = capsys.readouterr()
    assert "waiting for another process that paints" in said.out + said.err


def test_a_folder_is_let_go_where_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone_in(tmp_path, doing="fails"):
        raise KeyError
    done = threading.Event()

    def again() -> None:
        with alone_in(tmp_path, doing="works"):
            done.set()

    threading.Thread(target=again, daemon=True).start()
    assert done.wait(10)


def test_a_lock_is_held_by_one_alone_or_by_all_that_share_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock) as mine, held(lock) as another, held(lock, shared=True) as reader:
        assert (mine, another, reader) == (True, False, False)
    with held(lock, shared=True) as one, held(lock, shared=True) as other, held(lock) as writer:
        assert (one, other, writer) == (True, True, False)


def test_whoever_waits_for_a_lock_has_it_when_the_other_lets_it_go(tmp_path: Path) -> None:
    had: list[bool] = []

    def wait() -> None:
        with held(tmp_path / "lock", shared=True, wait_s=20) as mine:
            had.append(mine)

    with held(tmp_path / "lock"):
        reader = threading.Thread(target=wait)
        reader.start()
        reader.join(0.2)
        assert had == []
    reader.join(20)
    assert had == [True]
