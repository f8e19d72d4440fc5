from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from graph.models.relational import RelationalAttention, RelationalConfig

CONFIG = RelationalConfig(dim=8, layers=2, intents=2)
CONTENT = np.eye(6, dtype=np.float32)


def uneven(
    graph: KnowledgeGraph, content: np.ndarray = CONTENT, config: RelationalConfig = CONFIG
) -> RelationalAttention:
    """A model whose relations and attention are far from their even start, as after training."""
    model = RelationalAttention(graph, content, config, seed=0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.turn += 0.5 * torch.randn(model.turn.shape, generator=random)
        model.relation_bias += torch.randn(model.relation_bias.shape, generator=random)
    return model


@torch.no_grad()
def embed(graph: KnowledgeGraph, content: np.ndarray, config: RelationalConfig) -> dict[str, np.ndarray]:
    users, items = uneven(graph, content, config)()
    return {f"u{i}": row for i, row in enumerate(users.numpy())} | {f"i{i}": row for i, row in enumerate(items.numpy())}


def moved(graph: KnowledgeGraph, item: int, config: RelationalConfig = CONFIG) -> set[str]:
    """Who changes when one item's content does."""
    other = CONTENT.copy()
    other[item] = np.roll(CONTENT[item], 1) * 0.6 + CONTENT[item] * 0.8
    before, after = embed(graph, CONTENT, config), embed(graph, other, config)
    return {name for name in before if not np.allclose(before[name], after[name], atol=1e-7)}


def test_a_changed_item_moves_its_neighbors_over_every_relation_in_both_directions_and_no_stranger(
    graph: KnowledgeGraph,
) -> None:
    assert moved(graph, 0) == {"i0", "u0", "i1"}  # over behavior, and over the brand
    assert moved(graph, 1) == {"i1", "i0"}
    assert moved(graph, 2) == {"i2", "u1", "i3"}
    assert moved(graph, 3) == {"i3", "u2", "i2"}
    assert moved(graph, 4) == {"i4", "i5"}  # i4 lists i5 as look-alike
    assert moved(graph, 5) == {"i5", "i4"}  # i5 does not list i4, the edge is the reverse


def test_a_message_goes_one_edge_further_a_layer(graph: KnowledgeGraph) -> None:
    # i1 - Acme - i0 - u0 - young - u3; a brand hears its owners' content already when it decides whom to listen to
    reach = [moved(graph, 1, CONFIG.model_copy(update={"layers": layers})) for layers in (1, 2, 3, 5)]
    assert reach == [{"i1"}, {"i1", "i0"}, {"i1", "i0", "u0"}, {"i1", "i0", "u0", "u3"}]


def test_without_weight_knowledge_is_not_heard(graph: KnowledgeGraph) -> None:
    assert moved(graph, 1, CONFIG.model_copy(update={"knowledge": 0.0})) == {"i1"}


def test_attention_is_the_formula_edge_by_edge_and_adds_up_to_one(graph: KnowledgeGraph) -> None:
    model = uneven(graph)
    x, v = model._first().detach().double().numpy(), model.relation.detach().double().numpy()
    g, b = model.sharpness.item(), model.relation_bias.detach().double().numpy()[:, 0]
    weight = model._log_weight.exp().double().numpy()
    heads, relations, tails = (ends.tolist() for ends in model.edges())
    into: dict[int, list[int]] = defaultdict(list)
    for edge, head in enumerate(heads):
        into[head].append(edge)
    expected = np.zeros(len(heads))
    for head, edges in into.items():
        grown = {}
        for edge in edges:
            r, t = relations[edge], tails[edge]
            likeness = sum(x[head, d] * v[r, d] * x[t, d] for d in range(8)) / 8
            grown[edge] = math.exp(b[r] + g * likeness) * weight[edge]
        for edge in edges:
            expected[edge] = grown[edge] / sum(grown.values())
        assert sum(expected[edges]) == pytest.approx(1)
    assert max(map(len, into.values())) >= 2
    np.testing.assert_allclose(model.attention().numpy(), expected, rtol=1e-4)


def test_every_relation_has_its_reverse_and_behavior_is_none_of_them(graph: KnowledgeGraph) -> None:
    names = [relation for _, relation, _ in RelationalAttention(graph, CONTENT, CONFIG, seed=0).relations]
    assert sorted(names) == ["alike:image", "has", "has", "rev_alike:image", "rev_has", "rev_has"]


def test_a_users_intents_gate_what_he_hears_of_items(graph: KnowledgeGraph) -> None:
    model = uneven(graph, config=CONFIG.model_copy(update={"layers": 1, "knowledge": 0.0}))
    users, _ = (part.detach().numpy() for part in model())
    x = model._first().detach().numpy()
    v = model.relation.detach().numpy()
    mixed = torch.softmax(model.mixture, dim=1).detach().numpy() @ v
    for user, item in ((1, 2), (2, 3)):  # each has this item alone, and it no other user: the edge weighs 1
        likeness = mixed @ x[user]
        care = (np.exp(likeness) / np.exp(likeness).sum()) @ mixed
        np.testing.assert_allclose(users[user], (x[user] + care * x[4 + item]) / 2, rtol=1e-5)


def test_the_start_is_even_attention_and_plain_propagation(graph: KnowledgeGraph) -> None:
    model = RelationalAttention(graph, CONTENT, CONFIG, seed=0)
    with torch.no_grad():
        model.node *= 1e-3
        model.projection *= 1e-3
    heads, attention = model.edges()[0], model.attention()
    n = torch.bincount(heads)[heads]
    even = model._log_weight == 0
    torch.testing.assert_close(attention[even], (1 / n)[even], rtol=1e-2, atol=0)


def test_facts_alone_place_an_item_that_nobody_met(graph: KnowledgeGraph) -> None:
    _, items = uneven(graph, np.zeros((6, 0), dtype=np.float32))()
    assert items[1].norm() > 0  # never met, but of brand Acme
    assert not items[4].any()  # its one look-alike knows nothing either


def test_a_graph_of_behavior_alone_will_do(catalog: Catalog, train: Interactions) -> None:
    bare = KnowledgeGraph.of(
        {"user": train.users, "item": catalog.items},
        {
            ("user", "view", "item"): build_graph(catalog, train, Attributes.of([]), {}, GraphConfig()).edges[
                "user", "view", "item"
            ]
        },
    )
    users, items = RelationalAttention(bare, CONTENT, CONFIG, seed=0)()
    (users.sum() + items.sum()).backward()
    assert users[0].norm() > 0


def test_content_must_have_a_row_an_item(graph: KnowledgeGraph) -> None:
    with pytest.raises(ValueError, match=r"a row an item \(6\), it has 5"):
        RelationalAttention(graph, CONTENT[:5], CONFIG, seed=0)
