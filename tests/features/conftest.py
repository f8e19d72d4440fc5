"""What tests of `features` share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from features.pictures.fetched import FetchedImages
from tests.features.picture_server import PictureServer

if TYPE_CHECKING:
    from features.match.fine.views import Listings

COLORS = ("red", "green", "blue", "white")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], None]], Path]:
    """Folders of small models with random weights: `model_folder(save)` calls `save(folder)`, once a module."""
    made: dict[str, Path] = {}

    def make(save: Callable[[Path], None]) -> Path:
        import torch

        if save.__name__ not in made:
            torch.manual_seed(0)
            made[save.__name__] = tmp_path_factory.mktemp(save.__name__)
            save(made[save.__name__])
        return made[save.__name__]

    return make


@pytest.fixture(scope="module")
def colored(tmp_path_factory: pytest.TempPathFactory) -> Listings:
    """48 pictures of 32 x 32 pixels, each with a square in one of four colors that its words name."""
    from features.encoders.local import LocalConfig, read_pictures, read_pixels
    from features.match.fine.views import Listings
    from features.quarantine import Quarantine

    n, local = 48, LocalConfig(height=32, width=32)

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

    names = [str(number) for number in range(n)]
    cache = tmp_path_factory.mktemp("cache")
    pictures = read_pictures(names, Album(), local, patches=False, cache_dir=cache, quarantine=Quarantine())
    pictures = replace(pictures, pixels=read_pixels(names, Album(), local))
    texts = [f"{COLORS[number % 4]} thing" for number in range(n)]
    return Listings(texts, np.zeros((n, 4), dtype=np.float32), pictures, None)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    running = PictureServer()
    yield running
    running.close()


@pytest.fixture
def store(tmp_path: Path) -> FetchedImages:
    return FetchedImages(tmp_path / "fetched")
