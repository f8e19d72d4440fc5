"""Missing values of an attribute, filled from pictures and words, each with a confidence that means what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from features.attribute_kernel import KernelSource
from features.attribute_labels import Labels
from features.attribute_pool import Pool
from features.attribute_sources import NAMED_LOG_ODDS, Doubles, LinearHead, best_ridge, log_softmax, neighbor_scores
from features.match.calibration import expected_calibration_error
from features.section import Section

log = structlog.get_logger()


class AttributeConfig(Section):
    """How missing attribute values are predicted."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Nothing is filled below this confidence."""

    neighbors: PositiveInt = 15
    """Labeled items that are asked for an item's value."""

    folds: Annotated[int, Field(ge=2, le=20)] = 4
    """Parts of the labeled items; each is judged by what the others taught."""

    min_labels: Annotated[int, Field(ge=20)] = 40
    """With fewer labeled items nothing is learned from them: values are told by their texts alone, and the confidence
    is not calibrated."""

    min_count: PositiveInt = 2
    """A value that fewer items have is never filled, as nothing could be learned of it."""

    max_labels: PositiveInt = 20_000
    """More labeled items are sampled."""


@dataclass(frozen=True, eq=False)
class AttributePrediction:
    """The likeliest value of every item.

    Args:
        labels: what was known.
        value: int64 [n_items]; place in `labels.values`, -1 where the item has nothing to judge by.
        confidence: float64 [n_items], probability that it is right; NaN where there is none.
        source: object [n_items] of str; the sources that favor this value, such as "neighbors+head".
        report: by cross-validation on labeled items: `labeled`, `values`, `accuracy`, `majority` (of always saying
            the commonest), `coverage` and `filled_accuracy` at the threshold, `calibration_error`, `calibrated`, and
            `weights` by source. NaN where there are too few labels.
    """

    labels: Labels
    value: NDArray[np.int64]
    confidence: Doubles
    source: NDArray[np.object_]
    report: dict[str, Any]

    def missing(self, threshold: float) -> NDArray[np.int64]:
        """Rows to fill: items without a value that can be told one with enough confidence."""
        with np.errstate(invalid="ignore"):
            return np.flatnonzero(~self.labels.known & (self.confidence >= threshold))


def predict_attribute(
    labels: Labels,
    vectors: NDArray[np.float32],
    texts: dict[str, Doubles],
    config: AttributeConfig,
    *,
    colors: NDArray[np.float32] | None = None,
    shades: NDArray[np.float16] | None = None,
    seed: int,
) -> AttributePrediction:
    """Predict the value of every item.

    The sources' log-probabilities are added with weights >= 0 (a logarithmic opinion pool: Genest and Zidek, 1986)
    that are learned on labeled items judged by others, as is the calibration of the winner's odds.

    Args:
        labels: what is known.
        vectors: fused vectors of what may be looked at, float32 [n_items, d]; a zero row cannot be judged by labels.
        texts: source -> log-probabilities [n_items, n_values] that need no labels.
        config: settings.
        colors: of the pictures, float32 [n_items, d], zero for none; a further head learns from them. What was trained
            to name objects has learned to ignore much of color.
        shades: of what the pictures show, float16 [n_items, d_shades], zero for none; labeled items alike in vectors
            and shades are a further source.
        seed: of folds and samples.

    Raises:
        ValueError: there is no value to choose from, or neither enough labels nor a source that needs none.
    """
    if not labels.values:
        raise ValueError(f"{labels.name} must have values to choose from, it has none")
    seen: NDArray[np.bool_] = np.asarray(vectors.any(axis=1))
    judged = np.flatnonzero(labels.known & seen)
    if len(judged) > config.max_labels:
        judged = np.sort(np.random.default_rng(seed).choice(judged, config.max_labels, replace=False))
    learned = judged[labels.share[judged].any(axis=1)]
    if len(learned) < config.min_labels or len(labels.values) < 2:
        if not texts:
            raise ValueError(f"{labels.name} must have {config.min_labels} labeled items, it has {len(learned)}")
        return _by_texts(labels, seen, texts, config)
    fold = _folds(vectors[judged], config.folds, seed)
    inputs = {"head": vectors} | ({} if colors is None else {"colors": colors})
    ridges = {name: best_ridge(x[learned], labels.share[learned], seed=seed) for name, x in inputs.items()}
    k = config.neighbors
    compared = None if shades is None else KernelSource(vectors, shades, labels.share, learned, seed=seed)

    def asked(teachers: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, Doubles]:
        nothing = -math.log(len(labels.values))  # nothing is seen, nothing is said
        by_labels = {"neighbors": neighbor_scores(vectors, labels.share, teachers, rows, k=k)}
        for name, x in inputs.items():
            by_labels[name] = LinearHead(x[teachers], labels.share[teachers], ridge=ridges[name])(x[rows])
            by_labels[name][~x[rows].any(axis=1)] = nothing
        if compared is not None and shades is not None:
            by_labels["shades"] = compared(teachers, rows)
            by_labels["shades"][~shades[rows].any(axis=1)] = nothing
        return {name: scores[rows] for name, scores in texts.items()} | by_labels

    names = [*texts, "neighbors", *inputs, *(["shades"] if shades is not None else [])]
    held_out = np.zeros((len(names), len(judged), len(labels.values)))
    for number in range(config.folds):
        here = fold == number
        teachers = judged[~here][labels.share[judged[~here]].any(axis=1)]
        held_out[:, here] = np.stack([*asked(teachers, judged[here]).values()])
    pool = Pool.fit(held_out, labels.share[judged])
    report = _report(labels, judged, held_out, fold, config) | {
        "weights": dict(zip(names, np.round(pool.weights, 3).tolist(), strict=True))
    }
    log.info("attribute learned", attribute=labels.name, **{k: v for k, v in report.items() if k != "weights"})
    rows = np.flatnonzero(seen)
    scores = np.stack([*asked(learned, rows).values()])
    value, confidence = np.full(len(vectors), -1, dtype=np.int64), np.full(len(vectors), np.nan)
    value[rows], confidence[rows] = pool(scores)
    source = np.full(len(vectors), "", dtype=object)
    for place, row in enumerate(rows.tolist()):
        favor = [name for name, one in zip(names, scores[:, place], strict=True) if one.argmax() == value[row]]
        source[row] = "+".join(favor) or "all together"
    return AttributePrediction(labels, value, confidence, source, report)


def predict_from_words(
    labels: Labels,
    names: NDArray[np.bool_],
    vectors: NDArray[np.float32],
    texts: dict[str, Doubles],
    config: AttributeConfig,
    *,
    colors: NDArray[np.float32] | None = None,
    shades: NDArray[np.float16] | None = None,
    read: bool,
    seed: int,
) -> AttributePrediction:
    """Predict without labels: items whose words name one value teach it to the others.

    Args:
        labels: the values, and labels, if any, to measure the answers by; they are not learned from.
        names: the values that each item's words name, bool [n_items, n_values].
        vectors: as for `predict_attribute`.
        texts: likewise; not the words, which are what is learned from.
        config: settings.
        colors: likewise.
        shades: likewise.
        read: whether an item that names one value has it. Its confidence is the share of such items whose name the
            others' names would have told: "war" in the plot of a film is a poor name of its genre.
        seed: of folds and samples.

    Returns:
        The prediction; its report is measured by `labels` where these are known, else by the words. It has
        `taught_by_words`, the number of items, and `never_named`, the values that could not be learned.
    """
    alone = names.sum(axis=1) == 1
    taught = Labels(labels.name, labels.values, names * alone[:, None].astype(np.float64), alone)
    found = predict_attribute(taught, vectors, texts, config, colors=colors, shades=shades, seed=seed)
    value, confidence, source = found.value, found.confidence, found.source
    if read:
        value, source = np.where(alone, names.argmax(axis=1), value), np.where(alone, "words", source)
        agreed = found.report["accuracy"] if found.report["labeled"] else math.nan
        confidence = np.where(alone, np.fmin(1 / (1 + math.exp(-NAMED_LOG_ODDS)), agreed), confidence)
    report = {
        **found.report,
        "taught_by_words": int(alone.sum()),
        "never_named": [
            value for value, some in zip(labels.values, names[alone].any(axis=0).tolist(), strict=True) if not some
        ],
    }
    judged = np.flatnonzero(labels.known & (value >= 0))
    if len(judged):
        right = labels.share[judged, value[judged]] > 0
        report |= _measures(labels, judged, right, confidence[judged], config.threshold)
    return AttributePrediction(labels, value, confidence, source, report)


def _by_texts(
    labels: Labels, seen: NDArray[np.bool_], texts: dict[str, Doubles], config: AttributeConfig
) -> AttributePrediction:
    """Without labels: the sources count alike, and what labels there are tell how good the answers are."""
    pooled = log_softmax(np.sum([*texts.values()], axis=0))
    value = np.where(seen, pooled.argmax(axis=1), -1)
    confidence = np.where(seen, np.exp(pooled.max(axis=1)), np.nan)
    source = np.full(len(seen), "", dtype=object)
    source[seen] = "+".join(texts)
    judged = np.flatnonzero(labels.known & seen)
    right = labels.share[judged, value[judged]] > 0
    report = _measures(labels, judged, right, confidence[judged], config.threshold)
    return AttributePrediction(
        labels, value, confidence, source, report | {"calibrated": False, "weights": dict.fromkeys(texts, 1.0)}
    )


def _folds(vectors: NDArray[np.float32], folds: int, seed: int) -> NDArray[np.int64]:
    """Equal rows fall into one fold, so that no twin teaches its twin."""
    _, group = np.unique(vectors, axis=0, return_inverse=True)
    of_group = np.random.default_rng(seed).permutation(group.max() + 1) % folds
    return np.asarray(of_group[group], dtype=np.int64)


def _report(
    labels: Labels, judged: NDArray[np.int64], held_out: Doubles, fold: NDArray[np.int64], config: AttributeConfig
) -> dict[str, Any]:
    """Each fold judged with weights and calibration of the others."""
    right, confidence = np.zeros(len(judged), dtype=bool), np.zeros(len(judged))
    share = labels.share[judged]
    for number in range(config.folds):
        here = fold == number
        value, confidence[here] = Pool.fit(held_out[:, ~here], share[~here])(held_out[:, here])
        right[here] = share[here, value] > 0
    return _measures(labels, judged, right, confidence, config.threshold) | {"calibrated": True}


def _measures(
    labels: Labels, judged: NDArray[np.int64], right: NDArray[np.bool_], confidence: Doubles, threshold: float
) -> dict[str, Any]:
    filled = confidence >= threshold
    n = len(judged)
    return {
        "labeled": n,
        "values": len(labels.values),
        "accuracy": float(right.mean()) if n else math.nan,
        "majority": float((labels.share[judged] > 0).mean(axis=0).max()) if n else math.nan,
        "coverage": float(filled.mean()) if n else math.nan,
        "filled_accuracy": float(right[filled].mean()) if filled.any() else math.nan,
        "calibration_error": expected_calibration_error(confidence, right, np.ones(n)),
    }
