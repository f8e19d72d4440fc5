"""Training on drawn neighborhoods, for graphs too large to propagate over whole at every step.

A step takes a batch of liked pairs, draws what their users, their items and the items they are set against need of the
graph (`graph/sampling/neighborhood.py`), and leaves out the batch's own pairs: they are to be predicted. Batches and
draws follow from the epoch's number and the step's alone, however many processes draw ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from scipy import sparse
from torch.utils.data import DataLoader, Dataset

from features.errors import InputError
from features.interactions import Interactions
from features.section import Section
from graph.sampling.neighborhood import Neighborhood
from recsys.negatives import Batch, batch_of_pairs

ASIDE: dict[str, Any] = {"device": True, "sampling": {"workers": True}}
"""Settings that change nothing of what is learned; a training goes on where they were changed."""
Draw = Callable[[int], Neighborhood]
"""The neighborhood of a step from its number alone: it may be drawn in another process."""


class SamplingConfig(Section):
    """Training on drawn neighborhoods."""

    fanouts: tuple[int, ...] = ()
    """Edges drawn of each node and relation, one number a step of propagation, such as [15, 10]; -1 takes all. Empty
    trains on the whole graph, faster up to a million edges on a CPU and ten million on CUDA (docs/graph.md)."""
    batch_pairs: PositiveInt = 2048
    """Pairs a step of the softmax, which else goes by users; BPR keeps its own `batch_pairs`."""
    others: PositiveInt = 1024
    """Items beside a batch's liked ones that its users are set against by the softmax."""
    past: bool = False
    """Whether a pair is learned from what was before it alone. Batches are then runs of pairs in the order of time, in
    random order, and see the graph as it was before their first pair. Needs a time of every event, and a graph none
    of whose relations goes by all of them at once."""
    workers: NonNegativeInt = 0
    """Processes that draw neighborhoods ahead of the steps; 0 draws between them."""

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.past and not self.fanouts:
            raise ValueError("past is seen by drawn neighborhoods alone: give sampling.fanouts")
        return self

    def __bool__(self) -> bool:
        """Whether neighborhoods are drawn at all."""
        return bool(self.fanouts)

    @classmethod
    def field(cls) -> Any:
        """Of another section; left out of what is written of its settings where it is not used, so that what was
        fitted without it is found again.
        """
        unused = cls()
        return Field(default=unused, exclude_if=lambda given: given == unused)

    def check(self, layers: int) -> None:
        """Refuse fan-outs that do not fit a model.

        Raises:
            InputError: their number is not that of the steps of propagation, or one is 0 or below -1.
        """
        if self and len(self.fanouts) != layers:
            raise InputError(
                f"sampling.fanouts must have a number for each of the {layers} layers, got {list(self.fanouts)}"
            )
        bad = [k for k in self.fanouts if k == 0 or k < -1]
        if bad:
            raise InputError(f"sampling.fanouts must be above 0, or -1 for all, got {bad[0]}")


def first_met(train: Interactions, liked: sparse.csr_matrix) -> NDArray[np.float64]:
    """When each liked pair was first met, float64 [n_pairs] in the order of the matrix, UTC seconds.

    Args:
        train: events.
        liked: [n_users, n_items] with sorted indices; their different pairs.

    Raises:
        InputError: the events carry no times.
    """
    if train.timestamp is None:
        raise InputError("sampling.past needs a timestamp of every event, the training events carry none")
    if np.isnan(train.timestamp).any():
        row = int(np.flatnonzero(np.isnan(train.timestamp))[0])
        raise InputError(f"sampling.past needs a timestamp of every event, training event {row} has none")
    n_items = np.int64(liked.shape[1])
    keys = np.repeat(np.arange(liked.shape[0]), np.diff(liked.indptr)) * n_items + liked.indices
    first = np.full(liked.nnz, np.inf)
    np.minimum.at(first, np.searchsorted(keys, train.user_idx * n_items + train.item_idx), train.timestamp)
    return first


@dataclass(frozen=True, eq=False)
class Epoch:
    """The batches of one pass over the liked pairs.

    Args:
        runs: int64 [n_pairs of the batch] a step; rows of the pairs.
        before: float64 [n_steps]; the time of each batch's first pair, None where times do not matter.
        key: of all that is drawn in it.
    """

    runs: list[NDArray[np.int64]]
    before: NDArray[np.float64] | None
    key: int

    def rng(self, step: int) -> np.random.Generator:
        """Chance of a step, the same whoever asks."""
        return np.random.default_rng([self.key, step])

    def cut(self, step: int) -> float | None:
        """Only what was before this time may be seen by a step; None for everything."""
        return None if self.before is None else float(self.before[step])


class LikedPairs:
    """Liked pairs in batches.

    Args:
        liked: [n_users, n_items] with sorted indices; nonzero entries are pairs to learn.
        time: float64 [n_pairs]; of each pair, None where times do not matter.
        min_steps: batches an epoch has at least.
    """

    def __init__(self, liked: sparse.csr_matrix, time: NDArray[np.float64] | None, *, min_steps: int = 1) -> None:
        self.user = np.repeat(np.arange(liked.shape[0]), np.diff(liked.indptr)).astype(np.int64)
        self.item = liked.indices.astype(np.int64)
        self.weight = liked.data
        self._time, self._min_steps = time, min_steps
        self._known = np.unique(self.item)

    def epoch(self, size: int, rng: np.random.Generator) -> Epoch:
        """All pairs once, in batches of at most `size`: at random, or in runs of time that come in random order."""
        n_steps = min(max(math.ceil(len(self.user) / size), self._min_steps), len(self.user))
        order = rng.permutation(len(self.user))
        if self._time is not None:
            order = order[np.argsort(self._time[order], kind="stable")]
        runs = np.array_split(order, n_steps)
        before = None
        if self._time is not None:
            runs = [runs[step] for step in rng.permutation(n_steps)]
            before = np.array([self._time[run[0]] for run in runs])
        return Epoch(runs, before, int(rng.integers(2**62)))

    def batch(self, pairs: NDArray[np.int64], others: int, rng: np.random.Generator) -> Batch:
        """Pairs with the candidates of the softmax: their items and a sample of what else is liked by anyone."""
        return batch_of_pairs(
            self.user[pairs], self.item[pairs], self.weight[pairs], known=self._known, n_others=others, rng=rng
        )


class _Steps(Dataset[Neighborhood]):
    def __init__(self, draw: Draw, n: int) -> None:
        self._draw, self._n = draw, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, step: int) -> Neighborhood:
        return self._draw(step)


def drawn_ahead(draw: Draw, n_steps: int, *, workers: int, device: str) -> Iterator[Neighborhood]:
    """The neighborhoods of an epoch's steps, on the device where they are used.

    On CUDA the next one is pinned and copied by a stream of its own while the present one is worked on.

    Args:
        draw: of a step.
        n_steps: how many there are.
        workers: processes that draw.
        device: where they are used.
    """
    unused = torch.Generator()  # else a loader takes a number from the global one
    loader = DataLoader(
        _Steps(draw, n_steps), batch_size=None, num_workers=workers, collate_fn=_as_it_is, generator=unused
    )
    if device.startswith("cuda"):
        from graph.pyg import PrefetchLoader

        yield from PrefetchLoader(loader, torch.device(device))
    else:
        yield from loader


def _as_it_is(one: Any) -> Any:
    return one
