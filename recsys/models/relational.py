"""Relational attention over the knowledge graph (`graph/models/relational.py`), of the family of KGAT and KGIN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from scipy import sparse

from features.checkpoint import fingerprint
from graph.knowledge_graph import KnowledgeGraph
from graph.models.relational import RelationalAttention, RelationalConfig
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.model import Changes, Job, Model
from recsys.models.on_graph import OnGraphConfig
from recsys.models.pairs import PairConfig, PairModel, Scored, fit_pairs, settled
from recsys.scorer import EmbeddingScorer

if TYPE_CHECKING:
    from optuna import Trial


class RelationalPairConfig(OnGraphConfig, PairConfig, RelationalConfig):
    """Settings of the relational attention model, of its graph, and of its training."""

    loss: Literal["bpr", "softmax"] = "softmax"
    learning_rate: float = Field(default=0.01, gt=0)
    evaluate_every: PositiveInt = 3


class RelationalPairs(PairModel):
    """The model as the shared training sees it.

    Args:
        graph: training edges only.
        content: float32 [n_items, d_content]; see `RelationalAttention`.
        config: shape of the model.
        seed: of the start.
        device: where it lives.
    """

    def __init__(
        self, graph: KnowledgeGraph, content: NDArray[np.float32], config: RelationalConfig, *, seed: int, device: str
    ) -> None:
        super().__init__()
        self.inner = RelationalAttention(graph, content, config, seed=seed, device=device)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> Scored:
        """Propagate once over the whole graph, and take some rows."""
        users_z, items_z = self.inner()
        return Scored(users_z[users], items_z[items], self.inner.bias[items])

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Of the embeddings before propagation."""
        return self.inner.own(users, items).square().sum()


def _search(trial: Trial) -> Changes:
    return {
        "temperature": trial.suggest_float("temperature", 0.08, 0.4, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-3, 4e-2, log=True),
        "penalty": trial.suggest_float("penalty", 1e-6, 1e-1, log=True),
        "layers": trial.suggest_int("layers", 1, 3),
        "knowledge": trial.suggest_float("knowledge", 0.05, 1.0, log=True),
        "intents": trial.suggest_categorical("intents", [1, 4]),
        "graph.together": trial.suggest_categorical("together", [0, 10]),
    }


def _fit(split: Split, known: Knowledge, config: RelationalPairConfig, job: Job) -> EmbeddingScorer:
    graph = config.graph_of(split.train, known)
    content = known.content(image_share=config.image_share)

    def build(_: sparse.csr_matrix, config: RelationalPairConfig, seed: int, device: str) -> RelationalPairs:
        return RelationalPairs(graph, content, config, seed=seed, device=device)

    depends_on = fingerprint(content, *graph.parts())
    return fit_pairs("relational", build, split, config, job, depends_on=depends_on)


MODEL = Model(
    "relational",
    "relational attention over the knowledge graph, of the family of KGAT and KGIN (Wang et al. 2019, 2021)",
    RelationalPairConfig(),
    _fit,
    search=_search,
    uses=frozenset({"text", "image", "audio", "match", "attributes", "item_graph", "other_behavior"}),
    settle=settled,
)
