"""Values told by comparison with remembered rows, where it is learned what makes rows alike.

Kernel regression, one kernel an attribute: a product of Gaussians over groups of inputs, so that rows must be alike in
one group *and* in the others. How much each group counts is learned by gradient descent on the cross-entropy of
leave-one-out predictions, which kernel regression has in closed form (Wahba, 1990; Sundararajan and Keerthi, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

FIRST_REACH, FIRST_NOISE, FIRST_SCALE = 0.25, 0.3, 8.0
"""At the start: weight of each group, variance of the labels beside the kernel's 1, inverse temperature."""
RATE = 0.25
"""Of Adam, on the logarithms of these."""
LEAST_NOISE = 0.01
"""Keeps the matrix of thousands of rows, some of them twins, positive definite in float32."""

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Alike:
    """What makes rows alike, for one attribute.

    Args:
        reach: weight of each group of inputs in the exponent, [groups].
        noise: variance of the labels, beside the kernel's 1.
        scale: inverse temperature of what the regression gives.
    """

    reach: Tensor
    noise: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class Kernel:
    """How one attribute is told.

    Args:
        reach: weight of each group of inputs in the exponent, [groups].
        scale: inverse temperature of what the regression gives.
        share: of each value among the remembered rows, [values].
        coefficients: of the remembered rows, [n, values].
    """

    reach: Tensor
    scale: Tensor
    share: Tensor
    coefficients: Tensor

    @classmethod
    def fit(cls, apart: list[Tensor], wanted: Tensor, alike: Alike) -> Kernel:
        """Remember rows.

        Args:
            apart: distances of these rows in each group, as `distances` gives them, [n, n].
            wanted: share of each value, [n, values]; zero for a row without one. It is one of the average: it pulls
                to the shares, as the absence of rows does.
            alike: as `learned` gives it.
        """
        target, share = _targets(wanted)
        likeness = _likeness(apart, alike.reach)
        likeness.diagonal().add_(alike.noise)
        coefficients = torch.cholesky_solve(target, torch.linalg.cholesky(likeness))
        return cls(alike.reach, alike.scale, share, coefficients)

    def logits(self, apart: list[Tensor]) -> Tensor:
        """Of each value, [m, values], by the distances to the remembered rows, [m, n] a group."""
        return self.scale * (_likeness(apart, self.reach) @ self.coefficients + self.share)


def learned(apart: list[Tensor], wanted: Tensor, steps: int) -> Alike:
    """What tells left-out rows best; each must have a value. Arguments as of `Kernel.fit`, and steps of the descent."""
    first = [FIRST_REACH] * len(apart) + [FIRST_NOISE, FIRST_SCALE]
    free = torch.tensor(first, device=wanted.device).log().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=RATE)
    target, share = _targets(wanted)
    for _ in range(steps):
        settings = free.exp()
        noise = settings[-2].clamp(min=LEAST_NOISE)
        likeness = _likeness(apart, settings[:-2]) + noise * torch.eye(len(wanted), device=wanted.device)
        loss = functional.cross_entropy(settings[-1] * (left_out(likeness, target) + share), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    settings = free.detach().exp()
    log.info("compared", loss=round(float(loss.detach()), 4), reach=np.round(settings[:-2].tolist(), 3).tolist())
    return Alike(settings[:-2], settings[-2].clamp(min=LEAST_NOISE), settings[-1])


def left_out(likeness: Tensor, target: Tensor) -> Tensor:
    """What kernel regression says of each row when it has learned from all others.

    Args:
        likeness: the kernel with the noise on its diagonal, [n, n].
        target: [n, values].
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(likeness))
    return target - inverse @ target / inverse.diagonal()[:, None]


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared distance of each row of a to each of b, [n, m]."""
    return ((a**2).sum(1)[:, None] / 2 + (b**2).sum(1) / 2 - a @ b.T).clamp(min=0)


def some(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of the rows, in order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _targets(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of each row less those of all, 0 for rows without a value; and those of all."""
    known = wanted.any(dim=1)
    share = wanted[known].mean(0)
    return (wanted - share) * known[:, None], share


def _likeness(apart: list[Tensor], reach: Tensor) -> Tensor:
    """The kernel, 1 for what is the same."""
    return torch.exp(-sum(weight * one for weight, one in zip(reach, apart, strict=True)))
