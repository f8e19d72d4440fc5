"""The knowledge graph of rated items: what is liked, and the facts of the folder's triples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from features.interactions import Interactions
from features.quarantine import Quarantine
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.relations.triples import Triples, read_triples, triple_edges
from graph.schema import ENTITY, ITEM, USER, EdgeType, behavior
from recsys.ctr.ratings import Ratings


class FactGraph:
    """Facts about items, to which liked pairs can be added.

    Args:
        ratings: who and what there is; its labels are not looked at.
        triples: the facts; None for none.
        quarantine: takes the facts that cannot be used.
    """

    def __init__(self, ratings: Ratings, triples: Triples | None, *, quarantine: Quarantine) -> None:
        self._vocabularies = {USER: ratings.users, ITEM: ratings.items}
        self.facts: dict[EdgeType, EdgeList] = {}
        if triples is not None:
            entities, self.facts = triple_edges(triples, self._vocabularies, quarantine=quarantine)
            self._vocabularies[ENTITY] = entities

    @classmethod
    def read(cls, folder: Path, ratings: Ratings, *, quarantine: Quarantine) -> FactGraph:
        """From a benchmark folder; one without triples has no facts.

        Raises:
            InputError: the table of triples cannot be read.
        """
        return cls(ratings, read_triples(folder, quarantine=quarantine), quarantine=quarantine)

    def with_likes(self, liked: Interactions) -> KnowledgeGraph:
        """The graph of these pairs and all facts."""
        edges = EdgeList(liked.user_idx, liked.item_idx, liked.weight)
        return KnowledgeGraph.of(self._vocabularies, {behavior("like"): edges, **self.facts})

    def item_facts(self) -> sparse.csr_matrix:
        """Which node each item has a fact with, in either direction: 1 in float64 [n_items, n_items + n_entities]."""
        n_items = len(self._vocabularies[ITEM])
        n = n_items + len(self._vocabularies.get(ENTITY, ()))
        start = {ITEM: 0, ENTITY: n_items}
        ends = [
            np.stack([edges.src + start[source], edges.dst + start[target]])
            for (source, _, target), edges in self.facts.items()
        ]
        src, dst = np.concatenate([np.zeros((2, 0), dtype=np.int64), *ends], axis=1)
        one_way = sparse.csr_matrix((np.ones(len(src)), (src, dst)), shape=(n, n))
        return sparse.csr_matrix(((one_way + one_way.T) > 0).astype(np.float64)[:n_items])
