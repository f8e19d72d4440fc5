from __future__ import annotations

import hashlib

import numpy as np
import pytest

from features.catalog import Attributes
from features.errors import InputError
from features.match.fine.labels import drawing_weights, labels_of
from features.match.fine.parts import PartsConfig, fold_of, split_listings
from features.match.fine.ranking import both_ways, metrics_at, places, reordered
from features.match.fine.words import WordList, words_of

CONTENT = [hashlib.sha1(bytes([n % 256, n // 256]), usedforsecurity=False).hexdigest()[:16] for n in range(600)]


def test_words_are_read_once_and_in_every_script() -> None:
    assert words_of("Levi's Men's T-Shirt, men 501!") == ["levi", "men", "tshirt", "501"]
    assert words_of("红色 T恤") == ["红", "色", "t", "恤"]


def test_rare_words_are_unknown_and_rows_are_filled_up() -> None:
    known = WordList.of(["red shoe", "red hat", "blue shoe"], least=2)
    assert known.words == ("red", "shoe")
    assert known.ids(["shoe red", "green", "red"]).tolist() == [[1, 0], [2, 2], [0, 2]]


def test_the_test_part_follows_from_the_pictures_bytes_alone() -> None:
    config = PartsConfig()
    parts = split_listings(CONTENT, np.ones(600, dtype=bool), config)
    assert parts.test.tolist() == [row for row in range(600) if int(CONTENT[row][:8], 16) % 6 == 0]
    assert sorted([*parts.train, *parts.valid, *parts.test]) == list(range(600))
    assert 30 < len(parts.valid) < 60
    turned = split_listings(CONTENT[::-1], np.ones(600, dtype=bool), config)
    assert sorted(599 - turned.test) == parts.test.tolist()


def test_unused_residues_and_unpaired_listings_take_no_part() -> None:
    paired = np.arange(600) % 2 == 0
    parts = split_listings(CONTENT, paired, PartsConfig(residue=1, unused=(0,)))
    every = np.concatenate([parts.train, parts.valid, parts.test])
    assert (every % 2 == 0).all()
    assert not any(int(CONTENT[row][:8], 16) % 6 == 0 for row in every)
    with pytest.raises(ValueError, match="residue must be below parts"):
        PartsConfig(residue=6)


def test_a_shop_too_small_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="at least 24 listings with words and a picture to learn from, there are"):
        split_listings(CONTENT[:20], np.ones(20, dtype=bool), PartsConfig())


def test_equal_pictures_share_a_fold() -> None:
    fold = fold_of([CONTENT[0], CONTENT[1], CONTENT[0], ""], 4)
    assert fold[0] == fold[2]
    assert fold[3] == -1
    assert set(fold_of(CONTENT, 4).tolist()) == {0, 1, 2, 3}


def test_a_path_has_a_label_a_level_and_unseen_values_none() -> None:
    facts = [(row, "kind", value) for row in range(4) for value in ("A", "A > x" if row < 2 else "A > y")]
    facts += [(row, "color", "red" if row % 2 else "blue") for row in range(4)] + [(3, "color", "green")]
    labels = labels_of(Attributes.of(facts), 4, known=np.array([True, True, True, True]))
    by_name = {label.name: label for label in labels}
    assert set(by_name) == {"kind 2", "color"}  # "kind 1" has one value only
    assert by_name["kind 2"].of.tolist() == [0, 0, 1, 1]
    assert by_name["color"].of.tolist() == [0, 1, 0, -1]  # two colors are none
    few = labels_of(Attributes.of(facts), 4, known=np.array([True, False, True, False]))
    assert [label.name for label in few] == ["kind 2"]


def test_weights_make_classes_alike() -> None:
    facts = [(row, "color", "red" if row else "blue") for row in range(4)]
    label = labels_of(Attributes.of(facts), 4)[0]
    np.testing.assert_allclose(label.weights(0.0), [1, 1])
    np.testing.assert_allclose(label.weights(1.0), [2, 2 / 3])  # 1/4 and 3/4 of the listings: both weigh 1/2 in total
    draw = drawing_weights(label, np.arange(4), 1.0)
    assert draw is not None
    np.testing.assert_allclose(draw, [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert drawing_weights(label, np.arange(4), 0.0) is None


def test_places_count_who_is_ahead_and_half_of_the_ties() -> None:
    likeness = np.array([[3.0, 1, 1], [2, 2, 2], [5, 6, 4]])
    assert places(likeness).tolist() == [0, 1, 2]
    found = metrics_at(places(likeness))
    assert found["recall@1"] == pytest.approx(1 / 3)
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / 2) / 3)
    assert np.isnan(metrics_at(np.zeros(0))["mrr"])
    columns = metrics_at(places(likeness.T))["mrr"]
    assert both_ways(likeness)["mrr"] == pytest.approx((found["mrr"] + columns) / 2)


def test_ordering_again_moves_only_what_was_found() -> None:
    order = np.array([[2, 0], [0, 2], [1, 2]])
    place = np.array([1.0, 7.0, 1.0])
    again = reordered(place, order, np.array([[0.1, 0.9], [0.5, 0.4], [0.9, 0.1]]))
    assert again.tolist() == [0, 7, 1]
