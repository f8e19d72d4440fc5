"""From a shop folder to a bundle: the whole training, step by step, each step resumable."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from features.locks import alone_in
from features.pictures.fetched import FetchedImages
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from features.shop.tables import find_table
from graph.from_shop import graph_of_shop
from graph.knowledge_graph import KnowledgeGraph
from recsys.appeal.files import ABOUT, read_counters
from recsys.appeal.then import standing_then
from recsys.clock import Clock, peak_bytes
from recsys.compare import compare, gnn_scorer, judge
from recsys.config import FitConfig
from recsys.fit_bundle import bundle_of
from recsys.networks import export_networks
from recsys.parallel import team
from recsys.prepare import Prepared, file_fingerprint, prepare
from recsys.ranking.learn import learn_ranker
from recsys.ranking.lists import training_standing
from recsys.ranking.served import served_by
from recsys.ranking.standing import Standing, came
from recsys.run_folder import RunFolder
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
    with ExitStack() as held:
        if not folder.done(request):  # of two fits into one folder the second waits, and then finds all done
            held.enter_context(alone_in(folder.runs, doing="fits into the same folder"))
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
        metrics: dict[str, Any] = {
            "valid": judged["valid"].metrics,
            "test": judged["test"].metrics,
            "training": training,
        }
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
            graph_config=config.graph,
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
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in params.items()}
        log.info("setting tried", **rounded)
        tried.append((fitted, params))
    fitted, params = max(tried, key=lambda pair: pair[0].best_recall) if choosing else tried[0]
    return fitted, {**params, "tried": len(tried)}
