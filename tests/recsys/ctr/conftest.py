"""Ratings whose truth is planted in the facts alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.quarantine import Quarantine
from recsys.ctr.knowledge import FactGraph
from recsys.ctr.ratings import Ratings, read_ratings, six_two_two

N_USERS, N_ITEMS, N_MAKERS = 60, 240, 6


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each user likes the items of two makers and dislikes all others; each item is rated by three users only, and
    liked by as many as it is disliked, so that popularity says nothing and behavior next to nothing. Relation 0 tells
    the maker; relation 1 tells a color, which means nothing.
    """
    rng = np.random.default_rng(0)
    maker = rng.integers(0, N_MAKERS, N_ITEMS)
    likes = np.stack([rng.choice(N_MAKERS, 2, replace=False) for _ in range(N_USERS)])
    rows = []
    for item in range(N_ITEMS):
        fans = np.flatnonzero((likes == maker[item]).any(axis=1))
        others = np.setdiff1d(np.arange(N_USERS), fans)
        rows += [(user, item, 1) for user in rng.choice(fans, 3, replace=False)]
        rows += [(user, item, 0) for user in rng.choice(others, 3, replace=False)]
    place: Path = tmp_path_factory.mktemp("ratings")
    pd.DataFrame(rows, columns=["user_idx", "item_idx", "label"]).to_parquet(place / "ratings.parquet")
    facts = [(item, 0, N_ITEMS + maker[item]) for item in range(N_ITEMS)]
    facts += [(item, 1, N_ITEMS + N_MAKERS + rng.integers(4)) for item in range(N_ITEMS)]
    pd.DataFrame(facts, columns=["head_idx", "relation", "tail_idx"]).to_parquet(place / "triples.parquet")
    return place


@pytest.fixture(scope="session")
def ratings(folder: Path) -> Ratings:
    return read_ratings(folder, quarantine=Quarantine())


@pytest.fixture(scope="session")
def facts(folder: Path, ratings: Ratings) -> FactGraph:
    return FactGraph.read(folder, ratings, quarantine=Quarantine())


@pytest.fixture(scope="session")
def sides(ratings: Ratings) -> tuple[Ratings, Ratings, Ratings]:
    return six_two_two(ratings, seed=0)
