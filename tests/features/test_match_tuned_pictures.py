"""Picture networks other than the bundled one, in scenes and patches, tuned or not; and what a network's blocks are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from features.encoders import bundled, models
from features.encoders.config import EncoderConfig
from features.encoders.image import PixelNetwork, image_encoder
from features.encoders.local import LocalConfig, SceneEncoder
from features.encoders.named_scenes import NamedScenes
from features.encoders.scenes import COLOR_DIM, color_parts
from features.encoders.text import TextEncoder
from features.encoders.tuning import IMAGE_FILE, Extent, blocks_of
from features.errors import InputError
from features.match.fine.config import FineConfig
from features.match.fine.files import load_model, save_model
from features.match.fine.fit import fit_fine
from features.match.fine.tuning import TunedScenes
from features.match.fine.views import Listings
from tests.features.text_models import Folder, save_bert, save_gpt2, save_t5
from tests.features.vision_models import save_clip, save_convnext, save_dino_with_registers, save_vit

CPU = torch.device("cpu")
LOCAL = LocalConfig(height=64, width=32)
TINY = FineConfig(dim=8, hidden=8, word_dim=8, members=1, epochs=1, batch=16, local=LOCAL, encoder_learning_rate=1e-2)


def save_timm(folder: Path, name: str) -> None:
    network = models.timm().create_model(name, pretrained=False).eval()
    models.timm().models.save_for_hf(network, folder, safe_serialization=True)


def save_timm_vit(folder: Path) -> None:
    save_timm(folder, "test_vit")


def save_timm_resnet(folder: Path) -> None:
    save_timm(folder, "test_resnet")


def save_timm_convnext(folder: Path) -> None:
    save_timm(folder, "test_convnext")


KINDS = [save_timm_vit, save_timm_resnet, save_timm_convnext, save_vit, save_dino_with_registers, save_convnext]


def named(folder: Path) -> EncoderConfig:
    return EncoderConfig(image_model=str(folder), engine="torch")


def pixels(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 64, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def seen(colored: Listings) -> Callable[[EncoderConfig], Listings]:
    """Listings whose scenes are of the named network, frozen."""

    def see(encoders: EncoderConfig) -> Listings:
        drawn = [Image.fromarray(one.transpose(1, 2, 0)) for one in colored.pictures.pixels]  # type: ignore[union-attr]
        encoder = SceneEncoder(LOCAL, CPU, encoders)
        prepared = [encoder.prepare(one) for one in drawn]
        scene, _ = encoder.encode(prepared)
        found = replace(colored.pictures, scene=scene.astype(np.float16), pixels=np.stack(prepared))
        return replace(colored, pictures=found)

    return see


def test_a_networks_blocks_are_the_members_of_its_outermost_lists(model_folder: Folder) -> None:
    assert [type(block).__name__ for block in blocks_of(bundled.image_network())] == ["Sequential"] * 7
    texts = [
        TextEncoder.of(EncoderConfig(text_model=str(model_folder(save)))) for save in (save_bert, save_gpt2, save_t5)
    ]
    assert [{type(b).__name__ for b in blocks_of(one.network)} for one in texts] == [
        {"BertLayer"},
        {"GPT2Block"},
        {"T5Block"},
    ]
    assert [len(blocks_of(one.network)) for one in texts] == [2, 2, 2]
    resnet = blocks_of(image_encoder(named(model_folder(save_timm_resnet))).network)
    assert [type(block).__name__ for block in resnet[-4:]] == ["BasicBlock", "BasicBlock", "Bottleneck", "BasicBlock"]


@pytest.mark.parametrize("save", KINDS)
def test_a_scene_is_the_networks_own_vector_of_the_whole_picture_beside_its_colors(
    model_folder: Folder, save: Callable[[Path], None]
) -> None:
    config = named(model_folder(save))
    encoder = SceneEncoder(LOCAL, CPU, config)
    network = encoder.network
    assert isinstance(network, NamedScenes)
    scene, patches = encoder.encode(list(pixels().numpy()))
    whole = torch.nn.functional.interpolate(pixels().float() / 255, network.size, mode="bicubic", antialias=True)
    whole = whole.clamp(0, 1)
    encoder_of_wholes = image_encoder(config)
    plain, dim = encoder_of_wholes.network, encoder_of_wholes.dim
    given = (plain.network if isinstance(plain, PixelNetwork) else plain)((whole - network.mean) / network.std)
    np.testing.assert_allclose(scene[:, :dim], given.detach().numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scene[:, dim:], color_parts(pixels().float() / 255)[0].numpy(), atol=1e-5)
    assert scene.shape == (3, dim + COLOR_DIM)
    assert patches.shape[:2] == (3, LOCAL.grid[0] * LOCAL.grid[1])


def test_patches_stand_where_their_features_are(model_folder: Folder) -> None:
    encoder = SceneEncoder(LOCAL, CPU, named(model_folder(save_vit)))
    picture = pixels(1)
    changed = picture.clone()
    changed[:, :, 40:] = 255  # the lower patch alone
    one, other = (encoder.encode(list(each.numpy()))[1][0] for each in (picture, changed))
    difference = np.abs(one - other).mean(1)
    assert difference[1] > 2 * difference[0]


def test_scenes_of_other_networks_and_sizes_are_cached_apart(model_folder: Folder) -> None:
    vit, convnext = named(model_folder(save_vit)), named(model_folder(save_convnext))
    names = {SceneEncoder(local, CPU, config).fingerprint for config in (EncoderConfig(), vit, convnext)
             for local in (LOCAL, LocalConfig())}  # fmt: skip
    assert len(names) == 6
    cut = SceneEncoder(LOCAL, CPU, EncoderConfig(text_model="/elsewhere", item_pictures="first"))
    assert cut.fingerprint == SceneEncoder(LOCAL, CPU).fingerprint


@pytest.mark.parametrize(
    ("save", "how"),
    [
        (save_timm_vit, "adapters"),
        (save_timm_resnet, "last_blocks"),
        (save_timm_convnext, "full"),
        (save_vit, "last_blocks"),
        (save_dino_with_registers, "adapters"),
        (save_convnext, "last_blocks"),
    ],
)
def test_what_is_to_stay_stays_and_the_rest_moves_in_any_network(
    model_folder: Folder,
    save: Callable[[Path], None],
    how: str,
    seen: Callable[[EncoderConfig], Listings],
    tmp_path: Path,
) -> None:
    config = named(model_folder(save))
    listings = seen(config)
    asked = TINY.model_copy(update={"tuning": how, "blocks": 1, "rank": 2})
    start = TunedScenes(config, asked.image_extent, LOCAL.grid)
    pictures = torch.from_numpy(listings.pictures.pixels)  # type: ignore[arg-type]
    with torch.inference_mode():
        scene = start(pictures)[0].numpy()
    np.testing.assert_allclose(scene, listings.pictures.scene.astype(np.float32), rtol=2e-3, atol=2e-3)
    model = fit_fine(listings, (), np.arange(32), np.arange(32, 48), asked, seed=0, encoders=config)
    tuned = model.members[0].scenes
    assert tuned is not None
    before = image_encoder(config).network.state_dict()
    after = {name.replace(".base.", "."): value for name, value in tuned.encoder.state_dict().items()}
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    may = {name.replace(".base.", ".") for name, p in start.encoder.named_parameters() if p.requires_grad}
    assert moved <= may
    assert bool(moved) == (how != "adapters")
    assert len(may & set(before)) < len(before) or how == "full"
    save_model(model, tmp_path)
    if how == "adapters":
        assert {name.rpartition(".")[2] for name in load_file(tmp_path / IMAGE_FILE)} == {"up", "down"}
        assert any(value.any() for name, value in load_file(tmp_path / IMAGE_FILE).items() if name.endswith("up"))
    views = model.views(listings)
    for a, b in zip(model.embed(views), load_model(tmp_path).embed(views), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("save", [None, save_timm_vit, save_vit])
def test_encoders_of_whole_pictures_take_what_a_match_model_has_learned(
    model_folder: Folder,
    save: Callable[[Path], None] | None,
    seen: Callable[[EncoderConfig], Listings],
    tmp_path: Path,
) -> None:
    config = EncoderConfig() if save is None else named(model_folder(save))
    asked = TINY.model_copy(update={"tuning": "adapters"})
    model = fit_fine(seen(config), (), np.arange(32), np.arange(32, 48), asked, seed=0, encoders=config)
    save_model(model, tmp_path)
    plain, tuned = image_encoder(config), image_encoder(config.model_copy(update={"tuned": str(tmp_path)}))
    assert plain.fingerprint != tuned.fingerprint
    prepared = [plain.prepare(Image.new("RGB", (40, 60), color)) for color in ("red", "navy")]
    a, b = plain.encode(prepared), tuned.encode(prepared)
    assert np.abs(a - b).max() > 1e-5
    scenes = SceneEncoder(LOCAL, CPU, config.model_copy(update={"tuned": str(tmp_path)}))
    assert scenes.fingerprint != SceneEncoder(LOCAL, CPU, config).fingerprint
    network = model.members[0].scenes
    assert network is not None
    with torch.inference_mode():
        expected = network(pixels())[0].numpy()
    np.testing.assert_allclose(scenes.encode(list(pixels().numpy()))[0], expected, rtol=1e-4, atol=1e-4)
    other = EncoderConfig(image_model=str(model_folder(save_convnext)), tuned=str(tmp_path))
    with pytest.raises(InputError, match="must tune the weights that it began with"):
        _ = image_encoder(other).network


def test_a_joint_model_is_neither_read_part_by_part_nor_tuned(model_folder: Folder, tmp_path: Path) -> None:
    clip = named(model_folder(save_clip))
    with pytest.raises(InputError, match="image_model must be a network of pictures alone"):
        TunedScenes(clip, Extent("full", 1, 2), (1, 1))
    (tmp_path / IMAGE_FILE).touch()
    with pytest.raises(InputError, match="a joint one is never tuned"):
        image_encoder(clip.model_copy(update={"tuned": str(tmp_path)}))
