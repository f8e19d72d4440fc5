"""An attribute told by comparison with labeled items, which must be alike as a whole *and* in their shades."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from features.attribute_sources import Doubles, log_softmax
from features.encoders.shades import WHOLE_DIM
from features.kernel_regression import Kernel, distances, learned, some

REMEMBERED = 6000
"""Labeled items compared with, at most; time grows with their cube, memory with their square."""
SAMPLE, STEPS = 1200, 25
"""On so many of them it is learned what makes items alike, in so many steps."""
ASKED_AT_ONCE = 1024


class KernelSource:
    """Kernel regression on frozen vectors, shades of the middle and shades part by part.

    Args:
        vectors: float32 [n_items, d].
        shades: of the pictures, float16 [n_items, d_shades]; zero for none.
        share: shares of the values of each item, float64 [n_items, n_values].
        taught: rows by which it is learned what makes items alike; of equal vectors the first counts.
        seed: of the samples.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        shades: NDArray[np.float16],
        share: Doubles,
        taught: NDArray[np.int64],
        *,
        seed: int,
    ) -> None:
        spread = np.maximum(vectors[taught].std(axis=0), 1e-6) * math.sqrt(vectors.shape[1])
        self._vectors = ((vectors - vectors[taught].mean(axis=0)) / spread).astype(np.float16)
        self._shades, self._share, self._seed = shades, share.astype(np.float32), seed
        _, first = np.unique(vectors[taught], axis=0, return_index=True)
        few = some(taught[np.sort(first)], SAMPLE, np.random.default_rng(seed))
        groups = self._groups(few)
        self._alike = learned([distances(x, x) for x in groups], torch.from_numpy(self._share[few]), STEPS)

    def __call__(self, teachers: NDArray[np.int64], rows: NDArray[np.int64]) -> Doubles:
        """Log-probabilities of the values, float64 [n_rows, n_values], by what the teachers have."""
        teachers = some(teachers, REMEMBERED, np.random.default_rng(self._seed))
        remembered = self._groups(teachers)
        whole = [distances(x, x) for x in remembered]
        kernel = Kernel.fit(whole, torch.from_numpy(self._share[teachers]), self._alike)
        scores = np.zeros((len(rows), self._share.shape[1]))
        for first in range(0, len(rows), ASKED_AT_ONCE):
            asked = self._groups(rows[first : first + ASKED_AT_ONCE])
            apart = [distances(a, b) for a, b in zip(asked, remembered, strict=True)]
            scores[first : first + ASKED_AT_ONCE] = kernel.logits(apart).double().numpy()
        return log_softmax(scores)

    def _groups(self, rows: NDArray[np.int64]) -> list[torch.Tensor]:
        shades = self._shades[rows]
        parts = (self._vectors[rows], shades[:, :WHOLE_DIM], shades[:, WHOLE_DIM:])
        return [torch.from_numpy(part.astype(np.float32)) for part in parts]
