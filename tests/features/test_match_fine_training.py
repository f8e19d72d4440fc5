"""The training program on planted listings: words and picture of each show the same six hidden facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.match.calibration import auroc
from features.match.fine.config import PixelConfig
from features.match.fine.evaluation import accuracies, evaluate
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import cross_evidence, fit_fine, material_of
from features.match.fine.matcher import Matcher
from features.match.fine.model import FineModel
from features.match.fine.ranking import both_ways
from features.match.fine.training import train
from features.match.fine.views import Listings
from features.match.fine.words import WordList
from tests.features.cut_off import CutOff
from tests.features.fine_listings import CPU, ROWS, SMALL, TEST, TRAIN, VALID, N, first_fact, learned, planted


@pytest.fixture(scope="module")
def listings() -> Listings:
    return planted()


@pytest.fixture(scope="module")
def fitted(listings: Listings) -> FineModel:
    return fit_fine(listings, (first_fact(listings),), TRAIN, VALID, SMALL.model_copy(update={"members": 2}), seed=0)


def same(a: Matcher, b: Matcher) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_planted_facts_are_found_and_wrong_pictures_stand_out(listings: Listings, fitted: FineModel) -> None:
    judged = evaluate(fitted, listings, TEST, (first_fact(listings),), seed=0)
    # 80 listings of 64 kinds: the own one is hard to tell from its like, but always near the top
    assert judged.metrics["text_to_image"]["recall@10"] > 0.95
    assert judged.metrics["image_to_text"]["mrr"] > 0.5
    assert judged.metrics["mismatch_auroc"] > 0.95
    assert judged.metrics["calibration_error"] < 0.1
    assert judged.metrics["decision"]["accuracy"] > 0.9
    assert judged.metrics["accuracy"]["fact"] > 0.95


def test_an_attribute_is_told_from_the_picture_and_not_from_the_words(listings: Listings, fitted: FineModel) -> None:
    other = replace(listings, texts=["nothing"] * N, sentence=np.zeros_like(listings.sentence))
    label = (first_fact(listings),)
    assert accuracies(fitted, other, TEST, label) == accuracies(fitted, listings, TEST, label)


def test_a_batch_is_learned_by_heart(listings: Listings) -> None:
    bare = {"word_dropout": 0.0, "text_dropout": 0.0, "image_dropout": 0.0, "noise": 0.0, "word_count": 1}
    config = SMALL.model_copy(update={**bare, "epochs": 150, "patience": 150, "learning_rate": 1e-2})
    words = WordList.of(listings.texts[:32], least=1)
    rows = ROWS[:32]
    material = material_of(listings, (), rows, rows, words, config=config, device=CPU)
    texts, images = train(material, len(words), config, seed=0).embed(material.train)
    assert both_ways((texts @ images.T).numpy())["recall@1"] == 1.0


def test_the_same_seed_gives_the_same_numbers_and_leaves_torch_alone(listings: Listings) -> None:
    config = SMALL.model_copy(update={"epochs": 2})
    before = torch.random.get_rng_state()
    first = learned(listings, config)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(first, learned(listings, config))
    assert not same(first, learned(listings, config, seed=1))


@pytest.mark.parametrize("learning", ["alignment", "sequential"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_numbers(
    listings: Listings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learning: str
) -> None:
    changes = {"epochs": 4, "fusion_epochs": 3, "learning": learning, "averaging": 0.9}
    config = SMALL.model_copy(update=changes)
    whole = learned(listings, config)
    cut_off = CutOff(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        learned(listings, config, checkpoints=tmp_path)
    assert same(whole, learned(listings, config, checkpoints=tmp_path))
    cut_off.calls = 10
    assert same(whole, learned(listings, config, checkpoints=tmp_path))
    assert cut_off.calls == 10  # a finished run trains nothing
    aside = {"pixels": PixelConfig(members=2, epochs=7), "members": 3, "rerank": 9, "prior": 0.8}
    assert same(whole, learned(listings, config.model_copy(update=aside), checkpoints=tmp_path))
    assert cut_off.calls == 10  # nor does one whose other parts changed
    learned(listings, config.model_copy(update={"noise": 0.2}), checkpoints=tmp_path)
    assert cut_off.calls > 10


@pytest.mark.parametrize("architecture", ["two_tower", "co_attention"])
@pytest.mark.parametrize("learning", ["alignment", "sequential", "joint"])
def test_every_way_to_learn_tells_right_from_wrong(listings: Listings, learning: str, architecture: str) -> None:
    longer = {"epochs": 8 if (learning, architecture) == ("alignment", "two_tower") else 25, "fusion_epochs": 40}
    config = SMALL.model_copy(update={"learning": learning, "architecture": architecture, "patience": 40, **longer})
    model = fit_fine(listings, (), TRAIN, VALID, config, seed=0)
    views = model.views(listings, TEST)
    texts, images = model.embed(views)
    own = model.evidence(views, texts, images)
    foreign = model.evidence(views, texts, images, np.roll(np.arange(len(TEST)), 7))
    assert auroc(own, foreign) > 0.9
    assert model.reranks == (learning == "sequential" or (learning, architecture) == ("alignment", "co_attention"))
    if model.reranks:  # the fusion alone tells as well
        rows = np.arange(len(TEST))
        assert auroc(model.fused(views, rows, rows), model.fused(views, rows, np.roll(rows, 7))) > 0.8


def test_members_stand_side_by_side_so_that_cosines_are_their_mean(listings: Listings, fitted: FineModel) -> None:
    views = fitted.views(listings, TEST)
    texts, images = fitted.embed(views)
    assert texts.shape == (len(TEST), 2 * SMALL.dim)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    each = [member.embed(views) for member in fitted.members]
    mean = sum((t @ i.T).numpy() for t, i in each) / 2
    np.testing.assert_allclose(texts @ images.T, mean, atol=1e-5)


def test_a_saved_model_says_the_same(listings: Listings, fitted: FineModel, tmp_path: Path) -> None:
    save_model(fitted, tmp_path)
    loaded = load_model(tmp_path)
    views, again = fitted.views(listings, TEST), loaded.views(listings, TEST)
    for a, b in zip(fitted.embed(views), loaded.embed(again), strict=True):
        np.testing.assert_array_equal(a, b)
    texts, images = fitted.embed(views)
    np.testing.assert_array_equal(fitted.evidence(views, texts, images), loaded.evidence(again, texts, images))
    np.testing.assert_array_equal(fitted.told(views)[0], loaded.told(again)[0])
    assert loaded.calibrator == fitted.calibrator
    assert loaded.config == fitted.config
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read from"):
        load_model(tmp_path)


def test_a_listing_is_scored_by_a_model_that_has_not_learned_it() -> None:
    rng = np.random.default_rng(0)
    listings = planted()
    noise = rng.normal(size=listings.pictures.scene.shape).astype(np.float16)
    nothing = replace(listings, pictures=replace(listings.pictures, scene=noise))
    config = SMALL.model_copy(update={"epochs": 6})
    score = cross_evidence(nothing, (), config, folds=2, seed=0)
    # pictures say nothing: who had learned the pairs would know them; who has not gives about the prior
    assert abs(float(np.median(score)) - config.prior) < 0.15
    swapped = np.arange(0, N, 16)
    scene = listings.pictures.scene.copy()
    scene[swapped] = scene[np.roll(swapped, 3)]
    wrong = replace(listings, pictures=replace(listings.pictures, scene=scene))
    found = cross_evidence(wrong, (), config, folds=2, seed=0)
    assert auroc(np.delete(found, swapped), found[swapped]) > 0.85
