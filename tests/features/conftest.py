"""What tests of `features` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


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
