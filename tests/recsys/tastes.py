"""A data set of planted tastes, as a benchmark folder, and quick settings for models of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.bench.bench import BenchConfig
from recsys.bench.result import Result

QUICK: dict[str, Any] = {"dim": 8, "epochs": 10, "evaluate_every": 5, "batch_pairs": 128}


def planted_folder(parent: Path) -> Path:
    """Even users like even items; pictures tell even from odd, sounds tell nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        own = rng.permutation(np.arange(user % 2, 40, 2))[:10].tolist()
        rows += [
            (user, item, "test" if place > 7 else "valid" if place > 5 else "train") for place, item in enumerate(own)
        ]
    folder = parent / "tastes"
    folder.mkdir()
    pd.DataFrame(rows, columns=["user_idx", "item_idx", "split"]).to_parquet(folder / "interactions.parquet")
    image = rng.standard_normal((40, 4)) + 6 * np.outer(np.where(np.arange(40) % 2, 1, -1), [1, 0, 0, 0])
    np.save(folder / "image_feat.npy", image.astype(np.float32))
    np.save(folder / "audio_feat.npy", rng.standard_normal((40, 3)).astype(np.float32))
    return folder


def quick(**changes: Any) -> BenchConfig:
    settings = {"mf": QUICK, "freedom": QUICK | {"neighbors": 3}}
    return BenchConfig(**{"seeds": 2, "trials": 2, "settings": settings, **changes})


def result(recalls: list[float], users: list[int]) -> Result:
    per_user = {name: np.array(recalls) for name in ("recall@20", "ndcg@20")}
    means = dict.fromkeys(per_user, float(np.mean(recalls)))
    return Result("m", {}, 0, {}, means, users=np.array(users), per_user=per_user)
