"""What every fit and every evaluation starts from: the shop, its split, and what each item's content says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from features.encoders.catalog import encode_catalog
from features.encoders.embeddings import ItemVectors
from features.errors import InputError
from features.match.model import MatchModel
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.shop.shop import Shop
from graph.content import item_content
from graph.neighbors import Neighbors, top_neighbors
from recsys.config import FitConfig
from recsys.listing_scores import judge_listings
from recsys.split import Split, SplitConfig, file_split, split_by

log = structlog.get_logger()


@dataclass(frozen=True, eq=False, kw_only=True)
class Content:
    """What the items' own words and pictures say.

    Args:
        vectors: frozen text and image vectors.
        match: the image-text match model; unfitted where too few listings have both words and a picture.
        scores: agreement of picture and words a listing.
        content: float32 [n_items, d_text + d_image]; both modalities fused, the picture trusted as far as it matches.
        neighbors: content neighbors by "text" and "image".
    """

    vectors: ItemVectors
    match: MatchModel
    scores: MatchScores
    content: NDArray[np.float32]
    neighbors: dict[str, Neighbors]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared(Content):
    """A shop, read and understood, before anything is learned from its behavior.

    Args:
        shop: the shop.
        split: what is learned from and what is judged on.
        quarantine: what was refused on the way.
    """

    shop: Shop
    split: Split
    quarantine: Quarantine


def prepare(
    shop: Shop, *, split_file: Path | None, config: FitConfig, cache_dir: Path, quarantine: Quarantine
) -> Prepared:
    """Split a shop's events, encode its items, and judge whether pictures and words agree.

    Args:
        shop: the shop.
        split_file: which pairs are on which side, or None to split as configured.
        config: of every step.
        cache_dir: encoded words and pictures are kept here.
        quarantine: what was refused so far; pictures that cannot be read join it.

    Raises:
        InputError: the split file or a model cannot be used.
    """
    split = split_events(shop, split_file, config)
    content = read_content(shop, config, cache_dir=cache_dir, quarantine=quarantine)
    return Prepared(shop=shop, split=split, quarantine=quarantine, **vars(content))


def read_content(shop: Shop, config: FitConfig, *, cache_dir: Path, quarantine: Quarantine) -> Content:
    """Encode a shop's items, judge whether pictures and words agree, and find who is like whom.

    Args:
        shop: the shop.
        config: of the encoders, the match model, and how much a picture counts.
        cache_dir: encoded words and pictures are kept here.
        quarantine: takes pictures that cannot be read.

    Raises:
        InputError: a model cannot be used.
    """
    vectors = encode_catalog(shop, config.encoders, cache_dir=cache_dir, quarantine=quarantine)
    match, scores, _ = judge_listings(shop, vectors, config, cache_dir=cache_dir)
    content = item_content(vectors, scores, image_share=config.model.image_share)
    neighbors = {
        kind: top_neighbors(modality.vectors, config.neighbors, mask=modality.mask)
        for kind, modality in (("text", vectors.text), ("image", vectors.image))
        if modality.mask.any()
    }
    return Content(vectors=vectors, match=match, scores=scores, content=content, neighbors=neighbors)


def split_events(shop: Shop, split_file: Path | None, config: FitConfig) -> Split:
    """The split of a file, of the configuration, or else by time where every event has one and at random where not."""
    if split_file is not None:
        return file_split(shop.interactions, split_file)
    if config.split is not None:
        return split_by(shop.interactions, config.split, seed=config.seed)
    timed = shop.interactions.timestamp is not None and len(shop.interactions) > 0
    kind = SplitConfig(kind="per_user_time" if timed else "random")
    log.info("split chosen", kind=kind.kind, why="every event has a time" if timed else "events carry no time")
    return split_by(shop.interactions, kind, seed=config.seed)


def file_fingerprint(path: Path | None) -> str:
    """Hex sha256 of a file's content, "" for none.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
