"""Content alone: items whose words and picture resemble those of the user's training items.

With v_i the fused vector of item i (length 1, or 0 where nothing is known of it),

    profile(u) = sum_{i in training of u} w_ui v_i / |.|,      score(u, i) = <profile(u), v_i>,

the cosine of profile and item; w_ui is the pair's summed event weight. It is the yardstick for cold items.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.encoders.embeddings import ItemVectors
from features.fusion import fuse
from features.vectors.rows import unit_rows
from recsys.baselines.config import BaselinesConfig
from recsys.baselines.tuning import Search
from recsys.held_out import Split
from recsys.scorer import EmbeddingScorer


def fit_content(split: Split, vectors: ItemVectors, config: BaselinesConfig, *, seed: int) -> EmbeddingScorer:
    """Choose the picture's share on validation; a modality that no item has is left out without a choice.

    Raises:
        ValueError: the vectors count other items than the split.
    """
    if len(vectors) != len(split.train.items):
        raise ValueError(f"vectors must have a row an item ({len(split.train.items)}), they have {len(vectors)}")
    search = Search[EmbeddingScorer]("content", split, config, seed=seed, knows_new_items=True)
    weights = split.train.matrix()
    shares = config.image_shares if vectors.text.mask.any() and vectors.image.mask.any() else (0.5,)
    for share in shares:
        if not search.may_try():
            continue
        fused = fuse(vectors.text.vectors, vectors.image.vectors, image_share=share)
        profiles = np.asarray(weights @ fused, dtype=np.float32)
        search.offer({"image_share": share}, EmbeddingScorer("content", unit_rows(profiles), fused))
    return replace(search.chosen, params=search.report(), fit_s=search.seconds)
