"""The shop's pictures, as they lie in its folder or archive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError

if TYPE_CHECKING:
    from features.pictures.sources import ImageSource

MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class Picture:
    """A picture ready to be sent.

    Args:
        data: its bytes, as the shop has them.
        media_type: by content, not by name.
        etag: quoted hash of the bytes.
    """

    data: bytes
    media_type: str
    etag: str


SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (0, b"BM", "image/bmp"),
)
"""Where which bytes mean which raster format. SVG is not here: it may hold scripts."""


def sniff(data: bytes) -> str | None:
    """Media type of a raster picture by its first bytes; None for anything else."""
    for offset, signature, media_type in SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return media_type
    return None


def open_pictures(shop: Path | None) -> ImageSource | None:
    """Where a shop folder keeps its pictures; None where it has none.

    Raises:
        InputError: the folder is missing.
    """
    if shop is None:
        return None
    if not shop.is_dir():
        raise InputError(f"{shop} must be a shop folder, there is none")
    from features.pictures.sources import FolderImages, ZipImages  # brings Pillow: only where pictures are served

    if (shop / "images").is_dir():
        return FolderImages(shop / "images")
    if (shop / "images.zip").is_file():
        return ZipImages(shop / "images.zip")
    return None


def read_picture(source: ImageSource, name: str) -> Picture | None:
    """A picture by its name in the catalog; None where it is missing, too large, no raster picture, or outside."""
    try:
        data = source.read(name)
    except (OSError, KeyError, ValueError):
        return None
    return picture_of(data)


def picture_of(data: bytes) -> Picture | None:
    """A file as a picture; None where it is too large or no raster picture."""
    media_type = sniff(data)
    if media_type is None or len(data) > MAX_BYTES:
        return None
    return Picture(data, media_type, f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"')
