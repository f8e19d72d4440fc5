from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.vectors.reduction import Reduction
from recsys.search import spaces
from recsys.search.spaces import Approximate, Space, build_approximate, open_space


def clustered(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit rows around 40 directions of a subspace, so that few components tell neighbors."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(12, dim))
    centers = rng.normal(size=(40, 12))
    rows = (centers[rng.integers(40, size=n)] + 0.4 * rng.normal(size=(n, 12))) @ basis
    rows += 0.3 * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_nearest_allowed_are_found_in_order_and_a_zero_row_never() -> None:
    vectors = np.array([[1, 0], [0, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    allowed = np.array([True, True, True, False, True])
    found = Space(vectors).top(np.array([1, 0], dtype=np.float32), 10, allowed)
    assert found.idx.tolist() == [0, 2, 4]
    assert found.score.tolist() == pytest.approx([1, 0.8, -1])


def test_a_right_angle_is_no_missing_vector() -> None:
    vectors = np.array([[0, 1], [0, 0], [0, -1]], dtype=np.float32)
    found = Space(vectors).top(np.array([1, 0], dtype=np.float32), 10, np.ones(3, dtype=bool))
    assert found.idx.tolist() == [0, 2]


def test_a_narrow_filter_gives_the_same_as_scoring_everything() -> None:
    vectors = clustered(400, 16)
    allowed = np.zeros(400, dtype=bool)
    allowed[::9] = True
    found = Space(vectors).top(vectors[3], 20, allowed)
    exact = np.argsort(-(vectors @ vectors[3]), kind="stable")
    assert found.idx.tolist() == [row for row in exact if allowed[row]][:20]


def test_a_large_catalog_gets_an_index_that_reaches_its_target_and_keeps_to_the_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "EXACT_LIMIT", 1000)
    vectors = clustered(6000, 64)
    vectors[::50] = 0
    report = build_approximate(vectors, reduced=16, index=tmp_path / "i", reduction=tmp_path / "r")
    assert report is not None
    assert report["dim"] == 16
    assert report["recall@100"] >= 0.95
    assert "reduced_recall@100" not in report
    assert 0.5 < report["explained"] < 1.0
    assert Reduction.load(tmp_path / "r").d_out == 16
    space = open_space(vectors, tmp_path / "i", tmp_path / "r")
    assert isinstance(space.approximate, Approximate)
    allowed = np.arange(6000) % 2 == 1
    query = vectors[7]
    found = space.top(query, 50, allowed)
    exact = Space(vectors).top(query, 50, allowed)
    assert len(found.idx) == 50
    assert allowed[found.idx].all()
    assert np.isin(exact.idx, found.idx).mean() >= 0.9
    np.testing.assert_allclose(found.score, vectors[found.idx] @ query, atol=1e-5)


def test_components_that_lose_too_much_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "EXACT_LIMIT", 1000)
    noise = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    report = build_approximate(noise, reduced=4, index=tmp_path / "i", reduction=tmp_path / "r")
    assert report is not None
    assert (report["dim"], list(tmp_path.glob("r"))) == (32, [])
    assert report["reduced_recall@100"] < 0.95 <= report["recall@100"]


def test_a_small_catalog_and_one_without_vectors_get_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_approximate(clustered(50, 8), reduced=4, index=tmp_path / "i", reduction=tmp_path / "r") is None
    monkeypatch.setattr(spaces, "EXACT_LIMIT", 10)
    nothing = np.zeros((50, 8), dtype=np.float32)
    assert build_approximate(nothing, reduced=4, index=tmp_path / "i", reduction=tmp_path / "r") is None
    assert list(tmp_path.iterdir()) == []
