from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoders.embeddings import Embeddings, ItemVectors
from features.errors import InputError
from features.match.config import MatchConfig
from features.match.model import MatchModel
from features.match.stored import ABOUT, StoredMatch
from features.match.training import fit_match

N = 400


@pytest.fixture(scope="module")
def planted() -> ItemVectors:
    """400 listings whose words and pictures show the same six hidden facts; every 20th has another's picture."""
    rng = np.random.default_rng(5)
    facts = np.sign(rng.normal(size=(N, 6)))
    shown = facts.copy()
    shown[::20] = facts[np.roll(np.arange(0, N, 20), 1)]
    text = facts @ rng.normal(size=(6, 20)) + 0.7 * rng.normal(size=(N, 20))
    image = shown @ rng.normal(size=(6, 40)) + 0.7 * rng.normal(size=(N, 40))
    everywhere = np.ones(N, dtype=bool)
    return ItemVectors(
        Embeddings.of(text.astype(np.float32), everywhere, "text"),
        Embeddings.of(image.astype(np.float32), everywhere, "image"),
    )


@pytest.fixture(scope="module")
def fitted(planted: ItemVectors) -> MatchModel:
    """A fitted model whose perceptrons take part, which on so few listings stay silent beside the linear paths."""
    fitted = fit_match(planted, MatchConfig(hidden=64, dim=16, epochs=30, folds=3, batch=128), seed=1)
    drawn = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for judge in fitted.judges:
            for tower in (judge.towers.text, judge.towers.image):
                tower.second.weight.normal_(std=0.02, generator=drawn)
                tower.second.bias.normal_(std=0.02, generator=drawn)
    return fitted


@pytest.fixture
def folder(fitted: MatchModel, tmp_path: Path) -> Path:
    fitted.save(tmp_path / "match")
    return tmp_path / "match"


def test_without_torch_listings_score_within_a_hundred_thousandth_as_with_it(
    planted: ItemVectors, fitted: MatchModel, folder: Path
) -> None:
    stored = StoredMatch.open(folder)
    expected = fitted.score(planted).score
    assert expected.max() - expected.min() > 0.5
    text, image = planted.text.vectors, planted.image.vectors
    np.testing.assert_allclose(stored.score(text, image), expected, rtol=0, atol=1e-5)
    alone = [stored.score(text[row : row + 1], image[row : row + 1])[0] for row in range(N)]
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


def test_a_listing_without_words_or_without_a_picture_has_no_score(planted: ItemVectors, folder: Path) -> None:
    stored = StoredMatch.open(folder)
    text, image = planted.text.vectors[:3].copy(), planted.image.vectors[:3].copy()
    text[0], image[1] = 0, 0
    np.testing.assert_array_equal(np.isnan(stored.score(text, image)), [True, True, False])


def test_vectors_of_another_encoder_are_refused(planted: ItemVectors, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"image vectors must be \[n, 40\], got \(1, 3\)"):
        StoredMatch.open(folder).score(planted.text.vectors[:1], np.ones((1, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 9}, "must have format 1, .* has 9"),
        ({"fitted": False}, "must be fitted"),
        ({"calibrator": {"slope": "steep"}}, "cannot be read"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_its_reason(
    folder: Path, change: dict[str, object], says: str
) -> None:
    told = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps(told | change))
    with pytest.raises(InputError, match=says):
        StoredMatch.open(folder)
