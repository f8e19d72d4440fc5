"""What tests of `recsys` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recsys.fit import FitSummary


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Settings under which a small shop is fitted in a few seconds."""
    return (
        "train.epochs=40",
        "model.dim=32",
        "match.epochs=5",
        "match.folds=2",
        'baselines.models=["popularity", "item_knn", "content"]',
        "evaluation.bootstrap_samples=50",
    )


@pytest.fixture(scope="session")
def fitted(
    synthetic_shop: Path, quick: tuple[str, ...], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> FitSummary:
    """The synthetic shop, fitted; to be read, never changed."""
    from recsys.config import load_config
    from recsys.fit import fit

    out = tmp_path_factory.mktemp("fit")
    return fit(synthetic_shop, out=out, config=load_config(None, quick), cache_dir=cache)
