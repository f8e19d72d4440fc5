"""What a text model's folder says about its own use, in the files that sentence-transformers writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from features.encoders.config import Pooling
from features.errors import InputError

_PLAIN_MODULES = {"Transformer", "Pooling", "Normalize"}
_NAMES: dict[str, Pooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
}
_OF_DOCUMENTS = ("document", "passage", "corpus")
_WRITERS = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Statement:
    """How a folder wants its text model to be used.

    Args:
        pooling: of token vectors.
        unit: whether vectors are scaled to length 1.
        document_prompt: put before a text of the catalog.
        query_prompt: put before a search text.
        pools_prompt: whether the prompt's tokens count in the pooling.
    """

    pooling: Pooling
    unit: bool
    document_prompt: str
    query_prompt: str
    pools_prompt: bool


def statement_of(folder: Path) -> Statement:
    """Read what a folder says; plain defaults where it says nothing.

    Raises:
        InputError: the folder asks for layers or a pooling that are not known here.
    """
    kinds = {str(module["type"]).rpartition(".")[2] for module in _read(folder / "modules.json", [])}
    if kinds - _PLAIN_MODULES:
        raise InputError(f"text_model must end in pooling alone, {folder} also has {sorted(kinds - _PLAIN_MODULES)}")
    settings = _read(folder / "1_Pooling" / "config.json", {})
    about = _read(folder / "config_sentence_transformers.json", {})
    prompts = about.get("prompts") or {}
    usual = prompts.get(about.get("default_prompt_name"), "")
    return Statement(
        pooling=pooling_of(folder),
        unit="Normalize" in kinds,
        document_prompt=next((prompts[name] for name in _OF_DOCUMENTS if name in prompts), usual),
        query_prompt=prompts.get("query", usual),
        pools_prompt=bool(settings.get("include_prompt", True)),
    )


def pooling_of(folder: Path) -> Pooling:
    """How a folder's token vectors become one.

    Where it does not say: the last one for a model that writes texts (only there a token has seen all others), the
    mean for any other.

    Raises:
        InputError: the folder asks for a pooling that is not known here.
    """
    file = folder / "1_Pooling" / "config.json"
    settings = _read(file, {})
    if not settings:
        kinds = _read(folder / "config.json", {}).get("architectures") or []
        return "last" if any(str(kind).endswith(_WRITERS) for kind in kinds) else "mean"
    asked = settings.get("pooling_mode")
    if asked is None:
        prefix = "pooling_mode_"
        asked = [name.removeprefix(prefix) for name, on in settings.items() if name.startswith(prefix) and on is True]
    names = [asked] if isinstance(asked, str) else list(asked)
    if len(names) != 1 or names[0] not in _NAMES:
        raise InputError(f"text_model's pooling must be one of {', '.join(get_args(Pooling))}, {file} asks for {names}")
    return _NAMES[names[0]]


def _read(file: Path, otherwise: Any) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}") from error
