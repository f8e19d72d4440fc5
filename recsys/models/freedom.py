"""FREEDOM (Zhou & Shen 2023): a frozen graph of items alike, beside a behavior graph thinned anew each epoch.

Items: for each modality m the k nearest by cosine, each an edge of weight 1, S_m = D^{-1/2} K_m D^{-1/2} with D the
neighbors a row; S = sum of a_m S_m, never trained. Users and items: in each epoch a share of the edges is kept, drawn
without replacement with chance in proportion to 1 / sqrt(degree_u degree_i), and normalized anew; all are used when
judged. With E the embeddings, z as LightGCN's,

    z_u, z_i over the thinned graph,     h_i = z_i + (S^L E)_i,     score(u, i) = <z_u, h_i>
    loss = BPR(z_u, h) + w sum_m BPR(z_u, W_m f_m + c_m)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from scipy import sparse
from torch import nn

from features.checkpoint import fingerprint
from graph.content import centered
from graph.csr import Adjacency, inverse_root, mean_of_layers
from graph.directed import Directed, propagate_directed
from graph.neighbors import Neighbors
from recsys.held_out import Split
from recsys.losses import bpr_loss
from recsys.models.knowledge import Knowledge
from recsys.models.lightgcn import two_way
from recsys.models.mf import search_pairs
from recsys.models.model import Changes, Job, Model
from recsys.models.pairs import PairConfig, PairModel, Scored, drawn, fit_pairs, settled
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class FreedomConfig(PairConfig):
    """Settings of FREEDOM."""

    layers: NonNegativeInt = 2
    """Steps of propagation over users and items."""
    item_layers: NonNegativeInt = 1
    """Steps of propagation over alike items."""
    neighbors: PositiveInt = 10
    """Alike items of each item, by each modality."""
    image_share: float = Field(default=0.1, ge=0, le=1)
    """a of the picture; the other modalities share the rest alike. A modality that is alone has all."""
    dropped: float = Field(default=0.8, ge=0, lt=1)
    """Share of the edges between users and items that is left out of each epoch."""
    content_weight: NonNegativeFloat = 1e-3
    """w: weight of the loss on projected content."""


class Freedom(PairModel):
    """Embeddings over two graphs.

    Args:
        likes: [n_users, n_items]; the liked pairs.
        alike: [n_items, n_items]; S.
        features: float32 [n_items, d_m] a modality; f.
        config: sizes and shares.
        seed: of the start.
        device: where the graphs live.
    """

    def __init__(
        self,
        likes: sparse.csr_matrix,
        alike: sparse.csr_matrix,
        features: list[NDArray[np.float32]],
        config: FreedomConfig,
        *,
        seed: int,
        device: str,
    ) -> None:
        super().__init__()
        self._likes, self._config, self._device = likes, config, device
        self._n_users = likes.shape[0]
        rng = np.random.default_rng(seed)
        self.node = drawn((sum(likes.shape), config.dim), config, rng)
        self.maps = nn.ParameterList([drawn((one.shape[1], config.dim), config, rng) for one in features])
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(config.dim)) for _ in features])
        self._features = [torch.from_numpy(one).to(device) for one in features]
        self._alike = Directed.of(alike, device=device)
        self._whole = Adjacency.of(two_way(likes), device=device)
        self._graph = self._whole
        degree_u, degree_i = np.diff(likes.indptr), np.bincount(likes.indices, minlength=likes.shape[1])
        pairs = likes.tocoo()
        self._pull = inverse_root(degree_u)[pairs.row] * inverse_root(degree_i)[pairs.col]

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Thin the graph of users and items; edges between the busiest go first."""
        if self._config.dropped == 0:
            return
        n_kept = max(1, round((1 - self._config.dropped) * self._likes.nnz))
        turn = rng.exponential(size=self._likes.nnz) / self._pull  # the first n to ring: drawn without replacement
        kept = np.sort(np.argpartition(turn, n_kept - 1)[:n_kept])
        pairs = self._likes.tocoo()
        thin = sparse.csr_matrix((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=self._likes.shape)
        self._graph = Adjacency.of(two_way(thin), device=self._device)

    def begin_look(self) -> None:
        """Judged on the whole graph."""
        self._graph = self._whole

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """LightGCN's embeddings, the items' moved by their alike ones."""
        rows = torch.cat([users, self._n_users + items])
        z = mean_of_layers(self._graph, self.node, self._config.layers, rows)
        moved = self.node[self._n_users :]
        for _ in range(self._config.item_layers):
            moved = propagate_directed(self._alike, moved)
        return Scored(z[: len(users)], z[len(users) :] + moved[items])

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of the embeddings before propagation."""
        return self.node[torch.cat([users, self._n_users + items])].square().sum()

    def extra_loss(self, users: torch.Tensor, liked: torch.Tensor, others: torch.Tensor) -> torch.Tensor | None:
        """Content alone must tell the liked item from the other, too."""
        if self._config.content_weight == 0:
            return None
        total = users.new_zeros(())
        for features, by, shift in zip(self._features, self.maps, self.shifts, strict=True):
            one, other = (features[rows] @ by + shift for rows in (liked, others))
            total = total + bpr_loss((users * one).sum(dim=1), (users * other).sum(dim=1))
        return self._config.content_weight * total


def item_graph(neighbors: dict[str, Neighbors], image_share: float, n_items: int) -> sparse.csr_matrix:
    """S, float32 [n_items, n_items]; empty without neighbors."""
    others = max(len(neighbors) - ("image" in neighbors), 1)
    whole = sparse.diags(np.zeros(n_items, dtype=np.float32)).tocsr()
    for name, near in sorted(neighbors.items()):
        share = (
            1.0 if len(neighbors) == 1 else image_share if name == "image" else _rest(neighbors, image_share) / others
        )
        row, place = np.nonzero(near.idx >= 0)
        ones = np.ones(len(row), dtype=np.float32)
        alike = sparse.csr_matrix((ones, (row, near.idx[row, place])), shape=(n_items, n_items))
        scale = sparse.diags(inverse_root(np.diff(alike.indptr)))
        whole = sparse.csr_matrix(whole + share * (scale @ alike @ scale)).astype(np.float32)
    whole.eliminate_zeros()
    return whole


def _rest(neighbors: dict[str, Neighbors], image_share: float) -> float:
    return 1 - image_share if "image" in neighbors else 1.0


def _search(trial: Trial) -> Changes:
    return {
        **search_pairs(trial),
        "layers": trial.suggest_int("layers", 1, 3),
        "image_share": trial.suggest_categorical("image_share", [0.1, 0.3, 0.5]),
        "dropped": trial.suggest_categorical("dropped", [0.8, 0.5, 0.0]),
        "content_weight": trial.suggest_float("content_weight", 1e-4, 1e-1, log=True),
    }


def fit_freedom(split: Split, known: Knowledge, config: FreedomConfig, job: Job) -> EmbeddingScorer:
    """Train on both graphs; the best epoch as embeddings."""
    features = [centered(one) for _, one in sorted(known.modalities.items())]
    alike = item_graph(known.neighbors(config.neighbors), config.image_share, len(known.catalog))

    def build(likes: sparse.csr_matrix, config: FreedomConfig, seed: int, device: str) -> Freedom:
        return Freedom(likes, alike, features, config, seed=seed, device=device)

    depends_on = fingerprint(*features, alike.indptr, alike.indices, alike.data)
    return fit_pairs("freedom", build, split, config, job, depends_on=depends_on)


MODEL = Model(
    "freedom",
    "FREEDOM (Zhou & Shen 2023)",
    FreedomConfig(),
    fit_freedom,
    search=_search,
    uses=frozenset({"text", "image", "audio", "item_graph"}),
    needs_content=True,
    settle=settled,
)
