from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recsys.exploration import ExplorationConfig, place_weights
from recsys.replay.plackett_luce import slot_probabilities
from recsys.slots import Cap, fill

BRANDS = [[0], [0], [0], [1], [1], [2]]


def test_without_anything_the_first_items_fill_the_slots() -> None:
    filled = fill(6, 4)
    assert filled.places.tolist() == [0, 1, 2, 3]
    assert filled.conditional.tolist() == filled.marginal.tolist() == [1.0] * 4
    assert fill(2, 4).places.tolist() == [0, 1]
    assert fill(0, 4).places.tolist() == []


def test_a_cap_moves_items_down_and_gives_way_before_a_slot_stays_empty() -> None:
    capped = fill(6, 4, caps=[Cap(BRANDS, 1)])
    assert capped.places.tolist() == [0, 3, 5, 1]  # one of each brand, then nothing else is left
    assert capped.gave_way == 1
    assert fill(6, 3, caps=[Cap(BRANDS, 1)]).gave_way == 0
    assert fill(6, 4, caps=[Cap(BRANDS, 2)]).places.tolist() == [0, 1, 3, 4]


def test_an_item_of_several_groups_is_held_back_by_each_of_them() -> None:
    groups = [[0, 1], [0], [1], [], [2]]
    assert fill(5, 3, caps=[Cap(groups, 1)]).places.tolist() == [0, 3, 4]
    both = fill(5, 3, caps=[Cap(groups, 2), Cap([[0], [0], [0], [0], [1]], 1)])
    assert both.places.tolist()[:2] == [0, 4]


def test_a_pin_stands_where_it_is_pinned_and_counts_for_the_caps() -> None:
    assert fill(6, 4, pins={1: 5}).places.tolist() == [0, 5, 1, 2]
    assert fill(6, 4, pins={0: 4}, caps=[Cap(BRANDS, 1)]).places.tolist() == [4, 0, 5, 1]
    assert fill(3, 3, pins={9: 0}).places.tolist() == [0, 1, 2]  # past the slots: not pinned in this answer
    assert fill(3, 9, pins={7: 0}).places.tolist() == [1, 2, 0]  # past the candidates: the end
    assert fill(3, 9, pins={7: 0, 8: 1}).places.tolist() == [2, 1, 0]


def every_list(k: int, temperature: float, epsilon: float, *, capped: bool = True) -> dict[tuple[int, ...], float]:
    """The probability of every list of the six items, with one of a brand if capped, going down every branch."""
    weights = place_weights(6, temperature)
    found: dict[tuple[int, ...], float] = {}

    def down(above: tuple[int, ...], by_place: float, by_chance: float) -> None:
        if len(above) == k:
            found[above] = by_place + by_chance
            return
        left = [item for item in range(6) if item not in above]
        taken = [group for item in above for group in BRANDS[item]]
        is_open = [item for item in left if not (capped and set(BRANDS[item]) & set(taken))]
        if not is_open:
            down((*above, left[0]), by_place, by_chance)
            return
        for item in is_open:
            share = weights[item] / weights[is_open].sum() if temperature else float(item == is_open[0])
            down((*above, item), by_place * share, by_chance / len(is_open))

    down((), 1 - epsilon, epsilon)
    return found


@pytest.mark.parametrize("capped", [True, False])
@pytest.mark.parametrize(("temperature", "epsilon"), [(1.0, 0.0), (0.5, 0.3), (0.0, 0.4)])
def test_logged_probabilities_are_those_of_what_is_drawn(temperature: float, epsilon: float, capped: bool) -> None:
    k, caps = 4, [Cap(BRANDS, 1)] if capped else []
    lists = every_list(k, temperature, epsilon, capped=capped)
    assert sum(lists.values()) == pytest.approx(1)
    config = ExplorationConfig(temperature=temperature, epsilon=epsilon, marginal_draws=0)
    drawn = [fill(6, k, caps=caps, exploration=config, seed=seed) for seed in range(2000)]
    for one in drawn[:200]:
        assert np.prod(one.conditional) == pytest.approx(lists[tuple(one.places.tolist())])
        assert np.isnan(one.marginal[1:]).all()
    counted = Counter(tuple(one.places.tolist()) for one in drawn)
    for one, probability in lists.items():
        assert counted[one] / 2000 == pytest.approx(probability, abs=4 * np.sqrt(probability / 2000) + 3 / 2000)


@pytest.mark.parametrize("capped", [True, False])
def test_marginal_probabilities_are_estimated_without_bias(capped: bool) -> None:
    k, caps = 4, [Cap(BRANDS, 1)] if capped else []
    slots: dict[tuple[int, int], float] = {}
    for one, probability in every_list(k, 0.5, 0.3, capped=capped).items():
        for at in enumerate(one):
            slots[at] = slots.get(at, 0.0) + probability
    config = ExplorationConfig(temperature=0.5, epsilon=0.3, marginal_draws=300)
    found: dict[tuple[int, int], list[float]] = {}
    for seed in range(300):
        filled = fill(6, k, caps=caps, exploration=config, seed=seed)
        for slot, item in enumerate(filled.places.tolist()):
            found.setdefault((slot, item), []).append(float(filled.marginal[slot]))
    assert len(found) > 10
    for at, estimates in found.items():
        assert np.std(estimates) < 0.03
        assert np.mean(estimates) == pytest.approx(slots[at], abs=4 * 0.03 / np.sqrt(len(estimates)))
        assert at[0] or np.ptp(estimates) < 1e-9  # exact in the first slot


def test_pins_are_certain_and_the_others_are_drawn_around_them() -> None:
    config = ExplorationConfig(temperature=1.0)
    for seed in range(50):
        filled = fill(6, 4, pins={1: 5}, exploration=config, seed=seed)
        assert filled.places[1] == 5
        assert filled.conditional[1] == filled.marginal[1] == 1
        assert len(set(filled.places.tolist())) == 4
        first = int(filled.places[0])
        assert filled.conditional[0] == pytest.approx((1 / (first + 1)) / sum(1 / place for place in range(1, 6)))


def test_the_same_seed_draws_the_same_and_cold_draws_keep_the_order() -> None:
    warm = ExplorationConfig(temperature=1.0)
    one, again, other = (fill(40, 10, exploration=warm, seed=seed) for seed in (3, 3, 4))
    assert one.places.tolist() == again.places.tolist()
    assert one.marginal.tolist() == again.marginal.tolist()
    assert one.places.tolist() != other.places.tolist()
    cold = fill(40, 10, exploration=ExplorationConfig(temperature=0.01), seed=5)
    assert cold.places.tolist() == list(range(10))
    assert cold.conditional.min() > 0.99
    assert fill(40, 10, exploration=ExplorationConfig()).conditional.tolist() == [1.0] * 10


def test_what_is_below_the_pool_is_not_drawn_while_the_pool_lasts() -> None:
    config = ExplorationConfig(temperature=5.0, epsilon=0.5, pool=5)
    for seed in range(30):
        filled = fill(9, 7, exploration=config, seed=seed)
        assert set(filled.places[:5].tolist()) == set(range(5))
        assert filled.places[5:].tolist() == [5, 6]
        assert filled.conditional[5:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_slots_without_caps_follow_plackett_luce(temperature: float) -> None:
    weights = np.arange(1, 9) ** (-1 / temperature)
    overall = slot_probabilities(np.log(weights), 4)
    config = ExplorationConfig(temperature=temperature, pool=8, marginal_draws=4_000)
    for seed in range(10):
        filled = fill(8, 4, exploration=config, seed=seed)
        left = weights.copy()
        for slot, item in enumerate(filled.places.tolist()):
            assert filled.conditional[slot] == pytest.approx(left[item] / left.sum())
            left[item] = 0
            if not np.isnan(filled.marginal[slot]):
                assert filled.marginal[slot] == pytest.approx(overall[slot, item], abs=0.02)


def test_a_list_drawn_at_once_has_the_probabilities_of_one_drawn_slot_by_slot() -> None:
    useless = [Cap([[0]] * 30, 99)]  # never full, but it makes each slot look at what stands above
    for temperature, epsilon in ((0.2, 0.0), (0.05, 0.0), (1.0, 0.5), (0.3, 1.0)):
        config = ExplorationConfig(temperature=temperature, epsilon=epsilon, pool=20, marginal_draws=0)
        at_once = fill(30, 8, pins={2: 25}, exploration=config, seed=1)
        walk = [fill(30, 8, pins={2: 25}, caps=useless, exploration=config, seed=seed) for seed in range(150)]
        same = [one for one in walk if one.places[0] == at_once.places[0]]
        assert all(one.conditional[0] == pytest.approx(at_once.conditional[0]) for one in same)
        both = [one for one in same if one.places[1] == at_once.places[1]]
        for one in both:
            assert one.conditional[1] == pytest.approx(at_once.conditional[1])
        assert same
        assert at_once.conditional[2] == at_once.marginal[2] == 1.0  # pinned
        for one in (at_once, walk[0]):  # nothing stands above the first slot, so its chance needs no estimate
            assert one.marginal[0] == one.conditional[0]
            assert np.isnan(one.marginal[[1, *range(3, 8)]]).all()
