"""Pictures of a shop's items: found, told apart, several of one item."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.features.shop_tables import ITEMS, Read, reading, refusals


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return reading(tmp_path)


def test_pictures_are_found_and_the_others_told_apart(read: Read, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("1.jpg", "sub/2.jpg", "images/3.jpg", "../evil.jpg"):
            archive.writestr(name, b"x")
    given: list[Any] = [
        "1.jpg",
        "./1.jpg",
        "images/1.jpg",
        ["sub\\2.jpg", "1.jpg"],
        "3.jpg",
        "https://example.com/4.jpg",
        "gone.jpg",
        "../evil.jpg",
        "/etc/passwd",
        None,
        [],
    ]
    shop, quarantine = read([{"item_id": row, "title": "t", "image": name} for row, name in enumerate(given)])
    assert shop.catalog.image.tolist() == ["1.jpg"] * 3 + ["sub/2.jpg", "images/3.jpg"] + [""] * 6
    assert shop.reading.remote_images == {5: ("https://example.com/4.jpg",)}
    assert refusals(quarantine) == [
        ("images.zip", None, "member path leaves the folder"),
        ("items.jsonl", 7, "image path leaves the folder"),
        ("items.jsonl", 8, "image path leaves the folder"),
        ("items.jsonl", 6, "image file is missing"),
    ]


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(b"a picture")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_an_item_may_have_several_pictures_and_the_first_one_that_is_there_is_its_main_one(
    read: Read, tmp_path: Path, kind: str
) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    lists = [["gone.jpg", "b.jpg", "images/a.jpg", "b.jpg"], ["c.jpg"], []]
    items = [{**item, "image": cell} for item, cell in zip(ITEMS, lists, strict=True)]
    shop, quarantine = read(items, kind=kind)
    assert shop.catalog.image.tolist() == ["b.jpg", "c.jpg", ""]
    assert shop.catalog.images() == [("b.jpg", "a.jpg"), ("c.jpg",), ()]
    assert [(row, rule) for _, row, rule in refusals(quarantine)] == [(0, "image file is missing")]


def test_a_column_of_images_adds_to_the_main_picture_and_is_no_attribute(read: Read, tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    shop, quarantine = read(
        [
            {"item_id": "x", "title": "X", "image": "b.jpg", "images": '["a.jpg", "b.jpg", "../secret.jpg"]'},
            {"item_id": "y", "title": "Y", "image": None, "images": '["http://a.b/1", "c.jpg", "http://a.b/2"]'},
            {"item_id": "z", "title": "Z", "image": None, "images": None},
        ]
    )
    assert shop.catalog.images() == [("b.jpg", "a.jpg"), ("c.jpg",), ()]
    assert shop.reading.remote_images == {1: ("http://a.b/1", "http://a.b/2")}
    assert refusals(quarantine) == [("items.jsonl", 0, "image path leaves the folder")]
    assert "images" not in shop.catalog.attributes.names()


def test_rows_that_are_refused_do_not_shift_the_pictures(read: Read, tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    shop, _ = read(
        [
            {"item_id": None, "title": "nobody", "image": ["b.jpg", "a.jpg"]},
            {"item_id": "x", "title": "X", "image": ["a.jpg", "b.jpg"]},
        ]
    )
    assert shop.catalog.images() == [("a.jpg", "b.jpg")]
