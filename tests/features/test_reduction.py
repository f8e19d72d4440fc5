from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from features.vectors.learned import LearnedReductionConfig, learn_reduction, neighbor_recall
from features.vectors.reduction import Reduction, ledoit_wolf, pca, whitening


def stretched(n: int = 4000, scales: tuple[float, ...] = (4.0, 2.0, 1.0, 0.1), seed: int = 0) -> np.ndarray:
    """Rows around (1, 2, 3, ...), turned at random, with known standard deviations along hidden axes."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(len(scales), len(scales))))[0]
    return (rng.normal(size=(n, len(scales))) * scales @ turn + np.arange(1, len(scales) + 1)).astype(np.float32)


def test_principal_components_hold_the_planted_shares_of_the_variance() -> None:
    found = pca(stretched(), dim=4)
    planted = np.cumsum([16, 4, 1, 0.01]) / 21.01
    np.testing.assert_allclose(found.explained, planted, atol=0.01)
    reduced = found(stretched())
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(reduced.std(axis=0), [4, 2, 1, 0.1], rtol=0.05)
    np.testing.assert_allclose(np.cov(reduced.T), np.diag(reduced.var(axis=0)), atol=0.01)


@pytest.mark.parametrize(("share", "dim"), [(0.5, 1), (0.9, 2), (0.97, 3), (1.0, 4)])
def test_as_many_components_are_kept_as_hold_the_share(share: float, dim: int) -> None:
    assert pca(stretched(), share=share).d_out == dim


def test_components_keep_more_of_the_rows_than_any_other_axes() -> None:
    vectors = stretched()
    found = pca(vectors, dim=2)
    back = found(vectors) @ found.matrix.T + found.center
    lost = ((vectors - back) ** 2).sum(axis=1).mean()
    assert lost == pytest.approx(1.01, rel=0.05)  # the variances of the two that are left out


def test_without_centering_inner_products_are_kept() -> None:
    vectors = stretched()[:50]
    found = pca(vectors, dim=4, center=False)
    assert not found.center.any()
    np.testing.assert_allclose(found(vectors) @ found(vectors).T, vectors @ vectors.T, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_white_rows_vary_alike_in_all_directions(kind: str) -> None:
    vectors = stretched()
    white = whitening(vectors, kind=kind, shrinkage=0.0)(vectors)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=0.01)


def test_zca_stays_nearer_to_the_input_than_pca_whitening() -> None:
    vectors = stretched()
    centered = vectors - vectors.mean(axis=0)
    distance = {
        kind: ((whitening(vectors, kind=kind, shrinkage=0.0)(vectors) - centered) ** 2).sum()  # type: ignore[arg-type]
        for kind in ("pca", "zca")
    }
    assert distance["zca"] < distance["pca"]


def test_shrinkage_leaves_directions_without_variance_small() -> None:
    vectors = stretched(scales=(3.0, 1.0, 0.001))
    last = [whitening(vectors, shrinkage=s)(vectors).std(axis=0)[2] for s in (0.0, 0.1, 1.0)]
    assert last[0] == pytest.approx(1, rel=0.01)
    assert last[1] == pytest.approx(0.001 / np.sqrt(0.1 * 10 / 3), rel=0.05)
    assert last[2] < last[1]


def test_the_chosen_shrinkage_brings_a_small_sample_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = np.diag(np.linspace(1, 2, 40))
    few = rng.normal(size=(30, 40)) * np.sqrt(np.diag(truth))
    few -= few.mean(axis=0)
    s, sample = ledoit_wolf(few), few.T @ few / 30
    target = np.eye(40) * np.trace(sample) / 40

    def error(t: float) -> float:
        return float((((1 - t) * sample + t * target - truth) ** 2).sum())

    assert error(s) < 0.1 * error(0)
    assert error(s) < 2 * min(error(t) for t in np.linspace(0, 1, 101))
    assert ledoit_wolf(rng.normal(size=(20_000, 3)) * [3, 2, 1]) < 0.01


def test_a_zero_row_stays_zero_and_does_not_take_part() -> None:
    vectors = stretched()
    with_missing = np.concatenate([vectors, np.zeros((500, 4), dtype=np.float32)])
    for fit in (lambda x: pca(x, dim=2), whitening):
        np.testing.assert_allclose(fit(with_missing).matrix, fit(vectors).matrix)
        assert not fit(vectors)(with_missing)[-500:].any()


def test_a_saved_map_gives_the_same_numbers_and_a_broken_file_says_so(tmp_path: Path) -> None:
    vectors = stretched()
    saved = whitening(vectors, dim=3)
    saved.save(tmp_path / "map.safetensors")
    loaded = Reduction.load(tmp_path / "map.safetensors")
    assert (loaded.kind, loaded.d_in, loaded.d_out) == ("pca-whitening", 4, 3)
    np.testing.assert_array_equal(loaded(vectors), saved(vectors))
    np.testing.assert_array_equal(loaded.explained, saved.explained)
    (tmp_path / "broken").write_bytes(b"no tensors")
    for name in ("broken", "absent"):
        with pytest.raises(InputError, match=name):
            Reduction.load(tmp_path / name)


def test_what_cannot_be_reduced_is_refused() -> None:
    vectors = stretched(100)
    for wrong in ({}, {"dim": 2, "share": 0.5}, {"dim": 5}, {"dim": 0}, {"share": 0.0}, {"share": 1.1}):
        with pytest.raises(ValueError, match=r"dim|share"):
            pca(vectors, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not zero"):
        pca(np.zeros((5, 2), dtype=np.float32), dim=1)
    with pytest.raises(ValueError, match="zca keeps all"):
        whitening(vectors, kind="zca", dim=2)
    with pytest.raises(ValueError, match=r"shrinkage must be in \[0, 1\]"):
        whitening(vectors, shrinkage=2.0)
    with pytest.raises(ValueError, match=r"\[n, 4\]"):
        pca(vectors, dim=2)(vectors[:, :2])


def test_reducing_needs_no_torch() -> None:
    code = "import sys, features.vectors.reduction, features.vectors.nearest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def small_families(seed: int = 0) -> np.ndarray:
    """Rows in families of four that differ in directions of little variance, under a few loud ones that say nothing."""
    rng = np.random.default_rng(seed)
    quiet = np.repeat(rng.normal(size=(200, 12)), 4, axis=0) + 0.15 * rng.normal(size=(800, 12))
    loud = rng.normal(size=(800, 10)) * 1.15
    return np.concatenate([quiet, loud], axis=1).astype(np.float32)


def test_a_learned_map_keeps_more_neighbors_than_pca_or_is_pca() -> None:
    vectors = small_families()
    config = LearnedReductionConfig(neighbors=3, batch=256, learning_rate=0.01)
    learned = learn_reduction(vectors, 8, config, seed=0)
    assert learned.recall["learned"] > learned.recall["pca"]
    rows = np.arange(len(vectors))
    by_pca = neighbor_recall(vectors, pca(vectors, dim=8, center=False)(vectors), k=3, rows=rows)
    assert neighbor_recall(vectors, learned.reduction(vectors), k=3, rows=rows) > by_pca
    again = learn_reduction(vectors, 8, config, seed=0)
    np.testing.assert_array_equal(again.reduction.matrix, learned.reduction.matrix)
    whole = learn_reduction(vectors, 22, config, seed=0)
    assert whole.reduction.kind == "pca"  # which keeps every neighbor already
    assert whole.recall["pca"] == 1


def test_neighbor_recall_counts_what_is_still_near() -> None:
    before = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1]], dtype=np.float32)
    after = before.copy()
    after[1] = (0, 1)
    assert neighbor_recall(before, before, k=1, rows=np.arange(4)) == 1
    assert neighbor_recall(before, after, k=1, rows=np.array([0])) == 0
    assert np.isnan(neighbor_recall(before, after, k=1, rows=np.array([], dtype=np.int64)))
