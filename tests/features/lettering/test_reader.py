"""What is drawn on a picture is read from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from features.errors import InputError
from features.lettering import weights
from features.lettering.config import LetteringConfig
from features.lettering.reader import LetteringReader, searched_size

STROKES = {  # x0, y0, x1, y1 of each stroke, in tenths of a square
    "王": ["1191", "2585", "1999", "5159"],
    "中": ["1393", "1316", "9396", "1696", "505X"],
    "田": ["1191", "1119", "9199", "1999", "1595", "5159"],
}


@pytest.fixture(scope="module")
def reader() -> LetteringReader:
    return LetteringReader(LetteringConfig())


def drawn(text: str, *, size: tuple[int, int] = (300, 300), letters: int = 40) -> Image.Image:
    picture = Image.new("RGB", size, (240, 230, 220))
    place = (size[0] // 10, size[1] * 2 // 5)
    ImageDraw.Draw(picture).text(place, text, font=ImageFont.load_default(letters), fill=(20, 40, 90))
    return picture


def spelled(reader: LetteringReader, picture: Image.Image) -> str:
    return " ".join(line.text for line in reader.read(picture))


@pytest.mark.parametrize("degrees", [0, 20, -15, 90, 270])
def test_a_word_is_read_whichever_way_it_runs(reader: LetteringReader, degrees: int) -> None:
    picture = drawn("Olive").rotate(degrees, fillcolor=(240, 230, 220))
    assert spelled(reader, picture) == "Olive"


def test_lines_come_from_top_to_bottom_with_their_height_and_how_sure_they_are(reader: LetteringReader) -> None:
    picture = drawn("Sea Breeze")
    ImageDraw.Draw(picture).text((30, 220), "finest tea", font=ImageFont.load_default(22), fill="black")
    first, second = LetteringReader(LetteringConfig(sides=(256,))).read(picture)
    assert (first.text, second.text) == ("Sea Breeze", "finest tea")
    assert min(first.confidence, second.confidence) > 0.9
    assert 0.4 < second.height / first.height < 0.8  # 22 / 40, and both boxes have a rim
    assert 0.1 < first.height < 0.2  # letters of 40 in 300 pixels


def test_a_line_that_is_read_alike_at_two_sizes_is_told_once_and_the_sizes_add_up() -> None:
    picture = drawn("Olive")
    ImageDraw.Draw(picture).text((30, 270), "cold pressed", font=ImageFont.load_default(12), fill="black")
    coarse, fine = (
        {line.text for line in LetteringReader(LetteringConfig(sides=(side,))).read(picture)} for side in (96, 384)
    )
    both = [line.text for line in LetteringReader(LetteringConfig(sides=(96, 384))).read(picture)]
    assert sorted(both) == sorted(coarse | fine)
    assert "Olive" in coarse & fine
    assert "cold pressed" in fine - coarse


def test_what_a_character_may_also_be_is_told_where_the_picture_leaves_it_open(reader: LetteringReader) -> None:
    (sure,) = reader.read(drawn("Olive"))
    assert sure.doubts == ("",) * len("Olive")
    blurred = drawn("WALNUT").resize((24, 24)).resize((300, 300), Image.Resampling.BICUBIC)
    lines = reader.read(blurred)
    assert any(any(line.doubts) for line in lines)
    assert all(len(line.doubts) == len(line.text) for line in lines)


def test_a_thumbnail_is_read_enlarged(reader: LetteringReader) -> None:
    thumbnail = drawn("WALNUT").resize((90, 90), Image.Resampling.LANCZOS)
    assert spelled(reader, thumbnail) == "WALNUT"


def test_small_print_is_read_from_the_large_picture_not_from_the_searched_one(reader: LetteringReader) -> None:
    picture = drawn("Compass Lantern", size=(1000, 1000), letters=44)
    assert spelled(reader, picture).replace(" ", "") == "CompassLantern"
    assert picture.width > 3 * searched_size(picture.size, max(reader.config.sides))[0]


def test_chinese_is_read(reader: LetteringReader) -> None:
    picture = Image.new("RGB", (300, 200), "white")
    draw = ImageDraw.Draw(picture)
    for number, character in enumerate("王中田"):
        x, y = 40 + 75 * number, 60
        for stroke in STROKES[character]:
            x0, y0, x1, y1 = (6.4 * "0123456789X".index(tenths) for tenths in stroke)
            draw.line((x + x0, y + y0, x + x1, y + y1), fill="black", width=6)
    assert spelled(reader, picture) == "王中田"


def test_nothing_is_read_where_nothing_is_lettered(reader: LetteringReader) -> None:
    plain = Image.new("RGB", (200, 300), (120, 90, 60))
    shaded = Image.fromarray(np.tile(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (300, 1, 3)))
    assert reader.read(plain) == reader.read(shaded) == ()


def test_the_searched_picture_has_sides_of_whole_cells_and_bounded_area() -> None:
    assert searched_size((92, 138), 256) == (256, 384)
    assert searched_size((3000, 2000), 256) == (384, 256)
    assert searched_size((100, 9000), 256) == (32, 1024)  # four times the side, not ninety


def test_what_changes_the_lines_changes_the_fingerprint_and_nothing_else_does() -> None:
    plain = LetteringReader(LetteringConfig()).fingerprint
    assert LetteringReader(LetteringConfig(enabled=True, threads=3, least_confidence=0.9)).fingerprint == plain
    assert LetteringReader(LetteringConfig(sides=(320,))).fingerprint != plain


def test_missing_weights_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package rapidocr"):
        weights.network_files()
