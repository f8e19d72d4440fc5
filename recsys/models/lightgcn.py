"""LightGCN (He et al. 2020): embeddings smoothed over the graph of users and items, without weights in between.

E(l+1) = D^{-1/2} A D^{-1/2} E(l),      z = (E(0) + ... + E(L)) / (L + 1),      score(u, i) = <z_u, z_i>
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import NonNegativeInt
from scipy import sparse

from graph.csr import Adjacency, close_order, mean_of_layers, normalized
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.mf import search_pairs
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import PairConfig, PairModel, Scored, drawn, fit_pairs, settled
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class LightGCNConfig(PairConfig):
    """Settings of LightGCN."""

    layers: NonNegativeInt = 3
    """Steps of propagation."""


class LightGCN(PairModel):
    """Embeddings of users and items, stored in an order in which neighbors stand close.

    Args:
        likes: [n_users, n_items]; the liked pairs.
        config: width, start and layers.
        seed: of the start.
        device: where the graph lives.
    """

    def __init__(self, likes: sparse.csr_matrix, config: LightGCNConfig, *, seed: int, device: str) -> None:
        super().__init__()
        graph = two_way(likes)
        self._n_users, self._layers = likes.shape[0], config.layers
        order = close_order(graph)
        self._adjacency = Adjacency.of(sparse.csr_matrix(graph[order][:, order]), device=device)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.register_buffer("_place", torch.from_numpy(place), persistent=False)
        self._place: torch.Tensor
        self.node = drawn((len(order), config.dim), config, np.random.default_rng(seed))
        met = torch.from_numpy((np.diff(graph.indptr) > 0)[order].astype(np.float32))
        self.node.data *= met[:, None]  # who met nobody is nowhere, not somewhere by chance

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """Propagate once over the whole graph, and take some rows."""
        rows = torch.cat([users, self._n_users + items])
        z = mean_of_layers(self._adjacency, self.node, self._layers, self._place[rows])
        return Scored(z[: len(users)], z[len(users) :])

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of the embeddings before propagation."""
        return self.node[self._place[torch.cat([users, self._n_users + items])]].square().sum()


def two_way(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Users, then items, in one numbering, both directions, normalized: float32 [n_users + n_items] squared."""
    pairs = likes.tocoo()
    user, item = pairs.row.astype(np.int64), likes.shape[0] + pairs.col.astype(np.int64)
    ends = np.concatenate([user, item]), np.concatenate([item, user])
    n = sum(likes.shape)
    return normalized(sparse.csr_matrix((np.concatenate([pairs.data, pairs.data]), ends), shape=(n, n)))


def _search(trial: Trial) -> Changes:
    return {**search_pairs(trial), "layers": trial.suggest_int("layers", 1, 4)}


def _fit(split: Split, _: Knowledge, config: LightGCNConfig, job: Job) -> EmbeddingScorer:
    def build(likes: sparse.csr_matrix, config: LightGCNConfig, seed: int, device: str) -> LightGCN:
        return LightGCN(likes, config, seed=seed, device=device)

    return fit_pairs("lightgcn", build, split, config, job)


MODEL = Model("lightgcn", "LightGCN (He et al. 2020)", LightGCNConfig(), _fit, search=_search, settle=settled)
