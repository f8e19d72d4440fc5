"""Fill an attribute of a shop: from its folder to predicted values, with everything learned on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from features.attribute_labels import Labels, known_labels
from features.attribute_prediction import (
    AttributeConfig,
    AttributePrediction,
    predict_attribute,
    predict_from_words,
)
from features.attribute_sources import Doubles, named, picture_scores, value_texts, word_scores
from features.encoders.catalog import encode_catalog
from features.encoders.colors import read_colors
from features.encoders.embeddings import ItemVectors
from features.encoders.shades import read_shades
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.fusion import fuse
from features.match.kept import kept_match
from features.match.model import CHUNK, Judge, MatchModel
from features.match.two_tower import Tower
from features.quarantine import Quarantine
from features.shop.shop import Shop
from recsys.config import FitConfig

Use = Literal["image", "text", "both"]


def fill_attributes(
    shop: Shop,
    specs: list[str],
    *,
    values: dict[str, tuple[str, ...]],
    use: Use,
    settings: AttributeConfig,
    config: FitConfig,
    cache_dir: Path,
    quarantine: Quarantine,
) -> dict[str, AttributePrediction]:
    """Predict attributes of all items.

    Args:
        shop: the shop.
        specs: attributes by name, or "name:level" for a path cut to so many steps.
        values: name -> the values to choose from; by default those that items have.
        use: what may be looked at.
        settings: of the prediction.
        config: of encoders and match model.
        cache_dir: encoded words and pictures, and the match model, are kept here.
        quarantine: takes pictures that cannot be read.

    Returns:
        spec -> prediction.

    Raises:
        InputError: an attribute has neither values nor labels, or a level is no number.
    """
    known = {spec: labels_of(shop, spec, values.get(spec.partition(":")[0], ()), settings) for spec in specs}
    vectors = encode_catalog(shop, config.encoders, cache_dir=cache_dir, quarantine=quarantine)
    match = kept_match(vectors, config.match, seed=config.seed, cache_dir=cache_dir)
    looked_at = visible(vectors, use)
    unseen = use == "text" or shop.images is None
    colors = None if unseen else colors_of(shop, cache_dir=cache_dir)
    shades = None if unseen else shades_of(shop, cache_dir=cache_dir)
    found = {}
    for spec, labels in known.items():
        texts = text_sources(shop, labels, vectors, match, use=use, config=config)
        try:
            if labels.share.any(axis=1).sum() >= settings.min_labels:
                found[spec] = predict_attribute(
                    labels, looked_at, texts, settings, colors=colors, shades=shades, seed=config.seed
                )
            else:
                texts.pop("words", None)
                names = named(shop.catalog.texts(), labels.values)
                found[spec] = predict_from_words(
                    labels,
                    names,
                    looked_at,
                    texts,
                    settings,
                    colors=colors,
                    shades=shades,
                    read=use != "image",
                    seed=config.seed,
                )
        except ValueError as error:
            raise InputError(f"attribute {spec} cannot be filled: {error}") from error
    return found


def labels_of(shop: Shop, spec: str, values: tuple[str, ...], settings: AttributeConfig) -> Labels:
    """The labels of an attribute given as "name" or "name:level".

    Raises:
        InputError: the level is no number, or there is no value to choose from.
    """
    name, colon, level = spec.partition(":")
    if colon and not (level.isdigit() and int(level) > 0):
        raise InputError(f"the level of a path must be a number >= 1, as in category:2, got {spec!r}")
    labels = known_labels(
        shop.catalog, name, level=int(level) if colon else None, values=values, min_count=settings.min_count
    )
    if not labels.values:
        has = ", ".join(shop.catalog.attributes.names()) or "none"
        raise InputError(
            f'no item has a value of {spec}, the shop has the attributes {has}; give values: --values "{name}=a,b,c"'
        )
    return labels


def visible(vectors: ItemVectors, use: Use) -> NDArray[np.float32]:
    """What may be looked at, as one vector an item, float32 [n_items, d]."""
    if use == "both":
        return fuse(vectors.text.vectors, vectors.image.vectors)
    return vectors.image.vectors if use == "image" else vectors.text.vectors


def colors_of(shop: Shop, *, cache_dir: Path) -> NDArray[np.float32]:
    """What the pictures say of colors, float32 [n_items, d]; zero rows where there is none, or none that can be read:
    whoever encoded the pictures has told which.
    """
    names = [str(name) for name in shop.catalog.image]
    return read_colors(names, shop.images, cache_dir=cache_dir, quarantine=Quarantine()).astype(np.float32)


def shades_of(shop: Shop, *, cache_dir: Path) -> NDArray[np.float16]:
    """The shades of what the pictures show, float16 [n_items, d]; zero rows as in `colors_of`."""
    names = [str(name) for name in shop.catalog.image]
    return read_shades(names, shop.images, cache_dir=cache_dir, quarantine=Quarantine())


def text_sources(
    shop: Shop,
    labels: Labels,
    vectors: ItemVectors,
    match: MatchModel,
    *,
    use: Use,
    config: FitConfig,
) -> dict[str, Doubles]:
    """What the values' own texts say of each item: "picture" in the match model's space, "words" where named."""
    sources: dict[str, Doubles] = {}
    if use != "text" and match.fitted:
        texts = [text for value in labels.values for text in value_texts(labels.name, value)]
        encoded = TextEncoder.of(config.encoders).encode(texts)
        encoded /= np.linalg.norm(encoded, axis=1, keepdims=True)  # as the items' words are
        by_value = encoded.reshape(len(labels.values), -1, encoded.shape[1])
        sources["picture"] = _by_strangers(match, by_value, vectors)
    if use != "image":
        sources["words"] = word_scores(shop.catalog.texts(), labels.values)
    return sources


def _by_strangers(match: MatchModel, by_value: NDArray[np.float32], vectors: ItemVectors) -> Doubles:
    """`picture_scores` of each item by a model that did not learn its words, which may well name the value."""
    text, image = vectors.text.vectors, vectors.image.vectors
    if match.fold_of is None:
        raise ValueError("the match model is not fitted, so its spaces say nothing")
    fold = match.fold_of(text, image)
    scores = np.zeros((len(vectors), len(by_value)))
    for number, judge in enumerate(match.judges):
        scores[fold == number] = picture_scores(_JudgeSpace(judge), by_value, text, image)[fold == number]
    return scores


@dataclass(frozen=True, eq=False)
class _JudgeSpace:
    """The shared space of one fold's model."""

    judge: Judge

    def embed_text(self, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """Text vectors in the shared space, rows of length 1."""
        return self._embed(text, self.judge.towers.text)

    def embed_image(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Image vectors in the shared space, rows of length 1."""
        return self._embed(image, self.judge.towers.image)

    @torch.inference_mode()
    def _embed(self, vectors: NDArray[np.float32], tower: Tower) -> NDArray[np.float32]:
        device = self.judge.texts.device
        chunks = (torch.from_numpy(vectors[first : first + CHUNK]) for first in range(0, len(vectors), CHUNK))
        embedded: NDArray[np.float32] = torch.cat([tower(chunk.to(device)).cpu() for chunk in chunks]).numpy()
        return embedded
