from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.checkpoint import Checkpoint, fingerprint, optimizer_tensors, restore_optimizer
from features.errors import InputError


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.safetensors"
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.int64)}
    Checkpoint(tensors, {"epoch": 3, "history": [{"loss": 0.1}]}).save(path)
    loaded = Checkpoint.load(path)
    assert loaded.state == {"epoch": 3, "history": [{"loss": 0.1}]}
    assert {name: t.tolist() for name, t in loaded.tensors.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}
    assert [found.name for found in path.parent.iterdir()] == ["c.safetensors"]


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoint({"a": torch.zeros(1)}, {"epoch": 1}).save(path)

    def dies(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("features.checkpoint.save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        Checkpoint({"a": torch.ones(1)}, {"epoch": 2}).save(path)
    assert Checkpoint.load(path).state == {"epoch": 1}


def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    damaged, foreign = tmp_path / "damaged.safetensors", tmp_path / "foreign.safetensors"
    damaged.write_bytes(b"\x00" * 100)
    save_file({"a": torch.zeros(1)}, foreign, metadata={"format": "99", "state": "{}"})
    with pytest.raises(InputError, match=r"damaged\.safetensors.*cannot be read.*delete it"):
        Checkpoint.load(damaged)
    with pytest.raises(InputError, match=r"foreign\.safetensors: checkpoint format must be 1, it is '99'"):
        Checkpoint.load(foreign)


def test_an_optimizer_goes_on_as_if_never_stopped() -> None:
    def parameter_and_optimizer() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        return parameter, torch.optim.AdamW([parameter], lr=0.1)

    def step(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (parameter**4).sum().backward()
        optimizer.step()

    straight, optimizer = parameter_and_optimizer()
    for _ in range(3):
        step(straight, optimizer)
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    value = straight.detach().clone()
    for _ in range(3):
        step(straight, optimizer)
    resumed, other = parameter_and_optimizer()
    with torch.no_grad():
        resumed.copy_(value)
    restore_optimizer(other, saved)
    for _ in range(3):
        step(resumed, other)
    assert torch.equal(straight, resumed)


def test_a_fingerprint_sees_values_types_shapes_and_order() -> None:
    a = np.arange(4, dtype=np.int64)
    different = [
        fingerprint(a),
        fingerprint(a + 1),
        fingerprint(a.astype(np.float64)),
        fingerprint(a.reshape(2, 2)),
        fingerprint(a, "x"),
        fingerprint("x", a),
    ]
    assert len(set(different)) == len(different)
    assert fingerprint(a, "x") == fingerprint(a.copy(), "x")
