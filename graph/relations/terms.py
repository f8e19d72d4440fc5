"""Words of an item's reviews as nodes: what buyers say of it that no attribute tells."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from features.interactions import Interactions
from features.shop.reviews import Reviews
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList

_WORD = re.compile(r"[^\W\d_]{3,}")

COMMON = 0.5
"""A word in the reviews of a larger share of the reviewed items tells nothing."""


def learnable(reviews: Reviews, train: Interactions) -> Reviews:
    """The reviews that may be read beside the training events.

    A review of a pair that is held out would tell the answer. Kept are reviews of training pairs, and those whose
    writer is unknown to the shop or not told, the latter only up to the last training event where both have times.
    """
    trained = set(zip(train.user_idx.tolist(), train.item_idx.tolist(), strict=True))
    user = train.users.idxs(reviews.user.tolist())
    own = [pair in trained for pair in zip(user.tolist(), reviews.item_idx.tolist(), strict=True)]
    stranger = user < 0
    if reviews.timestamp is not None and train.timestamp is not None and len(train):
        stranger &= reviews.timestamp <= train.timestamp.max()
    return reviews.only(np.array(own, dtype=bool) | stranger)


def term_edges(reviews: Reviews, k: int, *, min_shared: int) -> tuple[Vocabulary, EdgeList] | None:
    """The k most telling words of each item's reviews; None where no word is shared.

    A word weighs (1 + log tf) log(n / df) (Salton and Buckley 1988): tf its count in the reviews of the item, df the
    items whose reviews have it, n the items that have reviews; scaled to a mean of 1 over the edges.

    Args:
        reviews: the reviews that may be read.
        k: words an item.
        min_shared: a word becomes a node where the reviews of at least so many items have it.
    """
    said: dict[int, Counter[str]] = {}
    for row, text in zip(reviews.item_idx.tolist(), reviews.text.tolist(), strict=True):
        said.setdefault(row, Counter()).update(_WORD.findall(text.casefold()))
    items = [row for row in sorted(said) if said[row]]
    have = Counter(word for row in items for word in said[row])
    names = sorted(word for word, df in have.items() if min_shared <= df <= COMMON * len(items))
    code = {word: place for place, word in enumerate(names)}
    edges: list[tuple[int, int, float]] = []
    for row in items:
        told = [
            ((1 + np.log(tf)) * np.log(len(items) / have[word]), code[word])
            for word, tf in said[row].items()
            if word in code
        ]
        edges += [(row, place, weight) for weight, place in sorted(told, key=lambda one: (-one[0], one[1]))[:k]]
    if not edges:
        return None
    used = sorted({place for _, place, _ in edges})
    again = {place: number for number, place in enumerate(used)}
    weight = np.array([edge[2] for edge in edges])
    listed = EdgeList(
        np.array([edge[0] for edge in edges], dtype=np.int64),
        np.array([again[edge[1]] for edge in edges], dtype=np.int64),
        (weight / weight.mean()).astype(np.float32),
    )
    return Vocabulary(tuple(names[place] for place in used)), listed
