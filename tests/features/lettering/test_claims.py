"""Claims of names on pictures, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.lettering.claims import MISSING, Claims
from features.lettering.reader import Line

TITLES = ["Pulp Fiction (1994)", "Mask, The (1994)", "Pulp (1995)", "Fiction Pulp (2001)", "?"]
SPELLED = [
    [Line(text, 0.9, 0.1, ("",) * len(text)) for text in texts]
    for texts in (["PULPFICTION"], ["THE", "MASK"], ["FICT"], [])
]


@pytest.fixture
def claims() -> Claims:
    return Claims(SPELLED, TITLES)


def rarity(found: float, letters: int) -> float:
    """Of 4 pictures a word was found in so many."""
    return min(math.log(5 / (found + 0.5)), letters)


def test_a_claim_weighs_what_is_read_less_a_share_of_what_is_not(claims: Claims) -> None:
    pulp, fiction = rarity(1, 4), rarity(1 + 2 / 5, 7)  # "fict" holds two of the five grams of "fiction"
    rows = np.array([0, 1, 2, 3])
    claim, share = claims.own(rows, np.zeros(4, dtype=np.int64))
    half_read = 2 / 5 * fiction - MISSING * (pulp + 3 / 5 * fiction)
    assert claim == pytest.approx([pulp + fiction, 0, max(half_read, 0), 0])
    assert share == pytest.approx([1, 0, 2 / 5 * fiction / (pulp + fiction), 0])


def test_the_strongest_other_claim_is_found_and_the_same_name_is_no_other(claims: Claims) -> None:
    claim, whose = claims.others(np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert whose.tolist() == [2, 0, 1]  # "Fiction Pulp" goes by the same words as "Pulp Fiction": not its rival
    assert claims.others(np.array([0]), np.array([3]))[1].tolist() == [2]  # nor "Pulp Fiction" that of the other
    assert claim[0] == pytest.approx(rarity(1, 4))
    assert claim[1] == pytest.approx(claims.own(np.array([0]), np.array([0]))[0][0])
    assert claims.twins(np.array([0, 0]), np.array([3, 2])).tolist() == [True, False]


def test_no_lettering_is_claimed_by_nobody_and_no_name_claims_nothing(claims: Claims) -> None:
    claim, whose = claims.others(np.array([3]), np.array([0]))
    assert (claim.tolist(), whose.tolist()) == ([0], [-1])
    claim, share = claims.own(np.array([0]), np.array([4]))
    assert (claim.tolist(), share.tolist()) == ([0], [0])


def test_a_short_word_says_little_however_rare_it_is() -> None:
    texts = ["M", *(f"WORD{n}" for n in range(400))]
    claims = Claims([[Line(text, 0.9, 0.1, ("",) * len(text))] for text in texts], ["M (1931)"])
    claim, _ = claims.own(np.array([0]), np.array([0]))
    assert claim == pytest.approx([1.0])  # one letter, one nat; its rarity is log(402 / 1.5) = 5.6
