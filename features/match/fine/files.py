"""A fine match model on disk: `model.safetensors` and, last, `model.json`; nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from features.checkpoint import part
from features.errors import InputError
from features.match.calibrator import Calibrator
from features.match.fine.config import FineConfig
from features.match.fine.kernel import KernelHeads
from features.match.fine.matcher import Matcher, Sizes
from features.match.fine.model import Bank, FineModel
from features.match.fine.pixel_heads import PixelHeads
from features.match.fine.words import WordList

FORMAT = 1


def save_model(model: FineModel, folder: Path) -> None:
    """Write the model into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"member{number}.{name}": tensor.cpu().contiguous()
        for number, member in enumerate(model.members)
        for name, tensor in member.state_dict().items()
    }
    tensors |= {
        f"pixels{number}.{name}": tensor.cpu().contiguous()
        for number, heads in enumerate(model.pixel_heads)
        for name, tensor in heads.state_dict().items()
    }
    if model.kernel_heads is not None:
        tensors |= {f"kernels.{name}": x.cpu().contiguous() for name, x in model.kernel_heads.tensors().items()}
    tensors |= {"bank.texts": torch.from_numpy(model.bank.texts), "bank.images": torch.from_numpy(model.bank.images)}
    save_file(tensors, folder / "model.safetensors")
    about = {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "sizes": asdict(model.members[0].sizes),
        "members": len(model.members),
        "words": model.words.words,
        "labels": model.labels,
        "calibrator": asdict(model.calibrator),
        "blend": model.blend,
        "kernel_shares": model.kernel_shares,
        "pixel_shares": model.pixel_shares,
    }
    (folder / "model.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")


def load_model(folder: Path) -> FineModel:
    """Read what `save_model` wrote.

    Raises:
        InputError: a file is missing, of another format, or broken.
    """
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise InputError(f"match model must have format {FORMAT}, {folder / 'model.json'} has {about['format']}")
        tensors = load_file(folder / "model.safetensors")
        config = FineConfig.model_validate(about["config"])
        sizes = Sizes(**{**about["sizes"], "n_values": tuple(about["sizes"]["n_values"])})
        members = []
        for number in range(about["members"]):
            member = Matcher(sizes, config)
            member.load_state_dict(part(tensors, f"member{number}."))
            members.append(member.eval())
        kernel_shares = tuple(about.get("kernel_shares", ()))
        kernels = KernelHeads.of_tensors(part(tensors, "kernels."), len(kernel_shares)) if kernel_shares else None
        shares = tuple(about.get("pixel_shares", ()))
        pixel_heads = []
        for number in range(config.pixels.members if shares else 0):
            heads = PixelHeads(sizes.n_values, config.pixels)
            heads.load_state_dict(part(tensors, f"pixels{number}."))
            pixel_heads.append(heads.eval())
        return FineModel(
            config,
            WordList(tuple(about["words"])),
            tuple(members),
            tuple((name, tuple(values)) for name, values in about["labels"]),
            Bank(tensors["bank.texts"].numpy(), tensors["bank.images"].numpy()),
            Calibrator.of_dict(about["calibrator"]),
            float(about["blend"]),
            kernels,
            kernel_shares,
            tuple(pixel_heads),
            shares,
        )
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"match model cannot be read from {folder}: {error}") from error
