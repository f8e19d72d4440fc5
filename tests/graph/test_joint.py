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


def test_other_behavior_is_a_block_of_its_own_that_may_count_against_and_is_nothing_that_users_met(
    catalog: Catalog, train: Interactions, user_attributes: Attributes
) -> None:
    """u0 and u3 viewed i2, which u1 has; u3 has nothing."""
    viewed = Interactions(
        train.users,
        train.items,
        np.array([0, 3]),
        np.array([2, 2]),
        np.array(["view", "view"], dtype=object),
        np.ones(2, dtype=np.float32),
    )
    config = GraphConfig(price_bands=0)
    plain = build_graph(catalog, train, user_attributes, {}, config)
    graph = build_graph(catalog, train, user_attributes, {}, config, other_behavior=viewed)
    assert set(graph.forward) - set(plain.forward) == {("user", "beside:view", "item")}
    without, heeded, against = (
        join(one, item_facts=0.5, user_facts=0.25, look_alikes=2.0, beside=weight)
        for one, weight in ((plain, 1.0), (graph, 0.4), (graph, -0.4))
    )
    added = (heeded.behavior - without.behavior).toarray()
    expected = np.zeros_like(added)
    expected[[0, 3, 6, 6], [6, 6, 0, 3]] = 0.4 / np.sqrt(2)
    np.testing.assert_allclose(added, expected, atol=1e-6)
    np.testing.assert_allclose((against.behavior - without.behavior).toarray(), -expected, atol=1e-6)
    for one in (heeded, against):
        assert one.met.tolist() == without.met.tolist()
        assert abs(one.knowledge - without.knowledge).nnz == 0
