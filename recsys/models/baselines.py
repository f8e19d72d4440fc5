"""The baselines of `recsys fit`, each of which chooses among its own grid on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recsys.baselines.config import BaselineName, BaselinesConfig
from recsys.baselines.fit import fit_baseline
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge, Part
from recsys.models.model import Fit, Job, Model
from recsys.scorer import Scorer

GRIDS: dict[BaselineName, dict[str, str]] = {
    "item_knn": {"weighting": "knn_weightings", "neighbors": "knn_neighbors"},
    "als": {"alpha": "als_alphas", "penalty": "als_penalties", "factors": "als_factors"},
    "bpr": {"learning_rate": "bpr_rates", "regularization": "bpr_penalties", "factors": "bpr_factors"},
    "content": {"image_share": "image_shares"},
}
"""What was chosen → the grid it was chosen from."""
PASSES: dict[BaselineName, str] = {"als": "als_iterations", "bpr": "bpr_max_passes"}
"""The setting that bounds the passes, of which the best count is kept."""
SUMMARIES: dict[BaselineName, str] = {
    "random": "lists by chance",
    "popularity": "what most users have",
    "item_knn": "item neighbors, cosine or BM25 (Sarwar et al. 2001)",
    "als": "alternating least squares (Hu, Koren & Volinsky 2008), as `implicit` computes it",
    "bpr": "matrix factorization by BPR (Rendle et al. 2009), as `implicit` computes it",
    "content": "items that resemble the user's own",
}
USES: dict[BaselineName, frozenset[Part]] = {"content": frozenset({"text", "image", "audio"})}


def _fit(name: BaselineName) -> Fit[BaselinesConfig]:
    def fit(split: Split, known: Knowledge, config: BaselinesConfig, job: Job) -> Scorer:
        return fit_baseline(name, split, known.pair(), config, seed=job.seed)

    return fit


def _settle(name: BaselineName) -> Callable[[BaselinesConfig, Mapping[str, object]], BaselinesConfig]:
    """Grids of the one value that was chosen (but ALS always by pairs, whatever confidence it chose)."""

    def settle(config: BaselinesConfig, params: Mapping[str, object]) -> BaselinesConfig:
        changes: dict[str, object] = {
            grid: (params[chosen],) for chosen, grid in GRIDS.get(name, {}).items() if chosen in params
        }
        if name in PASSES and "iterations" in params:
            changes[PASSES[name]] = params["iterations"]
        return BaselinesConfig.model_validate(config.model_dump() | changes)

    return settle


MODELS = tuple(
    Model(
        name,
        SUMMARIES[name],
        BaselinesConfig(),
        _fit(name),
        uses=USES.get(name, frozenset()),
        needs_content=name == "content",
        seeded=name in ("random", "als", "bpr"),
        settle=_settle(name),
    )
    for name in SUMMARIES
)
