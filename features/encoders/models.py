"""Where an encoder's files are, what they hash to, and where it runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features import torchvision_shim  # noqa: F401 - comes before timm and transformers
from features.encoders.protocol import Arrays
from features.errors import InputError

_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*")
"""Files of a hub model that are downloaded: no pickled weights."""


def folder_of(name: str, *, option: str, download: bool) -> Path:
    """Folder of a model given by path or hub name.

    Args:
        name: a folder, or "owner/name".
        option: the configuration field, for the error.
        download: whether a hub name may be fetched; otherwise it is looked for in the hub's cache on this machine.

    Raises:
        InputError: it is neither, is not there, or cannot be downloaded.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"{option} must be a folder with a config.json, {name!r} has none")
        return _with_weights(folder, option)
    owner, slash, rest = name.partition("/")
    if not (owner and slash and rest) or "/" in rest or name.startswith((".", "~")):
        raise InputError(f"{option} must be 'bundled', an existing folder or a hub name 'owner/name', got {name!r}")
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(name, allow_patterns=list(_PATTERNS), local_files_only=not download)
    except (OSError, ValueError) as error:
        if download:
            raise InputError(f"{option} {name!r} is no local folder and cannot be downloaded: {error}") from error
        raise InputError(
            f"{option} {name!r} is no local folder, and the hub's cache on this machine does not hold it; "
            "to fetch it from the hub, set encoders.download = true"
        ) from error
    return _with_weights(Path(found), option)


def _with_weights(folder: Path, option: str) -> Path:
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"{option} must have its weights as *.safetensors, {folder} has none")
    return folder


def fingerprint(files: Iterable[Path], *settings: object) -> str:
    """Hex digest (16 characters) of the files' contents and of the settings that change what an encoder gives."""
    digest = hashlib.sha256(repr(settings).encode())
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide its vectors."""
    kept = [file for pattern in ("*.json", "*.safetensors", "*.txt", "*.model") for file in folder.glob(pattern)]
    return kept + list(folder.glob("1_Pooling/config.json"))


def joint_space(folder: Path) -> str | None:
    """Name of the space that a joint model's words and pictures share, the same from both sides; None for any other.

    Whether a model is a joint one is known from its class; its weights are hashed, not loaded.
    """
    try:
        config = transformers().AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        kind = transformers().MODEL_MAPPING.get(type(config), None)
    except (OSError, ValueError, KeyError):
        return None  # no model of transformers; who loads it tells more
    if isinstance(kind, tuple):
        kind = kind[0]
    if not (hasattr(kind, "get_text_features") and hasattr(kind, "get_image_features")):
        return None
    return fingerprint([folder / "config.json", *folder.glob("*.safetensors")], "joint space")


def device_of(choice: str) -> torch.device:
    """The device of a configuration's choice "auto", "cpu" or "cuda".

    Raises:
        InputError: CUDA is asked for and absent.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise InputError("device must be 'cpu' or 'auto' on this machine: 'cuda' is asked for and no CUDA GPU is found")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")


def timm() -> ModuleType:
    """The module `timm`, imported when first needed and only after torchvision has been made to work."""
    return import_module("timm")


def transformers() -> ModuleType:
    """The module `transformers`, without its own progress bars and without forking threads under ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    library = import_module("transformers")
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()
    return library


def read(kind: str, folder: Path, *, option: str, **options: object) -> Any:
    """Read a model, tokenizer, processor or configuration of `transformers` from a folder, and from nowhere else; code
    that lies in the folder is never run.

    Args:
        kind: the class that reads it, such as "AutoModel".
        folder: where it lies.
        option: the configuration field, for the error.
        options: of the class.

    Raises:
        InputError: it cannot be read.
    """
    try:
        library = getattr(transformers(), kind)
        return library.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"{option} cannot be read from {folder}: {error}") from error


def read_model(folder: Path, *, option: str) -> tuple[Any, bool]:
    """Read a model's weights as float32.

    Returns:
        the model, and whether its pooler has weights; a checkpoint may leave them out, and then they are random.

    Raises:
        InputError: it cannot be read, or other weights are missing.
    """
    model, about = read(
        "AutoModel", folder, option=option, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(about["missing_keys"])
    lost = [key for key in missing if "pooler" not in key]
    if lost:
        raise InputError(f"{option} must have all of its weights, {folder} lacks {len(lost)} of them: {lost[0]}, ...")
    return model, not missing


@torch.inference_mode()
def run(network: nn.Module, inputs: Arrays, device: torch.device) -> NDArray[np.float32]:
    """The plain way: float32, as the network is."""
    given: Tensor = network(*(torch.from_numpy(array).to(device) for array in inputs.values()))
    vectors: NDArray[np.float32] = given.float().cpu().numpy()
    return vectors
