"""Judge what an earlier fit left, with the evaluation's own settings changed if asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import InputError
from features.pictures.fetched import FetchedImages
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.appeal.files import ABOUT, read_counters
from recsys.appeal.then import standing_then
from recsys.bundle import Bundle
from recsys.compare import compare, gnn_scorer, judge
from recsys.config import with_settings
from recsys.prepare import file_fingerprint, prepare
from recsys.ranking.lists import training_standing
from recsys.ranking.served import served_by
from recsys.run_folder import RunFolder

FREE = ("evaluation.", "baselines.")
"""Settings that do not decide what the bundle is."""


def evaluate_run(folder: RunFolder, overrides: Iterable[str], *, cache_dir: Path) -> dict[str, Any]:
    """Judge a fitted bundle and the baselines, and write evaluation.json and report.html anew.

    Args:
        folder: where the fit left its bundle.
        overrides: settings of the evaluation or the baselines.
        cache_dir: encoded words and pictures.

    Returns:
        What evaluation.json holds.

    Raises:
        InputError: nothing was fitted there, the shop, the split or the configuration differs from the bundle's, or
            a setting would need a new fit.
    """
    overrides = list(overrides)
    for override in overrides:
        if not override.startswith(FREE):
            raise InputError(f"{override!r} would make another bundle: give it to recsys fit instead")
    request = folder.request()
    bundle = Bundle.open(folder.bundle)
    config = with_settings(request["config"], overrides, where=str(folder.path))
    split_file = Path(request["split_file"]) if request["split_file"] else None
    quarantine = Quarantine()
    shop = read_shop(Path(request["shop"]), quarantine=quarantine, fetched=FetchedImages.of_cache(cache_dir))
    now = {"shop": shop.fingerprint, "split": file_fingerprint(split_file)}
    if now != bundle.manifest.fingerprints or request["config"] != bundle.manifest.config:
        raise InputError(
            f"{folder.path}: the shop, the split or the configuration is not what its bundle was fitted with, so what "
            "was learned from could be judged on: run recsys fit again"
        )
    counters = None if request.get("counters") is None else Path(request["counters"])
    history = None if counters is None else read_counters(counters)
    if counters is not None and file_fingerprint(counters / ABOUT) != request["counters_fingerprint"]:
        raise InputError(f"{counters}: are not the counters that the bundle was fitted with: run recsys fit again")
    prepared = prepare(shop, split_file=split_file, config=config, cache_dir=cache_dir, quarantine=quarantine)
    training = bundle.manifest.metrics["training"]
    vectors, embeddings = np.asarray(bundle.item_vectors), np.asarray(bundle.user_embeddings)
    users = np.concatenate([embeddings, np.ones((len(bundle.users), 1), dtype=np.float32)], axis=1)
    scorer = gnn_scorer(users, vectors, training)
    judged = judge(scorer, prepared.split, config.evaluation)
    then = standing_then(training_standing(prepared), shop.catalog.items, history)
    served = served_by(bundle.ranker, prepared, vectors, embeddings, then)
    return compare(prepared, scorer, judged, config, folder, history=training["history"], served=served)
