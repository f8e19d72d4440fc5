"""A tower that reads words and one that reads pictures, and the space in which both meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.match.config import MAX_LOGIT_SCALE
from features.match.fine.config import FineConfig
from features.match.fine.views import Views

FIRST_SCALE = 20.0
"""Inverse temperature at the start."""
MOST_DEVIATIONS = 8.0
"""Standardized inputs are cut here: an empty color cell of one shop is an outlier of another."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a tower makes of n listings.

    Args:
        unit: [n, dim], rows of length 1.
        hidden: [n, hidden], from which attributes are told.
    """

    unit: Tensor
    hidden: Tensor


class Standardize(nn.Module):
    """Inputs with mean 0 and variance 1, cut at `MOST_DEVIATIONS`; an input that hardly varies is not blown up."""

    mean: Tensor
    scale: Tensor

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("scale", torch.ones(d_in))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and deviation from the given rows, [n, d_in], a few at once."""
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part in torch.split(x, 4096):
            wide = part.double()
            total += wide.sum(0)
            squares += (wide**2).sum(0)
        mean = total / len(x)
        deviation = (squares / len(x) - mean**2).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(1 / (deviation + 1e-3 * deviation.mean() + 1e-8))

    def forward(self, x: Tensor) -> Tensor:
        """[n, d_in] to float32 [n, d_in]."""
        return ((x.float() - self.mean) * self.scale).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)


class Trunk(nn.Module):
    """A two-layer perceptron beside a linear path; rows of length 1 come out."""

    def __init__(self, d_in: int, hidden: int, d_out: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Linear(d_in, hidden)
        self.second = nn.Linear(hidden, d_out)
        self.direct = nn.Linear(d_in, d_out, bias=False)

    def forward(self, x: Tensor) -> Seen:
        """[n, d_in] to what is seen."""
        x = functional.dropout(x, self.dropout, self.training)
        hidden = functional.dropout(functional.gelu(self.first(x)), self.dropout, self.training)
        out: Tensor = self.direct(x) + self.second(hidden)
        return Seen(functional.normalize(out.float(), dim=1), hidden.float())


class WordTower(nn.Module):
    """The sum of the known words' own vectors beside the sentence vector, through a trunk.

    Args:
        n_words: known words.
        d_sentence: length of a sentence vector.
        config: sizes and dropout.
    """

    def __init__(self, n_words: int, d_sentence: int, config: FineConfig) -> None:
        super().__init__()
        self.n_words, self.word_dropout, self.noise = n_words, config.word_dropout, config.noise
        self.vectors = nn.Embedding(n_words + 1, config.word_dim, padding_idx=n_words)
        nn.init.normal_(self.vectors.weight, std=0.05)
        with torch.no_grad():
            self.vectors.weight[n_words] = 0
        self.standardize = Standardize(d_sentence)
        self.trunk = Trunk(config.word_dim + d_sentence, config.hidden, config.dim, dropout=config.text_dropout)

    def inputs(self, views: Views) -> tuple[Tensor, Tensor]:
        """Summed word vectors [n, word_dim] and the standardized sentence [n, d_sentence], noise and dropout on them in
        training.
        """
        words, sentence = views.words, 0.5 * self.standardize(views.sentence)
        if self.training:
            dropped = torch.rand(words.shape, device=words.device) < self.word_dropout
            words = words.masked_fill(dropped, self.n_words)
            sentence = sentence + self.noise * torch.randn_like(sentence)
        return self.vectors(words).sum(1), sentence

    def forward(self, views: Views) -> Seen:
        """Listings' words."""
        return self.of(*self.inputs(views))

    def of(self, words: Tensor, sentence: Tensor) -> Seen:
        """What is seen of summed word vectors [n, word_dim] and standardized sentences [n, d_sentence]."""
        return self.trunk(torch.cat([words, sentence], dim=1))  # type: ignore[no-any-return]


class SceneTower(nn.Module):
    """The standardized scene, through a trunk.

    Args:
        d_scene: length of a scene.
        config: sizes and dropout.
    """

    def __init__(self, d_scene: int, config: FineConfig) -> None:
        super().__init__()
        self.noise = config.noise
        self.standardize = Standardize(d_scene)
        self.trunk = Trunk(d_scene, config.hidden, config.dim, dropout=config.image_dropout)

    def inputs(self, views: Views) -> Tensor:
        """The standardized scene [n, d_scene], with noise in training."""
        scene: Tensor = self.standardize(views.scene)
        return scene + self.noise * torch.randn_like(scene) if self.training else scene

    def forward(self, views: Views) -> Seen:
        """Listings' pictures."""
        return self.of(self.inputs(views))

    def of(self, inputs: Tensor) -> Seen:
        """What is seen of standardized scenes, [n, d_scene]."""
        return self.trunk(inputs)  # type: ignore[no-any-return]


class Towers(nn.Module):
    """Both towers, the inverse temperature between them, and heads that tell attributes from either.

    Args:
        n_words: known words.
        d_sentence: length of a sentence vector.
        d_scene: length of a scene.
        n_values: number of values of each attribute that is to be told.
        config: sizes and dropout.
    """

    def __init__(self, n_words: int, d_sentence: int, d_scene: int, n_values: list[int], config: FineConfig) -> None:
        super().__init__()
        self.text = WordTower(n_words, d_sentence, config)
        self.image = SceneTower(d_scene, config)
        self.text_heads = nn.ModuleList(nn.Linear(config.hidden, n) for n in n_values)
        self.image_heads = nn.ModuleList(nn.Linear(config.hidden, n) for n in n_values)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature, a scalar."""
        return self.log_scale.clamp(max=MAX_LOGIT_SCALE).exp()

    def fit_inputs(self, views: Views) -> None:
        """Standardize by the given listings."""
        self.text.standardize.fit(views.sentence)
        self.image.standardize.fit(views.scene)
