"""What a fit learned, written as the bundle that is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from features.catalog import Catalog
from graph.knowledge_graph import KnowledgeGraph
from recsys.bundle_writer import write_bundle
from recsys.config import FitConfig
from recsys.prepare import Prepared
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import Standing
from recsys.run_folder import RunFolder
from recsys.similar import co_liked, similar_lists
from recsys.training import FittedGNN


def bundle_of(
    prepared: Prepared,
    graph: KnowledgeGraph,
    fitted: FittedGNN,
    config: FitConfig,
    folder: RunFolder,
    *,
    networks: dict[str, bytes | Path],
    metrics: dict[str, Any],
    request: dict[str, Any],
    ranker: LinearRanker | None,
    standing: Standing | None,
) -> Path:
    """Write what serving needs; what users have seen and what is popular is told by all of the shop's events."""
    match = folder.runs / "match" if prepared.match.fitted else None
    if match is not None:
        prepared.match.save(match)
    shop, events = prepared.shop, prepared.shop.interactions
    likes = events.matrix(binary=True)
    similar_idx, similar_score = similar_lists(
        fitted.item_directions, prepared.content, prepared.scores.score, k=config.similar
    )
    co_idx, co_count = co_liked(likes)
    return write_bundle(
        folder.bundle,
        items=shop.catalog.items,
        users=events.users,
        item_embeddings=fitted.item_directions,
        item_prior=fitted.item_embeddings[:, -1],
        user_embeddings=fitted.user_embeddings[:, :-1],
        text_vectors=prepared.vectors.text.vectors,
        image_vectors=prepared.vectors.image.vectors,
        popularity=np.asarray(likes.sum(axis=0), dtype=np.float32).ravel(),
        match_scores=prepared.scores.score,
        display=displays(shop.catalog),
        seen=events.met(),
        similar_idx=similar_idx,
        similar_score=similar_score,
        neighbors={kind: (near.idx, near.score) for kind, near in prepared.neighbors.items()},
        co_idx=co_idx,
        co_count=co_count,
        config=config.model_dump(mode="json"),
        metrics=metrics,
        onnx=networks,
        cold=(fitted.cold, graph.item_values),
        search=config.search,
        index_storage=config.index_storage,
        ranker=ranker,
        standing=standing,
        match=match,
        fingerprints={"shop": request["shop_fingerprint"], "split": request["split_fingerprint"]},
    )


def displays(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """What a page shows of each item, in row order."""
    attributes: list[dict[str, list[str]]] = [{} for _ in range(len(catalog))]
    facts = catalog.attributes
    for row, name, value in zip(facts.row_idx.tolist(), facts.name.tolist(), facts.value.tolist(), strict=True):
        attributes[row].setdefault(name, []).append(value)
    for row, item_id in enumerate(catalog.items):
        price = float(catalog.price[row])
        yield {
            "item_id": item_id,
            "title": catalog.title[row],
            "description": catalog.description[row],
            "price": price if np.isfinite(price) else None,
            "available": bool(catalog.available[row]),
            "image": catalog.image[row] or None,
            "attributes": attributes[row],
        }
