"""Where an encoder's files are, what they hash to, and where it runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from features import torchvision_shim  # noqa: F401 - comes before timm and transformers
from features.errors import InputError

_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*")
"""Files of a hub model that are downloaded: no pickled weights."""


def folder_of(name: str, *, option: str) -> Path:
    """Folder of a model given by path or hub name; a hub name is downloaded (or found in the hub's local cache).

    Args:
        name: a folder, or "owner/name".
        option: the configuration field, for the error.

    Raises:
        InputError: it is neither, or cannot be downloaded.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"{option} must be a folder with a config.json, {name!r} has none")
        return folder
    owner, slash, rest = name.partition("/")
    if not (owner and slash and rest) or "/" in rest or name.startswith((".", "~")):
        raise InputError(f"{option} must be 'bundled', an existing folder or a hub name 'owner/name', got {name!r}")
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(_PATTERNS)))
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {name!r} is no local folder and cannot be downloaded: {error}") from error


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
    kept = [file for pattern in ("*.json", "*.safetensors", "*.txt") for file in folder.glob(pattern)]
    return kept + list(folder.glob("1_Pooling/config.json"))


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
