"""A saved graph: a folder of npy files and one JSON file, opened in milliseconds whatever its size.

graph.json                      format, node types, relations, settings, hashes; written last
nodes-00/bytes.npy, ends.npy    names of the nodes of a type; labels-00/ likewise, where nodes have titles
relation-00/forward/            start.npy, other.npy, weight.npy and, of events, total.npy
relation-00/backward/           the same edges by target
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy import sparse

from features.errors import InputError
from features.vocabulary import Vocabulary
from graph.build import GraphConfig
from graph.knowledge_graph import KnowledgeGraph
from graph.schema import EdgeType
from graph.store.files import digest, read_names, read_vocabulary
from graph.store.relation import StoredRelation

MANIFEST = "graph.json"
FORMAT = 1


@dataclass(frozen=True, eq=False)
class StoredGraph:
    """An open graph.

    Args:
        folder: where it lies.
        manifest: content of `graph.json`.
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> StoredGraph:
        """Open a graph; its arrays are read when they are needed.

        Raises:
            InputError: there is none, it is damaged, or of another version.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise InputError(f"{folder} holds no saved graph: {MANIFEST} is missing")
        try:
            manifest = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise InputError(f"{path} is damaged: {error}") from error
        if manifest.get("format") != FORMAT:
            raise InputError(f"{path}: graph format must be {FORMAT}, it is {manifest.get('format')!r}; build it anew")
        for name, told in manifest["files"].items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != told["bytes"]:
                raise InputError(f"{file} must have {told['bytes']} bytes; it is missing or damaged: build it anew")
        return cls(folder, manifest)

    def verify(self) -> None:
        """Compare every file with its hash.

        Raises:
            InputError: a file has changed; the message names it.
        """
        for name, told in self.manifest["files"].items():
            if digest(self.folder / name) != told["sha256"]:
                raise InputError(f"{self.folder / name} has changed since it was written: build the graph anew")

    @property
    def n_nodes(self) -> dict[str, int]:
        """Number of nodes of each type."""
        return {kind: told["count"] for kind, told in self.manifest["nodes"].items()}

    @property
    def config(self) -> GraphConfig:
        """How the graph was built."""
        return GraphConfig.model_validate(self.manifest["config"])

    @property
    def last_s(self) -> float | None:
        """Time of the last event, UTC seconds; None where events have no times."""
        last: float | None = self.manifest["events"]["last_s"]
        return last

    @cached_property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Names of the nodes, by type."""
        return {kind: read_vocabulary(self.folder / told["names"]) for kind, told in self.manifest["nodes"].items()}

    @cached_property
    def labels(self) -> dict[str, list[str]]:
        """Titles of the nodes, of those types that have any."""
        nodes = self.manifest["nodes"].items()
        return {kind: read_names(self.folder / told["labels"]) for kind, told in nodes if told["labels"]}

    @cached_property
    def relations(self) -> dict[EdgeType, StoredRelation]:
        """The relations, one direction."""
        found: dict[EdgeType, StoredRelation] = {}
        for told in self.manifest["relations"]:
            source, relation, target = told["type"]
            edge_type = (source, relation, target)
            found[edge_type] = StoredRelation(edge_type, self.folder / told["folder"], told["edges"])
        return found

    def load(self) -> KnowledgeGraph:
        """The whole graph in memory, validated.

        Raises:
            ValueError: see `KnowledgeGraph.validate`.
        """
        forward = {edge_type: relation.edge_list() for edge_type, relation in self.relations.items()}
        return KnowledgeGraph.of(self.vocabularies, forward)

    def matrix(self, edge_type: EdgeType) -> sparse.csr_matrix:
        """Weights of a relation as a sparse matrix whose arrays are the memory maps where they can be, [n_src, n_dst].

        Rows of nodes that joined after the relation was written are empty.
        """
        rows = self.relations[edge_type].forward
        shape = (self.n_nodes[edge_type[0]], self.n_nodes[edge_type[2]])
        start = np.concatenate([rows.start, np.full(shape[0] + 1 - len(rows.start), rows.start[-1])])
        return sparse.csr_matrix((rows.weight, rows.other, start), shape=shape)
