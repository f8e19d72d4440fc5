"""The words that a shop uses: each often enough used word gets a vector of its own.

A sentence encoder that has never heard of a brand gives it a vector like any other's; in listings it is decisive.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_WORDS = 64
"""Different words of a text that are read, from its beginning."""

_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힣]|(?:(?![぀-ヿ㐀-鿿가-힣])[^\W_])+")
"""A character of a language that is written without spaces, or a run of letters and digits."""


def words_of(text: str) -> list[str]:
    """Words in lower case, each once, in their order; "T-shirt" and "Tshirt" are one, and so are "Men's" and "Men"."""
    plain = re.sub(r"\bt-(?=\w)", "t", text.lower().replace("’", "'").replace("'s", ""))
    return list(dict.fromkeys(_WORD.findall(plain)))[:MOST_WORDS]


@dataclass(frozen=True, eq=False)
class WordList:
    """Known words, sorted.

    Args:
        words: row i of the word vectors belongs to the word at position i.
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], *, least: int) -> WordList:
        """The words that at least so many of the texts use."""
        count = Counter(word for text in texts for word in words_of(text))
        return cls(tuple(sorted(word for word, n in count.items() if n >= least)))

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of each text's known words, int64 [n, longest]; filled up with `len(self)`."""
        number = {word: i for i, word in enumerate(self.words)}
        rows = [[number[word] for word in words_of(text) if word in number] for text in texts]
        out = np.full((len(rows), max(1, *map(len, rows)) if rows else 1), len(self), dtype=np.int64)
        for row, found in enumerate(rows):
            out[row, : len(found)] = found
        return out
