"""What training ratings and facts say about a pair, as a few numbers: the input of the flagship.

With R the liked pairs (n_u, n_i a user's and an item's number of them), R~ = D_u^{-1/2} R D_i^{-1/2}, and F the facts:

    popularity    log(n_i + .3)
    taste         mean of the popularity signal over what the user likes
    activity      log(n_u + 1)
    neighbors     log sum over liked j of |users of both| / sqrt(n_j)           item-kNN over all items
    spectral_K    (R~ V_K V_K^T)_ui sqrt(n_i)     V_K: first K right singular vectors of R~; the ideal low-pass filter
                                                  of graph filtering (Shen et al. 2021)
    alike         log sum over liked j of the cosine of F_i and F_j, a fact weighing 1 / sqrt(items that have it)
    alike_liked   log sum over all j of that cosine times n_j
    n_facts       log(facts of the item + 1)

A signal of a pair must not have seen its label: `recsys/ctr/flagship.py` takes those of training pairs from
other folds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from graph.csr import inverse_root
from recsys.ctr.ratings import Ratings

CHUNK = 512
"""Users whose rows of scores are held at once."""


class Signals:
    """The signals that some ratings give.

    Args:
        ratings: what is known.
        facts: float64 [n_items, n_nodes]; see `FactGraph.item_facts`.
        ranks: the K of the spectral signals; those above the smaller side of the matrix are cut to it.
        seed: of the start of the singular vectors.
    """

    def __init__(self, ratings: Ratings, facts: sparse.csr_matrix, *, ranks: tuple[int, ...], seed: int) -> None:
        self.names = (
            "popularity",
            "taste",
            "activity",
            "neighbors",
            *(f"spectral_{rank}" for rank in ranks),
            "alike",
            "alike_liked",
            "n_facts",
        )
        self._liked = ratings.matrix(1).astype(np.float64)
        n_i, n_u = (np.asarray(self._liked.sum(axis=axis)).ravel() for axis in (0, 1))
        self._popularity, self._activity = np.log(n_i + 0.3), np.log(n_u + 1)
        self._taste = (self._liked @ self._popularity) / np.maximum(n_u, 1)
        together = sparse.csr_matrix(self._liked.T @ self._liked)
        together.setdiag(0)
        self._neighbors = sparse.csr_matrix(sparse.diags(inverse_root(n_i)) @ together)
        filtered = sparse.csr_matrix(sparse.diags(inverse_root(n_u)) @ self._liked @ sparse.diags(inverse_root(n_i)))
        self._spectra = [
            ((filtered @ vectors.T), vectors * np.sqrt(n_i)) for vectors in _right_vectors(filtered, ranks, seed)
        ]
        having = np.asarray(facts.sum(axis=0)).ravel()
        weighted = sparse.csr_matrix(facts @ sparse.diags(inverse_root(having)))
        lengths = np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel()
        unit = sparse.csr_matrix(sparse.diags(inverse_root(lengths)) @ weighted)
        alike = sparse.csr_matrix(unit @ unit.T)
        alike.setdiag(0)
        self._alike, self._alike_liked = alike, np.log(alike @ n_i + 0.1)
        self._n_facts = np.log(np.asarray(facts.sum(axis=1)).ravel() + 1)

    def of(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """The signals of some pairs, float32 [n, len(names)]."""
        columns = [
            self._popularity[item_idx],
            self._taste[user_idx],
            self._activity[user_idx],
            np.log(self._at(self._neighbors, user_idx, item_idx) + 0.05),
            *(np.einsum("nk,kn->n", users[user_idx], items[:, item_idx]) for users, items in self._spectra),
            np.log(self._at(self._alike, user_idx, item_idx) + 0.02),
            self._alike_liked[item_idx],
            self._n_facts[item_idx],
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def _at(
        self, likeness: sparse.csr_matrix, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Sum over what each user likes of its likeness with the item, float64 [n]."""
        found = np.zeros(len(user_idx))
        for rows, users in _chunks(user_idx):
            scores = (self._liked[users] @ likeness).toarray()
            found[rows] = scores[np.searchsorted(users, user_idx[rows]), item_idx[rows]]
        return found


def _chunks(user_idx: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of pairs with their different users, a few users at a time."""
    order = np.argsort(user_idx, kind="stable")
    users = np.unique(user_idx)
    for start in range(0, len(users), CHUNK):
        some = users[start : start + CHUNK]
        left, right = np.searchsorted(user_idx[order], [some[0], some[-1] + 1])
        yield order[left:right], some


def _right_vectors(matrix: sparse.csr_matrix, ranks: tuple[int, ...], seed: int) -> list[NDArray[np.float64]]:
    """The first K right singular vectors for each K, each float64 [K, n_columns]."""
    most = min(max(ranks), min(matrix.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    vectors = svds(matrix, k=most, v0=start)[2]
    strongest_first = vectors[::-1]
    return [np.ascontiguousarray(strongest_first[:rank]) for rank in ranks]
