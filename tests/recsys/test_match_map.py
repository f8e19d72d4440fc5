from __future__ import annotations

import numpy as np

from recsys.match_map import neighborhood_map, principal_plane
from recsys.match_plots import point_map, unit_curve


def groups(n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = np.eye(6)[:3].repeat(n // 4, axis=0)
    vectors = centers + 0.2 * rng.normal(size=centers.shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_what_is_alike_lies_together_and_the_same_vectors_give_the_same_map() -> None:
    vectors = groups()
    place = neighborhood_map(vectors)
    np.testing.assert_array_equal(place, neighborhood_map(vectors))
    distance = np.linalg.norm(place[:, None] - place, axis=2)
    np.fill_diagonal(distance, np.inf)
    group = np.arange(30) // 10
    assert (group[distance.argmin(axis=1)] == group).all()
    within = distance[group[:, None] == group]
    assert np.median(within[np.isfinite(within)]) < 0.5 * np.median(distance[group[:, None] != group])


def test_the_plane_holds_the_main_directions() -> None:
    vectors = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]])
    np.testing.assert_allclose(np.abs(principal_plane(vectors)), [[2, 0], [2, 0], [0, 1], [0, 1]], atol=1e-12)
    assert neighborhood_map(np.ones((2, 1))).tolist() == [[0, 0], [0, 0]]


def test_a_curve_ends_where_its_points_end_and_names_are_escaped() -> None:
    drawn = unit_curve("R&R", np.array([0.0, 1.0]), np.array([0.0, 1.0]), x_label="x", y_label="y", told="a diagonal")
    assert 'd="M52.0 294.0L312.0 34.0"' in drawn
    assert "R&amp;R: a diagonal" in drawn
    many = unit_curve("t", np.linspace(0, 1, 5000), np.ones(5000), x_label="x", y_label="y", told="", dots=True)
    assert many.count("<circle") == 200
    shown = point_map("m", np.array([[0.0, 0], [1, 1], [2, 2]]), ["a", "a", ""], ["<b>", "x", "y"])
    assert "&lt;b&gt;" in shown
    assert shown.count("#b4471f") == 3  # two points and the legend
