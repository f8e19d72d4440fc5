from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from features.duplicates import DuplicateConfig, Duplicates, find_duplicates, numbered, stars, unusually_near
from features.encoders.embeddings import Embeddings, ItemVectors
from features.pictures.alignment import difference
from features.pictures.check import check_pictures
from features.pictures.decoding import decode
from features.pictures.hashing import BANDS, MAX_RADIUS, distances, near_pairs, picture_hash
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from features.vectors import cells
from features.vectors.cells import nearest_in_cells
from features.vectors.nearest import nearest_others


def article(seed: int, *, logo: str = "", side: int = 180) -> Image.Image:
    """A made-up article on a light ground: bands, a body and details, all by chance."""
    rng = np.random.default_rng(seed)

    def color() -> tuple[int, ...]:
        return tuple(rng.integers(0, 256, 3).tolist())

    picture = Image.new("RGB", (side, round(side * 1.2)), tuple(rng.integers(200, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(9):
        x, y, w, h = rng.uniform([0.05, 0.05, 0.1, 0.1], [0.7, 0.8, 0.5, 0.5]) * side
        shape = (draw.rectangle, draw.ellipse)[int(rng.integers(2))]
        shape((x, y, x + w, y + h), fill=color())
    if logo:
        draw.rectangle((0.4 * side, 0.5 * side, 0.6 * side, 0.65 * side), fill=logo)
    return picture


def saved(picture: Image.Image, quality: int = 92) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def copied(picture: Image.Image, how: str, rng: np.random.Generator) -> bytes:
    if how == "scaled":
        picture = picture.resize([round(side * rng.uniform(0.4, 1.5)) for side in picture.size])
    if how == "cut":
        left, top, right, bottom = rng.uniform(0, 0.1, 4)
        w, h = picture.size
        picture = picture.crop((round(left * w), round(top * h), round((1 - right) * w), round((1 - bottom) * h)))
    return saved(picture, int(rng.integers(40, 90)))


def looks(pictures: list[bytes]) -> np.ndarray:
    """Vectors that a picture's parts and copies are near by: its colors, coarsely, where they are."""
    rows = [
        np.asarray(decode(data).resize((6, 6), Image.Resampling.BOX), dtype=np.float32).ravel() for data in pictures
    ]
    centered = np.stack(rows) - np.mean(rows, axis=0)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


MakeShop = Callable[[list[bytes], list[str]], tuple[Shop, ItemVectors]]


@pytest.fixture
def make_shop(tmp_path: Path) -> MakeShop:
    """A shop of pictures and titles, whose text vectors are the titles' letters."""

    def make(pictures: list[bytes], titles: list[str]) -> tuple[Shop, ItemVectors]:
        (tmp_path / "images").mkdir()
        rows = []
        for row, (data, title) in enumerate(zip(pictures, titles, strict=True)):
            (tmp_path / "images" / f"{row}.jpg").write_bytes(data)
            rows.append({"item_id": f"i{row}", "title": title, "image": f"{row}.jpg"})
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
        letters = np.array([[title.lower().count(chr(97 + at)) + 0.01 for at in range(26)] for title in titles])
        mask = np.ones(len(titles), dtype=bool)
        text = Embeddings.of(letters.astype(np.float32), mask, "letters")
        shop = read_shop(tmp_path, quarantine=Quarantine())
        return shop, ItemVectors(text, Embeddings.of(looks(pictures), mask, "looks"))

    return make


def picture_pairs(found: Duplicates) -> set[tuple[int, int]]:
    return {
        (min(found_group.rows[0], row), max(found_group.rows[0], row))
        for found_group in found.groups
        if found_group.kind != "same words"
        for row in found_group.rows[1:]
    }


def test_planted_copies_are_found_and_different_articles_are_not(make_shop: MakeShop) -> None:
    rng = np.random.default_rng(0)
    originals = [article(seed) for seed in range(150)]
    other_logo = [(article(seed, logo="red"), article(seed, logo="blue")) for seed in range(200, 215)]
    pictures = [saved(one) for one in originals] + [saved(one) for pair in other_logo for one in pair]
    planted = set()
    for at in range(75):
        planted.add((at, len(pictures)))
        pictures.append(copied(originals[at], ("encoded again", "scaled", "cut")[at % 3], rng))
    titles = [f"article {np.random.default_rng(row).bytes(12).hex()}" for row in range(len(pictures))]
    found = picture_pairs(find_duplicates(*make_shop(pictures, titles)))
    assert len(found & planted) / len(planted) >= 0.95
    assert len(found & planted) / len(found) >= 0.95


def test_the_kind_says_what_is_the_same(make_shop: MakeShop) -> None:
    a, b, c, d, e = (saved(article(seed)) for seed in range(5))
    again = saved(article(0), 60)
    titles = ["Blue mug", "blue  MUG", "Wool zebra hat", "Oak table", "oak table", "Quartz", "Fig jam", "Kiwi"]
    others = [saved(article(seed)) for seed in (20, 21)]
    found = find_duplicates(*make_shop([a, again, b, c, d, b, e, others[0]], titles))
    assert [(group.kind, group.rows) for group in found.groups] == [
        ("both", (0, 1)),
        ("same picture", (2, 5)),
        ("same words", (3, 4)),
    ]
    both, picture, words = found.groups
    assert 0 < both.difference[0] < 6.5
    assert picture.difference == (0.0,)
    assert np.isnan(words.difference[0])
    assert words.words[0] == pytest.approx(1, abs=1e-5)
    assert both.fused[0] > 0.95 > words.fused[0]


def test_items_that_name_one_file_and_items_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(saved(article(0)))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no picture")
    images = ["a.jpg", "", "a.jpg", "broken.jpg", "a.jpg"]
    rows = [{"item_id": f"i{row}", "title": f"t{row}", "image": image} for row, image in enumerate(images)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    nothing = ItemVectors(Embeddings.missing(5, 3, "t"), Embeddings.missing(5, 3, "i"))
    found = find_duplicates(read_shop(tmp_path, quarantine=Quarantine()), nothing)
    assert [(group.kind, group.rows) for group in found.groups] == [("same picture", (0, 2, 4))]
    assert np.isnan(found.groups[0].words).all()


def test_a_chain_is_cut_where_its_ends_have_nothing_in_common() -> None:
    assert stars([(0, 1), (1, 2), (2, 3), (3, 4)]) == [(1, 0, 2), (3, 4)]
    assert stars([(5, 7), (5, 6), (6, 7), (1, 2)]) == [(1, 2), (5, 6, 7)]
    assert stars([]) == []


def test_words_are_the_same_only_where_they_are_nearer_than_texts_of_the_shop_usually_are() -> None:
    rng = np.random.default_rng(0)
    usual = 1 - np.exp(rng.normal(-2, 0.3, 1000))
    assert unusually_near(usual.astype(np.float32)) == pytest.approx(1 - np.exp(-2.9), abs=0.01)
    alike = 1 - np.exp(rng.normal(-5, 0.3, 1000))
    assert unusually_near(alike.astype(np.float32)) > 0.99
    assert unusually_near(np.array([0.5, 0.6], dtype=np.float32)) == 1


def test_other_numbers_make_another_article(make_shop: MakeShop) -> None:
    titles = [
        "steel watch mk11",
        "steel watch mk12",
        "watch steel mk11",
        *(f"{chr(97 + at) * 9} zz" for at in range(22)),
    ]
    pictures = [saved(article(seed)) for seed in range(len(titles))]
    found = find_duplicates(*make_shop(pictures, titles))
    assert [group.rows for group in found.groups] == [(0, 2)]
    assert numbered("Pack of 2, size XL-3b") == {"2", "3b"}


def test_copies_have_near_hashes_and_others_far_ones() -> None:
    rng = np.random.default_rng(0)
    originals = np.stack([picture_hash(article(seed)) for seed in range(60)])
    for how in ("encoded again", "scaled"):
        copies = np.stack([picture_hash(decode(copied(article(seed), how, rng))) for seed in range(60)])
        assert np.quantile(distances(originals, copies), 0.9) <= MAX_RADIUS
    apart = distances(originals[:, None], originals[None])[~np.eye(60, dtype=bool)]
    assert np.quantile(apart, 0.01) > MAX_RADIUS


@pytest.mark.parametrize("radius", [0, 1, 5, MAX_RADIUS])
def test_all_near_hashes_are_found_and_no_others(radius: int) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**64, (40, 2), dtype=np.uint64)
    turned = [codes]
    for flips in range(1, 15):
        bits = np.unpackbits(codes.astype(">u8").view(np.uint8).reshape(40, 16), axis=1)
        for row in range(40):
            bits[row, rng.choice(128, flips, replace=False)] ^= 1
        turned.append(np.packbits(bits, axis=1).view(">u8").astype(np.uint64))
    every = np.unique(np.concatenate(turned), axis=0)
    apart = distances(every[:, None], every[None])
    naive = [[a, b] for a in range(len(every)) for b in range(a + 1, len(every)) if apart[a, b] <= radius]
    assert near_pairs(every, radius=radius).tolist() == naive
    assert naive or radius == 0
    with pytest.raises(ValueError, match=f"at most|{2 * BANDS - 1}"):
        near_pairs(every, radius=MAX_RADIUS + 1)


def test_a_part_lies_over_its_whole_and_another_article_does_not() -> None:
    whole = article(3)
    part = whole.crop((12, 15, 170, 200))
    assert difference(whole, whole) == 0
    assert difference(whole, part) < 6
    assert difference(part, whole) < 6
    assert difference(whole, article(4)) > 15
    assert difference(article(3, logo="red"), article(3, logo="blue")) > 8


def test_neighbors_in_cells_are_nearly_all_of_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = (np.repeat(rng.normal(size=(300, 16)), 4, axis=0) + 0.1 * rng.normal(size=(1200, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[5, 700]] = 0
    exact = nearest_others(vectors, 3)
    monkeypatch.setattr(cells, "EXACT", 1000)
    found = nearest_in_cells(vectors, 3)
    assert (found.idx[[5, 700]] == -1).all()
    assert not (found.idx == np.arange(1200)[:, None]).any()
    same = [len(set(a) & set(b)) / 3 for a, b in zip(exact.idx.tolist(), found.idx.tolist(), strict=True)]
    assert np.mean(same) > 0.97
    np.testing.assert_allclose(found.score[0], exact.score[0], atol=1e-5)


@pytest.mark.real_data
def test_every_equal_picture_of_a_real_shop_is_found(real_data: Path, tmp_path: Path) -> None:
    import pandas as pd

    whole = read_shop(real_data / "fashion", quarantine=Quarantine())
    same = check_pictures(whole, quarantine=Quarantine()).same
    assert len(same) == 17
    rows = sorted({row for group in same for row in group} | set(range(0, 6000, 20)))
    table = pd.read_parquet(real_data / "fashion" / "items.parquet").iloc[rows]
    table.to_parquet(tmp_path / "items.parquet")
    (tmp_path / "images.zip").symlink_to((real_data / "fashion" / "images.zip").resolve())
    shop = read_shop(tmp_path, quarantine=Quarantine())
    assert shop.images is not None
    mask = np.ones(len(rows), dtype=bool)
    image = Embeddings.of(looks([shop.images.read(name) for name in shop.catalog.image]), mask, "looks")
    found = find_duplicates(shop, ItemVectors(Embeddings.missing(len(rows), 3, "t"), image), DuplicateConfig())
    place = {row: at for at, row in enumerate(rows)}
    assert {tuple(place[row] for row in group) for group in same} <= {group.rows for group in found.groups}
    others = [group for group in found.groups if group.kind != "same words" and max(group.difference) > 0]
    assert len(others) <= 2
