from __future__ import annotations

import io
import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from features.pictures.check import check_pictures
from features.pictures.decoding import MAX_SCANS, UnreadableImage, decode
from features.quarantine import Quarantine
from features.shop.shop import read_shop

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def gray(values: object, mode: str) -> bytes:
    kinds = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    return encoded(Image.fromarray(np.array(values, dtype=kinds[mode])), "TIFF")


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8))


def png(width: int, height: int, body: bytes, *extra: bytes, depth: int = 8) -> bytes:
    """A PNG file of RGB rows, with other chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + data + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def without_adobe_marker(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def many_scans(copies: int) -> bytes:
    """A progressive JPEG whose last scan, a few bytes, is there many times."""
    data = encoded(Image.new("RGB", (64, 64), RED), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * copies + data[-2:]


def text_bomb(kind: bytes, before: bytes) -> bytes:
    return png(1, 1, b"\0\xff\0\0", chunk(kind, before + zlib.compress(bytes(50_000_000), 9)))


def animation(kind: str, frames: int = 2) -> bytes:
    pictures = [Image.new("RGB", (3, 3), color) for color in (RED, *[BLUE, WHITE] * frames)][:frames]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_each_raster_format_is_opened(kind: str) -> None:
    picture = decode(encoded(Image.new("RGB", (8, 6), RED), kind))
    assert (picture.mode, picture.size) == ("RGB", (8, 6))
    assert np.abs(np.asarray(picture, dtype=int) - RED).max() <= 2


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert [decode(encoded(clear)).getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        assert [decode(encoded(palette, kind, transparency=0)).getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    assert decode(encoded(palette, transparency=bytes([0, 255]))).getpixel((0, 0)) == WHITE
    assert decode(encoded(palette, transparency=bytes([128, 255]))).getpixel((0, 0)) == (127, 127, 127)
    assert decode(encoded(Image.new("LA", (1, 1), (0, 0)))).getpixel((0, 0)) == WHITE


def test_deep_gray_is_scaled_to_eight_bits() -> None:
    def grays(data: bytes) -> list[int]:
        return np.asarray(decode(data))[0, :, 0].tolist()

    assert grays(gray([[0, 32896, 65535]], "I;16")) == [0, 128, 255]
    assert grays(gray([[0.0, 0.5, 1.0]], "F")) == [0, 128, 255]
    assert grays(gray([[0, 128, 255]], "I")) == [0, 128, 255]
    with pytest.raises(UnreadableImage, match="not finite"):
        decode(gray([[0.0, np.nan]], "F"))


def test_sixteen_bits_a_channel_keep_their_upper_eight() -> None:
    rows = b"\0" + struct.pack(">6H", 0xFF80, 0x8001, 0, 0x0100, 0xFFFF, 0x7FFF)
    assert np.asarray(decode(png(2, 1, rows, depth=16))).tolist() == [[[255, 128, 0], [1, 255, 127]]]


@pytest.mark.parametrize(
    ("inks", "color"),
    [
        ((0, 255, 255, 0), RED),
        ((255, 0, 255, 0), (0, 255, 0)),
        ((0, 0, 0, 255), BLACK),
        ((0, 0, 0, 0), WHITE),
        ((0, 128, 255, 51), (204, 101, 0)),
    ],
)
def test_inks_become_the_colors_they_print(inks: tuple[int, ...], color: tuple[int, ...]) -> None:
    picture = Image.new("CMYK", (8, 8), inks)
    as_adobe_writes = encoded(picture, "JPEG", quality=95)
    assert b"Adobe" in as_adobe_writes
    plain = without_adobe_marker(encoded(ImageChops.invert(picture), "JPEG", quality=95))
    for data in (as_adobe_writes, plain, encoded(picture, "TIFF")):
        assert np.abs(np.asarray(decode(data), dtype=int) - color).max() <= 3


def test_inks_with_a_profile_look_as_the_profile_says() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    seen = decode(encoded(cyan, "JPEG", quality=100, icc_profile=ink_profile()))
    assert np.abs(np.asarray(seen, dtype=int) - (100, 169, 47)).max() <= 4  # that Lab value by CIE formulas
    for data in (encoded(cyan, "JPEG"), encoded(cyan, "JPEG", icc_profile=b"no profile" * 20)):
        assert decode(data).getpixel((4, 4)) == (0, 255, 255)


def ink_profile() -> bytes:
    """An ICC profile of a printer whose cyan ink is a green of Lab (63, -38, 52); other mixtures are black."""
    ramp = bytes(range(256))
    black = bytes([0, 128, 128])
    corners = bytes([255, 128, 128]) + black * 7 + bytes([160, 90, 180]) + black * 7
    identity = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    start = 128 + 4 + 12
    header = bytearray(128)
    header[0:4] = struct.pack(">I", start + len(table))
    header[8:12], header[12:16], header[16:20], header[20:24] = b"\2\x10\0\0", b"prtr", b"CMYK", b"Lab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)  # D50
    return bytes(header) + struct.pack(">I4sII", 1, b"A2B0", start, len(table)) + table


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_as_its_exif_data_says(orientation: int, mode: str) -> None:
    upright = Image.new("RGB", (32, 16), WHITE)
    upright.paste(RED, (0, 0, 16, 8))
    upright.paste(BLUE, (16, 0, 32, 8))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # stored a quarter turn against the clock, to be shown turned with it
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = decode(encoded(stored.convert(mode), "JPEG", exif=exif, quality=100, subsampling=0))
    assert shown.size == (32, 16)
    assert np.abs(np.asarray(shown, dtype=int) - np.asarray(upright)).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_the_first_is_taken(kind: str) -> None:
    red, green, blue = decode(animation(kind)).getpixel((1, 1))  # type: ignore[misc]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_frames_behind_the_first_cost_nothing(kind: str) -> None:
    frames = [ImageChops.offset(noise(200).convert("L"), shift) for shift in range(100)]
    one, many = encoded(frames[0], kind), encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert len(many) > 50 * len(one)

    def seconds(data: bytes) -> float:
        def once() -> float:
            start = time.perf_counter()
            decode(data)
            return time.perf_counter() - start

        return min(once() for _ in range(5))

    assert seconds(many) < 10 * seconds(one)


HAZARDS = {
    "empty.jpg": (b"", "is empty"),
    "svg.jpg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>', "is SVG"),
    "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
    "text.jpg": (b"not found", "is a text"),
    "bytes.jpg": (b"\x00\x01\x02\x03" * 10, "is unknown data"),
    "program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "none of JPEG"),
    "half.jpg": (encoded(noise(), "JPEG")[:900], "is truncated"),
    "half.png": (encoded(noise())[:900], "is truncated"),
    "header.png": (encoded(Image.new("RGB", (8, 8)))[:20], "is "),
    "wide.png": (png(7_000, 7_000, b""), "is 7000 x 7000 pixels, at most 40,000,000"),
    "wider.png": (png(11_000, 11_000, b""), "pixels"),
    "widest.png": (png(60_000, 60_000, b""), "pixels"),
    "thread.png": (encoded(Image.new("RGB", (1, 101))), "one side more than 100 times the other"),
    "scans.jpg": (many_scans(MAX_SCANS), "110 scans, at most 100"),
    "ztxt.png": (text_bomb(b"zTXt", b"k\0\0"), "is a decompression bomb"),
    "itxt.png": (text_bomb(b"iTXt", b"k\0\1\0\0\0"), "is a decompression bomb"),
    "profile.png": (text_bomb(b"iCCP", b"k\0\0"), "is a decompression bomb"),
    "nan.tif": (gray([[0.0, np.nan]], "F"), "not finite"),
}


@pytest.mark.parametrize("name", HAZARDS)
def test_what_is_no_picture_is_refused_with_the_reason(name: str) -> None:
    data, reason = HAZARDS[name]
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


def test_every_hazard_of_a_shop_goes_to_the_quarantine_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, (data, _) in HAZARDS.items():
        (tmp_path / "images" / name).write_bytes(data)
    (tmp_path / "images" / "good.png").write_bytes(encoded(noise()))
    rows = [{"item_id": name, "title": "t", "image": name} for name in [*HAZARDS, "good.png"]]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    quarantine = Quarantine()
    report = check_pictures(read_shop(tmp_path, quarantine=quarantine), quarantine=quarantine)
    assert report.readable == 1
    assert [refusal.file for refusal in quarantine.refusals] == list(HAZARDS)
    for refusal, (_, reason) in zip(quarantine.refusals, HAZARDS.values(), strict=True):
        assert refusal.rule == "unreadable image"
        assert reason in refusal.value


def test_rows_that_unpack_without_end_are_read_no_further_than_the_picture() -> None:
    start = time.perf_counter()
    endless = png(2, 1, b"\0" + b"\xff\0\0" * 2 + bytes(100_000_000))
    packed = time.perf_counter() - start
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        assert decode(endless).getpixel((1, 0)) == RED
        taken.append(time.perf_counter() - start)
    assert min(taken) < packed / 4


def test_limits_are_what_the_caller_says() -> None:
    data = encoded(Image.new("RGB", (10, 10)))
    with pytest.raises(UnreadableImage, match="is 10 x 10 pixels, at most 99"):
        decode(data, max_pixels=99)
    with pytest.raises(UnreadableImage, match="bytes, at most 50"):
        decode(data, max_bytes=50)
    assert decode(data, max_pixels=100, max_bytes=len(data)).size == (10, 10)
    assert decode(encoded(Image.new("RGB", (1, 100)))).size == (1, 100)
    assert decode(many_scans(MAX_SCANS - 10)).size == (64, 64)


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on odd tags; a shop's run goes on
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "CMYK", "progressive", "EXIF"])
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(kind: str) -> None:
    """Random bytes changed, cut out, doubled or cut off, as a fuzzer does it."""
    rng = np.random.default_rng([7, len(kind), ord(kind[0])])
    picture = ImageOps.posterize(noise(48), 3)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    whole = {
        "CMYK": lambda: encoded(picture.convert("CMYK"), "JPEG", icc_profile=ink_profile()),
        "progressive": lambda: encoded(picture, "JPEG", progressive=True),
        "EXIF": lambda: encoded(picture, "JPEG", exif=exif),
    }.get(kind, lambda: encoded(picture, kind))()
    decoded = refused = 0
    slowest = 0.0
    for _ in range(250):
        start = time.perf_counter()
        try:
            picture = decode(mutated(whole, rng), max_pixels=4_000_000)
        except UnreadableImage:
            refused += 1
        else:
            assert picture.mode == "RGB"
            assert picture.width * picture.height <= 4_000_000
            decoded += 1
        slowest = max(slowest, time.perf_counter() - start)
    assert decoded
    assert refused
    assert slowest < 3


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        # half of the changes fall into the first bytes, where the headers are
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 200)
        at = int(rng.integers(0, end))
        length = int(rng.integers(1, 30))
        match rng.integers(0, 5):
            case 0:
                changed[at] = int(rng.integers(0, 256))
            case 1:
                changed[at] ^= 1 << int(rng.integers(0, 8))
            case 2 if len(changed) > 100:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case _:
                changed = changed[: max(60, int(len(changed) * rng.random()))] if rng.random() < 0.1 else changed
    return bytes(changed)
