"""Two towers that carry frozen text and image vectors into one space, where what belongs together is close.

CLIP's objective (Radford et al., 2021) on a shop's own pairs, with the encoders frozen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.match.config import MAX_LOGIT_SCALE, MatchConfig


class Tower(nn.Module):
    """A two-layer perceptron beside a linear path, on standardized inputs; rows of length 1 come out.

    Args:
        d_in: length of the frozen vectors.
        hidden: width of the hidden layer.
        d_out: length in the shared space.
        dropout: share of inputs and hidden units dropped in training.
        noise: standard deviation of the noise on standardized inputs in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, d_in: int, hidden: int, d_out: int, *, dropout: float, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("scale", torch.ones(d_in))
        self.drop_in = nn.Dropout(dropout)
        self.first = nn.Linear(d_in, hidden)
        self.drop_hidden = nn.Dropout(dropout)
        self.second = nn.Linear(hidden, d_out)
        self.direct = nn.Linear(d_in, d_out, bias=False)

    def standardize_by(self, x: Tensor) -> None:
        """Take mean and standard deviation of each input from the given vectors, float32 [n, d_in]."""
        self.mean.copy_(x.mean(0))
        spread = x.std(0)
        self.scale.copy_(torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), torch.zeros_like(spread)))

    def standardized(self, x: Tensor) -> Tensor:
        """Inputs with mean 0 and variance 1, [n, d_in]."""
        return (x - self.mean) * self.scale

    def start_from(self, direction: Tensor) -> None:
        """Make the tower linear: `direction` [d_in, <= d_out] in the linear path, nothing from the perceptron."""
        with torch.no_grad():
            self.direct.weight.zero_()
            self.direct.weight[: direction.shape[1]] = direction.T
            self.second.weight.zero_()
            self.second.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Float32 [n, d_in] to [n, d_out]."""
        x = self.standardized(x)
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        x = self.drop_in(x)
        out: Tensor = self.direct(x) + self.second(self.drop_hidden(functional.gelu(self.first(x))))
        return functional.normalize(out, dim=1)


class TwoTower(nn.Module):
    """A tower for words, one for pictures, and the learned inverse temperature between them."""

    def __init__(self, text: Tower, image: Tower) -> None:
        super().__init__()
        self.text = text
        self.image = image
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    @classmethod
    def of(cls, config: MatchConfig, d_text: int, d_image: int) -> TwoTower:
        """Untrained towers for vectors of the given lengths."""
        text, image = (
            Tower(d_in, config.hidden, config.dim, dropout=config.dropout, noise=config.noise)
            for d_in in (d_text, d_image)
        )
        return cls(text, image)

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature, a scalar."""
        return self.log_scale.clamp(max=MAX_LOGIT_SCALE).exp()


def contrastive_loss(text: Tensor, image: Tensor, logit_scale: Tensor, same_text: Tensor, same_image: Tensor) -> Tensor:
    """Symmetric InfoNCE over the pairs of a batch.

    Args:
        text: rows of length 1, [n, d].
        image: rows of length 1, [n, d]; row i belongs to text i.
        logit_scale: inverse temperature, a scalar.
        same_text: int64 [n]; equal numbers mark identical texts.
        same_image: int64 [n]; equal numbers mark identical pictures. Pairs that share either are no negatives.

    Returns:
        A scalar: the mean cross-entropy of finding the picture by the text and the text by the picture.
    """
    logits = logit_scale * text @ image.T
    twin = (same_text[:, None] == same_text) | (same_image[:, None] == same_image)
    twin.fill_diagonal_(False)
    logits = logits.masked_fill(twin, -torch.inf)
    target = torch.arange(len(text), device=text.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
