from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.event_rules import RESERVED_TYPES
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.schema import FACT, ITEM, USER, EdgeType, behavior, beside, is_behavior, reverse

BUYS = ("user", "purchase", "item")
ALIKE = ("item", "alike:text", "item")


def edge_list(*edges: tuple[int, int, float]) -> EdgeList:
    return EdgeList(
        np.array([e[0] for e in edges], dtype=np.int64),
        np.array([e[1] for e in edges], dtype=np.int64),
        np.array([e[2] for e in edges], dtype=np.float32),
    )


def graph_of(forward: dict[EdgeType, EdgeList]) -> KnowledgeGraph:
    names = {"user": Vocabulary(("u0", "u1")), "item": Vocabulary(("i0", "i1", "i2"))}
    return KnowledgeGraph.of(names, forward)


@pytest.fixture
def graph() -> KnowledgeGraph:
    return graph_of({BUYS: edge_list((0, 0, 1), (1, 2, 5)), ALIKE: edge_list((0, 1, 0.5))})


@pytest.mark.parametrize(
    ("edges", "complaint"),
    [
        (edge_list((0, 0, 1), (2, 0, 1)), r"user -purchase-> item: source must be in \[0, 2\), row 1 has 2"),
        (edge_list((0, 3, 1)), r"user -purchase-> item: target must be in \[0, 3\), row 0 has 3"),
        (edge_list((0, -1, 1)), r"user -purchase-> item: target must be in \[0, 3\), row 0 has -1"),
        (edge_list((0, 0, 1), (0, 1, 0)), r"user -purchase-> item: weight must be > 0 and finite, row 1 has 0.0"),
        (edge_list((0, 0, np.nan)), r"user -purchase-> item: weight must be > 0 and finite, row 0 has nan"),
        (
            edge_list((1, 2, 1), (0, 0, 1), (1, 2, 4)),
            r"user -purchase-> item: an edge must be there once, row 2 repeats \('u1', 'i2'\)",
        ),
    ],
)
def test_a_bad_edge_is_refused_by_relation_and_row(edges: EdgeList, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        graph_of({BUYS: edges})


def test_no_item_is_its_own_neighbor() -> None:
    with pytest.raises(ValueError, match=r"item -alike:text-> item: no item is its own neighbor, row 1 joins 2"):
        graph_of({ALIKE: edge_list((0, 1, 1), (2, 2, 1))})


def test_an_unknown_node_type_is_refused() -> None:
    with pytest.raises(ValueError, match="node type 'shop' is not one of"):
        graph_of({("user", "visit", "shop"): edge_list((0, 0, 1))})


def test_a_missing_reverse_is_refused(graph: KnowledgeGraph) -> None:
    one_way = {kind: edges for kind, edges in graph.edges.items() if kind != reverse(BUYS)}
    with pytest.raises(ValueError, match="its reverse item -rev_purchase-> user is missing"):
        replace(graph, edges=one_way).validate()


def test_a_reverse_that_does_not_mirror_is_refused_by_row(graph: KnowledgeGraph) -> None:
    crooked = {**graph.edges, reverse(BUYS): edge_list((0, 0, 1), (2, 1, 4))}
    with pytest.raises(ValueError, match="must mirror it row by row, row 1 does not"):
        replace(graph, edges=crooked).validate()
    shorter = {**graph.edges, reverse(BUYS): edge_list((0, 0, 1))}
    with pytest.raises(ValueError, match="has 2 edges but its reverse has 1"):
        replace(graph, edges=shorter).validate()


def test_counts_and_names_must_agree(graph: KnowledgeGraph) -> None:
    with pytest.raises(ValueError, match="node type 'item' has 4 nodes but 3 names"):
        replace(graph, n_nodes={"user": 2, "item": 4}).validate()
    with pytest.raises(ValueError, match=r"only one of the two is given for \['brand'\]"):
        replace(graph, n_nodes={**graph.n_nodes, "brand": 1}).validate()


def test_edge_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="must have one length, got 1, 2, 1"):
        EdgeList(np.zeros(1, dtype=np.int64), np.zeros(2, dtype=np.int64), np.ones(1, dtype=np.float32))


def test_hetero_data_holds_every_node_edge_and_weight(graph: KnowledgeGraph) -> None:
    data = graph.to_hetero()
    assert {kind: data[kind].num_nodes for kind in data.node_types} == {"user": 2, "item": 3}
    assert set(data.edge_types) == {BUYS, reverse(BUYS), ALIKE, reverse(ALIKE)}
    assert data[BUYS].edge_index.tolist() == [[0, 1], [0, 2]]
    assert data[reverse(BUYS)].edge_index.tolist() == [[0, 2], [0, 1]]
    assert data[BUYS].edge_weight.tolist() == [1.0, 5.0]
    data.validate(raise_on_error=True)


def test_hetero_data_and_graph_do_not_share_memory(graph: KnowledgeGraph) -> None:
    graph.to_hetero()[BUYS].edge_weight[0] = 9.0
    assert graph.edges[BUYS].weight.tolist() == [1.0, 5.0]


def test_the_summary_counts_each_relation_once(graph: KnowledgeGraph) -> None:
    assert graph.summary() == {
        "nodes": {"user": 2, "item": 3},
        "edges": {"user -purchase-> item": 2, "item -alike:text-> item": 1},
    }


def test_the_reverse_of_a_reverse_is_the_original() -> None:
    assert reverse(reverse(BUYS)) == BUYS
    assert reverse(BUYS) == ("item", "rev_purchase", "user")


def test_relations_of_users_and_items_that_are_no_events_have_names_that_no_event_may_have() -> None:
    for relation in (beside("view"), (USER, f"{FACT}owns", ITEM)):
        assert not is_behavior(relation)
        assert relation[1].startswith(RESERVED_TYPES)
    assert is_behavior(behavior("view"))
