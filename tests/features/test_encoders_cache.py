from __future__ import annotations

import hashlib
import json
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from features.encoders.cache import VectorCache, content_key
from features.encoders.keys import KeyIndex
from features.errors import InputError

KEYS = [content_key(name) for name in (b"a", b"b", b"c", b"d")]
VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def filled(root: Path, n: int) -> Path:
    with VectorCache(root, "enc", "a test") as cache:
        cache.append(KEYS[:n], VECTORS[:n])
    return root / "enc"


def test_what_was_put_in_is_found_again_by_content(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    with VectorCache(tmp_path, "enc", "a test") as cache:
        assert (len(cache), cache.dim) == (2, 3)
        assert KEYS[1] in cache
        assert KEYS[2] not in cache
        cache.append(KEYS[2:], VECTORS[2:])
        np.testing.assert_array_equal(cache.take([KEYS[3], KEYS[0], KEYS[3]]), VECTORS[[3, 0, 3]])
    with VectorCache(tmp_path, "enc", "a test") as cache:
        np.testing.assert_array_equal(cache.take(KEYS), VECTORS)
    assert json.loads((tmp_path / "enc" / "meta.json").read_text())["encoder"] == "a test"


def test_encoders_do_not_share_vectors(tmp_path: Path) -> None:
    filled(tmp_path, 4)
    with VectorCache(tmp_path, "other", "another") as cache:
        assert (len(cache), cache.dim) == (0, None)
        assert KEYS[0] not in cache


def test_content_keys_tell_contents_apart() -> None:
    assert len(set(KEYS)) == 4
    assert all(len(key) == 32 for key in KEYS)


@pytest.mark.parametrize("tail", ["vectors", "half a vector", "half a key"])
def test_the_tail_of_a_killed_run_is_cut_and_the_rest_kept(tmp_path: Path, tail: str) -> None:
    folder = filled(tmp_path, 2)
    with (folder / "vectors.f32").open("ab") as file:
        file.write(b"\1" * (5 if tail == "half a vector" else 12))
    if tail == "half a key":
        with (folder / "keys.bin").open("ab") as file:
            file.write(KEYS[2][:7])
    with VectorCache(tmp_path, "enc", "a test") as cache:
        assert len(cache) == 2
        cache.append(KEYS[2:], VECTORS[2:])
        np.testing.assert_array_equal(cache.take(KEYS), VECTORS)
    assert (folder / "vectors.f32").stat().st_size == 4 * 3 * 4
    assert (folder / "keys.bin").stat().st_size == 4 * 32


def test_a_cut_vector_file_drops_only_what_is_gone(tmp_path: Path) -> None:
    folder = filled(tmp_path, 4)
    with (folder / "vectors.f32").open("r+b") as file:
        file.truncate(3 * 12 - 1)
    with VectorCache(tmp_path, "enc", "a test") as cache:
        assert [key in cache for key in KEYS] == [True, True, False, False]
        np.testing.assert_array_equal(cache.take(KEYS[:2]), VECTORS[:2])


def test_a_second_user_waits_and_then_sees_what_the_first_wrote(tmp_path: Path) -> None:
    seen: list[int] = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with VectorCache(tmp_path, "enc", "a test") as cache:
            seen.append(len(cache))

    with VectorCache(tmp_path, "enc", "a test") as cache:
        other = threading.Thread(target=second)
        other.start()
        entered.wait(5)
        cache.append(KEYS[:3], VECTORS[:3])
        assert seen == []
    other.join(10)
    assert seen == [3]


@pytest.mark.parametrize(
    ("keys", "vectors", "rule"),
    [
        (KEYS[2:], VECTORS[2:, :2], r"vectors must be \[2, 3\]"),
        (KEYS[2:3], VECTORS[2:], r"vectors must be \[1, 3\]"),
        (KEYS[2:3], np.full((1, 3), np.nan, dtype=np.float32), "row 0 is not"),
        (KEYS[:1], VECTORS[:1], "encoded once"),
        ([KEYS[2], KEYS[2]], VECTORS[:2], "encoded once"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_trace(
    tmp_path: Path, keys: list[bytes], vectors: np.ndarray, rule: str
) -> None:
    filled(tmp_path, 2)
    with VectorCache(tmp_path, "enc", "a test") as cache, pytest.raises(ValueError, match=rule):
        cache.append(keys, vectors)
    with VectorCache(tmp_path, "enc", "a test") as cache:
        assert len(cache) == 2


def test_another_format_is_named_and_not_overwritten(tmp_path: Path) -> None:
    folder = filled(tmp_path, 2)
    (folder / "meta.json").write_text(json.dumps({"format": 99, "dim": 3}))
    with pytest.raises(InputError, match=r"format 1, .* has 99"), VectorCache(tmp_path, "enc", "a test"):
        pass
    assert (folder / "keys.bin").stat().st_size == 2 * 32


def test_very_many_rows_take_four_files_and_sixteen_bytes_each_in_memory(tmp_path: Path) -> None:
    n, batch = 200_000, 20_000
    keys = [hashlib.sha256(str(row).encode()).digest() for row in range(n)]
    vectors = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    with VectorCache(tmp_path, "enc", "a test") as cache:
        for first in range(0, n, batch):
            cache.append(keys[first : first + batch], vectors[first : first + batch])
        some = [0, n - 1, 77, n // 2]
        np.testing.assert_array_equal(cache.take([keys[row] for row in some]), vectors[some])
    folder = tmp_path / "enc"
    assert sorted(path.name for path in folder.iterdir()) == ["keys.bin", "lock", "meta.json", "vectors.f32"]
    assert (folder / "keys.bin").stat().st_size == 32 * n
    tracemalloc.start()
    with VectorCache(tmp_path, "enc", "a test") as cache:
        held, _ = tracemalloc.get_traced_memory()
        assert len(cache) == n
        assert held < 20 * n
        tracemalloc.reset_peak()
        np.testing.assert_array_equal(cache.take(keys[5000:6000]), vectors[5000:6000])
        assert tracemalloc.get_traced_memory()[1] - held < 1_000_000  # only what was asked for is read
    tracemalloc.stop()


def test_appending_does_not_rewrite_what_is_there(tmp_path: Path) -> None:
    folder = filled(tmp_path, 2)
    before = [(folder / name).stat().st_ino for name in ("keys.bin", "vectors.f32")]
    start = [(folder / name).read_bytes() for name in ("keys.bin", "vectors.f32")]
    with VectorCache(tmp_path, "enc", "a test") as cache:
        cache.append(KEYS[2:], VECTORS[2:])
    assert [(folder / name).stat().st_ino for name in ("keys.bin", "vectors.f32")] == before
    for name, content in zip(("keys.bin", "vectors.f32"), start, strict=True):
        assert (folder / name).read_bytes().startswith(content)


def test_absent_contents_are_told_once_and_in_their_order(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    with VectorCache(tmp_path, "enc", "a test") as cache:
        assert cache.absent([KEYS[3], KEYS[0], KEYS[2], KEYS[3]]) == [KEYS[3], KEYS[2]]
        assert cache.absent([]) == []
        with pytest.raises(KeyError, match=KEYS[2].hex()):
            cache.take([KEYS[0], KEYS[2]])


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.encoders.keys._FOLD_AT", 3)  # some of them sorted, the last ones not yet
    alike = [b"\0" * 8 + bytes([row]) * 24 for row in range(5)] + [b"\1" * 32, b"\xff" * 32, b"\xff" * 31 + b"\0"]
    file = tmp_path / "keys.bin"
    file.write_bytes(b"")
    index = KeyIndex(file, 0)
    for key in alike:
        with file.open("ab") as appended:
            appended.write(key)
        index.add([key])
    for searched in (index, KeyIndex(file, len(alike))):
        assert len(searched) == len(alike)
        assert searched.find(alike).tolist() == list(range(len(alike)))
        assert searched.find([b"\0" * 32, b"\0" * 8 + b"\7" * 24, alike[2]]).tolist() == [0, -1, 2]
