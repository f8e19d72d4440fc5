"""A saved match model without torch: the service scores listings that it first hears of while it runs.

It reads the files that `MatchModel.save` writes, and of them what judges listings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from features.errors import InputError
from features.match.calibrator import Calibrator
from features.match.config import MAX_LOGIT_SCALE
from features.match.folds import FoldRule
from features.vectors.rows import unit_rows

FORMAT = 1
"""Of a saved match model; another one is refused."""
ABOUT, TENSORS = "match.json", "match.safetensors"
"""The files of a saved match model; the first is written last."""

PARAMETERS = ("mean", "scale", "first.weight", "first.bias", "second.weight", "second.bias", "direct.weight")
"""Of a tower, in the order of `StoredTower`."""

Floats = NDArray[np.float32]
_erf = np.vectorize(math.erf, otypes=[np.float32])  # numpy has none, and a worker is to do without scipy


class JudgesPairs(Protocol):
    """Says how well words and pictures go together."""

    def margin(self, text: Floats, image: Floats) -> NDArray[np.float64]:
        """As `features.match.model.Judge.margin`."""
        ...


def pair_scores(
    text: Floats,
    image: Floats,
    *,
    judges: Sequence[JudgesPairs],
    fold_of: FoldRule,
    calibrator: Calibrator,
    prior: float,
) -> Floats:
    """Probability that words and picture of each pair belong together, by the judge of its fold: float32 [n].

    Args:
        text: float32 [n, d_text].
        image: float32 [n, d_image].
        judges: one a fold.
        fold_of: the fold of a pair.
        calibrator: margin to probability.
        prior: share of pairs supposed to belong together, before they are looked at.
    """
    score = np.full(len(text), np.nan, dtype=np.float32)
    fold = fold_of(text, image)
    for number, judge in enumerate(judges):
        here = np.flatnonzero(fold == number)
        score[here] = calibrator(judge.margin(text[here], image[here]), prior=prior)
    return score


@dataclass(frozen=True, eq=False)
class StoredTower:
    """`features.match.two_tower.Tower` as it is after training.

    Args:
        mean, scale: of the inputs, float32 [d_in] each.
        first, first_bias: of the hidden layer, float32 [hidden, d_in] and [hidden].
        second, second_bias: from there to the shared space, float32 [d_out, hidden] and [d_out].
        direct: the linear path, float32 [d_out, d_in].
    """

    mean: Floats
    scale: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    direct: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """Float32 [n, d_in] to [n, d_out], rows of length 1."""
        x = (vectors - self.mean) * self.scale
        hidden = x @ self.first.T + self.first_bias
        hidden *= (1 + _erf(hidden / math.sqrt(2))) / 2  # GELU (Hendrycks and Gimpel, 2016)
        out = x @ self.direct.T + hidden @ self.second.T + self.second_bias
        return unit_rows(np.asarray(out, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class StoredJudge:
    """`features.match.model.Judge` without torch.

    Args:
        text, image: the towers.
        logit_scale: inverse temperature between them.
        texts, images: embedded words and pictures that a margin is measured against, float32 [n_bank, dim] each.
    """

    text: StoredTower
    image: StoredTower
    logit_scale: float
    texts: Floats
    images: Floats

    def margin(self, text: Floats, image: Floats) -> NDArray[np.float64]:
        """As `features.match.model.Judge.margin`."""
        t, i = self.text(text), self.image(image)
        scale = self.logit_scale
        with_others = (_log_mean_exp(scale * (t @ self.images.T)) + _log_mean_exp(scale * (i @ self.texts.T))) / 2
        margin: NDArray[np.float64] = scale * np.einsum("nd,nd->n", t, i).astype(np.float64) - with_others
        return margin


@dataclass(frozen=True, eq=False)
class StoredMatch:
    """What scores listings; `open` reads one.

    Args:
        d_text: length of a text vector.
        d_image: length of an image vector.
        prior: share of listings supposed to carry the right picture.
        judges: one a fold.
        fold_of: the fold of a pair.
        calibrator: margin to probability.
    """

    d_text: int
    d_image: int
    prior: float
    judges: tuple[StoredJudge, ...]
    fold_of: FoldRule
    calibrator: Calibrator

    @classmethod
    def open(cls, folder: Path) -> StoredMatch:
        """Read what `MatchModel.save` wrote of a fitted model.

        Raises:
            InputError: a file is missing, of another format, broken, or of a model that is not fitted.
        """
        try:
            about = json.loads((folder / ABOUT).read_text())
            if about["format"] != FORMAT:
                raise InputError(f"match model must have format {FORMAT}, {folder / ABOUT} has {about['format']}")
            if not about["fitted"]:
                raise InputError(f"match model must be fitted to score listings, {folder / ABOUT} says it is not")
            folds = int(about["config"]["folds"])
            with safe_open(folder / TENSORS, framework="np") as tensors:
                judges = tuple(_judge(tensors.get_tensor, number) for number in range(folds))
                rule = FoldRule(tensors.get_tensor("fold.projection"), tensors.get_tensor("fold.offset"), folds)
            return cls(
                int(about["d_text"]),
                int(about["d_image"]),
                float(about["config"]["prior"]),
                judges,
                rule,
                Calibrator.of_dict(about["calibrator"]),
            )
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(f"match model cannot be read from {folder}: {error}") from error

    def score(self, text: Floats, image: Floats) -> Floats:
        """As `MatchModel.score` of listings with these vectors: float32 [n], NaN where words or picture are missing.

        Args:
            text: float32 [n, d_text]; a zero row has no words.
            image: float32 [n, d_image]; a zero row has no picture.

        Raises:
            ValueError: the vectors have other lengths than those the model was trained on.
        """
        for vectors, d, name in ((text, self.d_text, "text"), (image, self.d_image, "image")):
            if vectors.ndim != 2 or vectors.shape[1] != d:
                raise ValueError(f"{name} vectors must be [n, {d}], got {vectors.shape}")
        score = np.full(len(text), np.nan, dtype=np.float32)
        both = text.any(axis=1) & image.any(axis=1)
        score[both] = pair_scores(
            text[both],
            image[both],
            judges=self.judges,
            fold_of=self.fold_of,
            calibrator=self.calibrator,
            prior=self.prior,
        )
        return score


def _judge(read: Callable[[str], Floats], number: int) -> StoredJudge:
    def tower(side: str) -> StoredTower:
        return StoredTower(*(read(f"judge{number}.{side}.{name}") for name in PARAMETERS))

    scale = math.exp(min(float(read(f"judge{number}.log_scale")), MAX_LOGIT_SCALE))
    return StoredJudge(tower("text"), tower("image"), scale, read(f"bank{number}.texts"), read(f"bank{number}.images"))


def _log_mean_exp(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Log of the mean over columns of exp, float64 [n]."""
    most = logits.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.log(np.exp(logits - most).mean(axis=1, dtype=np.float64)) + most[:, 0]
    return found
