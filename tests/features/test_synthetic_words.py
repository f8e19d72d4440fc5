import re

import numpy as np
import pytest

from features.synthetic import assortment as shop
from features.synthetic.words import Texts, write_texts
from features.synthetic.world import World, plant_world

N = 2000


@pytest.fixture(scope="module")
def world() -> World:
    return plant_world(n_items=N, n_users=2, seed=5)


@pytest.fixture(scope="module")
def texts(world: World) -> Texts:
    return write_texts(world)


def whole(texts: Texts, row: int) -> str:
    return f"{texts.title[row]}. {texts.description[row]}".lower()


def names(text: str, words: tuple[str, ...]) -> set[str]:
    return {word for word in words if re.search(rf"\b{re.escape(word)}\b", text)}


def test_the_color_is_named_where_it_is_told_and_no_other_color_ever_is(world: World, texts: Texts) -> None:
    for row in range(N):
        text = whole(texts, row).replace("crimson", "red").replace("violet", "purple")
        color = shop.COLORS[world.facts["color"][row]]
        assert names(text, shop.COLORS) == ({color} if texts.tells["color"][row] else set())


def test_the_material_is_named_only_where_it_is_told(world: World, texts: Texts) -> None:
    for row in range(N):
        material = shop.MATERIALS[world.facts["material"][row]]
        found = names(whole(texts, row), shop.MATERIALS) - ({"cotton"} if material == "waxed cotton" else set())
        assert found == ({material} if texts.tells["material"][row] else set())


def test_every_text_calls_the_product_by_a_noun_of_its_category(world: World, texts: Texts) -> None:
    for row in range(N):
        kind = shop.KINDS[world.facts["category"][row]]
        assert names(texts.title[row].lower(), kind.nouns)


def test_the_usage_is_told_in_words_and_pattern_and_brand_seldom_are(world: World, texts: Texts) -> None:
    hint = {"plain": "plain", "stripes": "strip", "dots": "dot", "checks": "check", "zigzag": "zigzag"}
    for row in range(N):
        text = whole(texts, row)
        assert (f"for {shop.USAGES[world.usage[row]]}." in text) == texts.tells["usage"][row]
        assert (shop.BRANDS[world.facts["brand"][row]].lower() in text.split()) == texts.tells["brand"][row]
        assert (hint[shop.PATTERNS[world.facts["pattern"][row]]] in text) == texts.tells["pattern"][row]
    share = {fact: told.mean() for fact, told in texts.tells.items()}
    assert share["usage"] > 0.85
    assert share["color"] > 0.85
    assert share["brand"] < 0.16
    assert share["pattern"] < 0.08


def test_titles_and_descriptions_vary_and_leave_no_gaps(texts: Texts) -> None:
    assert len(set(texts.title)) > 0.55 * N
    assert len(set(texts.description)) > 0.4 * N
    for text in (*texts.title, *texts.description):
        assert not re.search(r"[{}]|  | \.|^ | $", text)
    assert all(title[0].isupper() for title in texts.title)


def test_the_same_world_is_described_in_the_same_words(texts: Texts) -> None:
    again = write_texts(plant_world(n_items=N, n_users=2, seed=5))
    assert np.array_equal(again.title, texts.title)
    assert np.array_equal(again.description, texts.description)
