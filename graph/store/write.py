"""Write a graph to disk; events may come in any number, a chunk at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.relations.behavior import fading_of
from graph.relations.sums import Fading
from graph.schema import ITEM, USER, EdgeType, behavior, is_behavior
from graph.store.files import digest, write_names
from graph.store.relation import Shown, StoredRelation, as_float32, write_relation
from graph.store.runs import CHUNK_EDGES, EdgeRuns, Part
from graph.store.stored import FORMAT, MANIFEST, StoredGraph


def write_graph(
    folder: Path,
    graph: KnowledgeGraph,
    *,
    events: Iterable[Interactions],
    config: GraphConfig,
    labels: Mapping[str, Sequence[str]] | None = None,
    last_s: float | None = None,
    chunk_edges: int = CHUNK_EDGES,
) -> StoredGraph:
    """Save a graph; what users did is taken from the events, everything else from the graph.

    Memory is bounded by `chunk_edges` and the number of nodes, not by the number of events.

    Args:
        folder: where to; a graph that is there is replaced at the end.
        graph: from `build_graph`; its edges between users and items may be left out (build it of no events), for they
            are made anew.
        events: the training events in order, over the graph's users and items, in as many pieces as one likes.
        config: how the graph was built.
        labels: titles of the nodes of a type, one each.
        last_s: about when the last event was, UTC seconds; needed where events fade and come in several pieces that
            span hundreds of half-lives.
        chunk_edges: edges in memory at once.

    Raises:
        InputError: events shall fade but carry no times; an edge breaks a rule (see `write_relation`).
        ValueError: events are of other users or items.
    """
    with fresh(folder) as draft:
        relations: list[StoredRelation] = []
        last, period = _write_events(
            draft, graph, events, config, relations=relations, about_last_s=last_s, chunk_edges=chunk_edges
        )
        for edge_type, listed in graph.forward.items():
            if not is_behavior(edge_type):
                place = draft / relation_folder(len(relations))
                relations.append(write_listed(place, edge_type, listed, graph.n_nodes))
        nodes = write_nodes(draft, graph.vocabularies, labels or {})
        finish(draft, nodes, relations, config, last_s=last, period=period)
    return StoredGraph.open(folder)


def _write_events(
    draft: Path,
    graph: KnowledgeGraph,
    events: Iterable[Interactions],
    config: GraphConfig,
    *,
    relations: list[StoredRelation],
    about_last_s: float | None,
    chunk_edges: int,
) -> tuple[float | None, int | None]:
    """Time of the last event, and the period in which sums are kept."""
    n_users, n_items = graph.n_nodes[USER], graph.n_nodes[ITEM]
    runs: dict[str, EdgeRuns] = {}
    fading: Fading | None = None
    last: float | None = None
    period: int | None = None
    for piece in events:
        if (len(piece.users), len(piece.items)) != (n_users, n_items):
            raise ValueError(
                f"events must be of the graph's {n_users} users and {n_items} items, "
                f"they are of {len(piece.users)} and {len(piece.items)}"
            )
        fading = fading_of(piece, config.half_life_days)
        if piece.timestamp is not None and len(piece):
            last = max(float(piece.timestamp.max()), -np.inf if last is None else last)
            if fading is not None and period is None:
                # a later piece may lie in a later period: powers of two take the sums there
                period = fading.period(last if about_last_s is None else about_last_s)
        for event_type in wanted_types(piece, config):
            if event_type not in runs:
                runs[event_type] = EdgeRuns(draft / f"runs-{len(runs)}", n_items, chunk_edges=chunk_edges)
            rows = np.flatnonzero(piece.event_type == event_type)
            runs[event_type].add(piece.user_idx[rows], piece.item_idx[rows], grown(piece, rows, fading, period))
    moved = period
    if fading is not None and last is not None and period is not None:
        moved = fading.period(last)
    shown = shown_by(fading, moved, last)
    for event_type in sorted(runs):
        parts: Iterable[Part] = runs[event_type].merged()
        if fading is not None and period is not None and moved is not None:
            parts = later(parts, fading, period, moved)
        edge_type = behavior(event_type)
        place = draft / relation_folder(len(relations))
        relations.append(
            write_relation(
                place, edge_type, n_users, n_items, parts, shown=shown, keep_total=True, chunk_edges=chunk_edges
            )
        )
    return last, moved


def wanted_types(events: Interactions, config: GraphConfig) -> list[str]:
    """Types of events that become relations, by name."""
    found = sorted(set(events.event_type.tolist()))
    return found if config.events is None else [one for one in found if one in config.events]


def relation_folder(number: int) -> str:
    """Name of the folder of a relation."""
    return f"relation-{number:02d}"


def grown(
    events: Interactions, rows: NDArray[np.int64], fading: Fading | None, period: int | None
) -> NDArray[np.float64]:
    """Weights of some events, as seen from a period where they fade."""
    if fading is None or period is None or events.timestamp is None:
        return events.weight[rows].astype(np.float64)
    return fading.at_period(events.weight[rows], events.timestamp[rows], period)


def later(parts: Iterable[Part], fading: Fading, period: int, moved: int) -> Iterator[Part]:
    """Sums as seen from a later period."""
    for src, dst, total in parts:
        yield src, dst, fading.moved(total, period, moved)


def shown_by(fading: Fading | None, period: int | None, last_s: float | None) -> Shown:
    """What makes weights to be read of sums."""
    if fading is None or period is None or last_s is None:
        return as_float32
    return lambda total: fading.now(total, period, last_s)


def write_listed(place: Path, edge_type: EdgeType, listed: EdgeList, n_nodes: Mapping[str, int]) -> StoredRelation:
    """Write a relation that is in memory, its edges in the order in which they are, by source."""
    order = slice(None) if not np.any(np.diff(listed.src) < 0) else np.argsort(listed.src, kind="stable")
    part = (listed.src[order], listed.dst[order], listed.weight[order].astype(np.float64))
    return write_relation(place, edge_type, n_nodes[edge_type[0]], n_nodes[edge_type[2]], [part])


def write_nodes(
    draft: Path, vocabularies: Mapping[str, Vocabulary], labels: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Write names and titles; what the manifest tells of them."""
    told: dict[str, Any] = {}
    for number, (kind, names) in enumerate(vocabularies.items()):
        write_names(draft / f"nodes-{number:02d}", names)
        titled = kind in labels
        if titled and len(labels[kind]) != len(names):
            raise ValueError(f"node type {kind!r} has {len(names)} nodes but {len(labels[kind])} labels")
        if titled:
            write_names(draft / f"labels-{number:02d}", labels[kind])
        told[kind] = {
            "count": len(names),
            "names": f"nodes-{number:02d}",
            "labels": f"labels-{number:02d}" if titled else None,
        }
    return told


def finish(
    draft: Path,
    nodes: Mapping[str, Any],
    relations: Sequence[StoredRelation],
    config: GraphConfig,
    *,
    last_s: float | None,
    period: int | None,
) -> None:
    """Write the manifest, which makes the folder a graph."""
    files = sorted(path for path in draft.rglob("*.npy"))
    manifest = {
        "format": FORMAT,
        "nodes": dict(nodes),
        "relations": [
            {"type": list(one.edge_type), "edges": one.n_edges, "folder": one.folder.name} for one in relations
        ],
        "config": config.model_dump(mode="json"),
        "events": {"last_s": last_s, "period": period},
        "files": {
            str(path.relative_to(draft)): {"sha256": digest(path), "bytes": path.stat().st_size} for path in files
        },
    }
    (draft / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """A new folder beside a place, put there at the end; what goes wrong leaves what was there.

    Raises:
        InputError: something else than a graph is there.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise InputError(f"{folder} must be a new folder or hold a saved graph, it holds something else")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
