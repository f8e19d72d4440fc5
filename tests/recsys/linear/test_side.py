from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from features.catalog import Attributes
from graph.neighbors import Neighbors
from recsys.linear.ease import ease_weights
from recsys.linear.scaling import column_sums
from recsys.linear.side import attribute_rows, content_rows, with_side
from recsys.linear.walk import WalkShape, half_step, walk_core, walk_weights


def test_a_content_row_holds_the_item_and_its_neighbors() -> None:
    near = Neighbors(np.array([[1, 2], [0, -1], [-1, -1]]), np.array([[0.5, -0.2], [0.5, 0], [0, 0]], dtype=np.float32))
    assert content_rows(near).toarray() == pytest.approx(np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]))


def test_an_attribute_row_is_a_value_that_is_shared() -> None:
    facts = Attributes.of([(0, "color", "red"), (2, "color", "red"), (1, "color", "blue"), (1, "use", "red")])
    assert attribute_rows(facts, 3).toarray().tolist() == [[1, 0, 1]]
    assert attribute_rows(Attributes.of([]), 3).shape == (0, 3)


def test_sides_are_weighted_and_a_weight_of_0_leaves_one_out() -> None:
    pairs = sparse.csr_matrix([[1, 0]], dtype=np.float32)
    sides = {"text": sparse.csr_matrix([[1, 1]]), "image": sparse.csr_matrix([[0, 1]])}
    assert with_side(pairs, sides, {"text": 0.5, "image": 0.0}).toarray().tolist() == [[1, 0], [0.5, 0.5]]


@pytest.mark.parametrize("model", ["ease", "walk"])
def test_a_new_item_is_reached_through_its_content_alone(model: str) -> None:
    """Items 0 and 1 are liked together, 2 and 3 too; item 4 is new and described as item 0 is."""
    pairs = sparse.csr_matrix([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0]], dtype=np.float32)
    alike = sparse.csr_matrix(np.array([[1, 0, 0, 0, 0.9], [0.9, 0, 0, 0, 1]], dtype=np.float32))

    def weights(matrix: sparse.csr_matrix) -> np.ndarray:
        if model == "ease":
            return ease_weights(matrix, ridge=0.5)
        return walk_weights(walk_core(half_step(matrix, 0.5), 0.5), column_sums(matrix), WalkShape())

    without, with_content = weights(pairs), weights(with_side(pairs, {"text": alike}, {"text": 1.0}))
    assert not without[:, 4].any()
    reached = sparse.csr_matrix([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]) @ with_content
    assert reached[0, 4] > 0.05 > abs(reached[1, 4])
