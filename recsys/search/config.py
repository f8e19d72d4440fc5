"""How words and pictures are searched: what is fixed when a bundle is written, and kept in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from features.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class SearchConfig(Section):
    """Lexical weights, fusion, and examples."""

    k1: PositiveFloat = 1.2
    """BM25: how soon further mentions of a word stop counting."""

    title_boost: NonNegativeFloat = 3.0
    """BM25F: a word of the title counts like so many in the description."""

    attribute_boost: NonNegativeFloat = 1.5
    """Likewise, a word of an attribute's value."""

    length_penalty: Share = 0.75
    """BM25's b, of descriptions: 1 counts words by their share of the text, 0 by their number."""

    short_length_penalty: Share = 0.3
    """Likewise of titles and attributes, whose length says little."""

    rank_constant: PositiveFloat = 60.0
    """Of reciprocal-rank fusion."""

    picture_to_words: NonNegativeFloat = 0.1
    """Weight of the cosine between a query's picture and the items' words, beside 1 for that with their pictures. More
    finds what is of the same kind, less what is the same."""

    positive: NonNegativeFloat = 0.75
    """Rocchio: weight of the examples to be near to, beside the query's 1."""

    negative: NonNegativeFloat = 0.5
    """Rocchio: weight of the examples to be far from."""

    fusion_queries: NonNegativeInt = 600
    """Known-item queries made from the shop for the learned fusion, half to learn and half to choose; 0 leaves it
    out."""

    reduced: PositiveInt = 256
    """Principal components of vectors that a large catalog's approximate index holds; candidates are scored in full."""

    int8: bool = False
    """Write the text encoder with 8-bit weights: a quarter of the file and faster, at a small loss; what shoppers type
    is then encoded by it, the catalog still in full."""
