"""Texts as rows of token numbers: cut, filled up to a rectangle, and batched by their length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.encoders.config import Truncation


def token_rows(tokenizer: Any, texts: list[str], *, limit: int, truncation: Truncation) -> list[list[int]]:
    """Token numbers of each text, special ones included, at most `limit` of them.

    Args:
        tokenizer: of `transformers`.
        texts: the texts.
        limit: most tokens of a row.
        truncation: "head" keeps the beginning; "head+tail" cuts the middle out, where descriptions say least. Special
            tokens stand at the ends and stay in both.
    """
    rows: list[list[int]]
    if truncation == "head":
        rows = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        return rows
    rows = tokenizer(texts, truncation=False)["input_ids"]
    head, tail = limit - limit // 2, limit // 2
    return [row if len(row) <= limit else row[:head] + row[-tail:] for row in rows]


def rectangle(
    rows: Sequence[Sequence[int]], *, fill: int, width: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill up on the right, so that positions count from 0 and no token of a causal model sees the filling.

    Args:
        rows: token numbers.
        fill: number of the token that fills.
        width: least width.

    Returns:
        token numbers and mask (1 where a token is the text's own), both int64 [len(rows), longest].
    """
    width = max(1, width, *map(len, rows))
    ids = np.full((len(rows), width), fill, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for row, numbers in enumerate(rows):
        ids[row, : len(numbers)] = numbers
        mask[row, : len(numbers)] = 1
    return ids, mask


def by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Batches of about equal lengths, the longest first.

    Args:
        lengths: number of tokens of each text.
        budget: most tokens of a batch, filling included; a single longer text is a batch of its own.

    Returns:
        the texts' positions, each once.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    first = 0
    while first < len(order):
        n = max(1, budget // max(1, lengths[order[first]]))
        yield order[first : first + n]
        first += n
