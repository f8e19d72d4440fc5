from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.diversity import DiversityConfig
from recsys.exploration import ExplorationConfig
from recsys.pipeline.ranked import by_factor
from recsys.pipeline.request import Request
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.rules.amended import trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.dry_run import Move, dry_run
from recsys.rules.model import Rule, RuleSet
from recsys.rules.occasion import Occasion
from recsys.rules.stages import Steering

BRANDS = "AABBCCABCA"


@pytest.fixture
def shop(make_bundle: Callable[..., Bundle]) -> BundleRecommender:
    """One taste: `i0` to `i9`, the lower the better liked; brand by letter, `i9` cannot be bought."""
    strength = 1 - 0.05 * np.arange(10)
    bundle = make_bundle(
        np.stack([strength, 0 * strength], axis=1),
        users=np.array([[1.0, 0.0], [1.0, 0.0]]),
        seen=[[], [0]],
        attributes=[{"brand": [brand]} for brand in BRANDS],
        unavailable=frozenset({9}),
    )
    return BundleRecommender(bundle)


def steering(shop: BundleRecommender, *rules: dict[str, Any], **more: Any) -> Steering:
    book = RuleBook(RuleSet.read({"rules": rules}, "rules"), trained_facts(shop.bundle))
    occasion = more.pop("occasion", Occasion(0.0, scenarios=frozenset({"feed"})))
    return Steering(book, occasion, **more)


def shown(shop: BundleRecommender, steered: Steering, k: int = 5, user: str = "u0", seed: int = 0) -> list[str]:
    request = Request(k, UserState(user), allowed=steered.allowed(), seed=seed)
    return [one.item_id for one in shop.answer(request, steered.stages())]


def test_no_rule_changes_nothing_and_adds_no_stage(shop: BundleRecommender) -> None:
    nothing = steering(shop)
    assert nothing.allowed() is None
    assert nothing.stages() == []
    assert shown(shop, nothing) == ["i0", "i1", "i2", "i3", "i4"]


def test_filters_hold_before_candidates_are_looked_for(shop: BundleRecommender) -> None:
    kept = steering(shop, {"name": "a", "keep": "brand in (A, B)"}, {"name": "b", "hide": "item_id = i1"})
    assert shown(shop, kept) == ["i0", "i2", "i3", "i6", "i7"]  # full, as long as enough items pass
    empty = steering(shop, {"name": "a", "keep": "brand = Nobody"})
    assert shown(shop, empty) == []  # a hard filter alone can leave an answer empty


def test_a_boost_divides_the_place_and_a_bury_multiplies_it(shop: BundleRecommender) -> None:
    boosted = steering(shop, {"name": "a", "boost": "brand = C", "factor": 3})
    # places of C: 5, 6, 9 -> 5/3, 2, 3; ties go to the one that stood first
    assert shown(shop, boosted, 6) == ["i0", "i4", "i1", "i5", "i2", "i8"]
    buried = steering(shop, {"name": "a", "bury": "brand = A", "factor": 2.5})
    # places of A: 1, 2, 7 -> 2.5, 5, 17.5
    assert shown(shop, buried, 6) == ["i0", "i2", "i3", "i1", "i4", "i5"]
    both = steering(
        shop,
        {"name": "a", "boost": "brand = C", "factor": 3},
        {"name": "b", "bury": "item_id in (i4, i0)", "factor": 3},
    )
    assert shown(shop, both, 4) == ["i1", "i5", "i0", "i2"]  # factors multiply: i4 is back at 5


def test_factors_are_kept_once_for_all_scenarios_to_which_the_same_rules_apply(
    shop: BundleRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    boost = {"name": "a", "boost": "brand = C", "factor": 3}
    book = steering(shop, boost, {**boost, "name": "b", "when": {"scenarios": ["home"]}}).book
    worked_out: list[str] = []
    one_by_one = RuleBook.factor_of

    def counted(self: RuleBook, rule: Rule, rows: Any, occasion: Occasion) -> Any:
        worked_out.append(rule.name)
        return one_by_one(self, rule, rows, occasion)

    monkeypatch.setattr(RuleBook, "factor_of", counted)
    for named, factor in [(f"made-up-{n}", 3.0) for n in range(300)] + [("home", 9.0)]:  # whoever asks names them
        found = book.factor(np.array([4, 0]), Occasion(0.0, scenarios=frozenset({"feed", named})))
        assert found is not None
        assert found.tolist() == [factor, 1.0]
    assert worked_out == ["a", "a", "b"]


def test_the_order_by_factor_is_stable_and_puts_zero_last() -> None:
    assert by_factor(np.array([1.0, 0.0, 1.0, 2.0])).tolist() == [0, 3, 2, 1]
    assert by_factor(np.ones(5)).tolist() == [0, 1, 2, 3, 4]


def test_caps_move_down_and_pins_stand_where_they_are_pinned(shop: BundleRecommender) -> None:
    capped = steering(shop, {"name": "a", "cap": "brand", "at_most": 1})
    assert shown(shop, capped, 3) == ["i0", "i2", "i4"]
    assert shown(shop, capped, 5) == ["i0", "i2", "i4", "i1", "i3"]
    pinned = steering(shop, {"name": "a", "pin": "i7", "slot": 2}, {"name": "b", "cap": "brand", "at_most": 1})
    assert shown(shop, pinned, 4) == ["i0", "i7", "i4", "i1"]
    request = Request(3, UserState("u0"))
    answer = shop.answer(request, pinned.stages())
    assert [(one.source, one.reasons) for one in answer][1] == ("pinned", ("chosen by the shop",))
    assert answer[0].source == "personalized"


def test_a_pin_of_something_hidden_falls_away(shop: BundleRecommender) -> None:
    sold_out = steering(shop, {"name": "a", "pin": "i9"})
    assert shown(shop, sold_out, 2) == ["i0", "i1"]
    filtered = steering(shop, {"name": "a", "pin": "i7"}, {"name": "b", "hide": "brand = B"})
    assert shown(shop, filtered, 2) == ["i0", "i1"]
    seen = steering(shop, {"name": "a", "pin": "i0"})
    assert shown(shop, seen, 2, user="u1") == ["i1", "i2"]
    unknown = steering(shop, {"name": "a", "pin": "nobody"})
    assert shown(shop, unknown, 2) == ["i0", "i1"]
    assert unknown.book.review().warnings == ["rule 'a', pin: the catalog has no item 'nobody'"]


def test_pins_count_from_the_first_page_of_a_list(shop: BundleRecommender) -> None:
    rule = {"name": "a", "pin": "i8", "slot": 4}
    assert shown(shop, steering(shop, rule), 3) == ["i0", "i1", "i2"]
    assert shown(shop, steering(shop, rule, begin=3), 3) == ["i8", "i0", "i1"]
    assert shown(shop, steering(shop, rule, begin=4), 3) == ["i0", "i1", "i2"]


def test_of_two_pins_for_a_slot_or_an_item_the_first_rule_wins(shop: BundleRecommender) -> None:
    rules = [{"name": "a", "pin": "i5"}, {"name": "b", "pin": "i6"}, {"name": "c", "pin": "i5", "slot": 3}]
    assert shown(shop, steering(shop, *rules), 3) == ["i5", "i0", "i1"]


def test_rules_apply_only_where_they_are_meant_to(shop: BundleRecommender) -> None:
    rule = {"name": "a", "hide": "brand = A", "when": {"scenarios": ["home"]}}
    home = Occasion(0.0, scenarios=frozenset({"feed", "home"}))
    assert shown(shop, steering(shop, rule), 2) == ["i0", "i1"]
    assert shown(shop, steering(shop, rule, occasion=home), 2) == ["i2", "i3"]
    assert shown(shop, steering(shop, rule | {"enabled": False}, occasion=home), 2) == ["i0", "i1"]


def test_who_asks_may_not_be_shown_their_own_items(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(np.ones((3, 1)), attributes=[{"seller": ["u0"]}, {"seller": ["u1"]}, {}])
    book = RuleBook(
        RuleSet.read({"rules": [{"name": "own", "hide": "seller = @user"}]}, "rules"), trained_facts(bundle)
    )
    own, other, nobody = (book.allowed(Occasion(0.0, user_id=user)) for user in ("u0", "u2", None))
    assert [mask.tolist() for mask in (own, other, nobody) if mask is not None] == [
        [False, True, True],
        [True, True, True],
        [True, True, True],
    ]


def test_masks_of_filters_are_put_together_once(shop: BundleRecommender) -> None:
    steered = steering(shop, {"name": "a", "keep": "brand in (A, B)"}, {"name": "b", "hide": "item_id = i1"})
    assert steered.allowed() is steered.book.allowed(Occasion(99.0, user_id="u5"))


def test_an_item_that_fades_in_again_stands_further_down(shop: BundleRecommender) -> None:
    # 1 / .25 = 4, and of two at 4 the one that stood first
    assert shown(shop, steering(shop, fading={0: 0.25}), 4) == ["i1", "i2", "i0", "i3"]


def test_diversity_reorders_the_top_by_likeness(make_bundle: Callable[..., Bundle]) -> None:
    vectors = np.array([[1, 0.0], [0.99, 0.0], [0.98, 0.02], [0.6, 0.8], [0.5, 0.0]])
    recommender = BundleRecommender(make_bundle(vectors, users=np.array([[1.0, 0.0]])))
    plain = steering(recommender)
    assert shown(recommender, plain, 3) == ["i0", "i1", "i2"]
    for method in ("mmr", "dpp"):
        mixed = steering(recommender, diversity=DiversityConfig(method=method, share=0.7))
        assert shown(recommender, mixed, 2) == ["i0", "i3"]
        shallow = steering(recommender, diversity=DiversityConfig(method=method, share=0.7, depth=2))
        assert shown(recommender, shallow, 3) == ["i0", "i1", "i2"]


def test_what_is_drawn_follows_from_the_seed_and_carries_its_probability(shop: BundleRecommender) -> None:
    steered = steering(
        shop, {"name": "a", "cap": "brand", "at_most": 1}, exploration=ExplorationConfig(temperature=1.0)
    )
    request = Request(3, UserState("u0"), seed=5)
    ranked = [shop.ranked(shop.moment(request), steered.stages()) for _ in range(2)]
    assert ranked[0].rows.tolist() == ranked[1].rows.tolist()
    first = int(ranked[0].rows[0])
    assert ranked[0].propensity[0] == pytest.approx((1 / (first + 1)) / sum(1 / place for place in range(1, 10)))
    assert ranked[0].marginal[0] == pytest.approx(ranked[0].propensity[0])
    assert len({tuple(shown(shop, steered, 3, seed=seed)) for seed in range(30)}) > 5
    assert len({BRANDS[row] for row in ranked[0].rows.tolist()}) == 3  # the cap is kept


def test_a_dry_run_says_what_each_rule_moves(shop: BundleRecommender) -> None:
    steered = steering(
        shop,
        {"name": "pin it", "pin": "i7"},
        {"name": "one of a brand", "cap": "brand", "at_most": 1},
        {"name": "no i1", "hide": "item_id = i1"},
        {"name": "push C", "boost": "brand = C", "factor": 3},
        {"name": "at home", "hide": "brand = A", "when": {"scenarios": ["home"]}},
        {"name": "off", "hide": "brand = A", "enabled": False},
        exploration=ExplorationConfig(temperature=5.0),
    )
    run = dry_run(shop, Request(4, UserState("u0")), steered)
    assert run.before == ("i0", "i1", "i2", "i3")
    # without i1: 0 2 3 4 5 6 7 8; C at 4, 5, 8 comes to 4/3, 5/3, 8/3: 0 4 5 2 8 3 6 7
    # one of a brand: 0 4 2 and then nothing is left; pinned: 7 (B) 0 (A) 4 (C), then the best left, 5
    assert run.after == ("i7", "i0", "i4", "i5")
    effects = {effect.rule: effect for effect in run.effects}
    assert [effect.rule for effect in run.effects][:4] == ["no i1", "push C", "one of a brand", "pin it"]
    assert effects["no i1"].moves == (Move("i1", 2, None),)
    assert effects["push C"].moves == (Move("i4", 4, 2), Move("i5", 5, 3), Move("i8", 8, 5))
    assert effects["push C"].matched == 3
    assert Move("i5", 3, 4) in effects["one of a brand"].moves
    assert effects["pin it"].moves == (Move("i7", 8, 1),)
    assert effects["at home"].why == "the scenario is none of home"
    assert effects["off"].why == "it is not enabled"


def test_a_review_names_the_rule_whose_fields_the_catalog_lacks(shop: BundleRecommender) -> None:
    book = steering(
        shop,
        {"name": "one", "hide": "colour = red"},
        {"name": "two", "cap": "material"},
        {"name": "3", "hide": "brand=Z"},
    ).book
    found = book.review()
    assert found.errors[0].startswith("rule 'one', hide: character 1: a field must be one of this catalog")
    assert found.errors[1] == "rule 'two', cap: must be an attribute of this catalog (brand), got 'material'"
    assert found.warnings == ["rule '3', hide: character 7: no item has 'Z' as brand"]
