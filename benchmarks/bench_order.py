"""Whether a data set lists a user's training pairs in an order that means something, such as that of time.

    .venv/bin/python benchmarks/bench_order.py --data ../shared/data/gowalla

Looked at is the training side alone. Told is how alike (cosine of their users) two items are that stand beside each
other in a user's list, over two of the same list at random: about 1 where the order is one by chance. Then the mean
popularity of the items in each tenth of the lists, over that of the first: where it changes all along the lists, random
pairs do not stand for what comes after them, and `recsys bench --valid last` is the better choice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import keep, takes_json
from numpy.typing import NDArray

from features.interactions import Interactions
from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.run_folder import CACHE

SHORTEST = 10
"""Lists of fewer items are left out: they have no tenths."""


def likeness(train: Interactions, one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Mean cosine of the users of item pairs, those whose list it is left out of both."""
    owners = train.matrix(binary=True).T.tocsr()
    met = np.diff(owners.indptr).astype(np.float64)
    both = np.asarray(owners[one].multiply(owners[other]).sum(axis=1)).ravel() - 1
    return float((both / np.sqrt(met[one] * met[other])).mean())


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="any folder that `recsys bench` reads")
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs of neighbors, one a list")
    takes_json(parser)
    given = parser.parse_args()
    task = read_task(given.data, split_file=None, refit=None, cache_dir=CACHE, quarantine=Quarantine())
    train, rng = task.split.train, np.random.default_rng(0)
    order = np.argsort(train.user_idx, kind="stable")
    item, user = train.item_idx[order], train.user_idx[order]
    count = np.bincount(user)
    start = np.cumsum(count) - count
    long = rng.permutation(np.flatnonzero(count >= SHORTEST))[: given.pairs]
    first = start[long] + rng.integers(0, count[long] - 1)
    drawn = start[long] + rng.integers(0, count[long])
    shift = rng.integers(1, count[long])
    again = start[long] + (drawn - start[long] + shift) % count[long]
    beside, apart = likeness(train, item[first], item[first + 1]), likeness(train, item[drawn], item[again])
    print(f"cosine beside each other {beside:.4f}, at random {apart:.4f}: {beside / apart:.2f} x")
    popularity = np.bincount(item).astype(np.float64)
    tenth = (10 * (np.arange(len(user)) - start[user]) // count[user])[count[user] >= SHORTEST]
    of = popularity[item][count[user] >= SHORTEST]
    means = np.array([of[tenth == number].mean() for number in range(10)])
    figures = {"beside": beside, "at_random": apart, "ratio": beside / apart, "popularity_by_tenth": means / means[0]}
    print("popularity by tenth of the lists, over the first's:", " ".join(f"{one / means[0]:.2f}" for one in means))
    if len(task.split.valid):
        told = popularity[task.split.valid.item_idx].mean() / popularity[train.item_idx].mean()
        print(f"the data set's own validation pairs: {told:.2f} of the mean of all training pairs")
        figures["validation_popularity"] = told
    keep(given, figures)


if __name__ == "__main__":
    main()
