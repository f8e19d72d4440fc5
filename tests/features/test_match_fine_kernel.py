"""Attributes told by remembered listings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoders.shades import PARTS_DIM, WHOLE_DIM
from features.kernel_regression import left_out
from features.match.fine.config import FineConfig, KernelConfig
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.kernel import fit_kernel_heads
from features.match.fine.labels import Label
from features.match.fine.views import Listings, Views

N = 160
CONFIG = KernelConfig(sample=100, steps=15)


@pytest.fixture(scope="module")
def planted() -> tuple[Views, torch.Tensor]:
    """Two kinds of listings, told by the scene; one takes its value from the first shade, the other from the second."""
    rng = np.random.default_rng(0)
    kind, first, second = (rng.integers(0, 2, N) for _ in range(3))
    scene = rng.normal(size=(N, 12)) * 0.2 + kind[:, None]
    shades = np.zeros((N, WHOLE_DIM + PARTS_DIM))
    shades[np.arange(N), first] = shades[np.arange(N), 2 + second] = 0.7
    shades[np.arange(N), WHOLE_DIM + rng.integers(0, 9, N)] = 1.0  # tells nothing
    empty, number = torch.zeros(N, 0), torch.arange(N)
    arrays = (torch.from_numpy(x).half() for x in (scene, shades))
    seen, shaded = arrays
    unread = dict.fromkeys(("sentence", "tokens", "token_mask", "patches", "pixels", "ids"), empty)
    same = {"same_text": number, "same_image": number}
    views = Views(words=number[:, None], scene=seen, shades=shaded, **unread, **same)
    return views, torch.from_numpy(np.where(kind == 0, first, second))


def test_left_out_predictions_are_those_of_fits_without_the_row() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 3)), torch.from_numpy(rng.normal(size=(9, 2)))
    likeness = torch.from_numpy(np.exp(-((x[:, None] - x) ** 2).sum(2))) + 0.3 * torch.eye(9, dtype=torch.float64)
    for row, found in enumerate(left_out(likeness, y)):
        rest = [other for other in range(9) if other != row]
        expected = likeness[row, rest] @ torch.linalg.solve(likeness[rest][:, rest], y[rest])
        torch.testing.assert_close(found, expected)


def test_which_shade_counts_follows_from_the_kind_of_the_listing(planted: tuple[Views, torch.Tensor]) -> None:
    views, value = planted
    heads = fit_kernel_heads(views.at(torch.arange(120)), (value[:120],), (2,), CONFIG, seed=0)
    told = heads.told(views.at(torch.arange(120, N)))[0]
    assert (told.argmax(1) == value[120:]).float().mean() > 0.9
    torch.testing.assert_close(told.sum(1), torch.ones(N - 120))
    _, middle, parts = heads.kernels[0].reach.tolist()
    assert parts < middle / 2  # what tells nothing counts less


def test_the_same_seed_remembers_the_same_and_no_more_than_asked(planted: tuple[Views, torch.Tensor]) -> None:
    views, value = planted
    few = CONFIG.model_copy(update={"listings": 60, "sample": 40})
    some, again = (fit_kernel_heads(views, (value,), (2,), few, seed=3) for _ in range(2))
    assert len(some.remembered[0]) == 60
    for a, b in zip(some.told(views), again.told(views), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_of_equal_pictures_one_is_remembered(planted: tuple[Views, torch.Tensor]) -> None:
    views, value = planted
    twice = replace(views, same_image=views.same_image // 2)
    assert len(fit_kernel_heads(twice, (value,), (2,), CONFIG, seed=0).remembered[0]) == N // 2


def test_a_fitted_model_mixes_remembered_listings_in_and_keeps_them(colored: Listings, tmp_path: Path) -> None:
    tiny = FineConfig(members=1, epochs=2, batch=16, hidden=8, dim=8, word_dim=8, kernel=CONFIG)
    color = Label("color", ("a", "b", "c", "d"), np.arange(len(colored)) % 4)
    model = fit_fine(colored, (color,), np.arange(36), np.arange(36, 48), tiny, seed=0)
    views = model.views(colored, np.arange(36, 48))
    told = model.told(views)[0]
    assert model.kernel_shares[0] > 0
    assert (told.argmax(axis=1) == color.of[36:]).mean() > 0.9
    alone = replace(model, kernel_heads=None, kernel_shares=()).told(views)[0]
    share = model.kernel_shares[0]
    np.testing.assert_allclose(told, (1 - share) * alone + share * model.told_by_kernels(views)[0], rtol=1e-6)
    save_model(model, tmp_path)
    np.testing.assert_array_equal(load_model(tmp_path).told(views)[0], told)
