"""What a listing's words explain of a picture's lettering, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.lettering.explained import Explained
from features.lettering.reader import Line
from features.vocabulary import Vocabulary


def line(text: str, confidence: float = 0.9) -> Line:
    return Line(text, confidence, 0.1, ("",) * len(text))


@pytest.fixture
def explained() -> Explained:
    """Two listings, the first of brand Acme; its picture spells the brand, unsure gibberish, and the other's word."""
    catalog = Catalog(
        Vocabulary(("a", "b")),
        np.array(["Mug", "Lamp"], dtype=object),
        np.array(["", "of copper"], dtype=object),
        np.array(["a.png", "b.png"], dtype=object),
        np.full(2, np.nan),
        np.ones(2, dtype=bool),
        Attributes.of([(0, "brand", "Acme")]),
    )
    return Explained([[line("ACME"), line("QZXJ", 0.4), line("copper")], [line("lamp")]], catalog)


def test_lettering_is_explained_by_any_word_of_the_listing_and_the_rest_is_told(explained: Explained) -> None:
    grams, grams_rest, sure, sure_rest, whole, whole_rest = explained(np.array([0]), np.array([0]))
    once = math.log(3 / 1.5)  # of two pictures, in one
    # "acmeqzxjcopper" has 12 grams, of which "acm" and "cme" are Acme's; without the unsure line "acmecopper" has 8
    assert (grams, grams_rest) == (pytest.approx([2 * once]), pytest.approx([10 * once]))
    assert (sure, sure_rest) == (pytest.approx([2 * once]), pytest.approx([6 * once]))
    # of whole words, "acme" is the listing's, "copper" another one's, and "qzxj" nobody's
    assert (whole, whole_rest) == (pytest.approx([once]), pytest.approx([once]))


def test_each_listing_explains_its_own(explained: Explained) -> None:
    pictures, listings = np.array([1, 1]), np.array([1, 0])
    grams, grams_rest, *_, whole, whole_rest = explained(pictures, listings)
    once = math.log(3 / 1.5)
    assert grams == pytest.approx([2 * once, 0])
    assert grams_rest == pytest.approx([0, 2 * once])
    assert (whole.tolist(), whole_rest.tolist()) == ([pytest.approx(once), 0], [0, pytest.approx(once)])
