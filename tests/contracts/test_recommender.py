"""What every `Recommender` promises; a new one only joins the list of makers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.bundle import Bundle
from recsys.index import ApproximateIndex
from recsys.index_choice import build_ivf
from recsys.recommendation import Recommender, UserState
from recsys.recommender import BundleRecommender

N_ITEMS = 60
UNAVAILABLE = "i57"
LADDER = ("personalized", "published", "content", "popular_in_category", "popular")
"""Tiers, best first; a lower one fills what the upper ones leave open."""

KINDS = ("exact", "approximate", "without embeddings", "without anything but popularity")


@pytest.fixture(params=KINDS)
def recommender(request: pytest.FixtureRequest, small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Recommender:
    """Recommenders of 60 items `i0`..`i59` and users `u0`..`u19`, of which `i57` cannot be bought."""
    bundle = Bundle.open(small_bundle)
    if request.param == "approximate":
        monkeypatch.setattr(
            "recsys.pipeline.retrieval.index_of",
            lambda bundle: ApproximateIndex(bundle.item_vectors, build_ivf(bundle.item_vectors)),
        )
    if request.param.startswith("without"):
        object.__setattr__(bundle, "item_vectors", np.zeros_like(bundle.item_vectors))
    if request.param == "without anything but popularity":
        object.__setattr__(bundle, "neighbors", {})
        object.__setattr__(bundle.similar, "idx", np.full_like(bundle.similar.idx, -1))
        object.__setattr__(bundle, "category_attribute", "")
    return BundleRecommender(bundle)


item_ids = st.integers(0, N_ITEMS + 5).map("i{}".format)  # i60 and up are unknown
users = st.builds(
    UserState,
    user_id=st.none() | st.integers(0, 22).map("u{}".format),
    recent_items=st.lists(item_ids, max_size=70).map(tuple),
    seen=st.frozensets(item_ids, max_size=70),
    category=st.sampled_from(["", "Kitchen", "Apparel > Shoe", "Garden"]),
)
over_shops = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@over_shops
@given(user=users, k=st.integers(1, 100), exclude=st.frozensets(item_ids, max_size=70))
def test_a_feed_keeps_every_promise(recommender: Recommender, user: UserState, k: int, exclude: frozenset[str]) -> None:
    feed = recommender.recommend(user, k, exclude)
    shown = [r.item_id for r in feed]
    catalog = {f"i{row}" for row in range(N_ITEMS)}
    assert len(shown) == len(set(shown)) <= k
    assert not set(shown) & exclude
    assert set(shown) <= catalog
    assert bool(shown) == bool(catalog - exclude)
    unseen = catalog - exclude - set(user.recent_items) - user.seen - {UNAVAILABLE}
    if set(shown) <= unseen:
        return
    # something had to be shown again: nothing new may have been left
    trained = {f"i{row}" for row in trained_items(recommender, user)}
    assert not unseen - trained


def trained_items(recommender: Recommender, user: UserState) -> list[int]:
    bundle = recommender.bundle  # type: ignore[attr-defined]
    return bundle.seen(bundle.users.idx(user.user_id)).tolist() if user.user_id in bundle.users else []


@over_shops
@given(user=users, k=st.integers(1, 100))
def test_a_feed_fills_all_slots_there_is_something_new_for(recommender: Recommender, user: UserState, k: int) -> None:
    hidden = {int(item[1:]) for item in {*user.recent_items, *user.seen, UNAVAILABLE} if int(item[1:]) < N_ITEMS}
    new = N_ITEMS - len(hidden | set(trained_items(recommender, user)))
    if new:
        assert len(recommender.recommend(user, k)) == min(k, new)


@over_shops
@given(user=users, k=st.integers(1, 100))
def test_tiers_come_in_order_and_scores_fall_within_them(recommender: Recommender, user: UserState, k: int) -> None:
    feed = recommender.recommend(user, k)
    tiers = [LADDER.index(r.source) for r in feed]
    assert tiers == sorted(tiers)
    for source in ("personalized", "published", "content", "popular"):
        scores = [r.score for r in feed if r.source == source]
        assert scores == sorted(scores, reverse=True)
    assert all(isinstance(r.score, float) and np.isfinite(r.score) for r in feed)
    assert all(len(r.reasons) <= 3 and all(r.reasons) for r in feed)


@over_shops
@given(page=st.integers(0, N_ITEMS - 1), k=st.integers(1, 100), exclude=st.frozensets(item_ids, max_size=30))
def test_similar_items_keep_every_promise(recommender: Recommender, page: int, k: int, exclude: frozenset[str]) -> None:
    shown = [r.item_id for r in recommender.similar_items(f"i{page}", k, exclude)]
    allowed = {f"i{row}" for row in range(N_ITEMS)} - exclude - {f"i{page}", UNAVAILABLE}
    assert len(shown) == len(set(shown)) == min(k, len(allowed))
    assert set(shown) <= allowed


def test_a_short_answer_is_the_head_of_a_long_one(recommender: Recommender) -> None:
    user = UserState("u3", recent_items=("i8", "i13"))
    long = [r.item_id for r in recommender.recommend(user, 30)]
    assert [r.item_id for r in recommender.recommend(user, 7)] == long[:7]
    assert [r.item_id for r in recommender.similar_items("i4", 7)] == [
        r.item_id for r in recommender.similar_items("i4", 30)
    ][:7]


def test_an_unknown_item_has_no_similar_items(recommender: Recommender) -> None:
    with pytest.raises(KeyError, match="unknown id 'nothing'"):
        recommender.similar_items("nothing", 5)


@pytest.mark.parametrize("ask", [lambda r: r.recommend(UserState(), 0), lambda r: r.similar_items("i0", 0)])
def test_zero_slots_are_refused(recommender: Recommender, ask: Callable[[Recommender], object]) -> None:
    with pytest.raises(ValueError, match="k must be >= 1"):
        ask(recommender)
