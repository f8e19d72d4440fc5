from __future__ import annotations

import numpy as np

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from graph.build import GraphConfig, build_graph
from graph.joint import JointGraph, join
from graph.neighbors import Neighbors


def joined(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> JointGraph:
    graph = build_graph(catalog, train, user_attributes, look_alikes, GraphConfig(price_bands=0))
    return join(graph, item_facts=0.5, user_facts=0.25, look_alikes=2.0)


def test_every_type_has_its_rows_users_first_then_items(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> None:
    joint = joined(catalog, train, user_attributes, look_alikes)
    assert joint.rows == {
        "user": slice(0, 4),
        "item": slice(4, 10),
        "item:brand": slice(10, 12),
        "user:age": slice(12, 13),
    }
    assert joint.n_nodes == 13


def test_each_block_is_normalized_by_itself_and_weighted(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> None:
    joint = joined(catalog, train, user_attributes, look_alikes)
    behavior, knowledge = joint.behavior.toarray(), joint.knowledge.toarray()
    np.testing.assert_allclose([behavior[0, 4], behavior[1, 6], behavior[2, 7]], 1.0, rtol=1e-6)  # one item a user
    np.testing.assert_allclose(knowledge[4, 10], 0.5 / np.sqrt(2), rtol=1e-6)  # i0 has Acme, which two items have
    np.testing.assert_allclose(knowledge[0, 12], 0.25 / np.sqrt(2), rtol=1e-6)  # u0 is young, as is u3
    np.testing.assert_allclose(knowledge[8, 9], 2.0, rtol=1e-6)  # i4 and i5 are each other's only look-alike
    assert joint.behavior.nnz == 2 * 3
    assert joint.knowledge.nnz == 2 * (4 + 2 + 1)


def test_both_matrices_are_symmetric(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> None:
    joint = joined(catalog, train, user_attributes, look_alikes)
    for matrix in (joint.behavior, joint.knowledge):
        assert abs(matrix - matrix.T).nnz == 0
