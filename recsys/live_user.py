"""The user vector of this moment: what training learned, bent towards what was viewed since.

With W the summed weights of the recent views, r their weighted mean and u the trained vector,

    v = (1 - a) u + a |u| r / |r|,   a = W / (W + patience)

so that one fresh view already counts and many outweigh, but never erase, a long history. Matching the norms keeps the
two comparable, whatever length the training gives its embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from features.section import Section


class LiveConfig(Section):
    """How fast a user's recent views take over, and fade."""

    half_life_items: PositiveFloat = 5.0
    """A view counts half after so many later ones."""

    half_life_s: PositiveFloat = 7 * 86_400.0
    """A view counts half after so many seconds, where its age is known."""

    patience: PositiveFloat = 1.0
    """Summed weight of recent views at which they count as much as all of the training history."""

    aversion: NonNegativeFloat = 0.5
    """How far examples of what is not wanted push the vector away, as a share of its length."""


TINY = float(np.finfo(np.float32).tiny)


def recent_weights(n: int, ages_s: NDArray[np.float64] | None, config: LiveConfig) -> NDArray[np.float32]:
    """Weight of each of n recent views, oldest first: float32 [n] in (0, 1]; 1 for the newest, unless it is old.

    Args:
        n: how many views.
        ages_s: float64 [n]; their ages in seconds; None where unknown.
        config: the half-lives.
    """
    halvings = _by_order(n, config.half_life_items)
    if ages_s is not None:
        halvings = halvings - ages_s / config.half_life_s
    return np.maximum(np.exp2(halvings), TINY).astype(np.float32)


@lru_cache(maxsize=1024)
def _by_order(n: int, half_life_items: float) -> NDArray[np.float64]:
    """How often each of n views is doubled by its order alone, oldest first: float64 [n], not to be written to."""
    return np.arange(1 - n, 1, dtype=np.float64) / half_life_items


@dataclass(frozen=True, eq=False)
class LiveVector:
    """A user vector and how it is made up.

    Args:
        vector: float32 [dim].
        trained_share: weight of the trained vector in it, in [0, 1].
        recent_pull: float32 [n]; what each recent view's item vector was multiplied by.
    """

    vector: NDArray[np.float32]
    trained_share: float
    recent_pull: NDArray[np.float32]


def live_vector(
    trained: NDArray[np.float32] | None, recent: NDArray[np.float32], weights: NDArray[np.float32], config: LiveConfig
) -> LiveVector | None:
    """Blend a trained user vector with recently viewed items.

    Args:
        trained: float32 [dim]; None, or all zero, for a user the model does not know.
        recent: float32 [n, dim]; vectors of the recently viewed items, n may be 0.
        weights: float32 [n]; see `recent_weights`.
        config: the patience.

    Returns:
        None where neither side says anything.
    """
    known = trained is not None and bool(np.any(trained))
    speaking = weights
    if not recent[:, :1].all():  # a vector is 0 where all of it is: few have to be looked at as a whole
        speaking = np.where(np.any(recent, axis=1), weights, np.float32(0))
    total = float(speaking.sum())
    mean = (speaking @ recent) / total if total > 0 else np.zeros(recent.shape[1], dtype=np.float32)
    length = _length(mean)
    if trained is None or not known:
        return None if length == 0 else LiveVector(mean.astype(np.float32), 0.0, (speaking / total).astype(np.float32))
    if length == 0:
        return LiveVector(np.array(trained, dtype=np.float32), 1.0, np.zeros(len(recent), dtype=np.float32))
    share = total / (total + config.patience)
    scale = share * _length(trained) / length
    vector = (1 - share) * trained + scale * mean
    return LiveVector(vector.astype(np.float32), 1 - share, (scale * speaking / total).astype(np.float32))


def pushed_away(
    vector: NDArray[np.float32] | None, unwanted: NDArray[np.float32], config: LiveConfig
) -> NDArray[np.float32] | None:
    """A user vector moved away from examples of what is not wanted (Rocchio, 1971): v - aversion |v| n / |n|.

    Args:
        vector: float32 [dim]; None where nothing else is known: then it points straight away from them.
        unwanted: float32 [n, dim]; vectors of the examples, n is their mean; zero rows say nothing.
        config: the aversion.

    Returns:
        `vector` where the examples say nothing.
    """
    if not len(unwanted):
        return vector
    speaking = unwanted[np.any(unwanted, axis=1)]
    mean = speaking.mean(axis=0) if len(speaking) else np.zeros(unwanted.shape[1], dtype=np.float32)
    length = _length(mean)
    if length == 0 or config.aversion == 0:
        return vector
    if vector is None:
        return (-mean / length).astype(np.float32)
    return (vector - config.aversion * _length(vector) * mean / length).astype(np.float32)


def _length(vector: NDArray[np.float32]) -> float:
    return math.sqrt(float(vector @ vector))
