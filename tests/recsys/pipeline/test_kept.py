"""What is kept for a user's next request is what would be worked out again, and is given for no other request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.pipeline import kept
from recsys.pipeline.request import Request
from recsys.pipeline.stage import Stage
from recsys.pipeline.taste import Taste
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.rules.amended import trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.model import RuleSet
from recsys.rules.occasion import Occasion
from recsys.rules.stages import Steering
from recsys.traces import Traces

DAY_S = 86_400.0
RULES: tuple[list[dict[str, object]], ...] = (
    [
        {"name": "half", "boost": "item_id in (i3, i9, i27, i31, i40)", "factor": 3},
        {"name": "home", "bury": "price > 0", "factor": 2, "when": {"scenarios": ["home"]}},
        {"name": "hero", "pin": "i5", "slot": 2},
    ],
    [{"name": "others", "bury": "item_id in (i2, i4, i6, i8, i10, i12)", "factor": 4}],
)


@pytest.fixture
def bundle(small_bundle: Path) -> Bundle:
    """Sixty items; a ranker that goes by everything."""
    bundle = Bundle.open(small_bundle)
    numbers = np.random.default_rng(5).uniform(0.1, 1, (3, len(FEATURES))).astype(np.float32)
    bundle.__dict__["ranker"] = LinearRanker(*numbers, report={})
    return bundle


def traced(rng: np.random.Generator) -> Traces:
    viewed = rng.integers(0, 60, 8)
    return Traces(viewed, np.sort(rng.random(8))[::-1] * DAY_S, viewed[:3])


def afresh(request: Request) -> Request:
    """The same question, of which nobody has kept anything."""
    traces = request.user.traces
    assert traces is not None
    return replace(request, user=replace(request.user, traces=replace(traces)))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_in_turn_the_answers_are_those_made_afresh(bundle: Bundle, seed: int) -> None:
    rng, shop = np.random.default_rng(seed), BundleRecommender(bundle)
    masks = [None, rng.random(60) < 0.5, rng.random(60) < 0.5]
    counted = shop.standing.counting(
        rng.random((60, 2)).astype(np.float32), {"home": rng.random((60, 2)).astype(np.float32)}
    )
    users = [traced(rng) for _ in range(3)]
    books = [RuleBook(RuleSet.read({"rules": rules}, "rules"), trained_facts(bundle)) for rules in RULES]
    for _ in range(60):
        if rng.random() < 0.1:
            shop.standing = counted if shop.standing is not counted else counted.uncounted()
        user = UserState(
            (None, "u3")[int(rng.integers(2))],
            traces=users[int(rng.integers(3))],
            category=("", bundle.category_names[0])[int(rng.integers(2))],
        )
        request = Request(
            int(rng.integers(1, 9)),
            user,
            exclude=(("i1",), ())[int(rng.integers(2))],
            allowed=masks[int(rng.integers(3))],
            scenario=("", "home", "cart")[int(rng.integers(3))],
            now_s=float(rng.integers(2)) * DAY_S,
            pool=int(rng.integers(5, 8)),
        )
        stages: list[Stage] = [Taste(0.4)] if rng.random() < 0.3 else []
        if rng.random() < 0.7:
            fading = {int(row): 0.5 for row in rng.integers(0, 60, 3)} if rng.random() < 0.3 else {}
            occasion = Occasion(request.now_s, scenarios=frozenset({request.scenario}))
            stages += Steering(books[int(rng.integers(len(books)))], occasion, fading=fading).stages()
        assert shop.answer(request, stages) == shop.answer(afresh(request), stages)


def test_another_place_of_the_same_page_asks_for_nothing_anew(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, user = BundleRecommender(bundle), UserState("u3", traces=traced(np.random.default_rng(0)))
    first = shop.answer(Request(4, user, scenario="home"))
    monkeypatch.setattr(shop, "_learned", lambda _: pytest.fail("candidates were looked for again"))
    assert shop.answer(Request(4, user, scenario="cart", seed=7)) == first


def test_what_is_kept_goes_with_what_the_user_did(bundle: Bundle) -> None:
    shop = BundleRecommender(bundle)
    for number in range(3):
        user = UserState("u3", traces=traced(np.random.default_rng(number)))
        shop.answer(Request(4, user))
        assert len(shop._moments._kept) == 1


def test_what_is_kept_of_a_feed_holds_neither_its_mask_nor_the_candidates_of_others(bundle: Bundle) -> None:
    shop, rng = BundleRecommender(bundle), np.random.default_rng(0)
    mask, users = rng.random(60) < 0.5, [UserState("u3", traces=traced(rng)) for _ in range(2)]
    moments = [shop.moment(Request(4, user, allowed=mask)) for user in users]
    shop.ranked_all(moments, [[], []])
    found_all = [found for moment in moments for _, found in moment.worked_out.found.values()]
    assert [(found.whole.base, found.real.base) for found in found_all] == [(None, None)] * 2
    held = ref(mask)
    del moments, mask
    shop.answer(Request(4))  # the latest mask of all is kept, once
    assert held() is None
    assert shop._moments.find(Request(4, users[0])) is None  # which is not the one that allowed less


def test_where_no_more_can_be_kept_the_oldest_goes_alone(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 3)
    shop = BundleRecommender(bundle)
    requests = [Request(4, UserState("u3", traces=traced(np.random.default_rng(seed)))) for seed in range(5)]
    for request in requests:
        shop.answer(request)
    assert [shop._moments.find(request) is not None for request in requests] == [False, False, True, True, True]


def test_threads_that_keep_at_once_where_no_more_can_be_kept_do_not_fail(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 1)
    shop = BundleRecommender(bundle)
    requests = [Request(4, UserState("u3", traces=traced(np.random.default_rng(seed)))) for seed in range(2)]
    shop.answer(requests[0])
    moments = shop._moments
    keys = moments._kept.keys

    def taken_meanwhile() -> Iterator[Traces]:
        for key in list(keys()):
            moments._kept.pop(key)  # as another thread does, between the look and the deletion
            yield key

    monkeypatch.setattr(moments._kept, "keys", taken_meanwhile)
    shop.answer(requests[1])
    assert [moments.find(request) is not None for request in requests] == [False, True]


def test_other_rules_give_candidates_that_were_kept_another_order_each_its_own(bundle: Bundle) -> None:
    shop, traces = BundleRecommender(bundle), traced(np.random.default_rng(0))
    request = Request(8, UserState("u3", traces=traces), pool=20)
    facts, answers = trained_facts(bundle), []
    ranked_up = [[{"name": "up", "boost": f"item_id in (i{row}, i{row + 20})", "factor": 9}] for row in (2, 10)]
    books = [RuleBook(RuleSet.read({"rules": rules}, "rules"), facts) for rules in ranked_up]
    for book in (*books, *books):
        stages = Steering(book, Occasion(0.0)).stages()
        answers.append(shop.answer(request, stages))
        assert answers[-1] == shop.answer(afresh(request), stages)
    assert answers[0] == answers[2] != answers[1] == answers[3]


def test_more_candidates_under_the_same_rules_have_an_order_of_their_own(bundle: Bundle) -> None:
    shop, traces = BundleRecommender(bundle), traced(np.random.default_rng(0))
    rules = [{"name": "up", "boost": "item_id in (i2, i22, i42)", "factor": 9}]
    book = RuleBook(RuleSet.read({"rules": rules}, "rules"), trained_facts(bundle))
    stages = Steering(book, Occasion(0.0)).stages()
    for pool in (20, 45, 20):
        request = Request(pool, UserState("u3", traces=traces), pool=pool)
        assert shop.answer(request, stages) == shop.answer(afresh(request), stages)
