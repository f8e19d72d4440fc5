"""Words token by token, for models that look closer than one vector a listing; cached like the vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from features.encoders import models
from features.encoders.cache import VectorCache, content_key
from features.encoders.described import DONE_AT_ONCE, spread_out
from features.encoders.local import LocalConfig
from features.encoders.pipeline import shelf
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.progress import bar


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts of a shop, token by token.

    Args:
        states: float16 [n_items, tokens, dim], the model's last hidden states; zero where a text is shorter.
        mask: bool [n_items, tokens]; which are the text's own, first and last mark included.
        words: per item the tokens as they are written.
    """

    states: NDArray[np.float16]
    mask: NDArray[np.bool_]
    words: list[list[str]]


def read_tokens(texts: list[str], encoder: TextEncoder, config: LocalConfig, *, cache_dir: Path) -> Tokens:
    """Hidden states of each token of each text; each different text is read once.

    Raises:
        InputError: the model is a joint one, whose tokens are not in the space of its sentences.
    """
    keys = [content_key(text.strip().encode()) for text in texts]
    rows = [ids[: config.tokens] for ids in encoder.tokens([text.strip() or " " for text in texts])]
    if encoder.network.joint:
        raise InputError("a text model read token by token must not be a joint one; set encoders.text_model")
    name = models.fingerprint([], encoder.fingerprint, "tokens", 1, config.tokens)
    dim = int(encoder.network.model.config.hidden_size)
    with VectorCache(cache_dir, name, f"tokens of {encoder.about}") as cache, shelf(cache) as put:
        row_of = dict(zip(keys, range(len(keys)), strict=True))
        new = sorted((row_of[key] for key in cache.absent(keys)), key=lambda row: len(rows[row]))
        with bar("reading texts", total=len(new)) as progress:
            for first in range(0, len(new), DONE_AT_ONCE):
                part = new[first : first + DONE_AT_ONCE]
                inputs = encoder.inputs([rows[row] for row in part])
                full = np.zeros((len(part), config.tokens, dim), dtype=np.float32)
                hidden = _hidden(encoder, inputs["input_ids"], inputs["attention_mask"])
                full[:, : hidden.shape[1]] = hidden * inputs["attention_mask"][..., None]
                put([keys[row] for row in part], full.reshape(len(part), -1))
                progress.advance(len(part))
    with VectorCache(cache_dir, name, f"tokens of {encoder.about}") as cache:
        states = spread_out(cache, keys, np.ones(len(keys), dtype=bool)).reshape(len(keys), config.tokens, dim)
    mask = np.arange(config.tokens) < np.array([[len(row)] for row in rows])
    words = [encoder.tokenizer.convert_ids_to_tokens(row) for row in rows]
    return Tokens(states, mask, words)


@torch.inference_mode()
def _hidden(encoder: TextEncoder, ids: NDArray[np.generic], mask: NDArray[np.generic]) -> NDArray[np.float32]:
    given = encoder.network.model(
        input_ids=torch.from_numpy(ids).to(encoder.device), attention_mask=torch.from_numpy(mask).to(encoder.device)
    )
    states: NDArray[np.float32] = given.last_hidden_state.float().cpu().numpy()
    return states
