from __future__ import annotations

import numpy as np

from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.replay.clusters import cluster, clusters_of


def test_points_around_three_centers_are_three_clusters() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=90)
    found = cluster(np.eye(3)[kind] + 0.05 * rng.standard_normal((90, 3)), 3)
    pairs = {(int(a), int(b)) for a, b in zip(kind, found, strict=True)}
    assert len(pairs) == 3
    assert sorted(b for _, b in pairs) == [0, 1, 2]


def test_equal_vectors_are_one_cluster_and_numbers_have_no_gaps() -> None:
    assert set(cluster(np.array([[1.0, 0], [1, 0], [0, 1]]), 3)) == {0, 1}


def test_items_are_alike_by_the_bundles_embeddings_and_strangers_stand_apart(two_tastes: Bundle) -> None:
    items = Vocabulary(("i4", "stranger", "i1", "i2", "i3"))
    four, stranger, one, two, three = clusters_of(items, two_tastes, n_clusters=2).tolist()
    assert four == two
    assert one == three
    assert len({four, one, stranger}) == 3
