"""The GNN beside every baseline on one split: one table as JSON, one page with plots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from features.shop.summary import summarize
from recsys.baselines.fit import fit_baselines
from recsys.config import FitConfig
from recsys.evaluation import Evaluation, EvaluationConfig, Side, evaluate
from recsys.evaluation_json import evaluation_json
from recsys.held_out import Split
from recsys.prepare import Prepared
from recsys.report import write_report
from recsys.run_folder import RunFolder, write_atomically
from recsys.scorer import EmbeddingScorer, Scorer

log = structlog.get_logger()


def gnn_scorer(
    user_embeddings: NDArray[np.float32], item_embeddings: NDArray[np.float32], training: Mapping[str, Any]
) -> EmbeddingScorer:
    """The GNN as a model among others.

    Args:
        user_embeddings: float32 [n_users, dim].
        item_embeddings: float32 [n_items, dim]; score = dot product.
        training: "params", what was chosen for it, and "fit_s".
    """
    return EmbeddingScorer("gnn", user_embeddings, item_embeddings, params=training["params"], fit_s=training["fit_s"])


def judge(scorer: Scorer, split: Split, config: EvaluationConfig) -> dict[Side, Evaluation]:
    """One model on validation and on test."""
    sides: tuple[Side, Side] = ("valid", "test")
    judged = {side: evaluate(scorer, split, on=side, config=config) for side in sides}
    log.info("judged", model=scorer.name, test_recall_20=round(judged["test"].metrics.get("recall@20", math.nan), 4))
    return judged


def compare(
    prepared: Prepared,
    gnn: Scorer,
    judged: dict[Side, Evaluation],
    config: FitConfig,
    folder: RunFolder,
    *,
    history: list[dict[str, float]],
    served: Mapping[Side, Scorer] | None = None,
) -> dict[str, Any]:
    """Fit the baselines, judge them beside the GNN, and leave `evaluation.json` and `report.html`.

    Args:
        prepared: the shop and its split.
        gnn: the trained GNN's scorer.
        judged: the GNN's own evaluations, a side.
        config: of the baselines and of the evaluation.
        folder: where to leave the files.
        history: the GNN's learning curve.
        served: what a feed shows on each side, where a ranker orders it; see `recsys/ranking/served.py`.

    Returns:
        What `evaluation.json` holds; see `recsys.evaluation_json.evaluation_json`.
    """
    results: dict[str, dict[Side, Evaluation]] = {gnn.name: judged}
    scorers: dict[str, Scorer] = {gnn.name: gnn}
    if served:
        scorers["served"] = served["test"]
        results["served"] = {
            side: evaluate(scorer, prepared.split, on=side, config=config.evaluation) for side, scorer in served.items()
        }
    baselines = fit_baselines(prepared.split, vectors=prepared.vectors, config=config.baselines, seed=config.seed)
    for scorer in baselines:
        scorers[scorer.name] = scorer
        results[scorer.name] = judge(scorer, prepared.split, config.evaluation)
    evaluation = evaluation_json(prepared.split, results, scorers=scorers, config=config.evaluation)
    write_atomically(folder.evaluation, orjson.dumps(evaluation, option=orjson.OPT_INDENT_2))
    write_report(
        folder.report,
        evaluation,
        training_history=history,
        match_report={**prepared.match.report, "scores": prepared.scores.score.tolist()},
        shop_summary=summarize(prepared.shop, prepared.quarantine),
    )
    return evaluation
