"""Uniform draws without replacement for many rows at once."""

from __future__ import annotations

import torch


def draw_positions(degree: torch.Tensor, k: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """For each row, min(k, degree) different positions below its degree, every such set equally likely.

    Floyd's algorithm (Bentley and Floyd 1987), all rows side by side: k steps, whatever the degrees.

    Args:
        degree: int64 [n].
        k: positions a row; negative for all.
        generator: of the draws.

    Returns:
        owner int64 [m], the row of each draw, rising; position int64 [m].
    """
    n = len(degree)
    many = torch.zeros(0, dtype=torch.int64) if k < 0 else torch.nonzero(degree > k).ravel()
    taken = degree if k < 0 else degree.clamp(max=k)
    owner = torch.repeat_interleave(torch.arange(n), taken)
    ends = taken.cumsum(0)
    position = torch.arange(len(owner)) - (ends - taken)[owner]
    if len(many) and k:
        drawn = torch.rand(len(many), k, dtype=torch.float64, generator=generator)
        chosen = torch.empty(len(many), k, dtype=torch.int64)
        for step in range(k):
            top = degree[many] - k + step
            at = (drawn[:, step] * (top + 1)).long()
            again = (chosen[:, :step] == at[:, None]).any(dim=1)
            chosen[:, step] = torch.where(again, top, at)
        place = (ends - taken)[many][:, None] + torch.arange(k)
        position[place.ravel()] = chosen.ravel()
    return owner, position
