"""Who visits a simulated shop, what attracts them, and how tastes drift: everything that the truth is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary

F64 = NDArray[np.float64]
ClickModel = Literal["position", "cascade", "dbn"]
STAGES = 10
"""Steps in which tastes drift; within one they stand still."""


@dataclass(frozen=True, eq=False)
class World:
    """A simulated shop.

    Args:
        attraction: float64 [stages, groups, items]; probability that a visitor who looks at an item clicks it.
        satisfaction: float64 [items]; probability that who clicked needs no more (DBN).
        group_share: float64 [stages, groups]; who visits.
        examination: float64 [positions]; probability that a visitor looks at a slot at all (position model).
        persistence: probability of looking on after an item that did not satisfy (DBN).
        clicks: how a list is read: each slot by itself (PBM: Richardson et al. 2007), downwards until the first click
            (cascade: Craswell et al. 2008), or downwards until satisfied or tired (DBN: Chapelle, Zhang 2009).
        cluster_of: int64 [items]; items of one cluster are alike.
    """

    attraction: F64
    satisfaction: F64
    group_share: F64
    examination: F64
    persistence: float
    clicks: ClickModel
    cluster_of: NDArray[np.int64]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.attraction.shape[2])

    @property
    def n_groups(self) -> int:
        """Number of groups of visitors."""
        return int(self.attraction.shape[1])

    @property
    def n_positions(self) -> int:
        """Slots of a list."""
        return len(self.examination)

    @property
    def items(self) -> Vocabulary:
        """Ids of the items."""
        return Vocabulary(tuple(f"item-{row}" for row in range(self.n_items)))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(f"group {number}" for number in range(self.n_groups))


def make_world(
    *,
    n_items: int = 20,
    n_groups: int = 3,
    n_positions: int = 1,
    clicks: ClickModel = "position",
    click_rate: float = 0.1,
    drift: float = 0.0,
    selection: float = 0.0,
    n_clusters: int | None = None,
    own_taste: float = 1.0,
    seed: int = 0,
) -> World:
    """Draw a shop.

    Args:
        n_items: items.
        n_groups: groups of visitors with tastes of their own.
        n_positions: slots of a list.
        clicks: see `World`.
        click_rate: about the share of looked-at items that is clicked.
        drift: how far tastes move from the first to the last stage, in logits.
        selection: how much the mix of visitors changes over time, in logits.
        n_clusters: clusters of like items; left out, each item is its own.
        own_taste: how far items of one cluster differ, in logits; 0 makes the cluster tell all.
        seed: of the draws.
    """
    rng = np.random.default_rng([seed, 11])
    cluster_of = np.arange(n_items) if n_clusters is None else np.arange(n_items) % n_clusters
    n_kinds = int(cluster_of.max()) + 1
    base = np.log(click_rate / (1 - click_rate))
    of_cluster = rng.normal(0.0, 0.8, size=(n_groups, n_kinds))[:, cluster_of]
    own = own_taste * rng.normal(0.0, 0.3, size=(n_groups, n_items)) if n_clusters else 0.0
    along = np.linspace(-0.5, 0.5, STAGES)[:, None, None]
    drifting = drift * along * rng.choice([-1.0, 1.0], size=(n_groups, n_kinds))[None, :, cluster_of]
    mix = np.zeros((STAGES, n_groups)) + selection * along[:, :, 0] * np.linspace(-1, 1, n_groups)
    share = np.exp(mix)
    return World(
        attraction=1.0 / (1.0 + np.exp(-(base + of_cluster[None] + own + drifting))),
        satisfaction=rng.uniform(0.2, 0.8, size=n_items),
        group_share=share / share.sum(axis=1, keepdims=True),
        examination=1.0 / np.sqrt(np.arange(1.0, n_positions + 1.0)),
        persistence=0.9,
        clicks=clicks,
        cluster_of=cluster_of.astype(np.int64),
    )
