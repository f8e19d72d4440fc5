from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from features.catalog import Attributes
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.neighbors import Neighbors
from recsys.held_out import Split
from recsys.linear.ease import ease_weights
from recsys.linear.scaling import column_sums
from recsys.linear.side import attribute_rows, content_rows, with_columns, with_side
from recsys.linear.walk import WalkShape, half_step, walk_core, walk_weights
from recsys.models.closed_form import Sides
from recsys.models.ease import EASEConfig, fit_ease
from recsys.models.model import Job


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


def test_columns_stand_beside_the_items_and_side_rows_have_nothing_there() -> None:
    pairs = sparse.csr_matrix([[1, 0], [0, 1]], dtype=np.float32)
    columns = {"users": sparse.csr_matrix([[1], [0]], dtype=np.float32), "beside view": pairs[:, ::-1]}
    wide = with_columns(pairs, columns, {"users": 0.5})
    assert wide.toarray().tolist() == [[1, 0, 0.5], [0, 1, 0]]
    rows = {"text": sparse.csr_matrix([[1, 1]])}
    assert with_side(wide, rows, {"text": 2.0}).toarray().tolist() == [[1, 0, 0.5], [0, 1, 0], [2, 2, 0]]
    both = with_columns(pairs, columns, {"users": 0.5, "beside view": 2.0})
    assert both.toarray().tolist() == [[1, 0, 0.5, 0, 2], [0, 1, 0, 2, 0]]
    assert with_columns(pairs, columns, {"users": 0.0}) is pairs
    assert with_columns(pairs, {}, {"users": 1.0}) is pairs


def test_what_a_user_is_ranks_items_for_one_who_has_none() -> None:
    """Women have item 0 and men item 1; the last two users, a woman and a man, have nothing yet."""
    likes = [("w0", 0), ("w1", 0), ("m0", 1), ("m1", 1)]
    users = Vocabulary.of(["w0", "w1", "m0", "m1", "w2", "m2"])
    items = Vocabulary.of(["i0", "i1", "i2"])
    gender = Attributes.of([(row, "gender", user[0]) for row, user in enumerate(users)])
    user, item = users.idxs([one for one, _ in likes]), np.array([one for _, one in likes])
    events = Interactions(users, items, user, item, np.full(4, "like", dtype=object), np.ones(4, dtype=np.float32))
    nothing = events.where(np.zeros(0, dtype=np.int64))
    split = Split("by hand", events, nothing, nothing)
    config = EASEConfig(ridge=(1.0,), target_exponent=(0.0,), sides={"users": (1.0,)})
    sides = Sides().with_users(gender, len(users))
    scores = fit_ease("ease_side", split, sides, config, Job(0, Path())).score(np.array([4, 5]))
    assert scores.shape == (2, 3)
    assert scores[0, 0] > 0.1 > scores[0, 1]
    assert scores[1, 1] > 0.1 > scores[1, 0]
    assert not fit_ease("ease", split, Sides(), config, Job(0, Path())).score(np.array([4, 5])).any()
