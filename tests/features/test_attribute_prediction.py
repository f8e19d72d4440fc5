from __future__ import annotations

import math

import numpy as np
import pytest

from features.attribute_labels import Labels, known_labels
from features.attribute_pool import Pool
from features.attribute_prediction import AttributeConfig, predict_attribute, predict_from_words
from features.attribute_sources import (
    LinearHead,
    best_ridge,
    log_softmax,
    named,
    neighbor_scores,
    picture_scores,
    value_texts,
    word_scores,
)
from features.catalog import Attributes, Catalog
from features.encoders.shades import PARTS_DIM, WHOLE_DIM
from features.vocabulary import Vocabulary

COLORS = ("black", "blue", "navy blue", "red")


def world(n: int = 800, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one center a color, and each one's color."""
    rng = np.random.default_rng(seed)
    centers = 2 * np.eye(len(COLORS), 10)
    color = rng.integers(0, len(COLORS), n)
    vectors = centers[color] + noise * rng.normal(size=(n, 10)) / 2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), color


def labels_for(color: np.ndarray, known: np.ndarray) -> Labels:
    return Labels("color", COLORS, np.eye(len(COLORS))[color] * known[:, None], known)


def test_missing_values_are_filled_rightly_and_confidence_means_what_it_says() -> None:
    vectors, color = world(1600, noise=2.2)
    known = np.arange(1600) < 800
    found = predict_attribute(labels_for(color, known), vectors, {}, AttributeConfig(threshold=0.7), seed=0)
    right = found.value == color
    assert 0.6 < right[~known].mean() < 0.95  # not all can be told
    assert found.report["accuracy"] == pytest.approx(right[~known].mean(), abs=0.04)
    assert found.report["majority"] == pytest.approx(np.bincount(color[:800]).max() / 800)
    assert found.report["calibration_error"] < 0.05
    filled = found.missing(0.7)
    assert not known[filled].any()
    assert len(filled) / 800 == pytest.approx(found.report["coverage"], abs=0.05)
    assert right[filled].mean() == pytest.approx(found.report["filled_accuracy"], abs=0.04)
    assert right[filled].mean() > right[~known].mean() + 0.03
    for low, high in ((0.3, 0.6), (0.6, 0.85), (0.85, 1.0)):
        here = ~known & (found.confidence >= low) & (found.confidence < high)
        assert right[here].mean() == pytest.approx(found.confidence[here].mean(), abs=0.08)


def test_where_nothing_can_be_told_nothing_is_filled() -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    _, color = world(600)
    found = predict_attribute(labels_for(color, np.arange(600) < 500), vectors, {}, AttributeConfig(), seed=0)
    assert found.report["accuracy"] < 0.4
    assert found.report["coverage"] < 0.02
    assert len(found.missing(0.8)) == 0


def test_a_twin_does_not_teach_its_twin() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(200, 8)), 2, axis=0).astype(np.float32)
    color = np.repeat(rng.integers(0, 4, 200), 2)  # by chance: only a twin could know
    found = predict_attribute(labels_for(color, np.ones(400, dtype=bool)), vectors, {}, AttributeConfig(), seed=0)
    assert found.report["accuracy"] < 0.45


def test_an_item_without_anything_to_look_at_is_not_judged() -> None:
    vectors, color = world(300)
    vectors[250:] = 0
    found = predict_attribute(labels_for(color, np.arange(300) < 200), vectors, {}, AttributeConfig(), seed=0)
    assert (found.value[250:] == -1).all()
    assert np.isnan(found.confidence[250:]).all()
    assert set(found.source[250:]) == {""}
    assert found.missing(0.01).max() < 250


def test_the_same_seed_gives_the_same_answer() -> None:
    vectors, color = world(300, noise=2)
    labels = labels_for(color, np.arange(300) < 200)
    one, two = (predict_attribute(labels, vectors, {}, AttributeConfig(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.confidence, two.confidence)


def test_a_source_that_knows_counts_and_one_that_guesses_does_not() -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(4)[rng.integers(0, 4, 1000)]
    knows = log_softmax(3 * truth + rng.normal(size=(1000, 4)))
    guesses = log_softmax(3 * rng.normal(size=(1000, 4)))
    pool = Pool.fit(np.stack([guesses, knows]), truth)
    assert pool.weights[0] < 0.1
    assert pool.weights[1] > 0.5
    value, confidence = pool(np.stack([guesses, knows]))
    right = truth[np.arange(1000), value] > 0
    assert right.mean() == pytest.approx(confidence.mean(), abs=0.03)


def test_labels_help_where_texts_alone_do_not_and_the_report_names_the_sources() -> None:
    vectors, color = world(600, noise=1.5)
    guesses = {"picture": log_softmax(np.random.default_rng(0).normal(size=(600, 4)))}
    found = predict_attribute(labels_for(color, np.arange(600) < 400), vectors, guesses, AttributeConfig(), seed=0)
    assert list(found.report["weights"]) == ["picture", "neighbors", "head"]
    assert found.report["weights"]["picture"] < 0.2
    assert {part for source in found.source for part in source.split("+")} <= {
        "picture",
        "neighbors",
        "head",
        "all together",
    }
    assert (found.value == color)[400:].mean() > 0.8


def test_a_head_on_colors_tells_what_the_vectors_have_ignored_and_nothing_where_there_is_no_picture() -> None:
    vectors, color = world(600, noise=20.0)
    colors = (np.eye(4)[color] + np.random.default_rng(1).normal(scale=0.45, size=(600, 4))).astype(np.float32)
    colors[500:] = 0
    labels = labels_for(color, np.arange(600) < 400)
    blind = predict_attribute(labels, vectors, {}, AttributeConfig(), seed=0)
    found = predict_attribute(labels, vectors, {}, AttributeConfig(), colors=colors, seed=0)
    assert (blind.value == color)[400:500].mean() < 0.6
    assert (found.value == color)[400:500].mean() > 0.75
    assert found.report["weights"]["colors"] == max(found.report["weights"].values())
    assert found.confidence[500:].max() < AttributeConfig().threshold < found.confidence[400:500].mean()


def test_shades_tell_a_value_by_the_kind_of_item_and_nothing_where_there_is_no_picture() -> None:
    rng = np.random.default_rng(0)
    kind, shade = rng.integers(0, 2, 400), rng.random((400, 2))
    color = (shade[np.arange(400), kind] + 0.1 * rng.normal(size=400) > 0.5).astype(np.int64)
    vectors = (rng.normal(size=(400, 8)) * 0.2 + kind[:, None]).astype(np.float32)  # tells which shade counts, no more
    shades = np.zeros((400, WHOLE_DIM + PARTS_DIM), np.float16)
    shades[:, :2], shades[:, 2:4] = np.sqrt(shade / 2), np.sqrt((1 - shade) / 2)
    shades[350:] = 0
    labels = labels_for(color, np.arange(400) < 250)
    blind = predict_attribute(labels, vectors, {}, AttributeConfig(), seed=0)
    found = predict_attribute(labels, vectors, {}, AttributeConfig(), shades=shades, seed=0)
    assert (blind.value == color)[250:350].mean() < 0.7
    assert (found.value == color)[250:350].mean() > 0.85
    assert found.report["weights"]["shades"] == max(found.report["weights"].values())
    assert found.confidence[350:].max() < AttributeConfig().threshold < found.confidence[250:350].mean()


class Space:
    """A shared space in which a text's and a picture's first numbers are their place."""

    def embed_text(self, text: np.ndarray) -> np.ndarray:
        return (text[:, :4] / np.linalg.norm(text[:, :4], axis=1, keepdims=True)).astype(np.float32)

    def embed_image(self, image: np.ndarray) -> np.ndarray:
        return self.embed_text(image)


def test_pictures_are_told_by_the_values_texts_without_any_label() -> None:
    vectors, color = world(400)
    value_vectors = np.eye(4, 10, dtype=np.float32)[:, None, :].repeat(2, axis=1)
    # a text that is near to every picture says nothing of any of them: its scores are corrected by their mean
    everyone = vectors[:, :4].mean(axis=0)
    value_vectors[1, :, :4] = 0.8 * value_vectors[1, :, :4] + 0.5 * everyone / np.linalg.norm(everyone)
    vectors[7] = 0
    scores = picture_scores(Space(), value_vectors, vectors, vectors)
    seen = np.arange(400) != 7
    assert (scores.argmax(axis=1) == color)[seen].mean() > 0.9
    np.testing.assert_allclose(scores[7], np.log(0.25))
    nothing_known = labels_for(color, np.zeros(400, dtype=bool))
    found = predict_attribute(nothing_known, vectors, {"picture": scores}, AttributeConfig(), seed=0)
    assert (found.value == color)[seen].mean() > 0.9
    assert found.report["calibrated"] is False
    assert math.isnan(found.report["accuracy"])
    assert found.report["labeled"] == 0
    assert found.value[7] == -1


def test_words_that_name_a_value_teach_items_whose_words_do_not() -> None:
    vectors, color = world(600)
    names = np.eye(4, dtype=bool)[color] & (np.arange(600) < 300)[:, None]
    names[5] = (True, True, False, False)  # names two: teaches nothing
    labels = labels_for(color, np.zeros(600, dtype=bool))
    found = predict_from_words(labels, names, vectors, {}, AttributeConfig(), read=True, seed=0)
    assert found.report["taught_by_words"] == 299
    assert (found.value == color)[300:].mean() > 0.9
    assert set(found.source[:5]) == {"words"}
    assert found.source[5] != "words"
    assert found.confidence[0] == pytest.approx(min(0.953, found.report["accuracy"]), abs=0.001)
    assert found.report["never_named"] == []
    assert len(found.missing(0.8)) > 400
    looked = predict_from_words(labels, names, vectors, {}, AttributeConfig(), read=False, seed=0)
    assert "words" not in set(looked.source)
    measured = labels_for(color, np.arange(600) >= 300)
    told = predict_from_words(measured, names, vectors, {}, AttributeConfig(), read=True, seed=0)
    assert told.report["labeled"] == 300
    assert told.report["accuracy"] == pytest.approx((found.value == color)[300:].mean())


def test_names_that_do_not_go_with_what_is_seen_are_not_trusted() -> None:
    vectors, color = world(600)
    by_chance = np.eye(4, dtype=bool)[np.random.default_rng(1).integers(0, 3, 600)]
    labels = labels_for(color, np.zeros(600, dtype=bool))
    found = predict_from_words(labels, by_chance, vectors, {}, AttributeConfig(), read=True, seed=0)
    assert found.confidence.max() < 0.5
    assert found.report["never_named"] == ["red"]


def test_values_are_named_by_whole_words_the_longest_first() -> None:
    texts = ["Nike Navy Blue T-Shirts", "blueberry jam", "BLUE, red", "Men's shoes", ""]
    values = ("Blue", "Navy Blue", "Red", "Apparel > Tshirts", "Shoe")
    assert [[values[at] for at in np.flatnonzero(row)] for row in named(texts, values)] == [
        ["Navy Blue", "Apparel > Tshirts"],
        [],
        ["Blue", "Red"],
        ["Shoe"],
        [],
    ]
    scores = np.exp(word_scores(texts, values))
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert scores[3, 4] / scores[3, 0] == pytest.approx(math.exp(3))
    np.testing.assert_allclose(scores[4], 0.2)
    assert value_texts("color", "navy blue") == ("color: navy blue", "navy blue")
    assert value_texts("category", "Apparel > Topwear") == ("category: Topwear, Apparel", "Topwear, Apparel")


def test_neighbors_vote_by_nearness() -> None:
    angles = np.deg2rad([0, 10, 20, 90, 100, 48])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    shares = np.eye(2)[[0, 0, 1, 1, 1, 0]]
    learned, asked = np.array([0, 1, 2, 3, 4]), np.array([5])
    got = np.exp(neighbor_scores(vectors, shares, learned, asked, k=3)[0])
    cosine = vectors[[2, 1, 3]] @ vectors[5]
    order = np.argsort(-cosine)
    weight = np.exp(-(cosine.max() - cosine) / (cosine.max() - cosine.min()))
    vote = weight @ shares[[2, 1, 3]] + np.array([2.5, 3.5]) / 6  # the shares of all, as one neighbor more
    np.testing.assert_allclose(got, vote / vote.sum(), rtol=1e-4)
    assert order[0] == 0
    vectors[5] = 0
    alone = np.exp(neighbor_scores(vectors, shares, learned, asked, k=3)[0])
    np.testing.assert_allclose(alone, [2.5 / 6, 3.5 / 6])


def test_the_linear_head_finds_a_planted_rule_and_its_penalty_follows_the_noise() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20)).astype(np.float32)
    y = np.eye(2)[(x[:, 0] + x[:, 1] > 0).astype(int)]
    head = LinearHead(x[:300], y[:300], ridge=1e-3)
    assert (head(x[300:]).argmax(axis=1) == y[300:].argmax(axis=1)).mean() > 0.95
    np.testing.assert_allclose(np.exp(head(x)).sum(axis=1), 1)
    chance = np.eye(2)[rng.integers(0, 2, 400)]
    assert best_ridge(x, chance, seed=0) > best_ridge(x, y, seed=0)


def catalog(facts: list[tuple[int, str, str]], n: int = 4) -> Catalog:
    blank = np.full(n, "", dtype=object)
    return Catalog(
        items=Vocabulary(tuple(f"i{row}" for row in range(n))),
        title=blank,
        description=blank,
        image=blank,
        price=np.full(n, np.nan),
        available=np.ones(n, dtype=bool),
        attributes=Attributes.of(facts),
    )


def test_labels_are_read_by_level_and_several_share_one() -> None:
    paths = [["A", "A > B", "A > B > C"], ["A", "A > B"], ["A"]]
    facts = [(row, "category", value) for row, values in enumerate(paths) for value in values]
    facts += [(0, "genre", "drama"), (0, "genre", "crime"), (1, "genre", "drama"), (1, "genre", "rare")]
    shop = catalog(facts)
    second = known_labels(shop, "category", level=2)
    assert (second.values, second.known.tolist()) == (("A > B",), [True, True, False, False])
    longest = known_labels(shop, "category", min_count=1)
    assert longest.values == ("A", "A > B", "A > B > C")
    np.testing.assert_array_equal(longest.share[:3], np.eye(3)[::-1])
    genre = known_labels(shop, "genre", min_count=2)
    assert genre.values == ("drama",)
    given = known_labels(shop, "genre", values=("crime", "drama", "noir"))
    np.testing.assert_array_equal(given.share[:2], [[0.5, 0.5, 0], [0, 1, 0]])
    assert given.known.tolist() == [True, True, False, False]


def test_what_cannot_be_predicted_is_refused() -> None:
    vectors, color = world(30)
    with pytest.raises(ValueError, match="must have 40 labeled items, it has 30"):
        predict_attribute(labels_for(color, np.ones(30, dtype=bool)), vectors, {}, AttributeConfig(), seed=0)
    empty = Labels("color", (), np.zeros((30, 0)), np.zeros(30, dtype=bool))
    with pytest.raises(ValueError, match="must have values"):
        predict_attribute(empty, vectors, {}, AttributeConfig(), seed=0)
