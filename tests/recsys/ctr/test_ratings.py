from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.ctr.knowledge import FactGraph
from recsys.ctr.ratings import Ratings, read_ratings, six_two_two


def write(folder: Path, rows: list[tuple[object, object, object]]) -> None:
    pd.DataFrame(rows, columns=["user_idx", "item_idx", "label"], dtype=object).to_csv(
        folder / "ratings.csv", index=False
    )


def test_ratings_are_read_and_each_bad_row_is_kept_in_quarantine_with_its_rule(tmp_path: Path) -> None:
    write(tmp_path, [(7, 3, 1), (7, 4, 0), (7, 3, 0), (None, 3, 1), (8, None, 1), (8, 3, 2), (9, 3, "x"), (8, 4, 1)])
    quarantine = Quarantine()
    ratings = read_ratings(tmp_path, quarantine=quarantine)
    assert (tuple(ratings.users), tuple(ratings.items)) == (("7", "8"), ("3", "4"))  # 9 has no row that is kept
    assert list(zip(ratings.user_idx, ratings.item_idx, ratings.label, strict=True)) == [
        (0, 0, 1),
        (0, 1, 0),
        (1, 1, 1),
    ]
    assert [(refusal.row, refusal.rule) for refusal in sorted(quarantine.refusals, key=lambda one: one.row or 0)] == [
        (2, "a pair is rated once"),
        (3, "user_idx is missing"),
        (4, "item_idx is missing"),
        (5, "label must be 0 or 1"),
        (6, "label must be 0 or 1"),
    ]


def test_a_folder_that_cannot_be_used_is_refused_with_its_rule(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold a ratings table"):
        read_ratings(tmp_path, quarantine=Quarantine())
    write(tmp_path, [(1, 2, 1), (1, 3, 1)])
    with pytest.raises(InputError, match=r"both labels, 0 and 1, it has \[1\]"):
        read_ratings(tmp_path, quarantine=Quarantine())
    (tmp_path / "ratings.csv").write_text("user_idx,item_idx\n1,2\n")
    with pytest.raises(InputError, match="'label' is missing"):
        read_ratings(tmp_path, quarantine=Quarantine())


def test_a_split_is_six_two_two_over_all_rows_and_follows_the_seed(ratings: Ratings) -> None:
    sides = six_two_two(ratings, seed=1)
    n = len(ratings)
    assert [len(side) for side in sides] == [round(0.6 * n), round(0.8 * n) - round(0.6 * n), n - round(0.8 * n)]

    def keys(side: Ratings) -> set[tuple[int, int]]:
        return set(zip(side.user_idx.tolist(), side.item_idx.tolist(), strict=True))

    assert sum(len(keys(side)) for side in sides) == len(set().union(*map(keys, sides))) == n
    assert keys(six_two_two(ratings, seed=1)[2]) == keys(sides[2]) != keys(six_two_two(ratings, seed=2)[2])


def test_numbers_in_facts_are_items_where_items_have_them_and_entities_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, [(0, 10, 1), (0, 11, 0)])
    pd.DataFrame(
        [(10, "by", 99), (98, "of", 11), (10, "like", 11), (10, "by", 10)], columns=["head_idx", "relation", "tail_idx"]
    ).to_csv(tmp_path / "triples.csv", index=False)
    quarantine = Quarantine()
    ratings = read_ratings(tmp_path, quarantine=quarantine)
    facts = FactGraph.read(tmp_path, ratings, quarantine=quarantine)
    assert set(facts.facts) == {
        ("item", "fact:by", "entity"),
        ("entity", "fact:of", "item"),
        ("item", "fact:like", "item"),
    }
    assert quarantine.counts == {"head and tail must differ": 1}
    np.testing.assert_array_equal(facts.item_facts().toarray(), [[0, 1, 1, 0], [1, 0, 0, 1]])
    graph = facts.with_likes(ratings.liked())
    assert graph.edges["user", "like", "item"].dst.tolist() == [0]
