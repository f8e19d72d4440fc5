"""Reading a whole shop: once a picture, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from features.encoders.cache import content_key
from features.lettering.catalog import read_lettering
from features.lettering.config import LetteringConfig
from features.lettering.journal import LetteringJournal
from features.lettering.reader import LetteringReader, Line
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop

NAMES = ("Amber", "Cobalt", "Ivory", "Walnut")
CONFIG = LetteringConfig(sides=(192,))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Four lettered pictures, one of them twice, a blank one, a broken one, and an item without any."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        picture = Image.new("RGB", (200, 200), "white")
        ImageDraw.Draw(picture).text((20, 80), name, font=ImageFont.load_default(36), fill="black")
        picture.save(folder / "images" / f"{name}.png")
    (folder / "images" / "Twin.png").write_bytes((folder / "images" / "Ivory.png").read_bytes())
    Image.new("RGB", (200, 200), "navy").save(folder / "images" / "Blank.png")
    (folder / "images" / "Broken.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    pictures = [f"{name}.png" for name in (*NAMES, "Twin", "Blank", "Broken")]
    rows = [f"{row},Item {row},{picture}" for row, picture in enumerate([*pictures, ""])]
    (folder / "items.csv").write_text("\n".join(["item_id,title,image", *rows]) + "\n")
    return read_shop(folder, quarantine=Quarantine())


def texts(shop: Shop, cache: Path, config: LetteringConfig = CONFIG, quarantine: Quarantine | None = None) -> list[str]:
    found = read_lettering(shop, config, cache_dir=cache, quarantine=quarantine or Quarantine())
    return [" ".join(line.text for line in lines) for lines in found.lines]


def test_every_picture_is_read_and_what_cannot_be_is_told(shop: Shop, tmp_path: Path) -> None:
    quarantine = Quarantine()
    assert texts(shop, tmp_path / "cache", quarantine=quarantine) == [*NAMES, "Ivory", "", "", ""]
    assert quarantine.counts == {"picture cannot be read": 1}


def test_what_was_read_is_not_read_again(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = texts(shop, tmp_path / "cache")
    monkeypatch.setattr(LetteringReader, "read", lambda self, picture: pytest.fail("was read before"))
    assert texts(shop, tmp_path / "cache") == first


def test_a_run_that_was_killed_goes_on_where_it_was(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = LetteringReader.read, 0

    def dies_at_the_third(self: LetteringReader, picture: Image.Image) -> tuple[Line, ...]:
        nonlocal times
        times += 1
        if times == 3:
            raise KeyboardInterrupt
        return read(self, picture)

    monkeypatch.setattr(LetteringReader, "read", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        texts(shop, tmp_path / "cache", CONFIG.model_copy(update={"threads": 1}))
    (journal,) = (tmp_path / "cache").glob("*/lettering.jsonl")
    kept = journal.read_bytes()
    assert kept.count(b"\n") >= 1
    journal.write_bytes(kept + b'["00')  # and half a line, as a machine that loses its power leaves
    times = 10  # far from the third
    assert texts(shop, tmp_path / "cache") == [*NAMES, "Ivory", "", "", ""]
    assert times - 10 >= 5 - kept.count(b"\n")  # five different pictures can be read
    assert journal.read_bytes().startswith(kept)


def test_a_journal_gives_back_what_was_put_in(tmp_path: Path) -> None:
    lines = (Line("长城 x", 0.5, 0.25, ("", "成", "", "")), Line("", 0.0, 0.1, ()))
    with LetteringJournal(tmp_path, "reader") as journal:
        journal.add(b"\1" * 32, lines)
    with LetteringJournal(tmp_path, "reader") as journal:
        assert journal[b"\1" * 32] == lines
        assert b"\2" * 32 not in journal


def test_lines_that_the_reader_is_unsure_of_are_kept_but_not_used(shop: Shop, tmp_path: Path) -> None:
    assert shop.images is not None
    with LetteringJournal(tmp_path, LetteringReader(CONFIG).fingerprint) as journal:
        for name in shop.images.names():
            lines = (Line("sure", 0.5, 0.1, ("",) * 4), Line("doubtful", 0.2, 0.1, ("",) * 8))
            journal.add(content_key(shop.images.read(name)), lines)
    assert texts(shop, tmp_path)[0] == "sure"
    assert texts(shop, tmp_path, CONFIG.model_copy(update={"least_confidence": 0.1}))[0] == "sure doubtful"


def test_a_shop_without_pictures_has_no_lettering(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\na,Amber\n")
    assert texts(read_shop(tmp_path, quarantine=Quarantine()), tmp_path / "cache") == [""]
