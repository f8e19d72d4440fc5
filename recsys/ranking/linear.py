"""A linear ranker: one weight a feature, learned so that what a user went on to like stands above the rest.

The weights minimize the cross entropy between the share of each liked candidate and the softmax of the scores over a
user's candidates (ListNet's top-one loss: Cao et al., 2007), with a squared penalty that keeps a weight small where the
users do not ask for it. It beat boosted trees on small and on dense shops, see `benchmarks/bench_ranker.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from recsys.ranking.askers import Floats
from recsys.ranking.features import FEATURES

FORMAT = 1


@dataclass(frozen=True, eq=False)
class LinearRanker:
    """score = weights . (features - mean) / scale, a missing feature counting as the mean.

    Args:
        mean, scale: float32 [len(FEATURES)]; of the features it was trained on.
        weights: float32 [len(FEATURES)].
        report: how it was judged.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    report: Mapping[str, Any]

    def goes_by(self, feature: str) -> bool:
        """Whether a feature moves the score."""
        return bool(self.weights[FEATURES.index(feature)] != 0)

    def parts(self, features: Floats) -> Floats:
        """What each feature adds to the score, float32 [n, len(FEATURES)]."""
        parts: Floats = (features - self.mean) / self.scale * self.weights
        parts[np.isnan(parts)] = 0
        return parts

    def score(self, features: Floats) -> Floats:
        """Scores, float32 [n], of candidates with these features, float32 [n, len(FEATURES)]."""
        away = features - self.mean
        np.copyto(away, 0, where=np.isnan(away))
        away *= self.weights / self.scale
        score: Floats = away.sum(axis=1)  # no product of matrices, whose last bits depend on how many are scored
        return score

    def as_dict(self) -> dict[str, Any]:
        """As a bundle keeps it."""
        numbers = {name: getattr(self, name).tolist() for name in ("mean", "scale", "weights")}
        return {"format": FORMAT, "features": list(FEATURES), **numbers, "report": dict(self.report)}

    @classmethod
    def of_dict(cls, kept: Mapping[str, Any]) -> LinearRanker:
        """From `as_dict`, of this version or of one that knew fewer features; those it did not know do not count.

        Raises:
            InputError: it is of another format, or goes by a feature that this version does not know.
        """
        known = tuple(kept.get("features", ()))
        if kept.get("format") != FORMAT or not known or not set(known) <= set(FEATURES):
            raise InputError(
                f"a ranker must have format {FORMAT} and go by some of the features {', '.join(FEATURES)}, this one "
                f"has format {kept.get('format')} and {', '.join(known) or 'none'}"
            )
        places = [FEATURES.index(name) for name in known]

        def numbers(name: str, otherwise: float) -> Floats:
            values = np.full(len(FEATURES), otherwise, dtype=np.float32)
            values[places] = kept[name]
            return values

        return cls(numbers("mean", 0), numbers("scale", 1), numbers("weights", 0), kept.get("report", {}))


def fit_linear(
    lists: Sequence[Floats],
    liked: Sequence[NDArray[np.bool_]],
    *,
    penalty: float,
    by: Collection[str] = FEATURES,
) -> tuple[Floats, Floats, Floats]:
    """Learn the weights.

    Args:
        lists: float32 [n, len(FEATURES)] a user.
        liked: bool [n] a user; users who like none of their candidates say nothing.
        penalty: of squared weights, >= 0.
        by: names of features; the others have no weight.

    Returns:
        mean, scale and weights, float32 [len(FEATURES)].

    Raises:
        ValueError: no user likes any candidate.
    """
    from scipy.optimize import minimize

    telling = [place for place, of in enumerate(liked) if of.any()]
    if not telling:
        raise ValueError("a ranker must be trained on users who like one of their candidates, there are none")
    raw = np.concatenate([lists[place] for place in telling]).astype(np.float64)
    there = np.isfinite(raw)
    counted = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, raw, 0).sum(axis=0) / counted
    spread = np.sqrt(np.where(there, (raw - mean) ** 2, 0).sum(axis=0) / counted)
    scale = np.where(spread > 1e-9, spread, 1.0)
    used = np.flatnonzero(np.isin(FEATURES, list(by)))
    values = np.where(there, (raw - mean) / scale, 0)[:, used]
    wanted = np.concatenate([liked[place] / liked[place].sum() for place in telling])
    sizes = np.array([len(lists[place]) for place in telling])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = values @ weights
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        odds = np.exp(scores)
        total = np.add.reduceat(odds, starts)
        entropy = float(np.log(total).sum() - wanted @ scores) / len(telling)
        slope = values.T @ (odds / np.repeat(total, sizes) - wanted) / len(telling)
        return entropy + penalty / 2 * float(weights @ weights), slope + penalty * weights

    found = minimize(loss, np.zeros(values.shape[1]), jac=True, method="L-BFGS-B")
    weights = np.zeros(len(FEATURES), dtype=np.float32)
    weights[used] = found.x
    return mean.astype(np.float32), scale.astype(np.float32), weights
