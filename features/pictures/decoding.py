"""From bytes nobody vouches for to an RGB picture, or to the reason why not."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Raster formats that are opened; Pillow's other readers are never tried."""

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_MARKUP = ((b"<svg", "SVG"), (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "XML"))


class UnreadableImage(ValueError):  # noqa: N818 - reads as what it is
    """Bytes that are no picture we can use; the message says why."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Open a picture: its first frame, upright as its EXIF data says, on white where it is transparent.

    Args:
        data: the file's bytes.
        max_pixels: a picture with more is refused before it is unpacked.
        max_bytes: a larger file is refused before it is opened.

    Returns:
        an RGB picture, 8 bits a channel; deeper gray pictures are scaled down to that.

    Raises:
        UnreadableImage: too large, truncated, damaged, or in no format of `FORMATS`.
    """
    if not data:
        raise UnreadableImage("is empty")
    if len(data) > max_bytes:
        raise UnreadableImage(f"has {len(data):,} bytes, at most {max_bytes:,} are taken")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size  # known from the header; the pixels are not unpacked yet
            if width * height > max_pixels:
                raise UnreadableImage(f"is {width} x {height} pixels, at most {max_pixels:,} are taken")
            opened.load()
            picture: Image.Image = opened
            with contextlib.suppress(Exception):  # a broken EXIF block says nothing about the pixels
                picture = ImageOps.exif_transpose(opened)
            return _to_rgb(picture)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(f"is {_guess(data)}, none of {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"has more than the {max_pixels:,} pixels that are taken") from None
    except Exception as error:  # Pillow's readers raise whatever they stumble on
        reason = (
            "is truncated" if "truncated" in str(error).lower() else f"is damaged ({type(error).__name__}: {error})"
        )
        raise UnreadableImage(reason) from error


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
