"""Who is connected to what: users, items and attribute values as typed nodes, with typed, weighted edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.vocabulary import Vocabulary
from graph.schema import EdgeType, is_item_attribute, is_reverse, reverse, spell

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True, eq=False)
class EdgeList:
    """The edges of one relation.

    Args:
        src: int64 [n_edges]; rows of the source type.
        dst: int64 [n_edges]; rows of the target type.
        weight: float32 [n_edges], > 0.

    Raises:
        ValueError: the arrays differ in length.
    """

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    weight: NDArray[np.float32]

    def __post_init__(self) -> None:
        if not len(self.src) == len(self.dst) == len(self.weight):
            raise ValueError(
                f"edge arrays must have one length, got {len(self.src)}, {len(self.dst)}, {len(self.weight)}"
            )

    def __len__(self) -> int:
        return len(self.src)

    def reversed(self) -> EdgeList:
        """The same edges, row by row, in the other direction."""
        return EdgeList(self.dst, self.src, self.weight)

    def matrix(self, n_src: int, n_dst: int) -> sparse.csr_matrix:
        """Weights as a float32 matrix [n_src, n_dst]."""
        return sparse.csr_matrix((self.weight, (self.src, self.dst)), shape=(n_src, n_dst), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Nodes and edges by type; the names of the types are in `graph/schema.py`.

    Args:
        n_nodes: number of nodes of each type.
        vocabularies: outside name of each node, by type.
        edges: edges of each triple; every triple stands beside its reverse.
    """

    n_nodes: dict[str, int]
    vocabularies: dict[str, Vocabulary]
    edges: dict[EdgeType, EdgeList]

    @classmethod
    def of(cls, vocabularies: dict[str, Vocabulary], forward: dict[EdgeType, EdgeList]) -> KnowledgeGraph:
        """A validated graph from edges in one direction; the reverses are added.

        Raises:
            ValueError: see `validate`.
        """
        edges: dict[EdgeType, EdgeList] = {}
        for edge_type, listed in forward.items():
            edges[edge_type] = listed
            edges[reverse(edge_type)] = listed.reversed()
        graph = cls({kind: len(names) for kind, names in vocabularies.items()}, vocabularies, edges)
        graph.validate()
        return graph

    @property
    def forward(self) -> dict[EdgeType, EdgeList]:
        """The edges without the reverses."""
        return {edge_type: listed for edge_type, listed in self.edges.items() if not is_reverse(edge_type)}

    @property
    def item_values(self) -> list[tuple[str, str]]:
        """Attribute and value of each node that stands for a value of the items, attribute by attribute."""
        kinds = [kind for kind in sorted(self.n_nodes) if is_item_attribute(kind)]
        return [(kind.partition(":")[2], value) for kind in kinds for value in self.vocabularies[kind]]

    def parts(self) -> list[str | NDArray[np.generic]]:
        """Numbers of nodes, and edges in one direction: all that models make of a graph, for a fingerprint."""
        found: list[str | NDArray[np.generic]] = [str(self.n_nodes)]
        for edge_type, listed in self.forward.items():
            found += [spell(edge_type), listed.src, listed.dst, listed.weight]
        return found

    def validate(self) -> None:
        """Check every rule of the graph.

        Raises:
            ValueError: node counts and vocabularies disagree; a triple names an unknown type or lacks its exact
                reverse; an edge leaves the range of its type, has a weight that is not positive and finite, is
                there twice, or joins a node with itself. The message names the relation and the row.
        """
        if set(self.n_nodes) != set(self.vocabularies):
            raise ValueError(
                f"node types must each have a count and a vocabulary, only one of the two is given for "
                f"{sorted(set(self.n_nodes) ^ set(self.vocabularies))}"
            )
        for kind, names in self.vocabularies.items():
            if len(names) != self.n_nodes[kind]:
                raise ValueError(f"node type {kind!r} has {self.n_nodes[kind]} nodes but {len(names)} names")
        for edge_type, listed in self.edges.items():
            self._validate_relation(edge_type, listed)

    def _validate_relation(self, edge_type: EdgeType, listed: EdgeList) -> None:
        where = f"relation {spell(edge_type)}"
        source, _, target = edge_type
        for kind in (source, target):
            if kind not in self.n_nodes:
                raise ValueError(f"{where}: node type {kind!r} is not one of {sorted(self.n_nodes)}")
        for side, rows, kind in (("source", listed.src, source), ("target", listed.dst, target)):
            outside = np.flatnonzero((rows < 0) | (rows >= self.n_nodes[kind]))
            if len(outside):
                row = int(outside[0])
                raise ValueError(
                    f"{where}: {side} must be in [0, {self.n_nodes[kind]}), row {row} has {int(rows[row])}"
                )
        bad = np.flatnonzero(~(np.isfinite(listed.weight) & (listed.weight > 0)))
        if len(bad):
            raise ValueError(f"{where}: weight must be > 0 and finite, row {bad[0]} has {listed.weight[bad[0]]}")
        if source == target:
            loops = np.flatnonzero(listed.src == listed.dst)
            if len(loops):
                raise ValueError(
                    f"{where}: no {source} is its own neighbor, row {loops[0]} joins {listed.src[loops[0]]}"
                )
        keys = listed.src * self.n_nodes[target] + listed.dst
        order = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
        if len(twice):
            row = int(order[twice[0] + 1])
            raise ValueError(f"{where}: an edge must be there once, row {row} repeats {self._edge(edge_type, row)}")
        mirrored = self.edges.get(reverse(edge_type))
        if mirrored is None:
            raise ValueError(f"{where}: its reverse {spell(reverse(edge_type))} is missing")
        if len(mirrored) != len(listed):
            raise ValueError(f"{where}: has {len(listed)} edges but its reverse has {len(mirrored)}")
        differs = np.flatnonzero(
            (mirrored.src != listed.dst) | (mirrored.dst != listed.src) | (mirrored.weight != listed.weight)
        )
        if len(differs):
            raise ValueError(f"{where}: its reverse must mirror it row by row, row {differs[0]} does not")

    def _edge(self, edge_type: EdgeType, row: int) -> str:
        source, _, target = edge_type
        listed = self.edges[edge_type]
        names = self.vocabularies[source][listed.src[row]], self.vocabularies[target][listed.dst[row]]
        return f"({names[0]!r}, {names[1]!r})"

    def to_hetero(self) -> HeteroData:
        """As PyTorch Geometric's `HeteroData`: `num_nodes` a type, `edge_index` int64 [2, n_edges] and
        `edge_weight` float32 [n_edges] a triple, reverses included.
        """
        import torch

        from graph.pyg import HeteroData

        data = HeteroData()
        for kind, count in self.n_nodes.items():
            data[kind].num_nodes = count
        for edge_type, listed in self.edges.items():
            data[edge_type].edge_index = torch.from_numpy(np.stack([listed.src, listed.dst]))
            data[edge_type].edge_weight = torch.from_numpy(listed.weight.copy())
        return data

    def summary(self) -> dict[str, dict[str, int]]:
        """Counts of nodes by type and of edges by relation (one direction), for logs and reports."""
        return {
            "nodes": dict(self.n_nodes),
            "edges": {spell(edge_type): len(listed) for edge_type, listed in self.forward.items()},
        }
