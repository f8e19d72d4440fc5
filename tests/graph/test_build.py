from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from features.shop.reviews import Reviews
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from graph.neighbors import Neighbors

NO_PRICES = GraphConfig(price_bands=0)


def edges(graph: KnowledgeGraph, *edge_type: str) -> list[tuple[str, str, float]]:
    listed = graph.edges[edge_type]
    source, target = graph.vocabularies[edge_type[0]], graph.vocabularies[edge_type[2]]
    return [
        (source[s], target[d], w)
        for s, d, w in zip(listed.src.tolist(), listed.dst.tolist(), listed.weight.tolist(), strict=True)
    ]


def test_every_type_of_event_is_a_relation_of_its_own_and_repeated_events_add_up(graph: KnowledgeGraph) -> None:
    assert edges(graph, "user", "view", "item") == [("u0", "i0", 2.0), ("u1", "i2", 1.0)]
    assert edges(graph, "user", "purchase", "item") == [("u0", "i0", 5.0), ("u2", "i3", 5.0)]


def test_shared_attribute_values_are_nodes_and_values_of_one_owner_are_not(graph: KnowledgeGraph) -> None:
    assert graph.vocabularies["item:brand"].ids == ("Acme", "Bolt")
    assert edges(graph, "item", "has", "item:brand") == [
        ("i0", "Acme", 1.0),
        ("i1", "Acme", 1.0),
        ("i2", "Bolt", 1.0),
        ("i3", "Bolt", 1.0),
    ]
    assert edges(graph, "user", "has", "user:age") == [("u0", "young", 1.0), ("u3", "young", 1.0)]


def test_look_alikes_are_joined_and_opposites_are_not(graph: KnowledgeGraph) -> None:
    assert edges(graph, "item", "alike:image", "item") == [("i4", "i5", pytest.approx(0.8))]


def test_every_relation_stands_beside_its_reverse(graph: KnowledgeGraph) -> None:
    assert edges(graph, "item", "rev_purchase", "user") == [("i0", "u0", 5.0), ("i3", "u2", 5.0)]
    assert edges(graph, "item", "rev_alike:image", "item") == [("i5", "i4", pytest.approx(0.8))]
    assert len(graph.edges) == 2 * len(graph.forward) == 10


def test_prices_become_bands_of_equal_filling(catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig(price_bands=2))
    assert edges(graph, "item", "has", "item:price") == [
        ("i0", "1 to 2.5", 1.0),
        ("i1", "1 to 2.5", 1.0),
        ("i2", "2.5 to 4", 1.0),
        ("i3", "2.5 to 4", 1.0),
    ]


def test_only_training_events_become_edges(catalog: Catalog, train: Interactions) -> None:
    kept = train.where(np.array([0]))  # the other four are held out
    graph = build_graph(catalog, kept, Attributes.of([]), {}, NO_PRICES)
    assert edges(graph, "user", "view", "item") == [("u0", "i0", 1.0)]
    assert not any("purchase" in relation for _, relation, _ in graph.edges)


def test_a_shop_without_events_or_attributes_still_has_its_nodes(catalog: Catalog) -> None:
    bare = replace(catalog, attributes=Attributes.of([]))
    graph = build_graph(bare, Interactions.empty(Vocabulary(()), catalog.items), Attributes.of([]), {}, NO_PRICES)
    assert (graph.n_nodes, graph.edges) == ({"user": 0, "item": 6}, {})


@pytest.mark.parametrize(("owner", "other"), [("item", "user"), ("user", "item")])
def test_attributes_of_items_or_of_users_can_be_left_out(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, owner: str, other: str
) -> None:
    config = GraphConfig.model_validate({"price_bands": 0, f"{owner}_attributes": False})
    graph = build_graph(catalog, train, user_attributes, {}, config)
    kinds = [kind for kind in graph.n_nodes if ":" in kind]
    assert [kind.partition(":")[0] for kind in kinds] == [other]


def test_telling_words_of_reviews_are_nodes_where_they_are_asked_for(catalog: Catalog, train: Interactions) -> None:
    texts = ["warm and soft", "tight", "tight soft", "warm"]
    said = Reviews(
        catalog.items,
        item_idx=np.arange(4),
        text=np.array(texts, dtype=object),
        rating=np.full(4, np.nan),
        timestamp=None,
        user=np.full(4, "", dtype=object),
    )
    asked = GraphConfig(price_bands=0, review_terms=1)
    graph = build_graph(catalog, train, Attributes.of([]), {}, asked, reviews=said)
    assert {(item, term) for item, term, _ in edges(graph, "item", "mentions", "term")} == {
        ("i0", "soft"),
        ("i1", "tight"),
        ("i2", "soft"),
        ("i3", "warm"),
    }
    assert "term" not in build_graph(catalog, train, Attributes.of([]), {}, NO_PRICES, reviews=said).n_nodes


def test_events_over_another_catalog_are_refused(catalog: Catalog, train: Interactions) -> None:
    other = replace(train, items=Vocabulary(tuple(f"x{i}" for i in range(6))))
    with pytest.raises(ValueError, match="share one item vocabulary"):
        build_graph(catalog, other, Attributes.of([]), {}, NO_PRICES)


def test_neighbors_of_another_catalog_are_refused(catalog: Catalog, train: Interactions) -> None:
    short = {"text": Neighbors(np.zeros((2, 1), dtype=np.int64), np.zeros((2, 1), dtype=np.float32))}
    with pytest.raises(ValueError, match=r"text neighbors must have a row an item \(6\), they have 2"):
        build_graph(catalog, train, Attributes.of([]), short, NO_PRICES)
