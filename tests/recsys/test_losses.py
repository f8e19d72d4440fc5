from __future__ import annotations

import math

import pytest
import torch

from recsys.losses import softmax_loss

LOGITS = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])


def test_the_loss_is_the_mean_surprise_at_each_liked_item() -> None:
    loss = softmax_loss(LOGITS, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]))
    first, second = math.exp(1) + math.exp(2) + 1, 2 + math.exp(3)
    assert loss.item() == pytest.approx((2 * math.log(first) - 3 + math.log(second) - 3) / 3)


def test_a_sampled_candidate_counts_for_those_that_were_not_drawn() -> None:
    inclusion = torch.log(torch.tensor([1.0, 0.25, 0.5]))
    loss = softmax_loss(LOGITS[:1], torch.tensor([0]), torch.tensor([0]), log_inclusion=inclusion)
    assert loss.item() == pytest.approx(math.log(math.exp(1) + 4 * math.exp(2) + 2) - 1)


def test_a_gradient_step_raises_liked_items_over_the_others() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    softmax_loss(logits, torch.tensor([0]), torch.tensor([1])).backward()
    assert logits.grad is not None
    torch.testing.assert_close(-logits.grad, torch.tensor([[-1 / 3, 2 / 3, -1 / 3]]))


def test_users_without_pairs_cost_nothing() -> None:
    nobody = torch.zeros(0, dtype=torch.int64)
    loss = softmax_loss(LOGITS.clone().requires_grad_(), nobody, nobody)
    loss.backward()
    assert loss.item() == 0
