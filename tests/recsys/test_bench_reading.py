from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.bench.task import Task
from recsys.linear.history import fading

PAIRS = [(user, item, "test" if item == 4 else "train") for user in range(3) for item in range(5)]
Read = Callable[..., Task]


@pytest.fixture
def quarantine() -> Quarantine:
    return Quarantine()


@pytest.fixture
def read(tmp_path: Path, quarantine: Quarantine) -> Read:
    def read(folder: Path, *, split_file: Path | None = None, refit: bool | None = None) -> Task:
        return read_task(
            folder, split_file=split_file, refit=refit, cache_dir=tmp_path / "cache", quarantine=quarantine
        )

    return read


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: list[tuple[object, object, object]], **features: np.ndarray) -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        pd.DataFrame(rows, columns=["user_idx", "item_idx", "split"]).to_csv(folder / "interactions.csv", index=False)
        for name, matrix in features.items():
            np.save(folder / f"{name}_feat.npy", matrix)
        return folder

    return write


def pairs_of(task: Task, side: str) -> set[tuple[int, int]]:
    events = getattr(task.split, side)
    return set(zip(events.user_idx.tolist(), events.item_idx.tolist(), strict=True))


def test_sides_and_features_are_read_by_row_number(read: Read, write: Callable[..., Path]) -> None:
    rows = [*PAIRS, (0, 5, "valid")]
    image = np.ones((8, 3), dtype=np.float16)
    image[2] = 0
    task = read(write(rows, image=image, audio=np.eye(8)))
    assert pairs_of(task, "train") == {(user, item) for user in range(3) for item in range(4)}
    assert pairs_of(task, "valid") == {(0, 5)}
    assert pairs_of(task, "test") == {(user, 4) for user in range(3)}
    assert len(task.split.train.items) == 8, "features name two items that no pair has"
    assert task.known.modalities.keys() == {"image", "audio"}
    assert task.known.modalities["image"].mask.tolist() == [True, True, False, *[True] * 5]
    np.testing.assert_allclose(task.known.modalities["image"].vectors[0], 1 / np.sqrt(3), rtol=1e-3)


def test_without_validation_pairs_some_training_pairs_are_held_out_and_learned_in_the_end(
    read: Read, write: Callable[..., Path]
) -> None:
    rows = [(user, item, "train") for user in range(20) for item in range(user, user + 20)]
    rows += [(20, 0, "train"), (20, 1, "train"), *((user, 50, "test") for user in range(20))]
    task = read(write(rows))
    assert len(task.split.train) + len(task.split.valid) == 402
    held = np.bincount(task.split.valid.user_idx, minlength=21)
    assert held.tolist() == [2] * 20 + [0], "a tenth of 20, and none of a user of two"
    assert task.final is not None
    assert len(task.final.train) == 402
    assert len(task.final.valid) == 0
    assert "no validation pairs" in task.protocol
    assert "fitted again" in task.protocol
    again = read(write(rows))
    assert pairs_of(again, "valid") == pairs_of(task, "valid")
    assert again.fingerprint() == task.fingerprint()


def test_the_end_of_the_training_pairs_may_take_the_place_of_the_validation_side(
    write: Callable[..., Path], quarantine: Quarantine, tmp_path: Path
) -> None:
    listed = [7, 3, 9, 1, 8, 2, 6, 4, 5, 0]
    rows = [(0, item, "train") for item in listed] + [(0, 10, "valid"), (0, 11, "test"), (1, 4, "train")]
    task = read_task(write(rows), split_file=None, refit=None, cache_dir=tmp_path, quarantine=quarantine, valid="last")
    assert pairs_of(task, "valid") == {(0, 0)}, "a tenth of ten: the last of the table, not of the numbers"
    assert pairs_of(task, "train") == {(0, item) for item in [*listed[:-1], 10]} | {(1, 4)}
    assert task.final is not None
    assert len(task.final.train) == 12
    assert len(task.final.valid) == 0
    for train in (task.split.train, task.final.train):
        assert train.placed is not None
        assert train.item_idx[~train.placed].tolist() == [10], "where in the list it stood is not known"
    timed = replace(task.split.train, placed=None, timestamp=np.arange(len(task.split.train), dtype=np.float64))
    assert replace(task, split=replace(task.split, train=timed)).fingerprint() != task.fingerprint()
    assert "the last 10% of each user's training pairs" in task.protocol


def test_validation_pairs_without_times_are_learned_in_the_end_but_not_as_the_newest(
    write: Callable[..., Path], quarantine: Quarantine, tmp_path: Path
) -> None:
    rows = [(0, 7, "train"), (0, 10, "valid"), (0, 3, "train"), (0, 11, "test")]
    task = read_task(write(rows), split_file=None, refit=True, cache_dir=tmp_path, quarantine=quarantine)
    assert task.final is not None
    assert fading(task.final.train, 1.0).toarray()[0, [7, 10, 3]] == pytest.approx([2 / 3, 1, 4 / 3])


@pytest.mark.parametrize(("times", "last"), [((5, 9, 2, 7), 1), ((5, 9, 2, 9), 3)])
def test_last_is_by_time_where_times_are_told_and_by_the_table_where_they_are_equal(
    times: tuple[int, ...], last: int, tmp_path: Path, quarantine: Quarantine
) -> None:
    task = timed_task(tmp_path, times, quarantine)
    assert pairs_of(task, "valid") == {(0, last)}


def test_last_by_time_needs_every_time(tmp_path: Path, quarantine: Quarantine) -> None:
    with pytest.raises(InputError, match="--valid last needs the time of every event, event 2 has nan"):
        timed_task(tmp_path, (5, 9, None, 7), quarantine)


def timed_task(tmp_path: Path, times: tuple[int | None, ...], quarantine: Quarantine) -> Task:
    """One user's training items 0, 1, ... at some times, and a test item, chosen on the last."""
    folder = tmp_path / "timed"
    folder.mkdir()
    rows = [*((0, item, "train", time) for item, time in enumerate(times)), (0, 4, "test", 10)]
    names = ["user_idx", "item_idx", "split", "timestamp"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "interactions.csv", index=False)
    return read_task(folder, split_file=None, refit=None, cache_dir=tmp_path, quarantine=quarantine, valid="last")


def test_models_are_fitted_again_where_it_is_custom_or_asked_for(read: Read, write: Callable[..., Path]) -> None:
    folder = write([*PAIRS, (0, 5, "valid")])
    assert read(folder).final is None
    assert "No model is fitted again" in read(folder).protocol
    asked = read(folder, refit=True).final
    assert asked is not None
    assert len(asked.train) == 13
    customary = folder.with_name("gowalla")
    folder.rename(customary)
    assert read(customary).final is not None
    assert read(customary, refit=False).final is None


def test_bad_rows_go_to_quarantine_with_their_place_and_rule(
    read: Read, write: Callable[..., Path], quarantine: Quarantine
) -> None:
    bad: list[tuple[object, object, object]] = [
        ("x", 0, "train"),
        (1, -2, "train"),
        (1.5, 0, "test"),
        (0, 1, "holdout"),
    ]
    bad += [(0, 0, "test")]
    task = read(write([*bad[:4], *PAIRS, *bad[4:]]))
    told = [(refusal.row, refusal.rule, refusal.value) for refusal in quarantine.refusals]
    assert told == [
        (0, "user_idx must be a whole number >= 0", "'x'"),
        (2, "user_idx must be a whole number >= 0", "'1.5'"),
        (1, "item_idx must be a whole number >= 0", "'-2'"),
        (3, "split must be one of train, valid, test", "'holdout'"),
        (19, "a pair must be listed once", "'0, 0'"),
    ]
    assert len(task.split.test) == 3


@pytest.mark.parametrize(
    ("features", "rule"),
    [
        ({"image": np.ones((3, 2))}, r"image_feat\.npy must have a row an item \(5\), it has 3"),
        ({"image": np.ones(5)}, r"must be a matrix of numbers \[n_items, dim\], got float64 \(5,\)"),
        ({"image": np.full((5, 2), "a")}, "must be a matrix of numbers"),
        ({"smell": np.ones((5, 2))}, "features must be of one of text, t, image, v, audio, a, got 'smell'"),
        ({"image": np.ones((5, 2)), "v": np.ones((5, 2))}, "another file of image features"),
    ],
)
def test_features_that_cannot_be_used_are_refused_by_name(
    features: dict[str, np.ndarray], rule: str, read: Read, write: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=rule):
        read(write(PAIRS, **features))


def test_a_pickled_feature_file_is_not_opened(read: Read, write: Callable[..., Path]) -> None:
    folder = write(PAIRS)
    np.save(folder / "image_feat.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"image_feat\.npy cannot be read as an array"):
        read(folder)


def test_mmrec_folders_are_read(read: Read, tmp_path: Path, quarantine: Quarantine) -> None:
    folder = tmp_path / "baby"
    folder.mkdir()
    lines = ["userID\titemID\trating\ttimestamp\tx_label"]
    lines += [f"{user}\t{item}\t5.0\t0\t{item % 3}" for user in range(4) for item in range(6)]
    (folder / "baby.inter").write_text("\n".join([*lines, "0\t9\t5.0\t0\t7"]) + "\n")
    np.save(folder / "text_feat.npy", np.eye(6, dtype=np.float32))
    task = read(folder)
    assert pairs_of(task, "train") == {(user, item) for user in range(4) for item in (0, 3)}
    assert pairs_of(task, "valid") == {(user, item) for user in range(4) for item in (1, 4)}
    assert pairs_of(task, "test") == {(user, item) for user in range(4) for item in (2, 5)}
    assert [(refusal.row, refusal.value) for refusal in quarantine.refusals] == [(24, "'x_label 7'")]


def test_folders_of_no_known_kind_say_what_is_expected(read: Read, tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="is none"):
        read(tmp_path / "absent")
    with pytest.raises(InputError, match="is no data set that can be read: it must be a shop folder"):
        read(tmp_path)
    (tmp_path / "a.inter").write_text("userID\titemID\n0\t1\n")
    with pytest.raises(InputError, match=r"a\.inter must have the column x_label, it has userID, itemID"):
        read(tmp_path)
    folder = write(PAIRS)
    with pytest.raises(InputError, match="carries its own split"):
        read(folder, split_file=tmp_path / "s.csv")
    (folder / "interactions.csv").write_text("user_idx,item_idx\n0,1\n")
    with pytest.raises(InputError, match="'split' is missing"):
        read(folder)
    (folder / "interactions.csv").write_text("user_idx,item_idx,split\n0,1,train\n")
    with pytest.raises(InputError, match="the test side of split 'its own' has no pairs"):
        read(folder)
    (folder / "interactions.csv").write_text("user_idx,item_idx,split\n0,1,never\n")
    with pytest.raises(InputError, match="no usable row"):
        read(folder)


def test_a_shop_is_split_by_the_split_column_of_its_interactions(read: Read, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    pd.DataFrame({"item_id": list("abcde"), "title": "", "brand": ["x", "x", "y", "y", "y"]}).to_csv(
        shop / "items.csv", index=False
    )
    rows = [
        (f"u{user}", item, "test" if item == "e" else "valid" if item == "d" else "train")
        for user in range(3)
        for item in "abcde"
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "split"]).to_csv(shop / "interactions.csv", index=False)
    task = read(shop)
    assert {item for _, item in pairs_of(task, "test")} == {4}
    assert {item for _, item in pairs_of(task, "valid")} == {3}
    assert task.known.parts == ("attributes",)
    assert task.name == "shop"
    other = tmp_path / "mine.csv"
    pd.DataFrame([*rows[:3], ("u1", "b", "test")], columns=["user_id", "item_id", "split"]).to_csv(other, index=False)
    assert pairs_of(read(shop, split_file=other), "test") == {(1, 1)}
    pd.DataFrame([*rows[:2], ("u1", "b", "test")], columns=["user_id", "item_id", "split"]).to_csv(other, index=False)
    with pytest.raises(InputError, match="no user has three training pairs"):
        read(shop, split_file=other)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("tiktok", (59_541, 3_051, 6_130)),
        ("amazon-electronics", (None, None, 4_044)),
        ("gowalla", (None, None, 217_242)),
    ],
)
def test_the_published_splits_are_read_whole(
    name: str, counts: tuple[int | None, ...], read: Read, real_data: Path, quarantine: Quarantine
) -> None:
    task = read(real_data / name)
    assert quarantine.total == 0
    for side, count in zip(("train", "valid", "test"), counts, strict=True):
        if count is not None:
            assert len(getattr(task.split, side)) == count
    if task.final is not None:
        assert len(task.final.train) == {"amazon-electronics": 31_887, "gowalla": 810_128}[name]
