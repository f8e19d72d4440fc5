"""Attributes told by comparison with remembered listings, where it is learned what makes listings alike.

Kernel regression onto the values over groups of inputs, which are the whole scene, the shades of the middle and the
shades part by part. A listing must be of the same kind *and* of the same shades, so that in a picture of trousers
other pixels count than in one of a shirt, without anybody telling which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.checkpoint import part
from features.encoders.shades import WHOLE_DIM
from features.kernel_regression import Kernel, distances, learned, some
from features.match.fine.config import KernelConfig
from features.match.fine.towers import Standardize
from features.match.fine.views import Views
from features.progress import track

ASKED_AT_ONCE = 1024


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
            apart = [distances(a, b.float()) for a, b in zip(asked, self.remembered, strict=True)]
            for told, kernel in zip(found, self.kernels, strict=True):
                told.append(kernel.logits(apart).softmax(1))
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
    rows = torch.from_numpy(some(np.sort(first), config.listings, rng)).to(views.scene.device)
    views = views.at(rows)
    standardize = Standardize(views.scene.shape[1]).to(views.scene.device)
    standardize.fit(views.scene)
    remembered = tuple(group.half() for group in _groups(standardize, views))
    whole = [distances(group.float(), group.float()) for group in remembered]
    sample = torch.from_numpy(some(np.arange(len(rows)), config.sample, rng)).to(rows.device)
    kernels = []
    for label, values in track(list(zip(labels, n_values, strict=True)), "comparing listings"):
        taught = label[rows]
        wanted = functional.one_hot(taught.clamp(min=0), values).float() * (taught >= 0)[:, None]
        few = sample[taught[sample] >= 0]
        alike = learned([x[few][:, few] for x in whole], wanted[few], config.steps)
        kernels.append(Kernel.fit(whole, wanted, alike))
    return KernelHeads(standardize, remembered, tuple(kernels))


def _groups(standardize: Standardize, views: Views) -> list[Tensor]:
    """Inputs that count together, float32 [n, d] each, scaled so that `distances` is about 1 in the mean, or at most 1;
    without shades the scene alone.
    """
    scene = standardize(views.scene) / math.sqrt(views.scene.shape[1])
    shades = views.shades.float()
    return [scene, shades[:, :WHOLE_DIM], shades[:, WHOLE_DIM:]] if shades.shape[1] else [scene]
