"""Networks of their own for attributes, on pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoders.local import LocalConfig
from features.match.fine import pixel_training
from features.match.fine.config import FineConfig, KernelConfig, PixelConfig
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.labels import Label
from features.match.fine.model import FineModel
from features.match.fine.pixel_heads import PixelHeads, fitting
from features.match.fine.pixel_training import Taught, shares_of, train_pixel_heads
from features.match.fine.variants import varied
from features.match.fine.views import Listings
from features.pictures.augment import AugmentConfig

N = 48
LEARNED, HELD = np.arange(32), np.arange(32, N)
PIXELS = PixelConfig(members=2, height=32, width=32, epochs=6, batch=8, learning_rate=5e-3)
COLOR = Label("color", ("blue", "green", "red", "white"), np.array([(2, 1, 0, 3)[row % 4] for row in range(N)]))
PARITY = Label("parity", ("even", "odd"), np.array([row % 2 if row % 5 else -1 for row in range(N)]))


@pytest.fixture(scope="module")
def model(colored: Listings) -> FineModel:
    config = FineConfig(dim=8, hidden=8, members=1, epochs=2, batch=16, local=LocalConfig(height=32, width=32))
    return fit_fine(
        colored,
        (COLOR, PARITY),
        LEARNED,
        HELD,
        config.model_copy(update={"pixels": PIXELS, "kernel": KernelConfig(listings=0)}),
        seed=0,
    )


def taught() -> Taught:
    labels = tuple(torch.from_numpy(label.of[LEARNED]) for label in (COLOR, PARITY))
    return Taught(labels, (torch.ones(4), torch.ones(2)))


def pixels_of(colored: Listings) -> torch.Tensor:
    assert colored.pictures.pixels is not None
    return torch.from_numpy(colored.pictures.pixels[LEARNED])


def test_a_planted_color_is_told_of_pictures_that_were_not_learned(model: FineModel, colored: Listings) -> None:
    color, parity = model.told_by_pixels(model.views(colored, HELD))
    assert color.shape == (len(HELD), 4)
    np.testing.assert_allclose(color.sum(axis=1), 1, atol=1e-5)
    assert (color.argmax(axis=1) == COLOR.of[HELD]).mean() > 0.9
    assert ((parity.argmax(axis=1) == HELD % 2).mean()) > 0.9


def test_what_is_told_is_the_weighted_mean_of_scenes_and_pixels(model: FineModel, colored: Listings) -> None:
    assert len(model.pixel_heads) == 2
    assert all(share > 0 for share in model.pixel_shares)
    views = model.views(colored, HELD)
    bare = FineModel(**{**vars(model), "pixel_heads": (), "pixel_shares": ()})
    scenes, pixels, both = bare.told(views), model.told_by_pixels(views), model.told(views)
    for share, a, b, mixed in zip(model.pixel_shares, scenes, pixels, both, strict=True):
        np.testing.assert_allclose(mixed, (1 - share) * a + share * b, rtol=1e-5)
    for mine, words in zip(model.told(views, of="text"), bare.told(views, of="text"), strict=True):
        np.testing.assert_array_equal(mine, words)


def test_a_saved_model_tells_the_same(model: FineModel, colored: Listings, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.pixel_shares == model.pixel_shares
    for a, b in zip(model.told(model.views(colored)), again.told(again.views(colored)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_run_that_was_cut_off_goes_on_to_the_same_numbers(
    colored: Listings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PIXELS.model_copy(update={"epochs": 2, "batch": 16})
    whole = train_pixel_heads(pixels_of(colored), taught(), config, seed=4)

    def cut(*args: object, epoch: int, **named: object) -> torch.Tensor:
        if epoch == 1:
            raise KeyboardInterrupt
        return varied(*args, epoch=epoch, **named)  # type: ignore[arg-type]

    path = tmp_path / "pixels0.safetensors"
    monkeypatch.setattr(pixel_training, "varied", cut)
    with pytest.raises(KeyboardInterrupt):
        train_pixel_heads(pixels_of(colored), taught(), config, seed=4, checkpoint=path)
    begun: list[int] = []
    monkeypatch.setattr(
        pixel_training, "varied", lambda *a, epoch, **b: (begun.append(epoch), varied(*a, epoch=epoch, **b))[1]
    )
    rest = train_pixel_heads(pixels_of(colored), taught(), config, seed=4, checkpoint=path)
    assert begun == [1]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(rest.state_dict()[name], value, msg=name)
    one_more = config.model_copy(update={"members": config.members + 1})
    train_pixel_heads(pixels_of(colored), taught(), one_more, seed=4, checkpoint=path)
    assert begun == [1]  # how many others there are changes nothing of this one
    begun.clear()
    one_else = pixels_of(colored).clone()
    one_else[5] = 0
    heavier = replace(taught(), weights=(torch.ones(4), torch.tensor([1.0, 2.0])))
    train_pixel_heads(one_else, taught(), config, seed=4, checkpoint=path)
    train_pixel_heads(one_else, heavier, config, seed=4, checkpoint=path)
    assert begun == [0, 1] * 2  # of other pictures, or with other weights, it is another run


def test_each_attribute_believes_whom_the_labels_say_to_believe() -> None:
    rows = np.arange(4)
    labels = (Label("a", ("x", "y"), np.array([0, 1, 0, -1])), Label("b", ("x", "y"), np.array([0, 1, 1, 1])))
    right = [np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]]), np.array([[0.9, 0.1], *[[0.1, 0.9]] * 3])]
    even = [np.full((4, 2), 0.5)] * 2
    of = [one.astype(np.float32) for one in right], [one.astype(np.float32) for one in even]
    assert shares_of([of[1][0], of[0][1]], [of[0][0], of[1][1]], labels, rows) == (1.0, 0.0)
    # right with .9 of two, wrong with .9 of one, beside .5: 2 (.5 - .4 s)^2 + (.5 + .4 s)^2 is least at s = 5/12
    often = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.5, 0.5]], dtype=np.float32)
    assert shares_of([of[1][0]], [often], labels[:1], rows) == (0.4,)


def test_one_label_held_for_impossible_does_not_outweigh_many_told_better() -> None:
    label = Label("a", ("x", "y"), np.zeros(10, dtype=np.int64))
    some, others = (
        np.stack([p, 1 - p], axis=1).astype(np.float32)
        for p in (np.r_[np.full(9, 0.6), 0.3], np.r_[np.full(9, 0.95), 0.001])
    )
    # 9 (.4 - .35 s)^2 + (.7 + .299 s)^2 is least at s = .88; the likelihood would have said .73
    assert shares_of([some], [others], (label,), np.arange(10)) == (0.9,)


def test_variants_follow_from_seed_row_and_epoch() -> None:
    pixels = torch.randint(0, 255, (5, 3, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    settings = AugmentConfig()
    first = varied(pixels, settings, seed=1, epoch=0)
    assert first.shape == pixels.shape
    assert torch.equal(first, varied(pixels, settings, seed=1, epoch=0))
    assert torch.equal(first[:2], varied(pixels[:2], settings, seed=1, epoch=0))
    for other in (varied(pixels, settings, seed=2, epoch=0), varied(pixels, settings, seed=1, epoch=1)):
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    nothing = AugmentConfig(crop_area=1, crop_ratio=1, flip=0, brightness=0, contrast=0, saturation=0, blur=0, erase=0)
    assert torch.equal(varied(pixels, nothing, seed=1, epoch=0), pixels)


def test_a_network_begins_undecided_and_takes_pictures_of_any_size() -> None:
    torch.manual_seed(0)
    heads = PixelHeads((4, 2), PIXELS).eval()
    pixels = torch.randint(0, 255, (3, 3, 64, 96), dtype=torch.uint8)
    color, parity = heads.told(pixels)
    torch.testing.assert_close(color, torch.full((3, 4), 0.25))
    torch.testing.assert_close(parity, torch.full((3, 2), 0.5))
    gray = torch.full((2, 3, 64, 96), 77, dtype=torch.uint8)
    assert torch.equal(fitting(gray, PIXELS), torch.full((2, 3, 32, 32), 77, dtype=torch.uint8))
