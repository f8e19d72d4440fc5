from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.pipeline.likeness import Likeness
from recsys.pipeline.request import Request
from recsys.pipeline.taste import Taste
from recsys.recommendation import PARTS, Part, UserState
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


def naive(bundle: Bundle, page: int, item: int) -> dict[Part, float]:
    """The four parts of a likeness, one pair at a time, from the raw data of the small bundle."""
    liked_by = [{user for user in range(20) if row in bundle.seen(user)} for row in (page, item)]
    same_kind = bundle.display(page)["attributes"]["category"][-1] in bundle.display(item)["attributes"]["category"]
    met = np.sqrt(max(1, len(liked_by[0])) * max(1, len(liked_by[1])))
    return {
        "image": cosine(bundle.image_vectors[page], bundle.image_vectors[item]),
        "text": cosine(bundle.text_vectors[page], bundle.text_vectors[item]),
        "behavior": cosine(bundle.item_embeddings[page], bundle.item_embeddings[item]),
        "complement": 0.0 if same_kind else len(liked_by[0] & liked_by[1]) / met,
    }


@pytest.mark.parametrize(
    "weights",
    [{"image": 1.0}, {"text": 2.0}, {"behavior": 1.0}, {"image": 1.0, "text": 0.5, "behavior": 3.0, "complement": 1.0}],
)
def test_each_mixture_ranks_as_a_naive_loop_over_all_items(small_bundle: Path, weights: dict[Part, float]) -> None:
    bundle = Bundle.open(small_bundle)
    recommender = BundleRecommender(bundle)
    for page in (0, 3, 44):
        score = {
            item: sum(weights[part] * naive(bundle, page, item)[part] for part in weights) / sum(weights.values())
            for item in range(60)
            if item != page and bundle.available[item]
        }
        best = sorted((item for item in score if score[item] > 0), key=lambda item: -score[item])[:8]
        shown = recommender.answer(Request(8, page=f"i{page}", weights=weights))
        assert [one.item_id for one in shown] == [f"i{item}" for item in best]
        np.testing.assert_allclose([one.score for one in shown], [score[item] for item in best], rtol=1e-4)
        for one, item in zip(shown, best, strict=True):
            parts = naive(bundle, page, item)
            assert one.source == max(weights, key=lambda part: weights[part] * parts[part])
    split = recommender.likeness.split(3, np.arange(60))
    for part in PARTS:
        expected = [naive(bundle, 3, item)[part] for item in range(60)]
        np.testing.assert_allclose(np.nan_to_num(split[part]), expected, atol=1e-5)
    assert np.isnan(split["image"][59])  # it has no picture: unknown, not unlike


def test_a_complement_is_met_by_the_same_users_and_is_no_substitute(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        np.zeros((5, 2)),
        attributes=[{"category": [kind]} for kind in ("tent", "tent", "stove", "lamp", "lamp")],
        popularity=[4, 9, 4, 16, 1],
        together={(0, 1): 4, (0, 2): 2, (0, 3): 4},
    )
    recommender = BundleRecommender(bundle)
    shown = recommender.answer(Request(2, page="i0", weights={"complement": 1.0}))
    # 2 / sqrt(4 x 4) = .5, and 4 / sqrt(4 x 16) = .5: of equal ones the lower row; the other tent is none
    assert [(one.item_id, one.score, one.source) for one in shown] == [
        ("i2", 0.5, "complement"),
        ("i3", 0.5, "complement"),
    ]


def test_what_the_parts_do_not_fill_the_ladder_does(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        np.array([[1.0, 0], [0.6, 0.8], [-1, 0], [0, 0]]), lists={"published": {0: [(2, 0.3)]}}, popularity=[1, 1, 1, 2]
    )
    shown = BundleRecommender(bundle).answer(Request(5, page="i0", weights={"behavior": 1.0}))
    assert [(one.item_id, one.source) for one in shown] == [("i1", "behavior"), ("i2", "published"), ("i3", "popular")]
    assert Likeness(bundle).ranked(3, {"behavior": 1.0}, np.zeros(4, dtype=np.bool_), 5).rows.tolist() == []


def test_taste_orders_similar_items_as_far_as_it_is_weighed(make_bundle: MakeBundle) -> None:
    likeness = {0: [(1, 0.9), (2, 0.8), (3, 0.1)]}
    embeddings = np.array([[0.0, 0], [0, 1], [1, 0], [0.9, 0]])
    bundle = make_bundle(embeddings, users=np.array([[1.0, 0.0]]), lists={"published": likeness})
    recommender = BundleRecommender(bundle)

    def shown(weight: float, user: UserState) -> list[str]:
        found = recommender.answer(Request(3, user, page="i0", pool=3), [Taste(weight)])
        return [one.item_id for one in found]

    known = UserState("u0")
    assert shown(0.0, known) == ["i1", "i2", "i3"]
    # likeness 1, .875, 0 and taste 0, 1, .9: half and half .5, .9375, .45
    assert shown(0.5, known) == ["i2", "i1", "i3"]
    assert shown(1.0, known) == ["i2", "i3", "i1"]
    assert shown(1.0, UserState("nobody")) == ["i1", "i2", "i3"]


@pytest.mark.parametrize(
    ("weights", "page", "says"),
    [
        ({"image": -1.0}, "i0", "image has -1.0"),
        ({"text": float("nan")}, "i0", "text has nan"),
        ({"text": 0.0}, "i0", "all are 0"),
        ({"text": 1.0}, None, "need a page"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights: dict[Part, float], page: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Request(3, page=page, weights=weights)
