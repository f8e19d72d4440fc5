"""LightGCN (He et al. 2020): embeddings smoothed over the graph of users and items, without weights in between.

E(l+1) = D^{-1/2} A D^{-1/2} E(l),      z = (E(0) + ... + E(L)) / (L + 1),      score(u, i) = <z_u, z_i>
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeInt
from scipy import sparse
from torch.nn.functional import embedding

from features.checkpoint import fingerprint
from graph.blocks import Blocks
from graph.csr import Adjacency, close_order, mean_of_layers, normalized
from graph.sampling.neighborhood import Neighborhood, Neighborhoods
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.mf import search_pairs
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import PairModel, Scored, drawn, fit_pairs, settled
from recsys.models.sampled_pairs import SampledPairConfig, SampledPairLearner, SampledPairModel
from recsys.sampled import first_met
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class LightGCNConfig(SampledPairConfig):
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

    _place: torch.Tensor

    def __init__(self, likes: sparse.csr_matrix, config: LightGCNConfig, *, seed: int, device: str) -> None:
        super().__init__()
        graph = two_way(likes)
        self._n_users, self._layers = likes.shape[0], config.layers
        order = close_order(graph)
        self._adjacency = Adjacency.of(sparse.csr_matrix(graph[order][:, order]), device=device)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.register_buffer("_place", torch.from_numpy(place), persistent=False)
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


class SampledLightGCN(SampledPairModel):
    """LightGCN trained on drawn neighborhoods; all embeddings are told by propagation block by block.

    Args:
        likes: [n_users, n_items]; the liked pairs.
        time: float64 [n_pairs]; of each in the order of the matrix, None where only the batch's own pairs are hidden.
        config: width, start, layers and fan-outs.
        seed: of the start.
        device: where the embeddings live; the graph stays in the host's memory.

    Raises:
        InputError: the fan-outs do not fit the layers.
    """

    def __init__(
        self,
        likes: sparse.csr_matrix,
        time: NDArray[np.float64] | None,
        config: LightGCNConfig,
        *,
        seed: int,
        device: str,
    ) -> None:
        super().__init__()
        config.sampling.check(config.layers)
        self._n_users, self._layers = likes.shape[0], config.layers
        graph = two_way(likes)
        self._whole = Blocks(graph, device=device)
        self.node = drawn((graph.shape[0], config.dim), config, np.random.default_rng(seed))
        self.node.data *= torch.from_numpy((np.diff(graph.indptr) > 0).astype(np.float32))[:, None]
        fanouts = config.sampling.fanouts
        if time is None:
            self.neighborhoods = Neighborhoods({"likes": graph}, fanouts)
        else:
            pair = joined(sparse.csr_matrix((np.arange(likes.nnz), likes.indices, likes.indptr), shape=likes.shape))
            ones = sparse.csr_matrix((np.ones_like(graph.data), graph.indices, graph.indptr), shape=graph.shape)
            self.neighborhoods = Neighborhoods({"likes": ones}, fanouts, times={"likes": time[pair.data]})

    def near(self, drawn: Neighborhood) -> torch.Tensor:
        """Propagate over what was drawn."""
        start = self.node.index_select(0, drawn.node)
        return drawn.mean_of_layers(start, lambda relations, x: relations["likes"](x))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """Propagate over the whole graph, without gradients."""
        z = self._whole.mean_of_layers(self.node, self._layers)
        return Scored(z[users], z[self._n_users + items])

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of the embeddings before propagation."""
        own: torch.Tensor = embedding(torch.cat([users, self._n_users + items]), self.node, sparse=True)
        return own.square().sum()


def two_way(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Users, then items, in one numbering, both directions, normalized: float32 [n_users + n_items] squared."""
    return normalized(joined(likes))


def joined(pairs: sparse.csr_matrix) -> sparse.csr_matrix:
    """Users, then items, in one numbering, both directions: [n_users + n_items] squared, of the pairs' dtype."""
    one_way = pairs.tocoo()
    user, item = one_way.row.astype(np.int64), pairs.shape[0] + one_way.col.astype(np.int64)
    ends = np.concatenate([user, item]), np.concatenate([item, user])
    n = sum(pairs.shape)
    found = sparse.csr_matrix((np.concatenate([one_way.data, one_way.data]), ends), shape=(n, n))
    found.sort_indices()
    return found


def _search(trial: Trial) -> Changes:
    return {**search_pairs(trial), "layers": trial.suggest_int("layers", 1, 4)}


def _fit(split: Split, _: Knowledge, config: LightGCNConfig, job: Job) -> EmbeddingScorer:
    def build(likes: sparse.csr_matrix, config: LightGCNConfig, seed: int, device: str) -> LightGCN:
        return LightGCN(likes, config, seed=seed, device=device)

    def build_sampled(likes: sparse.csr_matrix, config: LightGCNConfig, seed: int, device: str) -> SampledLightGCN:
        return SampledLightGCN(likes, time, config, seed=seed, device=device)

    if not config.sampling:
        return fit_pairs("lightgcn", build, split, config, job)
    past = config.sampling.past and len(split.train) > 0
    time = first_met(split.train, split.train.matrix(binary=True)) if past else None
    times = "" if time is None else fingerprint(time)
    return fit_pairs("lightgcn", build_sampled, split, config, job, depends_on=times, learn=SampledPairLearner)


MODEL = Model("lightgcn", "LightGCN (He et al. 2020)", LightGCNConfig(), _fit, search=_search, settle=settled)
