"""What a fine match model is worth on listings it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.deviation import sample_deviation
from features.match.calibration import auroc, expected_calibration_error
from features.match.fine.fit import own_and_foreign, search_orders
from features.match.fine.labels import Label
from features.match.fine.model import FineModel
from features.match.fine.ranking import metrics_at, places, reordered
from features.match.fine.views import Listings

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """Everything a report is made of.

    Args:
        rows: int64 [n]; the listings judged.
        metrics: JSON-able, as `match.json` has it under "test".
        own: probability that each listing's own words and picture belong together, at even odds, [n].
        foreign: likewise of words with foreign pictures.
        texts: in the shared space, float32 [n, dim].
        images: likewise.
        likeness: [n, n], words by pictures.
    """

    rows: NDArray[np.int64]
    metrics: dict[str, Any]
    own: Floats
    foreign: Floats
    texts: NDArray[np.float32]
    images: NDArray[np.float32]
    likeness: Floats = field(repr=False)


def evaluate(
    model: FineModel, listings: Listings, rows: NDArray[np.int64], labels: tuple[Label, ...], *, seed: int
) -> Judged:
    """Rank all judged listings for each other, tell right from foreign pictures, and tell attributes from pictures.

    Args:
        model: which has not learned the rows.
        listings: of the shop.
        rows: int64 [n]; the listings to judge.
        labels: the true attributes.
        seed: of the foreign pictures.
    """
    views = model.views(listings, rows)
    texts, images = model.embed(views)
    likeness = model.likeness(views, texts, images)
    metrics: dict[str, Any] = {
        "text_to_image": metrics_at(places(likeness)),
        "image_to_text": metrics_at(places(likeness.T)),
    }
    if model.reranks:
        metrics["towers_alone"] = {name: metrics[name] for name in ("text_to_image", "image_to_text")}
        for name, (place, order, logits, fused) in search_orders(model, views, texts, images).items():
            metrics[name] = metrics_at(reordered(place, order, logits + model.blend * fused))
    own, foreign = own_and_foreign(model, views, texts, images, np.random.default_rng(seed))
    promised, promised_foreign = model.calibrator(own), model.calibrator(foreign)
    metrics["mismatch_auroc"] = auroc(own, foreign)
    metrics |= at_threshold(promised, promised_foreign)
    metrics["accuracy"] = accuracies(model, listings, rows, labels)
    return Judged(rows, metrics, promised, promised_foreign, texts, images, likeness)


def at_threshold(own: Floats, foreign: Floats, *, threshold: float = 0.5) -> dict[str, Any]:
    """How well probabilities tell own from foreign pictures, both counting alike in total.

    Args:
        own: probabilities of right pairs, [n].
        foreign: probabilities of wrong pairs, [m].
        threshold: from which a pair is taken to be right.

    Returns:
        "calibration_error" (expected, 10 bins), "brier", "threshold", "average_precision" (area under precision over
        recall), and "decision" with accuracy, precision, recall and f1; NaN where a side is empty.
    """
    if not len(own) or not len(foreign):
        nothing = dict.fromkeys(("accuracy", "precision", "recall", "f1"), math.nan)
        return dict.fromkeys(("calibration_error", "brier", "average_precision"), math.nan) | {"decision": nothing}
    probability = np.concatenate([own, foreign])
    right = np.concatenate([np.ones(len(own), dtype=bool), np.zeros(len(foreign), dtype=bool)])
    weight = np.where(right, 0.5 / len(own), 0.5 / len(foreign))
    hit, false = float((own >= threshold).mean()), float((foreign >= threshold).mean())
    precision = hit / (hit + false) if hit + false else math.nan
    precisions, recalls = precision_over_recall(own, foreign)
    return {
        "calibration_error": expected_calibration_error(probability, right, weight),
        "brier": float((weight * (probability - right) ** 2).sum()),
        "threshold": threshold,
        "average_precision": float((np.diff(recalls, prepend=0.0) * precisions).sum()),
        "decision": {
            "accuracy": (hit + 1 - false) / 2,
            "precision": precision,
            "recall": hit,
            "f1": 2 * precision * hit / (precision + hit) if precision + hit > 0 else math.nan,
        },
    }


def precision_over_recall(own: Floats, foreign: Floats) -> tuple[Floats, Floats]:
    """Precision and recall at each probability that occurs, falling; both sides count alike in total."""
    cuts = np.unique(np.concatenate([own, foreign]))[::-1]
    hit = 1 - np.searchsorted(np.sort(own), cuts, side="left") / len(own)
    false = 1 - np.searchsorted(np.sort(foreign), cuts, side="left") / len(foreign)
    return np.asarray(hit / (hit + false)), np.asarray(hit)


def accuracies(
    model: FineModel, listings: Listings, rows: NDArray[np.int64], labels: tuple[Label, ...]
) -> dict[str, float]:
    """Share of listings whose attribute is told right from the picture alone, the words hidden.

    A value that the model has never seen counts as told wrong. "category" is the second level of a category path, where
    kinds begin to matter to a buyer; NaN for attributes that none of the rows has.
    """
    told = model.told(model.views(listings, rows))
    true = {label.name: label for label in labels}
    out: dict[str, float] = {}
    for (name, values), probability in zip(model.labels, told, strict=True):
        if name not in true:
            continue
        named = np.array([*true[name].values, ""], dtype=object)[true[name].of[rows]]
        has = named != ""
        chosen = np.array(values, dtype=object)[probability.argmax(axis=1)]
        out[name] = float((chosen == named)[has].mean()) if has.any() else math.nan
    if "category 2" in out:
        out = {"category": out["category 2"], **out}
    return out


def spread(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (of a sample; NaN for one run) of each number in nested metrics of several seeds."""
    out: dict[str, Any] = {}
    for name, value in runs[0].items():
        if isinstance(value, dict):
            out[name] = spread([run[name] for run in runs])
        else:
            numbers = np.array([run[name] for run in runs], dtype=np.float64)
            out[name] = {"mean": float(numbers.mean()), "std": float(sample_deviation(numbers))}
    return out
