from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from recsys.replay.log import Log
from recsys.replay.plackett_luce import PlackettLuce, slot_probabilities
from recsys.replay.policy import ListPolicy, Logged, Mixture, TablePolicy, shown_shares

SCORES = np.array([2.0, 0.0, -1.0, 5.0])


def lists_by_hand(scores: np.ndarray, n_slots: int) -> dict[tuple[int, ...], float]:
    """Every list and its probability, drawn one item after the other."""
    strength = np.exp(scores)
    found = {}
    for items in itertools.permutations(range(len(scores)), n_slots):
        left, chance = strength.sum(), 1.0
        for item in items:
            chance *= strength[item] / left
            left -= strength[item]
        found[items] = chance
    return found


@pytest.mark.parametrize("n_slots", [1, 2, 4])
def test_slot_probabilities_are_those_of_all_lists_together(n_slots: int) -> None:
    by_hand = np.zeros((n_slots, 4))
    for items, chance in lists_by_hand(SCORES, n_slots).items():
        by_hand[range(n_slots), items] += chance
    np.testing.assert_allclose(slot_probabilities(SCORES, n_slots), by_hand, rtol=1e-9)


def test_an_item_without_a_chance_is_never_drawn_and_too_many_slots_are_refused() -> None:
    scores = np.array([0.0, -np.inf, 1.0])
    assert slot_probabilities(scores, 2)[:, 1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="3 slots need as many items"):
        slot_probabilities(scores, 3)


def test_given_what_stands_above_the_slots_of_a_list_multiply_to_its_probability(make_log: Callable[..., Log]) -> None:
    by_hand = lists_by_hand(SCORES, 3)
    items = list(by_hand)
    log = make_log(
        np.ravel(items), [0] * 3 * len(items), n_items=4, request=np.repeat(range(len(items)), 3),
        position=[0, 1, 2] * len(items), given_above=True,
    )  # fmt: skip
    policy = PlackettLuce("lists", SCORES[None], 3)
    rows = log.rows(slice(0, len(log)))
    of_slot = policy.of_logged(rows, given_above=True).reshape(-1, 3)
    np.testing.assert_allclose(of_slot.prod(axis=1), list(by_hand.values()), rtol=1e-9)

    values = np.random.default_rng(0).random((5, 3, 4))
    strength = np.exp(SCORES)
    found = policy.expected(rows, values, given_above=True)
    for row in range(len(log)):
        above = items[row // 3][: row % 3]
        left = [item for item in range(4) if item not in above]
        mean = sum(strength[item] * values[rows.fold[row], row % 3, item] for item in left) / strength[left].sum()
        assert found[row] == pytest.approx(mean)


def test_drawn_lists_come_as_often_as_they_should() -> None:
    drawn = PlackettLuce("lists", SCORES[None], 2).draw(np.random.default_rng(1), np.zeros(40_000, dtype=int), 2)
    for items, chance in lists_by_hand(SCORES, 2).items():
        share = (drawn == items).all(axis=1).mean()
        assert abs(share - chance) < 4 * np.sqrt(chance / 40_000)


def test_the_four_questions_agree_between_kinds_of_policy(make_log: Callable[..., Log]) -> None:
    """A list policy that spells out a table, and a mixture by hand, answer as the table does."""
    rng = np.random.default_rng(2)
    table = rng.dirichlet([1, 1, 1], size=4)
    n = 50
    group, position = rng.integers(2, size=n), rng.integers(2, size=n)
    log = make_log(rng.integers(3, size=n), rng.random(n), group=group, position=position, groups=("a", "b"))
    rows = log.rows(slice(0, n))
    cells = TablePolicy("table", table)
    lists = ListPolicy("lists", 3, np.tile(np.arange(3), (n, 1)), table[rows.cell])
    values, cluster_of = rng.random((5, 4, 3)), np.array([0, 1, 0])
    uniform = TablePolicy("uniform", np.full((4, 3), 1 / 3))
    mixed, by_hand = Mixture("mixed", cells, uniform, 0.25), TablePolicy("hand", 0.75 * table + 0.25 / 3)
    for one, other in ((cells, lists), (mixed, by_hand)):
        np.testing.assert_allclose(one.of_logged(rows, given_above=False), other.of_logged(rows, given_above=False))
        np.testing.assert_allclose(
            one.expected(rows, values, given_above=False), other.expected(rows, values, given_above=False)
        )
        np.testing.assert_allclose(one.share(rows, cluster_of), other.share(rows, cluster_of))
        np.testing.assert_allclose(one.exposure(rows), other.exposure(rows))
    row = 7
    assert cells.of_logged(rows, given_above=False)[row] == table[rows.cell[row], rows.item_idx[row]]
    assert cells.expected(rows, values, given_above=False)[row] == pytest.approx(
        table[rows.cell[row]] @ values[rows.fold[row], rows.cell[row]]
    )


def test_an_item_that_the_log_does_not_know_is_no_match_and_no_exposure(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 1], [0, 1])
    policy = ListPolicy("one", 3, np.array([[-1], [1]]), np.ones((2, 1)))
    rows = log.rows(slice(0, 2))
    assert policy.of_logged(rows, given_above=False).tolist() == [0, 1]
    assert policy.exposure(rows).tolist() == [0, 1, 0]


def test_the_logged_policy_has_the_logs_own_propensities_and_counts_the_rest(make_log: Callable[..., Log]) -> None:
    log = make_log([0, 0, 0, 2], [0, 0, 0, 0], propensity=[0.7, 0.6, 0.8, 0.2])
    assert Logged(log).of_logged(log.rows(slice(0, 4)), given_above=True).tolist() == [0.7, 0.6, 0.8, 0.2]
    assert shown_shares(log).tolist() == [[0.75, 0, 0.25]]


def test_a_table_that_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cell 1 sums to 0\.9"):
        TablePolicy("bad", np.array([[0.5, 0.5], [0.5, 0.4]]))
