from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recsys import validation
from recsys.validation import Validator


@pytest.fixture
def world() -> tuple[sparse.csr_matrix, sparse.csr_matrix, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    seen = sparse.csr_matrix(rng.random((30, 60)) < 0.2, dtype=np.float32)
    held = sparse.csr_matrix((rng.random((30, 60)) < 0.1) & (seen.toarray() == 0), dtype=np.float32)
    users, items = (rng.standard_normal((n, 4)).astype(np.float32) for n in (30, 60))
    return seen, held, torch.from_numpy(users), torch.from_numpy(items)


@pytest.mark.parametrize("chunk", [2**24, 100])
def test_recall_is_that_of_a_naive_loop(world: tuple, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    monkeypatch.setattr(validation, "CHUNK_SCORES", chunk)
    seen, held, users, items = world
    raised = np.arange(60) % 7 == 0
    for bonus in (0.0, 1.5):
        recalls = []
        for user in range(30):
            scores = (users[user] @ items.T).numpy() + bonus * raised
            order = [i for i in np.argsort(-scores) if not seen[user, i]][:20]
            liked = set(held[user].indices.tolist())
            if liked:
                recalls.append(len(liked & set(order)) / len(liked))
        found = Validator(seen, held).recall(users, items, torch.from_numpy(raised), (bonus,))
        assert found == [pytest.approx(np.mean(recalls))]


def test_without_validation_pairs_recall_is_undefined() -> None:
    none = sparse.csr_matrix((2, 3), dtype=np.float32)
    validator = Validator(none, none)
    assert np.isnan(validator.recall(torch.ones(2, 1), torch.ones(3, 1), torch.zeros(3, dtype=torch.bool))).all()


def test_many_users_are_judged_by_a_sample(world: tuple) -> None:  # type: ignore[type-arg]
    seen, held, _, _ = world
    assert len(Validator(seen, held, max_users=10)) == 10
