"""`recsys match score`: a fitted match model on any shop's listings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.listing_scores import lettering_evidence
from recsys.match_fit import listings_of, read_match_model, score_table, with_lettering


def score_shop(shop_dir: Path, model_dir: Path, *, cache_dir: Path, lettering: bool = False) -> pd.DataFrame:
    """One row an item: item_id, title, score (NaN where words or picture are missing).

    Args:
        shop_dir: any shop folder with pictures.
        model_dir: a fitted model.
        cache_dir: encoded words and pictures.
        lettering: whether what is spelled in the pictures is taken into account; see `with_lettering`.

    Raises:
        InputError: shop or model cannot be read.
    """
    model, config = read_match_model(model_dir)
    quarantine = Quarantine()
    shop = read_shop(shop_dir, quarantine=quarantine)
    listings = listings_of(shop, config, cache_dir=cache_dir, quarantine=quarantine)
    scores = score_table(shop, listings, model).drop(columns="learned")
    asked = config.lettering.model_copy(update={"enabled": lettering})
    evidence = lettering_evidence(shop, asked, seed=config.seed, cache_dir=cache_dir)
    return with_lettering(scores, shop, evidence, prior=model.config.prior)


def write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Write the table.

    Raises:
        InputError: the name ends in neither .parquet nor .csv.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        scores.to_parquet(path, index=False)
    elif path.suffix == ".csv":
        scores.to_csv(path, index=False)
    else:
        raise InputError(f"--out must end in .parquet or .csv, got {path.name!r}")
