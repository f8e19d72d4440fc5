"""`recsys match fit`: read a shop, learn which words and pictures belong together, judge that on held-out listings."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import structlog
from numpy.typing import NDArray

from features.errors import InputError
from features.lettering.evidence import LetteringEvidence
from features.match.fine.config import KernelConfig, PixelConfig
from features.match.fine.evaluation import Judged, evaluate, spread
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import cross_evidence, fit_fine
from features.match.fine.labels import Label, labels_of
from features.match.fine.model import FineModel
from features.match.fine.pairs import read_pairs
from features.match.fine.parts import Parts, split_listings
from features.match.fine.views import Listings, read_listings
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from recsys.listing_scores import lettering_evidence
from recsys.match_config import MatchRunConfig
from recsys.match_report import write_match_report
from recsys.match_run import MatchRun

log = structlog.get_logger()


def match_fit(shop_dir: Path, out: Path, config: MatchRunConfig, *, cache_dir: Path) -> MatchRun:
    """Fit, judge and write `match.json`, `model.*`, `scores.parquet`, `report.html` and `quarantine.jsonl`.

    Args:
        shop_dir: a shop folder with pictures.
        out: where to leave everything; checkpoints lie in `out/runs` until everything is done.
        config: of everything.
        cache_dir: encoded words and pictures.

    Raises:
        InputError: the shop cannot be read, or has too few listings with words and a picture.
    """
    start = time.perf_counter()
    quarantine = Quarantine()
    shop = read_shop(shop_dir, quarantine=quarantine)
    listings = listings_of(shop, config, cache_dir=cache_dir, quarantine=quarantine)
    parts = split_listings(listings.pictures.content, listings.paired, config.parts)
    labels = labels_among(shop, parts.train)
    truth = labels_among(shop, np.arange(len(shop.catalog)))
    judged_pairs = read_pairs(
        shop, config.encoders, ids=config.model.needs_ids, cache_dir=cache_dir, quarantine=quarantine
    )
    quarantine.write(out / "quarantine.jsonl")
    runs: list[dict[str, Any]] = []
    first: tuple[FineModel, Judged] | None = None
    for number in range(config.seeds):
        seed = config.seed + number
        model = fit_fine(
            listings,
            labels,
            parts.train,
            parts.valid,
            config.model,
            seed=seed,
            judged=judged_pairs,
            checkpoints=out / "runs" / f"seed{seed}",
            encoders=config.encoders,
        )
        judged = evaluate(model, listings, parts.test, truth, seed=seed)
        log.info("judged", seed=seed, **_flat(judged.metrics))
        runs.append(judged.metrics)
        first = first or (model, judged)
    assert first is not None  # noqa: S101 - there is at least one seed
    model, judged = first
    middle = spread(runs)
    summary: dict[str, Any] = {
        "shop": shop.name,
        "fingerprint": shop.fingerprint,
        "parts": {
            "rule": str(config.parts),
            **{name: len(getattr(parts, name)) for name in ("train", "valid", "test")},
        },
        "test": _only(middle, "mean"),
        "spread": _only(middle, "std"),
        "seeds": {str(config.seed + number): metrics for number, metrics in enumerate(runs)},
        "blend": model.blend,
        "config": config.model_dump(mode="json"),
    }
    save_model(model, out)
    scores = score_table(shop, listings, model, parts=parts, labels=labels, config=config)
    evidence = lettering_evidence(shop, config.lettering, seed=config.seed, cache_dir=cache_dir)
    scores = with_lettering(scores, shop, evidence, prior=config.model.prior)
    scores.to_parquet(out / "scores.parquet", index=False)
    summary["seconds"] = round(time.perf_counter() - start, 1)
    run = MatchRun(shop, listings, parts, model, judged, summary)
    write_match_report(out / "report.html", run, scores)
    text = json.dumps(_jsonable(summary), indent=1, ensure_ascii=False)
    (out / "match.json").write_text(text, encoding="utf-8")  # last: where it lies, the rest is complete
    shutil.rmtree(out / "runs", ignore_errors=True)
    return run


def listings_of(
    shop: Shop, config: MatchRunConfig, *, cache_dir: Path, quarantine: Quarantine, texts: list[str] | None = None
) -> Listings:
    """A shop's listings, as closely as the configured model reads them.

    Raises:
        InputError: the shop has no pictures.
    """
    if shop.images is None:
        raise InputError(f"{shop.path} must hold pictures in images/ or images.zip to match words with, it has neither")
    return read_listings(
        shop,
        config.encoders,
        config.model.local,
        parts=config.model.architecture == "co_attention",
        pixels=config.model.needs_pixels,
        shades=config.model.kernel.listings > 0,
        ids=config.model.needs_ids,
        cache_dir=cache_dir,
        quarantine=quarantine,
        texts=texts,
    )


def labels_among(shop: Shop, rows: NDArray[np.int64]) -> tuple[Label, ...]:
    """The shop's attributes as classes; values that none of the rows has are not among them."""
    known = np.zeros(len(shop.catalog), dtype=bool)
    known[rows] = True
    return labels_of(shop.catalog.attributes, len(shop.catalog), known=known)


def score_table(
    shop: Shop,
    listings: Listings,
    model: FineModel,
    *,
    parts: Parts | None = None,
    labels: tuple[Label, ...] = (),
    config: MatchRunConfig | None = None,
) -> pd.DataFrame:
    """Agreement of words and picture a listing, in the order of the shop.

    Columns: item_id, title, score (probability that they belong together, NaN where a modality is missing), `learned`
    (whether the score is by a model that has learned this listing) and, of a fitted shop, part.
    """
    n = len(listings)
    score, learned = np.full(n, np.nan), np.zeros(n, dtype=bool)
    part = np.full(n, "", dtype=object)
    rows = np.flatnonzero(listings.paired)
    if config is not None and config.folds >= 2:
        attributes_aside = {"pixels": PixelConfig(), "kernel": KernelConfig(listings=0)}
        one = config.model.model_copy(update={"members": 1} | attributes_aside)  # one suffices for agreement
        score = cross_evidence(listings, labels, one, folds=config.folds, seed=config.seed, encoders=config.encoders)
    elif len(rows):
        views = model.views(listings, rows)
        texts, images = model.embed(views)
        score[rows] = model.calibrator(model.evidence(views, texts, images), prior=model.config.prior)
    if parts is not None:
        for name in ("train", "valid", "test"):
            part[getattr(parts, name)] = name
        learned = (part == "train") & ((config is None) or (config.folds < 2))
    columns = {"item_id": list(shop.catalog.items.ids), "title": shop.catalog.title, "score": score.astype(np.float32)}
    return pd.DataFrame(columns | {"learned": learned} | ({} if parts is None else {"part": part}))


def with_lettering(
    scores: pd.DataFrame, shop: Shop, evidence: LetteringEvidence | None, *, prior: float
) -> pd.DataFrame:
    """A table of scores that takes the lettering into account, with what was read: `lettering`, and `fits_better`, the
    item_id of the listing whose name fits it better ("" for none). The same table where no lettering was read.
    """
    if evidence is None:
        return scores
    after = MatchScores(scores["score"].to_numpy()).beside(evidence.log_odds, prior=prior)
    better = ["" if row < 0 else shop.catalog.items[row] for row in evidence.rival.tolist()]
    return scores.assign(score=after.score, lettering=evidence.spelled, fits_better=better)


def read_match_model(folder: Path) -> tuple[FineModel, MatchRunConfig]:
    """A model that `recsys match fit` left, and its configuration.

    Raises:
        InputError: it is incomplete or broken.
    """
    model = load_model(folder)
    try:
        told = json.loads((folder / "match.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} must hold a finished match model (match.json), {error}") from error
    return model, MatchRunConfig.model_validate(told)


def _only(middle: dict[str, Any], which: str) -> dict[str, Any]:
    return {
        name: value[which] if set(value) == {"mean", "std"} else _only(value, which) for name, value in middle.items()
    }


def _flat(metrics: dict[str, Any]) -> dict[str, float]:
    return {
        f"{name}.{inner}" if isinstance(value, dict) else name: round(float(number), 4)
        for name, value in metrics.items()
        for inner, number in (value.items() if isinstance(value, dict) else [("", value)])
        if not isinstance(number, dict) and inner in ("", "recall@1", "recall@10", "mrr", "category", "color")
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
