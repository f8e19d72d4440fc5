from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from recsys.split import (
    Split,
    SplitConfig,
    file_split,
    global_time_split,
    per_user_time_split,
    random_split,
    split_by,
)
from tests.events import events_of


def events(
    rows: list[tuple[int, int]], times: list[float] | None = None, *, n_users: int = 8, n_items: int = 30
) -> Interactions:
    """Events (user, item), the weight of event n being n + 1."""
    made = events_of(rows, n_users=n_users, n_items=n_items, weight=np.arange(1, len(rows) + 1), event_type="view")
    return replace(made, timestamp=None if times is None else np.array(times, dtype=np.float64))


def pairs(side: Interactions) -> list[tuple[int, int]]:
    return list(zip(side.user_idx.tolist(), side.item_idx.tolist(), strict=True))


@pytest.fixture
def busy() -> Interactions:
    """8 users with 3 to 30 items each, some events twice, at rising times in a random order of users."""
    rng = np.random.default_rng(0)
    rows = [(u, int(i)) for u, n in enumerate([3, 4, 5, 10, 12, 20, 25, 30]) for i in rng.permutation(30)[:n]]
    rows += rows[:20]
    order = rng.permutation(len(rows))
    return events([rows[n] for n in order], np.arange(len(rows), dtype=float).tolist())


def test_a_random_split_holds_out_a_tenth_of_each_user_and_at_least_one(busy: Interactions) -> None:
    split = random_split(busy, seed=1)
    assert np.bincount(split.test.user_idx).tolist() == [1, 1, 1, 1, 1, 2, 2, 3]
    assert np.bincount(split.valid.user_idx).tolist() == [1, 1, 1, 1, 1, 2, 2, 3]
    together = pairs(split.valid) + pairs(split.test) + list(set(pairs(split.train)))
    assert sorted(together) == sorted(set(pairs(busy)))


def test_a_random_split_depends_on_its_seed_alone(busy: Interactions) -> None:
    assert pairs(random_split(busy, seed=1).test) == pairs(random_split(busy, seed=1).test)
    assert pairs(random_split(busy, seed=1).test) != pairs(random_split(busy, seed=2).test)


def test_a_user_with_too_few_items_stays_in_training() -> None:
    split = random_split(events([(0, 0), (0, 1), (0, 0), (1, 0), (1, 1), (1, 2)]))
    assert 0 not in split.test.user_idx
    assert 0 not in split.valid.user_idx
    assert [len(split.train.where(split.train.user_idx == u)) for u in (0, 1)] == [3, 1]


@pytest.mark.parametrize("shares", [(0.45, 0.45), (0.05, 0.9), (0.9, 0.05)])
def test_a_user_always_keeps_something_to_learn_from(busy: Interactions, shares: tuple[float, float]) -> None:
    split = random_split(busy, SplitConfig(valid_share=shares[0], test_share=shares[1]))
    for side in (split.train, split.valid, split.test):
        assert np.unique(side.user_idx).tolist() == list(range(8))


@pytest.mark.parametrize("kind", ["random", "per_user_time"])
def test_a_user_of_few_items_is_not_judged(kind: str) -> None:
    rows = [(user, item) for user, n_items in enumerate((4, 5, 9)) for item in range(n_items)]
    times = [float(place) for place in range(len(rows))]
    split = split_by(events(rows, times, n_users=3), SplitConfig.model_validate({"kind": kind, "min_items": 5}))
    assert set(split.test.user_idx.tolist()) == set(split.valid.user_idx.tolist()) == {1, 2}
    assert (split.train.user_idx == 0).sum() == 4


def test_training_keeps_all_events_of_its_pairs_and_held_out_sides_one_row_a_pair() -> None:
    rows = [(0, i) for i in range(3)] * 4
    split = random_split(events(rows))
    assert (len(split.train), len(split.valid), len(split.test)) == (4, 1, 1)
    first = split.train.item_idx[0]
    assert split.train.weight.tolist() == [first + 1.0, first + 4.0, first + 7.0, first + 10.0]


def test_per_user_time_holds_out_the_newest_items() -> None:
    rows = [(0, 3), (0, 1), (0, 2), (0, 0), (1, 5), (1, 6), (1, 7)]
    times = [40.0, 20.0, 30.0, 10.0, 7.0, 6.0, 5.0]
    split = per_user_time_split(events(rows, times))
    assert pairs(split.test) == [(0, 3), (1, 5)]
    assert pairs(split.valid) == [(0, 2), (1, 6)]
    assert pairs(split.train) == [(0, 1), (0, 0), (1, 7)]


def test_per_user_time_does_not_learn_from_what_a_user_did_later_with_a_training_item() -> None:
    rows = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 0)]  # back to item 0 at the very end
    split = per_user_time_split(events(rows, [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert pairs(split.train) == [(0, 0), (0, 1)]
    assert split.train.timestamp is not None
    assert split.train.timestamp.max() < 3.0


def test_equal_times_are_taken_in_the_order_of_the_file() -> None:
    split = per_user_time_split(events([(0, 4), (0, 2), (0, 9)], [1.0, 1.0, 1.0]))
    assert (pairs(split.train), pairs(split.valid), pairs(split.test)) == ([(0, 4)], [(0, 2)], [(0, 9)])


def test_global_time_cuts_all_users_at_the_same_moments_and_keeps_the_new_ones_as_cold() -> None:
    rows = [(0, i) for i in range(8)] + [(1, 8), (2, 9)]  # users 1 and 2, items 8 and 9 come last
    split = global_time_split(events(rows, [float(t) for t in range(10)]))
    assert (pairs(split.valid), pairs(split.test)) == ([(1, 8)], [(2, 9)])
    assert split.summary()["test_users_unseen_in_train"] == 1
    assert split.summary()["test_items_unseen_in_train"] == 1


def test_global_time_leaves_out_later_events_of_pairs_known_before() -> None:
    rows = [(0, i) for i in range(8)] + [(0, 0), (1, 8), (1, 9)]
    split = global_time_split(events(rows, [*map(float, range(8)), 8.5, 8.0, 9.0]))
    assert pairs(split.train) == [(0, i) for i in range(8)]
    assert (0, 0) not in pairs(split.valid) + pairs(split.test)


@pytest.mark.parametrize("kind", ["per_user_time", "global_time"])
def test_a_time_split_of_a_shop_without_times_says_so(kind: str) -> None:
    config = SplitConfig.model_validate({"kind": kind})
    with pytest.raises(InputError, match=rf"{kind} split needs the time .* 3 interactions carry no timestamp"):
        split_by(events([(0, 0), (0, 1), (0, 2)]), config)


def test_global_time_without_different_times_says_so() -> None:
    with pytest.raises(InputError, match="spread over time"):
        global_time_split(events([(0, i) for i in range(10)], [5.0] * 10))


@pytest.mark.parametrize("kind", ["random", "per_user_time", "global_time"])
def test_a_shop_without_events_is_split_into_three_empty_sides(kind: str) -> None:
    split = split_by(events([], []), SplitConfig.model_validate({"kind": kind}))
    assert (len(split.train), len(split.valid), len(split.test)) == (0, 0, 0)


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match=r"valid_share \+ test_share must be < 1, got 0\.5 \+ 0\.5"):
        SplitConfig(valid_share=0.5, test_share=0.5)


def test_a_pair_on_two_sides_is_refused_as_a_leak() -> None:
    one, other = events([(0, 1), (2, 3)]), events([(2, 3)])
    nothing = events([])
    with pytest.raises(ValueError, match=r"both train and test of split 'leaky', \('u2', 'i3'\)"):
        Split("leaky", one, nothing, other)
    with pytest.raises(ValueError, match=r"both valid and test of split 'leaky', \('u2', 'i3'\)"):
        Split("leaky", nothing, one, other)
    with pytest.raises(ValueError, match=r"held out once, \('u2', 'i3'\) is twice in test"):
        Split("leaky", nothing, nothing, events([(2, 3), (2, 3)]))


def write(path: Path, rows: list[tuple[object, object, object]]) -> Path:
    """The rows as the kind of file the name asks for."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=["user_id", "item_id", "split"])
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        path.write_text("\n".join(json.dumps(row) for row in table.to_dict("records")))
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_split_file_decides_and_pairs_it_does_not_list_are_on_no_side(tmp_path: Path, ending: str) -> None:
    shop = events([(0, 0), (0, 0), (0, 1), (0, 2), (0, 3)])
    path = write(tmp_path / f"mine.{ending}", [("u0", "i2", "test"), ("u0", "i0", "train"), ("u0", "i1", "valid")])
    split = file_split(shop, path)
    assert split.name == "mine"
    assert (pairs(split.train), pairs(split.valid), pairs(split.test)) == ([(0, 0)] * 2, [(0, 1)], [(0, 2)])
    assert split.train.weight.tolist() == [1.0, 2.0]


BAD_ROWS = [
    (("u9", "i0", "train"), "user_id must be one of the shop's users", "'u9'"),
    (("u0", "i99", "train"), "item_id must be one of the shop's items", "'i99'"),
    (("u0", "i1", "dev"), "split must be one of train, valid, test", "'dev'"),
    (("u0", None, "test"), "item_id must be one of the shop's items", "''"),
    (("u1", "i0", "test"), "a listed pair must have an event", "\\('u1', 'i0'\\)"),
    (("u0", "i0", "test"), "a pair must be listed once", "\\('u0', 'i0', 'test'\\)"),
]


@pytest.mark.parametrize(("row", "rule", "value"), BAD_ROWS)
def test_a_bad_row_of_a_split_file_is_an_error_that_names_it(
    tmp_path: Path, row: tuple[object, object, object], rule: str, value: str
) -> None:
    path = write(tmp_path / "s.csv", [("u0", "i0", "train"), row])
    with pytest.raises(InputError, match=f"s.csv, row 1: {rule}.*got {value}"):
        file_split(events([(0, 0), (0, 1)]), path)


def test_with_a_quarantine_bad_rows_are_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", [("u0", "i0", "train"), *(row for row, _, _ in BAD_ROWS), ("u0", "i1", "test")])
    quarantine = Quarantine()
    split = file_split(events([(0, 0), (0, 1)]), path, quarantine=quarantine)
    assert (pairs(split.train), pairs(split.test)) == ([(0, 0)], [(0, 1)])
    assert quarantine.total == len(BAD_ROWS)
    assert [refusal.row for refusal in quarantine.refusals if "listed once" in refusal.rule] == [6]


def test_a_split_file_without_its_columns_or_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    shop = events([(0, 0)])
    (tmp_path / "wrong.csv").write_text("user,item\nu0,i0\n")
    with pytest.raises(InputError, match="must have the columns user_id, item_id, split, 'user_id' is missing"):
        file_split(shop, tmp_path / "wrong.csv")
    with pytest.raises(InputError, match="no usable row"):
        file_split(shop, write(tmp_path / "s.csv", [("u9", "i0", "train")]), quarantine=Quarantine())
    with pytest.raises(InputError, match=r"nowhere.csv is not there"):
        file_split(shop, tmp_path / "nowhere.csv")


def test_a_million_events_are_split_in_seconds() -> None:
    import time

    rng = np.random.default_rng(0)
    n = 1_000_000
    users, items = Vocabulary.of(map(str, range(20_000))), Vocabulary.of(map(str, range(5_000)))
    shop = Interactions(
        users,
        items,
        rng.integers(len(users), size=n),
        rng.integers(len(items), size=n),
        np.full(n, "view", dtype=object),
        np.ones(n, dtype=np.float32),
        rng.random(n),
    )
    started = time.process_time()
    split = per_user_time_split(shop)
    assert time.process_time() - started < 15
    assert len(split.test) == pytest.approx(0.1 * n, rel=0.05)


@pytest.mark.real_data
def test_a_split_file_of_a_real_shop_is_read_in_full(real_data: Path) -> None:
    import pandas as pd

    shop = real_data / "ml100k-posters"
    table = pd.read_parquet(shop / "interactions.parquet")
    items = Vocabulary.of(pd.read_parquet(shop / "items.parquet")["item_id"].tolist())
    users = Vocabulary.of(table["user_id"].tolist())
    interactions = Interactions(
        users,
        items,
        users.idxs(table["user_id"].tolist()),
        items.idxs(table["item_id"].tolist()),
        table["event_type"].to_numpy(dtype=object),
        np.ones(len(table), dtype=np.float32),
    )
    split = file_split(interactions, shop / "split-global-time.parquet")
    assert (len(split.train), len(split.valid), len(split.test)) == (44_300, 5_539, 5_536)
    assert split.summary()["test_items_unseen_in_train"] == 47
