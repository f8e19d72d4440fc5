"""From a shop folder to a bundle: the whole training, step by step, each step resumable."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from features.catalog import Catalog
from features.pictures.fetched import FetchedImages
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from features.shop.tables import find_table
from graph.from_shop import graph_of_shop
from graph.knowledge_graph import KnowledgeGraph
from recsys.appeal.files import ABOUT, read_counters
from recsys.appeal.then import standing_then
from recsys.bundle_writer import write_bundle
from recsys.compare import compare, gnn_scorer, judge
from recsys.config import FitConfig
from recsys.networks import export_networks
from recsys.parallel import team
from recsys.prepare import Prepared, file_fingerprint, prepare
from recsys.ranking.learn import learn_ranker
from recsys.ranking.linear import LinearRanker
from recsys.ranking.lists import training_standing
from recsys.ranking.served import served_by
from recsys.ranking.standing import Standing, came
from recsys.run_folder import RunFolder
from recsys.similar import co_liked, similar_lists
from recsys.training import FittedGNN, fit_gnn

log = structlog.get_logger()


@dataclass(frozen=True)
class FitSummary:
    """What a fit did.

    Args:
        folder: where everything lies.
        evaluation: content of `evaluation.json`.
        up_to_date: True where the folder already held exactly this and nothing was done.
        seconds: seconds a step, by name.
        peak_bytes: most memory the process held.
    """

    folder: RunFolder
    evaluation: dict[str, Any]
    up_to_date: bool
    seconds: dict[str, float]
    peak_bytes: int


def fit(
    shop_dir: Path,
    *,
    out: Path,
    split_file: Path | None = None,
    config: FitConfig | None = None,
    cache_dir: Path,
    ctr: Path | None = None,
) -> FitSummary:
    """Train on a shop and leave a bundle, an evaluation and a report.

    A second call with the same shop, split and configuration finds everything done and does nothing; an interrupted
    one goes on from the encoder cache and the last checkpoint. What is served was trained on the training side only;
    the other sides are used to choose when to stop and to report.

    Args:
        shop_dir: the shop folder.
        out: where to leave bundle/, evaluation.json, report.html, quarantine.jsonl and runs/.
        split_file: which pairs are on which side; None splits as configured.
        config: of every step.
        cache_dir: encoded words and pictures are kept here.
        ctr: folder of counters that `recsys log counters` left, for the ranker; None where nobody counted.

    Raises:
        InputError: the shop, the split file, the counters or the folder cannot be used.
    """
    config = config or FitConfig()
    folder = RunFolder(out)
    clock = Clock()
    quarantine = Quarantine()
    shop = read_shop(shop_dir, quarantine=quarantine, fetched=FetchedImages.of_cache(cache_dir))
    request = {
        "shop": str(shop_dir.resolve()),
        "shop_fingerprint": shop.fingerprint,
        "split_file": str(split_file.resolve()) if split_file is not None else None,
        "split_fingerprint": file_fingerprint(split_file),
        "counters": None if ctr is None else str(ctr.resolve()),
        "counters_fingerprint": file_fingerprint(None if ctr is None else ctr / ABOUT),
        "graph_fingerprints": [file_fingerprint(find_table(shop_dir, name)) for name in ("triples", "reviews")],
        "config": config.model_dump(mode="json"),
        "version": version("recsys"),
    }
    history = None if ctr is None else read_counters(ctr)
    clock.lap("read")
    if team().agree(folder.done(request)):
        return FitSummary(folder, folder.read_evaluation(), True, clock.seconds, peak_bytes())
    prepared = prepare(shop, split_file=split_file, config=config, cache_dir=cache_dir, quarantine=quarantine)
    clock.lap("prepare")
    folder.remember(request)
    team().agree(0)
    graph = _graph(shop, prepared, config, cache_dir)
    prepared.quarantine.write(folder.quarantine)
    fitted, params = train(graph, prepared, config, folder)
    clock.lap("train")
    training = {"history": fitted.history, "params": params, "fit_s": clock.seconds["train"]}
    scorer = gnn_scorer(fitted.user_embeddings, fitted.item_embeddings, training)
    judged = judge(scorer, prepared.split, config.evaluation)
    metrics: dict[str, Any] = {"valid": judged["valid"].metrics, "test": judged["test"].metrics, "training": training}
    item_vectors = np.append(fitted.item_directions, fitted.item_embeddings[:, -1:], axis=1)
    users, then = (
        fitted.user_embeddings[:, :-1],
        standing_then(training_standing(prepared), shop.catalog.items, history),
    )
    ranker, metrics["ranker"] = learn_ranker(
        prepared, item_vectors, users, config.ranking, seed=config.seed, standing_at=then
    )
    clock.lap("rank")
    networks = export_networks(prepared, fitted, config, folder=folder.runs / "onnx", cache_dir=cache_dir)
    since = Standing.since(came(len(shop.catalog), shop.catalog.attributes, shop.interactions))
    now = standing_then(since, shop.catalog.items, history)(np.inf)
    bundle_of(
        prepared,
        graph,
        fitted,
        config,
        folder,
        networks=networks,
        metrics=metrics,
        request=request,
        ranker=ranker,
        standing=now if now.known else None,
    )
    clock.lap("bundle")
    served = served_by(ranker, prepared, item_vectors, users, then)
    evaluation = compare(prepared, scorer, judged, config, folder, history=fitted.history, served=served)
    clock.lap("evaluate")
    folder.remember({**request, "done": True})
    return FitSummary(folder, evaluation, False, clock.seconds, peak_bytes())


def assist(
    shop_dir: Path, *, out: Path, split_file: Path | None = None, config: FitConfig | None = None, cache_dir: Path
) -> None:
    """Take part in the training of the process that leads the team and runs `fit` with the same arguments.

    What it encodes and matches is waited for, and then read from the cache.
    """
    config = config or FitConfig()
    quarantine = Quarantine()
    shop = read_shop(shop_dir, quarantine=quarantine, fetched=FetchedImages.of_cache(cache_dir))
    if team().agree(0):  # everything is done
        return
    team().agree(0)
    prepared = prepare(shop, split_file=split_file, config=config, cache_dir=cache_dir, quarantine=quarantine)
    train(_graph(shop, prepared, config, cache_dir), prepared, config, RunFolder(out))


def _graph(shop: Shop, prepared: Prepared, config: FitConfig, cache_dir: Path) -> KnowledgeGraph:
    return graph_of_shop(
        shop,
        prepared.split.train,
        prepared.neighbors,
        config.graph,
        trust=prepared.scores,
        content=prepared.content,
        encoders=config.encoders,
        cache_dir=cache_dir,
        quarantine=prepared.quarantine,
    )


def train(
    graph: KnowledgeGraph, prepared: Prepared, config: FitConfig, folder: RunFolder
) -> tuple[FittedGNN, dict[str, Any]]:
    """Learn the embeddings on the knowledge graph of the training side.

    Returns:
        The fit of the setting that is best on validation, and that setting.
    """
    log.info("graph built", **graph.summary())
    choosing = len(prepared.split.train) and len(prepared.split.valid)
    alternatives = config.alternatives if choosing else ()
    tried = []
    for model, training in [
        (config.model, config.train),
        *(one.applied(config.model, config.train) for one in alternatives),
    ]:
        fitted = fit_gnn(
            graph,
            content=prepared.content,
            train=prepared.split.train,
            valid=prepared.split.valid,
            config=training,
            model_config=model,
            run_dir=folder.runs,
            seed=config.seed,
        )
        params = {
            "item_prior": model.item_prior,
            "temperature": training.temperature,
            "learning_rate": training.learning_rate,
            "hidden_share": training.hidden_share,
            "content_dropout": training.content_dropout,
            "best_epoch": fitted.best_epoch,
            "valid_recall@20": fitted.best_recall,
        }
        log.info("setting tried", **params)
        tried.append((fitted, params))
    fitted, params = max(tried, key=lambda pair: pair[0].best_recall) if choosing else tried[0]
    return fitted, {**params, "tried": len(tried)}


def bundle_of(
    prepared: Prepared,
    graph: KnowledgeGraph,
    fitted: FittedGNN,
    config: FitConfig,
    folder: RunFolder,
    *,
    networks: dict[str, bytes | Path],
    metrics: dict[str, Any],
    request: dict[str, Any],
    ranker: LinearRanker | None,
    standing: Standing | None,
) -> Path:
    """Write what serving needs; what users have seen and what is popular is told by all of the shop's events."""
    shop, events = prepared.shop, prepared.shop.interactions
    likes = events.matrix(binary=True)
    similar_idx, similar_score = similar_lists(
        fitted.item_directions, prepared.content, prepared.scores.score, k=config.similar
    )
    co_idx, co_count = co_liked(likes)
    return write_bundle(
        folder.bundle,
        items=shop.catalog.items,
        users=events.users,
        item_embeddings=fitted.item_directions,
        item_prior=fitted.item_embeddings[:, -1],
        user_embeddings=fitted.user_embeddings[:, :-1],
        text_vectors=prepared.vectors.text.vectors,
        image_vectors=prepared.vectors.image.vectors,
        popularity=np.asarray(likes.sum(axis=0), dtype=np.float32).ravel(),
        match_scores=prepared.scores.score,
        display=displays(shop.catalog),
        seen=events.met(),
        similar_idx=similar_idx,
        similar_score=similar_score,
        neighbors={kind: (near.idx, near.score) for kind, near in prepared.neighbors.items()},
        co_idx=co_idx,
        co_count=co_count,
        config=config.model_dump(mode="json"),
        metrics=metrics,
        onnx=networks,
        cold=(fitted.cold, graph.item_values),
        search=config.search,
        index_storage=config.index_storage,
        ranker=ranker,
        standing=standing,
        fingerprints={"shop": request["shop_fingerprint"], "split": request["split_fingerprint"]},
    )


def displays(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """What a page shows of each item, in row order."""
    attributes: list[dict[str, list[str]]] = [{} for _ in range(len(catalog))]
    facts = catalog.attributes
    for row, name, value in zip(facts.row_idx.tolist(), facts.name.tolist(), facts.value.tolist(), strict=True):
        attributes[row].setdefault(name, []).append(value)
    for row, item_id in enumerate(catalog.items):
        price = float(catalog.price[row])
        yield {
            "item_id": item_id,
            "title": catalog.title[row],
            "description": catalog.description[row],
            "price": price if np.isfinite(price) else None,
            "available": bool(catalog.available[row]),
            "image": catalog.image[row] or None,
            "attributes": attributes[row],
        }


class Clock:
    """Seconds between one step and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """What went by since the last lap belongs to `step`."""
        now = time.perf_counter()
        self.seconds[step] = round(now - self._last, 1)
        self._last = now


def peak_bytes() -> int:
    """Most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
