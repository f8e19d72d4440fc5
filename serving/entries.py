"""What a version puts into Redis, block by block of items or users, and how much memory that will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.bundle import Bundle
from recsys.pipeline.request import Request
from recsys.recommendation import SOURCES, UserState
from recsys.recommender import BundleRecommender
from serving.codec import LIST_LENGTH, pack_columns
from serving.display import item_json
from serving.footprint import string_bytes
from serving.keys import Keys

SAMPLE = 100
"""Items, and users, whose lists are made ahead to predict the memory of all."""
BLOCK = 250
"""Items, or users, whose entries are made, written and noted together."""

TOGETHER = 16
"""Lists that are ranked together, as many as the service does at once (`serving/blocks.py`)."""

Entry = tuple[str, bytes]
"""A key and its value."""


@dataclass(frozen=True)
class Block:
    """Some rows of the items or users.

    Args:
        of: which of the two.
        start, stop: the rows, `stop` left out.
    """

    of: Literal["items", "users"]
    start: int
    stop: int

    @property
    def name(self) -> str:
        """What it is noted as."""
        return f"{self.of}:{self.start}:{self.stop}"


def blocks(bundle: Bundle) -> list[Block]:
    """All of a version."""
    return [
        *(Block("items", start, min(start + BLOCK, len(bundle.items))) for start in range(0, len(bundle.items), BLOCK)),
        *(Block("users", start, min(start + BLOCK, len(bundle.users))) for start in range(0, len(bundle.users), BLOCK)),
    ]


def names_of(block: Block, bundle: Bundle, keys: Keys) -> list[str]:
    """The keys of a block, in the order of `entries_of`."""
    version, rows = bundle.version, range(block.start, block.stop)
    if block.of == "users":
        return [keys.feed(version, bundle.users[row]) for row in rows]
    ids = [bundle.items[row] for row in rows]
    return [name for one in ids for name in (keys.item(version, one), keys.similar(version, one))]


def entries_of(block: Block, bundle: Bundle, recommender: BundleRecommender, keys: Keys) -> list[Entry]:
    """Every key of a block with its value: items and similar items, or feeds of the known users."""
    made = _of_items if block.of == "items" else _of_users
    return list(made(bundle, recommender, keys, range(block.start, block.stop)))


def predicted_bytes(bundle: Bundle, recommender: BundleRecommender, keys: Keys) -> int:
    """Redis memory of all entries, from evenly spaced items and users."""
    total = 0.0
    kinds: tuple[tuple[int, Callable[[Bundle, BundleRecommender, Keys, range], Iterator[Entry]]], ...] = (
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


def _of_items(bundle: Bundle, recommender: BundleRecommender, keys: Keys, rows: range) -> Iterator[Entry]:
    ids = [bundle.items[row] for row in rows]
    packed = _packed(recommender, [Request(LIST_LENGTH, page=item_id) for item_id in ids])
    for row, item_id, similar in zip(rows, ids, packed, strict=True):
        yield keys.item(bundle.version, item_id), item_json(bundle, row)
        yield keys.similar(bundle.version, item_id), similar


def _of_users(bundle: Bundle, recommender: BundleRecommender, keys: Keys, rows: range) -> Iterator[Entry]:
    """Feeds as of training; what was personal then is the "published" tier from now on."""
    ids = [bundle.users[row] for row in rows]
    packed = _packed(recommender, [Request(LIST_LENGTH, UserState(user_id)) for user_id in ids])
    for user_id, feed in zip(ids, packed, strict=True):
        yield keys.feed(bundle.version, user_id), feed


def _packed(recommender: BundleRecommender, requests: list[Request]) -> Iterator[bytes]:
    """The answers as they lie in Redis."""
    for start in range(0, len(requests), TOGETHER):
        moments = [recommender.moment(request) for request in requests[start : start + TOGETHER]]
        answers = recommender.ranked_all(moments, [()] * len(moments))
        for ranked, reasons in zip(answers, recommender.reasons_all(moments, answers), strict=True):
            source = np.where(ranked.source == _PERSONAL, _PUBLISHED, ranked.source)
            yield pack_columns(ranked.rows, ranked.score, source, reasons)


_PERSONAL, _PUBLISHED = SOURCES.index("personalized"), SOURCES.index("published")
