"""Training an encoder's network further: its last blocks, low-rank additions, or all of it; and what was learned, kept.

One notion for every network, of words or pictures: its blocks are the members of its outermost lists of modules, which
is how layers, stages and residual blocks are written in `timm` and `transformers` alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from features.checkpoint import part
from features.encoders.config import Tuning
from features.errors import InputError

TEXT_FILE, IMAGE_FILE = "text_network.safetensors", "image_network.safetensors"
"""Where a match model keeps what its networks have learned."""


@dataclass(frozen=True)
class Extent:
    """How far a network is tuned.

    Args:
        tuning: which part of it.
        blocks: how many of its last blocks, where these are tuned.
        rank: of low-rank additions.
    """

    tuning: Tuning
    blocks: int
    rank: int


class LowRank(nn.Module):
    """A linear layer or a 1 x 1 convolution that stays, and beside it a trained product of two thin ones.

    y = W x + B A x with B zero at the start (LoRA, Hu et al., 2022), so that training begins at the network as it was.

    Args:
        base: what stays; also a `Conv1D` of transformers, a linear layer whose matrix lies the other way round.
        rank: rows of A.
    """

    def __init__(self, base: nn.Module, rank: int) -> None:
        super().__init__()
        self.base = base
        self.turned = not isinstance(base, nn.Linear | nn.Conv2d)
        shape = base.weight.shape[:2]  # type: ignore[index]
        d_in, d_out = shape if self.turned else reversed(shape)
        self.down = nn.Parameter(torch.empty(rank, d_in))
        self.up = nn.Parameter(torch.zeros(d_out, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    @property
    def weight(self) -> Tensor:
        """W + B A, for networks that multiply by a layer's weight themselves."""
        product = self.up @ self.down
        given: Tensor = self.base.weight  # type: ignore[assignment]
        return given + (product.T if self.turned else product).view_as(given)

    @property
    def bias(self) -> Tensor | None:
        """That of the base."""
        return self.base.bias  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """As the base: [..., d_in], or [n, d_in, h, w] of a convolution."""
        y: Tensor = self.base(x)
        if not isinstance(self.base, nn.Conv2d):
            return y + functional.linear(functional.linear(x, self.down), self.up)
        down, up = self.down[..., None, None], self.up[..., None, None]
        return y + functional.conv2d(functional.conv2d(x, down), up)


def add_low_rank(module: nn.Module, rank: int) -> int:
    """Put a `LowRank` in the place of every linear layer and plain 1 x 1 convolution; returns how many."""
    found = 0
    for name, child in list(module.named_children()):
        if _is_linear(child):
            setattr(module, name, LowRank(child, rank))
            found += 1
        else:
            found += add_low_rank(child, rank)
    return found


def _is_linear(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The members of the outermost lists of modules, in their order; what has no parameters does not count."""
    found = []
    for child in network.children():
        listed = isinstance(child, nn.ModuleList | nn.Sequential)
        found += list(child.children()) if listed else blocks_of(child)
    return [block for block in found if next(block.parameters(), None) is not None]


def tune(network: nn.Module, extent: Extent) -> None:
    """Let what is to be tuned learn and nothing else; "last_blocks" reach from the first of them to the network's end.

    Raises:
        InputError: it has fewer blocks than are to be tuned, or no layer for an addition.
    """
    everything = list(network.parameters())
    for parameter in everything:
        parameter.requires_grad_(extent.tuning == "full")
    if extent.tuning == "last_blocks":
        blocks = blocks_of(network)
        if len(blocks) < extent.blocks:
            raise InputError(f"model.blocks must be at most {len(blocks)}, as the network has, got {extent.blocks}")
        inside = {id(parameter) for parameter in blocks[-extent.blocks].parameters()}
        first = next(at for at, parameter in enumerate(everything) if id(parameter) in inside)
        for parameter in everything[first:]:
            parameter.requires_grad_(True)
    if extent.tuning == "adapters" and not add_low_rank(network, extent.rank):
        raise InputError("adapters must stand at linear layers or 1 x 1 convolutions, the network has none")


def learned(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by their names."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def put_back(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a network that is tuned to the same extent what `learned` told of another.

    Raises:
        RuntimeError: names or shapes are others.
    """
    wrong = sorted(set(state) ^ set(learned(network)))
    if wrong:
        raise RuntimeError(f"a tuned network must have all of its learned parameters and no others, see {wrong[0]}")
    network.load_state_dict(state, strict=False)


def save_tuned(path: Path, networks: Sequence[nn.Module], extent: Extent, *, base: str) -> None:
    """Write what networks have learned, one a member of a match model; `base` names the weights they began with."""
    tensors = {
        f"member{number}.{name}": tensor.detach().cpu().contiguous()
        for number, network in enumerate(networks)
        for name, tensor in learned(network).items()
    }
    save_file(tensors, path, metadata={"about": json.dumps({**asdict(extent), "base": base})})


def read_tuned(path: Path, *, base: str, member: int = 0) -> tuple[Extent, dict[str, Tensor]]:
    """What a network has learned.

    Args:
        path: a file that `save_tuned` wrote.
        base: the weights that are to be tuned.
        member: whose.

    Raises:
        InputError: the file cannot be read, or tunes other weights.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        began = about.pop("base")
        extent = Extent(**about)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"a tuned network cannot be read from {path}: {error}") from error
    if began != base:
        raise InputError(f"{path} must tune the weights that it began with ({began}), the model named has {base}")
    return extent, part(tensors, f"member{member}.")


def apply_tuned(network: nn.Module, path: Path, *, base: str) -> None:
    """Make a network what the first member of a match model has made of it; see `read_tuned`."""
    extent, state = read_tuned(path, base=base)
    tune(network, extent)
    try:
        put_back(network, state)
    except RuntimeError as error:
        raise InputError(f"a tuned network cannot be read from {path}: {error}") from error
    network.requires_grad_(False)


def tuned_file(given: str | None, name: str) -> Path | None:
    """The file of a match model's folder that tunes one side; None where it left that side as it was.

    Raises:
        InputError: the folder tunes neither side.
    """
    if given is None:
        return None
    folder = Path(given).expanduser()
    if not any((folder / one).is_file() for one in (TEXT_FILE, IMAGE_FILE)):
        raise InputError(f"tuned must be a match model's folder with {TEXT_FILE} or {IMAGE_FILE}, {folder} has neither")
    return folder / name if (folder / name).is_file() else None
