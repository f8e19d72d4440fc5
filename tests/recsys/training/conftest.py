"""The checkerboard world, and a model that was fitted to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import Embeddings, ItemVectors
from features.vocabulary import Vocabulary
from recsys import validation
from recsys.training import FittedGNN
from tests.recsys.training.parity import N_ITEMS, N_USERS, World, events


@pytest.fixture(scope="module", autouse=True)
def _short_lists() -> Iterator[None]:
    """Recall@20 of 48 items would be 1 at the first look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "K", 4)
        yield


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    catalog = Catalog(
        items=Vocabulary(tuple(f"i{i}" for i in range(N_ITEMS))),
        title=np.full(N_ITEMS, "", dtype=object),
        description=np.full(N_ITEMS, "", dtype=object),
        image=np.full(N_ITEMS, "", dtype=object),
        price=np.full(N_ITEMS, np.nan),
        available=np.ones(N_ITEMS, dtype=bool),
        attributes=Attributes.of([]),
    )
    same_parity = (np.arange(N_USERS)[:, None] + np.arange(N_ITEMS)) % 2 == 0
    met = same_parity & (rng.random((N_USERS, N_ITEMS)) < 0.5)
    met[:, 40:] = False
    held = met & (rng.random(met.shape) < 0.2)
    parity = np.where(np.arange(N_ITEMS) % 2, 1.0, -1.0)[:, None]
    text = parity * np.eye(8)[0] + 0.5 * rng.standard_normal((N_ITEMS, 8))
    picture = rng.standard_normal((N_ITEMS, 6))
    there = np.ones(N_ITEMS, dtype=bool)
    vectors = ItemVectors(
        Embeddings.of(text.astype(np.float32), there, "t"), Embeddings.of(picture.astype(np.float32), there, "i")
    )
    return World(catalog, events(catalog, met & ~held), events(catalog, held), vectors)


@pytest.fixture(scope="module")
def fitted(world: World, tmp_path_factory: pytest.TempPathFactory) -> FittedGNN:
    return world.fit(tmp_path_factory.mktemp("runs"))
