"""Recall on the validation pairs, with bounded memory: when training should stop, and how far to raise newcomers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from recsys import metrics
from recsys.held_out import among

K = 20
"""Models are chosen by recall@20."""
CHUNK_SCORES = 2**24
"""Most scores held at once."""


class Validator:
    """Recall@20 over all items, training items left out, averaged over users with validation pairs.

    Args:
        seen: [n_users, n_items]; training pairs.
        held_out: [n_users, n_items]; validation pairs.
        max_users: more users than this are judged by a sample of this size.
        seed: of the sample.
    """

    def __init__(
        self, seen: sparse.csr_matrix, held_out: sparse.csr_matrix, *, max_users: int = 20_000, seed: int = 0
    ) -> None:
        users = np.flatnonzero(np.diff(held_out.indptr))
        if len(users) > max_users:
            users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
        self._users: NDArray[np.int64] = users.astype(np.int64)
        self._seen, self._held_out = seen[users], held_out[users]

    def __len__(self) -> int:
        return len(self._users)

    def recall(
        self, users: torch.Tensor, items: torch.Tensor, raised: torch.Tensor, bonuses: Sequence[float] = (0.0,)
    ) -> list[float]:
        """Mean recall@20 under score = dot product, plus a bonus for some items; NaN without validation pairs.

        Args:
            users: float [n_users, dim].
            items: float [n_items, dim], on the same device.
            raised: bool [n_items]; the items that get the bonus.
            bonuses: what to add to their scores.

        Returns:
            One recall a bonus.
        """
        if len(self) == 0:
            return [float("nan")] * len(bonuses)
        n_items = int(self._seen.shape[1])
        width = min(K, n_items)
        step = max(1, CHUNK_SCORES // n_items)
        total = np.zeros(len(bonuses))
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            scores = users[torch.from_numpy(self._users[rows]).to(users.device)] @ items.T
            own = self._seen[rows].tocoo()
            scores[torch.from_numpy(own.row.astype(np.int64)), torch.from_numpy(own.col.astype(np.int64))] = -torch.inf
            held = self._held_out[rows].tocoo()
            keys = np.sort(held.row * np.int64(n_items) + held.col)
            n_liked = np.bincount(held.row, minlength=scores.shape[0])
            for place, bonus in enumerate(bonuses):
                shifted = scores + bonus * raised if bonus else scores
                top = shifted.topk(width, dim=1).indices.cpu().numpy()
                hits = among(np.arange(len(top))[:, None] * np.int64(n_items) + top, keys)
                total[place] += metrics.recall(hits, n_liked, K).sum()
        return [float(recall) for recall in total / len(self)]
