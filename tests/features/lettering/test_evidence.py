"""What lettering says of listings, learned from the shop itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from features.catalog import Attributes, Catalog
from features.lettering.evidence import LEAST_PAIRS, LetteringEvidence, judge_lettering
from features.lettering.reader import Line
from features.vocabulary import Vocabulary

FIRST = ("Amber", "Cobalt", "Ivory", "Scarlet", "Velvet", "Copper", "Silver", "Walnut", "Marble", "Golden")
SECOND = ("Lantern", "Harbor", "Orchard", "Kettle", "Compass", "Meadow", "Basket", "Pillow", "Thunder", "Bridge")
WRONG = {3: 57, 20: 71, 88: 14}
"""Listings whose picture spells another one's name."""
BLANK = (9, 50)
UNKNOWN = (33,)
"""Listings whose picture spells what nobody is called."""


def catalog(titles: list[str]) -> Catalog:
    n = len(titles)
    texts = (np.array(values, dtype=object) for values in (titles, [""] * n, ["x.png"] * n))
    vocabulary = Vocabulary(tuple(f"i{row}" for row in range(n)))
    return Catalog(vocabulary, *texts, np.full(n, np.nan), np.ones(n, dtype=bool), Attributes.of([]))


def line(text: str) -> Line:
    return Line(text, 0.9, 0.1, ("",) * len(text))


def garbled(text: str, rng: np.random.Generator) -> str:
    """As readers err: a letter in ten is another one."""
    return "".join(chr(rng.integers(97, 123)) if letter.isalpha() and rng.random() < 0.1 else letter for letter in text)


@pytest.fixture(scope="module")
def shop() -> tuple[list[tuple[Line, ...]], Catalog]:
    titles = [f"{first} {second}" for first, second in product(FIRST, SECOND)]
    rng = np.random.default_rng(4)
    lines = []
    for row in range(len(titles)):
        name = "Umbrella Quartz" if row in UNKNOWN else titles[WRONG.get(row, row)]
        lines.append(() if row in BLANK else tuple(line(garbled(word.upper(), rng)) for word in name.split()))
    return lines, catalog(titles)


@pytest.fixture(scope="module")
def evidence(shop: tuple[list[tuple[Line, ...]], Catalog]) -> LetteringEvidence:
    return judge_lettering(*shop, seed=0)


def test_listings_whose_picture_spells_another_name_come_first(evidence: LetteringEvidence) -> None:
    order = np.argsort(evidence.log_odds)  # NaN last
    assert set(order[: len(WRONG) + len(UNKNOWN)].tolist()) == {*WRONG, *UNKNOWN}
    assert (evidence.log_odds[[*WRONG]] < -2).all()
    assert (evidence.log_odds[[*UNKNOWN]] < -0.5).all()  # nobody's name: less sure
    right = [row for row in range(100) if row not in {*WRONG, *UNKNOWN, *BLANK}]
    assert np.median(evidence.log_odds[right]) > 1


def test_the_listing_whose_name_is_spelled_is_named(
    evidence: LetteringEvidence, shop: tuple[list[tuple[Line, ...]], Catalog]
) -> None:
    assert {row: int(evidence.rival[row]) for row in WRONG} == WRONG
    told = evidence.told(shop[1], 3)
    assert told["fits_better"] == {"item_id": "i57", "title": "Copper Pillow"}
    assert told["lettering"] == " / ".join(one.text for one in shop[0][3])
    assert evidence.told(shop[1], BLANK[0]) == {"lettering": "", "fits_better": None}


def test_no_lettering_is_no_evidence(evidence: LetteringEvidence) -> None:
    assert np.flatnonzero(~evidence.known).tolist() == list(BLANK)
    assert (evidence.rival[list(BLANK)] == -1).all()


def test_right_and_foreign_listings_are_told_apart_and_the_odds_mean_what_they_say(evidence: LetteringEvidence) -> None:
    assert evidence.report["pairs"] == 98
    assert evidence.report["auroc"] > 0.95
    assert evidence.report["expected_calibration_error"] < 0.06


def test_a_name_within_the_name_that_is_spelled_is_no_match() -> None:
    titles = [f"{first} {second}" for first, second in product(FIRST, SECOND)]
    # the last listing's name is part of another one's; its picture shows the other's
    titles = [*titles, "Thunderbridge", "Thunder"]
    lines = [(line(title.upper()),) for title in [*titles[:-1], "Thunderbridge"]]
    judged = judge_lettering(lines, catalog(titles), seed=0)
    assert int(judged.rival[101]) == 100
    assert judged.log_odds[101] < judged.log_odds[:101].min()


def test_the_same_seed_gives_the_same_odds(
    evidence: LetteringEvidence, shop: tuple[list[tuple[Line, ...]], Catalog]
) -> None:
    assert np.array_equal(judge_lettering(*shop, seed=0).log_odds, evidence.log_odds, equal_nan=True)
    assert not np.array_equal(judge_lettering(*shop, seed=1).log_odds, evidence.log_odds, equal_nan=True)


def test_lettering_that_says_nothing_of_the_names_says_nothing_of_the_listings() -> None:
    rng = np.random.default_rng(0)
    titles = [f"{first} {second}" for first, second in product(FIRST, SECOND)]
    lines = [(line("".join(map(chr, rng.integers(97, 123, size=9)))),) for _ in titles]
    judged = judge_lettering(lines, catalog(titles), seed=0)
    assert abs(judged.report["auroc"] - 0.5) < 0.1
    assert np.abs(judged.log_odds).max() < 1


def test_a_shop_with_too_little_lettering_is_not_judged(shop: tuple[list[tuple[Line, ...]], Catalog]) -> None:
    lines = [of_item if row < LEAST_PAIRS else () for row, of_item in enumerate(shop[0])]
    few = judge_lettering(lines, shop[1], seed=0)  # two of the first fifty are blank
    assert not few.known.any()
    assert (few.rival == -1).all()
    assert few.report["pairs"] == LEAST_PAIRS - 1
    assert np.isnan(few.report["auroc"])


def test_a_shop_of_one_name_is_not_judged() -> None:
    judged = judge_lettering([(line("Amber"),)] * 60, catalog(["Amber Lantern"] * 60), seed=0)
    assert not judged.known.any()
