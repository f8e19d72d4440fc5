"""What speaks for each value of an attribute: its own text beside pictures and words, labeled neighbors, a linear head.

Every source gives log-probabilities [n_rows, n_values]; `features.attribute_prediction` weighs them.
"""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from features.vectors.nearest import nearest

Doubles = NDArray[np.float64]

SCALES = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Inverse temperatures tried for cosines in the shared space."""
PAIRS = 1000
"""Listings by which the inverse temperature is chosen."""
NAMED_LOG_ODDS = 3.0
"""Weight of a value that the listing's words name, before labels say better: 20 to 1."""
RIDGES = (1e-4, 1e-3, 1e-2)
"""Penalties tried for the linear head; its inputs have mean square length 1."""


class SharedSpace(Protocol):
    """Where text and image vectors can be compared, as in a fitted `MatchModel`."""

    def embed_text(self, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """Text vectors in the shared space, rows of length 1."""

    def embed_image(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Image vectors in the shared space, rows of length 1."""


def value_texts(name: str, value: str) -> tuple[str, ...]:
    """How a value may read in a listing: "color: navy blue" and "navy blue"; a path from the special to the general."""
    words = ", ".join(reversed(value.split(" > ")))
    return f"{name}: {words}", words


def picture_scores(
    space: SharedSpace, value_vectors: NDArray[np.float32], text: NDArray[np.float32], image: NDArray[np.float32]
) -> Doubles:
    """How much better each picture fits a value's text than the shop's other pictures do.

    With f = s cos(value, picture) this is f(v, i) - log mean_j exp f(v, j), under a contrastive loss an estimate of
    log p(i | v) / p(i) (van den Oord et al., 2018); s is chosen so that the shop's own listings find their pictures.

    Args:
        space: the match model.
        value_vectors: the values' texts as the text encoder gives them, float32 [n_values, n_texts, d_text]; the
            embedded texts of a value are averaged.
        text: the items' text vectors, float32 [n, d_text]; zero rows are missing.
        image: their image vectors, float32 [n, d_image]; zero rows are missing.

    Returns:
        log-probabilities over the values, all alike where the picture is missing.
    """
    flat = value_vectors.reshape(-1, value_vectors.shape[-1])
    values = space.embed_text(flat).reshape(*value_vectors.shape[:2], -1).mean(axis=1)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    present = np.flatnonzero(image.any(axis=1))
    pictures = space.embed_image(image[present])
    paired = np.flatnonzero(text[present].any(axis=1))[:PAIRS]
    scale = _scale(space.embed_text(text[present[paired]]), pictures[paired])
    fit = scale * (pictures @ values.T).astype(np.float64)
    scores = np.zeros((len(image), len(values)))
    if len(present):
        scores[present] = fit - np.log(np.exp(fit - fit.max(axis=0)).mean(axis=0)) - fit.max(axis=0)
    return log_softmax(scores)


def named(texts: list[str], values: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which values the words name, bool [n_texts, n_values].

    Whole words count, whatever their case, hyphens and plural; of a path its last step. Where "navy blue" is named,
    "blue" is not.
    """
    found = np.zeros((len(texts), len(values)), dtype=bool)
    patterns = [re.compile(rf"(?<!\w){re.escape(_plain(value.split(' > ')[-1]))}(?!\w)") for value in values]
    by_length = sorted(range(len(values)), key=lambda column: -len(values[column].split(" > ")[-1]))
    for row, text in enumerate(texts):
        left = _plain(text)
        for column in by_length:
            shorter = patterns[column].sub(" \x00 ", left)
            found[row, column], left = shorter != left, shorter
    return found


def word_scores(texts: list[str], values: tuple[str, ...]) -> Doubles:
    """Log-probabilities that favor the values that the words name."""
    return log_softmax(np.where(named(texts, values), NAMED_LOG_ODDS, 0.0))


def _plain(text: str) -> str:
    """Words in lower case without hyphens, apostrophes and the s of a plural."""
    words = re.sub(r"[-'’]", "", text.lower()).split()
    return " ".join(re.sub(r"(?<=[^\Ws]{2})s(?!\w)", "", word) for word in words)


def neighbor_scores(
    vectors: NDArray[np.float32], labels: Doubles, learned: NDArray[np.int64], rows: NDArray[np.int64], *, k: int
) -> Doubles:
    """Shares of the values among the k nearest labeled items, the nearer counting more.

    Neighbor j weighs exp(-(c_1 - c_j) / (c_1 - c_k)), with c_1 >= ... >= c_k the cosines; the values' shares among all
    labeled items count as one neighbor more.

    Args:
        vectors: float32 [n, d]; a row that is zero has no neighbors.
        labels: shares of the values of each item, float64 [n, n_values].
        learned: rows that have labels.
        rows: rows to judge.
        k: neighbors.
    """
    found = nearest(vectors[rows], vectors[learned], k)
    there = found.idx >= 0
    cosine = np.where(there, found.score, np.inf).astype(np.float64)
    first, last = cosine.min(axis=1, keepdims=True), np.where(there, cosine, -np.inf).max(axis=1, keepdims=True)
    spread = np.maximum(last - first, 1e-6)
    with np.errstate(invalid="ignore"):
        weight = np.where(there, np.exp(-(last - cosine) / spread), 0.0)
    of_neighbors = labels[learned[np.maximum(found.idx, 0)]]
    share = np.einsum("rk,rkv->rv", weight, of_neighbors) + _prior(labels[learned])
    scores: Doubles = np.log(share / share.sum(axis=1, keepdims=True))
    return scores


class LinearHead:
    """Multinomial logistic regression on frozen vectors.

    Args:
        inputs: float32 [n, d].
        labels: shares of the values, float64 [n, n_values].
        ridge: weight of the squared coefficients.
    """

    def __init__(self, inputs: NDArray[np.float32], labels: Doubles, *, ridge: float) -> None:
        self._mean = inputs.mean(axis=0)
        self._scale = 1 / max(float(np.sqrt(((inputs - self._mean) ** 2).sum(axis=1).mean())), 1e-12)
        x, y = self._standardized(inputs), torch.from_numpy(labels.astype(np.float32))
        self._weight = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
        self._offset = torch.from_numpy(np.log(_prior(labels)).astype(np.float32)).requires_grad_()
        optimizer = torch.optim.LBFGS([self._weight, self._offset], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            entropy = functional.cross_entropy(x @ self._weight + self._offset, y)
            total = entropy + ridge / 2 * (self._weight**2).sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(loss)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def __call__(self, inputs: NDArray[np.float32]) -> Doubles:
        """Log-probabilities, float64 [n, n_values]."""
        logits = self._standardized(inputs) @ self._weight + self._offset
        return log_softmax(logits.double().numpy())

    def _standardized(self, inputs: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy((inputs - self._mean) * np.float32(self._scale))


def best_ridge(inputs: NDArray[np.float32], labels: Doubles, *, seed: int) -> float:
    """The penalty of `RIDGES` with the lowest cross-entropy on a fifth of the rows."""
    order = np.random.default_rng(seed).permutation(len(inputs))
    held, learned = order[: max(1, len(order) // 5)], order[max(1, len(order) // 5) :]
    losses = [
        -float((labels[held] * LinearHead(inputs[learned], labels[learned], ridge=ridge)(inputs[held])).sum())
        for ridge in RIDGES
    ]
    return RIDGES[int(np.argmin(losses))]


def log_softmax(logits: Doubles) -> Doubles:
    """Log-probabilities of rows of logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normal: Doubles = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normal


def _prior(labels: Doubles) -> Doubles:
    """Shares of the values, none of them 0."""
    counted = labels.sum(axis=0) + 1 / labels.shape[1]
    share: Doubles = counted / counted.sum()
    return share


def _scale(text: NDArray[np.float32], image: NDArray[np.float32]) -> float:
    """The inverse temperature at which texts find their own pictures best (lowest InfoNCE); the middle one for none."""
    if len(text) < 2:
        return SCALES[len(SCALES) // 2]
    cosine = (text @ image.T).astype(np.float64)
    losses = [-float(np.diag(log_softmax(scale * cosine)).mean()) for scale in SCALES]
    return SCALES[int(np.argmin(losses))]
