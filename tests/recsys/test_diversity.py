from __future__ import annotations

import itertools

import numpy as np
import pytest

from features.vectors.rows import unit_rows
from recsys.diversity import DiversityConfig, diversify, dpp, merit_of_places, mmr


def naive_mmr(merit: np.ndarray, units: np.ndarray, k: int, share: float) -> list[int]:
    taken: list[int] = []
    for _ in range(k):
        best, best_value = -1, -np.inf
        for item in range(len(merit)):
            if item in taken:
                continue
            nearest = max([0.0, *(float(units[item] @ units[other]) for other in taken)])
            value = (1 - share) * merit[item] - share * nearest
            if value > best_value + 1e-12:
                best, best_value = item, value
        taken.append(best)
    return taken


def naive_dpp(merit: np.ndarray, units: np.ndarray, k: int, share: float) -> list[int]:
    """Every determinant anew."""
    kernel = 0.5 + 0.5 * units.astype(float) @ units.astype(float).T
    np.fill_diagonal(kernel, 1.0)
    taken: list[int] = []
    for _ in range(k):
        values = {}
        for item in set(range(len(merit))) - set(taken):
            chosen = [*taken, item]
            determinant = np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])[1]
            values[item] = (1 - share) * merit[chosen].sum() + share * determinant
        taken.append(max(sorted(values), key=values.__getitem__))
    return taken


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_both_methods_agree_with_their_definitions(share: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        merit = np.sort(rng.random(25))[::-1]
        units = unit_rows(rng.standard_normal((25, 6)).astype(np.float32))
        units[7] = 0
        assert mmr(merit, units, 10, share).tolist() == naive_mmr(merit, units, 10, share)
        assert dpp(merit, units, 6, share).tolist() == naive_dpp(merit, units, 6, share)


def test_the_greedy_determinant_is_near_the_best_of_all_sets() -> None:
    rng = np.random.default_rng(8)
    units = unit_rows(rng.standard_normal((9, 3)).astype(np.float32))
    kernel = 0.5 + 0.5 * units @ units.T
    best = max(np.linalg.det(kernel[np.ix_(some, some)]) for some in itertools.combinations(range(9), 3))
    greedy = dpp(np.zeros(9), units, 3, 1.0)
    assert np.linalg.det(kernel[np.ix_(greedy, greedy)]) >= (1 - 1 / np.e) * best


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_without_a_share_the_order_stays_and_with_one_a_copy_moves_down(method: str) -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
    merit = merit_of_places(4)
    stays = DiversityConfig(method=method, share=0)
    assert diversify(merit, vectors, 4, stays).tolist() == [0, 1, 2, 3]
    moves = DiversityConfig(method=method, share=0.6)
    order = diversify(merit, vectors, 4, moves).tolist()
    assert order[:2] == [0, 2]
    assert order[-1] == 1  # the copy of the first


def test_more_than_the_vectors_dimensions_can_be_taken() -> None:
    vectors = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    assert sorted(diversify(merit_of_places(10), vectors, 10, DiversityConfig(method="dpp"))) == list(range(10))


def test_the_merit_of_a_place_is_its_ndcg_discount() -> None:
    assert merit_of_places(3).tolist() == pytest.approx([1.0, 0.6309297535714575, 0.5])
