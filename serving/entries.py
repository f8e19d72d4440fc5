"""What a version puts into Redis, entry by entry, and how much memory that will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from recsys.bundle import Bundle
from recsys.recommendation import Recommendation, UserState
from recsys.recommender import BundleRecommender
from serving.codec import LIST_LENGTH, Slot, pack
from serving.display import item_json
from serving.footprint import string_bytes
from serving.keys import Keys

SAMPLE = 100
"""Items, and users, whose lists are made ahead to predict the memory of all."""

Entries = Iterator[tuple[str, bytes]]


def n_entries(bundle: Bundle) -> int:
    """How many keys a version has, beside its record."""
    return 2 * len(bundle.items) + len(bundle.users)


def entries(bundle: Bundle, recommender: BundleRecommender, keys: Keys) -> Entries:
    """Every key of a version with its value: items, similar items, feeds of the known users."""
    yield from _of_items(bundle, recommender, keys, range(len(bundle.items)))
    yield from _of_users(bundle, recommender, keys, range(len(bundle.users)))


def predicted_bytes(bundle: Bundle, recommender: BundleRecommender, keys: Keys) -> int:
    """Redis memory of all entries, from evenly spaced items and users."""
    total = 0.0
    kinds: tuple[tuple[int, Callable[[Bundle, BundleRecommender, Keys, range], Entries]], ...] = (
        (len(bundle.items), _of_items),
        (len(bundle.users), _of_users),
    )
    for n, made in kinds:
        rows = spaced(n)
        sampled = sum(string_bytes(key, len(value)) for key, value in made(bundle, recommender, keys, rows))
        total += sampled * n / max(1, len(rows))
    return round(total)


def spaced(n: int) -> range:
    """About `SAMPLE` of n rows, evenly spaced; all where there are fewer."""
    return range(0, n, max(1, n // SAMPLE))


def slots(bundle: Bundle, shown: list[Recommendation]) -> list[Slot]:
    """A recommender's answer by row numbers."""
    return [Slot(bundle.items.idx(one.item_id), one.score, one.source, one.reasons) for one in shown]


def _of_items(bundle: Bundle, recommender: BundleRecommender, keys: Keys, rows: range) -> Entries:
    for row in rows:
        item_id = bundle.items[row]
        yield keys.item(bundle.version, item_id), item_json(bundle, row)
        shown = recommender.similar_items(item_id, LIST_LENGTH)
        yield keys.similar(bundle.version, item_id), pack(slots(bundle, shown))


def _of_users(bundle: Bundle, recommender: BundleRecommender, keys: Keys, rows: range) -> Entries:
    """Feeds as of training; what was personal then is the "published" tier from now on."""
    for row in rows:
        shown = recommender.recommend(UserState(bundle.users[row]), LIST_LENGTH)
        kept = [replace(one, source="published") if one.source == "personalized" else one for one in shown]
        yield keys.feed(bundle.version, bundle.users[row]), pack(slots(bundle, kept))
