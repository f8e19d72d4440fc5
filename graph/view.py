"""One way to look at a graph, whether it lies in memory or on disk: nodes by name, neighbors by relation, paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.errors import InputError
from features.vocabulary import Vocabulary
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import ITEM, EdgeType, is_mutual
from graph.store.stored import StoredGraph

Node = tuple[str, int]
"""Node type and row."""


@dataclass(frozen=True)
class Neighbor:
    """One edge, seen from one of its ends.

    Args:
        edge_type: the relation, in its own direction.
        node: the other end.
        weight: of the edge.
        outward: whether the edge leads to the other end.
    """

    edge_type: EdgeType
    node: Node
    weight: float
    outward: bool


@dataclass(frozen=True, eq=False)
class View:
    """A graph to look at.

    Args:
        vocabularies: names of the nodes by type.
        labels: titles of the nodes of some types.
        n_edges: edges by relation, one direction.
        matrix: weights of a relation, [n_src, n_dst].
        rows: other ends and weights of the edges of one relation at one node, out of it or (True) into it.
    """

    vocabularies: Mapping[str, Vocabulary]
    labels: Mapping[str, Sequence[str]]
    n_edges: Mapping[EdgeType, int]
    matrix: Callable[[EdgeType], sparse.csr_matrix]
    rows: Callable[[EdgeType, int, bool], tuple[NDArray[np.int64], NDArray[np.float32]]] = field(repr=False)

    @classmethod
    def of(cls, graph: KnowledgeGraph, labels: Mapping[str, Sequence[str]]) -> View:
        """Of a graph in memory."""

        def rows(edge_type: EdgeType, row: int, into: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            listed = graph.edges[edge_type]
            here, there = (listed.dst, listed.src) if into else (listed.src, listed.dst)
            place = np.flatnonzero(here == row)
            return there[place], listed.weight[place]

        def matrix(edge_type: EdgeType) -> sparse.csr_matrix:
            return graph.edges[edge_type].matrix(graph.n_nodes[edge_type[0]], graph.n_nodes[edge_type[2]])

        counts = {edge_type: len(listed) for edge_type, listed in graph.forward.items()}
        return cls(graph.vocabularies, labels, counts, matrix, rows)

    @classmethod
    def of_stored(cls, stored: StoredGraph) -> View:
        """Of a saved graph; only what is looked at is read."""

        def rows(edge_type: EdgeType, row: int, into: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            relation = stored.relations[edge_type]
            return (relation.backward if into else relation.forward).of(row)

        counts = {edge_type: relation.n_edges for edge_type, relation in stored.relations.items()}
        return cls(stored.vocabularies, stored.labels, counts, stored.matrix, rows)

    def find(self, name: str) -> Node:
        """The node of a name: an item's id, or "TYPE/NAME" as "user/u7" or "item:brand/Acme"; without a type also the
        only node of any type that has the name.

        Raises:
            InputError: there is none, or several.
        """
        kind, slash, rest = name.partition("/")
        if slash and kind in self.vocabularies and rest in self.vocabularies[kind]:
            return kind, self.vocabularies[kind].idx(rest)
        if name in self.vocabularies.get(ITEM, ()):
            return ITEM, self.vocabularies[ITEM].idx(name)
        found = [(kind, names.idx(name)) for kind, names in self.vocabularies.items() if name in names]
        if len(found) == 1:
            return found[0]
        if found:
            spelled = ", ".join(f"{kind}/{name}" for kind, _ in found)
            raise InputError(f"{name!r} is the name of several nodes; say which: {spelled}")
        raise InputError(
            f"no node is called {name!r}; types are {', '.join(self.vocabularies)}: try TYPE/NAME"
            + self._titled(name.casefold())
        )

    def _titled(self, part: str, most: int = 3) -> str:
        """What to say of the nodes whose title holds a text in lower case."""
        found = [
            f"{kind}/{self.vocabularies[kind][row]} ({title})"
            for kind, titles in self.labels.items()
            for row, title in enumerate(titles)
            if part in title.casefold()
        ]
        more = f" and {len(found) - most} more" if len(found) > most else ""
        return f"; titles hold it: {', '.join(found[:most])}{more}" if found else ""

    def name(self, node: Node) -> str:
        """The outside name of a node."""
        return self.vocabularies[node[0]][node[1]]

    def title(self, node: Node) -> str:
        """The title of a node that has one, else its name."""
        titles = self.labels.get(node[0])
        return (titles[node[1]] if titles is not None else "") or self.name(node)

    def neighbors(self, node: Node) -> list[Neighbor]:
        """Every edge at a node, relation by relation; the heaviest first within one.

        Where both ends of likeness or company list each other, the heavier edge stands for both.
        """
        kind, row = node
        found: list[Neighbor] = []
        for edge_type in self.n_edges:
            source, _, target = edge_type
            here: list[Neighbor] = []
            for outward, near, far in ((True, source, target), (False, target, source)):
                if near == kind:
                    other, weight = self.rows(edge_type, row, not outward)
                    ends = zip(other.tolist(), weight.tolist(), strict=True)
                    here += [Neighbor(edge_type, (far, end), value, outward) for end, value in ends]
            if is_mutual(edge_type):
                best: dict[Node, Neighbor] = {}
                for one in here:
                    best[one.node] = max(one, best.get(one.node, one), key=lambda edge: edge.weight)
                found += sorted(best.values(), key=lambda one: (-one.weight, one.node))
            else:
                found += sorted(here, key=lambda one: (not one.outward, -one.weight, one.node))
        return found
