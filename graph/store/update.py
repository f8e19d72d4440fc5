"""Add events to a saved graph: what they change is written anew, everything else stays the file it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from scipy import sparse

from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, company_of
from graph.knowledge_graph import EdgeList
from graph.relations.behavior import fading_of
from graph.relations.sums import summed
from graph.schema import ITEM, USER, EdgeType, behavior, is_behavior, is_company
from graph.store.relation import StoredRelation, write_relation
from graph.store.runs import CHUNK_EDGES, Part
from graph.store.stored import StoredGraph
from graph.store.write import (
    finish,
    fresh,
    grown,
    later,
    relation_folder,
    shown_by,
    wanted_types,
    write_listed,
    write_nodes,
)

log = structlog.get_logger()


def add_events(stored: StoredGraph, events: Interactions, *, chunk_edges: int = CHUNK_EDGES) -> StoredGraph:
    """The same graph as one built of all events, the new ones last, without the old events being there.

    Relations of behavior take one pass over their files; those of company (shared users, shared items) are counted
    anew from them; attribute values, look-alikes, words and facts stay as they are. New users are added behind the
    others.

    Args:
        stored: the graph; its folder is replaced at the end.
        events: over any users, and items that the graph has.
        chunk_edges: edges in memory at once.

    Returns:
        The new graph, open.

    Raises:
        InputError: an item is not in the graph, or events shall fade but carry no times.
    """
    config = stored.config
    events, users = _mapped(stored, events)
    fading = fading_of(events, config.half_life_days)
    old_period: int | None = stored.manifest["events"]["period"]
    last = stored.last_s
    if events.timestamp is not None and len(events):
        last = max(float(events.timestamp.max()), -np.inf if last is None else last)
    period = fading.period(last) if fading is not None and last is not None else None
    n_nodes = {**stored.n_nodes, USER: len(users)}
    with fresh(stored.folder) as draft:
        relations: list[StoredRelation] = []
        known = {edge_type for edge_type in stored.relations if is_behavior(edge_type)}
        for edge_type in sorted(known | {behavior(event_type) for event_type in wanted_types(events, config)}):
            rows = np.flatnonzero(events.event_type == edge_type[1])
            old = stored.relations[edge_type].forward.parts(chunk_edges) if edge_type in known else iter(())
            if fading is not None and old_period is not None and period is not None:
                old = later(old, fading, old_period, period)
            key = events.user_idx[rows] * n_nodes[ITEM] + events.item_idx[rows]
            relations.append(
                write_relation(
                    _place(draft, relations),
                    edge_type,
                    n_nodes[USER],
                    n_nodes[ITEM],
                    _merged(old, key, grown(events, rows, fading, period), n_nodes[ITEM]),
                    shown=shown_by(fading, period, last),
                    keep_total=True,
                    chunk_edges=chunk_edges,
                )
            )
        company_now = _company(relations, n_nodes, config)
        for edge_type, relation in stored.relations.items():
            if is_company(edge_type):
                if edge_type in company_now:
                    listed = company_now.pop(edge_type)
                    relations.append(write_listed(_place(draft, relations), edge_type, listed, n_nodes))
            elif not is_behavior(edge_type):
                place = _place(draft, relations)
                shutil.copytree(relation.folder, place, copy_function=_linked)
                relations.append(StoredRelation(edge_type, place, relation.n_edges))
        for edge_type, listed in company_now.items():
            relations.append(write_listed(_place(draft, relations), edge_type, listed, n_nodes))
        nodes = write_nodes(draft, {**stored.vocabularies, USER: users}, stored.labels)
        finish(draft, nodes, relations, config, last_s=last, period=period)
    log.info("events added", graph=str(stored.folder), events=len(events), users=len(users))
    return StoredGraph.open(stored.folder)


def _place(draft: Path, relations: list[StoredRelation]) -> Path:
    return draft / relation_folder(len(relations))


def _mapped(stored: StoredGraph, events: Interactions) -> tuple[Interactions, Vocabulary]:
    """The events over the graph's own rows, and the graph's users with the new ones."""
    items = stored.vocabularies[ITEM]
    rows = items.idxs(events.items)
    item_idx = rows[events.item_idx]
    if np.any(item_idx < 0):
        event = int(np.flatnonzero(item_idx < 0)[0])
        name = events.items[int(events.item_idx[event])]
        raise InputError(f"event {event}: item {name!r} is not in the graph; new items need the graph built anew")
    users = Vocabulary.of([*stored.vocabularies[USER], *events.users])
    user_idx = users.idxs(events.users)[events.user_idx]
    return replace(events, users=users, items=items, user_idx=user_idx, item_idx=item_idx), users


def _merged(old: Iterable[Part], key: NDArray[np.int64], weight: NDArray[np.float64], n_items: int) -> Iterator[Part]:
    """Old edges in order and new ones in any, as edges in order, each once; an old sum comes before what is added."""
    order = np.argsort(key, kind="stable")
    key, weight = key[order], weight[order]
    done = 0
    for src, dst, total in old:
        known = src * n_items + dst
        stop = done + int(np.searchsorted(key[done:], known[-1], side="right")) if len(known) else done
        once, sums = summed(np.concatenate([known, key[done:stop]]), np.concatenate([total, weight[done:stop]]))
        done = stop
        yield once // n_items, once % n_items, sums
    once, sums = summed(key[done:], weight[done:])
    yield once // n_items, once % n_items, sums


def _company(relations: list[StoredRelation], n_nodes: dict[str, int], config: GraphConfig) -> dict[EdgeType, EdgeList]:
    """Who met the same, as `graph.build.company_edges` finds it, from the relations that are written."""
    if not (config.together or config.like_minded):
        return {}
    shape = (n_nodes[USER], n_nodes[ITEM])
    met = {}
    for relation in relations:
        rows = relation.forward
        met[relation.edge_type[1]] = sparse.csr_matrix(
            (np.ones(len(rows.other), np.float32), rows.other, rows.start), shape
        )
    return company_of(met, config)


def _linked(source: str, target: str) -> None:
    """A second name of a file that never changes, or a copy where the disk has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
