from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.pyg import Data, HeteroData, LinkLoader, NodeLoader
from graph.sampling.draw import draw_positions
from graph.sampling.incoming import Incoming
from graph.sampling.sampler import GraphSampler
from graph.sampling.temporal import temporal_data
from graph.schema import reverse

LIKES = ("user", "likes", "item")
LIKED = ("item", "rev_likes", "user")


def random_graph(*, n=40, m=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.unique(torch.randint(0, n, (2, m), generator=generator), dim=1)
    return Data(edge_index=pairs, num_nodes=n)


def world(*, users=30, items=20, m=150, seed=0, timed=True):
    """Users who like items at times 0..m-1, some pairs more than once, and brands of items."""
    rng = np.random.default_rng(seed)
    pair = torch.from_numpy(np.stack([rng.integers(0, users, m), rng.integers(0, items, m)]))
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes, data["brand"].num_nodes = users, items, 3
    data[LIKES].edge_index, data[LIKED].edge_index = pair, pair.flip(0)
    brand = torch.stack([torch.arange(items), torch.arange(items) % 3])
    data["item", "has", "brand"].edge_index = brand
    data["brand", "rev_has", "item"].edge_index = brand.flip(0)
    if timed:
        data[LIKES].time = data[LIKED].time = torch.from_numpy(rng.permutation(m).astype(np.float64))
    return data


def reached(edge_index: torch.Tensor, seed: int, hops: int) -> tuple[set[int], set[tuple[int, int]]]:
    """Nodes and edges within some hops against the direction of the edges, by a loop."""
    edges = list(zip(*edge_index.tolist(), strict=True))
    nodes, frontier, taken = {seed}, {seed}, set()
    for _ in range(hops):
        step = {(s, d) for s, d in edges if d in frontier}
        taken |= step
        frontier = {s for s, _ in step} - nodes
        nodes |= frontier
    return nodes, taken


def test_large_fanouts_give_the_whole_neighborhood() -> None:
    data = random_graph()
    for seed in range(40):
        loader = NodeLoader(data, GraphSampler(data, [-1, 99]), input_nodes=torch.tensor([seed]), batch_size=1)
        batch = next(iter(loader))
        nodes, edges = reached(data.edge_index, seed, 2)
        assert batch.n_id[0] == seed
        assert len(batch.n_id) == len(nodes)
        assert set(batch.n_id.tolist()) == nodes
        got = list(zip(*batch.n_id[batch.edge_index].tolist(), strict=True))
        assert len(got) == len(edges)
        assert set(got) == edges
        assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])


def test_hetero_neighborhoods_equal_those_of_a_loop() -> None:
    data = world(timed=False)
    offset = {"user": 0, "item": 30, "brand": 50}
    joined = torch.cat(
        [data[t].edge_index + torch.tensor([[offset[t[0]]], [offset[t[2]]]]) for t in data.edge_types],
        dim=1,
    )
    for user in range(30):
        loader = NodeLoader(
            data, GraphSampler(data, [-1] * 3), input_nodes=("user", torch.tensor([user])), batch_size=1
        )
        batch = next(iter(loader))
        got = {offset[kind] + node for kind in offset for node in batch[kind].n_id.tolist()}
        nodes, edges = reached(joined, user, 3)
        assert got == nodes
        n_edges = sum(batch[t].edge_index.shape[1] for t in data.edge_types)
        doubled = sum(1 for s, d in zip(*joined.tolist(), strict=True) if (s, d) in edges)
        assert n_edges == doubled
        for t in data.edge_types:
            ends = torch.stack([batch[t[0]].n_id[batch[t].edge_index[0]], batch[t[2]].n_id[batch[t].edge_index[1]]])
            assert torch.equal(ends, data[t].edge_index[:, batch[t].e_id])


def test_fanouts_bound_the_edges_of_each_node_and_relation() -> None:
    data = world(m=400, timed=False)
    fanouts = {LIKED: [3], LIKES: [2]}
    loader = NodeLoader(data, GraphSampler(data, fanouts), input_nodes=("user", torch.arange(30)), batch_size=30)
    batch = next(iter(loader))
    degree = torch.bincount(data[LIKED].edge_index[1], minlength=30)
    assert torch.bincount(batch[LIKED].edge_index[1], minlength=30).tolist() == degree.clamp(max=3).tolist()
    assert len(batch["item", "has", "brand"].edge_index[0]) == 0  # not walked
    assert len(torch.unique(batch[LIKED].e_id)) == len(batch[LIKED].e_id)  # without replacement


def test_draws_are_uniform_over_all_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    n = 6000
    owner, position = draw_positions(torch.full((n,), 5), 2, generator)
    assert torch.equal(owner, torch.arange(n).repeat_interleave(2))
    sets = Counter(tuple(sorted(pair)) for pair in position.view(n, 2).tolist())
    assert len(sets) == 10  # 5 choose 2
    assert stats.chisquare(list(sets.values())).pvalue > 1e-3


def test_draws_beside_a_hidden_edge_are_uniform_over_the_others() -> None:
    n = 6000
    incoming = Incoming.of(torch.stack([torch.arange(6), torch.zeros(6, dtype=torch.int64)]), 6, 1)
    hidden = incoming.hide(torch.tensor([2, 4]), torch.tensor([0, 0]), None)
    nodes = torch.zeros(n, dtype=torch.int64)
    source = incoming.draw(nodes, 2, torch.Generator().manual_seed(0), hidden=hidden).source
    sets = Counter(tuple(sorted(pair)) for pair in source.view(n, 2).tolist())
    assert set(sets) == {(0, 1), (0, 3), (0, 5), (1, 3), (1, 5), (3, 5)}
    assert stats.chisquare(list(sets.values())).pvalue > 1e-3


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("negatives", [None, "binary", "triplet"])
def test_a_link_is_never_among_the_edges_it_is_predicted_from(disjoint: bool, negatives: str | None) -> None:
    data = world(timed=False)
    loader = LinkLoader(
        data,
        GraphSampler(data, [-1, -1], disjoint=disjoint),
        edge_label_index=(LIKES, data[LIKES].edge_index),
        neg_sampling=negatives,
        batch_size=25,
    )
    links = list(zip(*data[LIKES].edge_index.tolist(), strict=True))
    for number, batch in enumerate(loader):
        mine = links[25 * number : 25 * number + 25]
        for t, turn in ((LIKES, 1), (LIKED, -1)):
            column = batch[t].edge_index
            ends = [batch[t[0]].n_id[column[0]].tolist(), batch[t[2]].n_id[column[1]].tolist()][::turn]
            pairs = list(zip(*ends, strict=True))
            assert pairs
            if disjoint:
                tree = batch[t[2]].batch[column[1]].tolist()
                assert all(mine[one] != pair for one, pair in zip(tree, pairs, strict=True))
                assert any(pair in mine for pair in pairs)  # links of other trees are edges like any other
            else:
                assert not set(pairs) & set(mine)


def test_a_link_is_hidden_in_both_directions_of_a_homogeneous_graph() -> None:
    pairs = torch.tensor([[0, 1, 1, 2, 0, 2], [1, 0, 2, 1, 2, 0]])
    data = Data(edge_index=pairs, num_nodes=3)
    loader = LinkLoader(data, GraphSampler(data, [-1]), edge_label_index=torch.tensor([[0], [1]]), batch_size=1)
    batch = next(iter(loader))
    got = set(zip(*batch.n_id[batch.edge_index].tolist(), strict=True))
    assert got == {(2, 0), (2, 1)}


def test_no_edge_is_from_the_future_of_its_seed_at_any_hop() -> None:
    data = world()
    when = data[LIKES].time
    loader = LinkLoader(
        data,
        GraphSampler(data, [-1, -1, 4], time_attr="time"),
        edge_label_index=(LIKES, data[LIKES].edge_index),
        edge_label_time=when,
        batch_size=40,
    )
    seen = 0
    for number, batch in enumerate(loader):
        asked = when[40 * number : 40 * number + 40]
        for t in (LIKES, LIKED):
            tree = batch[t[2]].batch[batch[t].edge_index[1]]
            assert bool((data[t].time[batch[t].e_id] < asked[tree]).all())
            seen += len(tree)
    assert seen > 1000


def test_all_edges_of_the_past_are_found() -> None:
    data = world()
    user, now = 3, 80.0
    sampler = GraphSampler(data, {LIKED: [-1]}, time_attr="time")
    loader = NodeLoader(
        data, sampler, input_nodes=("user", torch.tensor([user])), input_time=torch.tensor([now]), batch_size=1
    )
    batch = next(iter(loader))
    past = (data[LIKED].edge_index[1] == user) & (data[LIKED].time < now)
    assert sorted(batch[LIKED].e_id.tolist()) == torch.nonzero(past).ravel().tolist()
    assert 0 < int(past.sum()) < int((data[LIKED].edge_index[1] == user).sum())


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    data = world(m=600, timed=False)

    def draws(seed: int, workers: int = 0) -> list[list[int]]:
        loader = NodeLoader(
            data,
            GraphSampler(data, [3, 3], seed=seed),
            input_nodes=("user", torch.arange(30)),
            batch_size=10,
            num_workers=workers,
            generator=torch.Generator().manual_seed(5),
        )
        return [batch[LIKED].e_id.tolist() for batch in loader]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(1, workers=1) == draws(1, workers=1)


def test_trees_of_different_seeds_share_no_nodes() -> None:
    data = random_graph()
    sampler = GraphSampler(data, [-1, -1], disjoint=True)
    batch = next(iter(NodeLoader(data, sampler, input_nodes=torch.arange(6), batch_size=6)))
    for seed in range(6):
        mine = batch.n_id[batch.batch == seed].tolist()
        assert len(mine) == len(set(mine))
        assert set(mine) == reached(data.edge_index, seed, 2)[0]
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])


def test_mistakes_are_named() -> None:
    data = world()
    with pytest.raises(ValueError, match=r"fanouts must name relations of the graph, .*'hates'"):
        GraphSampler(data, {("user", "hates", "item"): [1]})
    with pytest.raises(ValueError, match="fanouts must have one number a hop for every relation"):
        GraphSampler(data, {LIKES: [1], LIKED: [1, 2]})


def test_a_knowledge_graph_is_sampled_event_by_event(catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig(together=2))
    with pytest.raises(InputError, match="must carry a timestamp"):
        temporal_data(graph, train)
    timed = replace(train, timestamp=np.arange(5.0), users=Vocabulary(train.users.ids))
    data = temporal_data(graph, timed)
    assert data["user", "view", "item"].edge_index.tolist() == [[0, 0, 1], [0, 0, 2]]
    assert data["item", "rev_view", "user"].time.tolist() == [0.0, 1.0, 3.0]
    assert not any("together" in relation for _, relation, _ in data.edge_types)
    assert ("item", "has", "item:brand") in data.edge_types


def test_what_sums_up_all_views_or_ratings_is_not_in_a_graph_of_single_events(
    catalog: Catalog, train: Interactions
) -> None:
    rated = replace(catalog, attributes=Attributes.of([(0, "rating", "4"), (1, "rating", "4")]))
    graph = build_graph(rated, train, Attributes.of([]), {}, GraphConfig(), other_behavior=train)
    summed = [("user", "beside:view", "item"), ("item", "has", "item:rating")]
    assert set(summed) <= set(graph.edges)
    told = temporal_data(graph, replace(train, timestamp=np.arange(5.0))).edge_types
    assert not {*summed, *map(reverse, summed)} & set(told)
    assert ("user", "view", "item") in told
