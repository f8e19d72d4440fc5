"""A fine match model on disk: `model.safetensors`, what its networks have learned in files of their own, which other
encoders of the same weights may take (`encoders.tuned`), and, last, `model.json`; nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from features.checkpoint import part
from features.encoders.config import EncoderConfig
from features.encoders.image import image_encoder
from features.encoders.text import TextEncoder
from features.encoders.tuning import IMAGE_FILE, TEXT_FILE, Extent, put_back, read_tuned, save_tuned
from features.errors import InputError
from features.match.calibrator import Calibrator
from features.match.fine.config import FineConfig
from features.match.fine.kernel import KernelHeads
from features.match.fine.matcher import NETWORKS, Matcher, Sizes
from features.match.fine.model import Bank, FineModel
from features.match.fine.pixel_heads import PixelHeads
from features.match.fine.tuning import TunedScenes, TunedSentences
from features.match.fine.words import WordList

FORMAT = 1
SIDES = (TEXT_FILE, IMAGE_FILE)


def save_model(model: FineModel, folder: Path) -> None:
    """Write the model into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"member{number}.{name}": tensor.cpu().contiguous()
        for number, member in enumerate(model.members)
        for name, tensor in member.kept().items()
        if not name.startswith(NETWORKS)
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
    for side in SIDES:
        (folder / side).unlink(missing_ok=True)
        networks = [network.encoder for member in model.members if (network := _tuned(member, side)) is not None]
        if networks:
            save_tuned(folder / side, networks, _extent(model.config, side), base=_base(model.encoders, side))
    about = {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "encoders": model.encoders.model_dump(mode="json"),
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
        encoders = EncoderConfig.model_validate(about.get("encoders", {}))
        members = []
        for number in range(about["members"]):
            member = Matcher(sizes, config, encoders).eval()
            for side in SIDES:
                if (network := _tuned(member, side)) is not None:
                    put_back(network.encoder, read_tuned(folder / side, base=_base(encoders, side), member=number)[1])
            networks = {name: value for name, value in member.kept().items() if name.startswith(NETWORKS)}
            member.put_back(networks | part(tensors, f"member{number}."))
            members.append(member)
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
            encoders,
        )
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"match model cannot be read from {folder}: {error}") from error


def _tuned(member: Matcher, side: str) -> TunedScenes | TunedSentences | None:
    return member.sentences if side == TEXT_FILE else member.scenes


def _extent(config: FineConfig, side: str) -> Extent:
    return config.text_extent if side == TEXT_FILE else config.image_extent


def _base(encoders: EncoderConfig, side: str) -> str:
    return TextEncoder.of(encoders).weights if side == TEXT_FILE else image_encoder(encoders).weights
