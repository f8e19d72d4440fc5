"""What is asked of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_RESULTS = 1000
"""How deep one query can be leafed through; every page is cut from the same list of this length."""
MAX_WORDS_CHARS = 500


class BadQuery(InputError):  # noqa: N818 - reads as what it is
    """A query cannot be answered.

    Args:
        place: the field.
        rule: what it must be.
        value: what it is.
    """

    def __init__(self, place: str, rule: str, value: object) -> None:
        super().__init__(f"{place} {rule}, got {str(value)[:80]!r}")
        self.place, self.rule, self.value = place, rule, value


@dataclass(frozen=True, eq=False)
class Examples:
    """Things to be near to, or far from.

    Args:
        items: ids of the catalog.
        words: texts.
        pictures: decoded RGB pictures.
    """

    items: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    pictures: tuple[Image, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items or self.words or self.pictures)


@dataclass(frozen=True, eq=False)
class SearchQuery:
    """Words, a picture, examples, and what the answer is limited to.

    Args:
        words: what was typed; "" for none.
        picture: a decoded RGB picture.
        picture_weight: how much a picture counts beside words, in [0, 1].
        like: to be near to; these items are not shown.
        unlike: to be far from; these items are not shown.
        filters: attribute → values; an item must have one of the values of each attribute, whatever their case.
        min_price, max_price: bounds, inclusive; items without a price are then left out.
        available_only: leave out what cannot be bought.
        allowed: bool [n_items]; what may be found at all, beside the filters; None for everything.
        k: results at most, >= 1.
        offset: results to skip; offset + k <= `MAX_RESULTS`.
        user_vector: float32 [dim]; the shopper's, as `Bundle.user_embeddings`. Orders what was found, adds nothing.
        user_weight: how much it counts beside the query, in [0, 1].

    Raises:
        BadQuery: a value is outside its bounds, or there is neither word, picture nor example to go by.
    """

    words: str = ""
    picture: Image | None = None
    picture_weight: float = 0.5
    like: Examples = Examples()
    unlike: Examples = Examples()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    min_price: float | None = None
    max_price: float | None = None
    available_only: bool = True
    allowed: NDArray[np.bool_] | None = None
    k: int = 12
    offset: int = 0
    user_vector: NDArray[np.float32] | None = None
    user_weight: float = 0.2

    def __post_init__(self) -> None:
        for place, share in (("picture_weight", self.picture_weight), ("user_weight", self.user_weight)):
            if not 0 <= share <= 1:
                raise BadQuery(place, "must be in [0, 1]", share)
        if self.k < 1:
            raise BadQuery("k", "must be >= 1", self.k)
        if self.offset < 0 or self.offset + self.k > MAX_RESULTS:
            raise BadQuery("offset", f"must be >= 0, and offset + k at most {MAX_RESULTS}", self.offset)
        low, high = self.min_price, self.max_price
        if low is not None and high is not None and not low <= high:
            raise BadQuery("max_price", f"must be >= min_price ({low:g})", high)
        for place, words in (
            ("words", (self.words,)),
            ("like.words", self.like.words),
            ("unlike.words", self.unlike.words),
        ):
            for text in words:
                if len(text) > MAX_WORDS_CHARS:
                    raise BadQuery(place, f"must have at most {MAX_WORDS_CHARS} characters", text)
                if place != "words" and not text.strip():
                    raise BadQuery(place, "must not be blank", text)
        if not (self.words.strip() or self.picture is not None or self.like):
            raise BadQuery("words", "must not be blank where neither a picture nor an example to be like is given", "")
