"""The checkerboard world: even users like even items, whose texts say their parity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import ItemVectors
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.content import item_content
from graph.models.kg_gnn import GNNConfig
from graph.neighbors import top_neighbors
from recsys.training import FittedGNN, TrainConfig, fit_gnn

N_USERS, N_ITEMS = 60, 48
MODEL = GNNConfig(dim=16)
TRAIN = TrainConfig(epochs=30)


@dataclass(frozen=True)
class World:
    """Even users like even items. Items 40.. are new; an item's text says its parity, its picture nothing."""

    catalog: Catalog
    train: Interactions
    valid: Interactions
    vectors: ItemVectors

    def fit(self, run_dir: Path, *, seed: int = 0, model: GNNConfig = MODEL, **changes: object) -> FittedGNN:
        fields = {"train": self.train, "valid": self.valid, "vectors": self.vectors, "config": TRAIN} | changes
        of: GraphConfig = fields.pop("graph_config", GraphConfig())  # type: ignore[assignment]
        vectors: ItemVectors = fields.pop("vectors")  # type: ignore[assignment]
        neighbors = {"text": top_neighbors(vectors.text.vectors, 4, mask=vectors.text.mask)}
        graph = build_graph(self.catalog, fields["train"], Attributes.of([]), neighbors, of)  # type: ignore[arg-type]
        return fit_gnn(
            graph,
            graph_config=of,
            content=item_content(vectors, MatchScores.unknown(N_ITEMS), image_share=model.image_share),
            model_config=model,
            run_dir=run_dir,
            seed=seed,
            **fields,  # type: ignore[arg-type]
        )


def events(catalog: Catalog, liked: NDArray[np.bool_]) -> Interactions:
    user, item = np.nonzero(liked)
    users = Vocabulary(tuple(f"u{i}" for i in range(len(liked))))
    n = len(user)
    return Interactions(
        users, catalog.items, user, item, np.full(n, "like", dtype=object), np.ones(n, dtype=np.float32)
    )
