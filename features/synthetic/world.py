"""The planted truth: what each product is, what each user likes, and which listings show the wrong picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.synthetic import assortment as shop

START_S = 1_740_787_200
"""First moment of the planted history, UTC seconds (2025-03-01)."""

DAY_S = 86_400
N_DAYS = 60
COLD_DAYS = 5
"""A cold item was first listed within so many last days."""

COLD_SHARE, MISMATCH_SHARE, SOLD_OUT_SHARE = 0.08, 0.05, 0.03

FACETS: dict[str, tuple[str, ...]] = {
    "category": tuple(kind.category for kind in shop.KINDS),
    "color": shop.COLORS,
    "pattern": shop.PATTERNS,
    "brand": shop.BRANDS,
    "material": shop.MATERIALS,
    "price_level": shop.PRICE_LEVELS,
}
"""The facts that users have tastes over, with the values that each code stands for."""

TASTE_SCALE = {"category": 1.5, "color": 1.1, "pattern": 0.9, "brand": 0.9, "material": 0.7, "price_level": 0.8}
"""Standard deviation of users' tastes over each facet's values, in logits."""

LEANING_GROUPS = max(len(shop.AGE_GROUPS), len(shop.COUNTRIES))


@dataclass(frozen=True, eq=False)
class World:
    """The planted truth, one row an item or a user.

    Args:
        seed: what everything was drawn from.
        facts: facet to int64 [n_items], the code of each item's value in `FACETS`.
        usage: int64 [n_items], code in `USAGES`.
        price: float64 [n_items].
        appeal: float64 [n_items], > 0 and summing to 1; the chance of an item to be put before a user, Zipf-like.
        listed_at: int64 [n_items], UTC seconds of the first moment an item can be seen.
        available: bool [n_items].
        cold: bool [n_items]; listed within the last days.
        picture_of: int64 [n_items], the item whose product the listing's picture shows.
        tastes: facet to float32 [n_users, n_values], the utility of each value in logits.
        age_group: int64 [n_users].
        country: int64 [n_users].
    """

    seed: int
    facts: dict[str, NDArray[np.int64]]
    usage: NDArray[np.int64]
    price: NDArray[np.float64]
    appeal: NDArray[np.float64]
    listed_at: NDArray[np.int64]
    available: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    picture_of: NDArray[np.int64]
    tastes: dict[str, NDArray[np.float32]]
    age_group: NDArray[np.int64]
    country: NDArray[np.int64]

    @property
    def n_items(self) -> int:
        """Number of listings."""
        return len(self.usage)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.age_group)

    @property
    def mismatched(self) -> NDArray[np.bool_]:
        """The listings whose picture belongs to another product; bool [n_items]."""
        wrong: NDArray[np.bool_] = self.picture_of != np.arange(self.n_items)
        return wrong

    def utility(self, user_idx: NDArray[np.int64], item_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """How well users like items: the sum of their tastes for the items' facts.

        Args:
            user_idx: int64, any shape.
            item_idx: int64, any shape that broadcasts against it.

        Returns:
            float32 of the broadcast shape, in logits.
        """
        total = np.zeros(np.broadcast_shapes(user_idx.shape, item_idx.shape), dtype=np.float32)
        for facet, code in self.facts.items():
            total += self.tastes[facet][user_idx, code[item_idx]]
        return total


def plant_world(*, n_items: int, n_users: int, seed: int) -> World:
    """Draw a planted truth; the same arguments give the same world."""
    items, people, wrong = (np.random.default_rng([seed, part]) for part in range(3))
    category = items.permutation(np.arange(n_items) % len(shop.KINDS))
    brand = items.integers(len(shop.BRANDS), size=n_items)
    price_level = np.clip(np.rint(items.normal((brand % 3) * 0.5 + 0.5, 0.6)), 0, 2).astype(np.int64)
    facts = {
        "category": category,
        "color": items.integers(len(shop.COLORS), size=n_items),
        "pattern": items.choice(len(shop.PATTERNS), size=n_items, p=[0.36, 0.16, 0.16, 0.16, 0.16]),
        "brand": brand,
        "material": _one_of_its_kind(category, [kind.materials for kind in shop.KINDS], shop.MATERIALS, items),
        "price_level": price_level,
    }
    usage = _one_of_its_kind(category, [kind.usages for kind in shop.KINDS], shop.USAGES, items)
    middle = np.array([kind.price for kind in shop.KINDS])[category]
    price = middle * np.array([0.6, 1.0, 1.7])[price_level] * items.lognormal(0.0, 0.12, n_items)
    cold = _exactly(n_items, COLD_SHARE, items)
    appeal = (1.0 + items.permutation(n_items)) ** -0.7
    age_group = people.choice(len(shop.AGE_GROUPS), size=n_users, p=[0.22, 0.28, 0.25, 0.16, 0.09])
    country = people.integers(len(shop.COUNTRIES), size=n_users)
    return World(
        seed=seed,
        facts=facts,
        usage=usage,
        price=np.maximum(np.round(price), 2.0) - items.choice([0.01, 0.05, 0.10, 0.50], size=n_items),
        appeal=appeal / appeal.sum(),
        listed_at=_listed_at(cold, items),
        available=~_exactly(n_items, SOLD_OUT_SHARE, items),
        cold=cold,
        picture_of=_swap_pictures(category, facts["color"], wrong),
        tastes=_tastes(age_group, country, people),
        age_group=age_group,
        country=country,
    )


def _one_of_its_kind(
    category: NDArray[np.int64],
    allowed: list[tuple[str, ...]],
    names: tuple[str, ...],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """A code for each item, even among those that its category allows; int64 [n_items]."""
    draw = rng.random(len(category))
    code = np.empty(len(category), dtype=np.int64)
    for kind, values in enumerate(allowed):
        of_kind = category == kind
        codes = np.array([names.index(value) for value in values])
        code[of_kind] = codes[(draw[of_kind] * len(codes)).astype(np.int64)]
    return code


def _exactly(n: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask with exactly round(n * share) rows set; bool [n]."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.choice(n, size=round(n * share), replace=False)] = True
    return chosen


def _listed_at(cold: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Most items were there from the start, a fifth came during the history, cold ones in the last days."""
    day = np.where(rng.random(len(cold)) < 0.8, 0.0, rng.uniform(0, N_DAYS - 2 * COLD_DAYS, len(cold)))
    day = np.where(cold, rng.uniform(N_DAYS - COLD_DAYS, N_DAYS, len(cold)), day)
    listed_at: NDArray[np.int64] = START_S + (day * DAY_S).astype(np.int64)
    return listed_at


def _swap_pictures(
    category: NDArray[np.int64], color: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give 5% of the listings each other's pictures, always of another category and another color.

    The pictures only change places, so none appears twice and a duplicate check finds nothing.
    """
    n = len(category)
    picture_of = np.arange(n)
    listings = np.sort(rng.choice(n, size=round(n * MISMATCH_SHARE), replace=False))
    shown = rng.permutation(listings)
    for _ in range(10_000):
        alike = np.flatnonzero((category[listings] == category[shown]) | (color[listings] == color[shown]))
        if not len(alike):
            picture_of[listings] = shown
            return picture_of
        for row in alike:
            other = rng.integers(len(shown))
            shown[row], shown[other] = shown[other], shown[row]
    raise ValueError(f"no exchange of {len(listings)} pictures changes every category and color")


def _tastes(
    age_group: NDArray[np.int64], country: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Gaussian tastes, of which two lean with what is known of a user: categories with age, brands with country."""
    tastes = {}
    for facet, values in FACETS.items():
        own = rng.standard_normal((len(age_group), len(values)))
        lean = {"category": age_group, "brand": country}.get(facet)
        if lean is not None:
            own = 0.85 * own + 0.53 * rng.standard_normal((LEANING_GROUPS, len(values)))[lean]
        tastes[facet] = (TASTE_SCALE[facet] * own).astype(np.float32)
    return tastes
