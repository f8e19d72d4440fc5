"""How sure an average over users is: percentile bootstrap (Efron 1979), users drawn again with replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64


def bootstrap_means(values: NDArray[np.float64], *, samples: int, seed: int) -> NDArray[np.float64]:
    """Means over users drawn with replacement.

    The draws depend on the number of users, `samples` and `seed` alone, so two models judged on the same users are
    resampled alike and their difference can be taken sample by sample.

    Args:
        values: float64 [n_users, n_metrics]; NaN where a user has no value, and then the user does not count.
        samples: number of resamples.
        seed: of the draws.

    Returns:
        float64 [samples, n_metrics]; NaN where a resample has no user with a value.
    """
    n = len(values)
    means = np.full((samples, values.shape[1]), np.nan)
    if n == 0:
        return means
    there = np.isfinite(values)
    filled, counted = np.where(there, values, 0.0), there.astype(np.float64)
    rng = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        stop = min(start + _BLOCK, samples)
        drawn = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(start, stop)]).astype(float)
        support = drawn @ counted
        means[start:stop] = np.divide(
            drawn @ filled, support, out=np.full((stop - start, values.shape[1]), np.nan), where=support > 0
        )
    return means


def interval(means: NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of resampled means, float64 [samples]; (NaN, NaN) where there are none."""
    finite = means[np.isfinite(means)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
