"""A split of planted tastes."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.held_out import Split
from recsys.split import random_split
from tests.recsys.sampled.drawn import N_ITEMS, N_USERS, events


@pytest.fixture(scope="module")
def split() -> Split:
    """Even users like even items, odd users odd ones; low items are the popular ones."""
    rng = np.random.default_rng(0)
    liked = np.zeros((N_USERS, N_ITEMS), dtype=bool)
    for user in range(N_USERS):
        chance = (np.arange(N_ITEMS) % 2 == user % 2) / (np.arange(N_ITEMS) + 8.0)
        liked[user, rng.choice(N_ITEMS, size=12, replace=False, p=chance / chance.sum())] = True
    return random_split(events(liked), seed=0)
