from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from features import torchvision_shim
from features.torchvision_shim import SCHEMAS, TorchvisionState


def test_timm_and_transformers_import_in_a_fresh_interpreter() -> None:
    code = (
        "import features.torchvision_shim, torchvision, timm\n"
        "from transformers import CLIPModel, CLIPImageProcessor\n"
        "from torchvision.transforms import Resize\n"
        "from PIL import Image\n"
        "print(Resize(4)(Image.new('RGB', (8, 8))).size)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == "(4, 4)"


def test_the_state_says_whether_operators_can_be_called() -> None:
    import torchvision

    boxes, scores = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.9, 0.8])
    if torchvision_shim.STATE is TorchvisionState.NATIVE:
        assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [0]
    else:
        assert torchvision_shim.STATE is TorchvisionState.DECLARED
        with pytest.raises(RuntimeError, match="Couldn't load custom C\\+\\+ ops"):
            torchvision.ops.nms(boxes, scores, 0.5)
        with pytest.raises(NotImplementedError, match="torchvision::nms"):
            torch.ops.torchvision.nms(boxes, scores, 0.5)


def test_every_operator_looked_up_on_import_exists() -> None:
    assert [schema.partition("(")[0] for schema in SCHEMAS] == ["nms", "qnms", "roi_align"]
    assert all(torchvision_shim._exists(schema.partition("(")[0]) for schema in SCHEMAS)


def test_preparing_again_changes_nothing() -> None:
    state, library = torchvision_shim.prepare()
    assert state is torchvision_shim.STATE
    assert torchvision_shim._exists("nms")
    del library
    assert torchvision_shim._exists("nms"), "the first declaration must outlive the second"


def test_a_library_that_does_not_load_is_not_taken_for_one_that_does(tmp_path: Path) -> None:
    assert not torchvision_shim._load_native(tmp_path)
    (tmp_path / "_C.so").write_bytes(b"not a library")
    assert not torchvision_shim._load_native(tmp_path)


def test_without_torchvision_the_state_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_shim, "find_spec", lambda name: None)
    assert torchvision_shim.prepare() == (TorchvisionState.ABSENT, None)
