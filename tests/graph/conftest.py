"""A shop small enough to know by heart."""

from __future__ import annotations

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from graph.neighbors import Neighbors


@pytest.fixture
def catalog() -> Catalog:
    """Six items: i0, i1 of brand Acme, i2, i3 of brand Bolt, i4 of a brand of its own, i5 without any."""
    n = 6
    return Catalog(
        items=Vocabulary(tuple(f"i{i}" for i in range(n))),
        title=np.array([f"item {i}" for i in range(n)], dtype=object),
        description=np.full(n, "", dtype=object),
        image=np.full(n, "", dtype=object),
        price=np.array([1.0, 2.0, 3.0, 4.0, np.nan, np.nan]),
        available=np.ones(n, dtype=bool),
        attributes=Attributes.of(
            [
                (0, "brand", "Acme"),
                (1, "brand", "Acme"),
                (1, "brand", "Acme"),
                (2, "brand", "Bolt"),
                (3, "brand", "Bolt"),
                (4, "brand", "Only"),
                (5, "brand", ""),
            ]
        ),
    )


@pytest.fixture
def train(catalog: Catalog) -> Interactions:
    """u0 views i0 twice and buys it, u1 views i2, u2 buys i3, u3 does nothing."""
    return Interactions(
        users=Vocabulary(("u0", "u1", "u2", "u3")),
        items=catalog.items,
        user_idx=np.array([0, 0, 0, 1, 2]),
        item_idx=np.array([0, 0, 0, 2, 3]),
        event_type=np.array(["view", "view", "purchase", "view", "purchase"], dtype=object),
        weight=np.array([1, 1, 5, 1, 5], dtype=np.float32),
    )


@pytest.fixture
def user_attributes() -> Attributes:
    """u0 and u3 are young, u1 is the only old one."""
    return Attributes.of([(0, "age", "young"), (3, "age", "young"), (1, "age", "old")])


@pytest.fixture
def look_alikes() -> dict[str, Neighbors]:
    """i4 looks like i5; i0 is unlike i1 (a negative cosine makes no edge)."""
    idx = np.array([[1], [-1], [-1], [-1], [5], [-1]])
    score = np.array([[-0.2], [0], [0], [0], [0.8], [0]], dtype=np.float32)
    return {"image": Neighbors(idx, score)}


@pytest.fixture
def graph(
    catalog: Catalog, train: Interactions, user_attributes: Attributes, look_alikes: dict[str, Neighbors]
) -> KnowledgeGraph:
    """Paths: u3 - young - u0 - i0 - Acme - i1; u1 - i2 - Bolt - i3 - u2; i4 - i5."""
    return build_graph(catalog, train, user_attributes, look_alikes, GraphConfig(price_bands=0))
