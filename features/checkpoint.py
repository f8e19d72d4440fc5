"""One file a checkpoint, so that a training run cut off at any moment goes on as if nothing had happened.

Everything (parameters, optimizer state, best embeddings, history) stands in one safetensors file, whose header holds
the rest as JSON, and which replaces the previous one in a single rename. There is no state of a random generator to
keep: the randomness of an epoch follows from the seed and the epoch's number alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from features.aside import replacing
from features.errors import InputError

FORMAT = 1
"""Version of the layout; a file of another version is refused."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A moment of training.

    Args:
        tensors: every array of the state, by name.
        state: everything else (JSON-able), such as the epoch and the history.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file; a reader meets the old one or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"format": str(FORMAT), "state": json.dumps(self.state)}
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.tensors.items()}
        with replacing(path) as unfinished:
            save_file(tensors, unfinished, metadata=header)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a file.

        Raises:
            InputError: the file is damaged or of another version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: this checkpoint cannot be read ({error}); delete it to train afresh") from error
        if header.get("format") != str(FORMAT):
            raise InputError(
                f"{path}: checkpoint format must be {FORMAT}, it is {header.get('format')!r}; delete it to train afresh"
            )
        return cls(tensors, json.loads(header["state"]))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of an optimizer's state under flat names such as "optimizer.0.exp_avg"."""
    return {
        f"optimizer.{number}.{name}": value
        for number, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` took; settings such as the learning rate stay those of `optimizer`."""
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for flat, value in tensors.items():
        if flat.startswith("optimizer."):
            _, number, name = flat.split(".", 2)
            slots.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def fingerprint(*parts: str | NDArray[Any]) -> str:
    """Hex digest of texts and arrays (with their types and shapes): the same inputs, the same run."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(b"text" + part.encode() + b"\0")
        else:
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
