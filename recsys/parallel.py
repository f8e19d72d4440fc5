"""Data parallel training: the processes that `torchrun` starts share each step's users or pairs.

    torchrun --nproc-per-node 4 -m recsys fit SHOP

Every process holds the whole graph and all parameters and draws the same batches; each takes the loss of its part of a
batch alone, and the gradients are averaged, which gives the gradient of the whole batch: results are those of a
single process, up to rounding. The first process leads: it alone writes. Over NCCL where there is CUDA, a GPU a
process, and else over gloo.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from features.errors import InputError


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Args:
        rank: of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def part(self, n: int) -> NDArray[np.int64]:
        """This process's rows of n.

        Raises:
            InputError: some process would have none.
        """
        if n < self.size:
            raise InputError(f"{self.size} processes need as many rows in each training step, one has {n}; start fewer")
        return np.arange(self.rank, n, self.size, dtype=np.int64)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by the mean over the team."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.size

    def mean(self, value: float) -> float:
        """The mean over the team."""
        return self._shared(value, summed=True) / self.size

    def agree(self, value: float) -> float:
        """The leader's value; the others wait for it."""
        return self._shared(value, summed=False)

    def _shared(self, value: float, *, summed: bool) -> float:
        if self.size == 1:
            return value
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        held = torch.tensor(value, dtype=torch.float64, device=device)
        if summed:
            distributed.all_reduce(held)
        else:
            distributed.broadcast(held, src=0)
        return float(held.item())


@cache
def team() -> Team:
    """The team that this process was started in by `torchrun`, joined at the first call; else a team of one."""
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return Team()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(distributed.destroy_process_group)
    return Team(distributed.get_rank(), distributed.get_world_size())
