"""Facts from outside: `triples.*` of a shop folder, each row a head, a relation and a tail."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.tables import find_table, read_table
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList
from graph.schema import ENTITY, ITEM, USER, EdgeType, fact

Node = tuple[str, int]
"""Node type and row; of an entity, the row in the list of those met so far."""


@dataclass(frozen=True, eq=False)
class Triples:
    """Rows of a table of facts, in the order of the file.

    Args:
        file: name of the table.
        row: int64 [n]; position in the file.
        head, relation, tail: object [n] of str, none of them "".
        weight: float32 [n], > 0; 1 where the table has none.
    """

    file: str
    row: NDArray[np.int64]
    head: NDArray[np.object_]
    relation: NDArray[np.object_]
    tail: NDArray[np.object_]
    weight: NDArray[np.float32]


def read_triples(folder: Path, *, quarantine: Quarantine) -> Triples | None:
    """Read `triples.parquet`, `.csv` or `.jsonl`; None where there is none.

    Needed are head, relation and tail (or head_idx and tail_idx, as benchmarks call them); weight may be there.
    Refused are rows that lack one, join a name with itself, repeat an earlier row, or have a weight that is no number
    above 0.

    Args:
        folder: the shop folder.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    path = find_table(folder, "triples")
    if path is None:
        return None
    frame = read_table(path, quarantine=quarantine)
    frame = frame.rename(columns={f"{end}_idx": end for end in ("head", "tail") if end not in frame.columns})
    for column in ("head", "relation", "tail"):
        if column not in frame.columns:
            raise InputError(f"{path} must have the columns head, relation and tail, {column!r} is missing")
    sieve = Sieve(path.name, frame, quarantine)
    part: dict[str, NDArray[np.object_]] = {}
    for column in ("head", "relation", "tail"):
        codes, names = cells.coded_ids(frame[column])
        sieve.refuse(codes < 0, f"{column} is missing", frame[column])
        part[column] = np.array([*names, ""], dtype=object)[codes]
    sieve.refuse(part["head"] == part["tail"], "head and tail must differ", frame["head"])
    weight = np.ones(len(frame))
    if "weight" in frame.columns:
        given, bad = cells.numbers(frame["weight"])
        weight = np.where(np.isnan(given), 1.0, given)
        sieve.refuse(bad | (weight <= 0) | ~np.isfinite(weight), "weight must be a number > 0", frame["weight"])
    met: set[tuple[str, str, str]] = set()
    again = np.zeros(len(frame), dtype=bool)
    for place, triple in enumerate(zip(part["head"], part["relation"], part["tail"], strict=True)):
        if sieve.kept[place]:
            again[place] = triple in met
            met.add(triple)
    sieve.refuse(again, "the triple is there already", frame["head"])
    kept = sieve.kept
    return Triples(
        path.name,
        frame.index.to_numpy(dtype=np.int64)[kept],
        part["head"][kept],
        part["relation"][kept],
        part["tail"][kept],
        weight[kept].astype(np.float32),
    )


def triple_edges(
    triples: Triples, vocabularies: dict[str, Vocabulary], *, quarantine: Quarantine
) -> tuple[Vocabulary, dict[EdgeType, EdgeList]]:
    """Join facts to the nodes that are there; names that no node has become nodes of type "entity".

    A name is that of an item, else of an attribute value. A name that several attributes have as a value must say
    which it means, as "genre:Drama"; "item:m1" and "user:u7" are understood likewise.

    Args:
        triples: the facts.
        vocabularies: names of the nodes that are there, by type.
        quarantine: takes the rows whose names are ambiguous or mean one node, and those that repeat an edge.

    Returns:
        The entities in order of first appearance, and the edges by relation, ordered by source and target.
    """
    known = _Names(vocabularies)
    found: dict[EdgeType, dict[tuple[int, int], float]] = defaultdict(dict)
    rows = (triples.row, triples.head, triples.relation, triples.tail, triples.weight)
    for row, head, relation, tail, weight in zip(*(column.tolist() for column in rows), strict=True):
        unclear = next((name for name in (head, tail) if known.ambiguous(name)), None)
        if unclear is not None:
            rule = "a name that several attributes have must say which it means, as genre:Drama"
            quarantine.refuse(triples.file, row, rule, unclear)
            continue
        (source, src), (target, dst) = known.node(head), known.node(tail)
        edges = found[fact(source, relation, target)]
        if (source, src) == (target, dst):
            quarantine.refuse(triples.file, row, "head and tail must differ", head)
        elif (src, dst) in edges:
            quarantine.refuse(triples.file, row, "the triple is there already", f"{head} {relation} {tail}")
        else:
            edges[src, dst] = weight
    listed: dict[EdgeType, EdgeList] = {}
    for edge_type in sorted(edge_type for edge_type, edges in found.items() if edges):
        pairs = sorted(found[edge_type])
        listed[edge_type] = EdgeList(
            np.array([pair[0] for pair in pairs], dtype=np.int64),
            np.array([pair[1] for pair in pairs], dtype=np.int64),
            np.array([found[edge_type][pair] for pair in pairs], dtype=np.float32),
        )
    return Vocabulary(tuple(known.entities)), listed


class _Names:
    """What a name in a fact means."""

    def __init__(self, vocabularies: dict[str, Vocabulary]) -> None:
        self._of = vocabularies
        self._values: dict[str, list[Node]] = defaultdict(list)
        self._kinds: dict[str, list[str]] = defaultdict(list)
        self.entities: dict[str, int] = {}
        for kind in sorted(vocabularies):
            if kind in {USER, ITEM}:
                self._kinds[kind].append(kind)
            elif ":" in kind:
                self._kinds[kind.partition(":")[2]].append(kind)
                for row, value in enumerate(vocabularies[kind]):
                    self._values[value].append((kind, row))

    def ambiguous(self, name: str) -> bool:
        """Whether a name could be that of several nodes."""
        return name not in self._of[ITEM] and len(self._values.get(name, ())) > 1

    def node(self, name: str) -> Node:
        """The node of a name; a new entity where there is none."""
        if name in self._of[ITEM]:
            return ITEM, self._of[ITEM].idx(name)
        if self._values.get(name):
            return self._values[name][0]
        prefix, _, rest = name.partition(":")
        for kind in self._kinds.get(prefix, ()):
            if rest in self._of[kind]:
                return kind, self._of[kind].idx(rest)
        return ENTITY, self.entities.setdefault(name, len(self.entities))
