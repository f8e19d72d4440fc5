from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsys.losses import softmax_loss
from recsys.negatives import Batch, draw_batch


def liked(pairs: list[tuple[int, int]], n_users: int, n_items: int) -> sparse.csr_matrix:
    rows, columns = zip(*pairs, strict=True)
    return sparse.csr_matrix((np.ones(len(pairs), dtype=np.float32), (rows, columns)), shape=(n_users, n_items))


def pairs_of(batch: Batch) -> set[tuple[int, int]]:
    return set(zip(batch.users[batch.user].tolist(), batch.items[batch.item].tolist(), strict=True))


def test_in_a_small_catalog_every_item_that_anybody_likes_is_a_candidate() -> None:
    matrix = liked([(0, 1), (0, 4), (1, 2), (2, 4)], 3, 6)
    batch = draw_batch(matrix, np.array([2, 0]), max_candidates=6, rng=np.random.default_rng(0))
    assert batch.items.tolist() == [1, 2, 4]  # 0, 3 and 5 are new: nobody could be taught that they are liked
    assert batch.log_inclusion.tolist() == [0, 0, 0]
    assert pairs_of(batch) == {(2, 4), (0, 1), (0, 4)}


def test_in_a_large_catalog_liked_items_stay_and_the_rest_is_a_bounded_sample() -> None:
    matrix = liked([(u, u) for u in range(100)], 100, 120)
    batch = draw_batch(matrix, np.arange(5), max_candidates=20, rng=np.random.default_rng(0))
    assert len(batch.items) == 20
    assert set(range(5)) < set(batch.items.tolist()) <= set(range(100))
    assert (np.diff(batch.items) > 0).all()
    assert pairs_of(batch) == {(u, u) for u in range(5)}
    certain = np.isin(batch.items, np.arange(5))
    assert (batch.log_inclusion[certain] == 0).all()
    np.testing.assert_allclose(np.exp(batch.log_inclusion[~certain]), 15 / 95, rtol=1e-6)


def test_more_liked_items_than_fit_wait_for_another_turn() -> None:
    matrix = liked([(0, item) for item in range(50)], 1, 50)
    rng = np.random.default_rng(0)
    drawn = [draw_batch(matrix, np.array([0]), max_candidates=10, rng=rng) for _ in range(60)]
    assert all(len(batch.items) == 10 and len(pairs_of(batch)) == 5 for batch in drawn)
    assert set.union(*(pairs_of(batch) for batch in drawn)) == {(0, item) for item in range(50)}


def test_the_sampled_sum_estimates_the_sum_over_the_catalog() -> None:
    import torch

    n_items = 200
    logits = torch.randn(1, n_items, generator=torch.Generator().manual_seed(0))
    matrix = liked([(0, 0), *((1, item) for item in range(n_items))], 2, n_items)
    user, item = torch.tensor([0]), torch.tensor([0])
    exact = (softmax_loss(logits, user, item) + logits[0, 0]).exp().item()
    rng, estimates = np.random.default_rng(0), []
    for _ in range(2000):
        batch = draw_batch(matrix, np.array([0]), max_candidates=20, rng=rng)
        some = logits[:, torch.from_numpy(batch.items)]
        inclusion = torch.from_numpy(batch.log_inclusion)
        at = torch.from_numpy(batch.item)
        estimates.append((softmax_loss(some, user, at, log_inclusion=inclusion) + logits[0, 0]).exp().item())
    assert np.mean(estimates) == pytest.approx(exact, rel=0.02)
