from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from features.encoders.embeddings import Embeddings, ItemVectors
from features.errors import InputError
from features.match.calibration import auroc
from features.match.config import MatchConfig
from features.match.folds import FoldRule
from features.match.threads import threads_for
from features.match.training import MatchModel, Pairs, fit_match, train_towers

CONFIG = MatchConfig(hidden=64, dim=16, epochs=30, folds=3, batch=128)
N = 600
WRONG = np.arange(0, N, 20)


def vectors_of(text: NDArray[np.float64], image: NDArray[np.float64], has_image: NDArray[np.bool_]) -> ItemVectors:
    everywhere = np.ones(len(text), dtype=bool)
    return ItemVectors(
        Embeddings.of(text.astype(np.float32), everywhere, "text"),
        Embeddings.of(image.astype(np.float32), has_image, "image"),
    )


@pytest.fixture(scope="module")
def planted() -> ItemVectors:
    """600 listings whose words and pictures show the same six hidden facts; every 20th has another's picture.

    The last two have no picture.
    """
    rng = np.random.default_rng(5)
    facts = np.sign(rng.normal(size=(N, 6)))
    shown = facts.copy()
    shown[WRONG] = facts[np.roll(WRONG, 1)]
    text = facts @ rng.normal(size=(6, 20)) + 0.7 * rng.normal(size=(N, 20))
    image = np.maximum(shown @ rng.normal(size=(6, 40)) + 0.7 * rng.normal(size=(N, 40)), 0)
    has_image = np.ones(N, dtype=bool)
    has_image[-2:] = False
    return vectors_of(text, image, has_image)


@pytest.fixture(scope="module")
def fitted(planted: ItemVectors) -> MatchModel:
    return fit_match(planted, CONFIG, seed=1)


def test_planted_mismatches_are_found(planted: ItemVectors, fitted: MatchModel) -> None:
    score = fitted.score(planted).score.astype(np.float64)
    right = np.setdiff1d(np.arange(N - 2), WRONG)
    # some foreign pictures show the same facts by chance (1 in 64), so not all of them can be found
    assert auroc(score[right], score[WRONG]) > 0.95
    assert np.median(score[right]) > 0.95
    # one listing in 20 is wrong, so even good evidence against one leaves some doubt
    assert np.median(score[WRONG]) < 0.7


def test_listings_without_a_picture_are_not_judged(planted: ItemVectors, fitted: MatchModel) -> None:
    assert np.isnan(fitted.score(planted).score).tolist() == [False] * (N - 2) + [True, True]


def test_scores_are_calibrated_on_held_out_pairs(fitted: MatchModel) -> None:
    assert fitted.report["auroc"] > 0.9
    assert fitted.report["expected_calibration_error"] < 0.06
    assert fitted.report["pairs"] == N - 2


def test_a_listing_is_not_judged_by_a_model_that_learned_it() -> None:
    # words and pictures have nothing to do with each other: a model that has learned the pairs knows them all the same
    rng = np.random.default_rng(0)
    noise = vectors_of(rng.normal(size=(300, 20)), rng.normal(size=(300, 40)), np.ones(300, dtype=bool))
    model = fit_match(noise, CONFIG, seed=0)
    assert model.report["auroc"] == pytest.approx(0.5, abs=0.07)
    assert np.abs(model.score(noise).score - CONFIG.prior).max() < 0.2
    knows = train_towers(pairs_of(noise), CONFIG.model_copy(update={"dropout": 0.0}), seed=0)
    with torch.inference_mode():
        pairs = pairs_of(noise)
        f = knows.text(pairs.text) @ knows.image(pairs.image).T
    own, foreign = f.diagonal().double().numpy(), f.roll(1, 0).diagonal().double().numpy()
    assert auroc(own, foreign) > 0.7


def pairs_of(vectors: ItemVectors) -> Pairs:
    rows = vectors.paired
    return Pairs.of(vectors.text.vectors[rows], vectors.image.vectors[rows], torch.device("cpu"))


def test_the_same_seed_gives_the_same_scores_and_leaves_torch_alone(planted: ItemVectors, fitted: MatchModel) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    again = fit_match(planted, CONFIG, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(again.score(planted).score, fitted.score(planted).score)
    other = fit_match(planted, CONFIG, seed=2)
    assert not np.array_equal(other.score(planted).score[:-2], fitted.score(planted).score[:-2])


def test_few_pairs_take_one_thread_and_give_the_others_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(100):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(100_000):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_words_find_their_picture_in_the_shared_space(planted: ItemVectors, fitted: MatchModel) -> None:
    right = np.setdiff1d(np.arange(N - 2), WRONG)[:200]
    text, image = fitted.embed_text(planted.text.vectors[right]), fitted.embed_image(planted.image.vectors[right])
    assert text.shape == image.shape == (200, 16)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-5)
    similar = text @ image.T
    rank = (similar > similar.diagonal()[:, None]).sum(axis=1)
    # 64 kinds among 200 pictures: those of the same kind may come before
    assert np.median(rank) < 5


def test_a_saved_model_scores_the_same(planted: ItemVectors, fitted: MatchModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "match")
    loaded = MatchModel.load(tmp_path / "match")
    np.testing.assert_array_equal(loaded.score(planted).score, fitted.score(planted).score)
    np.testing.assert_array_equal(
        loaded.embed_text(planted.text.vectors[:5]), fitted.embed_text(planted.text.vectors[:5])
    )
    assert loaded.report == fitted.report
    assert loaded.calibrator == fitted.calibrator
    assert loaded.config == CONFIG


def test_a_broken_model_file_is_named(fitted: MatchModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read from"):
        MatchModel.load(tmp_path)
    fitted.save(tmp_path)
    file = tmp_path / "match.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read from"):
        MatchModel.load(tmp_path)


@pytest.mark.parametrize("n_pictures", [0, 49])
def test_a_shop_with_too_few_pairs_is_not_judged(n_pictures: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = vectors_of(rng.normal(size=(80, 20)), rng.normal(size=(80, 40)), np.arange(80) < n_pictures)
    model = fit_match(vectors, CONFIG, seed=0)
    assert not model.fitted
    assert np.isnan(model.score(vectors).score).all()
    assert np.isnan(model.report["auroc"])
    model.save(tmp_path)
    assert np.isnan(MatchModel.load(tmp_path).score(vectors).score).all()
    with pytest.raises(ValueError, match=f"had {n_pictures} pairs"):
        model.embed_text(vectors.text.vectors)


def test_a_shop_with_one_picture_for_all_is_not_judged() -> None:
    text = np.random.default_rng(0).normal(size=(200, 20))
    vectors = vectors_of(text, np.ones((200, 40)), np.ones(200, dtype=bool))
    assert not fit_match(vectors, CONFIG, seed=0).fitted
    nearly = vectors_of(
        1 + 1e-6 * text, 1 + 1e-6 * np.random.default_rng(1).normal(size=(200, 40)), np.ones(200, dtype=bool)
    )
    score = fit_match(nearly, CONFIG, seed=0).score(nearly).score
    assert np.isnan(score).all() or np.abs(score - CONFIG.prior).max() < 0.1


def test_a_large_shop_is_learned_from_a_sample_and_judged_as_a_whole(planted: ItemVectors) -> None:
    model = fit_match(planted, CONFIG.model_copy(update={"max_pairs": 200}), seed=0)
    assert model.report["pairs"] == 200
    assert np.isnan(model.score(planted).score).sum() == 2


def test_the_smallest_shop_is_judged() -> None:
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(50, 3))
    vectors = vectors_of(facts @ rng.normal(size=(3, 20)), facts @ rng.normal(size=(3, 40)), np.ones(50, dtype=bool))
    model = fit_match(vectors, CONFIG, seed=0)
    assert model.report["auroc"] > 0.9
    assert not np.isnan(model.score(vectors).score).any()


def test_vectors_of_another_encoder_are_refused(planted: ItemVectors, fitted: MatchModel) -> None:
    swapped = ItemVectors(planted.text, planted.text)
    with pytest.raises(ValueError, match=r"image vectors must be \[n, 40\], got \(600, 20\)"):
        fitted.score(swapped)


def test_folds_depend_on_content_alone_and_survive_rounding() -> None:
    rng = np.random.default_rng(0)
    text, image = (rng.normal(size=(2000, d)).astype(np.float32) for d in (8, 12))
    rule = FoldRule.of(text, image, folds=4, seed=0)
    fold = rule(text, image)
    order = rng.permutation(2000)
    np.testing.assert_array_equal(rule(text[order], image[order]), fold[order])
    assert (rule(text + 1e-7, image - 1e-7) == fold).mean() > 0.999
    assert np.bincount(fold, minlength=4).min() > 350
