"""Ways to decide which events a model learns from and which it is judged on: by chance, by time, or by a file."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from features.errors import InputError
from features.interactions import Interactions
from features.section import Section
from recsys.held_out import Pairs, Split, assemble
from recsys.split_file import file_split

__all__ = [
    "Split",
    "SplitConfig",
    "file_split",
    "global_time_split",
    "per_user_time_split",
    "random_split",
    "split_by",
]


class SplitConfig(Section):
    """How events are split where no split file is given."""

    kind: Literal["random", "per_user_time", "global_time"] = "random"
    """random: some pairs of each user; per_user_time: the last pairs of each user; global_time: everything after two
    moments, the same for all, so that new users and new items stay unseen in training."""
    valid_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the pairs to choose models on."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the pairs to report on."""
    min_items: int = Field(default=3, ge=3)
    """A user with fewer different items keeps them all in training; global_time does not use it."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> SplitConfig:
        if self.valid_share + self.test_share >= 1:
            raise ValueError(f"valid_share + test_share must be < 1, got {self.valid_share} + {self.test_share}")
        return self


def split_by(interactions: Interactions, config: SplitConfig, *, seed: int = 0) -> Split:
    """The split a configuration asks for."""
    if config.kind == "random":
        return random_split(interactions, config, seed=seed)
    if config.kind == "per_user_time":
        return per_user_time_split(interactions, config)
    return global_time_split(interactions, config)


def random_split(interactions: Interactions, config: SplitConfig | None = None, *, seed: int = 0) -> Split:
    """Hold out a random share of each user's pairs.

    A user with n >= min_items different items gives max(1, round(share n)) pairs to test and to valid, and always
    keeps at least one for training; other users stay in training.
    """
    config = config or SplitConfig()
    pairs = Pairs.of(interactions)
    order = np.random.default_rng(seed).permutation(len(pairs.user))
    side = _last_ones(pairs.user, order, config)
    event_side = side[pairs.of_event]
    return assemble("random", interactions, pairs, side, event_side == 0)


def per_user_time_split(interactions: Interactions, config: SplitConfig | None = None) -> Split:
    """Hold out each user's newest pairs: the last ones for test, those before for valid.

    A pair's time is that of its first event. What a user did later with a training item, after the first held-out
    event, is left out of training: it would tell of the future. Counts are those of `random_split`.

    Raises:
        InputError: the events carry no times.
    """
    config = config or SplitConfig(kind="per_user_time")
    rank = time_rank(interactions, "a per_user_time split")
    pairs = Pairs.of(interactions, rank)
    side = _last_ones(pairs.user, np.argsort(pairs.first_rank), config)
    n_users = len(interactions.users)
    held_from = np.full(n_users, len(interactions), dtype=np.int64)
    np.minimum.at(held_from, pairs.user[side > 0], pairs.first_rank[side > 0])
    in_train = (side[pairs.of_event] == 0) & (rank < held_from[interactions.user_idx])
    return assemble("per_user_time", interactions, pairs, side, in_train)


def global_time_split(interactions: Interactions, config: SplitConfig | None = None) -> Split:
    """Train strictly before one moment, validate until a second, test from there on.

    The two moments are quantiles of the pairs' first times. Users and items that appear only later stay unseen in
    training: they are the cold users and cold items of the evaluation.

    Raises:
        InputError: the events carry no times, or too few different times to leave all three sides an event.
    """
    config = config or SplitConfig(kind="global_time")
    rank = time_rank(interactions, "a global_time split")
    pairs = Pairs.of(interactions, rank)
    if len(pairs.user) == 0:
        return assemble("global_time", interactions, pairs, np.zeros(0, np.int64), np.zeros(0, np.bool_))
    times = interactions.timestamp
    assert times is not None  # noqa: S101  (time_rank has checked)
    first = times[pairs.first_event]
    ordered = np.sort(first)
    n = len(ordered)
    cut_valid = ordered[min(int(n * (1 - config.valid_share - config.test_share)), n - 1)]
    cut_test = ordered[min(int(n * (1 - config.test_share)), n - 1)]
    if not ordered[0] < cut_valid < cut_test:
        raise InputError(
            f"a global_time split needs events spread over time; the moments to cut at are {cut_valid} and {cut_test} "
            f"(UTC s) and the first event is at {ordered[0]}: use a random split or other shares"
        )
    side = (first >= cut_valid).astype(np.int64) + (first >= cut_test)
    return assemble("global_time", interactions, pairs, side, times < cut_valid)


def time_rank(interactions: Interactions, asker: str) -> NDArray[np.int64]:
    """Place of each event in time, int64 [n]; equal times stay in file order.

    Raises:
        InputError: not all events carry a time, which the asker needs.
    """
    if interactions.timestamp is None:
        raise InputError(
            f"{asker} needs the time of every event, and these {len(interactions)} interactions carry no "
            "timestamp column: use a random split or give a split file"
        )
    bad = np.flatnonzero(~np.isfinite(interactions.timestamp))
    if len(bad):
        raise InputError(f"{asker} needs the time of every event, event {bad[0]} has {interactions.timestamp[bad[0]]}")
    rank = np.empty(len(interactions), dtype=np.int64)
    rank[np.argsort(interactions.timestamp, kind="stable")] = np.arange(len(interactions))
    return rank


def _last_ones(user: NDArray[np.int64], order: NDArray[np.int64], config: SplitConfig) -> NDArray[np.int64]:
    """Side of each pair (0 train, 1 valid, 2 test): in the given order, a user's last ones are test, then valid."""
    by_user = order[np.argsort(user[order], kind="stable")]
    count = np.bincount(user, minlength=int(user.max()) + 1 if len(user) else 0)
    start = np.cumsum(count) - count
    place = np.empty(len(user), dtype=np.int64)
    place[by_user] = np.arange(len(user)) - start[user[by_user]]
    n = count[user]
    n_test = np.minimum(np.maximum(np.rint(config.test_share * n), 1), n - 2)
    n_valid = np.minimum(np.maximum(np.rint(config.valid_share * n), 1), n - 1 - n_test)
    side = (place >= n - n_test - n_valid).astype(np.int64) + (place >= n - n_test)
    return np.where(n >= config.min_items, side, 0)
