from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from features.encoders import engine
from features.encoders.catalog import UNREADABLE, encode_catalog, encode_text_lists
from features.encoders.config import EncoderConfig
from features.encoders.embeddings import ItemVectors
from features.encoders.image import TimmEncoder
from features.encoders.protocol import Arrays, Encoder
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop

CONFIG = EncoderConfig(text_tokens=16, image_batch=2, engine="torch")
COLORS = {"a.png": "crimson", "b.png": "navy", "c.png": "olive", "twin.png": "crimson"}


class Counter:
    """Counts what the networks are given, and can fail at a chosen batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.pictures = 0
        self.fail_after: int | None = None
        chosen = engine.engine_for

        def counted(encoder: Encoder, *args: Any, **kwargs: Any) -> engine.Engine:
            real = chosen(encoder, *args, **kwargs)

            def run(inputs: Arrays) -> np.ndarray:
                if isinstance(encoder, TextEncoder):
                    self.texts += encoder.tokenizer.batch_decode(inputs["input_ids"], skip_special_tokens=True)
                    return real.run(inputs)
                if self.fail_after is not None and self.pictures >= self.fail_after:
                    raise KeyboardInterrupt
                self.pictures += len(inputs["pixels"])
                return real.run(inputs)

            return engine.Engine(real.name, run, 1)

        monkeypatch.setattr(engine, "engine_for", counted)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Seven items: two with the same words, two with the same picture file, one picture that is none, one without."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    for name, color in COLORS.items():
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), fill=color)
        picture.save(folder / "images" / name)
    (folder / "images" / "broken.png").write_bytes((folder / "images" / "a.png").read_bytes()[:60])
    pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(7)],
            "title": ["red disc", "blue disc", "olive disc", "red disc", "red disc, again", "a broken one", ""],
            "image": ["a.png", "b.png", "c.png", "a.png", "twin.png", "broken.png", "b.png"],
        }
    ).to_csv(folder / "items.csv", index=False)
    return folder


def encode(shop: Path, cache: Path, quarantine: Quarantine | None = None) -> ItemVectors:
    quarantine = quarantine or Quarantine()
    read = read_shop(shop, quarantine=quarantine)
    return encode_catalog(read, CONFIG, cache_dir=cache, quarantine=quarantine)


def test_contents_are_encoded_once_and_a_second_run_encodes_nothing(
    shop: Path, tmp_path: Path, counter: Counter
) -> None:
    first = encode(shop, tmp_path / "cache")
    assert sorted(counter.texts) == ["a broken one", "blue disc", "olive disc", "red disc", "red disc, again"]
    assert counter.pictures == 3
    second = encode(shop, tmp_path / "cache")
    assert (len(counter.texts), counter.pictures) == (5, 3)
    np.testing.assert_array_equal(second.text.vectors, first.text.vectors)
    np.testing.assert_array_equal(second.image.vectors, first.image.vectors)


def test_each_item_has_its_own_content_and_what_is_missing_is_a_masked_zero_row(shop: Path, tmp_path: Path) -> None:
    vectors = encode(shop, tmp_path / "cache")
    assert vectors.text.mask.tolist() == [True] * 6 + [False]
    assert vectors.image.mask.tolist() == [True] * 5 + [False, True]
    assert not vectors.text.vectors[6].any()
    assert not vectors.image.vectors[5].any()
    np.testing.assert_array_equal(vectors.text.vectors[0], vectors.text.vectors[3])
    np.testing.assert_array_equal(vectors.image.vectors[0], vectors.image.vectors[4])
    np.testing.assert_array_equal(vectors.image.vectors[1], vectors.image.vectors[6])
    lone = TextEncoder.of(CONFIG).encode(["olive disc"])[0]
    np.testing.assert_allclose(vectors.text.vectors[2], lone / np.linalg.norm(lone), atol=1e-5)
    assert vectors.text.encoder != vectors.image.encoder


def test_an_unreadable_picture_is_quarantined_with_its_item_on_every_run(shop: Path, tmp_path: Path) -> None:
    for _ in range(2):
        quarantine = Quarantine()
        encode(shop, tmp_path / "cache", quarantine)
        refused = [refusal for refusal in quarantine.refusals if refusal.rule == UNREADABLE]
        assert [(refusal.file, refusal.row) for refusal in refused] == [("broken.png", 5)]


def test_an_interrupted_run_goes_on_where_it_was(shop: Path, tmp_path: Path, counter: Counter) -> None:
    counter.fail_after = 2
    with pytest.raises(KeyboardInterrupt):
        encode(shop, tmp_path / "cache")
    assert (len(counter.texts), counter.pictures) == (5, 2)
    counter.fail_after = None
    resumed = encode(shop, tmp_path / "cache")
    assert (len(counter.texts), counter.pictures) == (5, 3)
    whole = encode(shop, tmp_path / "another cache")
    np.testing.assert_allclose(resumed.image.vectors, whole.image.vectors, atol=1e-4)


def test_only_what_changed_is_encoded_again(shop: Path, tmp_path: Path, counter: Counter) -> None:
    encode(shop, tmp_path / "cache")
    counter.texts.clear()
    items = pd.read_csv(shop / "items.csv")
    items.loc[1, "title"] = "a navy disc"
    items.to_csv(shop / "items.csv", index=False)
    Image.new("RGB", (64, 64), "black").save(shop / "images" / "c.png")
    encode(shop, tmp_path / "cache")
    assert counter.texts == ["a navy disc"]
    assert counter.pictures == 4


def test_a_shop_without_pictures_has_rows_of_the_encoder_s_length_and_loads_no_network(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for picture in (shop / "images").iterdir():
        picture.unlink()
    (shop / "images").rmdir()
    monkeypatch.setattr(TimmEncoder, "network", property(lambda encoder: pytest.fail("the network is not needed")))
    vectors = encode(shop, tmp_path / "cache")
    assert vectors.image.vectors.shape == (7, 1280)
    assert not vectors.image.mask.any()
    assert vectors.text.mask.sum() == 6


def test_a_mistake_in_a_decoding_thread_is_raised_and_not_taken_for_a_bad_picture(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(encoder: TimmEncoder, image: Image.Image) -> np.ndarray:
        raise InputError("image_model cannot be read")

    monkeypatch.setattr(TimmEncoder, "prepare", prepare)
    with pytest.raises(InputError, match="image_model cannot be read"):
        encode(shop, tmp_path / "cache")


def test_a_picture_that_vanishes_while_reading_is_refused(shop: Path, tmp_path: Path) -> None:
    quarantine = Quarantine()
    read = read_shop(shop, quarantine=quarantine)
    (shop / "images" / "c.png").unlink()
    vectors = encode_catalog(read, CONFIG, cache_dir=tmp_path / "cache", quarantine=quarantine)
    assert not vectors.image.mask[2]
    assert quarantine.counts[UNREADABLE] == 2


def test_several_pictures_are_one_vector_the_mean_of_those_that_can_be_read(shop: Path, tmp_path: Path) -> None:
    items = pd.read_csv(shop / "items.csv").astype(object)
    items["image"] = ['["a.png", "broken.png", "b.png"]', '["broken.png"]', "a.png", "b.png", "c.png", None, "c.png"]
    items.to_csv(shop / "items.csv", index=False)
    quarantine = Quarantine()
    read = read_shop(shop, quarantine=quarantine)
    assert read.catalog.images()[0] == ("a.png", "broken.png", "b.png")
    vectors = encode_catalog(read, CONFIG, cache_dir=tmp_path / "cache", quarantine=quarantine).image
    both = vectors.vectors[2] + vectors.vectors[3]
    np.testing.assert_allclose(vectors.vectors[0], both / np.linalg.norm(both), atol=1e-5)
    assert not np.allclose(vectors.vectors[0], vectors.vectors[2], atol=0.01)
    assert vectors.mask.tolist() == [True, False, True, True, True, False, True]
    refused = [(one.file, one.row) for one in quarantine.refusals if one.rule == UNREADABLE]
    assert refused == [("broken.png", 0), ("broken.png", 1)]


def test_several_pictures_are_the_largest_of_each_number_or_the_first_readable_one_where_so_asked(
    shop: Path, tmp_path: Path
) -> None:
    items = pd.read_csv(shop / "items.csv").astype(object)
    items["image"] = [
        '["broken.png", "b.png", "a.png"]',
        '["a.png", "b.png"]',
        "a.png",
        "b.png",
        "c.png",
        None,
        "c.png",
    ]
    items.to_csv(shop / "items.csv", index=False)
    read = read_shop(shop, quarantine=Quarantine())

    def pooled(how: str) -> np.ndarray:
        config = CONFIG.model_copy(update={"item_pictures": how})
        found = encode_catalog(read, config, cache_dir=tmp_path / "cache", quarantine=Quarantine()).image
        assert found.mask.tolist() == [True, True, True, True, True, False, True]
        return found.vectors

    mean, largest, cover = (pooled(how) for how in ("mean", "max", "first"))
    for one in (largest, cover):
        np.testing.assert_array_equal(one[2:], mean[2:])
    a, b = mean[2], mean[3]
    either = [max(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(largest[:2], [either / np.linalg.norm(either)] * 2, atol=1e-6)
    np.testing.assert_array_equal(cover[:2], [b, a])


def test_lists_of_texts_are_one_vector_each_and_blank_ones_do_not_count(tmp_path: Path) -> None:
    encoder = TextEncoder.of(CONFIG)
    lists = [["red disc", " ", "blue disc"], [], ["", "red disc "], ["blue disc"]]
    found = encode_text_lists(lists, encoder, config=CONFIG, cache_dir=tmp_path)
    both = found.vectors[2] + found.vectors[3]
    np.testing.assert_allclose(found.vectors[0], both / np.linalg.norm(both), atol=1e-5)
    assert found.mask.tolist() == [True, False, True, True]
