"""Fewer dimensions by a linear map: principal components, and whitening. Numpy only, so the service may apply them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from features.errors import InputError

Doubles = NDArray[np.float64]
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Reduction:
    """x -> (x - center) matrix; a zero row, which stands for "nothing known", stays zero.

    Args:
        kind: how it was found: "pca", "pca-whitening", "zca-whitening" or "learned".
        center: float32 [d_in].
        matrix: float32 [d_in, d_out].
        explained: share of the variance that the first 1, 2, ... d_out principal components hold, rising; float64
            [d_out]. A learned map, and ZCA, which keeps all components, tell the share of the whole in the last.
    """

    kind: str
    center: NDArray[np.float32]
    matrix: NDArray[np.float32]
    explained: Doubles

    @property
    def d_in(self) -> int:
        """Length of what goes in."""
        return int(self.matrix.shape[0])

    @property
    def d_out(self) -> int:
        """Length of what comes out."""
        return int(self.matrix.shape[1])

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reduce rows, float32 [n, d_in] to [n, d_out].

        Raises:
            ValueError: the rows have another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.d_in:
            raise ValueError(f"vectors must be [n, {self.d_in}], got {vectors.shape}")
        reduced = np.asarray((vectors - self.center) @ self.matrix, dtype=np.float32)
        reduced[~vectors.any(axis=1)] = 0
        return reduced

    def save(self, file: Path) -> None:
        """Write a safetensors file; an older one is replaced at once."""
        about = {"about": json.dumps({"format": FORMAT, "kind": self.kind})}
        tensors = {"center": self.center, "matrix": self.matrix, "explained": self.explained}
        draft = file.with_name(f".{file.name}")
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, draft, about)
        draft.replace(file)

    @classmethod
    def load(cls, file: Path) -> Reduction:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, broken, or of another format.
        """
        try:
            with safe_open(file, "numpy") as stored:
                about = json.loads((stored.metadata() or {}).get("about", "{}"))
                if about.get("format") != FORMAT:
                    raise InputError(f"a reduction must have format {FORMAT}, {file} has {about.get('format')!r}")
                return cls(about["kind"], *(stored.get_tensor(name) for name in ("center", "matrix", "explained")))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"reduction cannot be read from {file}: {error}") from error


def pca(
    vectors: NDArray[np.float32], *, dim: int | None = None, share: float | None = None, center: bool = True
) -> Reduction:
    """Principal components (Pearson, 1901): of all maps to `dim` dimensions the one that keeps most of the variance.

    Args:
        vectors: float32 [n, d]; zero rows do not take part.
        dim: how many components; or
        share: as many as hold this share of the variance, in (0, 1].
        center: subtract the mean. Without, what is kept best are the inner products, and cosines with them.

    Raises:
        ValueError: not exactly one of dim and share is given, or one is out of range, or no row is left.
    """
    if (dim is None) == (share is None):
        raise ValueError(f"give dim or share, got dim {dim} and share {share}")
    mean, variance, axes = _axes(vectors, center=center)
    explained = np.cumsum(variance) / max(float(variance.sum()), 1e-300)
    if share is not None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        dim = min(int(np.searchsorted(explained, share - 1e-12)) + 1, len(variance))
    if dim is None or not 1 <= dim <= vectors.shape[1]:
        raise ValueError(f"dim must be in [1, {vectors.shape[1]}], got {dim}")
    return Reduction("pca", mean.astype(np.float32), axes[:, :dim].astype(np.float32), explained[:dim])


def whitening(
    vectors: NDArray[np.float32],
    *,
    kind: Literal["pca", "zca"] = "pca",
    dim: int | None = None,
    shrinkage: float | None = None,
) -> Reduction:
    """Make all directions vary alike, so that none drowns the others: x -> (x - mean) U (D')^-1/2 [U^T for ZCA].

    D' = (1 - s) D + s mean(D) are the variances along the principal axes U, shrunk towards their mean; without, the
    directions that hardly vary, which are mostly noise, would count as much as the others.

    Args:
        vectors: float32 [n, d]; zero rows do not take part.
        kind: "pca" leaves the rows in principal axes and can cut them; "zca" turns them back, so that they stay as
            close to the input as white rows can (Kessy, Lewin and Strimmer, 2018).
        dim: components kept, with "pca"; all by default.
        shrinkage: s in [0, 1]; by default the one of least expected error (Ledoit and Wolf, 2004).

    Raises:
        ValueError: shrinkage or dim is out of range, ZCA is to be cut, or no row is left.
    """
    if kind == "zca" and dim is not None:
        raise ValueError(f"zca keeps all dimensions, got dim {dim}")
    mean, variance, axes = _axes(vectors, center=True)
    d = len(variance)
    if dim is not None and not 1 <= dim <= d:
        raise ValueError(f"dim must be in [1, {d}], got {dim}")
    present = vectors[vectors.any(axis=1)].astype(np.float64) - mean
    s = ledoit_wolf(present) if shrinkage is None else shrinkage
    if not 0 <= s <= 1:
        raise ValueError(f"shrinkage must be in [0, 1], got {s}")
    shrunk = (1 - s) * variance + s * variance.mean()
    root = np.zeros(d)
    np.divide(1, np.sqrt(shrunk), out=root, where=shrunk > 1e-12 * max(float(shrunk.max()), 1e-300))
    explained = np.cumsum(variance) / max(float(variance.sum()), 1e-300)
    matrix = (axes * root) @ axes.T if kind == "zca" else (axes * root)[:, :dim]
    kept = np.ones(d) if kind == "zca" else explained[:dim]
    return Reduction(f"{kind}-whitening", mean.astype(np.float32), matrix.astype(np.float32), kept)


def ledoit_wolf(centered: Doubles) -> float:
    """How far a sample covariance S is to be shrunk towards its mean variance m: min(b2, d2) / d2.

    d2 = |S - m I|^2 is how far S is from the target, b2 = sum_i |x_i x_i^T - S|^2 / n^2 how far it is, by chance,
    from the truth (Ledoit and Wolf, 2004, lemma 3.2-3.4; Frobenius norms).

    Args:
        centered: float64 [n, d], column means 0.
    """
    n, d = centered.shape
    covariance = centered.T @ centered / n
    square = float((covariance**2).sum())
    distance = square - float(np.trace(covariance)) ** 2 / d
    length = np.einsum("ij,ij->i", centered, centered)
    chance = (float((length**2).sum()) / n - square) / n
    return float(np.clip(chance / distance, 0, 1)) if distance > 1e-12 * square else 1.0


def _axes(vectors: NDArray[np.float32], *, center: bool) -> tuple[Doubles, Doubles, Doubles]:
    """Mean [d], variances [d] from the largest, and the principal axes as columns [d, d] with a fixed sign."""
    present = vectors[vectors.any(axis=1)].astype(np.float64)
    if not len(present):
        raise ValueError(f"vectors must have a row that is not zero, got {vectors.shape} without one")
    mean = present.mean(axis=0) if center else np.zeros(vectors.shape[1])
    present -= mean
    variance, axes = np.linalg.eigh(present.T @ present / len(present))
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean, variance, axes * sign
