"""The match score on real encoders: the synthetic shop's planted mismatches are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from features.encoders.catalog import encode_catalog
from features.encoders.config import EncoderConfig
from features.match.calibration import auroc
from features.match.config import MatchConfig
from features.match.training import fit_match
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from features.synthetic.write import write_shop


def test_planted_mismatches_of_the_synthetic_shop_are_found(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", n_items=300, n_users=20, seed=3)
    quarantine = Quarantine()
    shop = read_shop(tmp_path / "shop", quarantine=quarantine)
    vectors = encode_catalog(shop, EncoderConfig(), cache_dir=tmp_path / "cache", quarantine=quarantine)
    scores = fit_match(vectors, MatchConfig(), seed=0).score(vectors)
    mismatched = json.loads((tmp_path / "shop" / "truth" / "truth.json").read_text())["mismatched"]
    wrong = np.zeros(len(vectors), dtype=bool)
    wrong[shop.catalog.items.idxs(list(mismatched))] = True
    assert wrong.sum() == 15
    known = scores.known
    assert known.mean() > 0.9
    score = scores.score.astype(np.float64)
    assert auroc(score[known & ~wrong], score[known & wrong]) >= 0.95
    assert wrong[scores.worst(10)].sum() >= 7
