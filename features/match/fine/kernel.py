"""Attributes told by comparison with remembered listings, where it is learned what makes listings alike.

Kernel regression onto the values, one kernel an attribute: a product of Gaussians over groups of inputs, which are
the whole scene, the shades of the middle and the shades part by part. The product asks for a listing of the same kind
*and* of the same shades, so that in a picture of trousers other pixels count than in one of a shirt, without anybody
telling which. How much each group counts is learned by gradient descent on the cross-entropy of leave-one-out
predictions, which kernel regression has in closed form (Wahba, 1990; Sundararajan and Keerthi, 2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from features.checkpoint import part
from features.encoders.shades import WHOLE_DIM
from features.match.fine.config import KernelConfig
from features.match.fine.towers import Standardize
from features.match.fine.views import Views
from features.progress import track

FIRST_REACH, FIRST_NOISE, FIRST_SCALE = 0.25, 0.3, 8.0
"""At the start: weight of each group, variance of the labels beside the kernel's 1, inverse temperature."""
RATE = 0.25
"""Of Adam, on the logarithms of these."""
ASKED_AT_ONCE = 1024

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Kernel:
    """How one attribute is told.

    Args:
        reach: weight of each group of inputs in the exponent, [groups].
        scale: inverse temperature of what the regression gives.
        share: of each value among the remembered listings, [values].
        coefficients: of the remembered listings, [n, values].
    """

    reach: Tensor
    scale: Tensor
    share: Tensor
    coefficients: Tensor


@dataclass(frozen=True, eq=False)
class KernelHeads:
    """Remembered listings, and how each attribute is told by them.

    Args:
        standardize: of scenes.
        remembered: their groups of inputs, float16 [n, d] each.
        kernels: one an attribute.
    """

    standardize: Standardize
    remembered: tuple[Tensor, ...]
    kernels: tuple[Kernel, ...]

    @torch.inference_mode()
    def told(self, views: Views) -> list[Tensor]:
        """Probability of each value of each attribute, float32 [n, values]."""
        found: list[list[Tensor]] = [[] for _ in self.kernels]
        for rows in torch.split(torch.arange(len(views), device=views.scene.device), ASKED_AT_ONCE):
            asked = _groups(self.standardize, views.at(rows))
            apart = [_apart(a, b.float()) for a, b in zip(asked, self.remembered, strict=True)]
            for told, kernel in zip(found, self.kernels, strict=True):
                logits = _likeness(apart, kernel.reach) @ kernel.coefficients + kernel.share
                told.append((kernel.scale * logits).softmax(1))
        return [torch.cat(each) for each in found]

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, as `of_tensors` reads it."""
        named = {f"standardize.{name}": tensor for name, tensor in self.standardize.state_dict().items()}
        named |= {f"remembered{number}": group for number, group in enumerate(self.remembered)}
        for number, kernel in enumerate(self.kernels):
            named |= {f"kernel{number}.{field.name}": getattr(kernel, field.name) for field in fields(Kernel)}
        return named

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor], n_kernels: int) -> KernelHeads:
        """From what `tensors` gave, of so many attributes."""
        standardize = Standardize(len(tensors["standardize.mean"]))
        standardize.load_state_dict(part(tensors, "standardize."))
        n_groups = sum(name.startswith("remembered") for name in tensors)
        kernels = tuple(Kernel(**part(tensors, f"kernel{number}.")) for number in range(n_kernels))
        return cls(standardize, tuple(tensors[f"remembered{number}"] for number in range(n_groups)), kernels)


def fit_kernel_heads(
    views: Views, labels: tuple[Tensor, ...], n_values: tuple[int, ...], config: KernelConfig, *, seed: int
) -> KernelHeads:
    """Remember listings and learn how to tell each attribute by them.

    Args:
        views: the listings that are learned from; of equal pictures the first is remembered.
        labels: int64 [n] an attribute; -1 where a listing has no value.
        n_values: of each attribute.
        config: how many are remembered, and how it is learned what makes them alike.
        seed: of the samples.
    """
    rng = np.random.default_rng(seed)
    _, first = np.unique(views.same_image.cpu().numpy(), return_index=True)
    rows = torch.from_numpy(_some(np.sort(first), config.listings, rng)).to(views.scene.device)
    views = views.at(rows)
    standardize = Standardize(views.scene.shape[1]).to(views.scene.device)
    standardize.fit(views.scene)
    remembered = tuple(group.half() for group in _groups(standardize, views))
    whole = [_apart(group.float(), group.float()) for group in remembered]
    sample = torch.from_numpy(_some(np.arange(len(rows)), config.sample, rng)).to(rows.device)
    kernels = []
    for label, values in track(list(zip(labels, n_values, strict=True)), "comparing listings"):
        taught = label[rows]
        few = sample[taught[sample] >= 0]
        reach, noise, scale = _learned([x[few][:, few] for x in whole], taught[few], values, config.steps)
        target, share = _targets(taught, values)
        likeness = _likeness(whole, reach)
        likeness.diagonal().add_(noise)
        # a listing without a value is one of the average: it pulls to the shares, as the absence of listings does
        coefficients = torch.cholesky_solve(target, torch.linalg.cholesky(likeness))
        kernels.append(Kernel(reach, scale, share, coefficients))
    return KernelHeads(standardize, remembered, tuple(kernels))


def left_out(likeness: Tensor, target: Tensor) -> Tensor:
    """What kernel regression says of each row when it has learned from all others.

    Args:
        likeness: the kernel with the noise on its diagonal, [n, n].
        target: [n, values].
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(likeness))
    return target - inverse @ target / inverse.diagonal()[:, None]


def _learned(apart: list[Tensor], label: Tensor, n_values: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The weight of each group, the noise and the inverse temperature at which left-out listings are told best."""
    first = [FIRST_REACH] * len(apart) + [FIRST_NOISE, FIRST_SCALE]
    free = torch.tensor(first, device=label.device).log().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=RATE)
    target, share = _targets(label, n_values)
    for _ in range(steps):
        settings = free.exp()
        likeness = _likeness(apart, settings[:-2]) + settings[-2] * torch.eye(len(label), device=label.device)
        loss = functional.cross_entropy(settings[-1] * (left_out(likeness, target) + share), label)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    settings = free.detach().exp()
    log.info("compared", loss=round(float(loss.detach()), 4), reach=np.round(settings[:-2].tolist(), 3).tolist())
    return settings[:-2], settings[-2], settings[-1]


def _targets(label: Tensor, n_values: int) -> tuple[Tensor, Tensor]:
    """1 for the value and 0 for others, less the shares; 0 for listings without one. And the shares."""
    known = label >= 0
    marked = functional.one_hot(label.clamp(min=0), n_values).float()
    share = marked[known].mean(0)
    return (marked - share) * known[:, None], share


def _groups(standardize: Standardize, views: Views) -> list[Tensor]:
    """Inputs that count together, float32 [n, d] each, scaled so that `_apart` is about 1 in the mean, or at most 1;
    without shades the scene alone.
    """
    scene = standardize(views.scene) / math.sqrt(views.scene.shape[1])
    shades = views.shades.float()
    return [scene, shades[:, :WHOLE_DIM], shades[:, WHOLE_DIM:]] if shades.shape[1] else [scene]


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared distance of each row of a to each of b, [n, m]."""
    return ((a**2).sum(1)[:, None] / 2 + (b**2).sum(1) / 2 - a @ b.T).clamp(min=0)


def _likeness(apart: list[Tensor], reach: Tensor) -> Tensor:
    """The kernel, 1 for what is the same."""
    return torch.exp(-sum(weight * one for weight, one in zip(reach, apart, strict=True)))


def _some(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of the rows, in order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
