from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from graph.build import GraphConfig, build_graph
from graph.cold_tower import message
from graph.knowledge_graph import KnowledgeGraph
from graph.models.kg_gnn import KGGNN, GNNConfig
from graph.neighbors import Neighbors

CONFIG = GNNConfig(dim=8, layers=2)
CONTENT = np.eye(6, dtype=np.float32)


def embed(graph: KnowledgeGraph, content: np.ndarray = CONTENT, config: GNNConfig = CONFIG) -> dict[str, np.ndarray]:
    with torch.no_grad():
        users, items, _ = KGGNN(graph, content, config, seed=0)()
    return {f"u{i}": row for i, row in enumerate(users.numpy())} | {f"i{i}": row for i, row in enumerate(items.numpy())}


def moved(graph: KnowledgeGraph, item: int, config: GNNConfig = CONFIG) -> set[str]:
    """Who changes when one item's content does."""
    other = CONTENT.copy()
    other[item] = np.roll(CONTENT[item], 1) * 0.6 + CONTENT[item] * 0.8
    before, after = embed(graph, CONTENT, config), embed(graph, other, config)
    return {name for name in before if not np.allclose(before[name], after[name], atol=1e-6)}


def test_a_changed_item_moves_its_neighbors_and_no_stranger(graph: KnowledgeGraph) -> None:
    assert moved(graph, 0) == {"i0", "u0", "i1"}  # over behavior, and over the brand
    assert moved(graph, 2) == {"i2", "u1", "i3"}
    assert moved(graph, 4) == {"i4", "i5"}  # i4 lists i5 as look-alike


def test_messages_run_in_both_directions_of_every_relation(graph: KnowledgeGraph) -> None:
    assert moved(graph, 5) == {"i5", "i4"}  # i5 does not list i4, the edge is the reverse
    assert moved(graph, 1) == {"i1", "i0"}
    assert "u2" in moved(graph, 3)


def test_a_message_goes_one_edge_further_a_layer(graph: KnowledgeGraph) -> None:
    # i1 - Acme - i0 - u0 - young - u3
    by_layers = [moved(graph, 1, CONFIG.model_copy(update={"layers": layers})) for layers in (1, 2, 3, 4, 5)]
    assert by_layers == [{"i1"}, {"i1", "i0"}, {"i1", "i0", "u0"}, {"i1", "i0", "u0"}, {"i1", "i0", "u0", "u3"}]


def test_a_relation_of_weight_zero_passes_nothing_on(graph: KnowledgeGraph) -> None:
    assert moved(graph, 1, CONFIG.model_copy(update={"item_facts": 0.0})) == {"i1"}
    assert moved(graph, 4, CONFIG.model_copy(update={"look_alikes": 0.0})) == {"i4"}
    assert moved(graph, 0, CONFIG.model_copy(update={"user_facts": 0.0})) == {"i0", "u0", "i1"}


def test_a_hidden_item_is_placed_as_if_nobody_had_met_it(catalog: Catalog, train: Interactions) -> None:
    of = {"config": GraphConfig(price_bands=0), "user_attributes": Attributes.of([]), "item_neighbors": {}}
    model = KGGNN(build_graph(catalog, train, **of), CONTENT, CONFIG, seed=0)
    hidden = torch.tensor([True, False, False, False, False, False])
    with torch.no_grad():
        users, items, prior = model(hidden)
        unmet = KGGNN(build_graph(catalog, train.where(train.item_idx != 0), **of), CONTENT, CONFIG, seed=0)
        unmet.load_state_dict(model.state_dict())
        unmet.node[0] = 0  # u0 met nothing else
        expected_users, expected_items, expected_prior = unmet()
    torch.testing.assert_close(items[[0, 1]], expected_items[[0, 1]])
    torch.testing.assert_close(users[1:], expected_users[1:])
    assert prior[0] == expected_prior[0] == model.newcomer_prior
    assert model.newcomers.tolist() == [False, True, False, False, True, True]


def test_embeddings_have_length_one_and_who_is_unknown_has_none(graph: KnowledgeGraph) -> None:
    nothing = embed(graph, np.zeros((6, 3), dtype=np.float32))
    assert not nothing["i4"].any()  # never met, no shared attribute, no content; its look-alike knows nothing either
    assert np.linalg.norm(nothing["i1"]) == pytest.approx(1)  # known by its brand
    assert np.linalg.norm(nothing["u3"]) == pytest.approx(1)  # known by age
    assert np.linalg.norm(nothing["u0"]) == pytest.approx(1)


def test_dropped_content_dimensions_do_not_count(graph: KnowledgeGraph) -> None:
    model = KGGNN(graph, CONTENT, CONFIG, seed=0)
    with torch.no_grad():
        without = model(content_gain=torch.tensor([1.0, 1, 1, 1, 0, 0]))[1]
    blank = CONTENT.copy()
    blank[4:] = 0
    with torch.no_grad():
        expected = KGGNN(graph, blank, CONFIG, seed=0)()[1]
    torch.testing.assert_close(without, expected)


def test_the_prior_starts_at_popularity(graph: KnowledgeGraph) -> None:
    prior = KGGNN(graph, CONTENT, CONFIG, seed=0).prior.detach().numpy()
    assert prior[0] == pytest.approx(prior[2])
    assert prior[0] - prior[1] == pytest.approx(np.log(2))


def test_content_must_have_a_row_an_item(graph: KnowledgeGraph) -> None:
    with pytest.raises(ValueError, match=r"a row an item \(6\), it has 5"):
        KGGNN(graph, CONTENT[:5], CONFIG, seed=0)


def test_an_item_that_joins_later_is_placed_where_the_graph_would_have_placed_it(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> None:
    # i4 has no events; its one look-alike is i5 (0.8). A third brand owner is put beside to test values as well.
    facts = catalog.attributes
    branded = replace(
        catalog,
        attributes=Attributes.of(
            [*zip(facts.row_idx.tolist(), facts.name.tolist(), facts.value.tolist(), strict=True), (4, "brand", "Acme")]
        ),
    )
    graph = build_graph(branded, train, user_attributes, look_alikes, GraphConfig(price_bands=0))
    content = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    model = KGGNN(graph, content, CONFIG, seed=3)
    with torch.no_grad():
        _, items, _ = model()
    assert graph.item_values[0] == ("brand", "Acme")
    from_values, from_items = (part.numpy() for part in model.messages())
    heard = message(
        from_values,
        from_items,
        values=np.array([0]),
        look_alikes=np.array([5]),
        likeness=np.array([0.8], dtype=np.float32),
    )
    z = content[4] @ model.projection.detach().numpy() + heard
    np.testing.assert_allclose(z / np.linalg.norm(z), items[4].numpy(), atol=1e-6)
    alone = content[4] @ model.projection.detach().numpy()
    assert not np.allclose(alone / np.linalg.norm(alone), items[4].numpy(), atol=1e-2)
