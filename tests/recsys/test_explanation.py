from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.explanation import Explainer
from recsys.recommendation import Anchor, Source, UserState
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]


def relation(bundle: Bundle, one: int, other: int) -> list[str]:
    """All that is true of one pair."""
    return Explainer(bundle).relations(np.array([one]), np.array([other]))[0]


def alike(bundle: Bundle, one: int, other: int, kind: str) -> bool:
    return bool(Explainer(bundle).alike(np.array([one]), np.array([other]), kind)[0])


def feed(
    bundle: Bundle, item: int, source: Source, *, anchor: int, role: Anchor, category: str = ""
) -> tuple[str, ...]:
    """Why one item is in a feed."""
    return Explainer(bundle).feed(
        np.array([item]), [source], anchors=np.array([anchor]), roles=[role], categories=[category]
    )[0]


@pytest.fixture
def hats(make_bundle: MakeBundle) -> Bundle:
    """Eight hats; i0 and i1 share much, i0 and i7 nothing."""
    attributes = [
        {"kind": ["Hat"], "brand_name": ["Acme"], "category": ["Wear", "Wear > Caps"], "color": ["red", "green"]},
        {"kind": ["Hat"], "brand_name": ["Acme"], "category": ["Wear", "Wear > Caps"], "color": ["green", "blue"]},
        {"kind": ["Hat"], "brand_name": ["Bolt"], "category": ["Wear", "Wear > Caps"], "color": ["red"]},
        *[{"kind": ["Hat"], "brand_name": ["Bolt"], "category": ["Wear"], "color": ["black"]} for _ in range(5)],
    ]
    return make_bundle(
        np.eye(8),
        attributes=attributes,
        popularity=[0, 1, 2, 3, 4, 5, 6, 7],
        lists={"image": {0: [(2, 0.9), (1, 0.8)]}, "text": {1: [(0, 0.7)], 3: [(4, 0.0)]}},
        together={(0, 1): 12, (5, 6): 2, (6, 7): 1},
    )


def test_all_that_two_items_have_in_common_most_telling_first(hats: Bundle) -> None:
    # Acme 2 and green 2 of 8 are rarer than Caps 3; "Wear" and "Hat" are everywhere; by picture 1 is only second to 0
    assert relation(hats, 0, 1) == [
        "viewed or bought together by 12 shoppers",
        "same brand name: Acme",
        "reads alike",
        "same color: green",
        "same category: Wear > Caps",
    ]


def test_the_relation_reads_the_same_from_both_sides(hats: Bundle) -> None:
    explainer = Explainer(hats)
    ours, theirs = np.divmod(np.arange(64), 8)
    assert explainer.relations(ours, theirs) == explainer.relations(theirs, ours)


def test_pairs_explained_together_are_explained_as_each_alone(hats: Bundle) -> None:
    ours, theirs = np.divmod(np.arange(64), 8)
    together = Explainer(hats).relations(ours, theirs)
    assert together == [relation(hats, one, other) for one, other in zip(ours.tolist(), theirs.tolist(), strict=True)]
    assert {True, False} == set(map(bool, together))


def test_only_the_nearest_look_alike(hats: Bundle) -> None:
    assert alike(hats, 0, 2, "image")
    assert not alike(hats, 0, 1, "image")
    assert not alike(hats, 3, 4, "text")  # on the list, but with no likeness at all
    assert not alike(hats, 0, 1, "sound")


def test_one_shopper_is_no_company(hats: Bundle) -> None:
    assert relation(hats, 6, 5)[0] == "viewed or bought together by 2 shoppers"
    assert not [reason for reason in relation(hats, 6, 7) if "together" in reason]


def test_nothing_in_common_is_nothing_said(hats: Bundle) -> None:
    assert relation(hats, 0, 7) == []
    assert feed(hats, 7, "personalized", anchor=-1, role="history") == ()


def test_a_feed_names_the_item_that_led_there(hats: Bundle) -> None:
    viewed = feed(hats, 1, "personalized", anchor=0, role="viewed")
    assert viewed == ("because you viewed Item 0", "viewed or bought together by 12 shoppers", "same brand name: Acme")
    assert feed(hats, 1, "published", anchor=0, role="history")[0] == "because Item 0 is in your history"


def test_popular_is_said_of_the_upper_half_only(hats: Bundle) -> None:
    assert feed(hats, 7, "popular", anchor=-1, role="history") == ("popular with shoppers",)
    assert feed(hats, 1, "popular", anchor=-1, role="history") == ()
    assert Explainer(hats).similar(0, np.array([7]), ["popular"]) == [("popular with shoppers",)]


def test_nothing_is_popular_where_nobody_bought(make_bundle: MakeBundle) -> None:
    assert feed(make_bundle(np.eye(3)), 0, "popular", anchor=-1, role="history") == ()


def test_a_category_suggestion_names_the_common_category(hats: Bundle) -> None:
    assert feed(hats, 2, "popular_in_category", anchor=0, role="viewed") == ("same category: Wear > Caps",)
    by_page = feed(hats, 7, "popular_in_category", anchor=-1, role="history", category="Wear")
    assert by_page == ("popular with shoppers", "same category: Wear")


def test_the_strongest_pull_is_named_not_the_newest_view(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(np.array([[1, 0, 0.0], [0, 1, 0], [0, 0.9, 0.1], [0.9, 0, 0.1]]))
    feed = BundleRecommender(bundle).recommend(UserState(recent_items=("i1", "i0")), k=2)
    assert {shown.item_id: shown.reasons[0] for shown in feed} == {
        "i3": "because you viewed Item 0",
        "i2": "because you viewed Item 1",
    }


def test_a_view_that_speaks_against_a_suggestion_is_not_its_reason(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(np.array([[1, 0.0], [0, 1], [-1, 0.9]]), users=np.array([[0, 3.0]]))
    shown = BundleRecommender(bundle).recommend(UserState("u0", recent_items=("i0",)), k=2)
    assert {slot.item_id: (slot.source, slot.reasons) for slot in shown} == {
        "i1": ("personalized", ()),
        "i2": ("personalized", ()),
    }


def test_every_reason_in_a_whole_shop_is_true(small_bundle: Path) -> None:
    """Each statement is checked against the raw data, not against the explainer's own look-ups."""
    bundle = Bundle.open(small_bundle)
    recommender = BundleRecommender(bundle)
    rows = {shown["title"]: row for row, shown in enumerate(bundle.displays())}
    liked_by = [{user for user in range(20) if item in bundle.seen(user)} for item in range(60)]
    heard = set()

    def nearest(vectors: np.ndarray, a: int, b: int) -> bool:
        likeness = vectors @ vectors[a]
        return bool(likeness[b] > 0) and sorted(set(range(60)) - {a}, key=lambda row: -likeness[row]).index(b) < 6

    def check(reason: str, anchor: int, item: int) -> None:
        if reason.startswith("same "):
            name, value = reason.removeprefix("same ").split(": ")
            assert all(value in bundle.display(row)["attributes"][name] for row in (anchor, item))
        elif reason.startswith("viewed or bought together by "):
            assert int(reason.split()[5]) == len(liked_by[anchor] & liked_by[item]) >= 2
        elif reason in ("looks alike", "reads alike"):
            vectors = bundle.image_vectors if reason == "looks alike" else bundle.text_vectors
            assert nearest(vectors, anchor, item) or nearest(vectors, item, anchor)
        else:
            raise AssertionError(f"unknown reason {reason!r}")
        heard.add(reason.split(maxsplit=1)[0])

    for user in range(18):
        recent = tuple(f"i{row}" for row in (user, user + 20, 59))
        for shown in recommender.recommend(UserState(f"u{user}", recent), k=12):
            assert shown.source == "personalized"
            assert 1 <= len(shown.reasons) <= 3
            first = shown.reasons[0]
            history = first.endswith(" is in your history")
            title = first[len("because ") :].removesuffix(" is in your history").removeprefix("you viewed ")
            anchor = rows[title]
            assert anchor in bundle.seen(user) if history else f"i{anchor}" in recent
            for reason in shown.reasons[1:]:
                check(reason, anchor, bundle.items.idx(shown.item_id))
    for page in range(60):
        for shown in recommender.similar_items(f"i{page}", k=8):
            for reason in shown.reasons:
                check(reason, page, bundle.items.idx(shown.item_id))
    assert heard == {"same", "viewed", "looks", "reads"}
