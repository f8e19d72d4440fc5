"""From a shop's tables to its knowledge graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from features.section import Section
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.neighbors import Neighbors
from graph.price_bands import PRICE, price_bands
from graph.schema import ITEM, USER, EdgeType, alike, attribute_type, behavior, has_attribute


class GraphConfig(Section):
    """What becomes a node and an edge."""

    min_shared: PositiveInt = 2
    """An attribute value becomes a node where at least so many items (or users) have it; one owner connects nothing."""
    price_bands: NonNegativeInt = 10
    """Prices become an attribute of so many equally filled bands; 0 leaves prices out."""


def build_graph(
    catalog: Catalog,
    train: Interactions,
    user_attributes: Attributes,
    item_neighbors: dict[str, Neighbors],
    config: GraphConfig,
) -> KnowledgeGraph:
    """Connect users, items, attribute values and look-alikes; only training events become edges.

    Args:
        catalog: every item, with its attributes.
        train: the events to learn from; several events of one type between a user and an item become one edge of
            their summed weight.
        user_attributes: facts of the users of `train.users`.
        item_neighbors: content neighbors by kind of likeness, such as "text"; scores that are not positive make
            no edge.
        config: what becomes a node.

    Raises:
        ValueError: the tables disagree about items, or a rule of the graph is broken (`KnowledgeGraph.validate`).
    """
    if train.items != catalog.items:
        raise ValueError(
            f"events and catalog must share one item vocabulary, they have {len(train.items)} and {len(catalog.items)}"
        )
    vocabularies = {USER: train.users, ITEM: catalog.items}
    edges: dict[EdgeType, EdgeList] = {}
    for event_type in sorted(set(train.event_type.tolist())):
        of_type = train.where(train.event_type == event_type)
        summed = of_type.matrix().tocoo()
        edges[behavior(event_type)] = EdgeList(
            summed.row.astype(np.int64), summed.col.astype(np.int64), summed.data.astype(np.float32)
        )
    facts = [
        (owner, name, attributes.only(name).row_idx, attributes.only(name).value)
        for owner, attributes in ((ITEM, catalog.attributes), (USER, user_attributes))
        for name in attributes.names()
    ]
    if config.price_bands:
        facts.append((ITEM, PRICE, *price_bands(catalog.price, config.price_bands)))
    for owner, name, rows, values in facts:
        shared = _values(rows, values, config.min_shared)
        if shared is not None:
            vocabularies[attribute_type(owner, name)], edges[has_attribute(owner, name)] = shared
    for kind, neighbors in sorted(item_neighbors.items()):
        if len(neighbors) != len(catalog):
            raise ValueError(f"{kind} neighbors must have a row an item ({len(catalog)}), they have {len(neighbors)}")
        place = np.nonzero((neighbors.idx >= 0) & (neighbors.score > 0))
        if len(place[0]):
            edges[alike(kind)] = EdgeList(place[0].astype(np.int64), neighbors.idx[place], neighbors.score[place])
    return KnowledgeGraph.of(vocabularies, edges)


def _values(
    rows: NDArray[np.int64], values: NDArray[np.object_], min_shared: int
) -> tuple[Vocabulary, EdgeList] | None:
    """The shared values of one attribute, and who has them as edges of weight 1; None where no value is shared."""
    names, codes = np.unique(values.astype(str), return_inverse=True)
    pairs = np.unique(np.stack([rows, codes.astype(np.int64)]), axis=1)
    kept = np.flatnonzero((np.bincount(pairs[1], minlength=len(names)) >= min_shared) & (names != ""))
    if len(kept) == 0:
        return None
    new_row = np.full(len(names), -1, dtype=np.int64)
    new_row[kept] = np.arange(len(kept))
    dst = new_row[pairs[1]]
    there = dst >= 0
    edges = EdgeList(pairs[0][there], dst[there], np.ones(int(there.sum()), dtype=np.float32))
    return Vocabulary(tuple(names[kept].tolist())), edges
