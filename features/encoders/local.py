"""Pictures part by part, for models that look closer than one vector a listing.

Cached like the vectors: what was read once, by its content, is not read again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from features.encoders import bundled, models
from features.encoders.config import AS_INSTALLED, BUNDLED, EncoderConfig
from features.encoders.described import DONE_AT_ONCE, describe, resized_whole
from features.encoders.image import image_encoder
from features.encoders.named_scenes import NamedScenes, scene_network
from features.encoders.pipeline import run_ahead
from features.encoders.scenes import STRIDE, SceneNetwork
from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.quarantine import Quarantine
from features.section import Section


class LocalConfig(Section):
    """How closely pictures and words are looked at."""

    height: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 224
    """Pixels from top to bottom that the network sees; pictures are resized to it whole, not cropped."""

    width: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 160
    """Pixels from left to right."""

    tokens: PositiveInt = 32
    """Tokens of a text that are kept one by one; longer texts are cut."""

    threads: PositiveInt = 2
    """Threads that read and decode pictures."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches from top to bottom and from left to right."""
        return self.height // STRIDE, self.width // STRIDE


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a shop, part by part.

    Args:
        scene: float16 [n_items, d_scene], zero where there is no picture.
        patches: float16 [n_items, n_patches, d_patch]; [n_items, 0, 0] where they were not asked for.
        mask: bool [n_items]; False where there is no readable picture.
        content: per item 16 hex digits of the SHA-1 of the picture's bytes, "" for none.
        pixels: uint8 [n_items, 3, height, width], black where there is no picture; None where they were not asked for.
        shades: float16 [n_items, d_shades], zero where there is no picture; None where they were not asked for.
    """

    scene: NDArray[np.float16]
    patches: NDArray[np.float16]
    mask: NDArray[np.bool_]
    content: list[str]
    pixels: NDArray[np.uint8] | None = None
    shades: NDArray[np.float16] | None = None


@dataclass(frozen=True, eq=False)
class SceneEncoder:
    """The bundled network, read at every depth, or any other, read at its end.

    Args:
        config: size of the pictures.
        device: where it runs.
        encoders: names the network.
    """

    config: LocalConfig
    device: torch.device
    encoders: EncoderConfig = AS_INSTALLED

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes the descriptions."""
        size = (self.config.height, self.config.width)
        if self.encoders.image_model == BUNDLED and self.encoders.tuned is None:
            return models.fingerprint([bundled.image_file()], "scene", 1, *size)
        return models.fingerprint([], image_encoder(self.encoders).fingerprint, "scene", 1, *size)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize one RGB picture whole, uint8 [3, height, width]."""
        return resized_whole(image, self.config.height, self.config.width)

    @torch.inference_mode()
    def encode(self, batch: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scenes float32 [n, d_scene] and patches float32 [n, n_patches, d_patch]."""
        pixels = torch.from_numpy(np.stack(batch)).to(self.device, memory_format=torch.channels_last)
        scene, patches = self.network(pixels.float() / 255)
        return scene.cpu().numpy(), patches.cpu().numpy()

    @cached_property
    def network(self) -> SceneNetwork | NamedScenes:
        """Pixels to scenes and patches."""
        network = scene_network(self.encoders, self.config.grid)
        return network.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def read_pictures(
    names: list[str],
    source: ImageSource | None,
    config: LocalConfig,
    *,
    patches: bool,
    cache_dir: Path,
    quarantine: Quarantine,
    encoders: EncoderConfig = AS_INSTALLED,
) -> Pictures:
    """Describe the named pictures part by part; each different file is described once.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        config: how closely.
        patches: whether patches are wanted too; they take about as much room as the scenes again.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
        encoders: names the network.
    """
    encoder = SceneEncoder(config, models.device_of("auto"), encoders)
    kinds = {encoder.fingerprint: "scenes"} | ({f"{encoder.fingerprint}-patches": "patches"} if patches else {})
    rows, found = describe(
        names, source, encoder, kinds, threads=config.threads, cache_dir=cache_dir, quarantine=quarantine
    )
    mask = np.array([name in found.key_of for name in names], dtype=bool)
    n_patches = config.grid[0] * config.grid[1]
    cells = rows[1].reshape(len(names), n_patches, -1) if patches else np.zeros((len(names), 0, 0), dtype=np.float16)
    return Pictures(rows[0], cells, mask, [found.digest_of.get(name, "") for name in names])


def read_pixels(names: list[str], source: ImageSource, config: LocalConfig) -> NDArray[np.uint8]:
    """The named pictures at the configured size, uint8 [n, 3, height, width]; black for "" and the unreadable."""
    encoder = SceneEncoder(config, models.device_of("auto"))
    out = np.zeros((len(names), 3, config.height, config.width), dtype=np.uint8)
    rows = [row for row, name in enumerate(names) if name]

    def read(row: int) -> NDArray[np.uint8]:
        return encoder.prepare(decode(source.read(names[row])))

    for row, done in run_ahead(read, rows, threads=config.threads, ahead=2 * DONE_AT_ONCE):
        with suppress(KeyError, UnreadableImage):  # whoever described the pictures has told
            out[row] = done.result()
    return out
