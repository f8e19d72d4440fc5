"""A map of vectors: what is alike lies together.

Contrastive learning spreads vectors over hundreds of directions, of which principal components show two; neighborhoods
survive in a plane, directions do not. So the components are only the start, from which t-SNE (van der Maaten and
Hinton, 2008) moves the points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEARNESS = 25.0
"""Inverse temperature of cosines: how fast likeness falls off."""
STEPS = 350
EXAGGERATED = 100
"""Steps in which likeness counts fourfold, so that groups find each other first."""


def principal_plane(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Coordinates along the two main directions, float64 [n, 2]; 0 where there are fewer."""
    centered = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    plane = centered @ axes[:2].T
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def neighborhood_map(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Places in a plane, from the principal plane by t-SNE; the same vectors give the same map.

    Minimizes the Kullback-Leibler divergence from P, the softmax of cosines (both ways, averaged), to Q, proportional
    to 1 / (1 + squared distance).

    Args:
        vectors: rows of length 1, [n, d]; n up to a few thousand, memory grows as n^2.

    Returns:
        float64 [n, 2].
    """
    n = len(vectors)
    place = principal_plane(vectors)
    if n < 4:
        return place
    alike = np.exp(NEARNESS * (vectors.astype(np.float64) @ vectors.T - 1))
    np.fill_diagonal(alike, 0)
    alike /= np.maximum(alike.sum(axis=1, keepdims=True), 1e-300)
    wanted = (alike + alike.T) / (2 * n)
    place *= 1e-2 / max(float(place.std()), 1e-12)
    speed, rate = np.zeros_like(place), max(n / 12, 50.0)
    for step in range(STEPS):
        squared = (place**2).sum(axis=1)
        near = 1 / (1 + np.maximum(squared[:, None] + squared - 2 * place @ place.T, 0))
        np.fill_diagonal(near, 0)
        pull = ((4 if step < EXAGGERATED else 1) * wanted - near / near.sum()) * near
        slope = 4 * (pull.sum(axis=1)[:, None] * place - pull @ place)
        speed = (0.5 if step < EXAGGERATED else 0.8) * speed - rate * slope
        place = place + speed
    return place
