"""All baselines of a split, each tuned on validation."""

from __future__ import annotations

from collections.abc import Iterator

from features.encoders.embeddings import ItemVectors
from features.progress import bar
from recsys.baselines.als import fit_als
from recsys.baselines.bpr import fit_bpr
from recsys.baselines.config import BaselineName, BaselinesConfig
from recsys.baselines.content import fit_content
from recsys.baselines.item_knn import fit_item_knn
from recsys.baselines.popularity import fit_popularity
from recsys.baselines.random import RandomScorer
from recsys.held_out import Split
from recsys.scorer import Scorer


def fit_baselines(
    split: Split, *, vectors: ItemVectors | None = None, config: BaselinesConfig | None = None, seed: int = 0
) -> Iterator[Scorer]:
    """Fit the configured baselines on the training side.

    Args:
        split: what to learn from, and whose validation side decides; its test side is not looked at.
        vectors: for the content baseline, which is left out where not given.
        config: models and grids.
        seed: of random choices.

    Yields:
        Scorers in the configured order, each fitted when it is asked for; `params` says what was chosen, `fit_s` how
        long it took.
    """
    config = config or BaselinesConfig()
    names = [name for name in config.models if name != "content" or vectors is not None]
    with bar("baselines", total=len(names)) as progress:
        for name in names:
            progress.note(name)
            yield fit_baseline(name, split, vectors, config, seed=seed)
            progress.advance()


def fit_baseline(
    name: BaselineName, split: Split, vectors: ItemVectors | None, config: BaselinesConfig, *, seed: int
) -> Scorer:
    """Fit one baseline, as `fit_baselines`.

    Raises:
        ValueError: the content baseline is asked for without vectors.
    """
    if name == "random":
        return RandomScorer(len(split.train.items), seed=seed)
    if name == "popularity":
        return fit_popularity(split)
    if name == "item_knn":
        return fit_item_knn(split, config, seed=seed)
    if name == "als":
        return fit_als(split, config, seed=seed)
    if name == "bpr":
        return fit_bpr(split, config, seed=seed)
    if vectors is None:
        raise ValueError("the content baseline needs the items' vectors")
    return fit_content(split, vectors, config, seed=seed)
