"""A match model is learned once from the same listings in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import features.match.kept
from features.encoders.embeddings import Embeddings, ItemVectors
from features.match.config import MatchConfig
from features.match.kept import kept_match
from features.match.model import MatchModel

CONFIG = MatchConfig(hidden=16, dim=8, epochs=3, folds=2, batch=64)


@pytest.fixture(scope="module")
def listings() -> ItemVectors:
    rng = np.random.default_rng(3)
    facts = rng.normal(size=(200, 6))
    everywhere, shown = np.ones(200, dtype=bool), np.arange(200) > 4
    text, image = (facts @ rng.normal(size=(6, width)) for width in (12, 20))
    return ItemVectors(
        Embeddings.of(text.astype(np.float32), everywhere, "text"), Embeddings.of(image.astype(np.float32), shown, "i")
    )


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each training had, in the order in which they were asked for."""
    asked: list[int] = []
    fit = features.match.kept.fit_match

    def counted(vectors: ItemVectors, config: MatchConfig, *, seed: int) -> MatchModel:
        asked.append(int(vectors.paired.sum()))
        return fit(vectors, config, seed=seed)

    monkeypatch.setattr(features.match.kept, "fit_match", counted)
    return asked


def test_equal_listings_are_learned_once_and_judged_to_the_same_bits(
    listings: ItemVectors, learned: list[int], tmp_path: Path
) -> None:
    first = kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    second = kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    assert learned == [195]
    assert np.array_equal(first.score(listings).score, second.score(listings).score, equal_nan=True)
    assert np.array_equal(first.embed_text(listings.text.vectors), second.embed_text(listings.text.vectors))


def test_another_listing_setting_or_seed_is_learned_again(
    listings: ItemVectors, learned: list[int], tmp_path: Path
) -> None:
    kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    kept_match(listings, CONFIG, seed=2, cache_dir=tmp_path)
    kept_match(listings, CONFIG.model_copy(update={"epochs": 2}), seed=1, cache_dir=tmp_path)
    turned = listings.image.vectors.copy()
    turned[[7, 8]] = turned[[8, 7]]
    kept_match(replace(listings, image=replace(listings.image, vectors=turned)), CONFIG, seed=1, cache_dir=tmp_path)
    assert len(learned) == 4
    # what has no picture teaches nothing
    silent = listings.text.vectors.copy()
    silent[[0, 1]] = silent[[1, 0]]
    kept_match(replace(listings, text=replace(listings.text, vectors=silent)), CONFIG, seed=1, cache_dir=tmp_path)
    assert len(learned) == 4


@pytest.mark.parametrize("name", ["match.safetensors", "match.json"])
def test_a_damaged_model_is_told_of_and_learned_again(
    name: str, listings: ItemVectors, learned: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    (file,) = tmp_path.glob(f"match/*/{name}")
    if name == "match.json":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000])
    kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    assert len(learned) == 2
    said = capsys.readouterr()
    assert "the kept match model is learned again" in said.out + said.err
    kept_match(listings, CONFIG, seed=1, cache_dir=tmp_path)
    assert len(learned) == 2
