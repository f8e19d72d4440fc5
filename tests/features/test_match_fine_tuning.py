"""Training the picture network along: what moves, what stays, and that it helps where frozen features cannot tell."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from features.encoders.local import LocalConfig, Pictures, read_pictures, read_pixels
from features.match.fine.config import FineConfig
from features.match.fine.explanation import attribution
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.model import FineModel
from features.match.fine.tuning import LowRank, TunedScenes, add_low_rank
from features.match.fine.views import Listings
from features.quarantine import Quarantine

N = 48
LOCAL = LocalConfig(height=32, width=32)
TINY = FineConfig(
    dim=8, hidden=8, word_dim=8, members=1, epochs=2, batch=16, local=LOCAL, encoder_learning_rate=1e-3, rank=2
)
COLORS = ("red", "green", "blue", "white")


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


@pytest.fixture(scope="module")
def listings(tmp_path_factory: pytest.TempPathFactory) -> Listings:
    class Album:
        def names(self) -> set[str]:
            return set()

        def read(self, name: str) -> bytes:
            number = int(name)
            picture = Image.new("RGB", (40, 40), "gray")
            picture.paste(COLORS[number % 4], (number % 7, number % 5, 30, 30))
            data = io.BytesIO()
            picture.save(data, "PNG")
            return data.getvalue()

        def fingerprint(self) -> str:
            return ""

    names = [str(number) for number in range(N)]
    cache = tmp_path_factory.mktemp("cache")
    pictures = read_pictures(names, Album(), LOCAL, patches=False, cache_dir=cache, quarantine=Quarantine())
    pictures = replace(pictures, pixels=read_pixels(names, Album(), LOCAL))
    texts = [f"{COLORS[number % 4]} thing" for number in range(N)]
    return Listings(texts, np.zeros((N, 4), dtype=np.float32), pictures, None)


def fitted(listings: Listings, **changes: object) -> FineModel:
    return fit_fine(listings, (), np.arange(32), np.arange(32, N), TINY.model_copy(update=changes), seed=0)


@pytest.mark.parametrize("tuning", ["last_blocks", "adapters", "full"])
def test_what_is_to_stay_stays_and_the_rest_moves(listings: Listings, tuning: str, tmp_path: Path) -> None:
    model = fitted(listings, tuning=tuning)
    tuned = model.members[0].scenes
    assert tuned is not None
    torch.manual_seed(0)
    fresh = TunedScenes(tuning, TINY.rank).state_dict()  # type: ignore[arg-type]
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
    views = model.views(listings, np.arange(32, N))
    for a, b in zip(model.embed(views), load_model(tmp_path).embed(views), strict=True):
        np.testing.assert_array_equal(a, b)


def test_before_any_step_the_tuned_network_says_what_the_frozen_one_says(listings: Listings) -> None:
    assert isinstance(listings.pictures, Pictures)
    assert listings.pictures.pixels is not None
    with torch.inference_mode():
        scene, _ = TunedScenes("adapters", 2)(torch.from_numpy(listings.pictures.pixels[:4]))
    np.testing.assert_allclose(scene.numpy(), listings.pictures.scene[:4].astype(np.float32), rtol=2e-2, atol=2e-2)


def test_a_frozen_network_is_not_carried_along(listings: Listings) -> None:
    model = fitted(listings)
    assert model.members[0].scenes is None
    assert not any(name.startswith("scenes") for name in model.members[0].state_dict())


def test_attribution_adds_up_to_what_the_picture_says_beyond_an_even_gray(listings: Listings) -> None:
    model = fitted(listings, epochs=8)
    picture = Image.new("RGB", (64, 64), "gray")
    picture.paste("red", (0, 0, 20, 20))
    wide = replace(model, config=model.config.model_copy(update={"local": LocalConfig(height=64, width=64)}))
    text = model.embed(model.views(listings, np.array([0])))[0][0]
    found = attribution(wide, text, picture)
    assert found.shape == (2, 2)
    assert np.isfinite(found).all()
    assert np.abs(found[0, 0]) > 3 * np.abs(found[1, 1])  # the red corner matters, the gray one hardly
