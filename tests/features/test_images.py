from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.errors import InputError
from features.pictures.sources import FolderImages, ImageSource, UnreadableImage, ZipImages, decode

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def gray(values: object, mode: str) -> bytes:
    kinds = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    return encoded(Image.fromarray(np.array(values, dtype=kinds[mode])), "TIFF")


def source_of(kind: str, folder: Path, files: dict[str, bytes]) -> ImageSource:
    if kind == "folder":
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return FolderImages(folder, max_bytes=1000)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return ZipImages(folder / "images.zip", max_bytes=1000)


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
    assert [decode(encoded(palette, transparency=0)).getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    assert decode(encoded(palette, transparency=bytes([0, 255]))).getpixel((0, 0)) == WHITE
    assert decode(encoded(Image.new("LA", (1, 1), (0, 0)))).getpixel((0, 0)) == WHITE


def test_deep_gray_is_scaled_to_eight_bits() -> None:
    def grays(data: bytes) -> list[int]:
        return np.asarray(decode(data))[0, :, 0].tolist()

    assert grays(gray([[0, 32896, 65535]], "I;16")) == [0, 128, 255]
    assert grays(gray([[0.0, 0.5, 1.0]], "F")) == [0, 128, 255]
    assert grays(gray([[0, 128, 255]], "I")) == [0, 128, 255]
    with pytest.raises(UnreadableImage, match="not finite"):
        decode(gray([[0.0, np.nan]], "F"))


def test_cmyk_becomes_rgb() -> None:
    picture = decode(encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = picture.getpixel((1, 1))  # type: ignore[misc]
    assert picture.mode == "RGB"
    assert red > 200
    assert max(green, blue) < 60


def test_a_picture_is_turned_upright_as_its_exif_data_says() -> None:
    lying = Image.new("RGB", (4, 2), WHITE)
    lying.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    upright = decode(encoded(lying, exif=exif))
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 0)) == (0, 0, 0)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (3, 3), color) for color in (RED, (0, 0, 255))]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert decode(moving).getpixel((1, 1)) == RED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>', "is SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
        (b"not found", "is a text"),
        (b"\x00\x01\x02\x03" * 10, "is unknown data"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "none of JPEG"),
        (encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")[:900], "is truncated"),
        (encoded(Image.effect_noise((64, 64), 50))[:900], "is truncated"),
        (encoded(Image.new("RGB", (8, 8)))[:20], "is "),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims that size over hardly any data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_000, 11_000, 60_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(side: int) -> None:
    with pytest.raises(UnreadableImage, match="pixels"):
        decode(bomb(side, side))


def test_limits_are_what_the_caller_says() -> None:
    data = encoded(Image.new("RGB", (10, 10)))
    with pytest.raises(UnreadableImage, match="is 10 x 10 pixels, at most 99"):
        decode(data, max_pixels=99)
    with pytest.raises(UnreadableImage, match="bytes, at most 50"):
        decode(data, max_bytes=50)
    assert decode(data, max_pixels=100, max_bytes=len(data)).size == (10, 10)


@pytest.mark.parametrize("kind", ["folder", "zip"])
class TestEverySource:
    def test_names_and_bytes_come_back(self, kind: str, tmp_path: Path) -> None:
        files = {"a.jpg": b"one", "sub/ü b.png": b"two"}
        source = source_of(kind, tmp_path, files)
        assert source.names() >= set(files)
        assert {name: source.read(name) for name in files} == files

    @pytest.mark.parametrize(
        "name", ["", "no.jpg", "../secret", "/etc/passwd", "sub", "a\0b", "..\\secret", "sub/../a"]
    )
    def test_a_name_that_is_not_there_or_leaves_is_a_key_error(self, kind: str, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "in").mkdir()
        source = source_of(kind, tmp_path / "in", {"sub/a": b"x"})
        with pytest.raises(KeyError):
            source.read(name)

    def test_too_large_a_file_is_refused(self, kind: str, tmp_path: Path) -> None:
        source = source_of(kind, tmp_path, {"big": b"x" * 1001, "fits": b"x" * 1000})
        assert len(source.read("fits")) == 1000
        with pytest.raises(UnreadableImage, match="1,001 bytes, at most 1,000"):
            source.read("big")

    def test_many_threads_read_at_once(self, kind: str, tmp_path: Path) -> None:
        files = {f"{number}.bin": bytes([number]) * (500 + number) for number in range(100)}
        source = source_of(kind, tmp_path, files)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(source.read, [*files] * 5)) == [*files.values()] * 5

    def test_the_fingerprint_changes_with_the_content(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        one, two = (source_of(kind, tmp_path / side, {"a": data}) for side, data in (("1", b"x"), ("2", b"xy")))
        assert one.fingerprint() == one.fingerprint() != two.fingerprint()


def test_links_out_of_the_folder_are_neither_listed_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    images = tmp_path / "images"
    images.mkdir()
    (images / "real").write_bytes(b"x")
    (images / "within").symlink_to("real")
    (images / "out").symlink_to(tmp_path / "secret")
    (images / "up").symlink_to(tmp_path, target_is_directory=True)
    source = FolderImages(images)
    assert source.names() == {"real", "within"}
    assert source.read("within") == b"x"
    for name in ("out", "up/secret"):
        with pytest.raises(KeyError, match="link out of its folder"):
            source.read(name)


def test_members_that_leave_the_archive_are_named_and_never_read(tmp_path: Path) -> None:
    bad = ["../up.jpg", "/abs.jpg", "C:/drive.jpg", "a/../../b.jpg"]
    source = source_of("zip", tmp_path, dict.fromkeys([*bad, "good.jpg"], b"x"))
    assert isinstance(source, ZipImages)
    assert set(source.outside) == set(bad)
    assert source.names() == {"good.jpg"}
    for name in bad:
        with pytest.raises(KeyError):
            source.read(name)


def test_a_member_that_hides_more_than_it_claims_is_not_unpacked(tmp_path: Path) -> None:
    source_of("zip", tmp_path, {"bomb": b"\0" * 50_000_000})
    path = tmp_path / "images.zip"
    data = path.read_bytes()
    assert len(data) < 100_000
    path.write_bytes(data.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 10)))
    with pytest.raises(UnreadableImage, match="damaged"):
        ZipImages(path, max_bytes=100_000).read("bomb")


def test_damaged_encrypted_and_oddly_packed_members_say_so(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"picture")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"picture", b"pixture"))
    with pytest.raises(UnreadableImage, match="checksum"):
        ZipImages(path).read("a")
    directory = whole.rindex(b"PK\1\2")
    path.write_bytes(whole[: directory + 8] + b"\1\0" + whole[directory + 10 :])
    with pytest.raises(UnreadableImage, match="encrypted"):
        ZipImages(path).read("a")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"picture")
    with pytest.raises(UnreadableImage, match="method 12"):
        ZipImages(path).read("a")


def test_what_is_no_archive_and_no_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"images\.zip must be a zip archive"):
        ZipImages(tmp_path / "images.zip")
    with pytest.raises(InputError, match="must be a folder"):
        FolderImages(tmp_path / "images")


def test_a_dropped_archive_closes_its_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source_of("zip", tmp_path, {"a": b"x"})
    assert not [warning for warning in caught if issubclass(warning.category, ResourceWarning)]
