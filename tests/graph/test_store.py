from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from graph.neighbors import Neighbors
from graph.relations.sums import DAY_S
from graph.store.runs import EdgeRuns
from graph.store.stored import StoredGraph
from graph.store.update import add_events
from graph.store.write import write_graph

EVERYTHING = GraphConfig(half_life_days=3.5, idf=True, trees=True, together=3, like_minded=2, shrinkage=1)


def assert_same(a: KnowledgeGraph, b: KnowledgeGraph) -> None:
    """Bit for bit, whatever the order of the relations."""
    assert a.n_nodes == b.n_nodes
    assert a.vocabularies == b.vocabularies
    assert set(a.edges) == set(b.edges)
    for edge_type, ours in a.edges.items():
        theirs = b.edges[edge_type]
        for column in ("src", "dst", "weight"):
            assert np.array_equal(getattr(ours, column), getattr(theirs, column)), (edge_type, column)


def year(catalog: Catalog, n: int, *, n_users: int = 9, days: float = 40, seed: int = 0) -> Interactions:
    """Random events of two types, many of them on the same pairs, in order of time."""
    rng = np.random.default_rng(seed)
    return Interactions(
        users=Vocabulary(tuple(f"u{i}" for i in range(n_users))),
        items=catalog.items,
        user_idx=rng.integers(0, n_users, n),
        item_idx=rng.integers(0, len(catalog), n),
        event_type=rng.choice(np.array(["view", "purchase"], dtype=object), n),
        weight=rng.random(n).astype(np.float32) + np.float32(0.1),
        timestamp=1.7e9 + np.sort(rng.random(n)) * days * DAY_S,
    )


@pytest.mark.parametrize("chunk", [7, 50, 10_000])
def test_runs_give_each_edge_once_in_order_with_the_sum_of_its_weights(tmp_path: Path, chunk: int) -> None:
    rng = np.random.default_rng(0)
    src, dst, weight = rng.integers(0, 30, 500), rng.integers(0, 11, 500), rng.random(500)
    runs = EdgeRuns(tmp_path / "runs", 11, chunk_edges=chunk)
    for start in range(0, 500, 33):
        runs.add(src[start : start + 33], dst[start : start + 33], weight[start : start + 33])
    got = [tuple(column.tolist() for column in part) for part in runs.merged()]
    naive: dict[tuple[int, int], float] = {}
    for s, d, w in zip(src.tolist(), dst.tolist(), weight.tolist(), strict=True):
        naive[s, d] = naive.get((s, d), 0.0) + w  # in order of the events, so that not a bit may differ
    flat = [edge for part in got for edge in zip(*part, strict=True)]
    assert flat == [(s, d, naive[s, d]) for s, d in sorted(naive)]
    assert chunk > 500 or len(got) > 3
    assert not (tmp_path / "runs").exists()


def test_a_saved_graph_is_the_graph(
    tmp_path: Path, catalog: Catalog, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> None:
    train = year(catalog, 120)
    graph = build_graph(catalog, train, user_attributes, look_alikes, EVERYTHING)
    labels = {"item": catalog.title.tolist()}
    stored = write_graph(tmp_path / "g", graph, events=[train], config=EVERYTHING, labels=labels)
    assert_same(stored.load(), graph)
    assert stored.labels == labels
    assert stored.config == EVERYTHING
    assert stored.last_s == train.timestamp.max()  # type: ignore[union-attr]
    stored.verify()


@pytest.mark.parametrize("config", [GraphConfig(), EVERYTHING])
def test_events_in_pieces_and_small_chunks_make_the_same_graph(
    tmp_path: Path, catalog: Catalog, config: GraphConfig
) -> None:
    train = year(catalog, 200)
    none = Attributes.of([])
    whole = build_graph(catalog, train, none, {}, config)
    pieces = [train.where(np.arange(start, min(start + 17, 200))) for start in range(0, 200, 17)]
    stored = write_graph(tmp_path / "g", whole, events=iter(pieces), config=config, chunk_edges=13)
    assert_same(stored.load(), whole)


@pytest.mark.parametrize("config", [GraphConfig(), EVERYTHING, GraphConfig(together=4, measure="pmi")])
def test_a_day_added_gives_the_graph_that_all_events_would_have_given(
    tmp_path: Path,
    catalog: Catalog,
    user_attributes: Attributes,
    look_alikes: dict[str, Neighbors],
    config: GraphConfig,
) -> None:
    events = year(catalog, 200)
    first = events.where(np.arange(150))
    known = Vocabulary(tuple(f"u{i}" for i in range(7)))  # u7 and u8 come with the new day
    first = replace(first.where(first.user_idx < 7), users=known)
    new = events.where(np.arange(150, 200))
    everything = replace(
        events,
        **{
            name: np.concatenate([getattr(first, name), getattr(new, name)])
            for name in ("user_idx", "item_idx", "event_type", "weight", "timestamp")
        },
    )
    rebuilt = build_graph(catalog, everything, user_attributes, look_alikes, config)
    before = build_graph(catalog, first, user_attributes, look_alikes, config)
    stored = write_graph(tmp_path / "g", before, events=[first], config=config)
    added = add_events(stored, new, chunk_edges=20)
    assert_same(added.load(), rebuilt)
    added.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_first_event_of_a_new_type_makes_its_relation(tmp_path: Path, catalog: Catalog, train: Interactions) -> None:
    views = train.where(train.event_type == "view")
    graph = build_graph(catalog, views, Attributes.of([]), {}, GraphConfig())
    stored = write_graph(tmp_path / "g", graph, events=[views], config=GraphConfig())
    buys = train.where(train.event_type == "purchase")
    assert_same(add_events(stored, buys).load(), build_graph(catalog, train, Attributes.of([]), {}, GraphConfig()))


def test_an_event_on_an_unknown_item_is_refused_and_the_graph_stays(
    tmp_path: Path, catalog: Catalog, train: Interactions
) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig())
    stored = write_graph(tmp_path / "g", graph, events=[train], config=GraphConfig())
    other = replace(train, items=Vocabulary(("i0", "i1", "new", "i3", "i4", "i5")))
    with pytest.raises(InputError, match="event 3: item 'new' is not in the graph"):
        add_events(stored, other)
    assert_same(StoredGraph.open(tmp_path / "g").load(), graph)


def test_rows_give_the_neighbors_in_both_directions(tmp_path: Path, catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig())
    stored = write_graph(tmp_path / "g", graph, events=[train], config=GraphConfig())
    views = stored.relations["user", "view", "item"]
    assert [column.tolist() for column in views.forward.of(0)] == [[0], [2.0]]
    assert [column.tolist() for column in views.backward.of(2)] == [[1], [1.0]]
    assert views.forward.of(3)[0].tolist() == []
    assert isinstance(views.forward.weight, np.memmap)


def test_damage_is_named(tmp_path: Path, catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig())
    stored = write_graph(tmp_path / "g", graph, events=[train], config=GraphConfig())
    file = tmp_path / "g" / "relation-00" / "forward" / "weight.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"relation-00/forward/weight\.npy has changed"):
        stored.verify()
    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"relation-00/forward/weight\.npy must have"):
        StoredGraph.open(tmp_path / "g")
    with pytest.raises(InputError, match="holds no saved graph"):
        StoredGraph.open(tmp_path)


def test_a_bad_edge_is_refused_by_relation_and_row_on_its_way_to_disk(
    tmp_path: Path, catalog: Catalog, train: Interactions
) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig())
    small = replace(graph, n_nodes={**graph.n_nodes, "item:brand": 1})  # two brands are known
    with pytest.raises(InputError, match=r"item -has-> item:brand: target must be in \[0, 1\), row 2 has 1"):
        write_graph(tmp_path / "g", small, events=[train], config=GraphConfig())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    with pytest.raises(InputError, match="must be a new folder or hold a saved graph"):
        write_graph(tmp_path / "photos", graph, events=[train], config=GraphConfig())
