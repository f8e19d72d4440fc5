"""From bytes nobody vouches for to an RGB picture, or to the reason why not."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Raster formats that are opened; Pillow's other readers are never tried."""

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MAX_RATIO = 100
"""Of the longer side to the shorter. Encoders scale the shorter side to their input, and a thread of a picture would
become a wall."""
MAX_SCANS = 100
"""Of a JPEG file. A progressive one has about ten; each may be a few bytes long and costs a walk over all pixels."""

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_MARKUP = ((b"<svg", "SVG"), (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "XML"))
_JPEG_START, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xda"


class UnreadableImage(ValueError):  # noqa: N818 - reads as what it is
    """Bytes that are no picture we can use; the message says why."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Open a picture: its first frame, upright as its EXIF data says, on white where it is transparent.

    Inks (CMYK) become what they look like: by the file's color profile where it has one, else by their complement; a
    JPEG file with Adobe's marker holds them inverted, as that program writes them, and one without does not.

    Args:
        data: the file's bytes.
        max_pixels: a picture with more is refused before it is unpacked.
        max_bytes: a larger file is refused before it is opened.

    Returns:
        an RGB picture, 8 bits a channel; deeper pictures are scaled down to that.

    Raises:
        UnreadableImage: too large, a hundred times as long as wide, truncated, damaged, or in no format of `FORMATS`.
    """
    if not data:
        raise UnreadableImage("is empty")
    if len(data) > max_bytes:
        raise UnreadableImage(f"has {len(data):,} bytes, at most {max_bytes:,} are taken")
    # no compressed byte looks like a marker, so this counts the scans (and those of an embedded preview)
    if data.startswith(_JPEG_START) and (scans := data.count(_JPEG_SCAN)) > MAX_SCANS:
        raise UnreadableImage(f"has {scans:,} scans, at most {MAX_SCANS} are taken")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(*opened.size, max_pixels)  # known from the header; the pixels are not unpacked yet
            opened.load()
            picture = _without_inks(opened) if opened.mode == "CMYK" else opened
            with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
                picture = ImageOps.exif_transpose(picture)
            return _to_rgb(picture)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(f"is {_guess(data)}, none of {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"has more than the {max_pixels:,} pixels that are taken") from None
    except Exception as error:  # Pillow's readers raise whatever they stumble on
        raise UnreadableImage(_reason(error)) from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImage(f"is {width} x {height} pixels, at most {max_pixels:,} are taken")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise UnreadableImage(f"is {width} x {height} pixels, one side more than {MAX_RATIO} times the other")


def _reason(error: Exception) -> str:
    about = str(error)
    if "truncated" in about.lower():
        return "is truncated"
    if "MAX_TEXT" in about or "Decompressed data too large" in about:
        return "is a decompression bomb: its texts unpack to more than is taken"
    return f"is damaged ({type(error).__name__}: {about})"


def _without_inks(opened: Image.Image) -> Image.Image:
    """CMYK to RGB; the tags that say which way is up are kept."""
    inks = opened
    if opened.format == "JPEG" and "adobe" not in opened.info:
        inks = ImageChops.invert(opened)  # Pillow's reader takes every JPEG file for one of Adobe's
    picture = inks.convert("RGB")
    profile = opened.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a broken profile leaves the complement
            of_file = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            seen = ImageCms.profileToProfile(inks, of_file, ImageCms.createProfile("sRGB"), outputMode="RGB")
            picture = seen or picture
    picture.info.clear()
    picture.getexif().load(opened.getexif().tobytes())
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_MODES:
        return _to_8_bits(picture).convert("RGB")
    if picture.has_transparency_data:
        transparent = picture.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        white.alpha_composite(transparent)
        return white.convert("RGB")
    return picture.convert("RGB")  # a copy, also where it is RGB already: the file behind it is closed


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Gray at 16 or 32 bits, or as floats in [0, 1] or wider, to gray at 8 bits."""
    values = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage("holds values that are not finite")
    most = float(values.max(initial=0.0))
    if picture.mode == "F":
        full = 1.0 if most <= 1 else max(most, 255.0)
    else:
        full = 65535.0 if picture.mode != "I" or most > 255 else 255.0
        full = max(full, most)
    return Image.fromarray(np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8))


def _guess(data: bytes) -> str:
    """What bytes that are no picture seem to be."""
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, name in _MARKUP:
        if mark in start if mark == b"<svg" else start.startswith(mark):
            return name
    return "a text" if start and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start) else "unknown data"
