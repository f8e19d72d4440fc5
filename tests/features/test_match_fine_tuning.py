"""Training the picture network along: what moves, what stays, and that it helps where frozen features cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from features.encoders.config import EncoderConfig
from features.encoders.local import LocalConfig, Pictures
from features.encoders.tuning import Extent, LowRank, add_low_rank
from features.match.fine import training
from features.match.fine.config import FineConfig
from features.match.fine.explanation import attribution
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.model import FineModel
from features.match.fine.tuning import TunedScenes
from features.match.fine.variants import varied
from features.match.fine.views import Listings
from features.pictures.augment import AugmentConfig

N = 48
TINY = FineConfig(
    dim=8,
    hidden=8,
    word_dim=8,
    members=1,
    epochs=2,
    batch=16,
    local=LocalConfig(height=32, width=32),
    encoder_learning_rate=1e-3,
    rank=2,
)


def test_a_low_rank_addition_begins_as_nothing_and_then_adds_its_product() -> None:
    torch.manual_seed(0)
    for base, x in ((nn.Linear(3, 5), torch.randn(4, 3)), (nn.Conv2d(3, 5, 1), torch.randn(4, 3, 2, 2))):
        module = LowRank(base, 2)
        torch.testing.assert_close(module(x), base(x))
        nn.init.normal_(module.up)
        product = module.up @ module.down
        added = torch.einsum("oi,ni...->no...", product, x)
        torch.testing.assert_close(module(x), base(x) + added)


def test_low_rank_additions_stand_at_pointwise_layers_only() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, groups=4)))
    assert add_low_rank(network, 2) == 1
    assert isinstance(network[1][0], LowRank)  # type: ignore[index]


def fitted(colored: Listings, **changes: object) -> FineModel:
    return fit_fine(colored, (), np.arange(32), np.arange(32, N), TINY.model_copy(update=changes), seed=0)


@pytest.mark.parametrize("tuning", ["last_blocks", "adapters", "full"])
def test_what_is_to_stay_stays_and_the_rest_moves(colored: Listings, tuning: str, tmp_path: Path) -> None:
    model = fitted(colored, tuning=tuning)
    tuned = model.members[0].scenes
    assert tuned is not None
    torch.manual_seed(0)
    fresh = TunedScenes(EncoderConfig(), Extent(tuning, 2, TINY.rank), (1, 1)).state_dict()  # type: ignore[arg-type]
    moved = {name for name, value in tuned.state_dict().items() if not torch.equal(value, fresh[name])}
    moved -= {name for name in moved if name.endswith(".down")}  # begin at random
    assert moved
    if tuning == "adapters":
        assert all(name.endswith(".up") for name in moved)
    elif tuning == "last_blocks":
        assert all(name.startswith(("network.network.blocks.5", "network.network.blocks.6")) or "head" in name
                   or ".bn2." in name for name in moved)  # fmt: skip
    else:
        assert any(name.startswith("network.network.conv_stem") for name in moved)
    assert not any("running" in name for name in moved)
    save_model(model, tmp_path)
    views = model.views(colored, np.arange(32, N))
    for a, b in zip(model.embed(views), load_model(tmp_path).embed(views), strict=True):
        np.testing.assert_array_equal(a, b)


def test_before_any_step_the_tuned_network_says_what_the_frozen_one_says(colored: Listings) -> None:
    assert isinstance(colored.pictures, Pictures)
    assert colored.pictures.pixels is not None
    with torch.inference_mode():
        scene, _ = TunedScenes(EncoderConfig(), Extent("adapters", 2, 2), (1, 1))(
            torch.from_numpy(colored.pictures.pixels[:4])
        )
    np.testing.assert_allclose(scene.numpy(), colored.pictures.scene[:4].astype(np.float32), rtol=2e-2, atol=2e-2)


def test_a_frozen_network_is_not_carried_along(colored: Listings) -> None:
    model = fitted(colored)
    assert model.members[0].scenes is None
    assert not any(name.startswith("scenes") for name in model.members[0].state_dict())


def test_attribution_adds_up_to_what_the_picture_says_beyond_an_even_gray(colored: Listings) -> None:
    model = fitted(colored, epochs=8)
    picture = Image.new("RGB", (64, 64), "gray")
    picture.paste("red", (0, 0, 20, 20))
    wide = replace(model, config=model.config.model_copy(update={"local": LocalConfig(height=64, width=64)}))
    text = model.embed(model.views(colored, np.array([0])))[0][0]
    found = attribution(wide, text, picture)
    assert found.shape == (2, 2)
    assert np.isfinite(found).all()
    assert np.abs(found[0, 0]) > 3 * np.abs(found[1, 1])  # the red corner matters, the gray one hardly


def test_pictures_are_changed_only_where_a_network_learns_of_them() -> None:
    with pytest.raises(ValidationError, match="augment must be left out where tuning is 'frozen'"):
        FineConfig(augment=AugmentConfig())
    assert FineConfig(augment=AugmentConfig(), tuning="full").augment == AugmentConfig()


def test_a_tuned_network_sees_other_variants_in_every_epoch(colored: Listings, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def watched(pixels: torch.Tensor, *args: object, **named: object) -> torch.Tensor:
        shown.append(varied(pixels, *args, **named))  # type: ignore[arg-type]
        return shown[-1]

    monkeypatch.setattr(training, "varied", watched)
    plain = fitted(colored, tuning="last_blocks")
    assert not shown
    changed = fitted(colored, tuning="last_blocks", augment=AugmentConfig(crop_area=0.3))
    assert [len(pixels) for pixels in shown] == [32, 32]
    assert not torch.equal(*shown)
    a, b = (model.embed(model.views(colored, np.arange(32, N)))[1] for model in (plain, changed))
    assert not np.allclose(a, b)
