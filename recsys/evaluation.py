"""Judge a scorer on held-out pairs by ranking the whole catalog for each user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, field_validator
from scipy import sparse

from features.interactions import Interactions
from features.section import Section
from recsys import metrics
from recsys.held_out import Split
from recsys.ranking_lists import rank_users
from recsys.scorer import Scorer
from recsys.segments import Judged

Side = Literal["valid", "test"]


class EvaluationConfig(Section):
    """How models are judged."""

    ks: tuple[PositiveInt, ...] = (10, 20, 50)
    """List lengths to report."""
    bootstrap_samples: int = Field(default=1000, ge=0)
    """Resamples of users behind each 95% interval; 0 leaves intervals out."""
    chunk_users: PositiveInt = 512
    """Most users scored at once by each thread; fewer where the catalog is so large that their scores would pass 2^23
    numbers."""
    max_users: PositiveInt = 50_000
    """More users than this are judged by a random sample of this size, and the evaluation's notes say so."""
    cold_user_max_events: int = Field(default=5, ge=0)
    """A user with at most so many different training items is a cold user."""
    seed: int = 0
    """Of ties, resamples and the sample of users."""

    @field_validator("ks")
    @classmethod
    def _some_and_rising(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or sorted(set(ks)) != list(ks):
            raise ValueError(f"ks must be one or more rising list lengths, got {ks}")
        return ks


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a scorer achieved on one side of a split.

    Args:
        scorer: its name.
        on: the side.
        n_users: users judged: those with a held-out pair.
        n_pairs: their held-out pairs.
        metrics: "recall@20" → average over these users; NaN where undefined.
        intervals: 95% bootstrap interval of each average over users (not of coverage, which is no average).
        segments: "cold_users", "cold_items" and "cold_items_among_cold" → their metrics and "n_users", "n_pairs".
        segment_intervals: the segments' intervals.
        user_idx: int64 [n_users]; the users judged.
        per_user: metric → float64 [n_users]; what the averages are taken of.
        notes: what a reader must know, such as why there is nothing to report.
    """

    scorer: str
    on: Side
    n_users: int
    n_pairs: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    segments: dict[str, dict[str, float]]
    segment_intervals: dict[str, dict[str, tuple[float, float]]]
    user_idx: NDArray[np.int64]
    per_user: dict[str, NDArray[np.float64]]
    notes: tuple[str, ...] = field(default=())


def evaluate(
    scorer: Scorer,
    split: Split,
    *,
    on: Side,
    config: EvaluationConfig | None = None,
    left_out: Interactions | None = None,
) -> Evaluation:
    """Rank all items for every user with held-out pairs.

    Not ranked are the user's training items and, on test, the validation items too: they are known and would not be
    shown again. Segments:

    - `cold_users`: users with at most `cold_user_max_events` different training items;
    - `cold_items`: held-out pairs whose item has no training event, still ranked against the whole catalog (other
      held-out items of the user stay in the list and count as misses); averaged over users who have such a pair;
      its coverage is the share of the cold items that these users are shown;
    - `cold_items_among_cold`: the same pairs, ranked among the cold items only.

    Args:
        scorer: the model.
        split: where the held-out pairs are.
        on: the side to judge on.
        config: list lengths and the like.
        left_out: further pairs that are not ranked.

    Raises:
        ValueError: scores of the wrong shape, one that is not finite, or a held-out pair that is to be left out.
    """
    config = config or EvaluationConfig()
    held: Interactions = getattr(split, on)
    users, notes = _judged_users(held, on, config)
    held = held.where(np.isin(held.user_idx, users))
    train = split.train.matrix(binary=True)
    n_with, n_train_users, n_train_items = _training_counts(train)
    cold = n_with == 0
    if len(cold) and not cold.any():
        notes.append("every item has a training event: there are no cold items")
    cold_pairs = held.where(cold[held.item_idx])
    has_cold = np.isin(users, cold_pairs.user_idx)

    hidden = train if on == "valid" else (train + split.valid.matrix(binary=True)).tocsr()
    if left_out is not None:
        further = left_out.matrix(binary=True)
        if further.multiply(held.matrix(binary=True)).nnz:
            raise ValueError(f"what is left out of the rankings must not be held out, but pairs of {on} are")
        hidden = (hidden + further).tocsr()
    full, among_cold = rank_users(
        scorer,
        users,
        hidden,
        (held.users, held.items),
        k=max(config.ks),
        chunk=config.chunk_users,
        seed=config.seed,
        some=has_cold,
        only=cold,
    )
    bits = metrics.surprise(n_with, n_train_users)
    everything = Judged.of(full, users, held, bits)
    parts = {
        "cold_users": everything.only(n_train_items[users] <= config.cold_user_max_events),
        "cold_items": Judged.of(full[has_cold], users[has_cold], cold_pairs, bits),
        "cold_items_among_cold": Judged.of(among_cold, users[has_cold], cold_pairs, bits),
    }
    samples, seed = config.bootstrap_samples, config.seed
    whole = everything.summary(config.ks, samples=samples, seed=seed)
    summaries = {
        name: part.summary(config.ks, samples=samples, seed=seed, catalog=None if name == "cold_users" else cold)
        for name, part in parts.items()
    }
    return Evaluation(
        scorer=scorer.name,
        on=on,
        n_users=len(users),
        n_pairs=len(held),
        metrics=whole.metrics,
        intervals=whole.intervals,
        segments={
            name: {**summaries[name].metrics, "n_users": len(part.users), "n_pairs": int(part.n_held.sum())}
            for name, part in parts.items()
        },
        segment_intervals={name: summary.intervals for name, summary in summaries.items()},
        user_idx=users,
        per_user=whole.per_user,
        notes=tuple(notes),
    )


def _judged_users(held: Interactions, on: Side, config: EvaluationConfig) -> tuple[NDArray[np.int64], list[str]]:
    users = np.unique(held.user_idx)
    if len(users) == 0:
        return users, [f"the {on} side has no held-out pairs: its metrics are undefined"]
    if len(users) <= config.max_users:
        return users, []
    sample = np.random.default_rng(config.seed).choice(users, size=config.max_users, replace=False)
    return np.sort(sample), [
        f"judged on a random sample of {config.max_users} of {len(users)} users with held-out pairs"
    ]


def _training_counts(train: sparse.csr_matrix) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """Users of each item, number of users with any item, items of each user; all of distinct training pairs."""
    n_items_of = np.diff(train.indptr).astype(np.int64)
    return np.bincount(train.indices, minlength=train.shape[1]), int((n_items_of > 0).sum()), n_items_of
