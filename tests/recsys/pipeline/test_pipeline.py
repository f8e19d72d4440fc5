from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.candidates import Candidates
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked, in_unit
from recsys.pipeline.request import Request
from recsys.recommendation import SOURCES, UserState
from recsys.recommender import BundleRecommender

MakeBundle = Callable[..., Bundle]


@dataclass
class Turned:
    """Turns the order around, and remembers what it was given."""

    name: str = "turned"
    given: list[Ranked] = field(default_factory=list)

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        self.given.append(ranked)
        return ranked.take(slice(None, None, -1))


@dataclass
class Drawn:
    """Halves every probability."""

    name: str = "drawn"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        real = ranked.real.copy()
        real[2] /= 2
        return Ranked(ranked.whole, real)


def ids(recommender: BundleRecommender, request: Request, *stages: Turned | Drawn) -> list[str]:
    return [shown.item_id for shown in recommender.answer(request, stages)]


def test_stages_choose_from_a_pool_larger_than_the_slots_and_run_in_turn(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    user = UserState("u2")
    assert ids(recommender, Request(2, user)) == ["i0", "i2"]
    # a pool of 4 is i0, i2, i4, i6: turned around, i6 and i4 fill the slots
    turned = Turned()
    assert ids(recommender, Request(2, user, pool=4), turned) == ["i6", "i4"]
    assert turned.given[0].rows.tolist() == [0, 2, 4, 6]
    assert ids(recommender, Request(2, user, pool=4), Turned(), Turned()) == ["i0", "i2"]
    assert len(ids(recommender, Request(5, user, pool=1), Turned())) == 5


def test_what_a_stage_says_of_chance_is_in_the_answer(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    assert [shown.propensity for shown in recommender.answer(Request(2))] == [1.0, 1.0]
    assert [shown.propensity for shown in recommender.answer(Request(2), [Drawn(), Drawn()])] == [0.25, 0.25]


def test_what_is_not_allowed_is_never_let_back_in(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    allowed = np.isin(np.arange(10), [0, 2])  # u0 has seen both
    assert ids(recommender, Request(5, UserState("u0"), allowed=allowed)) == ["i0", "i2"]
    assert ids(recommender, Request(5, UserState("u0"), allowed=allowed, exclude=("i0",))) == ["i2"]
    assert ids(recommender, Request(5, page="i1", allowed=allowed)) == ["i0", "i2"]
    assert ids(recommender, Request(5, allowed=np.zeros(10, dtype=np.bool_))) == []
    assert ids(recommender, Request(5, page="i0", allowed=np.zeros(10, dtype=np.bool_))) == []


def test_what_is_on_the_page_and_in_the_cart_pulls_like_a_fresh_view_and_is_named(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    on_page = recommender.answer(Request(3, UserState(page=("i1",))))
    assert [shown.item_id for shown in on_page] == ["i3", "i5", "i7"]
    assert on_page[0].reasons[0] == "because you are looking at Item 1"
    in_cart = recommender.answer(Request(3, UserState(cart=("i1",))))
    assert [shown.item_id for shown in in_cart] == ["i3", "i5", "i7"]
    assert in_cart[0].reasons[0] == "because Item 1 is in your cart"
    viewed = recommender.answer(Request(3, UserState(recent_items=("i1",))))
    assert [shown.score for shown in on_page] == [shown.score for shown in viewed]
    # an item of the page counts as new, whatever the age of the other views
    both = UserState(recent_items=("i0",), recent_ages_s=(1e7,), page=("i1",))
    assert ids(recommender, Request(1, both)) == ["i3"]


def test_merit_falls_along_the_ladder_and_within_each_tier() -> None:
    def found(*scores: float) -> Candidates:
        rows = np.arange(len(scores)) + 10 * len(scores)
        return Candidates.of(rows, np.array(scores, dtype=np.float32))

    ranked = Ranked.of([("personalized", found(0.9, 0.4, -0.1)), ("popular", found(70, 70))])
    np.testing.assert_allclose(ranked.merit, [1.0, 0.75, 0.5, 0.5, 0.5])
    assert ranked.source_names() == ["personalized"] * 3 + ["popular"] * 2
    assert ranked.propensity.tolist() == [1.0] * 5
    assert len(Ranked.of([])) == 0


@pytest.mark.parametrize(("scores", "expected"), [([], []), ([3.0], [1.0]), ([5, 5], [1, 1]), ([4, 2, 0], [1, 0.5, 0])])
def test_scores_are_stretched_over_the_unit_interval(scores: list[float], expected: list[float]) -> None:
    assert in_unit(np.array(scores, dtype=np.float32)).tolist() == expected


def test_the_code_of_a_stored_source_never_changes() -> None:
    assert SOURCES[:5] == ("personalized", "published", "content", "popular_in_category", "popular")


def test_the_same_request_has_the_same_answer_and_reads_no_clock(
    two_tastes: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = BundleRecommender(two_tastes)
    request = Request(4, UserState("u0", ("i1",), (10.0,)), now_s=1e9)
    first = recommender.answer(request)
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(f"time.{name}", lambda: pytest.fail("the pipeline read a clock"))
    assert recommender.answer(replace(request, now_s=2e9)) == first


def test_examples_of_what_is_wanted_pull_and_of_what_is_not_push_away(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    wanted = recommender.answer(Request(3, UserState(like=("i1", "i5"))))
    assert [shown.item_id for shown in wanted] == ["i3", "i7", "i9"]
    assert wanted[0].reasons[0] == "because you asked for items like Item 1"
    assert ids(recommender, Request(3, UserState(unlike=("i0",)))) == ["i1", "i3", "i5"]
    # u2 has (1, 0); aversion .5 makes it (.5, 0) - still even, and what was refused is not shown
    assert ids(recommender, Request(2, UserState("u2", unlike=("i0",)))) == ["i2", "i4"]
    mixed = UserState(like=("i0", "i1"), unlike=("i2",))  # (.5, .475) less half its length along the even taste
    assert ids(recommender, Request(2, mixed)) == ["i3", "i5"]


def test_an_answer_that_goes_on_ends_where_nothing_new_is_left(two_tastes: Bundle) -> None:
    recommender = BundleRecommender(two_tastes)
    rest = tuple(f"i{row}" for row in range(10) if row not in (0, 2))  # u0 has seen i0 and i2
    assert ids(recommender, Request(3, UserState("u0"), exclude=rest)) == ["i0", "i2"]
    assert ids(recommender, Request(3, UserState("u0"), exclude=rest, relax=False)) == []
