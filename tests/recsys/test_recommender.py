from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.live_user import LiveConfig
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender, RecommenderConfig

MakeBundle = Callable[..., Bundle]


def test_a_user_is_shown_their_own_taste_and_nothing_just_seen(two_tastes: Bundle) -> None:
    user = UserState("u4", recent_items=("i0", "i2"))
    shown = BundleRecommender(two_tastes).recommend(user, k=3)
    assert [r.item_id for r in shown] == ["i4", "i6", "i8"]
    assert {r.source for r in shown} == {"personalized"}


def test_training_items_are_left_out_unless_asked_for(two_tastes: Bundle) -> None:
    hiding = BundleRecommender(two_tastes)
    assert [r.item_id for r in hiding.recommend(UserState("u0"), k=3)] == ["i4", "i6", "i8"]
    showing = BundleRecommender(two_tastes, RecommenderConfig(hide_seen=False))
    assert [r.item_id for r in showing.recommend(UserState("u0"), k=3)] == ["i0", "i2", "i4"]
    bought = UserState("u0", seen=frozenset({"i0", "unheard of"}))
    assert [r.item_id for r in showing.recommend(bought, k=3)] == ["i2", "i4", "i6"]


def test_one_view_of_the_other_taste_turns_a_visitors_feed_and_mixes_a_users(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    visitor = [r.item_id for r in recommender.recommend(UserState(recent_items=("i1",)), k=4)]
    assert visitor == ["i3", "i5", "i7", "i9"]
    before = [r.item_id for r in recommender.recommend(UserState("u2"), k=5)]
    once = [r.item_id for r in recommender.recommend(UserState("u2", ("i1",)), k=5)]
    often = [r.item_id for r in recommender.recommend(UserState("u2", ("i1", "i3", "i5")), k=5)]
    assert before == ["i0", "i2", "i4", "i6", "i8"]
    # one view weighs as much as the history: i0 .50, i2 .45, i3 .85 / 2, i4 .40, i5 .75 / 2
    assert once == ["i0", "i2", "i3", "i4", "i5"]
    # W = 1 + 2^-.2 + 2^-.4 = 2.63, so .725 against .275: i7 .65 x .725, i9 .55 x .725, i0 .275, i2 .25, i4 .22
    assert often == ["i7", "i9", "i0", "i2", "i4"]


def test_ranking_agrees_with_a_naive_loop_over_the_catalog(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    live = LiveConfig(half_life_items=3, patience=1.5)
    recommender = BundleRecommender(bundle, RecommenderConfig(live=live))
    for user in range(18):
        recent = [f"i{(7 * user + step) % 60}" for step in range(3)]
        weights = [0.5 ** (2 / 3), 0.5 ** (1 / 3), 1.0]
        total = sum(weights)
        mean = sum(w * bundle.item_embeddings[int(i[1:])].astype(float) for w, i in zip(weights, recent, strict=True))
        trained = bundle.user_embeddings[user].astype(float)
        share = total / (total + 1.5)
        vector = (1 - share) * trained + share * np.linalg.norm(trained) * mean / np.linalg.norm(mean)
        seen = {f"i{row}" for row in bundle.seen(user)}
        allowed = [i for i in range(60) if f"i{i}" not in seen | set(recent) and bundle.available[i]]
        naive = sorted(allowed, key=lambda i: -float(vector @ bundle.item_embeddings[i]))[:10]
        shown = recommender.recommend(UserState(f"u{user}", tuple(recent)), k=10)
        assert [r.item_id for r in shown] == [f"i{i}" for i in naive]
        np.testing.assert_allclose(
            [r.score for r in shown], [vector @ bundle.item_embeddings[i] for i in naive], rtol=1e-4
        )


def test_an_items_prior_counts_once_whoever_asks(make_bundle: Callable[..., Bundle]) -> None:
    items = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    bundle = make_bundle(items, prior=[0.0, 0.1, 0.85], users=np.array([[1.0, 0.0]]))
    recommender = BundleRecommender(bundle)
    known = recommender.recommend(UserState("u0"), k=3)
    assert [(r.item_id, pytest.approx(r.score)) for r in known] == [("i0", 1.0), ("i1", 0.9), ("i2", 0.85)]
    visitor = recommender.recommend(UserState(None, ("i0",)), k=2)
    assert [(r.item_id, pytest.approx(r.score)) for r in visitor] == [("i1", 0.9), ("i2", 0.85)]


def test_of_a_repeated_view_only_the_newest_counts(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    again = recommender.recommend(UserState(recent_items=("i0", "i1", "i0")), k=5)
    assert again == recommender.recommend(UserState(recent_items=("i1", "i0")), k=5)
    aged = UserState(recent_items=("i0", "i1", "i0"), recent_ages_s=(9.0, 5.0, 1.0))
    assert recommender.recommend(aged, k=5) == recommender.recommend(
        UserState(recent_items=("i1", "i0"), recent_ages_s=(5.0, 1.0)), k=5
    )


def test_only_the_newest_views_shape_a_feed_and_all_of_them_are_left_out(two_tastes: Bundle) -> None:
    views = ("i1", "i3", "i5", "i0")
    brief = BundleRecommender(two_tastes, RecommenderConfig(max_recent=1))
    newest = [slot.item_id for slot in brief.recommend(UserState(recent_items=views), k=4)]
    assert newest == ["i2", "i4", "i6", "i8"]  # nothing is left of the odd taste
    assert newest == [slot.item_id for slot in brief.recommend(UserState(recent_items=("i0",)), k=4)]
    whole = brief.recommend(UserState(recent_items=views), k=10)
    assert not {slot.item_id for slot in whole} & set(views)
    by_all = BundleRecommender(two_tastes).recommend(UserState(recent_items=views), k=1)
    assert by_all[0].item_id == "i7"


def test_old_views_fade(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    fresh = UserState(recent_items=("i1", "i0"), recent_ages_s=(0.0, 0.0))
    stale = UserState(recent_items=("i1", "i0"), recent_ages_s=(0.0, 30 * 86_400.0))
    assert recommender.recommend(fresh, k=1)[0].item_id == "i2"
    assert recommender.recommend(stale, k=1)[0].item_id == "i3"


# --- the ladder, tier by tier -----------------------------------------------------------------------------------------


@pytest.fixture
def ladder(make_bundle: MakeBundle) -> Bundle:
    """i0 has a vector; i1 only a published list, i2 only content, i3 only a category, i4 nothing; i5..i9 are found."""
    embeddings = np.zeros((10, 2))
    embeddings[[0, 5]] = [1.0, 0.5]
    category = [{"category": [name]} for name in "AAABCAAABC"]
    return make_bundle(
        embeddings,
        users=np.array([[0.0, 0.0]]),
        seen=[[1]],
        lists={"published": {1: [(6, 0.9)]}, "text": {2: [(7, 0.8)]}, "image": {2: [(7, 0.3)]}},
        attributes=[entry if row not in (4, 9) else {} for row, entry in enumerate(category)],
        popularity=[0, 0, 0, 0, 0, 1, 2, 3, 4, 9],
    )


@pytest.mark.parametrize(
    ("user", "first", "source"),
    [
        (UserState(recent_items=("i0",)), "i5", "personalized"),
        (UserState(recent_items=("i1",)), "i6", "published"),
        (UserState("u0"), "i6", "published"),  # no vector, but a history to go by
        (UserState(recent_items=("i2",)), "i7", "content"),
        (UserState(recent_items=("i3",)), "i8", "popular_in_category"),
        (UserState(category="B"), "i8", "popular_in_category"),
        (UserState(recent_items=("i4",)), "i9", "popular"),
        (UserState(), "i9", "popular"),
        (UserState("never seen", ("nor", "these")), "i9", "popular"),
    ],
)
def test_each_tier_answers_where_those_above_have_nothing(
    ladder: Bundle, user: UserState, first: str, source: str
) -> None:
    feed = BundleRecommender(ladder).recommend(user, k=10)
    assert (feed[0].item_id, feed[0].source) == (first, source)
    assert feed[-1].source == "popular"
    assert len(feed) == 10 - len(set(user.recent_items) & set(ladder.items)) - (user.user_id == "u0")


def test_similar_items_go_down_the_same_ladder(ladder: Bundle) -> None:
    recommender = BundleRecommender(ladder)
    first = {page: recommender.similar_items(page, k=1)[0] for page in ("i1", "i2", "i3", "i4")}
    assert {page: (shown.item_id, shown.source) for page, shown in first.items()} == {
        "i1": ("i6", "published"),
        "i2": ("i7", "content"),
        "i3": ("i8", "popular_in_category"),
        "i4": ("i9", "popular"),
    }
    whole = [(shown.item_id, shown.source) for shown in recommender.similar_items("i1", k=9)]
    in_category = [("i7", "popular_in_category"), ("i5", "popular_in_category")]
    assert whole[:3] == [("i6", "published"), *in_category]
    assert len({item for item, _ in whole}) == 9


def test_similar_items_of_an_unknown_item_are_an_error(two_tastes: Bundle) -> None:
    with pytest.raises(KeyError, match="unknown id 'i99'"):
        BundleRecommender(two_tastes).similar_items("i99", k=3)


def test_what_cannot_be_bought_is_in_no_answer(make_bundle: MakeBundle) -> None:
    vectors = np.array([[1.0], [0.9], [0.8], [0.7]])
    bundle = make_bundle(vectors, lists={"published": {0: [(1, 0.9), (2, 0.5)]}}, unavailable=frozenset({1}))
    recommender = BundleRecommender(bundle)
    assert [r.item_id for r in recommender.similar_items("i0", k=4)] == ["i2", "i3"]
    assert [r.item_id for r in recommender.recommend(UserState(recent_items=("i0",)), k=4)] == ["i2", "i3"]
    # the page of an item that has sold out still shows what is like it
    assert [r.item_id for r in recommender.similar_items("i1", k=4)] == ["i0", "i2", "i3"]


def test_only_an_exhausted_catalog_shows_something_again_in_order_of_harm(make_bundle: MakeBundle) -> None:
    vectors = np.array([[1.0], [0.9], [0.8], [0.7]])
    bundle = make_bundle(vectors, users=np.ones((1, 1)), seen=[[0, 1]], unavailable=frozenset({3}))
    recommender = BundleRecommender(bundle)

    def shown(recent: tuple[str, ...], exclude: tuple[str, ...] = ()) -> list[str]:
        return [r.item_id for r in recommender.recommend(UserState("u0", recent), k=9, exclude=exclude)]

    assert shown(()) == ["i2"]
    assert shown(("i2",)) == ["i0", "i1"]  # seen long ago rather than viewed just now
    assert shown(("i0", "i1", "i2")) == ["i0", "i1", "i2"]  # viewed just now rather than sold out
    assert shown(("i2",), exclude=("i0", "i1", "i2")) == ["i3"]
    assert shown((), exclude=("i0", "i1", "i2", "i3")) == []


def test_a_request_for_nothing_is_an_error(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    with pytest.raises(ValueError, match="k must be >= 1, it is 0"):
        recommender.recommend(UserState(), k=0)
    with pytest.raises(ValueError, match="k must be >= 1, it is -2"):
        recommender.similar_items("i0", k=-2)


@pytest.mark.parametrize(
    ("ages_s", "says"), [((1.0,), r"an age a recent item \(2\), it has 1"), ((1.0, -3.0), "recent item 1 has -3.0")]
)
def test_ages_that_fit_no_views_are_an_error(ages_s: tuple[float, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        UserState(recent_items=("a", "b"), recent_ages_s=ages_s)
