from __future__ import annotations

import numpy as np
import pytest
import torch

from features.match.cca import Axes, CrossCovariance


def pairs(n: int, d_text: int = 5, d_image: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shared = torch.randn(n, 1, generator=generator)
    text, image = (torch.randn(n, d, generator=generator) for d in (d_text, d_image))
    text[:, :1] += 2 * shared
    image[:, 3:4] -= 3 * shared
    return tuple((x - x.mean(0)) / x.std(0) for x in (text, image))  # type: ignore[return-value]


def naive_directions(text: np.ndarray, image: np.ndarray, dim: int, ridge: float) -> np.ndarray:
    """Canonical directions as inner products of all pairs, from the textbook formula."""

    def root(x: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(x.T @ x / len(x) + ridge * np.eye(x.shape[1]))
        return vectors @ np.diag(values**-0.5) @ vectors.T

    left, s, right = np.linalg.svd(root(text) @ (text.T @ image / len(text)) @ root(image))
    text_side = text @ root(text) @ left[:, :dim] * s[:dim]
    image_side = image @ root(image) @ right[:dim].T * s[:dim]
    return text_side @ image_side.T


@pytest.mark.parametrize("n", [200, 4])
@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_directions_follow_the_textbook_with_many_pairs_and_with_few(n: int, ridge: float) -> None:
    text, image = pairs(n)
    text_direction, image_direction = CrossCovariance.of(text, image).directions(2, ridge=ridge)
    given = (text @ text_direction) @ (image @ image_direction).T
    expected = naive_directions(text.double().numpy(), image.double().numpy(), 2, ridge)
    np.testing.assert_allclose(given.numpy(), expected, atol=1e-4)


def test_the_first_direction_is_what_words_and_pictures_share() -> None:
    text, image = pairs(2000)
    text_direction, image_direction = CrossCovariance.of(text, image).directions(1, ridge=0.01)
    assert int(text_direction.abs().argmax()) == 0
    assert int(image_direction.abs().argmax()) == 3
    assert text_direction[0, 0] * image_direction[3, 0] < 0


def test_axes_rebuild_the_covariance_and_leave_out_what_does_not_vary() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    x = torch.cat([x, x[:, :1], torch.zeros(50, 1)], dim=1)
    axes = Axes.of(x)
    assert axes.basis.shape == (5, 3)
    torch.testing.assert_close(axes.basis * axes.variance @ axes.basis.T, x.T @ x / 50)
