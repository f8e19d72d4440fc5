"""From a shop's folder to its knowledge graph: `build_graph` with the tables that only the graph reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from features.encoders.config import EncoderConfig
from features.encoders.reviews import review_vectors
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.shop.reviews import read_reviews
from features.shop.shop import Shop
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from graph.neighbors import Neighbors, top_neighbors
from graph.relations.terms import learnable
from graph.relations.triples import read_triples
from graph.schema import REVIEWS

log = structlog.get_logger()


def graph_of_shop(
    shop: Shop,
    train: Interactions,
    item_neighbors: dict[str, Neighbors],
    config: GraphConfig,
    *,
    trust: MatchScores | None = None,
    content: NDArray[np.float32] | None = None,
    encoders: EncoderConfig,
    cache_dir: Path,
    quarantine: Quarantine,
) -> KnowledgeGraph:
    """As `build_graph`, with the reviews and facts of the shop's folder where the configuration asks for them.

    Args:
        shop: the shop.
        train: the events to learn from.
        item_neighbors: content neighbors by kind of likeness.
        config: what becomes a node and an edge.
        trust: match scores; see `build_graph`.
        content: fused vectors; see `build_graph`.
        encoders: which model reads reviews, where items shall be alike in these.
        cache_dir: encoded reviews are kept here.
        quarantine: takes reviews and facts that are refused.

    Raises:
        InputError: a table cannot be read, or the configuration asks for what the shop cannot give; see `build_graph`.
    """
    reviews = read_reviews(shop, quarantine=quarantine) if config.reads_reviews else None
    if config.reads_reviews and reviews is None:
        log.warning("no reviews: relations that are made of them are left out", shop=shop.name)
    kept = None if reviews is None else learnable(reviews, train)
    if kept is not None and REVIEWS in config.look_alikes:
        written = review_vectors(kept, len(shop.catalog), encoders, cache_dir=cache_dir).text
        near = top_neighbors(written.vectors, config.review_neighbors, mask=written.mask)
        item_neighbors = item_neighbors | {REVIEWS: near}
    return build_graph(
        shop.catalog,
        train,
        shop.users_attributes,
        item_neighbors,
        config,
        trust=trust,
        content=content,
        reviews=kept,
        triples=read_triples(shop.path, quarantine=quarantine) if config.triples else None,
        quarantine=quarantine,
    )
