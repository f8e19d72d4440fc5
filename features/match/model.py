"""The fitted match model: scores listings, embeds words and pictures in one space, saves and loads."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from features.encoders.embeddings import ItemVectors
from features.errors import InputError
from features.match.calibrator import Calibrator
from features.match.config import MatchConfig
from features.match.folds import FoldRule
from features.match.scores import MatchScores
from features.match.stored import ABOUT, FORMAT, TENSORS, pair_scores
from features.match.two_tower import Tower, TwoTower

CHUNK = 4096
"""Listings handled at once."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Towers, and pairs to measure a margin against.

    Args:
        towers: trained on the folds that are not judged.
        texts: embedded texts of the shop, float32 [n_bank, dim].
        images: embedded pictures of the shop, float32 [n_bank, dim].
    """

    towers: TwoTower
    texts: Tensor
    images: Tensor

    @torch.inference_mode()
    def margin(self, text: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.float64]:
        """By how much each text and picture go together more than either goes with others of the shop.

        The logit f(t, i) less the mean of log mean_j exp f(t, j) and log mean_j exp f(j, i): under InfoNCE an
        estimate of the pointwise mutual information (van den Oord et al., 2018), float64 [n].
        """
        device, scale = self.texts.device, self.towers.logit_scale
        margins = []
        for first in range(0, len(text), CHUNK):
            t = self.towers.text(torch.from_numpy(text[first : first + CHUNK]).to(device))
            i = self.towers.image(torch.from_numpy(image[first : first + CHUNK]).to(device))
            with_others = [
                torch.logsumexp(scale * a @ others.T, dim=1) - np.log(len(others))
                for a, others in ((t, self.images), (i, self.texts))
            ]
            margins.append(scale * (t * i).sum(1) - (with_others[0] + with_others[1]) / 2)
        return torch.cat(margins).double().cpu().numpy() if margins else np.zeros(0)


@dataclass(frozen=True, eq=False)
class MatchModel:
    """Which pictures and words of a shop belong together.

    Args:
        config: how it was trained.
        d_text: length of a text vector.
        d_image: length of an image vector.
        towers: trained on all pairs; None where the shop had too few.
        judges: one a fold, trained on the pairs of the others; empty where the shop had too few.
        fold_of: the fold of a pair; None where the shop had too few.
        calibrator: margin to probability.
        report: "pairs", "seconds", and on held-out pairs against as many foreign ones "auroc" and
            "expected_calibration_error" (NaN where nothing was fitted).
    """

    config: MatchConfig
    d_text: int
    d_image: int
    towers: TwoTower | None
    judges: tuple[Judge, ...]
    fold_of: FoldRule | None
    calibrator: Calibrator
    report: dict[str, float]

    @classmethod
    def unfitted(cls, d_text: int, d_image: int, config: MatchConfig, *, pairs: int) -> MatchModel:
        """A model that scores nothing, of a shop with too few pairs."""
        report = {"pairs": float(pairs), "auroc": math.nan, "expected_calibration_error": math.nan}
        return cls(config, d_text, d_image, None, (), None, Calibrator(0.0, 0.0), report)

    @property
    def fitted(self) -> bool:
        """Whether it can score anything."""
        return self.towers is not None

    def score(self, vectors: ItemVectors) -> MatchScores:
        """Probability that each listing's picture and words belong together, by a model that did not learn it.

        Listings of the training shop and new ones alike are judged by the model of their fold.

        Raises:
            ValueError: the vectors have other lengths than those the model was trained on.
        """
        self._check(vectors.text.vectors, self.d_text, "text")
        self._check(vectors.image.vectors, self.d_image, "image")
        score = np.full(len(vectors), np.nan, dtype=np.float32)
        rows = np.flatnonzero(vectors.paired)
        if self.fold_of is not None and len(rows):
            score[rows] = pair_scores(
                vectors.text.vectors[rows],
                vectors.image.vectors[rows],
                judges=self.judges,
                fold_of=self.fold_of,
                calibrator=self.calibrator,
                prior=self.config.prior,
            )
        return MatchScores(score)

    def embed_text(self, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """Text vectors [n, d_text] in the shared space, float32 [n, dim], rows of length 1.

        Raises:
            ValueError: the model is not fitted, or the vectors have another length.
        """
        self._check(text, self.d_text, "text")
        return self._embed(text, self._fitted_towers().text)

    def embed_image(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Image vectors [n, d_image] in the shared space, float32 [n, dim], rows of length 1.

        Raises:
            ValueError: the model is not fitted, or the vectors have another length.
        """
        self._check(image, self.d_image, "image")
        return self._embed(image, self._fitted_towers().image)

    def save(self, folder: Path) -> None:
        """Write `match.safetensors` and, last, `match.json` into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        if self.towers is not None and self.fold_of is not None:
            tensors |= _named("towers", self.towers)
            tensors["fold.projection"] = torch.from_numpy(self.fold_of.projection)
            tensors["fold.offset"] = torch.from_numpy(self.fold_of.offset)
        for number, judge in enumerate(self.judges):
            tensors |= _named(f"judge{number}", judge.towers)
            tensors |= {f"bank{number}.texts": judge.texts, f"bank{number}.images": judge.images}
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, folder / TENSORS)
        about = {
            "format": FORMAT,
            "d_text": self.d_text,
            "d_image": self.d_image,
            "fitted": self.fitted,
            "config": self.config.model_dump(mode="json"),
            "calibrator": asdict(self.calibrator),
            "report": {name: None if math.isnan(value) else value for name, value in self.report.items()},
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1))

    @classmethod
    def load(cls, folder: Path) -> MatchModel:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing, of another format, or broken.
        """
        try:
            about = json.loads((folder / ABOUT).read_text())
            if about["format"] != FORMAT:
                raise InputError(f"match model must have format {FORMAT}, {folder / ABOUT} has {about['format']}")
            tensors = load_file(folder / TENSORS)
            config = MatchConfig.model_validate(about["config"])
            d_text, d_image = int(about["d_text"]), int(about["d_image"])
            report = {name: math.nan if value is None else value for name, value in about["report"].items()}
            if not about["fitted"]:
                return cls(config, d_text, d_image, None, (), None, Calibrator(0.0, 0.0), report)
            judges = tuple(
                Judge(
                    _restored(f"judge{number}", tensors, config, d_text, d_image),
                    tensors[f"bank{number}.texts"],
                    tensors[f"bank{number}.images"],
                )
                for number in range(config.folds)
            )
            rule = FoldRule(tensors["fold.projection"].numpy(), tensors["fold.offset"].numpy(), config.folds)
            towers = _restored("towers", tensors, config, d_text, d_image)
            calibrator = Calibrator.of_dict(about["calibrator"])
            return cls(config, d_text, d_image, towers, judges, rule, calibrator, report)
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"match model cannot be read from {folder}: {error}") from error

    def _fitted_towers(self) -> TwoTower:
        if self.towers is None:
            raise ValueError(f"the match model is not fitted: its shop had {self.report['pairs']:.0f} pairs")
        return self.towers

    @staticmethod
    def _check(vectors: NDArray[np.float32], d: int, name: str) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != d:
            raise ValueError(f"{name} vectors must be [n, {d}], got {vectors.shape}")

    @staticmethod
    @torch.inference_mode()
    def _embed(vectors: NDArray[np.float32], tower: Tower) -> NDArray[np.float32]:
        chunks = (torch.from_numpy(vectors[first : first + CHUNK]) for first in range(0, len(vectors), CHUNK))
        embedded = [tower(chunk.to(tower.mean.device)).cpu().numpy() for chunk in chunks]
        return np.concatenate(embedded) if embedded else np.zeros((0, tower.direct.out_features), dtype=np.float32)


def _named(prefix: str, towers: TwoTower) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in towers.state_dict().items()}


def _restored(prefix: str, tensors: dict[str, Tensor], config: MatchConfig, d_text: int, d_image: int) -> TwoTower:
    towers = TwoTower.of(config, d_text, d_image)
    state = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    towers.load_state_dict(state)
    return towers.eval()
