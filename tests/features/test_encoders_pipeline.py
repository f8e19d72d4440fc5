from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.encoders import pipeline
from features.encoders.cache import VectorCache, content_key
from features.encoders.pipeline import run_ahead, shelf
from features.encoders.tokens import by_length, rectangle

KEYS = [content_key(bytes([row])) for row in range(10)]
VECTORS = np.arange(20, dtype=np.float32).reshape(10, 2)


def test_results_come_in_order_however_long_each_took() -> None:
    def work(row: int) -> int:
        time.sleep(0.002 * (7 - row % 7))
        return row * row

    found = [(row, done.result()) for row, done in run_ahead(work, range(20), threads=4, ahead=6)]
    assert found == [(row, row * row) for row in range(20)]


def test_work_never_runs_further_ahead_than_it_may() -> None:
    taken: list[int] = []
    furthest = 0

    def items() -> Iterator[int]:
        for row in range(30):
            taken.append(row)
            yield row

    for row, done in run_ahead(lambda row: row, items(), threads=2, ahead=5):
        done.result()
        furthest = max(furthest, len(taken) - row)
    assert len(taken) == 30
    assert furthest == 6


def test_without_threads_work_is_done_by_who_asks_when_it_asks() -> None:
    begun: list[tuple[int, int]] = []

    def work(row: int) -> int:
        begun.append((row, threading.get_ident()))
        return 6 // (3 - row)

    asked = run_ahead(work, range(9), threads=0, ahead=4)
    for row, expected in enumerate((2, 3, 6)):
        assert next(asked)[1].result() == expected
        assert begun == [(earlier, threading.get_ident()) for earlier in range(row + 1)]
    with pytest.raises(ZeroDivisionError):
        next(asked)[1].result()


def test_two_stages_overlap() -> None:
    # each item waits in the second stage until a later one is in the first: alone, one after the other, it never would
    begun = [threading.Event() for _ in range(6)]

    def first(row: int) -> int:
        begun[row].set()
        return row

    def second(row: int) -> bool:
        return row + 1 == len(begun) or begun[row + 1].wait(10)

    read = (done.result() for _, done in run_ahead(first, range(6), threads=1, ahead=2))
    assert all(done.result() for _, done in run_ahead(second, read, threads=1, ahead=2))


def test_an_error_ends_the_threads_and_reaches_the_consumer() -> None:
    def work(row: int) -> int:
        if row == 3:
            raise RuntimeError("three")
        return row

    before = threading.active_count()

    def consume() -> None:
        for _, done in run_ahead(work, range(100), threads=3, ahead=4):
            done.result()

    with pytest.raises(RuntimeError, match="three"):
        consume()
    assert threading.active_count() == before


def test_vectors_are_shelved_by_the_hundreds_and_none_is_lost_on_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SHELVED_AT_ONCE", 4)
    sizes = []

    def interrupted(cache: VectorCache) -> None:
        with shelf(cache) as put:
            for row in range(7):
                put([KEYS[row]], VECTORS[row : row + 1])
                sizes.append(len(cache))
            raise KeyboardInterrupt

    with VectorCache(tmp_path, "enc", "a test") as cache, pytest.raises(KeyboardInterrupt):
        interrupted(cache)
    assert sizes == [0, 0, 0, 4, 4, 4, 4]
    with VectorCache(tmp_path, "enc", "a test") as cache:
        np.testing.assert_array_equal(cache.take(KEYS[:7]), VECTORS[:7])


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 200))
def test_batches_hold_every_text_once_within_the_budget_and_of_like_lengths(lengths: list[int], budget: int) -> None:
    batches = list(by_length(lengths, budget=budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    widths = [max(lengths[row] for row in batch) for batch in batches]
    assert widths == sorted(widths, reverse=True)
    for batch, width in zip(batches, widths, strict=True):
        assert len(batch) == 1 or len(batch) * width <= budget
    assert all(min(lengths[row] for row in batch) >= width for batch, width in zip(batches, widths[1:], strict=False))


def test_a_rectangle_is_filled_on_the_right() -> None:
    ids, mask = rectangle([[5, 6, 7], [8], []], fill=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9], [9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert rectangle([[1]], fill=0, width=4)[0].tolist() == [[1, 0, 0, 0]]
