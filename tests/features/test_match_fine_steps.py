"""The parts of the training program on planted listings: its losses, what it draws, and the fusion's attention."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from features.match.calibration import auroc
from features.match.fine.fit import fit_fine, material_of
from features.match.fine.fusion import CoAttention
from features.match.fine.labels import Label
from features.match.fine.matcher import Matcher
from features.match.fine.objective import fusion_loss, tower_losses, weighted
from features.match.fine.pairs import JudgedPairs
from features.match.fine.views import Listings, Views
from features.match.fine.words import WordList
from tests.features.fine_listings import (
    CPU,
    FACTS,
    ROWS,
    SMALL,
    TEST,
    TRAIN,
    VALID,
    N,
    first_fact,
    learned,
    material_views,
    planted,
    with_losses,
    words_of,
)

Attending = tuple[Matcher, CoAttention]


@pytest.fixture(scope="module")
def listings() -> Listings:
    return planted()


@pytest.fixture(scope="module")
def attention(listings: Listings) -> Matcher:
    return learned(listings, SMALL.model_copy(update={"architecture": "co_attention", "epochs": 1}))


@pytest.fixture
def attending(attention: Matcher) -> Attending:
    """A matcher of this test alone, and its fusion, which looks at some parts more than at others."""
    matcher = deepcopy(attention)
    assert isinstance(matcher.fusion, CoAttention)
    torch.nn.init.normal_(matcher.fusion.score[3].weight)  # type: ignore[arg-type]
    return matcher, matcher.fusion


def test_sequential_learning_leaves_the_towers_as_alignment_made_them(listings: Listings) -> None:
    config = SMALL.model_copy(update={"epochs": 2, "fusion_epochs": 1})
    aligned = learned(listings, config)
    later = learned(listings, config.model_copy(update={"learning": "sequential"}))
    texts = later.embed(material_views(listings))[0]
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(len(texts)))
    assert len(list(aligned.parameters())) < len(list(later.parameters()))


@pytest.mark.parametrize("name", ["contrastive", "triplet", "consistency", "text", "image", "adversarial", "unlabeled"])
def test_each_loss_is_made_smaller_by_its_own_steps(listings: Listings, name: str) -> None:
    config = with_losses(**{"contrastive": 0.0, "match": 0.0, name: 1.0})
    words = words_of(listings)
    lacking = replace(listings.pictures, mask=np.where(ROWS < 40, False, listings.pictures.mask))
    some = replace(listings, pictures=lacking)
    material = material_of(some, (first_fact(listings),), TRAIN[40:], VALID, words, config=config, device=CPU)
    assert (material.words_only is not None) == (name == "unlabeled")
    matcher = learned(listings, with_losses(contrastive=1.0).model_copy(update={"epochs": 1}))
    matcher.config = config
    teacher = learned(listings, SMALL)
    rows = torch.arange(96)
    optimizer = torch.optim.AdamW(matcher.parameters(), lr=3e-3)
    torch.manual_seed(0)
    before = None
    for _ in range(12):
        found, _, _ = tower_losses(matcher.eval(), teacher.eval(), material.train.at(rows), rows, material)
        assert list(found) == [name]
        loss = weighted(found, config)
        before = loss.item() if before is None else before
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * before


def test_labeled_relevance_moves_the_pair_it_names(listings: Listings) -> None:
    config = with_losses(contrastive=0.0, relevance=1.0).model_copy(update={"epochs": 20, "patience": 99})
    kind = [text.split()[0] for text in listings.texts]
    texts = ["f0", "g0"] * len(TRAIN)
    rows = np.repeat(TRAIN, 2)
    wanted = np.array([float(kind[row] == text) for row, text in zip(rows, texts, strict=True)], dtype=np.float32)
    judged = JudgedPairs(rows, texts, np.zeros((len(rows), 10), dtype=np.float32), wanted)
    model = fit_fine(listings, (), TRAIN, VALID, config, seed=0, judged=judged)
    asked = replace(listings, texts=["g0"] * N, sentence=np.zeros_like(listings.sentence))
    views = model.views(asked, TEST)
    text, images = model.embed(views)
    cosine = (text * images).sum(axis=1)
    shown = np.array([kind[row] == "g0" for row in TEST])
    assert auroc(cosine[shown].astype(float), cosine[~shown].astype(float)) > 0.9


def test_rare_kinds_are_drawn_more_often(listings: Listings) -> None:
    rare = Label("rare", ("no", "yes"), (ROWS < 10).astype(np.int64))
    words = WordList.of(listings.texts, least=2)
    config = SMALL.model_copy(update={"oversampling": 1.0, "class_weights": 1.0})
    material = material_of(listings, (rare,), TRAIN, VALID, words, config=config, device=CPU)
    assert material.draw is not None
    assert float(material.draw[:10].sum()) == pytest.approx(0.5)
    assert float(material.label_weights[0][1] / material.label_weights[0][0]) == pytest.approx(310 / 10)


def test_words_that_are_filling_do_not_matter_and_attention_adds_up_to_one(
    listings: Listings, attending: Attending
) -> None:
    matcher, fusion = attending
    views = material_views(listings)
    texts, images = (x.clone() for x in matcher.embed(views))
    with torch.no_grad():
        read = matcher.read(views, texts, images)
        logits, words_at, parts_at = fusion.look(*read)
        torch.testing.assert_close(words_at.sum(3), torch.ones_like(words_at.sum(3)))
        torch.testing.assert_close(parts_at.sum(3), torch.ones_like(parts_at.sum(3)))
        assert parts_at[..., FACTS:].max() == 0
        tokens = views.tokens.clone()
        tokens[:, FACTS:] = 9
        again = matcher.read(replace(views, tokens=tokens), texts, images)
        torch.testing.assert_close(fusion.compare(*again), logits)
        tokens[:, 0] = 9
        other = matcher.read(replace(views, tokens=tokens), texts, images)
        assert not torch.allclose(fusion.compare(*other), logits)


def test_without_places_the_order_of_the_patches_is_nothing(listings: Listings, attending: Attending) -> None:
    matcher, fusion = attending
    views = material_views(listings)
    turned = replace(views, patches=views.patches.flip(1))
    texts, images = (x.clone() for x in matcher.embed(views))
    with torch.no_grad():

        def logits(of: Views) -> torch.Tensor:
            return fusion.compare(*matcher.read(of, texts, images))

        fusion.place.zero_()
        torch.testing.assert_close(logits(turned), logits(views))
        fusion.place[0, 0] = 3
        assert not torch.allclose(logits(turned), logits(views))


def test_the_fusion_is_not_asked_to_tell_twins_apart(listings: Listings) -> None:
    matcher = learned(listings, SMALL.model_copy(update={"learning": "sequential", "epochs": 1, "fusion_epochs": 1}))
    views = material_views(listings)
    alike = replace(views, same_text=torch.zeros(len(views), dtype=torch.int64))
    texts, images = (x.clone() for x in matcher.embed(views))
    assert fusion_loss(matcher, alike, texts, images).item() == 0
    assert fusion_loss(matcher, views, texts, images).item() > 0
