"""A catalog after changes answers as one that had been so from the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.vocabulary import Vocabulary
from recsys.amended.amendments import Amendments
from recsys.amended.bundle import AmendedBundle
from recsys.amended.placed import Placed
from recsys.bundle import Bundle
from recsys.index import ApproximateIndex
from recsys.index_choice import build_ivf
from recsys.pipeline.request import Request
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.search.query import Examples, SearchQuery
from recsys.search.searcher import Searcher
from recsys.search.stored import open_search

MakeBundle = Callable[..., Bundle]


def display(item_id: str, title: str = "", **more: Any) -> dict[str, Any]:
    plain = {"item_id": item_id, "title": title, "description": "", "price": None, "available": True, "image": None}
    return {**plain, "attributes": {}, **more}


def amended(bundle: Bundle, changes: dict[str, Placed | None]) -> tuple[AmendedBundle, BundleRecommender]:
    made, _, spaces = Amendments(bundle, None).apply(changes)
    return made, BundleRecommender(bundle).amended(made, spaces)


def new(item_id: str, place: list[float], **shown: Any) -> Placed:
    return Placed(display(item_id, f"New {item_id}", **shown), {}, np.array(place, dtype=np.float32))


def test_a_new_item_is_found_by_those_whose_taste_it_meets_and_has_similar_items(two_tastes: Bundle) -> None:
    bundle, recommender = amended(two_tastes, {"n0": new("n0", [0.98, 0.0, 0.0])})
    assert (len(bundle), bundle.items.idx("n0"), bundle.n_trained) == (11, 10, 10)
    feed = [shown.item_id for shown in recommender.recommend(UserState("u2"), k=4)]
    assert feed == ["i0", "n0", "i2", "i4"]  # 1, .98, .9, .8
    assert "n0" not in [shown.item_id for shown in recommender.recommend(UserState("u1"), k=4)]
    similar = recommender.similar_items("n0", k=3)
    assert [shown.item_id for shown in similar] == ["i0", "i2", "i4"]
    assert {shown.source for shown in similar} == {"published"}
    assert recommender.recommend(UserState(recent_items=("n0",)), k=2)[0].reasons[0] == "because you viewed New n0"


def test_a_new_item_takes_its_place_in_the_lists_of_those_like_it(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(np.array([[1.0, 0], [0.8, 0.6], [0, 1]]), lists={"published": {0: [(1, 0.4), (2, 0.1)]}})
    made, recommender = amended(bundle, {"n0": new("n0", [1.0, 0, 0])})
    # likeness .5 x cosine / .5: 1 to i0, .8 to i1; nothing to i2
    assert [shown.item_id for shown in recommender.similar_items("i0", k=3)] == ["n0", "i1", "i2"]
    assert recommender.similar_items("i2", k=1)[0].item_id != "n0"
    assert made.touched == {0, 1, 3}
    assert bundle.similar.of(0)[0].tolist() == [1, 2]  # the bundle itself is as it was


@pytest.mark.parametrize(("match_score", "before"), [(float("nan"), True), (0.2, True), (0.19, False)])
def test_a_new_item_that_shows_another_product_is_moved_down_as_in_published_lists(
    make_bundle: MakeBundle, match_score: float, before: bool
) -> None:
    bundle = make_bundle(np.array([[1.0, 0], [0.8, 0.6], [0, 1]]), lists={"published": {0: [(1, 0.4), (2, 0.1)]}})
    place = np.array([0.5, np.sqrt(0.75), 0], dtype=np.float32)
    made, _ = amended(bundle, {"n0": Placed(display("n0", "New"), {}, place, match_score)})
    rows, score = made.similar.of(0)
    assert rows.tolist() == ([3, 1, 2] if before else [1, 3, 2])  # likeness .5, less .2 where it is distrusted
    assert score[rows == 3] == pytest.approx(0.5 if before else 0.3, abs=1e-6)
    own = dict(zip(*(values.tolist() for values in made.similar.of(3)), strict=True))
    assert own[0] == pytest.approx(0.5, abs=1e-6)  # it is the one distrusted, not what it is like


def test_a_known_item_that_shows_another_product_now_stands_lower_in_the_list_of_a_new_one(
    make_bundle: MakeBundle,
) -> None:
    bundle = make_bundle(np.array([[1.0, 0], [0.8, 0.6], [0, 1]]))
    place = [0.98, float(np.sqrt(1 - 0.98**2)), 0]  # .98 like i0, .9 like i1
    for match_score, order in ((0.9, [0, 1]), (0.1, [1, 0])):
        known = Placed(display("i0", "Item 0"), {}, match_score=match_score)
        made, _ = amended(bundle, {"i0": known, "n0": new("n0", place)})
        rows, score = made.similar.of(3)
        assert rows.tolist()[:2] == order
        assert score[rows == 0] == pytest.approx(0.98 if match_score == 0.9 else 0.78, abs=1e-4)


def test_pairs_of_old_and_new_items_are_looked_up_together_as_one_by_one(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        np.array([[1.0, 0], [0.8, 0.6], [0, 1]]),
        lists={"published": {0: [(1, 0.4), (2, 0.1)], 2: [(0, 0.0)]}},
        together={(0, 1): 5, (2, 1): 3},
    )
    made, _ = amended(bundle, {"n0": new("n0", [1.0, 0, 0])})
    ours, theirs = np.divmod(np.arange(16), 4)
    pairs = list(zip(ours.tolist(), theirs.tolist(), strict=True))
    users = {}
    for one, other in pairs:
        met, by = made.together(one)
        users[one, other] = dict(zip(met.tolist(), by.tolist(), strict=True)).get(other, 0)
    assert made.met_both(ours, theirs).tolist() == [users[pair] or users[pair[::-1]] for pair in pairs]
    assert made.met_both(ours, theirs).any()
    for depth in (1, 3):
        listed = {one: made.similar.of(one) for one in range(4)}
        near = {(one, row) for one, (idx, score) in listed.items() for row in idx[:depth][score[:depth] > 0].tolist()}
        found = made.similar.near(ours, theirs, depth).tolist()
        assert {pair for pair, holds in zip(pairs, found, strict=True) if holds} == near
        assert {one for one, _ in near} == {0, 1, 3}


def test_new_items_are_like_one_another(two_tastes: Bundle) -> None:
    amendments = Amendments(two_tastes, None)
    amendments.apply({"n0": new("n0", [0, 1, 0.0])})
    made, _, spaces = amendments.apply({"n1": new("n1", [0, 1, 0.0]), "nothing": None})
    recommender = BundleRecommender(two_tastes).amended(made, spaces)
    assert "n1" in [shown.item_id for shown in recommender.similar_items("n0", k=7)]
    assert "n0" in [shown.item_id for shown in recommender.similar_items("n1", k=7)]


def test_what_sold_out_is_not_shown_but_still_informs_and_comes_back(two_tastes: Bundle) -> None:
    amendments = Amendments(two_tastes, None)
    made, _, spaces = amendments.apply({"i0": Placed(display("i0", "Item 0", available=False), {})})
    recommender = BundleRecommender(two_tastes).amended(made, spaces)
    assert [shown.item_id for shown in recommender.recommend(UserState("u2"), k=2)] == ["i2", "i4"]
    led = recommender.recommend(UserState(recent_items=("i0",)), k=1)[0]
    assert (led.item_id, led.reasons[0]) == ("i2", "because you viewed Item 0")
    made, _, spaces = amendments.apply({"i0": Placed(display("i0", "Item 0"), {})})
    recommender = BundleRecommender(two_tastes).amended(made, spaces)
    assert recommender.recommend(UserState("u2"), k=1)[0].item_id == "i0"


def test_a_removed_item_is_unknown_and_never_shown_not_even_where_nothing_else_is_left(two_tastes: Bundle) -> None:
    made, recommender = amended(two_tastes, {"i0": None})
    assert "i0" not in made.items
    assert made.items.idxs(["i0", "i2"]).tolist() == [-1, 2]
    with pytest.raises(KeyError):
        recommender.similar_items("i0", k=1)
    rest = [f"i{row}" for row in range(1, 10)]
    assert recommender.answer(Request(3, UserState("u2"), exclude=rest)) == []
    assert recommender.recommend(UserState("u2", recent_items=("i0",)), k=1)[0].item_id == "i2"
    back, _, _ = Amendments(two_tastes, None).apply({"i0": None, "n0": new("n0", [1, 0, 0.0])})
    assert (back.items.idx("n0"), len(back)) == (10, 11)


def test_ids_stay_the_same_object_until_an_item_comes_or_goes(two_tastes: Bundle) -> None:
    amendments = Amendments(two_tastes, None)
    cheaper: dict[str, Placed | None] = {"i1": Placed(display("i1", price=0.5), {})}

    def items(changes: dict[str, Placed | None]) -> Vocabulary:
        return amendments.apply(changes)[0].items

    trained = items(cheaper)
    assert items(cheaper) is trained
    joined = items({"n0": new("n0", [1.0, 0, 0])})
    assert [one.idxs(["i1", "n0"]).tolist() for one in (trained, joined)] == [[1, -1], [1, 10]]
    assert items(cheaper) is joined
    left = items({"n0": None})
    assert left.idxs(["i1", "n0"]).tolist() == [1, -1]
    assert items(cheaper) is left
    assert items({"n0": new("n0", [1.0, 0, 0])}).idxs(["i1", "n0"]).tolist() == [1, 10]


def test_categories_and_counts_are_those_of_the_changed_catalog(make_bundle: MakeBundle) -> None:
    attributes = [{"category": ["hats"]}, {"category": ["hats"]}, {"category": ["caps"]}]
    bundle = make_bundle(np.zeros((3, 2)), attributes=attributes, popularity=[1, 5, 3])
    made, recommender = amended(
        bundle,
        {
            "i2": Placed(display("i2", attributes={"category": ["hats"], "brand": ["Acme"]}), {}),
            "n0": new("n0", [0, 0, 0], attributes={"category": ["berets"]}),
            "i0": None,
        },
    )
    assert made.category_members("hats").tolist() == [1, 2]
    assert made.category_members("caps").tolist() == []
    assert made.category_members("berets").tolist() == [3]
    assert made.categories_of(3) == ["berets"]
    counts = {name: dict(values) for name, values in made.attribute_counts.items()}
    assert counts == {"category": {"hats": 2, "caps": 0, "berets": 1}, "brand": {"Acme": 1}}
    assert bundle.category_members("hats").tolist() == [1, 0]
    shown = recommender.recommend(UserState(category="berets"), k=1)[0]
    assert (shown.item_id, shown.source) == ("n0", "popular_in_category")


def test_an_approximate_index_also_scores_what_joined_later(two_tastes: Bundle) -> None:
    index = ApproximateIndex(two_tastes.item_vectors, build_ivf(np.ascontiguousarray(two_tastes.item_vectors)))
    made, _, spaces = Amendments(two_tastes, None).apply({"n0": new("n0", [0.98, 0.0, 0.0])})
    recommender = BundleRecommender(two_tastes, index=index).amended(made, spaces)
    feed = [shown.item_id for shown in recommender.recommend(UserState("u2"), k=4)]
    assert feed == ["i0", "n0", "i2", "i4"]


def test_a_new_item_without_a_place_is_refused(two_tastes: Bundle) -> None:
    with pytest.raises(ValueError, match="'n0' has none"):
        Amendments(two_tastes, None).apply({"n0": Placed(display("n0"), {})})


# --- search -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(searchable: Path) -> Bundle:
    return Bundle.open(searchable / "bundle")


def searcher(shop: Bundle, changes: dict[str, Placed | None]) -> Searcher:
    stored = open_search(shop)
    made, amended_store, _ = Amendments(shop, stored).apply(changes)
    return Searcher(made, stored=amended_store)


def vectors(shop: Bundle, words: str) -> dict[str, np.ndarray]:
    encoding = Searcher(shop).encoding
    text = encoding.items([words])[0]
    image = np.zeros(12, dtype=np.float32)
    return {"text": text, "image": image, "match_text": encoding.shared("text", text[None])[0]}


def mug(shop: Bundle, item_id: str = "n0", **more: Any) -> Placed:
    shown = display(item_id, "Crimson cup", price=3.5, attributes={"color": ["Red"], "finish": ["Matt"]}, **more)
    return Placed(shown, vectors(shop, "Crimson cup"), np.array([1.0, 0.0], dtype=np.float32))


def found(search: Searcher, words: str = "", **query: Any) -> list[str]:
    answer = search.search(SearchQuery(words=words, **query))
    return [search.bundle.items[result.item_idx] for result in answer.results]


def test_a_new_item_is_found_by_its_letters_its_meaning_its_values_and_its_price(shop: Bundle) -> None:
    search = searcher(shop, {"n0": mug(shop)})
    assert found(search, "crimson")[0] == "n0"
    listed = search.listed(SearchQuery(words="red mug"))
    meaning = listed.scores[listed.names.index("words_to_words")]
    assert meaning[listed.rows.tolist().index(24)] == pytest.approx(1, abs=1e-5)  # "crimson" is red, a "cup" a mug
    assert found(search, "cup", filters={"finish": ("matt",)}) == ["n0"]
    assert set(found(search, "red", filters={"color": ("red",)}, max_price=4.0, k=24)) == {"i0", "i3", "n0"}
    assert found(search, like=Examples(items=("n0",)), k=3)[0] in {"i0", "i6", "i12", "i18"}  # red mugs
    assert "n0" not in found(Searcher(shop), "crimson", k=24)


def test_a_changed_item_is_found_by_what_it_says_now_alone(shop: Bundle) -> None:
    changed = Placed(
        display("i1", "Blue sneaker", price=99.0, attributes={"color": ["Blue"]}), vectors(shop, "sneaker")
    )
    search = searcher(shop, {"i1": changed})
    assert "i1" not in found(search, "1", filters={"color": ("green",)}, k=24)
    assert found(search, "sneaker")[0] == "i1"
    assert "i1" in found(search, "sneaker", filters={"color": ("blue",)}, min_price=90.0)
    term = search.stored.lexical.postings("green")[0].tolist()
    assert 1 not in term
    assert term == sorted(term)


def test_a_removed_item_is_found_by_nothing_not_even_among_the_unavailable(shop: Bundle) -> None:
    search = searcher(shop, {"i0": None})
    for query in ({"words": "red mug"}, {"words": "red", "available_only": False}):
        assert "i0" not in found(search, k=24, **query)
    assert len(found(search, "red mug shoe green blue", k=100, available_only=False)) <= 23


def test_words_weigh_as_if_the_item_had_always_been_there(shop: Bundle) -> None:
    """Only document frequency and mean length are the older ones; a copy of an item weighs exactly as the item."""
    copy = Placed({**shop.display(3), "item_id": "n0"}, {"text": shop.text_vectors[3]}, np.zeros(2, dtype=np.float32))
    lexical = searcher(shop, {"n0": copy}).stored.lexical
    for term in ("red", "shoe"):
        items, weights = lexical.postings(term)
        by_row = dict(zip(items.tolist(), weights.tolist(), strict=True))
        assert by_row[24] == pytest.approx(by_row[3], rel=1e-5)


def test_what_is_near_many_items_is_what_is_near_each_also_where_items_joined(make_bundle: MakeBundle) -> None:
    base = make_bundle(
        [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]],
        together={(0, 1): 5, (2, 3): 2},
        lists={"text": {0: [(1, 0.9), (2, 0.2)], 3: [(2, 0.8)]}},
    )
    bundle, _ = amended(base, {"n0": new("n0", [1.0, 0.05, 0.0])})
    rows = np.arange(len(bundle))
    met, users = bundle.together_of(rows)
    for row in rows.tolist():
        one, of_one = bundle.together(row)
        assert met[row][met[row] >= 0].tolist() == one.tolist()
        assert users[row][met[row] >= 0].tolist() == of_one.tolist()
        for near in bundle.neighbors.values():
            for depth in (1, 3):
                listed = near.nearest(rows[row : row + 1], depth)[0]
                assert listed[listed >= 0].tolist() == near.of(row)[0][:depth].tolist()
