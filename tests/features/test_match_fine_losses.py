from __future__ import annotations

import math

import pytest
import torch

from features.match.fine import losses

NO_TWINS = torch.zeros(2, 2, dtype=torch.bool)
RIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
SWAPPED = RIGHT.flip(0)


def test_info_nce_of_two_is_the_cross_entropy_written_out() -> None:
    scale = torch.tensor(2.0)
    right = losses.info_nce(RIGHT, RIGHT, scale, NO_TWINS)
    assert float(right) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(losses.info_nce(RIGHT, SWAPPED, scale, NO_TWINS)) == pytest.approx(math.log(1 + math.exp(2)))


def test_smoothing_gives_the_foreign_one_its_share() -> None:
    loss = losses.info_nce(RIGHT, RIGHT, torch.tensor(2.0), NO_TWINS, smoothing=0.2)
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert float(loss) == pytest.approx(0.8 * right + 0.2 * (right + wrong) / 2, rel=1e-5)


def test_a_twin_is_no_negative() -> None:
    twins = torch.tensor([[False, True], [True, False]])
    assert float(losses.info_nce(RIGHT, SWAPPED, torch.tensor(2.0), twins)) == 0


def test_the_triplet_loss_counts_the_hardest_foreign_listing_only() -> None:
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    none = torch.zeros(3, 3, dtype=torch.bool)
    # rows: own 1, .8, .8; hardest foreign .6, 1, 1.  columns: own 1, .8, .8; hardest .6, 1, 1
    expected = 2 * (0 + 0.3 + 0.3) / 3 / 2
    assert float(losses.hardest_triplet(text, image, none, margin=0.1)) == pytest.approx(expected)
    assert float(losses.hardest_triplet(RIGHT, RIGHT, NO_TWINS, margin=0.2)) == 0


def test_consistency_is_nothing_for_spaces_alike_and_counts_each_difference() -> None:
    assert float(losses.consistency(RIGHT, RIGHT)) == 0
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # within: texts alike (1), pictures not (0), twice of four; across: (0, 1) 0 against 1, twice of four
    assert float(losses.consistency(same, RIGHT)) == pytest.approx(0.5 + 0.5)


def test_an_attribute_that_a_listing_lacks_teaches_nothing() -> None:
    logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    loss = losses.told(logits, torch.tensor([0, -1]), torch.ones(2))
    assert float(loss) == pytest.approx(math.log(2))
    assert float(losses.told(logits, torch.tensor([-1, -1]), torch.ones(2))) == 0


def test_class_weights_make_rare_values_count() -> None:
    logits = torch.zeros(4, 2)
    logits[3, 0] = 2.0  # the rare value, told wrong
    label = torch.tensor([0, 0, 0, 1])
    even = losses.told(logits, label, torch.ones(2))
    rare = losses.told(logits, label, torch.tensor([1.0, 3.0]))
    wrong = math.log(1 + math.exp(2))
    assert float(even) == pytest.approx((3 * math.log(2) + wrong) / 4)
    assert float(rare) == pytest.approx((3 * math.log(2) + 3 * wrong) / 6)


def test_relevance_is_binary_cross_entropy_around_the_offset() -> None:
    cosine, wanted = torch.tensor([0.5, 0.3]), torch.tensor([1.0, 0.25])
    loss = losses.relevance(cosine, torch.tensor(10.0), torch.tensor(0.3), wanted)
    first = math.log(1 + math.exp(-2))
    assert float(loss) == pytest.approx((first + math.log(2)) / 2)


def test_the_own_one_is_found_among_those_allowed() -> None:
    logits = torch.tensor([[1.0, 1.0, 5.0]])
    allowed = torch.tensor([[True, True, False]])
    assert float(losses.own_among(logits, allowed)) == pytest.approx(math.log(2))


def test_the_push_is_a_share_of_the_inputs_length_along_the_gradient() -> None:
    inputs, gradient = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    torch.testing.assert_close(losses.pushed(inputs, gradient, 0.5), torch.tensor([[3.0, 6.5]]))


def test_only_what_the_teacher_is_sure_of_is_learned() -> None:
    student = torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 5.0], [0.1, 0.0]])
    loss = losses.agreed(student, teacher)
    assert loss.item() == pytest.approx(math.log(1 + math.e) / 2)
    loss.backward()
    assert student.grad is not None
    assert student.grad[1].abs().sum() == 0
