from __future__ import annotations

import math

import pytest
import torch

from features.match.config import MAX_LOGIT_SCALE, MatchConfig
from features.match.two_tower import Tower, TwoTower, contrastive_loss

NONE_ALIKE = torch.arange(3)


def naive_loss(text: torch.Tensor, image: torch.Tensor, scale: float, skip: set[tuple[int, int]]) -> float:
    n, total = len(text), 0.0
    f = [[scale * float(text[i] @ image[j]) for j in range(n)] for i in range(n)]
    for i in range(n):
        others = [j for j in range(n) if (i, j) not in skip]
        total -= f[i][i] - math.log(sum(math.exp(f[i][j]) for j in others))
        total -= f[i][i] - math.log(sum(math.exp(f[j][i]) for j in others))
    return total / (2 * n)


def test_loss_is_symmetric_info_nce() -> None:
    text, image = torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    loss = contrastive_loss(text, image, torch.tensor(3.0), NONE_ALIKE, NONE_ALIKE)
    assert float(loss) == pytest.approx(naive_loss(text, image, 3.0, set()), rel=1e-5)


@pytest.mark.parametrize("of", ["text", "image"])
def test_twins_are_no_negatives_of_each_other(of: str) -> None:
    text, image = torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)), dim=2)
    twins = torch.tensor([7, 2, 7])
    same_text, same_image = (twins, NONE_ALIKE) if of == "text" else (NONE_ALIKE, twins)
    loss = contrastive_loss(text, image, torch.tensor(3.0), same_text, same_image)
    assert float(loss) == pytest.approx(naive_loss(text, image, 3.0, {(0, 2), (2, 0)}), rel=1e-5)


def test_towers_give_unit_rows_and_standardize_their_inputs() -> None:
    tower = Tower(3, 8, 4, dropout=0.5, noise=1.0).eval()
    x = torch.tensor([[100.0, 1, 5], [104.0, 3, 5], [102.0, 5, 5]])
    tower.standardize_by(x)
    standardized = tower.standardized(x)
    torch.testing.assert_close(standardized[:, 0], torch.tensor([-1.0, 1.0, 0.0]))
    torch.testing.assert_close(standardized[:, 2], torch.zeros(3))
    out = tower(x)
    assert out.shape == (3, 4)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(out, tower(x))


def test_a_linear_start_is_the_given_direction_alone() -> None:
    tower = Tower(3, 8, 2, dropout=0.0, noise=0.0).eval()
    direction = torch.tensor([[1.0], [0.0], [-2.0]])
    tower.start_from(direction)
    x = torch.tensor([[2.0, 5.0, 0.5], [0.0, 5.0, 1.0]])
    torch.testing.assert_close(tower(x), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))


def test_inverse_temperature_is_bounded() -> None:
    towers = TwoTower.of(MatchConfig(hidden=4, dim=2), 3, 5)
    towers.log_scale.data.fill_(50.0)
    assert towers.logit_scale.item() == pytest.approx(math.exp(MAX_LOGIT_SCALE))
