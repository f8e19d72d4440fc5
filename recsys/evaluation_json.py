"""Results of all models as one piece of standard JSON data: what `evaluation.json` holds and the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.bootstrap import bootstrap_means, interval
from recsys.evaluation import Evaluation, EvaluationConfig, Side
from recsys.held_out import Split
from recsys.scorer import Scorer

PROTOCOL = """\
Every model learns from the training events alone; what was tuned was chosen by recall@20 on the validation pairs, and \
no model is fitted again on training and validation together. All items are ranked for each user with held-out pairs, \
except the user's training items and, on test, the user's validation items. Equal scores are ordered at random, \
differently for each user. Averages are over users; intervals are 95% percentile bootstrap intervals over users. Cold \
users have at most {cold} training items; cold items have no training event and are ranked against the whole catalog, \
or, as "among cold", against each other."""
"""How the numbers were made, in words."""

SERVED = """ "served" is what a feed shows, candidates in the order of the learned ranker, asked at the moment of each \
user's first held-out pair; "gnn" is the order by taste and prior behind it."""


def evaluation_json(
    split: Split,
    results: Mapping[str, Mapping[Side, Evaluation]],
    *,
    scorers: Mapping[str, Scorer] | None = None,
    fit_s: Mapping[str, float] | None = None,
    params: Mapping[str, Mapping[str, object]] | None = None,
    config: EvaluationConfig | None = None,
) -> dict[str, Any]:
    """All models' results as standard JSON data: NaN becomes null.

    Args:
        split: what they were judged on.
        results: model → side → evaluation. The first model is the one the others are compared with.
        scorers: model → scorer, for its chosen parameters and seconds of fitting.
        fit_s: seconds of fitting where a scorer does not know them.
        params: parameters where a scorer does not know them.
        config: of the evaluations.

    Returns:
        `{"split": name, "split_summary": counts, "protocol": text, "config": {...}, "models": {model: {"test": {metric:
        value}, "valid": ..., "intervals": {side: {metric: [low, high]}}, "segments": {side: {segment: {metric: value,
        "n_users": n}}}, "segment_intervals": ..., "n_users": {side: n}, "n_pairs": ..., "notes": {side: [...]},
        "params": {...}, "fit_s": s}}, "lead": {"of": first model, "over": {model: {metric: [difference, low,
        high]}}}}`; a lead is the first model's test average less the other's, over the same resampled users.
    """
    config = config or EvaluationConfig()
    models: dict[str, Any] = {}
    for name, sides in results.items():
        scorer = (scorers or {}).get(name)
        models[name] = {
            **{side: evaluation.metrics for side, evaluation in sides.items()},
            **{
                part: {side: getattr(evaluation, part) for side, evaluation in sides.items()}
                for part in ("intervals", "segments", "segment_intervals", "n_users", "n_pairs", "notes")
            },
            "params": dict((params or {}).get(name, scorer.params if scorer else {})),
            "fit_s": (fit_s or {}).get(name, scorer.fit_s if scorer else float("nan")),
        }
    first = next(iter(results), None)
    over = {
        name: _lead(results[first]["test"], sides["test"], config)
        for name, sides in results.items()
        if first is not None and name != first and "test" in sides and "test" in results[first]
    }
    written: dict[str, Any] = plain(
        {
            "split": split.name,
            "split_summary": split.summary(),
            "protocol": PROTOCOL.format(cold=config.cold_user_max_events) + (SERVED if "served" in results else ""),
            "config": config.model_dump(),
            "models": models,
            "lead": {"of": first, "over": over},
        }
    )
    return written


def _lead(one: Evaluation, other: Evaluation, config: EvaluationConfig) -> dict[str, tuple[float, float, float]]:
    names = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in config.ks]
    if len(one.user_idx) == 0 or not np.array_equal(one.user_idx, other.user_idx):
        return dict.fromkeys(names, (float("nan"), float("nan"), float("nan")))
    gap = np.stack([one.per_user[name] - other.per_user[name] for name in names], axis=1)
    means = bootstrap_means(gap, samples=config.bootstrap_samples, seed=config.seed)
    return {name: (float(gap[:, i].mean()), *interval(means[:, i])) for i, name in enumerate(names)}


def plain(value: Any) -> Any:
    """The same as JSON data: mappings with text keys, lists, and null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
